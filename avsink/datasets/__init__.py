"""Datasets by name: each has a loader that reads its files into `Sample`s.

    load_samples("toyworld", tasks=["anchor and target"], n_samples=24)
    load_samples("worldsense", root="/data/worldsense", selection="knockout", prompt="official.json")

This room imports `avsink.sample`, `avsink.media`, `avsink.compat` and `avsink.resources`, and nothing of models. The
toy world is one loader among others, imported when it is asked for.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from importlib import import_module
from numbers import Integral
from pathlib import Path
from typing import Literal

import numpy as np

from avsink.datasets.loaded import Loaded
from avsink.sample import Media, Sample, SampleError, Text

__all__ = ["DATASETS", "Loaded", "Media", "Sample", "SampleError", "Text", "load", "load_samples", "tasks_of"]

KINDS = {"clip": "questions about one clip", "interleaved": "prompts with candidates and a reference"}
SHOWN = 3  # problems quoted in a warning


def _published(module: str) -> Callable[..., Loaded]:
    """The loader in a module, which is imported at the first call."""
    return lambda root="", **how: import_module(f"avsink.datasets.{module}").load(root, **how)


DATASETS: dict[str, Callable[..., Loaded]] = {
    "toyworld": _published("toyworld"),
    "av-speakerbench": _published("av_speakerbench"),
    "worldsense": _published("worldsense"),
    "av-odyssey": _published("av_odyssey"),
    "vggsound": _published("vggsound"),
    "vggsounder": _published("vggsounder"),
    "audioset": _published("audioset"),
    "hubs": _published("hubs"),
}
"""Name -> loader. It takes the folder of the files ("" for the default), and `prompt` if the dataset has templates."""


def load(name: str, root: Path | str = "", *, prompt: Path | str = "") -> Loaded:
    """Read a dataset: all samples, and the problems found in its files.

    Args:
        name: A name in `DATASETS`.
        root: Where the files are, see `avsink.datasets.files.sources`.
        prompt: The template of its questions: the name of one, or a JSON file; "" for the default
            (`avsink.datasets.prompts`).

    Raises:
        ValueError: If no dataset has this name, or no such template can be used for it.
        MissingData: If the files are not there.
    """
    if not isinstance(name, str) or name not in DATASETS:
        raise ValueError(f"unknown dataset {name!r}; allowed: {', '.join(DATASETS)}")
    if not isinstance(prompt, str | Path):
        raise ValueError(f'prompt is {prompt!r}; allowed: the name of a template, a JSON file, or "" for the default')
    if not str(prompt):
        return DATASETS[name](root)

    from avsink.datasets.prompts import template

    words = template(prompt, name)
    loaded = DATASETS[name](root, prompt=prompt)
    words.check_tasks(sample.task for sample in loaded.samples)
    return loaded


def tasks_of(name: str, root: Path | str = "") -> list[str]:
    """The tasks of a dataset, in the order in which they first occur."""
    return list(dict.fromkeys(sample.task for sample in load(name, root).samples))


def load_samples(
    name: str,
    *,
    root: Path | str = "",
    tasks: str | Iterable[str] | None = None,
    selection: str | None = None,
    kind: Literal["clip", "interleaved"] | None = None,
    n_samples: int | None = None,
    seed: int = 0,
    prompt: Path | str = "",
) -> list[Sample]:
    """Samples of a dataset, in a fixed order.

    Rows that cannot be used are left out with one warning.

    Args:
        name: A name in `DATASETS`.
        root: Where the files are, see `avsink.datasets.files.sources`.
        tasks: Only this task or these; None for all.
        selection: Only the samples that Flow uses, for example "knockout" (`avsink.datasets.selections`).
        kind: What all samples must be: questions about one clip, or interleaved prompts; None for either.
        n_samples: At most this many in total, spread as evenly as possible over the (task, category) groups. A larger
            number keeps every sample of a smaller one, so that a measure can be extended.
        seed: Of the order in which the samples of each group are drawn.
        prompt: The template of its questions: the name of one, or a JSON file; "" for the default
            (`avsink.datasets.prompts`).

    Raises:
        ValueError: If an argument cannot be used, no row can be used, or a sample is of another kind.
        MissingData: If the files are not there.
    """
    if n_samples is not None and (not isinstance(n_samples, Integral) or n_samples is True or n_samples < 1):
        raise ValueError(f"n_samples is {n_samples!r}; allowed: a whole number from 1 on, or None for all")
    if kind is not None and (not isinstance(kind, str) or kind not in KINDS):
        raise ValueError(f"unknown kind {kind!r}; allowed: {', '.join(KINDS)}, or None for either")
    wanted = [tasks] if isinstance(tasks, str) else list(tasks) if isinstance(tasks, Iterable) else []
    if tasks is not None and not (wanted and all(isinstance(task, str) for task in wanted)):
        raise ValueError(f"tasks is {tasks!r}; allowed: a task, several tasks, or None for all")
    loaded = load(name, root, prompt=prompt)
    if selection is not None:
        from avsink.datasets.selections import select

        loaded = select(loaded, selection)
    if not loaded.samples:
        raise ValueError(_summary(loaded, root))
    if loaded.problems or loaded.lacking:
        warnings.warn(_summary(loaded, root), stacklevel=2)

    known = dict.fromkeys(sample.task for sample in loaded.samples)
    wanted = wanted or list(known)
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
    taken = taken[:n_samples]
    if wrong := [sample for sample in taken if kind not in (None, sample.kind)]:
        raise ValueError(
            f"{KINDS[kind]} are needed; {len(wrong)} of {len(taken)} samples are not such, for example {wrong[0].id} "
            f"({wrong[0].task}); choose another task or selection"
        )
    return taken


def _summary(loaded: Loaded, root: Path | str) -> str:
    """A summary of what is wrong with a dataset's files, in a few lines."""
    usable = f"{len(loaded.samples)} can" if loaded.samples else "none is left"
    lines = list(loaded.lacking)
    if loaded.problems or not loaded.samples:
        lines.append(f"{len(loaded.problems)} rows cannot be used, {usable}")
        lines += [f"  {problem}" for problem in loaded.problems[:SHOWN]]
    where = f" --root {root}" if root else ""
    return "\n".join([f"{loaded.name}:", *lines, f"Full report: python -m avsink.datasets.check {loaded.name}{where}"])
