"""Check a media file without decoding all of it.

1. `seconds`: the duration that it announces;
2. `fault`: open it, look for the tracks that its kind needs, and decode the first frame of each. Damage further in is
   found when the sample is prepared (`avsink.media`).

Results are cached until a file changes, because several questions share one video.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from avsink.media import MediaError, opened
from avsink.sample import Media

__all__ = ["fault", "seconds"]

MICROSECOND = 1_000_000  # FFmpeg's clock for containers


def seconds(path: Path) -> float:
    """The duration that a file announces, in seconds.

    Raises:
        MediaError: If it cannot be opened, or announces none.
    """
    return _seconds(path, _version(path))


def fault(medium: Media) -> str:
    """What is wrong with the beginning of a medium, or ''."""
    return _fault(medium, _version(medium.path))


def _version(path: Path) -> tuple[int, int]:
    if not path.is_file():
        return (0, 0)
    stat = path.stat()
    return (stat.st_size, stat.st_mtime_ns)


@cache
def _seconds(path: Path, version: tuple[int, int]) -> float:
    with opened(path) as container:
        if container.duration:
            return container.duration / MICROSECOND
        lengths = [float(stream.duration * stream.time_base) for stream in container.streams if stream.duration]
    if not lengths:
        raise MediaError(f"{path.name} does not say how long it lasts")
    return max(lengths)


@cache
def _fault(medium: Media, version: tuple[int, int]) -> str:
    needed = [] if medium.kind == "audio" else ["video"]
    needed += ["audio"] if medium.kind == "audio" or (medium.kind == "video" and medium.sound) else []
    try:
        for kind in needed:
            with opened(medium.path) as container:  # opened once per track: reading one moves past the other
                streams = getattr(container.streams, kind)
                if not streams:
                    return f"{medium.path.name} has no {'picture' if kind == 'video' else 'sound track'}"
                if next(container.decode(streams[0]), None) is None:
                    return f"{medium.path.name}: its {kind} track is empty or cannot be decoded"
    except MediaError as error:
        return str(error)
    return ""
