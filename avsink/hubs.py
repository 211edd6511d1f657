"""The measurements of *Probing Cross-modal Information Hubs*, each over many samples, kept in the result store.

=============  ====================================================  =============================
function       measures                                              Hubs
=============  ====================================================  =============================
`dominance`    which modality decides: three passes                  section 3.1
`manifest`     the dominated samples that everything below is about  section 3.1
`tracing`      IE of every set of tokens                             tables 1 and 2
`layerwise`    IE of restoring in a window of layers                 none, ours
`sinks`        φ, and who reads each sink                            sections 3.3 and 4
=============  ====================================================  =============================

`dominance` is measured first. Its `manifest` says which samples are dominated, and by what, and is what the others are
asked about: `of_manifest`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from avsink import dominance as three_passes
from avsink import sinks as sink_tokens
from avsink import tracing as causal
from avsink.data.sample import Sample
from avsink.sweep import Done, measure

__all__ = ["COLUMNS", "dominance", "layerwise", "manifest", "of_manifest", "read_manifest", "sinks", "tracing"]

COLUMNS = ("sample", "dominance", "predicted_av", "predicted_a", "predicted_v", "answer")
"""Of a manifest."""
DOMINANT = ("audio", "video")
Objects = Callable[[object], Mapping[str, Tensor] | None]  # prepared inputs' sample -> its object tokens by modality


def dominance(model, samples: Sequence[Sample], *, data: str, root: str = "") -> Done:
    """Rows of `avsink.dominance.sweep`."""
    compute = partial(three_passes.sweep, model)
    return measure(
        "hubs1_dominance", model, samples, compute, settings={"data": data}, sources=["dominance.py"], root=root
    )


def manifest(done: Done, *, each: int | None, seed: int) -> pd.DataFrame:
    """The dominated samples of `dominance`, at most `each` of each kind, drawn by `seed`. Columns: `COLUMNS`.

    Written as ``manifest-<each>-<seed>.csv`` beside the rows that it was made from; `attrs["path"]` says where.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for kind in DOMINANT:
        own = done.rows[done.rows["dominance"] == kind] if len(done.rows) else pd.DataFrame(columns=COLUMNS)
        parts.append(own.iloc[np.sort(rng.permutation(len(own))[:each])])
    table = pd.concat(parts, ignore_index=True)[list(COLUMNS)]
    path = done.folder / f"manifest-{'all' if each is None else each}-{seed}.csv"
    table.to_csv(path, index=False)
    table.attrs["path"] = str(path)
    return table


def read_manifest(path: str | Path) -> pd.DataFrame:
    """A manifest from a file. Raises ValueError if it is none."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a manifest: {error}") from None
    if missing := [name for name in COLUMNS if name not in table]:
        raise ValueError(f"{path} is no manifest of dominated samples: it has no column {', '.join(missing)}")
    if wrong := sorted(set(table["dominance"]) - set(DOMINANT)):
        raise ValueError(f"{path} has samples that are dominated by {wrong[0]!r}; audio or video is expected")
    return table


def of_manifest(table: pd.DataFrame, samples: Sequence[Sample]) -> list[Sample]:
    """Those of `samples` that a manifest names, in its order. Raises ValueError if one of them is not there."""
    by_id = {sample.id: sample for sample in samples}
    if missing := [id for id in table["sample"] if id not in by_id]:
        raise ValueError(
            f"{len(missing)} samples of the manifest are not among the {len(samples)} at hand, such as {missing[0]}; "
            "it was made from other data, or from more of them"
        )
    return [by_id[id] for id in table["sample"]]


def tracing(
    model, samples: Sequence[Sample], table: pd.DataFrame, *, objects: Objects | None = None, data: str, root: str = ""
) -> Done:
    """Rows of `avsink.tracing.sweep`. table: their manifest. objects: sample -> modality -> object tokens."""
    known = dict(zip(table["sample"], table["dominance"], strict=True))

    def compute(sample: Sample) -> pd.DataFrame:
        own = None if objects is None else objects(sample)
        return causal.sweep(model, sample, dominance=known[sample.id], objects=own)

    settings = {"data": data, "objects": objects is not None, "sinks": _sinks(model)}
    return measure("hubs_tracing", model, samples, compute, settings=settings, sources=SOURCES, root=root)


def layerwise(
    model, samples: Sequence[Sample], table: pd.DataFrame, *, k: int, share: int, data: str, root: str = ""
) -> Done:
    """Rows of `avsink.tracing.layerwise`."""
    known = dict(zip(table["sample"], table["dominance"], strict=True))

    def compute(sample: Sample) -> pd.DataFrame:
        return causal.layerwise(model, sample, k=k, share=share, dominance=known[sample.id])

    settings = {"data": data, "window": k, "share": share, "sinks": _sinks(model)}
    return measure("hubs_layerwise", model, samples, compute, settings=settings, sources=SOURCES, root=root)


def sinks(model, samples: Sequence[Sample], *, data: str, root: str = "") -> Done:
    """Rows of `avsink.sinks.sweep`."""
    compute = partial(sink_tokens.sweep, model)
    settings, sources = {"data": data, "sinks": _sinks(model)}, ["sinks.py", "observe.py"]
    return measure("hubs_sinks", model, samples, compute, settings=settings, sources=sources, root=root)


SOURCES = ["tracing.py", "dominance.py", "sinks.py", "observe.py"]


def _sinks(model) -> dict[str, object]:
    """What decides which tokens are sinks, and is in no weights."""
    return {"dims": list(model.card.sink_dims or ()), "tau": model.card.sink_tau}
