"""What all charts of the book share: colours, dashes, shapes, the check of their table, and the frame around them.

A chart function is decorated with `drawn`, and calls `require` on its table first. A missing column is an error. A
table without rows is not: the figure then says that nothing was measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import wraps

import altair as alt
import pandas as pd

from avsink.charts.figure import Figure, nothing_measured
from avsink.charts.markup import inert_json

__all__ = [
    *("DASHES", "INK", "MODALITIES", "SHAPES", "SOURCE", "STRIPES", "TARGET_DASH", "NothingMeasured"),
    *("channels", "drawn", "figure", "layer_axis", "require", "rounded", "stroke"),
]

# Contrast of at least 3:1 with both a white and a near-black page; tests/charts/test_charts.py measures it.
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
SOURCE = {  # name of a series, or of a pathway's source -> (ink, point shape)
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
    "TrueLine": ("teal", "square"),
    "Labels": ("grey", "cross"),
    "Within the stem": ("purple", "diamond"),
    "Within the reference": ("orange", "triangle-up"),
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
TARGET_DASH = {  # a pathway's target -> dash pattern; the points of a dashed curve are hollow
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
STRIPES = {  # kind of tokens -> its colour in the strip that shows the prompt
    "system": INK["grey"],
    "video": INK["blue"],
    "audio": INK["orange"],
    "question": INK["purple"],
    "header": INK["gold"],
    "last": INK["pink"],
    "other": INK["teal"],
}
LONGEST = 420  # px that a name takes in a legend
MODALITIES = {"video": INK["blue"], "audio": INK["orange"]}


class NothingMeasured(Exception):
    """The table of a chart has no rows. `drawn` turns this into a figure that says so."""


def drawn(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorate a chart function: where `require` finds no rows, the figure says that nothing was measured."""

    @wraps(draw)
    def show(table, *, caption: str, description: str, **settings) -> Figure:
        try:
            return draw(table, caption=caption, description=description, **settings)
        except NothingMeasured:
            return nothing_measured(caption=caption, description=description)

    return show


def figure(chart: alt.TopLevelMixin, rows: pd.DataFrame, caption: str, description: str) -> Figure:
    """Put a chart into its frame; the chart's own description is for screen readers, too."""
    return Figure(body=chart.properties(description=description), caption=caption, description=description, data=rows)


def require(df: pd.DataFrame, *columns: str) -> None:
    """Check a chart's table.

    Raises:
        NothingMeasured: If it has no rows.
        ValueError: If it lacks one of the columns, or the column's name has a meaning in a chart.
    """
    if df.empty:
        raise NothingMeasured
    if odd := [column for column in columns if not column.isidentifier()]:  # a dot or a bracket would lead elsewhere
        raise ValueError(f"a chart cannot draw the column {odd[0]!r}; rename it: letters, digits and _")
    missing = [column for column in columns if column not in df]
    if missing:
        raise ValueError(f"the chart needs the columns {', '.join(missing)}; the table has {', '.join(df.columns)}")


def rounded(df: pd.DataFrame) -> pd.DataFrame:
    """Round to four decimal places, more than a screen shows, to keep the page small.

    Columns of objects that hold numbers become columns of numbers: Altair writes a missing number as null, but a NaN
    among objects as NaN, which is not JSON.
    """
    return df.reset_index(drop=True).infer_objects().round(4)


def layer_axis(layers: pd.Series) -> alt.Axis:
    """Axis with ticks at whole layers: every layer of a small model, every fourth of a deep one."""
    step = 1 if layers.nunique() <= 12 else 4
    before = [-1] if layers.min() < 0 else []
    return alt.Axis(values=[*before, *range(0, int(layers.max()) + 1, step)], format="d")


def stroke(name: str, *, at: int) -> tuple[str, list[int], str]:
    """Colour, dash pattern and point shape of a series: by its name if that is known, else by its place `at`."""
    source, _, target = (part.strip() for part in name.partition("↛"))
    if source in SOURCE:
        ink, shape = SOURCE[source]
        return INK[ink], TARGET_DASH.get(target, DASHES[1]), shape
    return list(INK.values())[at % len(INK)], DASHES[at % len(DASHES)], SHAPES[at % len(SHAPES)]


def channels(field: str, names: list[str], *, title: str | None) -> dict[str, alt.SchemaBase | str]:
    """The channels that tell series apart.

    They share field, domain and legend, so Vega merges them into one legend. `tint` is the colour as an expression:
    bands use it to stay out of that legend. Names are text in it, never keys: Vega refuses some keys, such as toString.
    """
    colours, dashes, shapes = zip(*(stroke(name, at=at) for at, name in enumerate(names)), strict=True)
    fills = [colour if dash == DASHES[0] else "transparent" for colour, dash in zip(colours, dashes, strict=True)]
    legend = alt.Legend(title=title, orient="top", symbolSize=110, symbolOpacity=1, labelLimit=LONGEST)

    def channel(kind: type, values: Iterable) -> alt.SchemaBase:
        return kind(f"{field}:N", sort=names, legend=legend, scale=alt.Scale(domain=names, range=list(values)))

    return {
        "stroke": channel(alt.Stroke, colours),
        "fill": channel(alt.Fill, fills),
        "strokeDash": channel(alt.StrokeDash, dashes),
        "shape": channel(alt.Shape, shapes),
        "tint": f"{json.dumps(colours)}[indexof({inert_json(names)}, datum.{field})]",
    }
