"""Results in a sentence or two, for readers who hear the page and do not see it.

Each function takes the table of a chart, or what the table was made from. Of a table without rows it says `NOTHING`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps

import pandas as pd

from avsink.results.bootstrap import percent

__all__ = [
    *("NOTHING", "accuracies", "by_level", "calibration", "changes", "compared", "dimensions", "drift", "effects"),
    *("energy", "explored", "field", "layers", "leanings", "maps", "mds", "norms", "pathways", "peaks", "shares"),
    "shares_of",
]

NOTHING = "Nothing was measured."
OTHER = {"audio": "video", "video": "audio"}  # dominant modality -> the one whose tokens are restored


def _if_measured(describe: Callable[..., str]) -> Callable[..., str]:
    """Decorate a function of a table: without rows, the answer is `NOTHING`."""

    @wraps(describe)
    def said(table, **settings) -> str:
        return describe(table, **settings) if len(table) else NOTHING

    return said


@_if_measured
def pathways(curves: pd.DataFrame, *, pathways: Sequence[str]) -> str:
    """Say where each pathway costs most. Pathways without rows are left out.

    `curves` are summarised knockout curves: pathway, category, layer, mean, low, high.
    """
    curves = curves.dropna(subset=["mean"])
    found = [own for name in pathways if len(own := curves[curves["pathway"] == name])]
    lowest = [curve.loc[curve["mean"].idxmin()] for curve in found]
    points = [f"{row['pathway']} {percent(row)} at layer {row['layer']} ({row['category']})" for row in lowest]
    return f"Mean change of the answer's probability where it is lowest: {'; '.join(points)}." if points else NOTHING


@_if_measured
def shares(curves: pd.DataFrame, *, spike: int) -> str:
    """Describe the last token's attention. Columns of `curves`: group, layer, mean. `spike`: the layer of the jump."""
    table = curves.pivot(index="layer", columns="group", values="mean")
    largest = table.mean().sort_values(ascending=False)
    parts = ", ".join(f"{group} {share:.0%}" for group, share in largest.items())
    before, at = table["video"].get(spike - 1, 0.0), table["video"][spike]
    return f"Mean over layers: {parts}. Video's share goes from {before:.0%} to {at:.0%} at layer {spike}."


@_if_measured
def maps(table: pd.DataFrame) -> str:
    """Name the brightest column of each map of `avsink.instruments.attention_shares.maps`."""
    parts = []
    for layer, rows in table.groupby("layer"):
        read = rows[rows["key"] < rows["query"]].groupby(["key", "key_group"])["weight"].mean()
        if len(read):
            key, group = read.idxmax()
            parts.append(f"at layer {layer} the brightest column is token {key} ({group}), {read.max():.0%} on average")
    return f"Attention maps: {'; '.join(parts)}." if parts else NOTHING


@_if_measured
def norms(table: pd.DataFrame) -> str:
    """Count the sinks in the rows of `avsink.instruments.attention_shares.norms`."""
    parts = []
    for layer, rows in table.groupby("layer"):
        sinks = rows[rows["sink"]].groupby("group").size()
        found = ", ".join(f"{count} in {group}" for group, count in sinks.items()) or "none"
        parts.append(f"layer {layer}: {found}")
    return f"Sinks among {int((table['layer'] == table['layer'].iloc[0]).sum())} tokens: {'; '.join(parts)}."


@_if_measured
def dimensions(sizes: pd.DataFrame) -> str:
    """Name the largest dimensions of each token in the rows of `avsink.instruments.attention_shares.dimensions`."""
    top = _largest_dimensions(sizes)
    both = sorted(set.intersection(*(set(found) for found in top.values())))
    parts = "; ".join(f"{token}: {', '.join(map(str, found))}" for token, found in top.items())
    shared = f"both share {', '.join(map(str, both))}" if both else "the two share none of them"
    return f"Largest dimensions, {parts}; {shared}."


@_if_measured
def layers(after: Mapping[str, int], *, n_layers: int) -> str:
    """Say what can be discarded. `after`: group of tokens -> the last layer in which it is needed."""
    parts = [
        f"{group} after layer {layer}" if 0 <= layer < n_layers - 1 else f"{group} never needed"
        for group, layer in after.items()
        if layer < n_layers - 1
    ]
    kept = [group for group, layer in after.items() if layer >= n_layers - 1]
    said = f"Can be discarded: {', '.join(parts) or 'nothing'}."
    return f"{said} Needed to the end: {', '.join(kept)}." if kept else said


