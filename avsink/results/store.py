"""Rows that survive: every finished sample is on disk before the next one begins.

    store = ResultStore("knockout.sweep", model="tiny-omni", identity={...})
    store.save(sample, rows);  store.rows(sample)

A store is a folder ``<root>/<name>/<model>/<key>``. The key is a hash of the identity, which holds all that changes the
numbers (`avsink.results.fingerprints`), so old rows are never mistaken for new ones. In it are

- ``samples/<id>-<fingerprint>.parquet``: the rows of one sample; pandas reads the whole folder as one table;
- ``left_out/<id>-<fingerprint>.json``: why a sample has no rows, for good or when it was last tried;
- ``provenance.json``: the identity. Whoever writes it writes the same;
- ``records/<time>-<process>.json``: one for each measurement that used the store, written by that one alone: the
  commit, the samples that it asked for and those that it left out.

1. A file is written beside its place, flushed to disk, and then moved there. So a run that is killed leaves whole files
   only, and loses at most the sample in hand. What it leaves beside them is removed after a day.
2. Rows and reasons carry a seal: a hash of every other byte of the file, of its name and of the key. It is compared
   before anything else looks at the file. One that was damaged or exchanged, or that is no file at all, is put aside
   with a warning, and its sample is computed again.
3. A store that cannot be written can be read. It is an error, `Unwritable`, once there is something to keep.

Each part depends on its sample alone, so a longer run goes on from a shorter one.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import time
import uuid
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from avsink import resources
from avsink.results import fingerprints
from avsink.sample import Sample, SampleError, Unmeasured

__all__ = ["ResultStore", "Unwritable"]

SEAL, DIGITS = "avsink.seal:", 32  # a mark, and how many digits follow it
BLANK = SEAL + "0" * DIGITS
LONGEST = 80  # characters of a name within a file's name, for which file systems allow 255 bytes
UNFINISHED = re.compile(r"\..+\.\d+-[0-9a-f]{6}")  # a file that is being written
DAY = 86_400  # seconds
Content = TypeVar("Content")


class Unwritable(OSError):
    """A folder of results in which nothing can be kept."""

    def __init__(self, folder: Path, hindrance: str):
        super().__init__(
            f"no results can be kept in {folder}: {hindrance}. Mend that, or choose another folder (`results` of a "
            "notebook, `root` of `measure`, or $AVSINK_RESULTS). Finished samples stay and are not computed again"
        )


class ResultStore:
    """The results of one instrument on one model under one set of settings.

    Args:
        name: What was measured; the name of a folder.
        model: The model's name; the name of a folder below it.
        identity: All that changes the numbers, as JSON.
        root: The folder of all results; "" for `avsink.resources.results`.
    """

    def __init__(self, name: str, *, model: str, identity: Mapping[str, object], root: str | Path = ""):
        self.name, self.identity = name, json.loads(json.dumps(dict(identity)))
        self.folder = resources.results(root) / _slug(name) / _slug(model) / _key_of(self.identity)
        self._record = (
            self.folder / "records" / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}-{uuid.uuid4().hex[:6]}.json"
        )
        with suppress(Unwritable):
            self._open()

    def ensure_writable(self) -> None:
        """Raise `Unwritable` if rows could not be kept now: better before they are computed than after."""
        for folder in (self.folder / "samples", self.folder / "left_out"):
            if hindrance := resources.unwritable(folder):
                raise Unwritable(folder, hindrance)

    def rows(self, sample: Sample) -> pd.DataFrame | None:
        """The rows of a sample, or None if it has none. A damaged part is put aside with a warning."""
        return _intact(self._part(sample), lambda path: _rows_in(_unsealed(path)))

    def save(self, sample: Sample, rows: pd.DataFrame) -> pd.DataFrame:
        """Keep the sample's rows, and give them back as every later run will read them.

        Raises:
            TypeError: The rows cannot be kept as they are.
            Unwritable: Nothing can be kept.
        """
        path = self._part(sample)
        content = _sealed(_parquet(rows, sample), path)
        _write(path, content)
        return _rows_in(content)

    def leave_out(self, sample: Sample, error: SampleError) -> None:
        """Keep why the sample has no rows; if it is `Unmeasured`, it never will."""
        path = self._excuse(sample)
        record = {"sample": sample.id, "reason": error.reason, "lasting": isinstance(error, Unmeasured), "seal": BLANK}
        _write(path, _sealed(_json(record), path))

    def excuse(self, sample: Sample) -> SampleError | None:
        """Why the sample was left out, or None if it was not. A damaged file is put aside with a warning."""
        record = _intact(self._excuse(sample), lambda path: json.loads(_unsealed(path)))
        return record and (Unmeasured if record["lasting"] else SampleError)(sample.id, record["reason"])

    def describe(self, **facts: object) -> None:
        """Write `facts` into the record of this measurement, in place of those of an earlier call."""
        _write(self._record, _json(facts))

    def _open(self) -> None:
        if _intact(self.folder / "provenance.json", self._is_ours) is None:
            _write(self.folder / "provenance.json", _json(self.identity))
        for path in self.folder.glob("*/.*"):
            with suppress(OSError):
                if UNFINISHED.fullmatch(path.name) and time.time() - path.lstat().st_mtime > DAY:
                    path.unlink()

    def _is_ours(self, path: Path) -> bool:
        if _key_of(json.loads(_content(path))) != self.folder.name:
            raise ValueError("the key was made of something else")
        return True

    def _part(self, sample: Sample) -> Path:
        return self.folder / "samples" / f"{_file_name(sample)}.parquet"

    def _excuse(self, sample: Sample) -> Path:
        return self.folder / "left_out" / f"{_file_name(sample)}.json"


def _parquet(rows: pd.DataFrame, sample: Sample) -> bytes:
    """The rows as a file, with page checksums for other readers, and a blank seal in its footer."""
    if not isinstance(rows, pd.DataFrame):
        raise TypeError(f"sample {sample.id}: its rows are a {type(rows).__name__}, not a pandas.DataFrame")
    if rows.empty:
        raise TypeError(f"sample {sample.id} has no rows; raise avsink.Unmeasured if there is nothing to measure on it")
    if "sample" not in rows or not (rows[["sample"]] == sample.id).all(axis=None):
        raise TypeError(f"sample {sample.id}: its rows need a column `sample` that holds this id, and no other")
    if rows.index.name is not None or not pd.api.types.is_integer_dtype(rows.index):
        raise TypeError(f"sample {sample.id}: its rows have an index, which would be lost; call reset_index() on them")
    try:
        table = pa.Table.from_pandas(rows, preserve_index=False)
        if nested := [field.name for field in table.schema if pa.types.is_nested(field.type)]:
            raise TypeError(f"the column {nested[0]} holds several values in a cell")
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise TypeError(
            f"sample {sample.id}: rows must hold numbers and text, one in a cell, to be kept ({error})"
        ) from None
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, table.schema, write_page_checksum=True) as file:
        file.write_table(table)
        file.add_key_value_metadata({"seal": BLANK})
    return buffer.getvalue()


def _rows_in(content: bytes) -> pd.DataFrame:
    return pq.read_table(pa.BufferReader(content)).to_pandas()


def _sealed(content: bytes, path: Path) -> bytes:
    """The content with its seal, of which the last one counts: a hash of all else, the file's name and the key."""
    start = content.rfind(SEAL.encode()) + len(SEAL)
    before, after = content[:start], content[start + DIGITS :]
    facts = repr((path.parent.parent.name, path.stem, start)).encode()
    return before + hashlib.blake2b(facts + before + after, digest_size=DIGITS // 2).hexdigest().encode() + after


def _unsealed(path: Path) -> bytes:
    content = _content(path)
    if content != _sealed(content, path):
        raise ValueError("its content is not what was written")
    return content


def _content(path: Path) -> bytes:
    if not path.is_file():  # reading a pipe would wait for a writer
        raise ValueError("it is no file")
    return path.read_bytes()


def _intact(path: Path, read: Callable[[Path], Content]) -> Content | None:
    """What is in the file, or None if there is none; what cannot be read, whatever it is, is put aside."""
    tried = None
    while (found := _version(path)) is not None:
        try:
            return read(path)
        except Exception as error:
            if found == tried:
                _put_aside(path, error)
                return None
            tried = found  # another process may have written it anew meanwhile: look again
    return None


def _version(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _put_aside(path: Path, error: Exception) -> None:
    names = (f".{path.name}.damaged{number or ''}" for number in count())
    aside = next(place for name in names if not os.path.lexists(place := path.with_name(name)))
    try:
        os.replace(path, aside)
        done = f"was put aside as {aside.name}"
    except FileNotFoundError:
        done = "another process has put it aside"
    except OSError as hindered:
        done = f"could not be put aside, since {resources.hindrance(hindered)}"
    warnings.warn(f"{path} is damaged ({error}); it {done} and is not used", stacklevel=5)


def _write(path: Path, content: bytes) -> None:
    """Put a file in its place whole or not at all, even if the process or the machine dies meanwhile."""
    beside = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:6]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise Unwritable(path.parent, resources.hindrance(error)) from None
    with suppress(OSError):  # not every file system can do this
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name itself
        finally:
            os.close(folder)


def _file_name(sample: Sample) -> str:
    return f"{_slug(sample.id)}-{fingerprints.sample(sample)}"


def _json(record: Mapping[str, object]) -> bytes:
    """As JSON; a character that UTF-8 does not have is written as JSON's own escape."""
    return json.dumps(record, indent=2, ensure_ascii=False).encode(errors="backslashreplace")


def _key_of(identity: object) -> str:
    return hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=8).hexdigest()


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.")[:LONGEST]
