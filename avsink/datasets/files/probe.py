"""Check a media file without decoding all of it.

1. `seconds`: the duration that it announces, or else that of its packets;
2. `fault`: open it, look for the tracks that its kind needs, and decode the first frame of each. Damage further in is
   found when the sample is prepared (`avsink.media`). An image is decoded whole.

Results are cached until a file changes, because several questions share one video.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from avsink import media
from avsink.sample import Media

__all__ = ["fault", "seconds"]


def seconds(path: Path) -> float:
    """The length of a file in seconds. Raises `MediaError` if it cannot be opened."""
    return _seconds(path, _version(path))


def fault(medium: Media) -> str:
    """What is wrong with the beginning of a medium, or ''."""
    return _fault(medium, _version(medium.path))


def _version(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:  # what is wrong with it is said when it is opened
        return (0, 0)
    return (stat.st_size, stat.st_mtime_ns)


@cache
def _seconds(path: Path, version: tuple[int, int]) -> float:
    return media.seconds(path)


@cache
def _fault(medium: Media, version: tuple[int, int]) -> str:
    try:
        media.check_beginning(medium)
    except media.MediaError as error:
        return str(error)
    return ""
