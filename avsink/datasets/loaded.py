"""What a benchmark's files gave: its samples, and by id everything that could not become one.

`collect`, the way of every row of every loader:

1. its id is the benchmark's name and the row's key; without a key, the place where the row stands;
2. an id met before makes the row a problem, whatever it says: which of the two is right cannot be told;
3. the loader makes a `Sample` of it, which must pass its own check. A ValueError on the way is the row's problem.

So each row is one sample or one problem: none is dropped, none counted twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from avsink.datasets.files.tables import Row
from avsink.sample import Sample, SampleError

__all__ = ["Loaded", "Problem", "cell", "collect", "key_of"]

WHOLE = re.compile(r"-?\d+\.0+", re.ASCII)  # a whole number, as a table writes it whose column holds fractions


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A row that is no sample. where: its file and row."""

    id: str
    reason: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.id}: {self.reason}" + (f" ({self.where})" if self.where and self.where not in self.id else "")


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A benchmark as it lies in a folder.

    tables: the files that the rows came from. lacking: what should be there beside them, one sentence each.
    version: which release of the labels it is, where there are several.
    """

    name: str
    samples: tuple[Sample, ...]
    problems: tuple[Problem, ...] = ()
    tables: tuple[Path, ...] = ()
    lacking: tuple[str, ...] = ()
    version: str = ""


def collect(
    name: str, rows: Iterable[Row], *, key: str, convert: Callable[[str, Mapping[str, object]], Sample]
) -> tuple[tuple[Sample, ...], tuple[Problem, ...]]:
    """Samples and problems of all rows. convert(id, values): makes one sample, or raises ValueError."""
    samples: list[Sample] = []
    problems: list[Problem] = []
    first: dict[str, Row] = {}
    for row in rows:
        own = key_of(row.values.get(key))
        id = f"{name}/{own}" if own else f"{name}/({row.where})"
        try:
            if row.fault:
                raise ValueError(row.fault)
            if not own:
                raise ValueError(f"it has no {key}")
            if id in first:
                same = "the same row" if dict(row.values) == dict(first[id].values) else "another row with this id"
                raise ValueError(f"{same} stands at {first[id].where}")
            sample = convert(id, row.values)
            sample.check()
            samples.append(sample)
        except ValueError as error:
            reason = error.reason if isinstance(error, SampleError) else str(error)
            problems.append(Problem(id=id, reason=reason, where=row.where))
        if own:
            first.setdefault(id, row)
    return tuple(samples), tuple(problems)


def cell(values: Mapping[str, object], column: str) -> str:
    """The text in a column, without space around it. Raises ValueError if there is none."""
    value = values.get(column)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"its {column} is no text: {value!r}")
    if not value or not value.strip():
        raise ValueError(f"it has no {column}")
    return value.strip()


def key_of(value: object) -> str:
    """A number or text as a key, '' if there is none; 7, 7.0, "7" and "7.0" are the same."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    key = str(value).strip() if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""
    return key.partition(".")[0] if WHOLE.fullmatch(key) else key
