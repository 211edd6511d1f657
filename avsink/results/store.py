"""Rows that survive: every finished sample is on disk before the next one begins.

    store = ResultStore("flow2_pathways", model=model, settings={"window": 7}, sources=["knockout.py"])
    store.save(sample, rows);  store.finished(sample);  store.read(samples)

A store is a folder ``<root>/<finding>/<model>/<key>``. The key is a hash of all that changes the numbers, so old rows
are never mistaken for new ones: whatever changes, another folder is used. In it lie

- ``samples/<id>-<fingerprint>.parquet``: the rows of one sample; pandas reads the whole folder as one table;
- ``left_out/<id>-<fingerprint>.json``: why a sample has no rows, now and always;
- ``provenance.json``: what the key was made of, the commits of all runs that wrote here, and which samples the last
  one asked for and had to leave out.

A file is written beside its place, flushed to disk, and then moved there. So a run that is killed leaves whole files
only, and loses at most the sample in hand. Each part depends on its sample alone: a longer run goes on from a shorter.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from avsink.engine import attention
from avsink.results import provenance
from avsink.sample import Sample, SampleError

__all__ = ["ResultStore", "results_root"]


def results_root() -> Path:
    """Where results lie unless a run says otherwise: $AVSINK_RESULTS, else ``results`` in the repository."""
    return Path(os.environ.get("AVSINK_RESULTS") or provenance.PACKAGE.parent / "results")


class ResultStore:
    """The results of one finding on one model.

    settings: what else changes the numbers, as JSON: data set, window, seed of random draws …
    sources: the instrument's own files in the package, such as ``knockout.py``.
    root: folder of all results; None or "" for `results_root`.
    """

    def __init__(self, finding: str, *, model, settings: Mapping[str, object], sources: Sequence[str] = (), root=None):
        self.identity = {
            "finding": finding,
            "model": model.name,
            "weights": provenance.weights_fingerprint(model.hf),
            "processing": provenance.processing_fingerprint(model),
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": model.device.type,
            "attention": f"{attention.NAME} over sdpa",
            "settings": dict(settings),
            "versions": provenance.versions(),
            "source": provenance.source_fingerprint(*sources),
        }
        key = hashlib.blake2b(json.dumps(self.identity, sort_keys=True).encode(), digest_size=8).hexdigest()
        self.folder = Path(root or results_root()) / finding / _slug(model.name) / key
        for name in ("samples", "left_out"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def finished(self, sample: Sample) -> bool:
        """Whether the sample needs no more work: it has its rows, or a lasting reason to have none.

        A file that a failing disk or a stray hand has damaged is put aside with a warning, and counts as not there.
        """
        return _sound(self._part(sample), pq.read_metadata) or _sound(self._excuse(sample), _read_json)

    def save(self, sample: Sample, rows: pd.DataFrame) -> None:
        """Keep the sample's rows."""
        buffer = io.BytesIO()
        rows.to_parquet(buffer, index=False)
        _write(self._part(sample), buffer.getvalue())

    def leave_out(self, sample: Sample, error: SampleError) -> None:
        """Keep why the sample has no rows and never will."""
        _write(self._excuse(sample), _json({"sample": sample.id, "reason": error.reason}))

    def reason(self, sample: Sample) -> str | None:
        """Why the sample was left out for good; None if it was not."""
        excuse = self._excuse(sample)
        return _read_json(excuse)["reason"] if excuse.is_file() else None

    def read(self, samples: Iterable[Sample]) -> pd.DataFrame:
        """The rows of those `samples` that have some, in the order of `samples`."""
        parts = [part for sample in samples if (part := self._part(sample)).is_file()]
        return pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True) if parts else pd.DataFrame()

    def describe(self, *, samples: Sequence[Sample], **run: object) -> None:
        """Write ``provenance.json``: the identity, the commits, the samples asked for, facts of the `run`."""
        place = self.folder / "provenance.json"
        commits = _read_json(place)["commits"] if _sound(place, _read_json) else []
        commits = list(dict.fromkeys([*commits, provenance.commit()]))
        record = {**self.identity, "commits": commits, "samples": [sample.id for sample in samples], **run}
        _write(place, _json(record))

    def _part(self, sample: Sample) -> Path:
        return self.folder / "samples" / f"{_file_name(sample)}.parquet"

    def _excuse(self, sample: Sample) -> Path:
        return self.folder / "left_out" / f"{_file_name(sample)}.json"


def _write(path: Path, content: bytes) -> None:
    """Put a file in its place whole or not at all, even if the process or the machine dies meanwhile."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
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


def _read_json(path: Path) -> dict:
    return json.loads(path.read_bytes())


def _sound(path: Path, read: Callable[[Path], object]) -> bool:
    """Whether the file is there and can be read; one that cannot is renamed."""
    if not path.is_file():
        return False
    try:
        read(path)
    except (ValueError, OSError) as error:  # pyarrow's and json's errors are ValueErrors
        aside = path.with_name(f".{path.name}.damaged")
        os.replace(path, aside)
        warnings.warn(f"{path.name} is damaged ({error}); it was put aside as {aside.name}", stacklevel=3)
        return False
    return True


def _file_name(sample: Sample) -> str:
    return f"{_slug(sample.id)[:80]}-{provenance.sample_fingerprint(sample)}"


def _json(record: Mapping[str, object]) -> bytes:
    return json.dumps(record, indent=2, ensure_ascii=False).encode()


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.")
