"""Dominance and sinks: which modality decides, which tokens are sinks, and who reads them (Hubs, tables 1 and 2)."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from avsink.charts import theme
from avsink.charts.dots import dot_plot
from avsink.charts.figure import Figure

__all__ = ["dominance_dots", "dominance_map", "leanings", "phi_map", "sink_drift", "spread"]

DOMINANCE = {  # kind -> (ink, shape)
    "audio": ("orange", "triangle-up"),
    "video": ("blue", "circle"),
    "both": ("green", "square"),
    "neither": ("grey", "cross"),
}
COLUMNS = 400  # of a map of tokens, at most
POINTS = 3000  # on a chart, at most
# Kind of global sink -> (ink, shape)
KINDS = {"unimodal": ("purple", "diamond"), "cross-modal": ("green", "square"), "neither": ("grey", "cross")}


@theme.drawn
def dominance_map(df: pd.DataFrame, *, caption: str, description: str) -> Figure:
    """Draw one point per sample: how degraded picture and sound are, and which of them decides.

    Args:
        df: One row per sample, with the columns sample, fog and noise (strength of the degradation, from 0), dominance.
        caption: What is drawn.
        description: What it shows, in a sentence or two, for screen readers.
    """
    theme.require(df, "sample", "fog", "noise", "dominance")
    rows = theme.rounded(df[["sample", "fog", "noise", "dominance"]])
    picked = alt.selection_point(fields=["dominance"], bind="legend")
    plain = {"scale": alt.Scale(zero=False), "axis": alt.Axis(tickCount=5, format=".1f")}
    points = (
        alt.Chart(rows)
        .mark_point(size=45, filled=True)
        .encode(
            x=alt.X("fog:Q", title="fog over the picture", **plain),
            y=alt.Y("noise:Q", title="noise over the sound", **plain),
            **_kind("dominance", DOMINANCE, rows),
            opacity=alt.when(picked).then(alt.value(0.9)).otherwise(alt.value(0.08)),
            tooltip=["sample:N", "dominance:N", "fog:Q", "noise:Q"],
        )
    )
    return theme.figure(points.add_params(picked).properties(width="container", height=340), rows, caption, description)


def dominance_dots(df: pd.DataFrame, *, caption: str, description: str) -> Figure:
    """Draw the share of samples of each kind of dominance, one row per category, in the colours of the modalities.

    Args:
        df: One row per (category, dominance), with the columns category, dominance, mean (share of the samples, a
            fraction), low and high (95 % interval) and n.
        caption: What is drawn.
        description: What it shows, in a sentence or two, for screen readers.
    """
    rows = df.rename(columns={"category": "label", "dominance": "group", "mean": "value"})
    inks = {kind: ink for kind, (ink, _) in DOMINANCE.items()}
    words = {"caption": caption, "description": description}
    return dot_plot(rows, title="share of samples", unit=".0%", inks=inks, **words)


@theme.drawn
def spread(
    df: pd.DataFrame, *, column: str, title: str, mark: float | None, name: str, caption: str, description: str
) -> Figure:
    """Draw a histogram over tokens, with both axes logarithmic and a line at one value.

    Args:
        df: One row per token, or per (token, layer).
        column: The column of `df` that is counted.
        title: Title of the horizontal axis.
        mark: Where to draw the line; None for no line.
        name: What the marked value is called; it is written beside the line.
        caption: What is drawn.
        description: What it shows, in a sentence or two, for screen readers.
    """
    theme.require(df, column)
    edges = np.geomspace(max(df[column].min(), 0.01), df[column].max() * 1.01, 61)
    counts, _ = np.histogram(df[column], bins=edges)
    rows = pd.DataFrame({"value": edges[:-1], "to": edges[1:], "tokens": counts}).query("tokens > 0")
    rows = rows.reset_index(drop=True)
    bars = (
        alt.Chart(rows)
        .mark_rect(color=theme.INK["blue"])
        .encode(
            x=alt.X("value:Q", title=title, scale=alt.Scale(type="log", nice=False), axis=alt.Axis(tickCount=6)),
            x2="to:Q",
            y=alt.Y("tokens:Q", title="tokens", scale=alt.Scale(type="log", domainMin=0.8)),
            y2=alt.datum(0.8),
            tooltip=[
                alt.Tooltip("value:Q", title="from", format=".3~g"),
                alt.Tooltip("to:Q", format=".3~g"),
                "tokens:Q",
            ],
        )
    )
    parts = [bars]
    if mark is not None:
        line = alt.Chart(pd.DataFrame({"value": [mark], "name": [f"{name} = {mark:.3g}"]})).encode(x="value:Q")
        parts.append(line.mark_rule(color=theme.INK["pink"], strokeWidth=2, strokeDash=[5, 3]))
        words = line.mark_text(align="right", dx=-6, dy=8, color=theme.INK["pink"], fontSize=13)
        parts.append(words.encode(text="name:N", y=alt.value(0)))
    return theme.figure(alt.layer(*parts).properties(width="container", height=240), rows, caption, description)


@theme.drawn
def phi_map(df: pd.DataFrame, *, caption: str, description: str) -> Figure:
    """Draw φ of every token at the entry of every layer: layers upwards, tokens to the right, a strip for their kind.

    In a long prompt, a column of the map stands for several neighbouring tokens and shows their largest φ.

    Args:
        df: Rows of `avsink.instruments.sinks.field`, one per (layer, token).
        caption: What is drawn.
        description: What it shows, in a sentence or two, for screen readers.
    """
    theme.require(df, "layer", "position", "group", "phi", "sink", "place")
    rows = theme.rounded(df)
    n = int(rows["position"].max()) + 1
    every = -(-n // COLUMNS)
    column = rows["position"] // every
    shown = rows.loc[rows.groupby(["layer", column])["phi"].idxmax()]
    shown = shown.assign(**{"from": column * every, "to": ((column + 1) * every).clip(upper=n)})
    if every > 1:
        caption = f"{caption} A column is {every} neighbouring tokens, and shows the largest of them."
    x = alt.X(
        "from:Q", title="token", scale=alt.Scale(domain=[0, n], nice=False), axis=alt.Axis(grid=False, tickCount=8)
    )
    cells = (
        alt.Chart(shown)
        .mark_rect()
        .encode(
            x=x,
            x2="to:Q",
            y=alt.Y("layer:O", title="layer", sort="descending"),
            color=alt.Color("phi:Q", title="φ", scale=alt.Scale(scheme="viridis")),
            tooltip=["position:Q", "group:N", "place:N", "layer:O", alt.Tooltip("phi:Q", format=".2f"), "sink:N"],
        )
        .properties(width="container", height=alt.Step(20))
    )
    kinds = list(dict.fromkeys(shown["group"]))
    inks = [theme.STRIPES.get(kind, theme.INK["teal"]) for kind in kinds]
    strip = (
        alt.Chart(shown[shown["layer"] == shown["layer"].min()])
        .mark_rect()
        .encode(
            x=alt.X("from:Q", title=None, axis=None, scale=alt.Scale(domain=[0, n], nice=False)),
            x2="to:Q",
            color=alt.Color(
                "group:N",
                sort=kinds,
                scale=alt.Scale(domain=kinds, range=inks),
                legend=alt.Legend(title=None, orient="top"),
            ),
            tooltip=["position:Q", "group:N"],
        )
        .properties(width="container", height=10)
    )
    return theme.figure(
        alt.vconcat(strip, cells, spacing=4).resolve_scale(color="independent"), rows, caption, description
    )


@theme.drawn
def sink_drift(df: pd.DataFrame, *, caption: str, description: str) -> Figure:
    """Draw how far the sinks of two layers are the same, one panel per modality.

    Args:
        df: One row per (modality, pair of layers), with the columns modality, layer, other (the other layer), mean
            (Jaccard index), low and high (95 % interval) and n.
        caption: What is drawn.
        description: What it shows, in a sentence or two, for screen readers.
    """
    theme.require(df, "modality", "layer", "other", "mean", "low", "high", "n")
    rows = theme.rounded(df)
    panels = (
        alt.Chart(rows)
        .mark_rect()
        .encode(
            x=alt.X("other:O", title="and layer"),
            y=alt.Y("layer:O", title="sinks of layer", sort="descending"),
            color=alt.Color("mean:Q", title="shared", scale=alt.Scale(domain=[0, 1], scheme="viridis")),
            tooltip=[
                "modality:N",
                "layer:O",
                "other:O",
                *(alt.Tooltip(f"{name}:Q", format=".0%") for name in ("mean", "low", "high")),
                alt.Tooltip("n:Q", title="samples"),
            ],
        )
        .properties(width=240, height=240)
        .facet(alt.Facet("modality:N", sort=["video", "audio"], header=alt.Header(title=None)), columns=2)
    )
    return theme.figure(panels, rows, caption, description)


@theme.drawn
def leanings(df: pd.DataFrame, *, caption: str, description: str) -> Figure:
    """Draw global sinks by who reads them: mean MDS to the right, one panel per modality, one row per place.

    Args:
        df: One row per global sink, with the columns modality, place (in its temporal grid or audio chunk; drawn in the
            order of the rows), score (mean MDS), kind (unimodal, cross-modal or neither), sample, position.
        caption: What is drawn.
        description: What it shows, in a sentence or two, for screen readers.
    """
    theme.require(df, "modality", "place", "score", "kind", "sample", "position")
    rows = theme.rounded(df)
    every = -(-len(rows) // POINTS)
    if every > 1:
        caption = f"{caption} One in {every} is drawn."
    picked = alt.selection_point(fields=["kind"], bind="legend")
    base = alt.Chart(rows[::every]).transform_calculate(jitter="sqrt(-2 * log(random())) * cos(2 * PI * random())")
    points = base.mark_point(size=36, filled=True).encode(
        x=alt.X("score:Q", title="MDS: read by audio (−1) or by video (+1)", scale=alt.Scale(domain=[-1, 1])),
        y=alt.Y(
            "place:N", title=None, sort=list(dict.fromkeys(rows["place"])), axis=alt.Axis(labelLimit=200, grid=True)
        ),
        yOffset=alt.YOffset("jitter:Q"),
        **_kind("kind", KINDS, rows),
        opacity=alt.when(picked).then(alt.value(0.75)).otherwise(alt.value(0.06)),
        tooltip=["sample:N", "modality:N", "place:N", "position:Q", alt.Tooltip("score:Q", format="+.2f"), "kind:N"],
    )
    header = alt.Header(title=None, labelFontWeight="bold", labelAnchor="start")
    panels = (
        points.add_params(picked)
        .properties(width=430, height=alt.Step(34))
        .facet(facet=alt.Facet("modality:N", sort=["video", "audio"], header=header), columns=1)
        .resolve_scale(y="independent")
    )
    return theme.figure(panels, rows, caption, description)


def _kind(field: str, looks: dict[str, tuple[str, str]], rows: pd.DataFrame) -> dict:
    """Make the channels for colour and shape of a kind, with one legend for both."""
    there = [name for name in looks if name in set(rows[field])]
    legend = alt.Legend(title=None, orient="top", symbolSize=90)
    inks, shapes = [theme.INK[looks[name][0]] for name in there], [looks[name][1] for name in there]
    return {
        "color": alt.Color(f"{field}:N", sort=there, legend=legend, scale=alt.Scale(domain=there, range=inks)),
        "shape": alt.Shape(f"{field}:N", sort=there, legend=legend, scale=alt.Scale(domain=there, range=shapes)),
    }
