"""The toy world, embedded or made with `python -m avsink.toyworld.held_out`, as a dataset like the others."""

from __future__ import annotations

from pathlib import Path

from avsink import resources
from avsink.datasets.loaded import Loaded, Problem
from avsink.sample import SampleError
from avsink.toyworld.manifest import MANIFEST, ROOT, read_lines

__all__ = ["NAME", "load"]

NAME = "toyworld"


def load(root: Path | str = "") -> Loaded:
    """Read all lines of a manifest, each as a sample or a problem.

    Args:
        root: The folder of the manifest; "" for the embedded one.

    Raises:
        FileNotFoundError: If there is no manifest.
        ValueError: If it is not a text file in UTF-8.
    """
    folder = resources.expanded(root) if root else ROOT
    samples, problems = [], []
    lines = read_lines(folder)
    for line in lines:
        reason = line.fault
        try:
            if not reason:
                line.sample.check()
                samples.append(line.sample)
        except SampleError as error:
            reason = error.reason
        if reason:
            problems.append(Problem(id=line.id or f"({line.where})", reason=reason, where=line.where))
    return Loaded(
        name=NAME,
        samples=tuple(samples),
        problems=tuple(problems),
        tables=(folder / MANIFEST,),
        lacking=() if lines else (f"{MANIFEST} holds no line",),
    )
