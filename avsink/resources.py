"""Where the package finds what it reads at run time, and where it keeps results. No other file knows.

Embedded models, toy clips, the papers' tables and what the benchmarks measured are one folder, ``data``:

1. in ``$AVSINK_HOME``, a checkout of the repository, if that is set;
2. in the checkout that this package is part of;
3. inside the installed package, where a wheel puts it.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["MissingResource", "PACKAGE", "checkout", "data", "existing", "results"]

PACKAGE = Path(__file__).resolve().parent
INSTALLED = PACKAGE / "_data"  # pyproject.toml puts the repository's ``data`` there in a wheel


class MissingResource(FileNotFoundError):
    """A file of the project that this installation does not have."""


def checkout() -> Path | None:
    """The repository's folder: ``$AVSINK_HOME``, or the one around this package; None if there is none."""
    if home := os.environ.get("AVSINK_HOME"):
        return Path(home).expanduser()
    root = PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "data").is_dir() else None


def data(*parts: str) -> Path:
    """A path in the data folder, whether or not it is there."""
    root = checkout()
    return (root / "data" if root else INSTALLED).joinpath(*parts)


def existing(*parts: str) -> Path:
    """The same, if it is there. Raises `MissingResource`, which says where it was looked for and what to do."""
    path = data(*parts)
    if not path.exists():
        raise MissingResource(
            f"avsink's own {'/'.join(parts)} is not at {path}. Set AVSINK_HOME to a checkout of the repository, or "
            "install a wheel made with `python -m build`, which holds it"
        )
    return path


def results() -> Path:
    """Where results are kept unless a run says otherwise: ``$AVSINK_RESULTS``, else ``results`` in the checkout or here."""
    return Path(os.environ.get("AVSINK_RESULTS") or (checkout() or Path.cwd()) / "results")
