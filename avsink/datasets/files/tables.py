"""Published tables, in csv, tsv, json, jsonl or parquet, as rows of plain values.

1. `find`: the files of a table in a folder, by the names under which they are published;
2. `read`: all rows of one file, in order. Nulls, NaN and empty cells become None, and each row records its place. A row
   with too many or too few cells is still a row, with a `fault`, which the caller must report;
3. a file that cannot be read (a column missing, cut off, not UTF-8, an unclosed quote) is a `TableError`. A csv is read
   strictly: a lenient reader would silently drop all rows between one stray quote and the next. Of a repeated key in a
   JSON object, most readers silently keep the last value: `repeated` finds it, and it makes its row faulty;
4. `read_bare`: the same for a table without a header, whose columns the caller names;
5. `as_list`: a list, given as a list or as the text of one (``"['A. yes', 'B. no']"``);
6. `lacking`: tables without rows, and missing shards of a table in several files (``test-00000-of-00003.parquet``).
"""

from __future__ import annotations

import ast
import csv
import io
import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Row",
    "TableError",
    "as_list",
    "brief",
    "different",
    "find",
    "json_of",
    "lacking",
    "numbered",
    "pairs",
    "read",
    "read_bare",
    "read_json",
    "repeated",
    "text",
]

LONGEST_CELL = 2**31 - 1  # characters; the csv module's default limit is shorter than some captions
SHARD = re.compile(r"(.*-)(\d+)(-of-(\d+)\..*)")
NAMED = 6  # missing files that a message names


class TableError(ValueError):
    """A file that cannot be read as the expected table."""

    def __init__(self, message: str):
        super().__init__(brief(message))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table: where it is (file and number, from 1), and its fault (why it is incomplete, or '')."""

    values: Mapping[str, object]
    where: str
    fault: str = ""


class _Repeated(dict):
    """A JSON object with a repeated key; a plain dict would keep only the last."""

    def __init__(self, pairs: list[tuple[str, object]]):
        super().__init__(pairs)
        self.pairs = pairs


def find(root: Path, *patterns: str) -> list[Path]:
    """The files of the first pattern that matches any, sorted; searched in `root`, then in `root/data`.

    Raises:
        TableError: If a folder, or a link that leads nowhere, has the name of a table.
    """
    for pattern in patterns:
        for folder in (root, root / "data"):
            plain = not set("*?[") & set(pattern)
            there = [folder / pattern] if plain else folder.glob(pattern)
            found = sorted(path for path in there if os.path.lexists(path))
            if odd := [path for path in found if not path.is_file()]:
                raise TableError(f"{odd[0]} is {'a folder' if odd[0].is_dir() else 'a broken link'}, not a file")
            if found:
                return found
    return []


def brief(message: str, *, most: int = 500) -> str:
    """A message that people can read: what a file holds may be long, and is cut in the middle."""
    return message if len(message) <= most else f"{message[: most - 110]} ... {message[-100:]}"


def read(path: Path, *, needs: Sequence[str] = ()) -> list[Row]:
    """Read all rows of a file, which must have the columns `needs`.

    Raises:
        TableError: If the file cannot be read, or lacks a column.
    """
    readers = {".csv": _csv, ".tsv": _csv, ".json": _json, ".jsonl": _json, ".parquet": _parquet}
    if path.suffix not in readers:
        raise TableError(f"{path.name} is not a table of a known format; allowed: {', '.join(readers)}")
    columns, rows = readers[path.suffix](path)
    if missing := [name for name in needs if name not in columns]:
        raise TableError(
            f"{path.name} has no column {', '.join(missing)}; it has {', '.join(columns) or 'none'}. "
            "Is it a file of this dataset?"
        )
    return rows


def read_bare(
    path: Path, columns: Sequence[str], *, at_least: int = 0, comments: bool = False, spaced: bool = False
) -> list[Row]:
    """Read all rows of a csv or tsv without a header.

    Args:
        path: The file.
        columns: The names of its columns.
        at_least: The number of cells that a row must have; 0 for all.
        comments: Whether lines that begin with ``#`` are comments.
        spaced: Whether each comma is followed by a space, even before a quote.

    Raises:
        TableError: If the file cannot be read.
    """
    csv.field_size_limit(LONGEST_CELL)
    lines = io.StringIO(text(path), newline="")
    kept = (line for line in lines if not (comments and line.startswith("#")))
    delimiter = "\t" if path.suffix == ".tsv" else ","
    found: list[Row] = []
    try:
        for cells in csv.reader(kept, delimiter=delimiter, strict=True, skipinitialspace=spaced):
            if not cells:
                continue
            whole = (at_least or len(columns)) <= len(cells) <= len(columns)
            fault = "" if whole else f"it has {len(cells)} cells, {len(columns)} are expected: {', '.join(columns)}"
            values = {name: cell or None for name, cell in zip(columns, cells, strict=False)}
            found.append(Row(values=values, where=f"{path.name}, row {len(found) + 1}", fault=fault))
    except csv.Error as error:
        raise TableError(f"{path.name} cannot be read after row {len(found)}: {error}; fetch it again") from None
    return found


def numbered(path: Path, rows: Iterable[Mapping[str, object]]) -> Iterator[Row]:
    """Turn plain dicts into `Row`s, numbered from 1."""
    for number, values in enumerate(rows, start=1):
        yield _row(values, f"{path.name}, row {number}")


def lacking(tables: Mapping[Path, Sequence[Row]]) -> tuple[str, ...]:
    """What is missing from these tables (path -> rows), one sentence each."""
    sentences = [f"{path.name} holds no row" for path, rows in tables.items() if not rows]
    numbers: dict[tuple[str, str, int, int], set[int]] = {}
    for match in filter(None, (SHARD.fullmatch(path.name) for path in tables)):
        key = (match[1], match[3], len(match[2]), int(match[4]))
        numbers.setdefault(key, set()).add(int(match[2]))
    for (before, after, digits, total), there in numbers.items():
        if n_absent := total - sum(number < total for number in there):
            absent = (f"{before}{k:0{digits}}{after}" for k in range(total) if k not in there)
            more = f" and {n_absent - NAMED} more" if n_absent > NAMED else ""
            verb = "is" if n_absent == 1 else "are"
            sentences.append(f"{', '.join(itertools.islice(absent, NAMED))}{more} {verb} not there")
    return tuple(sentences)


def as_list(value: object, what: str) -> list:
    """A list, given as one or as the text of one; `what` names it in the error message.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value.strip())  # accepts literals only, so it cannot run code
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise ValueError(f"{what} cannot be read as a list: {_short(value)}") from None
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{what} is not a list: {_short(value)}")
    return list(value)


