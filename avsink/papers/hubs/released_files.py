"""What the readers of all released files share: finding files, reading rows, checking numbers.

1. `find`: the files of a kind below folders, or files given by name;
2. `json_lines`: reads files called ``.json`` that hold one object a line;
3. `gather`: puts the rows of files into a table, and lists what is wrong with the others;
4. `number`, `probability`: check single values. Their ValueErrors become the reasons of problems.
   `avsink.datasets.files.chats` does the same for texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from avsink import resources
from avsink.datasets.files import tables
from avsink.datasets.files.sources import MissingData
from avsink.datasets.files.tables import Row, TableError
from avsink.datasets.loaded import Problem, check_text

__all__ = ["Released", "find", "gather", "json_lines", "number", "probability"]


@dataclass(frozen=True, kw_only=True)
class Released:
    """What was read from released files.

    Attributes:
        table: The rows that could be read.
        problems: Those that could not, by file and row.
        files: All files that were looked at.
        lacking: What is unknown of the rows in the table, one sentence each.
    """

    table: pd.DataFrame
    problems: tuple[Problem, ...] = ()
    files: tuple[Path, ...] = ()
    lacking: tuple[str, ...] = ()


def find(paths: Iterable[Path | str], wanted: Callable[[Path], bool], pattern: str) -> tuple[Path, ...]:
    """Find files.

    Args:
        paths: Folders, which are searched for wanted files, and files, which are taken whatever their name.
        wanted: Whether a file below a folder is of the right kind, by its path relative to that folder.
        pattern: What wanted files are called, for the error message.

    Returns:
        Each file once.

    Raises:
        MissingData: A path does not exist, or there is no file.
    """
    paths = [resources.expanded(path) for path in paths]
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(below for below in path.rglob("*.json*") if wanted(below.relative_to(path)))
        elif path.is_file():
            found.append(path)
        else:
            raise MissingData(f"there is no file or folder {path}")
    if not found:
        raise MissingData(f"no {pattern} in {', '.join(map(str, paths)) or 'nothing'}")
    return tuple(dict.fromkeys(found))


def json_lines(path: Path) -> list[Row]:
    """Read the objects of a file with one object a line, or with one list of objects. A bad line has a fault.

    Raises `TableError` if the file cannot be read at all.
    """
    content = tables.text(path)
    if content.lstrip().startswith("["):
        found = tables.read_json(path)
        numbered = list(enumerate(found if isinstance(found, list) else [], start=1))
        return [_object(value, f"{path.name}, row {n}") for n, value in numbered]
    rows = []
    for n, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path.name}, line {n}"
        try:
            rows.append(_object(tables.json_of(line, "it"), where))
        except TableError as error:
            rows.append(Row(values={}, where=where, fault=str(error)))
    return rows


def gather(
    files: tuple[Path, ...],
    read: Callable[[Path], list[Row]],
    *,
    key: str,
    clip: Callable[[Mapping[str, object]], str],
    convert: Callable[[Path, Mapping[str, object]], list[dict]],
    columns: list[str],
) -> Released:
    """Put the rows of files into one table; a file may have one row per clip.

    A file that cannot be read, or in which no row has the key, is one problem. So is a row with a fault, a second row
    of a clip, and a row of which `clip` or `convert` raises ValueError.

    Args:
        files: To be read, in this order.
        read: File -> its rows; may raise `TableError`.
        key: A name that at least one row has in files of the right kind.
        clip: Values of a row -> the clip that it shows.
        convert: (file, values of a row) -> rows of the table.
        columns: Columns of the table.

    Returns:
        The table, the problems and the files.
    """
    found, problems = [], []
    for path in files:
        try:
            rows = read(path)
            if not any(key in row.values for row in rows):
                raise TableError(f"{path.name} has no row with {key}: it is another kind of file, or empty")
        except TableError as error:
            problems.append(Problem(id=path.name, reason=str(error), where=str(path)))
            continue
        first: dict[str, str] = {}
        for row in rows:
            id = f"({row.where})"
            try:
                if row.fault:
                    raise ValueError(row.fault)
                check_text(row.values)
                id = clip(row.values)
                if id in first:
                    raise ValueError(f"there is another row of this clip at {first[id]}")
                first[id] = row.where
                found += convert(path, row.values)
            except ValueError as error:
                problems.append(Problem(id=id, reason=str(error), where=row.where))
    return Released(table=pd.DataFrame(found, columns=columns), problems=tuple(problems), files=files)


def number(value: object) -> bool:
    """Whether this is a finite number or NaN."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return not math.isinf(float(value))
    except OverflowError:
        return False


def probability(values: Mapping[str, object], name: str) -> float:
    """A probability; rounding in float32 may have put it slightly above 1. Raises ValueError if it is not one."""
    value = values.get(name)
    if not number(value) or not 0 <= value <= 1 + 1e-6:
        raise ValueError(f"its {name} is {value!r}; a probability is expected")
    return float(value)


def _object(value: object, where: str) -> Row:
    if not isinstance(value, dict):
        return Row(values={}, where=where, fault="it is not a JSON object")
    key = tables.repeated(value)
    return Row(values=value, where=where, fault=f"it has the key {key!r} twice" if key else "")
