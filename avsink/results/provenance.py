"""How a number was made: the versions of what computed it, and the repository's commit."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

from avsink import resources

__all__ = ["commit", "versions"]

LIBRARIES = ("torch", "transformers", "torchvision", "av", "numpy")  # decoding, preprocessing, arithmetic


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that can change a number."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "not installed"
    return found


def commit() -> str:
    """The repository's git commit, followed by ``-dirty`` if files differ from it; else ``unknown``."""
    root = resources.checkout()
    if root is None or not (root / ".git").exists():  # an installed package: a repository around it is not ours
        return "unknown"
    describe = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(describe, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
