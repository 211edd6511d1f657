"""Curves: something over layers, or over steps of training."""

from __future__ import annotations

from collections.abc import Iterable

import altair as alt
import pandas as pd

from avsink.charts import look
from avsink.figure import Figure

__all__ = ["knockout_curves", "share_curves", "training_curves"]


def knockout_curves(
    df: pd.DataFrame,
    *,
    caption: str,
    description: str,
    pathways: Iterable[str] | None = None,
    axis: str = "centre layer of the blocked window",
) -> Figure:
    """Δp over the depth of the network, one curve a pathway, one panel a category (Flow figures 3 and 4).

    df: one row per (pathway, layer[, category]); `layer` is the centre of the blocked window, `mean` the mean Δp over
        `n` samples, `low` and `high` its 95 % interval, all as fractions (-0.25 is a quarter less probable).
    pathways: which to draw, in the order of the legend; by default all, as they appear. axis: what `layer` is.
    """
    look.require(df, "pathway", "layer", "mean", "low", "high", "n")
    names = list(dict.fromkeys(df["pathway"] if pathways is None else pathways))
    rows = look.rounded(df[df["pathway"].isin(names)])
    series = look.channels("pathway", names, title="blocked (click to single out)")
    picked = alt.selection_point(fields=["pathway"], bind="legend")
    tooltip = [
        alt.Tooltip("pathway:N", title="blocked"),
        alt.Tooltip("layer:Q", title="layer"),
        alt.Tooltip("mean:Q", title="mean Δp", format="+.1%"),
        alt.Tooltip("low:Q", title="95 % from", format="+.1%"),
        alt.Tooltip("high:Q", title="95 % to", format="+.1%"),
        alt.Tooltip("n:Q", title="samples"),
    ]

    x = alt.X("layer:Q", title=axis, axis=look.layer_axis(rows["layer"]))
    y = alt.Y("mean:Q", title="Δp of the answer", axis=alt.Axis(format=".0%", tickCount=5))
    base, zero = alt.Chart(rows).encode(x=x), alt.Chart(rows).mark_rule(color=look.INK["grey"]).encode(y=alt.datum(0))
    veiled = alt.when(picked).then(alt.value(0.18)).otherwise(alt.value(0.02))
    shown = alt.when(picked).then(alt.value(1)).otherwise(alt.value(0.12))
    band = base.transform_calculate(tint=series["tint"]).mark_area(strokeWidth=0)
    band = band.encode(y="low:Q", y2="high:Q", detail="pathway:N", fill=alt.Fill("tint:N", scale=None))
    band = band.encode(fillOpacity=veiled)
    line = base.mark_line(strokeWidth=2, fill=None).encode(
        y=y, stroke=series["stroke"], strokeDash=series["strokeDash"], opacity=shown
    )
    point = base.mark_point(size=36, strokeWidth=1.5).encode(
        y=y, stroke=series["stroke"], fill=series["fill"], shape=series["shape"], opacity=shown
    )
    target = base.mark_point(size=300, opacity=0).encode(y=y, tooltip=tooltip)  # easier to hit than the point itself
    layers = alt.layer(zero, band, line, point.add_params(picked), target)

    if "category" not in rows:
        return look.figure(layers.properties(width="container", height=300), rows, caption, description)
    order = list(dict.fromkeys(rows["category"]))
    header = alt.Header(title=None, labelFontWeight="bold")
    panels = layers.properties(width=250, height=190).facet(
        facet=alt.Facet("category:N", sort=order, header=header), columns=min(3, len(order))
    )
    return look.figure(panels, rows, caption, description)


def share_curves(df: pd.DataFrame, *, caption: str, description: str, mark: int | None = None) -> Figure:
    """How the last token shares out its attention over the depth of the network (Flow figure 1, left).

    df: `group`, `layer`, `mean`, `low`, `high`, `n`, shares as fractions. mark: a layer to draw a line at.
    """
    look.require(df, "group", "layer", "mean", "low", "high", "n")
    rows = look.rounded(df)
    names = list(dict.fromkeys(rows["group"]))
    series = look.channels("group", names, title=None)
    tooltip = [alt.Tooltip("group:N"), alt.Tooltip("layer:Q")]
    tooltip += [alt.Tooltip(f"{name}:Q", format=".1%") for name in ("mean", "low", "high")]
    x = alt.X("layer:Q", title="layer", axis=look.layer_axis(rows["layer"]))
    y = alt.Y("mean:Q", title="share of the last token's attention", axis=alt.Axis(format=".0%", tickCount=5))
    base = alt.Chart(rows).encode(x=x)
    band = base.transform_calculate(tint=series["tint"]).mark_area(strokeWidth=0, fillOpacity=0.18)
    band = band.encode(y="low:Q", y2="high:Q", detail="group:N", fill=alt.Fill("tint:N", scale=None))
    line = base.mark_line(strokeWidth=2, fill=None).encode(
        y=y, stroke=series["stroke"], strokeDash=series["strokeDash"]
    )
    point = base.mark_point(size=40, strokeWidth=1.5).encode(
        y=y,
        stroke=series["stroke"],
        fill=series["fill"],
        shape=series["shape"],
        tooltip=[*tooltip, alt.Tooltip("n:Q", title="samples")],
    )
    parts = [band, line, point]
    if mark is not None:
        at = pd.DataFrame({"layer": [mark]})
        parts.insert(0, alt.Chart(at).mark_rule(color=look.INK["grey"], strokeDash=[4, 4], strokeWidth=2).encode(x=x))
    return look.figure(alt.layer(*parts).properties(width="container", height=280), rows, caption, description)


def training_curves(df: pd.DataFrame, *, caption: str, description: str, title: str, unit: str = "") -> Figure:
    """How measures moved while a model was trained: one line a measure over the optimiser's steps.

    df: one row per (measure, step) with its `value`; title: what the vertical axis measures; unit: a d3 format.
    """
    look.require(df, "step", "measure", "value")
    rows = look.rounded(df)
    names = list(dict.fromkeys(rows["measure"]))
    series = look.channels("measure", names, title=None)
    picked = alt.selection_point(fields=["measure"], bind="legend")
    lines = (
        alt.Chart(rows)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("step:Q", title="optimiser step", axis=alt.Axis(tickCount=6)),
            y=alt.Y("value:Q", title=title, axis=alt.Axis(format=unit, tickCount=5)),
            stroke=series["stroke"],
            strokeDash=series["strokeDash"],
            opacity=alt.when(picked).then(alt.value(1)).otherwise(alt.value(0.12)),
            tooltip=[alt.Tooltip("measure:N"), alt.Tooltip("step:Q"), alt.Tooltip("value:Q", format=unit)],
        )
    )
    return look.figure(lines.add_params(picked).properties(width="container", height=260), rows, caption, description)
