"""What the released files have in common, and how their values are checked.

1. `find`: the files of a kind below folders, or files that are named;
2. `json_lines`: files called ``.json`` that hold one object a line;
3. `gather`: their rows as a table, and what is wrong with them;
4. `clip_of`: which clip a row shows; it is given as a path, a name, or the list of its frames;
5. `text`, `number`, `probability`: values as they should be. ValueError, in words for people, if they are not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from avsink.datasets.files import tables
from avsink.datasets.files.sources import MissingData
from avsink.datasets.files.tables import Row, TableError
from avsink.datasets.loaded import Problem

__all__ = ["Released", "clip_of", "find", "gather", "json_lines", "number", "probability", "text"]


@dataclass(frozen=True, kw_only=True)
class Released:
    """table: what could be read. problems: what could not, by file and row. files: all that were looked at."""

    table: pd.DataFrame
    problems: tuple[Problem, ...] = ()
    files: tuple[Path, ...] = ()


def find(paths: Iterable[Path | str], wanted: Callable[[Path], bool], pattern: str) -> tuple[Path, ...]:
    """All wanted files below the folders; a file that is named is taken whatever it is called. Raises `MissingData`."""
    paths = [Path(path).expanduser() for path in paths]
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(below for below in path.rglob("*.json*") if below.is_file() and wanted(below))
        elif path.is_file():
            found.append(path)
        else:
            raise MissingData(f"there is no file or folder {path}")
    if not found:
        raise MissingData(f"no {pattern} in {', '.join(map(str, paths)) or 'nothing'}")
    return tuple(dict.fromkeys(found))


def json_lines(path: Path) -> list[Row]:
    """The objects of a file, one a line, or of one list of them. A bad line has a fault. Raises `TableError`."""
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
            rows.append(_object(json.loads(line), where))
        except (ValueError, RecursionError) as error:
            rows.append(Row(values={}, where=where, fault=f"it is not JSON: {error}"))
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
    """Rows of files that hold one clip once. read: of one file, may raise `TableError`. clip: which one a row shows.

    A file in which no row has the key is another kind of file, and one problem. convert: what a row becomes. It and
    clip may raise ValueError.
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
                id = clip(row.values)
                if id in first:
                    raise ValueError(f"another row of this clip stands at {first[id]}")
                first[id] = row.where
                found += convert(path, row.values)
            except ValueError as error:
                problems.append(Problem(id=id, reason=str(error), where=row.where))
    return Released(table=pd.DataFrame(found, columns=columns), problems=tuple(problems), files=files)


def clip_of(video: object) -> str:
    """The clip that a row shows. Raises ValueError."""
    if isinstance(video, list) and video and isinstance(video[0], str):
        name = PurePosixPath(video[0]).parent.name
    else:
        name = PurePosixPath(video).name.split(".")[0] if isinstance(video, str) else ""
    if not name:
        raise ValueError(f"its video is {video!r}; a clip or its frames are expected")
    return name


def text(values: Mapping[str, object], name: str, *, empty: bool = False) -> str:
    """A text, without space around it. empty: it may be."""
    value = values.get(name)
    if not isinstance(value, str) or not (empty or value.strip()):
        raise ValueError(f"its {name} is {value!r}; a text is expected")
    return value.strip()


def number(value: object) -> bool:
    """Whether this is a number that a table can hold; NaN is one."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return not math.isinf(float(value))
    except OverflowError:
        return False


def probability(values: Mapping[str, object], name: str) -> float:
    """A probability. Theirs are float32, and may exceed 1 by rounding."""
    value = values.get(name)
    if not number(value) or not 0 <= value <= 1 + 1e-6:
        raise ValueError(f"its {name} is {value!r}; a probability is expected")
    return float(value)


def _object(value: object, where: str) -> Row:
    good = isinstance(value, dict)
    return Row(values=value if good else {}, where=where, fault="" if good else "it is no object")
