"""Where the package finds what it reads at run time, and where it keeps results. No other file knows.

Embedded models, toy clips, the papers' tables and what the benchmarks measured are one folder, ``data``. It is

1. in ``$AVSINK_HOME``, a checkout of the repository, if that is set;
2. or inside the installed package, if it came as a wheel;
3. or in the checkout that this package is part of.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["PACKAGE", "REMEDY", "MissingResource", "checkout", "data", "existing", "results"]

PACKAGE = Path(__file__).resolve().parent
INSTALLED = PACKAGE / "_data"  # pyproject.toml puts the repository's ``data`` there in a wheel
REMEDY = (
    "set AVSINK_HOME to a checkout of the repository, or install a wheel that `python -m build` made of one, which "
    "contains this data"
)


class MissingResource(FileNotFoundError):
    """A file of the project that this installation does not have."""


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
        return Path(home).expanduser().resolve()
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


def results() -> Path:
    """Where results are kept by default: ``$AVSINK_RESULTS``, else ``results`` in the checkout or where Python runs."""
    return Path(os.environ.get("AVSINK_RESULTS") or (checkout() or Path.cwd()) / "results")
