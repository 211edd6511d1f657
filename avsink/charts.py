"""Every chart of the book, one function each.

    from avsink import charts

    charts.knockout_curves(summary, caption="…", description="…")      # last line of a cell: the figure appears

Each function takes a tidy DataFrame and returns an `avsink.figure.Figure`: the chart with its caption, its description
for screen readers, and its data as a CSV link. Columns that a function needs and does not find are named in the error.

=================  ==================================================================================================
function           columns (optional ones in parentheses)
=================  ==================================================================================================
knockout_curves    pathway, layer, mean, low, high, n, (category)
dot_plot           label, group, value, low, high, n; low and high may be missing values, for a reported number
training_curves    step, measure, value
timeline           track, label, modality ("video" or "audio"), start, end
=================  ==================================================================================================

What all charts keep to:

1. Colour belongs to the *kind of token* that a row is about, the same on every page: video blue, audio orange, both
   together green, question purple. Dashes and point shapes repeat what colours say, so none carries anything alone.
2. Every mean is drawn with its interval, and its tooltip tells `n`.
3. A chart is as wide as its column of text and its facets wrap; in a narrow window they stand below each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import altair as alt
import pandas as pd

from avsink.figure import Figure, clip, picture

__all__ = ["clip", "dot_plot", "knockout_curves", "picture", "timeline", "training_curves"]

# Contrast of at least 3:1 with both a white and a near-black page; tests/test_charts.py measures it.
INK = {
    "blue": "#3b82c4",
    "orange": "#d9632a",
    "green": "#1a9a76",
    "purple": "#9b6bd0",
    "gold": "#b58900",
    "pink": "#d1579f",
    "grey": "#858585",
    "teal": "#2f97a8",
}
SOURCE = {  # what a curve's tokens are: (ink, point shape)
    "Video": ("blue", "circle"),
    "Audio": ("orange", "triangle-up"),
    "V+A": ("green", "square"),
    "Question": ("purple", "diamond"),
    "NonOptQ": ("gold", "cross"),
    "TrueOpt": ("teal", "triangle-down"),
    "FalseOpt": ("pink", "triangle-right"),
    "Cross-frame": ("blue", "circle"),
    "Cross-audio": ("orange", "triangle-up"),
    "Audio↮Video": ("green", "square"),
    "Cross-candidate": ("grey", "square"),
    "Candidates": ("blue", "circle"),
    "Reference": ("orange", "triangle-up"),
    "CorrectCand": ("teal", "triangle-down"),
    "IncorrectCand": ("pink", "triangle-right"),
    "CorrectOpt": ("green", "square"),
    "IncorrectOpt": ("gold", "cross"),
}
DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3]]
TARGET_DASH = {  # where a curve's edges end; the points of a dashed curve are hollow
    "": DASHES[0],
    "Question": DASHES[0],
    "Last": DASHES[1],
    "Video": DASHES[2],
    "Audio": DASHES[2],
    "NonOptQ": DASHES[2],
    "CorrectOpt": DASHES[2],
    "TrueOpt": DASHES[3],
    "Reference": DASHES[3],
}
SHAPES = list(dict.fromkeys(shape for _, shape in SOURCE.values()))
MODALITIES = {"video": INK["blue"], "audio": INK["orange"]}


def knockout_curves(
    df: pd.DataFrame, *, caption: str, description: str, pathways: Iterable[str] | None = None
) -> Figure:
    """Δp over the depth of the network, one curve a pathway, one panel a category (Flow figures 3 and 4).

    df: one row per (pathway, layer[, category]); `layer` is the centre of the blocked window, `mean` the mean Δp over
        `n` samples, `low` and `high` its 95 % interval, all as fractions (-0.25 is a quarter less probable).
    pathways: which to draw, in the order of the legend; by default all, as they appear.
    """
    _require(df, "pathway", "layer", "mean", "low", "high", "n")
    names = list(dict.fromkeys(df["pathway"] if pathways is None else pathways))
    rows = _rounded(df[df["pathway"].isin(names)])
    look = _look("pathway", names, title="blocked (click to single out)")
    picked = alt.selection_point(fields=["pathway"], bind="legend")
    tooltip = [
        alt.Tooltip("pathway:N", title="blocked"),
        alt.Tooltip("layer:Q", title="centre layer"),
        alt.Tooltip("mean:Q", title="mean Δp", format="+.1%"),
        alt.Tooltip("low:Q", title="95 % from", format="+.1%"),
        alt.Tooltip("high:Q", title="95 % to", format="+.1%"),
        alt.Tooltip("n:Q", title="samples"),
    ]

    x = alt.X("layer:Q", title="centre layer of the blocked window", axis=_layer_axis(rows["layer"]))
    y = alt.Y("mean:Q", title="Δp of the answer", axis=alt.Axis(format=".0%", tickCount=5))
    base, zero = alt.Chart(rows).encode(x=x), alt.Chart(rows).mark_rule(color=INK["grey"]).encode(y=alt.datum(0))
    veiled = alt.when(picked).then(alt.value(0.18)).otherwise(alt.value(0.02))
    shown = alt.when(picked).then(alt.value(1)).otherwise(alt.value(0.12))
    band = base.transform_calculate(tint=look["tint"]).mark_area(strokeWidth=0)
    band = band.encode(y="low:Q", y2="high:Q", detail="pathway:N", fill=alt.Fill("tint:N", scale=None))
    band = band.encode(fillOpacity=veiled)
    line = base.mark_line(strokeWidth=2, fill=None).encode(
        y=y, stroke=look["stroke"], strokeDash=look["strokeDash"], opacity=shown
    )
    point = base.mark_point(size=36, strokeWidth=1.5).encode(
        y=y, stroke=look["stroke"], fill=look["fill"], shape=look["shape"], opacity=shown
    )
    target = base.mark_point(size=300, opacity=0).encode(y=y, tooltip=tooltip)  # easier to hit than the point itself
    layers = alt.layer(zero, band, line, point.add_params(picked), target)

    if "category" not in rows:
        return _figure(layers.properties(width="container", height=300), rows, caption, description)
    order = list(dict.fromkeys(rows["category"]))
    header = alt.Header(title=None, labelFontWeight="bold")
    panels = layers.properties(width=250, height=190).facet(
        facet=alt.Facet("category:N", sort=order, header=header), columns=min(3, len(order))
    )
    return _figure(panels, rows, caption, description)


def dot_plot(df: pd.DataFrame, *, caption: str, description: str, title: str, unit: str = "") -> Figure:
    """One row a label, one dot a group, with intervals: *reported* beside *measured*, or one measure over many things.

    df: one row per (label, group): `value`, its interval `low`, `high` (missing where none was reported) and `n`.
    title: what the horizontal axis measures; unit: a d3 format such as ".0%", or nothing for plain numbers.
    """
    _require(df, "label", "group", "value", "low", "high", "n")
    rows = _rounded(df)
    groups, labels = list(dict.fromkeys(rows["group"])), list(dict.fromkeys(rows["label"]))
    inks = [INK[name] for name in ("blue", "orange", "green", "purple", "gold", "pink", "teal", "grey")]
    marks = {"domain": groups, "range": inks[: len(groups)]}, {"domain": groups, "range": SHAPES[: len(groups)]}
    legend = None if len(groups) == 1 else alt.Legend(title=None, orient="top")
    base = alt.Chart(rows).encode(
        y=alt.Y("label:N", title=None, sort=labels, axis=alt.Axis(labelLimit=220, grid=False)),
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
    return _figure(alt.layer(interval, dot).properties(width="container", height=step), rows, caption, description)


def training_curves(df: pd.DataFrame, *, caption: str, description: str, title: str, unit: str = "") -> Figure:
    """How measures moved while a model was trained: one line a measure over the optimiser's steps.

    df: one row per (measure, step) with its `value`; title: what the vertical axis measures; unit: a d3 format.
    """
    _require(df, "step", "measure", "value")
    rows = _rounded(df)
    names = list(dict.fromkeys(rows["measure"]))
    look = _look("measure", names, title=None)
    picked = alt.selection_point(fields=["measure"], bind="legend")
    lines = (
        alt.Chart(rows)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("step:Q", title="optimiser step", axis=alt.Axis(tickCount=6)),
            y=alt.Y("value:Q", title=title, axis=alt.Axis(format=unit, tickCount=5)),
            stroke=look["stroke"],
            strokeDash=look["strokeDash"],
            opacity=alt.when(picked).then(alt.value(1)).otherwise(alt.value(0.12)),
            tooltip=[alt.Tooltip("measure:N"), alt.Tooltip("step:Q"), alt.Tooltip("value:Q", format=unit)],
        )
    )
    return _figure(lines.add_params(picked).properties(width="container", height=260), rows, caption, description)


def timeline(df: pd.DataFrame, *, caption: str, description: str) -> Figure:
    """Who is seen and who is heard when, in one clip: a bar from start to end, one row a track.

    df: one row per span: `track` (the row it stands in), `label` (written on the bar), `modality` ("video" or
        "audio"), `start` and `end` in seconds.
    """
    _require(df, "track", "label", "modality", "start", "end")
    rows = _rounded(df)
    tracks = list(dict.fromkeys(rows["track"]))
    base = alt.Chart(rows).encode(
        y=alt.Y("track:N", title=None, sort=tracks, axis=alt.Axis(labelLimit=180)),
        x=alt.X("start:Q", title="seconds", axis=alt.Axis(tickCount=8)),
        x2="end:Q",
        tooltip=[alt.Tooltip(f"{name}:N") for name in ("label", "modality")]
        + [alt.Tooltip(f"{name}:Q", format=".2f", title=f"{name} (s)") for name in ("start", "end")],
    )
    scale = alt.Scale(domain=list(MODALITIES), range=list(MODALITIES.values()))
    bars = base.mark_bar(cornerRadius=3, height=20).encode(
        color=alt.Color("modality:N", scale=scale, legend=alt.Legend(title=None, orient="top"))
    )
    words = base.mark_text(align="left", dx=6, color="white", fontWeight="bold").encode(text="label:N")
    chart = alt.layer(bars, words).properties(width="container", height=alt.Step(30))
    return _figure(chart, rows, caption, description)


def _figure(chart: alt.TopLevelMixin, rows: pd.DataFrame, caption: str, description: str) -> Figure:
    return Figure(body=chart.properties(description=description), caption=caption, description=description, data=rows)


def _require(df: pd.DataFrame, *columns: str) -> None:
    missing = [column for column in columns if column not in df]
    if missing:
        raise ValueError(f"the chart needs the columns {', '.join(missing)}; the table has {', '.join(df.columns)}")
    if df.empty:
        raise ValueError("no rows to draw: no sample was left to measure; the run's list of problems says why")


def _rounded(df: pd.DataFrame) -> pd.DataFrame:
    """Four significant places are more than a screen shows, and keep the page small."""
    return df.reset_index(drop=True).round(4)


def _layer_axis(layers: pd.Series) -> alt.Axis:
    """Whole layers only: every one of a small model, every fourth of a deep one."""
    step = 1 if layers.nunique() <= 12 else 4
    return alt.Axis(values=list(range(0, int(layers.max()) + 1, step)), format="d")


def _stroke(name: str, *, at: int) -> tuple[str, list[int], str]:
    """Colour, dash pattern and point shape of a series: by the tokens that its name tells of, else by its place."""
    source, _, target = (part.strip() for part in name.partition("↛"))
    if source in SOURCE:
        ink, shape = SOURCE[source]
        return INK[ink], TARGET_DASH.get(target, DASHES[1]), shape
    return list(INK.values())[at % len(INK)], DASHES[at % len(DASHES)], SHAPES[at % len(SHAPES)]


def _look(field: str, names: list[str], *, title: str | None) -> dict[str, alt.SchemaBase | str]:
    """The channels that tell series apart. They share field, domain and legend, so Vega merges them into one legend.

    `tint` is the colour again, as an expression: bands take theirs from it to stay out of that legend.
    """
    colours, dashes, shapes = zip(*(_stroke(name, at=at) for at, name in enumerate(names)), strict=True)
    fills = [colour if dash == DASHES[0] else "transparent" for colour, dash in zip(colours, dashes, strict=True)]
    legend = alt.Legend(title=title, orient="top", symbolSize=110, symbolOpacity=1, labelLimit=0)

    def channel(kind: type, values: Iterable) -> alt.SchemaBase:
        return kind(f"{field}:N", sort=names, legend=legend, scale=alt.Scale(domain=names, range=list(values)))

    return {
        "stroke": channel(alt.Stroke, colours),
        "fill": channel(alt.Fill, fills),
        "strokeDash": channel(alt.StrokeDash, dashes),
        "shape": channel(alt.Shape, shapes),
        "tint": f"({json.dumps(dict(zip(names, colours, strict=True)))})[datum.{field}]",
    }
