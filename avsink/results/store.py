"""Rows that survive: every finished sample is on disk before the next one begins.

    store = ResultStore("knockout.sweep", model="tiny-omni", identity={...})
    store.save(sample, rows);  store.rows(sample)

A store is a folder ``<root>/<name>/<model>/<key>``. The key is a hash of the identity, which holds all that changes the
numbers (`avsink.results.fingerprints`), so old rows are never mistaken for new ones. In it are

- ``samples/<id>-<fingerprint>.parquet``: the rows of one sample; pandas reads the whole folder as one table;
- ``left_out/<id>-<fingerprint>.json``: why a sample has no rows, now and always;
- ``provenance.json``: the identity. Whoever writes it writes the same;
- ``records/<time>-<process>.json``: one for each measurement that used the store, written by that one alone: the
  commit, the samples that it asked for and those that it left out.

A file is written beside its place, flushed to disk, and then moved there. So a run that is killed leaves whole files
only, and loses at most the sample in hand. A part is written with checksums and a hash of its content, name and key,
and read against them: one that was damaged or exchanged since is put aside and computed again. Each part depends on its
sample alone, so a longer run goes on from a shorter one.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import uuid
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from avsink import resources
from avsink.results import fingerprints
from avsink.sample import Sample, SampleError

__all__ = ["ResultStore"]

SEAL = b"avsink.seal"
Content = TypeVar("Content")


class ResultStore:
    """The results of one instrument on one model under one set of settings.

    Args:
        name: What was measured; the name of a folder.
        model: The model's name; the name of a folder below it.
        identity: All that changes the numbers, as JSON.
        root: The folder of all results; "" for `avsink.resources.results`.
    """

    def __init__(self, name: str, *, model: str, identity: Mapping[str, object], root: str | Path = ""):
        self.name, self.identity = name, dict(identity)
        key = hashlib.blake2b(json.dumps(self.identity, sort_keys=True).encode(), digest_size=8).hexdigest()
        self.folder = Path(root or resources.results()).expanduser() / _slug(name) / _slug(model) / key
        for part in ("samples", "left_out", "records"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        if not (made_of := self.folder / "provenance.json").is_file() or made_of.read_bytes() != _json(self.identity):
            _write(made_of, _json(self.identity))
        self._record = (
            self.folder / "records" / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}-{uuid.uuid4().hex[:6]}.json"
        )

    def rows(self, sample: Sample) -> pd.DataFrame | None:
        """The rows of a sample, or None if it has none. A damaged part is put aside with a warning."""
        return _intact(self._part(sample), _read_part)

    def save(self, sample: Sample, rows: pd.DataFrame) -> pd.DataFrame:
        """Keep the sample's rows, and give them back as every later run will read them."""
        table, path = pa.Table.from_pandas(rows, preserve_index=False), self._part(sample)
        seal = _seal(table.to_pandas(), path)
        buffer = io.BytesIO()
        table = table.replace_schema_metadata({**table.schema.metadata, SEAL: seal})
        pq.write_table(table, buffer, write_page_checksum=True)
        _write(path, buffer.getvalue())
        return _read_part(path)

    def leave_out(self, sample: Sample, error: SampleError) -> None:
        """Keep why the sample has no rows and never will."""
        path = self._excuse(sample)
        record = {"sample": sample.id, "reason": error.reason, "key": _key(path), "part": path.stem}
        _write(path, _json(record))

    def reason(self, sample: Sample) -> str | None:
        """Why the sample was left out for good; None if it was not. A damaged file is put aside with a warning."""
        return _intact(self._excuse(sample), _read_excuse)

    def describe(self, **facts: object) -> None:
        """Write `facts` into the record of this measurement, in place of those of an earlier call."""
        _write(self._record, _json(facts))

    def _part(self, sample: Sample) -> Path:
        return self.folder / "samples" / f"{_file_name(sample)}.parquet"

    def _excuse(self, sample: Sample) -> Path:
        return self.folder / "left_out" / f"{_file_name(sample)}.json"


def _read_part(path: Path) -> pd.DataFrame:
    """Raises ValueError unless the file holds what was written into it, under this name."""
    table = pq.read_table(path, page_checksum_verification=True)
    rows = table.to_pandas()
    if table.schema.metadata.get(SEAL) != _seal(rows, path):
        raise ValueError("its content is not what was written")
    return rows


def _seal(rows: pd.DataFrame, path: Path) -> bytes:
    """A hash of what a part holds, of which sample and under which key; page checksums leave out the file's footer."""
    try:
        values = pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes()
    except TypeError as error:
        raise TypeError(f"rows must hold numbers and text, one in a cell, to be kept ({error})") from None
    facts = repr((_key(path), path.stem, [(column, str(kind)) for column, kind in rows.dtypes.items()])).encode()
    return hashlib.blake2b(facts + values, digest_size=16).hexdigest().encode()


def _read_excuse(path: Path) -> str:
    """Raises ValueError unless it was written under this key and name."""
    record = json.loads(path.read_bytes())
    if (record["key"], record["part"]) != (_key(path), path.stem):
        raise ValueError("it was written for another sample or key")
    return str(record["reason"])


def _key(path: Path) -> str:
    return path.parent.parent.name


def _intact(path: Path, read: Callable[[Path], Content]) -> Content | None:
    """What is in the file, or None if there is none; one that cannot be read is renamed."""
    before = None
    while path.is_file():
        try:
            now = path.stat()
            return read(path)
        except FileNotFoundError:  # another process has put it aside
            return None
        except (ValueError, KeyError, TypeError, AttributeError, OSError, MemoryError, NotImplementedError) as error:
            version = (now.st_ino, now.st_mtime_ns)
            if version != before:  # another process may have written it anew meanwhile: look again
                before = version
                continue
            aside = path.with_name(f".{path.name}.damaged")
            with suppress(FileNotFoundError):
                os.replace(path, aside)
            warnings.warn(f"{path} is damaged ({error}); it was put aside as {aside.name}", stacklevel=3)
    return None


def _write(path: Path, content: bytes) -> None:
    """Put a file in its place whole or not at all, even if the process or the machine dies meanwhile."""
    beside = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:6]}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name itself
    finally:
        os.close(folder)


def _file_name(sample: Sample) -> str:
    return f"{_slug(sample.id)[:80]}-{fingerprints.sample(sample)}"


def _json(record: Mapping[str, object]) -> bytes:
    return json.dumps(record, indent=2, ensure_ascii=False).encode()


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.")
