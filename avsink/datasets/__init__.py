"""Benchmarks, each a loader of `Sample`s under one name.

load_samples("toyworld", tasks=["anchor and target"], n_samples=24)
load_samples("worldsense", root="/data/worldsense", selection="knockout")
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path

import numpy as np

from avsink.datasets.loaded import Loaded
from avsink.sample import Media, Sample, SampleError, Text

__all__ = ["DATASETS", "Loaded", "Media", "Sample", "SampleError", "Text", "load", "load_samples", "tasks_of"]

SHOWN = 3  # problems that a warning quotes


def _toyworld(root: Path | str = "") -> list[Sample]:
    from avsink.toyworld.held_out import ROOT, read_manifest

    return read_manifest(Path(root) if root else ROOT)


def _published(module: str) -> Callable[[Path | str], Loaded]:
    """The loader of a module, which is only imported when it is used."""
    return lambda root="": import_module(f"avsink.datasets.{module}").load(root)


DATASETS: dict[str, Callable[[Path | str], Loaded | list[Sample]]] = {
    "toyworld": _toyworld,
    "av-speakerbench": _published("av_speakerbench"),
    "worldsense": _published("worldsense"),
    "av-odyssey": _published("av_odyssey"),
    "vggsound": _published("vggsound"),
    "vggsounder": _published("vggsounder"),
    "audioset": _published("audioset"),
}
"""Name -> all its samples, given where its files are ("" for the default): a list, or a `Loaded` with its problems."""


def load(name: str, root: Path | str = "") -> Loaded:
    """Everything that a benchmark's files gave, and what is wrong with them."""
    if name not in DATASETS:
        raise ValueError(f"unknown data {name!r}; allowed: {', '.join(DATASETS)}")
    found = DATASETS[name](root)
    return found if isinstance(found, Loaded) else Loaded(name=name, samples=tuple(found))


def tasks_of(name: str, root: Path | str = "") -> list[str]:
    """The tasks of a benchmark, in its own order."""
    return list(dict.fromkeys(sample.task for sample in load(name, root).samples))


def load_samples(
    name: str,
    *,
    root: Path | str = "",
    tasks: Iterable[str] | None = None,
    selection: str | None = None,
    n_samples: int | None = None,
    seed: int = 0,
) -> list[Sample]:
    """Samples of a benchmark, in a fixed order.

    root: where its files are, see `avsink.datasets.files.sources`. selection: only those that Flow uses, "knockout" for example
    (`avsink.datasets.selections`). tasks: only these. n_samples: at most so many in all, shared as evenly as they allow
    among the (task, category) groups, drawn by `seed`. A larger n_samples keeps every sample of a smaller one, so a
    run can be extended.

    Rows that cannot be used are left out with one warning; that none can be used is an error.
    """
    if n_samples is not None and n_samples < 1:
        raise ValueError(f"n_samples is {n_samples}; at least 1 is needed")
    loaded = load(name, root)
    if selection is not None:
        from avsink.datasets.selections import select

        loaded = select(loaded, selection)
    if not loaded.samples:
        raise ValueError(_said(loaded, root))
    if loaded.problems or loaded.lacking:
        warnings.warn(_said(loaded, root), stacklevel=2)

    known = dict.fromkeys(sample.task for sample in loaded.samples)
    wanted = list(known) if tasks is None else list(tasks)
    if missing := [task for task in wanted if task not in known]:
        raise ValueError(f"{name} has no task {', '.join(map(repr, missing))}; allowed: {', '.join(known)}")
    groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in loaded.samples:
        if sample.task in wanted:
            groups[sample.task, sample.category].append(sample)
    rng = np.random.default_rng(seed)
    shuffled = [[group[i] for i in rng.permutation(len(group))] for group in groups.values()]
    turns = max((len(group) for group in shuffled), default=0)
    taken = [group[turn] for turn in range(turns) for group in shuffled if turn < len(group)]
    return taken[:n_samples]


def _said(loaded: Loaded, root: Path | str) -> str:
    """What is wrong with a benchmark's files, in a few lines."""
    usable = f"{len(loaded.samples)} can" if loaded.samples else "none is left"
    lines = list(loaded.lacking)
    if loaded.problems or not loaded.samples:
        lines.append(f"{len(loaded.problems)} rows cannot be used, {usable}")
        lines += [f"  {problem}" for problem in loaded.problems[:SHOWN]]
    where = f" --root {root}" if root else ""
    return "\n".join([f"{loaded.name}:", *lines, f"All of it: python -m avsink.datasets.check {loaded.name}{where}"])
