"""Files below a benchmark's folder: found by the names that its tables use, and written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["Files", "MissingData", "whole"]


class MissingData(FileNotFoundError):
    """A benchmark that is not here, or could not be fetched."""


class Files:
    """The media below a benchmark's folders, found by the paths that rows name."""

    def __init__(self, root: Path, *others: Path):
        self.roots = tuple(dict.fromkeys((root, *others)))
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, *names: object) -> Path:
        """The first of these relative paths that is a file. Raises ValueError."""
        given = [Path(str(name)) for name in names if name is not None]
        if not given:
            raise ValueError("it names no file")
        for name in given:
            if name.is_absolute() or ".." in name.parts:  # a table must not point at other files of this machine
                raise ValueError(f"its file {name} lies outside the benchmark's folder")
            for root in self.roots:
                if _is_file(root / name):
                    return root / name
        raise ValueError(f"missing file {given[0]} (looked in {self.roots[0]})")

    def named(self, name: str) -> Path | None:
        """The only file of this name, in whatever folder; None if there is none, or more than one."""
        if self._by_name is None:
            self._by_name = {}
            for path in self.roots[0].rglob(f"*{Path(name).suffix}"):
                self._by_name.setdefault(path.name, []).append(path)
        found = self._by_name.get(name, [])
        return found[0] if len(found) == 1 else None


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which gets its name when it is complete, whoever else is writing it too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".unfinished-")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(name, 0o644)  # a temporary file is its owner's alone
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
