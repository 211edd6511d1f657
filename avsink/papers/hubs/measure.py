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

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from avsink.datasets.masks.files import read_spans
from avsink.instruments import dominance as three_passes
from avsink.instruments import sinks as sink_tokens
from avsink.instruments import tracing as causal
from avsink.instruments.object_tokens import of_sample
from avsink.results.bootstrap import summarise
from avsink.results.over_samples import Done, measure
from avsink.sample import Sample, SampleError

__all__ = [
    *("COLUMNS", "by_dominance", "chosen", "dominance", "drift", "layerwise", "manifest", "mds_by_layer"),
    *("object_finder", "of_manifest", "place", "read_manifest", "recovered", "scores", "sinks", "tracing"),
]

COLUMNS = ("sample", "dominance", "predicted_av", "predicted_a", "predicted_v", "answer")
"""Of a manifest."""
DOMINANT = ("audio", "video")
PLACES = 12  # in a grid, or a run of audio, that are told apart
SOURCES = ["tracing.py", "dominance.py", "sinks.py", "observe.py"]
Objects = Callable[[Sample], Mapping[str, Tensor] | None]  # a sample -> modality -> its object tokens


def dominance(model, samples: Sequence[Sample], *, data: str, root: str = "") -> Done:
    """Rows of `avsink.instruments.dominance.classify`."""
    compute = partial(three_passes.classify, model)
    return measure(
        "hubs1_dominance", model, samples, compute, settings={"data": data}, sources=["dominance.py"], root=root
    )


def manifest(done: Done, *, each: int | None, seed: int) -> pd.DataFrame:
    """The dominated samples of `dominance`, at most `each` of each kind, drawn by `seed`. Columns: `COLUMNS`.

    Written beside the rows that it was made from, under a name that tells which samples were asked, how many of a kind
    were wanted, and the seed; `place` says where.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for kind in DOMINANT:
        own = done.rows[done.rows["dominance"] == kind] if len(done.rows) else pd.DataFrame(columns=COLUMNS)
        parts.append(own.iloc[np.sort(rng.permutation(len(own))[:each])])
    table = pd.concat(parts, ignore_index=True)[list(COLUMNS)]
    asked = zlib.crc32("\n".join(sorted(done.rows["sample"] if len(done.rows) else ())).encode())
    path = done.folder / f"manifest-{asked:08x}-{'all' if each is None else each}-{seed}.csv"
    table.to_csv(path, index=False)
    table.attrs["path"] = str(path)
    return table


def place(table: pd.DataFrame) -> str:
    """Where a manifest lies."""
    path = Path(table.attrs["path"])
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def chosen(
    model, samples: Sequence[Sample], *, path: str = "", each: int | None, seed: int, data: str, root: str = ""
) -> pd.DataFrame:
    """The manifest at `path`; without one, that of these samples, whose dominance is measured unless it is known.

    Raises ValueError if it holds no sample.
    """
    if path:
        table = read_manifest(path)
    else:
        table = manifest(dominance(model, samples, data=data, root=root), each=each, seed=seed)
    if table.empty:
        raise ValueError(f"none of {path or f'the {len(samples)} samples'} is dominated by one sense; ask more samples")
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
    model,
    samples: Sequence[Sample],
    table: pd.DataFrame,
    *,
    objects: Objects | None = None,
    seed: int = 0,
    data: str,
    root: str = "",
) -> Done:
    """Rows of `avsink.instruments.tracing.trace`. table: their manifest. objects: of `object_finder`. seed: of random tokens."""

    def compute(sample: Sample) -> pd.DataFrame:
        own = None if objects is None else objects(sample)
        return _as_the_manifest_says(causal.trace(model, sample, objects=own, seed=seed), table)

    about = None if objects is None else getattr(objects, "about", "given")
    settings = {"data": data, "objects": about, "sinks": _sinks(model), "seed": seed}
    return measure("hubs_tracing", model, samples, compute, settings=settings, sources=SOURCES, root=root)


def layerwise(
    model, samples: Sequence[Sample], table: pd.DataFrame, *, k: int, one_in: int, data: str, root: str = ""
) -> Done:
    """Rows of `avsink.instruments.tracing.trace_by_layer`."""

    def compute(sample: Sample) -> pd.DataFrame:
        return _as_the_manifest_says(causal.trace_by_layer(model, sample, k=k, one_in=one_in), table)

    settings = {"data": data, "window": k, "one_in": one_in, "sinks": _sinks(model)}
    return measure("hubs_layerwise", model, samples, compute, settings=settings, sources=SOURCES, root=root)


def sinks(model, samples: Sequence[Sample], *, data: str, root: str = "") -> Done:
    """Rows of `avsink.instruments.sinks.by_layer`."""
    compute = partial(sink_tokens.by_layer, model)
    settings, sources = {"data": data, "sinks": _sinks(model)}, ["sinks.py", "observe.py"]
    return measure("hubs_sinks", model, samples, compute, settings=settings, sources=sources, root=root)


def object_finder(model, *, masks: str = "", spans: str = "", strictness: str = "very high") -> Objects:
    """Finds the object tokens of a sample: exact for toy clips, from files for others (`avsink.instruments.object_tokens.of_sample`)."""
    folder = Path(masks).expanduser() if masks else None
    heard = read_spans(Path(spans).expanduser()) if spans else None

    def find(sample: Sample) -> Mapping[str, Tensor] | None:
        return of_sample(model, sample, masks=folder, spans=heard, strictness=strictness)

    find.about = {"masks": masks, "spans": spans, "strictness": strictness}
    return find


def by_dominance(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with their dominance as the category, for panels."""
    return rows.assign(category=rows["dominance"] + "-dominant") if len(rows) else rows


