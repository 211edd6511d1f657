"""Files in a dataset's folder: found by the paths in its tables, and written completely or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["Files", "MissingData", "whole"]


class MissingData(FileNotFoundError):
    """A dataset that is not on this machine, or could not be fetched."""


class Files:
    """The media in a dataset's folders, found by the relative paths in its rows."""

    def __init__(self, root: Path, *others: Path):
        self.roots = tuple(dict.fromkeys((root, *others)))
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, *names: object) -> Path:
        """The first of these relative paths that is a file; None is skipped.

        Raises:
            ValueError: If none is a file, or one leads out of the folder.
        """
        given = [Path(str(name)) for name in names if name is not None]
        if not given:
            raise ValueError("it names no file")
        for name in given:
            if name.is_absolute() or ".." in name.parts:  # a table must not refer to other files of this machine
                raise ValueError(f"its file {name} is outside the dataset's folder")
            for root in self.roots:
                if _is_file(root / name):
                    return root / name
        raise ValueError(f"missing file {given[0]} (looked in {self.roots[0]})")

    def named(self, name: str) -> Path | None:
        """The only file of this name in any subfolder; None if there is none, or more than one."""
        if self._by_name is None:
            self._by_name = {}
            for path in self.roots[0].rglob(f"*{Path(name).suffix}"):
                self._by_name.setdefault(path.name, []).append(path)
        found = self._by_name.get(name, [])
        return found[0] if len(found) == 1 else None


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that gets its name only when it is complete; safe with several writers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".unfinished-")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(name, 0o644)  # temporary files are created readable by their owner only
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
