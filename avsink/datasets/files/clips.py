"""Clips of YouTube videos in a folder: how they are called, and where they lie.

1. A VGGSound clip is called ``<id>_<start>``: the 11 characters of the video's id, and the second at which it begins,
   in six digits. An id may begin with ``-`` and contain ``_``, so a name is split from the right (`split_name`).
2. The published archives put clips below many folders, and each copy below others. So a clip is looked for by its base
   name, in whatever folder (`Clips.find`).
3. Two files of one name are refused: which of them is meant cannot be told.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["Clips", "SUFFIXES", "clip_name", "split_name"]

SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov")
NAME = re.compile(r"[\w-]{11}_\d{6}", re.ASCII)


def clip_name(id: str, start: object) -> str:
    """The name of a clip from the columns of a table. Raises ValueError."""
    text = str(start).strip() if isinstance(start, (str, int)) else ""
    if not re.fullmatch(r"\d{1,6}", text, re.ASCII):
        raise ValueError(f"its start is {start!r}; whole seconds are expected")
    return checked(f"{id}_{int(text):06d}")


def checked(name: str) -> str:
    """A clip's name without suffix, if it is one. Raises ValueError."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a clip: 11 characters, _ and 6 digits are expected")
    return name


def split_name(name: str) -> tuple[str, int]:
    """The video's id and the second at which the clip begins. Raises ValueError."""
    name = checked(name)
    return name[:-7], int(name[-6:])


class Clips:
    """The clips below a folder, by their base names. The folder is read when the first one is looked for."""

    def __init__(self, root: Path):
        self.root = root
        self._found: dict[str, list[Path]] | None = None

    def find(self, *names: str) -> Path:
        """The file of the first of these names that has one. Raises ValueError."""
        if self._found is None:
            self._found = {}
            for path in sorted(self.root.rglob("*")):
                if path.suffix.lower() in SUFFIXES and path.is_file():
                    self._found.setdefault(path.stem, []).append(path)
        for name in names:
            files = self._found.get(name, [])
            if len(files) > 1:
                where = " and ".join(str(path.relative_to(self.root)) for path in files[:2])
                raise ValueError(f"its clip lies there {len(files)} times: {where}")
            if files:
                return files[0]
        raise ValueError(f"missing clip {' or '.join(f'{name}.mp4' for name in names)} (looked below {self.root})")
