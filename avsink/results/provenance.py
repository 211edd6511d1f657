"""How a number was made: the versions of what computed it, the repository's commit, the templates of its prompts."""

from __future__ import annotations

import platform
import subprocess
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from avsink import resources
from avsink.sample import Sample

__all__ = ["commit", "prompts", "versions"]

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


def prompts(samples: Iterable[Sample]) -> list[dict[str, object]]:
    """The templates of the samples' words: name and hash of each, and how many samples are asked in it."""
    count = Counter((sample.prompt.name, sample.prompt.digest) for sample in samples)
    return [{"template": name, "digest": digest, "samples": n} for (name, digest), n in count.items() if name]
