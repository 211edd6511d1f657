"""Spans of time, and spans of tokens."""

from __future__ import annotations

import altair as alt
import pandas as pd

from avsink.charts import theme
from avsink.charts.figure import Figure

__all__ = ["timeline", "work_map"]


@theme.drawn
def timeline(df: pd.DataFrame, *, caption: str, description: str) -> Figure:
    """Draw who is seen and heard in one clip, and when: one bar per span, one row per track.

    Args:
        df: One row per span, with the columns track (the chart's row), label (written on the bar), modality ("video" or
            "audio"), start and end (seconds).
        caption: What is drawn.
        description: What it shows, in a sentence or two, for screen readers.
    """
    theme.require(df, "track", "label", "modality", "start", "end")
    rows = theme.rounded(df)
    tracks = list(dict.fromkeys(rows["track"]))
    base = alt.Chart(rows).encode(
        y=alt.Y("track:N", title=None, sort=tracks, axis=alt.Axis(labelLimit=180)),
        x=alt.X("start:Q", title="seconds", axis=alt.Axis(tickCount=8)),
        x2="end:Q",
        tooltip=[alt.Tooltip(f"{name}:N") for name in ("label", "modality")]
        + [alt.Tooltip(f"{name}:Q", format=".2f", title=f"{name} (s)") for name in ("start", "end")],
    )
    scale = alt.Scale(domain=list(theme.MODALITIES), range=list(theme.MODALITIES.values()))
    bars = base.mark_bar(cornerRadius=3, height=20).encode(
        color=alt.Color("modality:N", scale=scale, legend=alt.Legend(title=None, orient="top"))
    )
    words = base.mark_text(align="left", dx=6, color="white", fontWeight="bold").encode(text="label:N")
    chart = alt.layer(bars, words).properties(width="container", height=alt.Step(30))
    return theme.figure(chart, rows, caption, description)


@theme.drawn
def work_map(df: pd.DataFrame, *, stripes: pd.DataFrame, n_layers: int, caption: str, description: str) -> Figure:
    """Draw which tokens a replay computes at which layer; two menus pick the pathway and the window.

    Args:
        df: Rows of `avsink.instruments.replay_cost.computed`, one per span of computed tokens.
        stripes: Rows of `avsink.instruments.replay_cost.segments`, one per span of tokens of one kind.
        n_layers: Number of layers of the model.
        caption: What is drawn.
        description: What it shows, in a sentence or two, for screen readers.
    """
    theme.require(df, "pathway", "centre", "layer", "start", "stop", "tokens")
    n, centres = int(stripes["stop"].max()), sorted(df["centre"].unique().tolist())
    names = list(dict.fromkeys(df["pathway"]))
    menu = alt.param(name="blocked", value=names[0], bind=alt.binding_select(options=names, name="blocked: "))
    around = alt.param(
        name="around", value=centres[len(centres) // 2], bind=alt.binding_select(options=centres, name="around layer: ")
    )
    x = alt.X(
        "start:Q", title=None, scale=alt.Scale(domain=[0, n], nice=False), axis=alt.Axis(labels=False, ticks=False)
    )
    layers = pd.DataFrame({"layer": range(n_layers), "start": 0, "stop": n})
    y = alt.Y("layer:O", sort="descending", title="layer", axis=alt.Axis(grid=False))
    clean = alt.Chart(layers).mark_bar(color=theme.INK["grey"], opacity=0.25).encode(x=x, x2="stop:Q", y=y)
    rows = (
        alt.Chart(df)
        .transform_filter("datum.pathway == blocked && datum.centre == around")
        .mark_bar(color=theme.INK["orange"])
        .encode(
            x=x,
            x2="stop:Q",
            y=y,
            tooltip=[alt.Tooltip(f"{name}:Q") for name in ("layer", "tokens", "start", "stop")],
        )
    )
    height = min(300, max(140, 22 * n_layers))
    upper = alt.layer(clean, rows).add_params(menu, around).properties(width="container", height=height)
    order = {kind: at for at, kind in enumerate(theme.STRIPES)}
    kinds = sorted(stripes["kind"].unique(), key=lambda kind: order.get(kind, len(order)))
    lower = (
        alt.Chart(stripes)
        .mark_bar(height=14)
        .encode(
            x=alt.X("start:Q", title="token", scale=alt.Scale(domain=[0, n], nice=False)),
            x2="stop:Q",
            y=alt.Y("strip:N", title=None, axis=None),
            color=alt.Color(
                "kind:N",
                sort=kinds,
                legend=alt.Legend(title=None, orient="bottom", columns=4),
                scale=alt.Scale(domain=kinds, range=[theme.STRIPES.get(kind, theme.INK["teal"]) for kind in kinds]),
            ),
            tooltip=[alt.Tooltip("kind:N"), alt.Tooltip("start:Q"), alt.Tooltip("stop:Q")],
        )
        .transform_calculate(strip="'prompt'")
        .properties(width="container", height=18)
    )
    return theme.figure(alt.vconcat(upper, lower, spacing=4), df, caption, description)
