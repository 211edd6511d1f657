"""Dots: one number per row, with its interval or its limit."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import pandas as pd

from avsink.charts import theme
from avsink.charts.figure import Figure

__all__ = ["dot_plot", "ratios"]

LINES = "split(datum.label, ': ')"  # the parts of a label go on lines of their own


@theme.drawn
def dot_plot(
    df: pd.DataFrame,
    *,
    caption: str,
    description: str,
    title: str,
    unit: str = "",
    inks: Mapping[str, str] | None = None,
) -> Figure:
    """Draw one row per label, with a dot and its interval for each group, such as *reported* and *measured*.

    Args:
        df: One row per (label, group), with the columns label, group, value, low and high (95 % interval, missing where
            none was reported) and n.
        caption: What is drawn.
        description: What it shows, in a sentence or two, for screen readers.
        title: Title of the horizontal axis.
        unit: Format of the values in the notation of d3, such as ".0%"; empty for plain numbers.
        inks: Group -> name of its colour in `theme.INK`, for groups that have a colour of their own.
    """
    theme.require(df, "label", "group", "value", "low", "high", "n")
    rows = theme.rounded(df)
    groups, labels = list(dict.fromkeys(rows["group"])), list(dict.fromkeys(rows["label"]))
    names = ("blue", "orange", "green", "purple", "gold", "pink", "teal", "grey")
    inks = [theme.INK[(inks or {}).get(group, name)] for group, name in zip(groups, names, strict=False)]
    marks = {"domain": groups, "range": inks[: len(groups)]}, {"domain": groups, "range": theme.SHAPES[: len(groups)]}
    legend = None if len(groups) == 1 else alt.Legend(title=None, orient="top", labelLimit=theme.LONGEST)
    base = alt.Chart(rows).encode(
        y=alt.Y("label:N", title=None, sort=labels, axis=alt.Axis(labelLimit=230, grid=False, labelExpr=LINES)),
        yOffset=alt.YOffset("group:N", sort=groups),
        color=alt.Color("group:N", sort=groups, legend=legend, scale=alt.Scale(**marks[0])),
        tooltip=[alt.Tooltip("label:N"), alt.Tooltip("group:N")]
        + [alt.Tooltip(f"{name}:Q", format=unit) for name in ("value", "low", "high")]
        + [alt.Tooltip("n:Q", title="samples")],
    )
    x = alt.X("value:Q", title=title, axis=alt.Axis(format=unit, tickCount=6))
    interval = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=title), x2="high:Q")
    dot = base.mark_point(size=70, filled=True, opacity=1).encode(
        x=x, shape=alt.Shape("group:N", sort=groups, legend=legend, scale=alt.Scale(**marks[1]))
    )
    step = alt.Step(max(26, 16 * len(groups)), **{"for": "position"})
    return theme.figure(alt.layer(interval, dot).properties(width="container", height=step), rows, caption, description)


@theme.drawn
def ratios(df: pd.DataFrame, *, caption: str, description: str, title: str) -> Figure:
    """Draw ratios of times on a logarithmic axis: one row per label, one dot per group, and a tick at each limit.

    Args:
        df: One row per (label, group), with the columns label, group, ratio (of times) and limit (ratio of the numbers
            of operations, the largest that `ratio` can reach).
        caption: What is drawn.
        description: What it shows, in a sentence or two, for screen readers.
        title: Title of the horizontal axis.
    """
    theme.require(df, "label", "group", "ratio", "limit")
    rows = theme.rounded(df)
    labels, groups = list(dict.fromkeys(rows["label"])), list(dict.fromkeys(rows["group"]))
    inks = [theme.INK[name] for name in ("blue", "orange", "green", "purple")][: len(groups)]
    base = alt.Chart(rows).encode(
        y=alt.Y("label:N", title=None, sort=labels, axis=alt.Axis(labelLimit=220, grid=False)),
        yOffset=alt.YOffset("group:N", sort=groups),
        color=alt.Color(
            "group:N",
            sort=groups,
            legend=alt.Legend(title=None, orient="top"),
            scale=alt.Scale(domain=groups, range=inks),
        ),
        tooltip=[alt.Tooltip("label:N"), alt.Tooltip("group:N")]
        + [alt.Tooltip(f"{name}:Q", format=".3~g") for name in ("ratio", "limit")],
    )
    scale = alt.Scale(type="log", domainMin=1)
    x = alt.X("ratio:Q", title=title, scale=scale, axis=alt.Axis(format="~s", tickCount=5))
    dot = base.mark_point(size=60, filled=True, opacity=1).encode(x=x)
    tick = base.mark_tick(thickness=2, size=12).encode(x=alt.X("limit:Q", title=title, scale=scale))
    step = alt.Step(max(22, 13 * len(groups)), **{"for": "position"})
    return theme.figure(alt.layer(tick, dot).properties(width="container", height=step), rows, caption, description)
