"""What *Probing Cross-modal Information Hubs* measures: samples that one modality dominates.

1. `avsink.measure(dominance.classify, model, samples)` finds which modality decides each answer;
2. `manifest` writes down the dominated samples, up to a number of each kind. `dominated` does both steps, or reads a
   manifest that was made before;
3. `measure_dominated` applies an instrument to them (`tracing.trace` for tables 1 and 2). It refuses rows that
   contradict the manifest, which is then another model's.
"""

from __future__ import annotations

import os
import string
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from avsink import resources
from avsink.datasets.files import tables
from avsink.datasets.files.tables import TableError
from avsink.instruments.dominance import classify
from avsink.results.over_samples import Done, distinct, measure
from avsink.sample import Sample

__all__ = ["COLUMNS", "DOMINANT", "Dominated", "dominated", "manifest", "measure_dominated", "read_manifest"]

COLUMNS = ("sample", "dominance", "predicted_av", "predicted_a", "predicted_v", "answer")
"""The columns of a manifest."""
LETTERS = COLUMNS[2:]
DOMINANT = ("audio", "video")


@dataclass(frozen=True, kw_only=True, eq=False)
class Dominated:
    """Samples that one modality dominates.

    Attributes:
        table: Their manifest, one row per sample, with the columns `COLUMNS`.
        samples: The samples, in the manifest's order.
        path: The file of the manifest.
    """

    table: pd.DataFrame
    samples: tuple[Sample, ...]
    path: Path

    def __str__(self) -> str:
        counts = ", ".join(f"{n} {kind}-dominant" for kind, n in self.table["dominance"].value_counts().items())
        path = self.path.relative_to(Path.cwd()) if self.path.is_relative_to(Path.cwd()) else self.path
        return f"{len(self.table)} dominated samples ({counts}), written down in {path}"


def manifest(done: Done, *, each: int | None, seed: int) -> tuple[pd.DataFrame, Path]:
    """Draw dominated samples and write them to a file.

    The file is in the folder of the rows from which it was made. Its name depends on the classified samples, `each` and
    `seed`.

    Args:
        done: The result of `avsink.measure(dominance.classify, ...)`.
        each: The largest number of samples of each kind; None for all.
        seed: The seed of the draw.

    Returns:
        The manifest, one row per sample, with the columns `COLUMNS`; and its file.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for kind in DOMINANT:
        own = done.rows[done.rows["dominance"] == kind] if len(done.rows) else pd.DataFrame(columns=COLUMNS)
        parts.append(own.iloc[np.sort(rng.permutation(len(own))[:each])])
    table = pd.concat(parts, ignore_index=True)[list(COLUMNS)]
    asked = zlib.crc32("\n".join(sorted(done.rows["sample"] if len(done.rows) else ())).encode())
    path = done.folder / f"manifest-{asked:08x}-{'all' if each is None else each}-{seed}.csv"
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")  # two processes may write the same manifest
    table.to_csv(unfinished, index=False)
    os.replace(unfinished, path)
    return table, path


def read_manifest(path: str | Path) -> pd.DataFrame:
    """Read a manifest from a file.

    Raises:
        ValueError: The file cannot be read, is not a manifest, or has a row that cannot be used or repeats a sample.
    """
    path = resources.expanded(path)
    try:
        rows = tables.read(path)
        if not rows:
            tables.read(path, needs=COLUMNS)  # has it at least the header?
    except TableError as error:
        raise ValueError(f"{path} cannot be read as a manifest: {error}") from None
    whole = next((row.values for row in rows if not row.fault), COLUMNS)
    if missing := [name for name in COLUMNS if name not in whole]:
        raise ValueError(f"{path} is no manifest of dominated samples: it has no column {', '.join(missing)}")
    first: dict[str, str] = {}
    for row in rows:
        fault = row.fault or next((f"it has no {name}" for name in COLUMNS if row.values.get(name) is None), "")
        if not fault and (other := first.setdefault(row.values["sample"], row.where)) != row.where:
            fault = f"the sample {row.values['sample']} is also at {other}"
        if not fault and row.values["dominance"] not in DOMINANT:
            fault = f"it is dominated by {row.values['dominance']!r}; audio or video is expected"
        if not fault and (odd := [name for name in LETTERS if row.values[name] not in set(string.ascii_uppercase)]):
            fault = f"its {odd[0]} is {row.values[odd[0]]!r}; a letter is expected"
        if fault:
            raise ValueError(f"{path.parent / row.where}: {tables.brief(fault)}")
    return pd.DataFrame([row.values for row in rows], columns=list(whole), dtype=str)


def dominated(
    model, samples: Sequence[Sample], *, path: str | Path = "", each: int | None, seed: int, root: str | Path = ""
) -> Dominated:
    """Choose the samples that one modality dominates.

    Args:
        model: What `avsink.load` returns.
        samples: The samples to choose from.
        path: A manifest that names the samples; "" to make one, from results that are read if they exist.
        each: The largest number of samples of each kind; None for all. Not used with `path`.
        seed: The seed of the draw. Not used with `path`.
        root: The folder of all results, as for `avsink.measure`.

    Raises:
        ValueError: No sample is dominated, or different samples have the same id; or the manifest cannot be read, or
            names samples that are not in `samples`.
    """
    samples = distinct(samples)
    if path:
        table, place = read_manifest(path), Path(path)
    else:
        table, place = manifest(measure(classify, model, samples, root=root), each=each, seed=seed)
    if table.empty:
        raise ValueError(f"none of {path or f'the {len(samples)} samples'} is dominated by one sense; ask more samples")
    by_id = {sample.id: sample for sample in samples}
    if missing := [id for id in table["sample"] if id not in by_id]:
        raise ValueError(
            f"{len(missing)} samples of the manifest are not among the {len(samples)} at hand, such as {missing[0]}; "
            "it was made from other data, or from more of them"
        )
    return Dominated(table=table, samples=tuple(by_id[id] for id in table["sample"]), path=place)


def measure_dominated(
    instrument: Callable[..., pd.DataFrame], model, chosen: Dominated, *, root: str | Path = "", **settings: object
) -> Done:
    """Measure dominated samples; rows that contradict the manifest are left out, with the reason.

    Args:
        instrument: An instrument whose rows have the columns dominance and o_clean, such as `tracing.trace`.
        model: What `avsink.load` returns.
        chosen: The dominated samples.
        root: The folder of all results, as for `avsink.measure`.
        **settings: The instrument's keyword arguments.
    """
    done = measure(instrument, model, chosen.samples, root=root, **settings)
    told = chosen.table.set_index("sample")
    problems = {}
    for found in done.rows.drop_duplicates("sample").itertuples() if len(done.rows) else ():
        said = told.loc[found.sample]
        if (said["dominance"], said["predicted_av"]) != (found.dominance, found.o_clean):
            problems[found.sample] = (
                f"it is {found.dominance}-dominant here and answered {found.o_clean}; the manifest says "
                f"{said['dominance']} and {said['predicted_av']}: is it another model's?"
            )
    return done.refuse(problems)