def drift(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean overlap of the sinks of two layers: modality, layer, other, mean, low, high, n. rows: of `sinks`."""
    if rows.empty:
        return pd.DataFrame()
    table = sink_tokens.drift(rows).dropna(subset=["overlap"])
    return summarise(table, by=["modality", "layer", "other"], value="overlap")


def scores(rows: pd.DataFrame, *, one_in: int) -> pd.DataFrame:
    """The global sinks at N = one_in: sample, modality, position, place, score (mean MDS), kind. rows: of `sinks`.

    place: its own in its grid or run; in long ones, which of at most `PLACES` parts it lies in. In their order.
    """
    if rows.empty:
        return pd.DataFrame()
    kept = rows[rows[f"global_{one_in}"] != ""].drop_duplicates(["sample", "position"])
    kept = kept.sort_values(["modality", "offset"], ascending=[False, True], kind="stable")
    longest = kept.groupby("modality")["offset"].transform("max") + 1
    step = -(-longest // PLACES)
    first = kept["offset"] // step * step
    where = kept["modality"].map({"video": " of its grid", "audio": " of its run"})
    one, many = "token " + first.astype(str), "tokens " + first.astype(str) + "–" + (first + step - 1).astype(str)
    table = kept.assign(place=one.where(step == 1, many) + where, kind=kept[f"global_{one_in}"])
    return table[["sample", "modality", "position", "place", "score", "kind"]].reset_index(drop=True)


def mds_by_layer(rows: pd.DataFrame, *, one_in: int) -> pd.DataFrame:
    """Mean MDS of global sinks at each layer: kind, layer, category (the modality), mean, low, high, n."""
    if rows.empty:
        return pd.DataFrame()
    kept = rows[rows[f"global_{one_in}"].isin(("unimodal", "cross-modal")) & rows["mds"].notna()]
    named = kept.assign(kind=kept[f"global_{one_in}"], category=kept["modality"])
    return summarise(named, by=["kind", "layer", "category"], value="mds") if len(named) else pd.DataFrame()


def recovered(rows: pd.DataFrame, card, *, one_in: int, n: int) -> pd.DataFrame:
    """Taught hubs against the global sinks that were found, over all samples: one row a modality.

    n: how many clips were asked, those included in which no sink was found, and which have no rows. Columns: modality,
    taught, found, precision, recall, right_kind (of the taught hubs, the share that the MDS calls what they are). Empty
    for a model that was taught none.
    """
    tables = []
    for modality in ("video", "audio") if len(rows) else ():
        own = rows[rows["modality"] == modality].drop_duplicates(["sample", "position"])
        kinds = {(hub.part, hub.offset): hub.kind for hub in card.hubs if hub.modality == modality}
        if not kinds:
            continue
        taught = len(kinds) * n
        found = own[own[f"global_{one_in}"] != ""]
        truth = [kinds.get(at, "") for at in zip(found["part"], found["offset"], strict=True)]
        hits = sum(bool(kind) for kind in truth)
        right = sum(bool(kind) and kind == name for kind, name in zip(truth, found[f"global_{one_in}"], strict=True))
        precision = hits / len(found) if len(found) else float("nan")
        tables.append((modality, taught, len(found), precision, hits / taught, right / taught))
    return pd.DataFrame(tables, columns=["modality", "taught", "found", "precision", "recall", "right_kind"])


def _as_the_manifest_says(rows: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of one sample. Raises `SampleError` if the manifest says something else of it.

    What the model does is in the rows, and the store keeps them; a wrong manifest must leave no trace there.
    """
    found = rows.iloc[0]
    told = table.set_index("sample").loc[found["sample"]]
    if (told["dominance"], told["predicted_av"]) != (found["dominance"], found["o_clean"]):
        raise SampleError(
            found["sample"],
            f"it is {found['dominance']}-dominant here and answered {found['o_clean']}; the manifest says "
            f"{told['dominance']} and {told['predicted_av']}: is it another model's?",
        )
    return rows


def _sinks(model) -> dict[str, object]:
    """What decides which tokens are sinks, and is in no weights."""
    return {"dims": list(model.card.sink_dims or ()), "tau": model.card.sink_tau}
