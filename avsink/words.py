"""Results in a sentence or two, for readers who hear the page and do not see it; curves: `avsink.metrics`."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from avsink.allocation import shared_dimensions

__all__ = ["accuracies", "changes", "dimensions", "layers", "maps", "norms", "shares"]


def shares(curves: pd.DataFrame, *, spike: int) -> str:
    """curves: group, layer, mean: the last token's shares of attention."""
    table = curves.pivot(index="layer", columns="group", values="mean")
    largest = table.mean().sort_values(ascending=False)
    parts = ", ".join(f"{group} {share:.0%}" for group, share in largest.items())
    before, at = table["video"].get(spike - 1, 0.0), table["video"][spike]
    return f"Mean over layers: {parts}. Video's share goes from {before:.0%} to {at:.0%} at layer {spike}."


def maps(table: pd.DataFrame) -> str:
    """table: of `allocation.maps`."""
    parts = []
    for layer, rows in table.groupby("layer"):
        read = rows[rows["key"] < rows["query"]].groupby(["key", "key_group"])["weight"].mean()
        key, group = read.idxmax()
        parts.append(f"at layer {layer} the brightest column is token {key} ({group}), {read.max():.0%} on average")
    return f"Attention maps: {'; '.join(parts)}."


def norms(table: pd.DataFrame) -> str:
    """table: of `allocation.norms`."""
    parts = []
    for layer, rows in table.groupby("layer"):
        sinks = rows[rows["sink"]].groupby("group").size()
        found = ", ".join(f"{count} in {group}" for group, count in sinks.items()) or "none"
        parts.append(f"layer {layer}: {found}")
    return f"Sinks among {int((table['layer'] == table['layer'].iloc[0]).sum())} tokens: {'; '.join(parts)}."


def dimensions(sizes: pd.DataFrame) -> str:
    """sizes: of `allocation.dimensions`."""
    top = shared_dimensions(sizes)
    both = sorted(set.intersection(*(set(found) for found in top.values())))
    parts = "; ".join(f"{token}: {', '.join(map(str, found))}" for token, found in top.items())
    shared = f"both share {', '.join(map(str, both))}" if both else "the two share none of them"
    return f"Largest features, {parts}; {shared}."


def layers(after: Mapping[str, int], *, n_layers: int) -> str:
    """after: group of tokens -> the last layer in which it is needed."""
    parts = [
        f"{group} after layer {layer}" if 0 <= layer < n_layers - 1 else f"{group} never needed"
        for group, layer in after.items()
        if layer < n_layers - 1
    ]
    kept = [group for group, layer in after.items() if layer >= n_layers - 1]
    said = f"Can be discarded: {', '.join(parts) or 'nothing'}."
    return f"{said} Needed to the end: {', '.join(kept)}." if kept else said


def accuracies(table: pd.DataFrame) -> str:
    """table: of `reported.tasks_of_table_4`."""
    spread = table.groupby(["side", "task"])["accuracy"].agg(lambda column: column.max() - column.min())
    parts = [f"{side} by at most {values.max():.1%}" for side, values in spread.groupby("side", sort=False)]
    return f"Within a task, the configurations' accuracies differ, {' and '.join(parts)}."


def changes(table: pd.DataFrame) -> str:
    """table: task, category, config, mean (change of accuracy)."""
    low, high = table.loc[table["mean"].idxmin()], table.loc[table["mean"].idxmax()]
    return (
        f"Over {len(table)} combinations of task and configuration the change goes from {low['mean']:+.1%} "
        f"({low['config']}, {low['category']}) to {high['mean']:+.1%} ({high['config']}, {high['category']})."
    )
