"""Tokens: how large they are, and in which dimensions of their hidden state."""

from __future__ import annotations

import altair as alt
import pandas as pd

from avsink.charts import theme
from avsink.charts.figure import Figure

__all__ = ["dimension_sizes", "token_norms"]

# Points per panel. Of more tokens, all sinks and every k-th token are drawn; of more dimensions, the largest.
MOST = 900
KINDS = {"system": "grey", "video": "blue", "audio": "orange", "user instruction": "purple"}


@theme.drawn
def token_norms(df: pd.DataFrame, *, caption: str, description: str) -> Figure:
    """Draw L2 norms along the prompt, one panel per layer, with rings around sinks (Flow figures 2 and 7).

    Args:
        df: Rows of `avsink.instruments.attention_shares.norms`, one per (layer, token).
        caption: What is drawn.
        description: What it shows, in a sentence or two, for screen readers.
    """
    theme.require(df, "layer", "position", "group", "l2", "sink", "at")
    every = -(-df.groupby("layer").size().max() // MOST)
    rows = theme.rounded(df[df["sink"] | (df["position"] % every == 0)])
    order = {kind: at for at, kind in enumerate(KINDS)}
    kinds = sorted(rows["group"].unique(), key=lambda kind: order.get(kind, len(order)))
    base = alt.Chart(rows).encode(
        x=alt.X("position:Q", title="token", axis=alt.Axis(tickCount=6)),
        y=alt.Y("l2:Q", title="L2 norm", scale=alt.Scale(type="log"), axis=alt.Axis(tickCount=4, format="~s")),
        tooltip=[
            alt.Tooltip("position:Q", title="token"),
            alt.Tooltip("group:N"),
            alt.Tooltip("at:Q", title="place in its frame or chunk"),
            alt.Tooltip("l2:Q", title="L2 norm", format=".4~s"),
            alt.Tooltip("sink:N"),
        ],
    )
    dots = base.mark_point(size=26, filled=True, opacity=0.9).encode(
        color=alt.Color(
            "group:N",
            sort=kinds,
            legend=alt.Legend(title=None, orient="top"),
            scale=alt.Scale(domain=kinds, range=[theme.INK[KINDS.get(kind, "teal")] for kind in kinds]),
        )
    )
    rings = base.transform_filter("datum.sink").mark_point(
        size=170, color=theme.INK["pink"], strokeWidth=2, filled=False
    )
    header = alt.Header(title=None, labelExpr="'layer ' + datum.value", labelFontWeight="bold")
    chart = (
        alt.layer(dots, rings).properties(width=320, height=170).facet(alt.Facet("layer:O", header=header), columns=2)
    )
    return theme.figure(chart, theme.rounded(df), caption, description)


@theme.drawn
def dimension_sizes(df: pd.DataFrame, *, caption: str, description: str, named: int = 3) -> Figure:
    """Draw the size of every dimension, one panel per token (Flow figure 2, right).

    Args:
        df: Rows of `avsink.instruments.attention_shares.dimensions`, one per (token, dimension).
        caption: What is drawn.
        description: What it shows, in a sentence or two, for screen readers.
        named: How many of the largest dimensions of each token to label.
    """
    theme.require(df, "token", "position", "dimension", "magnitude")
    drawn = df.sort_values("magnitude", ascending=False).groupby("token", sort=False).head(MOST).sort_index()
    rows = theme.rounded(drawn)
    tokens = list(dict.fromkeys(rows["token"]))
    top = rows.sort_values("magnitude", ascending=False).groupby("token", sort=False).head(named)
    rows = rows.assign(
        name=rows["dimension"].where(rows.index.isin(top.index)).map("{:.0f}".format, na_action="ignore")
    )
    x = alt.X("dimension:Q", title="dimension", scale=alt.Scale(domain=[0, int(rows["dimension"].max())], nice=False))
    base = alt.Chart(rows).encode(
        x=x,
        y=alt.Y("magnitude:Q", title="|x|", axis=alt.Axis(tickCount=3, format="~s")),
        tooltip=[alt.Tooltip(f"{name}:Q") for name in ("dimension", "magnitude", "position")],
    )
    bars = base.mark_bar(width=2, color=theme.INK["blue"])
    words = base.transform_filter("isValid(datum.name)").mark_text(dy=-7, fontSize=11, color=theme.INK["orange"])
    header = alt.Header(title=None, labelFontWeight="bold", labelOrient="top", labelAnchor="start")
    chart = (
        alt.layer(bars, words.encode(text="name:N"))
        .properties(width=560, height=110)
        .facet(facet=alt.Facet("token:N", sort=tokens, header=header), columns=1)
        .resolve_scale(y="independent")
    )
    return theme.figure(chart, theme.rounded(df), caption, description)
