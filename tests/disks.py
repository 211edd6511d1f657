"""Disks that refuse: whichever function of Python tries to write below a folder, or to read it, the error is raised.

The refusals come from an audit hook, which sees every call before the operating system does. So they hold for root,
too, and no test has to know how the code under test writes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
_REFUSED: list[tuple[str, int, str]] = []  # below which path, with which error, what


@contextmanager
def refusing(place: Path, code: int, *, what: str = "write") -> Iterator[None]:
    """Fail with the error of this code whenever something below `place` is to be written; or read."""
    if not hasattr(sys, "_hook_of_disks"):
        sys.addaudithook(_hook)
        sys._hook_of_disks = True
    _REFUSED.append((os.path.abspath(place), code, what))
    try:
        yield
    finally:
        _REFUSED.pop()


def _hook(event: str, args: tuple) -> None:
    if not _REFUSED or not (event == "open" or event in CHANGES):
        return
    if event == "open":
        wanted = "write" if isinstance(args[2], int) and args[2] & WRITES else "read"
        paths = args[:1]
    else:
        wanted, paths = "write", args[:2]
    for path in paths:
        if not isinstance(path, str | bytes | os.PathLike):
            continue
        path = os.path.abspath(os.fsdecode(path))
        for place, code, what in _REFUSED:
            if what == wanted and (path == place or path.startswith(place + os.sep)):
                raise OSError(code, os.strerror(code), path)
