"""Damaged tables of data sets through every loader: each row is a sample, or it is said why not, and where.

A trial copies a set of `hostile.manifest_sets`, damages its table in one place, and loads it. The truth is the set
before, and what the change means:

1. a byte order mark, other ends of lines and empty lines mean nothing: all is as before, and nothing is said;
2. a row that is there twice, in the same words or in others, is said to be; no sample is doubled, and the first counts;
3. any other damage: every sample is as before or missing, and what is missing is said with its id, its row or the file.
   If the rows are about many samples, all of them may change, but not in silence;
4. a file that cannot be read is an error that names it. An error is one sentence, raised on purpose.
"""

from __future__ import annotations

import copy
import csv
import gzip
import io
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hostile.trial import LONGEST_MESSAGE, Suite, Verdict, refused

__all__ = ["SUITE"]

WHOLE = "whole file"
WRONG = (None, True, False, 5, -1, 1.5, float("nan"), float("inf"), "", "  ", [], ["x"], {}, {"a": 1}, [[1]], "\ud800")
CELLS = ("", "   ", "[]", "None", "'", "{'a': 1}", "nan", "W" * 40_000, "1e999", "-1", "\x00")
OUTSIDE = ("/etc/passwd", "../outside.mp4", "a/../../outside.mp4", "~/outside.mp4", "not there.mp4", "\x00.mp4", ".")


@dataclass(frozen=True)
class Damage:
    """What was done to a table.

    what: in a few words.
    harmless: whether it means nothing.
    told: texts of which one must be said, whatever is left; () if nothing has to be.
    of: the column or key that was changed, "" if it was a row or the file.
    means: another text in a cell, which may be what the cell says now.
    """

    what: str
    harmless: bool = False
    told: tuple[str, ...] = ()
    of: str = ""
    means: str = ""


def _setup(folder: Path) -> dict:
    from hostile.manifest_sets import SETS

    made = {}
    for name, kind in SETS.items():
        root = folder / name.replace(" ", "-")
        root.mkdir()
        kind.make(root)
        made[name] = (kind, root, kind.load(root))
        shutil.rmtree(root / "unpacked", ignore_errors=True)
    return made


def _trial(made: dict, rng: random.Random, folder: Path) -> Verdict:
    name = rng.choice(list(made))
    kind, source, before = made[name]
    root = folder / "set"
    shutil.copytree(source, root, copy_function=os.link)
    table = root / kind.table
    content = table.read_bytes()
    table.unlink()  # it is linked to the original
    damage = None
    while damage is None:
        damage = rng.choice((_of_file, FORMS[kind.form], FORMS[kind.form]))(content, rng, table, kind)
    what = f"{name}: {damage.what}"
    try:
        after = kind.load(root)
    except (ValueError, OSError) as error:
        return refused(error, what, names=[] if damage.what == "missing" else [table.name])
    problem = _problem(before, after, damage, kind, table)
    said = problem or "; ".join(sorted(set(after.said) - set(before.said)))[:300]
    outcome = "silently wrong" if problem else "named" if set(after.said) - set(before.said) else "right"
    return Verdict(outcome=outcome, what=what, said=said)


def _problem(before, after, damage: Damage, kind, table: Path) -> str:
    """What is wrong with what was loaded, if nobody said so."""
    new = " ".join(sorted(set(after.said) - set(before.said)))
    if doubled := [id for id, contents in after.items.items() if len(contents) > 1]:
        return f"{doubled[0]} is there {len(after.items[doubled[0]])} times"
    if too_long := [text for text in after.said if len(text) > LONGEST_MESSAGE]:
        return f"a message of {len(too_long[0])} characters"
    if damage.harmless:
        return "" if (after.items, after.said) == (before.items, before.said) else f"it changed something: {new[:300]}"
    if damage.told and not any(text in new for text in (*damage.told, table.name) if text != WHOLE):
        return f"nobody says so: {new[:300]!r}"
    if kind.shared and table.name in new:
        return ""
    others = [id for id in after.items if id not in before.items]
    renamed = damage.means and len(others) == 1 and damage.means in others[0]  # another id in the cell of the id
    for id, contents in before.items.items():
        if id not in after.items:
            if not renamed and not any(text in new for text in (id, table.name)):
                return f"{id} is missing in silence; said: {new[:300]!r}"
        elif after.items[id] != contents and not (
            (damage.told and damage.told[0] in id and damage.told[0] in new)
            or (damage.means and json.dumps(damage.means)[1:-1] in after.items[id][0])
            or _only_kept(contents[0], after.items[id][0], damage, kind)
        ):
            return f"{id} was {contents[0][:300]} and is {after.items[id][0][:300]}"
    return f"{others[0]} is new" if others and not renamed else ""


