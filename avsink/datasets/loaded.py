"""A dataset as it was loaded: its samples, and every row that could not become one.

All loaders pass their rows through `collect`, which does for each row:

1. give it an id: the dataset's name and the row's key, or its place in the file if it has no key;
2. if the id was seen before, the row is a problem, whatever its content: which of the two is right is unknown;
3. the loader converts it into a `Sample`, which must pass its own check. A ValueError becomes the row's problem.

So each row is exactly one sample or one problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from avsink.datasets.files.tables import Row, brief
from avsink.sample import Sample, SampleError

__all__ = ["Loaded", "Problem", "cell", "check_text", "collect", "key_of"]

WHOLE = re.compile(r"-?\d+\.0+", re.ASCII)  # a whole number, as written in a column of fractions


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A row that could not become a sample.

    Attributes:
        id: The id that its sample would have.
        reason: What is wrong with it.
        where: Its file and row.
    """

    id: str
    reason: str
    where: str = ""

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where and self.where not in self.id else ""
        return f"{brief(self.id)}: {brief(self.reason)}{place}"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A dataset as read from a folder.

    Attributes:
        tables: The files that the rows came from.
        lacking: What is missing besides, one sentence each.
        version: Which release of the labels this is, if there are several.
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
    """Convert rows into samples and problems.

    Args:
        name: The dataset's name.
        rows: Its rows.
        key: The column that identifies a row.
        convert: Takes an id and the values of a row; returns a sample, or raises ValueError.
    """
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
            check_text(row.values)
            if id in first:
                same = "the same row" if dict(row.values) == dict(first[id].values) else "another row with this id"
                raise ValueError(f"{same} is at {first[id].where}")
            sample = convert(id, row.values)
            sample.check()
            samples.append(sample)
        except ValueError as error:
            reason = error.reason if isinstance(error, SampleError) else str(error)
            problems.append(Problem(id=id, reason=reason, where=row.where))
        if own:
            first.setdefault(id, row)
    return tuple(samples), tuple(problems)


def check_text(value: object) -> None:
    """Check that all text in a value can be written down: half a surrogate pair cannot. Raises ValueError."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(value[error.start]):04x}"
            raise ValueError(f"{value!r} has half a character ({half}), which is no text") from None
    for inside in (*value, *value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        check_text(inside)


def cell(values: Mapping[str, object], column: str) -> str:
    """The text in a column, stripped.

    Raises:
        ValueError: If the cell is empty or not text.
    """
    value = values.get(column)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"its {column} is not text: {value!r}")
    if not value or not value.strip():
        raise ValueError(f"it has no {column}")
    return value.strip()


def key_of(value: object) -> str:
    """A number or text as a key, '' for anything else; 7, 7.0, "7" and "7.0" give the same key."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    key = str(value).strip() if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""
    return key.partition(".")[0] if WHOLE.fullmatch(key) else key
