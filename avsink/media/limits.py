"""What one file may ask for: of memory, of time, and of what a real recording has.

Each limit is far above what any recording needs. It is there for files that claim, by damage or on purpose, what no
machine can decode: a picture of 30,000 x 30,000 pixels in a file of 200 bytes. Beyond a limit a file is a `MediaError`,
so that its sample is left out by name, and the run goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from avsink.media.clip import MediaError

__all__ = ["CHANNELS", "FRAMES_A_SECOND", "KEPT", "PIXELS", "RATES", "STREAMS", "Deadline", "named"]

PIXELS = 2**26  # of one picture: 8,192 x 8,192. The largest video profiles (8K) end at 36 million
KEPT = 4 * 2**30  # bytes of what is kept of one file: 128 frames of 4K are 3.2 GB
STREAMS = 64
CHANNELS = 64
RATES = (1_000, 768_000)  # samples a second of a sound track
FRAMES_A_SECOND = 1_000
FLOOR = 20.0  # seconds that any file may take ...
FACTOR = 10.0  # ... and besides for each second of the clip: software on two cores decodes 4K at a fifth of its speed


class Deadline:
    """Ends a reading that takes far longer than its content can explain."""

    def __init__(self, name: str):
        self.name = name
        self.began = time.monotonic()

    def check(self, seconds: float) -> None:
        """Raise `MediaError` if reading `seconds` of a clip has taken too long."""
        limit = FLOOR + FACTOR * max(0.0, seconds)
        if time.monotonic() - self.began > limit:
            raise MediaError(
                f"{self.name}: {seconds:.1f} s of it were not decoded within {limit:.0f} s; encode it again, smaller"
            )


@contextmanager
def named(name: str) -> Iterator[None]:
    """Turn whatever decoding raises into a `MediaError` that names the file."""
    try:
        yield
    except MediaError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise MediaError(
            f"{name} cannot be decoded: it is damaged or not a media file ({reason}); fetch it again"
        ) from None
