"""How every chart of the book looks: colours, dashes, shapes, and the frame around a chart."""

from __future__ import annotations

import json
from collections.abc import Iterable

import altair as alt
import pandas as pd

from avsink.charts.figure import Figure

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
    "system": ("grey", "cross"),
    "video": ("blue", "circle"),
    "audio": ("orange", "triangle-up"),
    "user instruction": ("purple", "diamond"),
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
    "both": ("green", "square"),
    "sound alone": ("orange", "triangle-up"),
    "picture alone": ("blue", "circle"),
    "All": ("grey", "cross"),
    "Object": ("gold", "triangle-down"),
    "Sink": ("pink", "circle"),
    "Random": ("teal", "triangle-right"),
    "Cross-modal": ("green", "square"),
    "cross-modal": ("green", "square"),
    "unimodal": ("purple", "diamond"),
    "Unimodal": ("purple", "diamond"),
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
STRIPES = {  # what a stretch of the prompt is
    "system": INK["grey"],
    "video": INK["blue"],
    "audio": INK["orange"],
    "question": INK["purple"],
    "header": INK["gold"],
    "last": INK["pink"],
    "other": INK["teal"],
}
MODALITIES = {"video": INK["blue"], "audio": INK["orange"]}


def figure(chart: alt.TopLevelMixin, rows: pd.DataFrame, caption: str, description: str) -> Figure:
    return Figure(body=chart.properties(description=description), caption=caption, description=description, data=rows)


def require(df: pd.DataFrame, *columns: str) -> None:
    missing = [column for column in columns if column not in df]
    if missing:
        raise ValueError(f"the chart needs the columns {', '.join(missing)}; the table has {', '.join(df.columns)}")
    if df.empty:
        raise ValueError("no rows to draw: no sample was left to measure; the run's list of problems says why")


def rounded(df: pd.DataFrame) -> pd.DataFrame:
    """Four decimal places are more than a screen shows, and keep the page small.

    Numbers become columns of numbers: Altair writes what is missing in one as null, in a column of objects as NaN,
    which is no JSON.
    """
    return df.reset_index(drop=True).infer_objects().round(4)


def layer_axis(layers: pd.Series) -> alt.Axis:
    """Whole layers only: every one of a small model, every fourth of a deep one."""
    step = 1 if layers.nunique() <= 12 else 4
    before = [-1] if layers.min() < 0 else []
    return alt.Axis(values=[*before, *range(0, int(layers.max()) + 1, step)], format="d")


def stroke(name: str, *, at: int) -> tuple[str, list[int], str]:
    """Colour, dash pattern and point shape of a series: by the tokens that its name tells of, else by its place."""
    source, _, target = (part.strip() for part in name.partition("↛"))
    if source in SOURCE:
        ink, shape = SOURCE[source]
        return INK[ink], TARGET_DASH.get(target, DASHES[1]), shape
    return list(INK.values())[at % len(INK)], DASHES[at % len(DASHES)], SHAPES[at % len(SHAPES)]


def channels(field: str, names: list[str], *, title: str | None) -> dict[str, alt.SchemaBase | str]:
    """The channels that tell series apart. They share field, domain and legend, so Vega merges them into one legend.

    `tint` is the colour again, as an expression: bands take theirs from it to stay out of that legend.
    """
    colours, dashes, shapes = zip(*(stroke(name, at=at) for at, name in enumerate(names)), strict=True)
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
