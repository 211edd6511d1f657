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
SOURCE_INK = {
    "Video": "blue",
    "Cross-frame": "blue",
    "Audio": "orange",
    "Cross-audio": "orange",
    "V+A": "green",
    "Audio↮Video": "green",
    "Question": "purple",
    "NonOptQ": "gold",
    "TrueOpt": "teal",
    "FalseOpt": "pink",
    "Candidates": "blue",
    "Cross-candidate": "grey",
    "CorrectCand": "teal",
    "IncorrectCand": "pink",
    "Reference": "orange",
    "CorrectOpt": "green",
    "IncorrectOpt": "gold",
}
TARGET_STROKE = {  # target: (dash pattern, point shape)
    "": ([1, 0], "circle"),
    "Question": ([1, 0], "circle"),
    "Last": ([6, 3], "square"),
    "Video": ([2, 2], "triangle-up"),
    "Audio": ([2, 2], "triangle-down"),
    "TrueOpt": ([8, 3, 2, 3], "diamond"),
    "NonOptQ": ([2, 2], "cross"),
    "Reference": ([8, 3, 2, 3], "diamond"),
    "CorrectOpt": ([2, 2], "cross"),
}
SHAPES = ["circle", "square", "diamond", "triangle-up", "cross", "triangle-down"]
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
    colours, dashes, shapes = zip(*(_stroke(name, at=i) for i, name in enumerate(names)), strict=True)

    picked = alt.selection_point(fields=["pathway"], bind="legend")
    legend = alt.Legend(title="blocked (click to single out)", orient="top", symbolStrokeWidth=2, labelLimit=0)
    colour = alt.Color("pathway:N", scale=alt.Scale(domain=names, range=colours), sort=names, legend=legend)
    dash = alt.StrokeDash("pathway:N", scale=alt.Scale(domain=names, range=dashes), sort=names, legend=legend)
    shape = alt.Shape("pathway:N", scale=alt.Scale(domain=names, range=shapes), sort=names, legend=legend)
    tooltip = [
        alt.Tooltip("pathway:N", title="blocked"),
        alt.Tooltip("layer:Q", title="centre layer"),
        alt.Tooltip("mean:Q", title="mean Δp", format="+.1%"),
        alt.Tooltip("low:Q", title="95 % from", format="+.1%"),
        alt.Tooltip("high:Q", title="95 % to", format="+.1%"),
        alt.Tooltip("n:Q", title="samples"),
    ]

    x = alt.X("layer:Q", title="centre layer of the blocked window", axis=_layer_axis(rows["layer"]))
    y = alt.Y("mean:Q", title="Δp of the answer", axis=alt.Axis(format="+.0%", tickCount=5))
    base = alt.Chart(rows).encode(x=x, color=colour)
    zero = alt.Chart(rows).mark_rule(color=INK["grey"], strokeWidth=1).encode(y=alt.datum(0))
    band = base.mark_area(strokeWidth=0).encode(
        y=alt.Y("low:Q"), y2="high:Q", opacity=alt.when(picked).then(alt.value(0.18)).otherwise(alt.value(0.02))
    )
    faded = alt.when(picked).then(alt.value(1)).otherwise(alt.value(0.12))
    line = base.mark_line(strokeWidth=2).encode(y=y, strokeDash=dash, opacity=faded)
    point = base.mark_point(size=30, filled=True).encode(y=y, shape=shape, opacity=faded).add_params(picked)
    target = base.mark_point(size=300, opacity=0).encode(y=y, tooltip=tooltip)  # easier to hit than the point itself
    layers = alt.layer(zero, band, line, point, target)

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
        y=alt.Y("label:N", title=None, sort=labels, axis=alt.Axis(labelLimit=220, grid=True)),
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
    colours, dashes, _ = zip(*(_stroke(name, at=i) for i, name in enumerate(names)), strict=True)
    picked = alt.selection_point(fields=["measure"], bind="legend")
    legend = alt.Legend(title=None, orient="top", symbolStrokeWidth=2, labelLimit=0)
    lines = (
        alt.Chart(rows)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("step:Q", title="optimiser step", axis=alt.Axis(tickCount=6)),
            y=alt.Y("value:Q", title=title, axis=alt.Axis(format=unit, tickCount=5)),
            color=alt.Color("measure:N", sort=names, scale=alt.Scale(domain=names, range=colours), legend=legend),
            strokeDash=alt.StrokeDash(
                "measure:N", sort=names, scale=alt.Scale(domain=names, range=dashes), legend=legend
            ),
            opacity=alt.when(picked).then(alt.value(1)).otherwise(alt.value(0.12)),
            tooltip=[alt.Tooltip("measure:N"), alt.Tooltip("step:Q"), alt.Tooltip("value:Q", format=unit)],
        )
        .add_params(picked)
    )
    return _figure(lines.properties(width="container", height=260), rows, caption, description)


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
    """Colour, dash pattern and point shape of a series: by what its name says, else by its place in the legend."""
    source, _, target = name.partition("↛")
    ink = SOURCE_INK.get(source.strip()) or list(INK)[at % len(INK)]
    dash, shape = TARGET_STROKE.get(target.strip()) or ([4, 2], SHAPES[at % len(SHAPES)])
    if source.strip() not in SOURCE_INK:
        dash, shape = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3]][at % 4], SHAPES[at % len(SHAPES)]
    return INK[ink], dash, shape
