"""Clips of YouTube videos in a folder: their names, and how they are found.

1. A VGGSound clip is named ``<id>_<start>``: the 11 characters of the video's id, and the second at which the clip
   starts, in six digits. An id may begin with ``-`` and contain ``_``, so names are split from the right
   (`split_name`).
2. The published archives have clips in many subfolders, which differ between copies. So a clip is looked for by its
   base name in all folders (`Clips.find`).
3. Two files of one name are refused, because which of them is meant is unknown.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["Clips", "SUFFIXES", "checked", "clip_name", "split_name"]

SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov")
NAME = re.compile(r"[\w-]{11}_\d{6}", re.ASCII)


def clip_name(id: str, start: object) -> str:
    """The name of a clip from the id and the start (seconds) that a table gives.

    Raises:
        ValueError: If either cannot be part of a name.
    """
    text = str(start).strip() if isinstance(start, (str, int)) else ""
    if not re.fullmatch(r"\d{1,6}", text, re.ASCII):
        raise ValueError(f"its start is {start!r}; whole seconds are expected")
    return checked(f"{id}_{int(text):06d}")


def checked(name: str) -> str:
    """Return the name, without suffix, if it is a clip name.

    Raises:
        ValueError: If not.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a clip name: 11 characters, _ and 6 digits are expected")
    return name


def split_name(name: str) -> tuple[str, int]:
    """Split a clip name into the video's id and the second at which the clip starts.

    Raises:
        ValueError: If it is not a clip name.
    """
    name = checked(name)
    return name[:-7], int(name[-6:])


class Clips:
    """The clips in a folder and its subfolders, by base name. The folder is listed at the first look-up."""

    def __init__(self, root: Path):
        self.root = root
        self._found: dict[str, list[Path]] | None = None

    def find(self, *names: str) -> Path:
        """The file of the first of these base names that has one.

        Raises:
            ValueError: If there is none, or more than one.
        """
        if self._found is None:
            self._found = {}
            for path in sorted(self.root.rglob("*")):
                if path.suffix.lower() in SUFFIXES and path.is_file():
                    self._found.setdefault(path.stem, []).append(path)
        for name in names:
            files = self._found.get(name, [])
            if len(files) > 1:
                where = " and ".join(str(path.relative_to(self.root)) for path in files[:2])
                raise ValueError(f"{len(files)} files have the name of its clip: {where}; delete all but one")
            if files:
                return files[0]
        raise ValueError(
            f"missing clip {' or '.join(f'{name}.mp4' for name in names)} (looked in {self.root} and its subfolders)"
        )
