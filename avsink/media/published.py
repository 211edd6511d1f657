"""Which frames the published models were evaluated on: the rule of their own loader, `qwen-omni-utils` 0.0.9.

Stated here in words of our own, and held to what that package does (`tests/media/test_published.py`):

1. Of `total` frames at `rate` frames a second on average, `total / rate * fps` are wanted; at least 4, at most
   `max_frames`, and never more than there are. The number is rounded down to an even one.
2. They are spread evenly *by number*, from the first frame to the last: `0, ..., total - 1`, rounded to whole numbers.
   So the last frame of a clip is always shown, and frames that are not equally long do not matter.
3. The model is told that there are `fps` frames a second, however many there are: that package works the true rate out,
   but the way in which its own examples call the processor does not pass it on.

The sound is taken as it is decoded, in steps of 16 bits where it comes with a picture, without regard to time stamps: a
gap is closed, and a sound that begins late is heard early. Its channels are averaged, and the result resampled to
`ceil(n * sampling_rate / rate)` samples.
"""

from __future__ import annotations

from math import ceil

import numpy as np

from avsink.media.clip import MediaError

__all__ = ["EVEN", "PUBLISHED", "SAMPLINGS", "frame_numbers", "spaced", "whole_length"]

EVEN, PUBLISHED = "even", "published"
SAMPLINGS = (EVEN, PUBLISHED)
"""How a clip is sampled: at even times (`avsink.media.picture`), or by the rule of this file."""

FEWEST = 4  # frames
PAIR = 2  # frames that a temporal grid is made of


def frame_numbers(total: int, rate: float, *, fps: float, max_frames: int, name: str) -> list[int]:
    """The numbers of the frames to take (steps 1 and 2).

    Args:
        total: Frames of the clip.
        rate: Frames a second, on average.
        fps: Frames wanted a second.
        max_frames: Upper limit of their number.
        name: The file's name.

    Raises:
        MediaError: If not even two frames can be taken.
    """
    wanted = total / rate * fps if rate > 0 else total
    count = int(min(max(wanted, FEWEST), max_frames // PAIR * PAIR, total)) // PAIR * PAIR
    if count < PAIR:
        raise MediaError(
            f"{name} has {total} frames, and at most {max_frames} are to be taken; the published sampling takes two "
            f'or more: use sampling="{EVEN}"'
        )
    return spaced(total, count)


def spaced(total: int, count: int) -> list[int]:
    """`count` whole numbers from 0 to `total - 1`, as `torch.linspace` spaces them in float32, rounded half to even."""
    last, place = np.float32(total - 1), np.arange(count)
    step = np.float64(last / np.float32(count - 1))
    spread = np.where(place < count // 2, step * place, last - step * place[::-1])  # torch rounds once, to float32
    return np.round(spread.astype(np.float32)).astype(int).tolist()


def whole_length(waveform: np.ndarray, samples: int, rate: int, sampling_rate: int) -> np.ndarray:
    """A resampled waveform cut or padded to the length that `samples` at `rate` have at `sampling_rate`."""
    length = ceil(samples * sampling_rate / rate)
    return np.pad(waveform[:length], (0, max(0, length - len(waveform))))