@_if_measured
def accuracies(table: pd.DataFrame) -> str:
    """Say by how much configurations differ. `table` is of `avsink.papers.flow.reported.tasks_of_table_4`."""
    spread = table.groupby(["side", "task"])["accuracy"].agg(lambda column: column.max() - column.min())
    parts = [f"{side} by at most {values.max():.1%}" for side, values in spread.groupby("side", sort=False)]
    return f"Within a task, the configurations' accuracies differ, {' and '.join(parts)}."


@_if_measured
def changes(table: pd.DataFrame) -> str:
    """Give the range of changes. Columns of `table`: category, config, mean (change of accuracy)."""
    if (table := table.dropna(subset=["mean"])).empty:
        return NOTHING
    low, high = table.loc[table["mean"].idxmin()], table.loc[table["mean"].idxmax()]
    ends = [f"{_number(row['mean'], '+z.1%')} ({row['config']}, {row['category']})" for row in (low, high)]
    return f"Over {len(table)} combinations of task and configuration the change goes from {' to '.join(ends)}."


@_if_measured
def shares_of(table: pd.DataFrame, *, name: str) -> str:
    """List shares of samples. Columns of `table`: category, the column called `name`, mean."""
    parts = []
    for category, rows in table.groupby("category", sort=False):
        parts.append(f"{category}: " + ", ".join(f"{row[name]} {row['mean']:.0%}" for _, row in rows.iterrows()))
    return f"Shares of samples. {'; '.join(parts)}."


@_if_measured
def by_level(curves: pd.DataFrame) -> str:
    """Compare the least with the most degraded samples. Columns of `curves`: series, category, level, mean."""
    parts = []
    for (category, series), rows in curves.groupby(["category", "series"], sort=False):
        rows = rows.sort_values("level")
        parts.append(f"{category}, {series}: from {rows['mean'].iloc[0]:.0%} to {rows['mean'].iloc[-1]:.0%}")
    return f"From the least to the most degraded. {'; '.join(parts)}."


@_if_measured
def effects(table: pd.DataFrame) -> str:
    """List what restoring each set of tokens brings back. `table` is of `avsink.papers.hubs.reported.effects`."""
    parts = []
    for dominance, rows in table.groupby("dominance", sort=False):
        known = rows.dropna(subset=["ie_clean"])
        numbers = ", ".join(
            f"{row['restored']} {_number(100 * row['ie_clean'], 'z.1f')}" for _, row in known.iterrows()
        )
        parts.append(f"{dominance}-dominant, {OTHER[dominance]} tokens: {numbers or 'nothing measured'}")
    return f"IE_clean in points. {'; '.join(parts)}."


@_if_measured
def compared(points: pd.DataFrame) -> str:
    """Say whose dots a chart of `avsink.papers.hubs.reported.shares` shows, as part of a caption's sentence."""
    if "this run" in set(points["group"]):
        return "this run with 95 % intervals, the paper's five models without"
    return "the paper's five models; in this run there was nothing to compare with them"


@_if_measured
def peaks(curves: pd.DataFrame) -> str:
    """Say at which depth restoring brings back most. Columns of `curves`: token_set, category, layer, mean."""
    parts = []
    for (category, name), rows in curves.dropna(subset=["mean"]).groupby(["category", "token_set"], sort=False):
        top = rows.loc[rows["mean"].idxmax()]
        parts.append(f"{category}, {name}: {_number(100 * top['mean'], 'z.1f')} points around layer {top['layer']}")
    return f"Where restoring brings back most. {'; '.join(parts)}." if parts else NOTHING


@_if_measured
def field(table: pd.DataFrame) -> str:
    """Count the sinks in the rows of `avsink.instruments.sinks.field`."""
    sinks = table[table["sink"]]
    counts = sinks.drop_duplicates("position").groupby("group").size()
    found = ", ".join(f"{count} of {group}" for group, count in counts.items()) or "none"
    layers = f", at layers {sinks['layer'].min()} to {sinks['layer'].max()}" if len(sinks) else ""
    return f"Of {table['position'].nunique()} tokens these are sinks at some layer: {found}{layers}."


