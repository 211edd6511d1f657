"""Results in a sentence or two, for readers who hear the page and do not see it; curves: `avsink.results.bootstrap`."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from avsink.instruments.attention_shares import shared_dimensions

__all__ = [
    *("accuracies", "by_level", "calibration", "changes", "compared", "dimensions", "drift", "effects", "energy"),
    *("explored", "field", "layers", "leanings", "maps", "mds", "norms", "peaks", "shares", "shares_of"),
]


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


def shares_of(table: pd.DataFrame, *, name: str) -> str:
    """table: category, `name`, mean: shares of samples."""
    parts = []
    for category, rows in table.groupby("category", sort=False):
        parts.append(f"{category}: " + ", ".join(f"{row[name]} {row['mean']:.0%}" for _, row in rows.iterrows()))
    return f"Shares of samples. {'; '.join(parts)}."


def by_level(curves: pd.DataFrame) -> str:
    """curves: series, category, level, mean."""
    parts = []
    for (category, series), rows in curves.groupby(["category", "series"], sort=False):
        rows = rows.sort_values("level")
        parts.append(f"{category}, {series}: from {rows['mean'].iloc[0]:.0%} to {rows['mean'].iloc[-1]:.0%}")
    return f"From the least to the most degraded. {'; '.join(parts)}."


def effects(table: pd.DataFrame) -> str:
    """table: of `reported_hubs.effects`."""
    parts = []
    for dominance, rows in table.groupby("dominance", sort=False):
        known = rows.dropna(subset=["ie_clean"])
        numbers = ", ".join(f"{row['restored']} {100 * row['ie_clean']:.1f}" for _, row in known.iterrows())
        parts.append(f"{dominance}-dominant: {numbers or 'nothing measured'}")
    return f"IE_clean in points. {'; '.join(parts)}."


def compared(points: pd.DataFrame) -> str:
    """points: of `reported_hubs.shares`. Whose dots a reader sees."""
    if "this run" in set(points["group"]):
        return "this run with 95 % intervals, the paper's five models without"
    return "the paper's five models; in this run there was nothing to compare with them"


def peaks(curves: pd.DataFrame) -> str:
    """curves: token_set, category, layer, mean."""
    parts = []
    for (category, name), rows in curves.groupby(["category", "token_set"], sort=False):
        top = rows.loc[rows["mean"].idxmax()]
        parts.append(f"{category}, {name}: {100 * top['mean']:.1f} points around layer {top['layer']}")
    return f"Where restoring brings back most. {'; '.join(parts)}."


def field(table: pd.DataFrame) -> str:
    """table: of `avsink.instruments.sinks.field`."""
    sinks = table[table["sink"]]
    counts = sinks.drop_duplicates("position").groupby("group").size()
    found = ", ".join(f"{count} of {group}" for group, count in counts.items()) or "none"
    layers = f", at layers {sinks['layer'].min()} to {sinks['layer'].max()}" if len(sinks) else ""
    return f"Of {table['position'].nunique()} tokens these are sinks at some layer: {found}{layers}."


def drift(table: pd.DataFrame) -> str:
    """table: of `avsink.papers.hubs.measure.drift`."""
    if table.empty:
        return "No sinks at any layer."
    parts = []
    for modality, rows in table.groupby("modality", sort=False):
        apart = rows[rows["layer"] != rows["other"]]
        parts.append(f"{modality}: {apart['mean'].mean():.0%} on average, {apart['mean'].min():.0%} at least")
    return f"Share of sinks that two different layers have in common. {'; '.join(parts)}."


def leanings(table: pd.DataFrame) -> str:
    """table: of `avsink.papers.hubs.measure.scores`."""
    if table.empty:
        return "No global sinks."
    means = table.groupby(["modality", "kind"], sort=False)["score"].agg(["mean", "size"])
    parts = [
        f"{modality}, {kind}: {row['mean']:+.2f} (n = {row['size']:.0f})" for (modality, kind), row in means.iterrows()
    ]
    return f"Mean MDS of global sinks. {'; '.join(parts)}."


def calibration(found) -> str:
    """found: of `avsink.instruments.sink_calibration.calibrate`."""
    if not found.dims:
        return str(found)
    if not found.found:
        return f"Dimensions {found.dims}; small and large φ pass into one another, so there is no τ."
    sinks = found.phi[found.phi["phi"] > found.tau]
    return (
        f"Dimensions {found.dims}; τ = {found.tau:.3g}; "
        f"{len(sinks) / len(found.phi):.1%} of tokens and layers lie above it."
    )


def explored(found) -> str:
    """found: of `avsink.instruments.clip_explorer.explore`."""
    sinks = found.tokens[found.tokens["sink"]]
    parts = [f"{rows['place'].nunique()} of {modality}" for modality, rows in sinks.groupby("modality")]
    often = sinks["place"].value_counts()
    most = f"; the most lasting is {often.index[0]}" if len(often) else ""
    n = found.tokens["position"].nunique()
    return f"Of {n} media tokens these are sinks at some layer: {', '.join(parts) or 'none'}{most}."


def energy(found) -> str:
    """found: of `avsink.instruments.sink_calibration.calibrate`."""
    share = found.energy["share"]
    return f"Half of all tokens lie below {share.median():.0%}, one in a hundred above {share.quantile(0.99):.0%}."


def mds(table: pd.DataFrame) -> str:
    """table: of `avsink.papers.hubs.measure.mds_by_layer`."""
    if table.empty:
        return "No global sinks."
    parts = []
    for (category, kind), rows in table.groupby(["category", "kind"], sort=False):
        low, high = rows.loc[rows["mean"].idxmin()], rows.loc[rows["mean"].idxmax()]
        parts.append(
            f"{category}, {kind}: from {low['mean']:+.2f} at layer {low['layer']} to {high['mean']:+.2f} at layer "
            f"{high['layer']}"
        )
    return f"Mean MDS. {'; '.join(parts)}."
