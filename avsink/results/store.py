"""Rows that survive: every finished sample is on disk before the next one begins.

    store = ResultStore("knockout.sweep", model="tiny-omni", identity={...})
    store.save(sample, rows);  store.rows(sample)

A store is a folder ``<root>/<name>/<model>/<key>``. The key is a hash of the identity, which holds all that changes the
numbers (`avsink.results.fingerprints`), so old rows are never mistaken for new ones. In it are

- ``samples/<id>-<fingerprint>.parquet``: the rows of one sample; pandas reads the whole folder as one table;
- ``left_out/<id>-<fingerprint>.json``: why a sample has no rows, now and always;
- ``provenance.json``: the identity. Whoever writes it writes the same;
- ``runs/<time>-<process>.json``: one for each run that used the store, written by that run alone: the commit, which
  samples it asked for and what it left out.

A file is written beside its place, flushed to disk, and then moved there. So a run that is killed leaves whole files
only, and loses at most the sample in hand. A part is written with checksums and a hash of its content and of its name,
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
        name: what was measured; the name of a folder.
        model: the model's name; the name of a folder below it.
        identity: all that changes the numbers, as JSON.
        root: the folder of all results; "" for `avsink.resources.results`.
    """

    def __init__(self, name: str, *, model: str, identity: Mapping[str, object], root: str | Path = ""):
        self.name, self.identity = name, dict(identity)
        key = hashlib.blake2b(json.dumps(self.identity, sort_keys=True).encode(), digest_size=8).hexdigest()
        self.folder = Path(root or resources.results()) / _slug(name) / _slug(model) / key
        for part in ("samples", "left_out", "runs"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        if not (self.folder / "provenance.json").is_file():
            _write(self.folder / "provenance.json", _json(self.identity))
        self._run = (
            self.folder / "runs" / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}-{uuid.uuid4().hex[:6]}.json"
        )

    def rows(self, sample: Sample) -> pd.DataFrame | None:
        """The rows of a sample, or None if it has none. A damaged part is put aside with a warning."""
        return _intact(self._part(sample), _read_part)

    def save(self, sample: Sample, rows: pd.DataFrame) -> pd.DataFrame:
        """Keep the sample's rows, and give them back as every later run will read them."""
        table, path = pa.Table.from_pandas(rows, preserve_index=False), self._part(sample)
        seal = _seal(table.to_pandas(), path.stem)
        buffer = io.BytesIO()
        table = table.replace_schema_metadata({**table.schema.metadata, SEAL: seal})
        pq.write_table(table, buffer, write_page_checksum=True)
        _write(path, buffer.getvalue())
        return _read_part(path)

    def leave_out(self, sample: Sample, error: SampleError) -> None:
        """Keep why the sample has no rows and never will."""
        _write(self._excuse(sample), _json({"sample": sample.id, "reason": error.reason}))

    def reason(self, sample: Sample) -> str | None:
        """Why the sample was left out for good; None if it was not. A damaged file is put aside with a warning."""
        return _intact(self._excuse(sample), lambda path: str(json.loads(path.read_bytes())["reason"]))

    def describe(self, **facts: object) -> None:
        """Write what this run did into its own file, `facts` in place of those of an earlier call."""
        _write(self._run, _json(facts))

    def _part(self, sample: Sample) -> Path:
        return self.folder / "samples" / f"{_file_name(sample)}.parquet"

    def _excuse(self, sample: Sample) -> Path:
        return self.folder / "left_out" / f"{_file_name(sample)}.json"


def _read_part(path: Path) -> pd.DataFrame:
    """Raises ValueError unless the file holds what was written into it, under this name."""
    table = pq.read_table(path, page_checksum_verification=True)
    rows = table.to_pandas()
    if table.schema.metadata.get(SEAL) != _seal(rows, path.stem):
        raise ValueError("its content is not what was written")
    return rows


def _seal(rows: pd.DataFrame, name: str) -> bytes:
    """A hash of what a part holds and of which sample; page checksums leave out the file's footer."""
    values = pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes()
    facts = repr((name, [(column, str(kind)) for column, kind in rows.dtypes.items()])).encode()
    return hashlib.blake2b(facts + values, digest_size=16).hexdigest().encode()


def _intact(path: Path, read: Callable[[Path], Content]) -> Content | None:
    """What is in the file, or None if there is none; one that cannot be read is renamed."""
    if not path.is_file():
        return None
    try:
        return read(path)
    except (ValueError, KeyError, TypeError, AttributeError, OSError, MemoryError, NotImplementedError) as error:
        aside = path.with_name(f".{path.name}.damaged")
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
