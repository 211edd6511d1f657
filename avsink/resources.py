"""Where the package finds what it reads at run time, and where it keeps results. No other file knows.

Embedded models, toy clips, the papers' tables and what the benchmarks measured are one folder, ``data``. It is

1. in ``$AVSINK_HOME``, a checkout of the repository, if that is set;
2. or inside the installed package, if it came as a wheel;
3. or in the checkout that this package is part of.

A path that a user gives goes through `expanded` once, where it comes in; one in the environment through `variable`.
"""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path

__all__ = [
    "PACKAGE",
    "REMEDY",
    "MissingResource",
    "checkout",
    "data",
    "existing",
    "expanded",
    "hindrance",
    "results",
    "unwritable",
    "variable",
]

PACKAGE = Path(__file__).resolve().parent
INSTALLED = PACKAGE / "_data"  # pyproject.toml puts the repository's ``data`` there in a wheel
REMEDY = (
    "set AVSINK_HOME to a checkout of the repository, or install a wheel that `python -m build` made of one, which "
    "contains this data"
)
HINDRANCES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "its file system is read-only",
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not write there",
    errno.ENOTDIR: "it, or a folder above it, is a file",
    errno.EEXIST: "it, or a folder above it, is no folder",
    errno.ENOENT: "it is a link that leads nowhere, or was removed",
    errno.ELOOP: "it is a link that leads in a circle",
    errno.ENAMETOOLONG: "its name is too long",
}
"""Why nothing could be written in a folder."""


class MissingResource(FileNotFoundError):
    """A file of the project that this installation does not have."""


def expanded(path: str | Path) -> Path:
    """The path that a user gave. A ``~`` or ``~name`` at its beginning stands for a home folder.

    Raises:
        TypeError: It is neither text nor a path.
        ValueError: There is no such home folder, or the text is no path, or hardly the one that was meant.
    """
    if not isinstance(path, str | Path):
        raise TypeError(f"{path!r} is no path; give text or a pathlib.Path")
    given = str(path)
    try:
        bad = b"\0" in os.fsencode(given)
    except UnicodeEncodeError:
        bad = True
    if bad:
        raise ValueError(f"{given!r} is no path: it has a character that no file name can have")
    if given != given.strip() and not os.path.lexists(given):
        raise ValueError(f"{given!r} is no path that is there: it begins or ends with white space")
    if given.startswith("~") and (found := os.path.expanduser(given)) == given:
        raise ValueError(f"{given!r}: there is no user {given[1:].split(os.sep)[0]}; write ./{given} for such a folder")
    return Path(found if given.startswith("~") else given)


def variable(name: str) -> Path | None:
    """The path in a variable of the environment; None if that is empty or not set. Raises ValueError as `expanded`."""
    given = os.environ.get(name)
    try:
        return expanded(given) if given else None
    except ValueError as error:
        raise ValueError(f"${name} is {error}") from None


def checkout() -> Path | None:
    """The repository's folder: ``$AVSINK_HOME``, or the one around this package; None if it is installed elsewhere.

    Raises:
        MissingResource: If ``$AVSINK_HOME`` is no checkout.
    """
    root = _root()
    if os.environ.get("AVSINK_HOME") and not (root / "data").is_dir():
        raise MissingResource(
            f"AVSINK_HOME is {root}, which has no data/, so it is no checkout of the repository; set it to one, or "
            "unset it"
        )
    return root


def _root() -> Path | None:
    """`checkout`, unchecked: modules that only name paths can be imported whatever ``$AVSINK_HOME`` is."""
    if home := os.environ.get("AVSINK_HOME"):
        return Path(os.path.realpath(os.path.expanduser(home)))
    root = PACKAGE.parent
    around = not INSTALLED.is_dir() and (root / "pyproject.toml").is_file() and (root / "data").is_dir()
    return root if around else None


def data(*parts: str) -> Path:
    """A path in the data folder, whether or not it exists."""
    root = _root()
    return (root / "data" if root else INSTALLED).joinpath(*parts)


def existing(*parts: str) -> Path:
    """A path in the data folder that exists.

    Raises:
        MissingResource: If it does not, with where it was looked for and what to do.
    """
    checkout()
    path = data(*parts)
    if not path.exists():
        raise MissingResource(f"avsink's own {'/'.join(parts)} is not at {path}: {REMEDY}")
    return path


def results(given: str | Path = "") -> Path:
    """The folder of all results: the one given, else ``$AVSINK_RESULTS``, else ``results``.

    The last one is in the checkout, or where Python runs.
    """
    return expanded(given) if given else variable("AVSINK_RESULTS") or (checkout() or Path.cwd()) / "results"


def unwritable(folder: Path) -> str:
    """Why nothing can be written in a folder, which need not be there yet; "" if something can. Tries it."""
    folder = Path(os.path.abspath(folder))
    try:
        for place in (folder, *folder.parents):
            with suppress(FileNotFoundError):
                os.lstat(place)
                break
        with tempfile.TemporaryFile(dir=place, buffering=0) as file:
            file.write(bytes(4096))
    except OSError as error:
        return hindrance(error)
    return ""


def hindrance(error: OSError) -> str:
    """Why something could not be written, in a few words."""
    return HINDRANCES.get(error.errno) or error.strerror or str(error)