def read_json(path: Path) -> object:
    """Read a json file; `pairs` gives the items of its objects with repeated keys.

    Raises:
        TableError: If it is not JSON.
    """
    return json_of(text(path), path.name)


def repeated(value: object) -> str:
    """The first key that is repeated in an object of this JSON value, at any depth; "" if there is none."""
    if isinstance(value, _Repeated):
        keys = [key for key, _ in value.pairs]
        return next(key for key in keys if keys.count(key) > 1)
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next(filter(None, map(repeated, inside)), "")


def pairs(mapping: Mapping[str, object]) -> list[tuple[str, object]]:
    """The items of a JSON object in the order of the file, repeated keys included."""
    return mapping.pairs if isinstance(mapping, _Repeated) else list(mapping.items())


def _csv(path: Path) -> tuple[list[str], list[Row]]:
    csv.field_size_limit(LONGEST_CELL)
    delimiter = "\t" if path.suffix == ".tsv" else ","
    lines = csv.reader(io.StringIO(text(path), newline=""), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    try:
        columns = next(lines, [])
        different(columns, path)
        for cells in lines:
            if not cells:  # an empty line, at the end for example
                continue
            fault = "" if len(cells) == len(columns) else f"it has {len(cells)} cells, the table {len(columns)} columns"
            values = {name: cell or None for name, cell in zip(columns, cells, strict=False)}
            rows.append(Row(values=values, where=f"{path.name}, row {len(rows) + 1}", fault=fault))
    except csv.Error as error:
        place = f"after row {len(rows)} (line {lines.line_num})"
        raise TableError(f"{path.name} cannot be read {place}: {error}; fetch it again") from None
    return columns, rows


def _json(path: Path) -> tuple[list[str], list[Row]]:
    if path.suffix == ".jsonl":
        lines = enumerate(text(path).split("\n"), start=1)
        found = {
            where: json_of(line, where) for n, line in lines if line.strip() and (where := f"{path.name}, line {n}")
        }
    else:
        content = read_json(path)
        if not isinstance(content, list):
            raise TableError(f"{path.name} is not a list of rows")
        found = {f"{path.name}, row {n}": row for n, row in enumerate(content, start=1)}
    if odd := [where for where, row in found.items() if not isinstance(row, dict)]:
        raise TableError(f"{odd[0]} is not an object; a list of rows is expected")
    columns = list(dict.fromkeys(name for row in found.values() for name in row))
    return columns, [_row(row, where) for where, row in found.items()]


def json_of(content: str, where: str) -> object:
    """The value of a JSON text, as `read_json` returns it; `where` names it in the `TableError`."""
    try:
        return json.loads(content, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:  # ValueError also for a number of thousands of digits
        raise TableError(f"{where} is not JSON: {error}; fetch it again") from None


def _object(found: list[tuple[str, object]]) -> dict:
    as_dict = dict(found)
    return as_dict if len(as_dict) == len(found) else _Repeated(found)


def _row(values: Mapping[str, object], where: str) -> Row:
    key = repeated(values)
    fault = f"it has the key {key!r} twice" if key else ""
    return Row(values={name: _plain(value) for name, value in values.items()}, where=where, fault=fault)


def _parquet(path: Path) -> tuple[list[str], list[Row]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path).read()  # this file alone, not a directory of partitions
        different(table.column_names, path)
        return table.column_names, list(numbered(path, table.to_pylist()))
    except TableError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise TableError(f"{path.name} is not a parquet file, or is cut off: {error}; fetch it again") from None


def different(columns: Sequence[str], path: Path) -> None:
    """Check that no two columns have the same name. Raises `TableError`."""
    if len(set(columns)) != len(columns):
        raise TableError(f"{path.name} has two columns of the same name: {', '.join(columns)}")


def text(path: Path) -> str:
    """Read a text file in UTF-8.

    Raises:
        TableError: If it cannot be read or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")  # with or without the byte order mark that Excel writes
    except UnicodeDecodeError as error:
        raise TableError(f"{path.name} is not UTF-8 at byte {error.start}; fetch it again") from None
    except OSError as error:
        raise TableError(f"{path.name} cannot be read: {error.strerror}") from None


def _plain(value: object) -> object:
    if isinstance(value, float) and value != value:  # NaN
        return None
    return value if value != "" else None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
