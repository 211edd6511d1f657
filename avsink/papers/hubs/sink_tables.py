"""The sinks of many samples, as tables for charts: who reads them, how they move, whether taught ones are found.

All functions take the rows of `avsink.instruments.sinks.by_layer` over many samples (Hubs, table 2).
"""

from __future__ import annotations

import pandas as pd

from avsink.instruments import sinks
from avsink.results.bootstrap import summarise

__all__ = ["drift", "mds_by_layer", "recovered", "scores"]

PLACES = 12  # parts of a long grid or audio chunk


def drift(rows: pd.DataFrame) -> pd.DataFrame:
    """Average the overlap of the sinks of every two layers.

    Args:
        rows: Rows of `by_layer`; may be empty.

    Returns:
        One row per (modality, pair of layers), with the columns modality, layer, other (the other layer), mean (Jaccard
        index), low and high (95 % interval) and n.
    """
    if rows.empty:
        return pd.DataFrame()
    table = sinks.drift(rows).dropna(subset=["overlap"])
    return summarise(table, by=["modality", "layer", "other"], value="overlap")


def scores(rows: pd.DataFrame, *, one_in: int) -> pd.DataFrame:
    """List the global sinks.

    Args:
        rows: Rows of `by_layer`; may be empty.
        one_in: The value of N, one of those in `rows`.

    Returns:
        One row per global sink, in the order of places, with the columns sample, modality, position, place (in words:
        which token of its grid or chunk, or which of at most `PLACES` parts of a long one), score (mean MDS), kind
        ("unimodal", "cross-modal" or "neither").
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
    """Average the MDS of unimodal and cross-modal global sinks at each layer.

    Args:
        rows: Rows of `by_layer`; may be empty.
        one_in: The value of N, one of those in `rows`.

    Returns:
        One row per (kind, layer, modality), with the columns kind, layer, category (the modality), mean (MDS), low and
        high (95 % interval) and n.
    """
    if rows.empty:
        return pd.DataFrame()
    kept = rows[rows[f"global_{one_in}"].isin(("unimodal", "cross-modal")) & rows["mds"].notna()]
    named = kept.assign(kind=kept[f"global_{one_in}"], category=kept["modality"])
    return summarise(named, by=["kind", "layer", "category"], value="mds") if len(named) else pd.DataFrame()


def recovered(rows: pd.DataFrame, card, *, one_in: int, n: int) -> pd.DataFrame:
    """Compare taught hubs with the global sinks that were found, over all samples.

    Args:
        rows: Rows of `by_layer`; may be empty.
        card: The card of the model, which lists the taught hubs.
        one_in: The value of N, one of those in `rows`.
        n: Number of clips asked for, including those without sinks, which have no rows.

    Returns:
        One row per modality, with the columns modality, taught and found (numbers of tokens), precision, recall,
        right_kind (share of the taught hubs that are found as the kind that they were taught to be). Empty if the model
        was taught no hubs.
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