def _only_kept(before: str, after: str, damage: Damage, kind) -> bool:
    """Whether two contents differ only in what is kept as it is in the table."""
    if damage.of not in kind.loose:
        return False
    one, other = json.loads(before), json.loads(after)
    return {**one, "truth": None} == {**other, "truth": None} if "truth" in one else True


# Damage to files


def _of_file(content: bytes, rng: random.Random, table: Path, kind) -> Damage | None:
    text = kind.form != "parquet"
    ways = ["utf-16", "gzip", "empty", "folder", "latin-1", "page", "pointer", "noise", "missing", "link"]
    ways += ["mark", "carriage returns", "empty lines", "mark"] if text else []
    ways += ["cut"] if kind.form in ("json", "jsonl", "parquet") else []
    match way := rng.choice(ways):
        case "folder":
            table.mkdir()
        case "missing":
            if kind.optional:
                return None
        case "link":
            table.symlink_to("nowhere")
        case "mark":
            if b"\xef\xbb\xbf" in content:
                return None
            table.write_bytes(b"\xef\xbb\xbf" + content)
        case "carriage returns":
            table.write_bytes(content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        case "empty lines":
            lines = content.splitlines(keepends=True)
            if kind.form in ("jsonl", "csv", "bare"):
                lines.insert(rng.randrange(1, len(lines) + 1), b"\n")
            table.write_bytes(b"".join(lines) + b"\n\n")
        case "utf-16":
            table.write_bytes(content.decode(errors="replace").encode("utf-16"))
        case "gzip":
            table.write_bytes(gzip.compress(content, mtime=0))
        case "empty":
            table.write_bytes(b"")
        case "latin-1":
            at = rng.randrange(len(content))
            table.write_bytes(content[:at] + b"\xfc" + content[at:])
            if not text:
                return None if table.unlink() is None else None
        case "page":
            table.write_text("<!DOCTYPE html>\n<html><body>404: not found, sorry</body></html>\n")
        case "pointer":
            table.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n")
        case "noise":
            table.write_bytes(rng.randbytes(rng.randrange(1, 2000)))
        case "cut":
            table.write_bytes(content[: rng.randrange(len(content) // 4, len(content) - 3)])
    return Damage(way, harmless=way in ("mark", "carriage returns", "empty lines"), told=(WHOLE,))


# Damage to rows


def _of_csv(content: bytes, rng: random.Random, table: Path, kind) -> Damage | None:
    spaced = kind.form == "spaced"
    delimiter = "\t" if table.suffix == ".tsv" else ","
    lines = content.decode().splitlines(keepends=True)
    head = [line for line in lines if spaced and line.startswith("#")]
    rows = list(csv.reader(lines[len(head) :], delimiter=delimiter, skipinitialspace=spaced))
    columns = rows.pop(0) if kind.form == "csv" else [str(k) for k in range(len(rows[0]))]
    at = rng.randrange(len(rows))
    row, column = rows[at], rng.randrange(len(columns))
    told: tuple[str, ...] = ()
    of = means = ""
    match way := rng.choice(
        ("twice", "again", "cell", "cell", "cell", "path", "fewer", "more", "quote", "two columns")
    ):
        case "twice":
            rows.insert(rng.randrange(len(rows) + 1), list(row))
            told = (row[0],)
            if row[-1] == "train":
                return None  # rows of another split are not read
        case "again":
            other = rows[(at + 1) % len(rows)]
            rows.insert(rng.randrange(len(rows) + 1), [row[0], *other[1:]])
            told = (row[0].removesuffix(".mp4"),)
            if kind.shared or spaced or columns == ["0", "1", "2", "3"]:  # rows of one key belong together
                return None
        case "cell":
            row[column] = rng.choice(CELLS[:2] if kind.shared else CELLS)
            of, means = columns[column], row[column].strip()
        case "path":
            if not (named := [name for name in kind.paths if name in columns]):
                return None
            of = named[0]
            row[columns.index(of)] = rng.choice(OUTSIDE)
            if of == "video_path":
                return None  # one of several places where the video may be
            told = (row[0],)
        case "fewer":
            del row[column]
            told = (WHOLE,)
            if kind.form == "bare" and table.name == "stat.csv":
                return None  # the older form of this table has fewer columns
        case "more":
            row.insert(column, "more")
            told = (WHOLE,)
        case "two columns":
            if kind.form != "csv" or len(columns) < 2:
                return None
            columns[column] = columns[column - 1]
            told = (WHOLE,)
        case "quote":
            told = (WHOLE,)
    out = io.StringIO(newline="")
    if spaced:
        out.write("".join(head))
        out.writelines(", ".join([*cells[:-1], f'"{cells[-1]}"']) + "\n" for cells in rows)
    else:
        csv.writer(out, delimiter=delimiter).writerows([columns, *rows] if kind.form == "csv" else rows)
    text = out.getvalue()
    if way == "quote":
        place = rng.randrange(len(text) // 2, len(text) - 2)
        text = text[:place] + delimiter + '"' + text[place:]
    table.write_bytes(text.encode())
    shown = f" to {ascii(row[column])[:40]}" if way == "cell" else ""
    return Damage(
        f"{way}, row {at + 1}, column {of or columns[min(column, len(columns) - 1)]}{shown}",
        told=told,
        of=of,
        means=means,
    )


def _of_json(content: bytes, rng: random.Random, table: Path, kind) -> Damage | None:
    value = json.loads(content)
    damage = _of_value(value, rng, kind)
    if damage is None:
        return None
    changed, done = damage
    table.write_text(_written(changed))
    return done


def _of_lines(content: bytes, rng: random.Random, table: Path, kind) -> Damage | None:
    rows = [json.loads(line) for line in content.decode().split("\n") if line]
    match rng.choice(("line", "line", "twice", "again", "junk", "value", "U+2028")):
        case "twice" | "again" as way:
            row = copy.deepcopy(rng.choice(rows))
            if way == "again":
                other = copy.deepcopy(rng.choice(rows))
                row = other | {name: row[name] for name in ("id", "video") if name in row}
                if table.name != "manifest.jsonl":
                    return None  # a clip may have several rows of one number
            rows.insert(rng.randrange(len(rows) + 1), row)
            texts, done = [_written(row) for row in rows], Damage(f"{way} {row['id']}", told=(str(row["id"]), WHOLE))
        case "junk":
            texts = [_written(row) for row in rows]
            texts.insert(
                rng.randrange(len(texts) + 1), rng.choice(("{", "null", "[1]", "x", '"text"', "{}", "1", "{'a': 1}"))
            )
            done = Damage("a line that is no row", told=("line",))
        case "value":
            texts, done = [_written(rng.choice(WRONG[7:]))], Damage("no row at all", told=(WHOLE,))
        case "U+2028":
            texts = [_written(row) for row in rows]
            at = rng.randrange(len(texts))
            texts[at] = texts[at].replace(": ", ":\u2028 ", 1)
            done = Damage(f"U+2028 between key and value, line {at + 1}", told=(f"line {at + 1}",))
        case _:
            at = rng.randrange(len(rows))
            damage = _of_value(rows[at], rng, kind)
            if damage is None:
                return None
            rows[at], done = damage
            texts = [_written(row) for row in rows]
    table.write_text("\n".join(texts) + "\n")
    return done


def _of_value(value: object, rng: random.Random, kind) -> tuple[object, Damage] | None:
    """A JSON value with one place in it changed."""
    places = [place for place in _places(value) if place[1]]
    parent, path = rng.choice(places)
    key = path[-1]
    name = next((str(part) for part in reversed(path) if isinstance(part, str)), "")
    shown = "/".join(map(str, path))[:60]
    old = parent[key]
    match rng.choice(("wrong", "wrong", "wrong", "gone", "path", "two keys", "twice")):
        case "wrong":
            new = rng.choice([one for one in WRONG if _kind_of(one) != _kind_of(old)])
            parent[key] = new
            return value, Damage(f"{shown} is {new!r}", of=name)
        case "gone":
            if isinstance(parent, list) or (kind.form == "json" and isinstance(old, dict | list) and len(path) < 3):
                return None  # a shorter list, or an object without one of its records, means something else
            del parent[key]
            return value, Damage(f"{shown} is gone", of=name)
        case "path":
            if name not in kind.paths or not isinstance(old, str):
                return None
            parent[key] = rng.choice(OUTSIDE)
            return value, Damage(f"{shown} is {parent[key]!r}", told=("file", WHOLE), of=name)
        case "two keys":
            if not isinstance(parent, dict):
                return None
            parent[_Twice(key)] = rng.choice(WRONG[:12])
            return value, Damage(f"{shown} is there twice", told=("twice", "two", "more than one", "another"), of=name)
        case "twice":
            if not isinstance(parent, list) or not isinstance(old, dict | list) or len(path) > 1:
                return None
            parent.append(copy.deepcopy(old))
            return value, Damage(f"{shown} is there twice", told=("another", "same", "second"))
    return None


class _Twice(str):
    """A key that is written a second time: it equals no other, and reads the same."""

    def __eq__(self, other):
        return self is other

    __hash__ = object.__hash__


def _kind_of(value: object) -> str:
    if isinstance(value, float) and value != value or value in (float("inf"), "", "  ", "\ud800"):
        return "odd"
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def _places(value: object, path: tuple = ()) -> Iterator[tuple[object, tuple]]:
    """(container, path) of every entry, at any depth."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in list(entries):
        yield value, (*path, key)
        yield from _places(entry, (*path, key))


def _written(value: object) -> str:
    """JSON, in which a `_Twice` is a repeated key."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))}: {_written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    return json.dumps(value)


def _of_parquet(content: bytes, rng: random.Random, table: Path, kind) -> Damage | None:
    import pyarrow
    import pyarrow.parquet

    whole = pyarrow.parquet.read_table(io.BytesIO(content))
    rows, names = whole.to_pylist(), whole.column_names
    at, name = rng.randrange(len(rows)), rng.choice(names)
    key = names[0]
    told: tuple[str, ...] = ()
    match way := rng.choice(("twice", "null", "null", "no column", "two columns", "numbers", "path", "not text")):
        case "twice":
            rows.append(rows[at])
            told = (str(rows[at][key]),)
        case "null":
            if name.rpartition("_")[0] in ("image", "audio", "video"):
                return None  # an empty slot, as in most rows
            rows[at][name] = None
        case "path":
            if not (named := [one for one in kind.paths if one in names and rows[at][one]]) or "video" in named[0]:
                return None
            name, outside = named[0], rng.choice(OUTSIDE[:-2])
            if isinstance(rows[at][name], dict):
                rows[at][name] = {"bytes": None, "path": outside}
            else:
                rows[at][name] = [outside, *rows[at][name][1:]]
            told = (str(rows[at][key]),)
    changed = pyarrow.Table.from_pylist(rows, schema=whole.schema)
    match way:
        case "no column":
            if name == "question_type_id":
                return None  # the published form may lack it
            changed = changed.drop_columns([name])
        case "two columns":
            changed = changed.append_column(name, changed[name])
            told = (WHOLE,)
        case "numbers":
            column = pyarrow.array([float("nan")] * len(rows))
            changed = changed.set_column(names.index(name), name, column)
        case "not text":
            bad = pyarrow.Array.from_buffers(
                pyarrow.string(),
                1,
                [None, pyarrow.py_buffer(b"\0\0\0\0\2\0\0\0"), pyarrow.py_buffer(b"\xff\xfe")],
            )
            column = pyarrow.concat_arrays([bad] * len(rows))
            changed = changed.set_column(names.index(name), name, column)
    pyarrow.parquet.write_table(changed, table)
    of = name if way in ("null", "no column", "numbers") else ""
    return Damage(f"{way}, row {at + 1}, column {name}", told=told, of=of)


FORMS: dict[str, Callable] = {
    "csv": _of_csv,
    "bare": _of_csv,
    "spaced": _of_csv,
    "json": _of_json,
    "jsonl": _of_lines,
    "parquet": _of_parquet,
}

SUITE = Suite(name="manifests", trials=1500, setup=_setup, trial=_trial)
