"""Curves: something over layers, or over steps of training."""

from __future__ import annotations

from collections.abc import Iterable

import altair as alt
import pandas as pd

from avsink.charts import theme
from avsink.charts.figure import Figure

__all__ = ["knockout_curves", "layer_curves", "share_curves", "training_curves"]


@theme.drawn
def layer_curves(
    df: pd.DataFrame,
    *,
    series: str,
    title: str,
    caption: str,
    description: str,
    names: Iterable[str] | None = None,
    legend: str | None = None,
    x: str = "layer",
    axis: str = "layer",
    unit: str = ".0%",
    mark: int | None = None,
) -> Figure:
    """Draw means over the depth of the network: one curve per name, one panel per category.

    Args:
        df: One row per (`series`, layer[, category]), with the columns mean (over n samples), low and high (95 %
            interval) and n.
        series: The column that tells the curves apart.
        title: Title of the vertical axis.
        caption: What is drawn.
        description: What it shows, in a sentence or two, for screen readers.
        names: Values of `series` to draw, in the order of the legend; all by default.
        legend: Title of the legend.
        x: The column of the horizontal axis.
        axis: Title of the horizontal axis.
        unit: Format of the vertical axis, in the notation of d3.
        mark: The layer at which to draw a vertical line; None for no line.
    """
    theme.require(df, series, x, "mean", "low", "high", "n")
    names = list(dict.fromkeys(df[series] if names is None else names))
    rows = theme.rounded(df[df[series].isin(names)])
    theme.require(rows)
    channels = theme.channels(series, names, title=legend)
    picked = alt.selection_point(fields=[series], bind="legend")
    tooltip = [alt.Tooltip(f"{series}:N"), alt.Tooltip(f"{x}:Q", title=x)]
    for name, label in (("mean", "mean"), ("low", "95 % from"), ("high", "95 % to")):
        tooltip.append(alt.Tooltip(f"{name}:Q", title=label, format=".1%" if "%" in unit else ".3~g"))
    tooltip.append(alt.Tooltip("n:Q", title="samples"))

    ticks = theme.layer_axis(rows[x]) if x == "layer" else alt.Axis(tickCount=5)
    across = alt.X(f"{x}:Q", title=axis, axis=ticks)
    y = alt.Y("mean:Q", title=title, axis=alt.Axis(format=unit, tickCount=5))
    base, zero = (
        alt.Chart(rows).encode(x=across),
        alt.Chart(rows).mark_rule(color=theme.INK["grey"]).encode(y=alt.datum(0)),
    )
    veiled = alt.when(picked).then(alt.value(0.18)).otherwise(alt.value(0.02))
    shown = alt.when(picked).then(alt.value(1)).otherwise(alt.value(0.12))
    band = base.transform_calculate(tint=channels["tint"]).mark_area(strokeWidth=0)
    band = band.encode(y="low:Q", y2="high:Q", detail=f"{series}:N", fill=alt.Fill("tint:N", scale=None))
    band = band.encode(fillOpacity=veiled)
    line = base.mark_line(strokeWidth=2, fill=None).encode(
        y=y, stroke=channels["stroke"], strokeDash=channels["strokeDash"], opacity=shown
    )
    point = base.mark_point(size=36, strokeWidth=1.5).encode(
        y=y, stroke=channels["stroke"], fill=channels["fill"], shape=channels["shape"], opacity=shown
    )
    target = base.mark_point(size=300, opacity=0).encode(y=y, tooltip=tooltip)  # easier to hit than the point itself
    parts = [zero, band, line, point.add_params(picked), target]
    if mark is not None:
        at = pd.DataFrame({"layer": [mark]})
        dashed = alt.Chart(at).mark_rule(color=theme.INK["grey"], strokeDash=[4, 4], strokeWidth=2)
        parts.insert(0, dashed.encode(x=across))
    layers = alt.layer(*parts)

    if "category" not in rows:
        return theme.figure(layers.properties(width="container", height=290), rows, caption, description)
    order = list(dict.fromkeys(rows["category"]))
    header = alt.Header(title=None, labelFontWeight="bold")
    panels = layers.properties(width=250 if len(order) > 2 else 340, height=190).facet(
        facet=alt.Facet("category:N", sort=order, header=header), columns=2 if len(order) == 4 else min(3, len(order))
    )
    return theme.figure(panels, rows, caption, description)


def knockout_curves(
    df: pd.DataFrame,
    *,
    caption: str,
    description: str,
    pathways: Iterable[str] | None = None,
    axis: str = "centre layer of the blocked window",
) -> Figure:
    """Draw Δp over the depth of the network, one curve per pathway (Flow figures 3 and 4).

    Args:
        df: One row per (pathway, layer[, category]), with the columns mean, low and high (95 % interval) and n.
        caption: What is drawn.
        description: What it shows, in a sentence or two, for screen readers.
        pathways: The pathways to draw, in the order of the legend; all by default.
        axis: Title of the horizontal axis.
    """
    legend = "blocked (click to single out)"
    words = {"caption": caption, "description": description}
    return layer_curves(
        df, series="pathway", names=pathways, title="Δp of the answer", legend=legend, axis=axis, **words
    )


def share_curves(df: pd.DataFrame, *, caption: str, description: str, mark: int | None = None) -> Figure:
    """Draw the last token's attention by kind of token (Flow figure 1, left).

    Args:
        df: One row per (group, layer[, category]), with the columns mean, low and high (95 % interval) and n.
        caption: What is drawn.
        description: What it shows, in a sentence or two, for screen readers.
        mark: The layer at which to draw a vertical line; None for no line.
    """
    words = {"caption": caption, "description": description}
    return layer_curves(df, series="group", title="share of the last token's attention", mark=mark, **words)


@theme.drawn
def training_curves(df: pd.DataFrame, *, caption: str, description: str, title: str, unit: str = "") -> Figure:
    """Draw how metrics changed during training: one line per metric over the optimiser's steps.

    Args:
        df: One row per (metric, step), with the columns step, measure (name of the metric), value.
        caption: What is drawn.
        description: What it shows, in a sentence or two, for screen readers.
        title: Title of the vertical axis.
        unit: Format of the vertical axis, in the notation of d3.
    """
    theme.require(df, "step", "measure", "value")
    rows = theme.rounded(df)
    names = list(dict.fromkeys(rows["measure"]))
    series = theme.channels("measure", names, title=None)
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
    return theme.figure(lines.add_params(picked).properties(width="container", height=260), rows, caption, description)
