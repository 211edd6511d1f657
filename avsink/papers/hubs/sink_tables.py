"""The sinks of many samples, as tables for charts: who reads them, how they move, whether taught ones are found.

All functions take the rows of `avsink.instruments.sinks.by_layer` over many samples (Hubs sections 3.3 and 4).
"""

from __future__ import annotations

import pandas as pd

from avsink.instruments import sinks
from avsink.results.bootstrap import summarise

__all__ = ["by_dominance", "drift", "mds_by_layer", "recovered", "scores"]

PLACES = 12  # in a grid, or a chunk of audio, that are told apart


def by_dominance(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with their dominance as the category, for panels."""
    return rows.assign(category=rows["dominance"] + "-dominant") if len(rows) else rows


def drift(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean overlap of the sinks of two layers: modality, layer, other, mean, low, high, n. rows: of `by_layer`."""
    if rows.empty:
        return pd.DataFrame()
    table = sinks.drift(rows).dropna(subset=["overlap"])
    return summarise(table, by=["modality", "layer", "other"], value="overlap")


def scores(rows: pd.DataFrame, *, one_in: int) -> pd.DataFrame:
    """The global sinks at N = one_in: sample, modality, position, place, score (mean MDS), kind. rows: of `by_layer`.

    place: its own in its grid or chunk; in long ones, which of at most `PLACES` parts it lies in. In their order.
    """
    if rows.empty:
        return pd.DataFrame()
    kept = rows[rows[f"global_{one_in}"] != ""].drop_duplicates(["sample", "position"])
    kept = kept.sort_values(["modality", "offset"], ascending=[False, True], kind="stable")
    longest = kept.groupby("modality")["offset"].transform("max") + 1
    step = -(-longest // PLACES)
    first = kept["offset"] // step * step
    where = kept["modality"].map({"video": " of its grid", "audio": " of its chunk"})
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