@_if_measured
def drift(table: pd.DataFrame) -> str:
    """Say how many sinks two layers share. `table` is of `avsink.papers.hubs.sink_tables.drift`."""
    parts = []
    for modality, rows in table.groupby("modality", sort=False):
        apart = rows[rows["layer"] != rows["other"]]
        parts.append(f"{modality}: {apart['mean'].mean():.0%} on average, {apart['mean'].min():.0%} at least")
    return f"Share of sinks that two different layers have in common. {'; '.join(parts)}."


@_if_measured
def leanings(table: pd.DataFrame) -> str:
    """Give the mean MDS of each kind of global sink. `table` is of `avsink.papers.hubs.sink_tables.scores`.

    The cross-modal half leans less to its own modality than the other half does. Where it is still read more by its own
    modality than by the other one, this is said.
    """
    parts = []
    for (modality, kind), own in table.groupby(["modality", "kind"], sort=False)["score"]:
        mean = own.mean()
        inward = kind == "cross-modal" and (mean > 0 if modality == "video" else mean < 0)
        parts.append(f"{modality}, {kind}: {_number(mean, '+z.2f')} (n = {len(own)})")
        parts[-1] += f", still read more by {modality}" if inward else ""
    return f"Mean MDS of global sinks. {'; '.join(parts)}."


@_if_measured
def mds(table: pd.DataFrame) -> str:
    """Give the range of the mean MDS over layers. `table` is of `avsink.papers.hubs.sink_tables.mds_by_layer`."""
    parts = []
    for (category, kind), rows in table.dropna(subset=["mean"]).groupby(["category", "kind"], sort=False):
        low, high = rows.loc[rows["mean"].idxmin()], rows.loc[rows["mean"].idxmax()]
        parts.append(
            f"{category}, {kind}: from {_number(low['mean'], '+z.2f')} at layer {low['layer']} to "
            f"{_number(high['mean'], '+z.2f')} at layer {high['layer']}"
        )
    return f"Mean MDS. {'; '.join(parts)}." if parts else NOTHING


def calibration(found) -> str:
    """Say what `avsink.instruments.sink_calibration.calibrate` found."""
    if not found.dims:
        return str(found)
    if not found.found:
        return f"Dimensions {found.dims}; small and large φ pass into one another, so there is no τ."
    sinks = found.phi[found.phi["phi"] > found.tau]
    return (
        f"Dimensions {found.dims}; τ = {found.tau:.3g}; "
        f"{len(sinks) / len(found.phi):.1%} of tokens and layers lie above it."
    )


def energy(found) -> str:
    """Say how much of a token's energy one dimension holds. `found` is of `sink_calibration.calibrate`."""
    if found.energy.empty:
        return NOTHING
    share = found.energy["share"]
    return f"Half of all tokens lie below {share.median():.0%}, one in a hundred above {share.quantile(0.99):.0%}."


def explored(found) -> str:
    """Count the sinks of one clip. `found` is of `avsink.instruments.clip_explorer.explore`."""
    if found.tokens.empty:
        return NOTHING
    sinks = found.tokens[found.tokens["sink"]]
    parts = [f"{rows['place'].nunique()} of {modality}" for modality, rows in sinks.groupby("modality")]
    often = sinks["place"].value_counts()
    most = f"; the most lasting is {often.index[0]}" if len(often) else ""
    n = found.tokens["position"].nunique()
    return f"Of {n} media tokens these are sinks at some layer: {', '.join(parts) or 'none'}{most}."


def _number(value: float, form: str) -> str:
    """Format a number with a minus sign, not a hyphen; what rounds to 0 has no minus."""
    return f"{value:{form}}".replace("-", "−")


def _largest_dimensions(sizes: pd.DataFrame, *, most: int = 3) -> dict[str, list[int]]:
    """Token -> its `most` largest dimensions, the largest first."""
    top = sizes.sort_values("magnitude", ascending=False).groupby("token", sort=False).head(most)
    return {token: rows["dimension"].tolist() for token, rows in top.groupby("token", sort=False)}
