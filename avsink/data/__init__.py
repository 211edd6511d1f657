"""Benchmarks, each a loader of `Sample`s under one name.

load_samples("toyworld", tasks=["anchor and target"], n_samples=24)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np

from avsink.data.sample import Media, Sample, SampleError, Text

__all__ = ["BENCHMARKS", "Media", "Sample", "SampleError", "Text", "load_samples", "tasks_of"]


def _toyworld() -> list[Sample]:
    from avsink.data.toyworld.evaluation import read_manifest

    return read_manifest()


BENCHMARKS: dict[str, Callable[[], list[Sample]]] = {"toyworld": _toyworld}
"""Name -> all its samples."""


def _benchmark(name: str) -> list[Sample]:
    if name not in BENCHMARKS:
        raise ValueError(f"unknown data {name!r}; allowed: {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]()


def tasks_of(name: str) -> list[str]:
    """The tasks of a benchmark, in its own order."""
    return list(dict.fromkeys(sample.task for sample in _benchmark(name)))


def load_samples(
    name: str, *, tasks: Iterable[str] | None = None, n_samples: int | None = None, seed: int = 0
) -> list[Sample]:
    """Samples of a benchmark, in a fixed order.

    tasks: only these. n_samples: at most so many in all, shared as evenly as they allow among the (task, category)
    groups, drawn by `seed`. A larger n_samples keeps every sample of a smaller one, so a run can be extended.
    """
    samples = _benchmark(name)
    known = dict.fromkeys(sample.task for sample in samples)
    wanted = list(known) if tasks is None else list(tasks)
    if missing := [task for task in wanted if task not in known]:
        raise ValueError(f"{name} has no task {', '.join(map(repr, missing))}; allowed: {', '.join(known)}")
    if n_samples is not None and n_samples < 1:
        raise ValueError(f"n_samples is {n_samples}; at least 1 is needed")
    groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.task in wanted:
            groups[sample.task, sample.category].append(sample)
    rng = np.random.default_rng(seed)
    shuffled = [[group[i] for i in rng.permutation(len(group))] for group in groups.values()]
    turns = max((len(group) for group in shuffled), default=0)
    taken = [group[turn] for turn in range(turns) for group in shuffled if turn < len(group)]
    return taken[:n_samples]
