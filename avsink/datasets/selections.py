"""Which questions of each dataset Flow uses, and how many there are of each task (tables 5 to 12).

1. The tables are in `data/papers`. The file of table 5 includes table 6, that of table 7 table 8, that of table 9 table
   12; table 10 summarises table 11.
2. The selection `knockout` is for measuring the pathways; `cross-task` (WorldSense: `cross-dataset`) is for section 6.
3. WorldSense is further limited to videos shorter than one minute. The duration is read from each file; the table's
   own ``<1min`` is not trusted.

Task names are compared without case, ``_`` and ``-``, because the spelling in the published files is not always known.
The counts are the paper's. `select` does not enforce them; `python -m avsink.datasets.check` shows both.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from avsink import resources
from avsink.datasets.loaded import Loaded, Problem

__all__ = ["SELECTIONS", "SHORT", "Selection", "category_of", "same_task", "select"]

SHORT = 60.0  # seconds; the videos of Flow's WorldSense selections are shorter
ORDERS = {
    "cand_q_ref": ("candidates", "question", "reference"),
    "q_ref_cand": ("question", "reference", "candidates"),
    "ref_cand_q": ("reference", "candidates", "question"),
    "ref_q_cand": ("reference", "question", "candidates"),
}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The questions of one dataset that Flow uses for one purpose.

    Attributes:
        counts: Task -> number of questions in the paper.
        shorter_than: Upper limit of a video's duration in seconds; None for no limit.
        structures: Task -> order of an interleaved input -> number of questions in the paper.
    """

    counts: Mapping[str, int]
    shorter_than: float | None = None
    structures: Mapping[str, Mapping[tuple[str, ...], int]] = field(default_factory=dict)


def _rows(name: str) -> list[dict[str, str]]:
    with resources.existing("papers", name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _counts(rows: list[dict[str, str]], use: str) -> dict[str, int]:
    return {row["task"]: int(row["n"]) for row in rows if row["use"] == use}


@cache
def _speakers() -> list[dict[str, str]]:
    return [
        row | {"use": "cross-task" if row["category"] == "(cross-task)" else "knockout"}
        for row in _rows("flow_table5_av_speakerbench_tasks.csv")
    ]


@cache
def _selections() -> dict[str, dict[str, Selection]]:
    sense, odyssey = _rows("flow_table7_worldsense_tasks.csv"), _rows("flow_table9_av_odyssey_tasks.csv")
    structures = {
        row["task"]: {order: int(row[column]) for column, order in ORDERS.items()}
        for row in _rows("flow_table11_av_odyssey_structures.csv")
    }
    return {
        "av-speakerbench": {use: Selection(counts=_counts(_speakers(), use)) for use in ("knockout", "cross-task")},
        "worldsense": {
            use: Selection(counts=_counts(sense, use), shorter_than=SHORT) for use in ("knockout", "cross-dataset")
        },
        "av-odyssey": {
            "knockout": Selection(counts=_counts(odyssey, "knockout"), structures=structures),
            "cross-task": Selection(counts=_counts(odyssey, "cross-task")),
        },
    }


class _Read(Mapping):
    """The tables, read when they are first used."""

    def __getitem__(self, dataset: str) -> dict[str, Selection]:
        return _selections()[dataset]

    def __iter__(self) -> Iterator[str]:
        return iter(_selections())

    def __len__(self) -> int:
        return len(_selections())


SELECTIONS: Mapping[str, Mapping[str, Selection]] = _Read()
"""Dataset -> name of the selection -> selection."""


def same_task(name: str) -> str:
    """A task's name, normalised for comparison."""
    return " ".join(name.replace("_", " ").replace("-", " ").casefold().split())


def category_of(dataset: str, task: str) -> str:
    """The category under which Flow reports a task, '' if it has none."""
    if dataset != "av-speakerbench":
        return ""
    rows = (row for row in _speakers() if row["use"] == "knockout" and same_task(row["task"]) == same_task(task))
    return next((row["category"] for row in rows), "")


def select(loaded: Loaded, selection: str) -> Loaded:
    """Keep the samples of a selection, in their order. A video that cannot be opened becomes a problem.

    Raises:
        ValueError: If the dataset has no selection of this name, or no sample of its tasks.
    """
    allowed = SELECTIONS.get(loaded.name, {})
    if selection not in allowed:
        raise ValueError(
            f"{loaded.name} has no selection {selection!r}; allowed: {', '.join(allowed) or 'none'}, or None for all"
        )
    chosen = allowed[selection]
    wanted = {same_task(task) for task in chosen.counts}
    samples = [sample for sample in loaded.samples if same_task(sample.task) in wanted]
    if not samples and loaded.samples:
        tasks = ", ".join(dict.fromkeys(sample.task for sample in loaded.samples))
        raise ValueError(
            f"{loaded.name} has none of the tasks of the selection {selection!r} ({', '.join(chosen.counts)}); the "
            f"files in {loaded.tables[0].parent if loaded.tables else 'this folder'} name these tasks: {tasks}"
        )
    if chosen.shorter_than is None:
        return replace(loaded, samples=tuple(samples))

    from avsink.datasets.files.probe import seconds
    from avsink.media import MediaError  # PyAV is only needed here

    short, problems = [], list(loaded.problems)
    for sample in samples:
        try:
            if max(seconds(medium.path) for medium in sample.media) < chosen.shorter_than:
                short.append(sample)
        except MediaError as error:
            problems.append(Problem(id=sample.id, reason=str(error)))
    return replace(loaded, samples=tuple(short), problems=tuple(problems))
