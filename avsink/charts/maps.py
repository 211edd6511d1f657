"""Maps: which pathways information takes at which depth, and attention between tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence

import altair as alt
import pandas as pd

from avsink.charts import theme
from avsink.charts.figure import Figure

__all__ = ["attention_maps", "flow_map"]

PARTS = {  # group of tokens -> the larger group in whose row it is drawn, unless it has a row
    "CorrectCand": "Candidates",
    "IncorrectCand": "Candidates",
    "TrueOpt": "Options",
    "FalseOpt": "Options",
    "CorrectOpt": "Options",
    "IncorrectOpt": "Options",
    "NonOptQ": "Question",
}
# Pathway within one group -> that group
WITHIN = {"Cross-frame": "Video", "Cross-audio": "Audio", "Cross-candidate": "Candidates"}


@theme.drawn
def flow_map(
    df: pd.DataFrame, *, groups: Sequence[str], margin: float, caption: str, description: str, pathways: Sequence[str]
) -> Figure:
    """Draw where each pathway is needed: layers to the right, kinds of tokens from the media down to the answer.

    The upper part has one arrow per pathway, at the layer where blocking it costs most; the more it costs, the thicker
    the arrow. The lower part shows Δp over all layers, pathway by pathway. A menu picks the task. Dragging over layers
    in the lower part restricts the arrows to these layers.

    Args:
        df: One row per (pathway, layer, category), with the columns pathway, layer (centre of the window), category
            (the task), mean (Δp), low and high (95 % interval) and n. The first category is shown first.
        groups: Kinds of tokens, the rows of the upper part.
        margin: A smaller drop of Δp than this fraction is drawn as a cross instead of an arrow.
        caption: What is drawn.
        description: What it shows, in a sentence or two, for screen readers.
        pathways: The pathways to draw.
    """
    theme.require(df, "pathway", "layer", "mean", "low", "high", "n", "category")
    rows = theme.rounded(df[df["pathway"].isin(pathways)])
    theme.require(rows)
    ends = {name: _ends(name, groups) for name in pathways}
    rows = rows.assign(
        **{"from": rows["pathway"].map(lambda name: ends[name][0]), "to": rows["pathway"].map(lambda n: ends[n][1])},
        shift=rows["pathway"].map({name: (at + 0.5) / len(pathways) - 0.5 for at, name in enumerate(pathways)}) * 0.7,
        end=rows["layer"] + 1,
    )
    tasks = list(dict.fromkeys(rows["category"]))
    menu = alt.param(name="task", value=tasks[0], bind=alt.binding_select(options=tasks, name="task: "))
    picked = "datum.category == task"
    brush = alt.selection_interval(name="dragged", encodings=["x"])

    domain = [-0.5, float(rows["layer"].max()) + 0.5]
    x = alt.X("x:Q", title=None, scale=alt.Scale(domain=domain, nice=False), axis=theme.layer_axis(rows["layer"]))
    labels = f"{json.dumps(list(groups))}[datum.value]"
    place = alt.Scale(domain=[-0.5, len(groups) - 0.5], reverse=True, nice=False)
    axis = alt.Axis(values=list(range(len(groups))), labelExpr=labels, grid=True, ticks=False, domain=False)
    deepest = (
        alt.Chart(rows)
        .transform_filter(picked)
        .transform_filter(brush)
        .transform_window(rank="row_number()", sort=[alt.SortField("mean")], groupby=["pathway"])
        .transform_filter("datum.rank == 1")
        .transform_calculate(
            x="datum.layer + datum.shift", away="datum.to - (datum.to > datum.from ? 0.12 : -0.12)", drop="-datum.mean"
        )
    )
    inks = [theme.stroke(name, at=at)[0] for at, name in enumerate(pathways)]
    colour = alt.Color("pathway:N", scale=alt.Scale(domain=list(pathways), range=inks), legend=None)
    widths = alt.Scale(domain=[0, 1], range=[1, 9], clamp=True)
    thick = alt.Size("drop:Q", scale=widths, legend=None)
    tooltip = [
        alt.Tooltip("pathway:N", title="blocked"),
        alt.Tooltip("layer:Q", title="costs most around layer"),
        alt.Tooltip("mean:Q", title="mean Δp", format="+.1%"),
        alt.Tooltip("low:Q", title="95 % from", format="+.1%"),
        alt.Tooltip("high:Q", title="95 % to", format="+.1%"),
        alt.Tooltip("n:Q", title="samples"),
    ]
    y, y2 = alt.Y("from:Q", title=None, scale=place, axis=axis), alt.Y2("away:Q")
    needed, spared = f"datum.drop >= {margin}", f"datum.drop < {margin}"
    shaft = deepest.transform_filter(needed).transform_filter("datum.from != datum.to").mark_rule(strokeCap="butt")
    shaft = shaft.encode(x=x, y=y, y2=y2, color=colour, size=thick, tooltip=tooltip)
    tip = deepest.transform_filter(needed).transform_filter("datum.from != datum.to")
    tip = tip.mark_point(shape="triangle-down", filled=True, size=280, opacity=1)
    tip = tip.encode(x=x, y=alt.Y("away:Q", scale=place), color=colour, tooltip=tooltip)
    around = deepest.transform_filter(needed).transform_filter("datum.from == datum.to")
    around = around.mark_point(shape="circle", filled=False, size=260, opacity=1).encode(
        x=x, y=y, stroke=colour, strokeWidth=alt.StrokeWidth("drop:Q", scale=widths, legend=None), tooltip=tooltip
    )
    dot = deepest.transform_filter(spared).transform_calculate(between="(datum.from + datum.to) / 2")
    dot = dot.mark_point(shape="cross", size=45, filled=True, opacity=0.55)
    dot = dot.encode(x=x, y=alt.Y("between:Q", scale=place), color=colour, tooltip=tooltip)
    upper = alt.layer(shaft, tip, around, dot).properties(width="container", height=52 * len(groups))

    strips = alt.Chart(rows).transform_filter(picked).transform_calculate(x="datum.layer - 0.5", x2="datum.layer + 0.5")
    cells = strips.mark_rect().encode(
        x=alt.X(
            "x:Q",
            title="centre layer of the blocked window",
            scale=alt.Scale(domain=domain, nice=False),
            axis=theme.layer_axis(rows["layer"]),
        ),
        x2="x2:Q",
        y=alt.Y("pathway:N", sort=list(pathways), title=None, axis=alt.Axis(labelLimit=200, grid=False)),
        color=alt.Color(
            "mean:Q",
            scale=alt.Scale(domain=[-1, 0, 1], range=[theme.INK["orange"], "#8884", theme.INK["blue"]], clamp=True),
            legend=alt.Legend(title="Δp", format=".0%", orient="right", gradientLength=120),
        ),
        opacity=alt.when(brush).then(alt.value(1)).otherwise(alt.value(0.3)),
    )
    centres = strips.mark_point(
        opacity=0, size=300
    ).encode(  # invisible, so that dragging selects layers by their centres, not by the edges of cells
        x=alt.X("layer:Q", scale=alt.Scale(domain=domain, nice=False)),
        y=alt.Y("pathway:N", sort=list(pathways)),
        tooltip=[tooltip[0], alt.Tooltip("layer:Q", title="centre layer"), *tooltip[2:]],
    )
    lower = alt.layer(cells, centres.add_params(brush)).properties(width="container", height=alt.Step(19))
    chart = alt.vconcat(upper.add_params(menu), lower, spacing=10).resolve_scale(
        color="independent", size="independent"
    )
    return theme.figure(chart, rows.drop(columns=["from", "to", "shift", "end"]), caption, description)


def _ends(pathway: str, groups: Sequence[str]) -> tuple[float, float]:
    """Find the rows of the map from which and to which a pathway leads. V+A is halfway between Video and Audio."""

    def place(name: str) -> float:
        name = name if name in groups else PARTS.get(name, name)
        if name == "V+A":
            return (groups.index("Video") + groups.index("Audio")) / 2
        if name not in groups:
            raise ValueError(f"the map has no row for {name}; its rows are {', '.join(groups)}")
        return groups.index(name)

    if pathway in WITHIN:
        return place(WITHIN[pathway]), place(WITHIN[pathway])
    source, _, target = pathway.replace("↮", "↛").partition("↛")
    return place(source), place(target)


@theme.drawn
def attention_maps(df: pd.DataFrame, *, caption: str, description: str) -> Figure:
    """Draw one attention map per layer: queries down, keys to the right, logarithmic colours (Flow figure 1, right).

    Args:
        df: Rows of `avsink.instruments.attention_shares.maps`, one per (layer, square of neighbouring tokens).
        caption: What is drawn.
        description: What it shows, in a sentence or two, for screen readers.
    """
    theme.require(df, "layer", "query", "key", "query_stop", "key_stop", "weight", "query_group", "key_group")
    rows = df.reset_index(drop=True)
    rows = rows.assign(weight=rows["weight"].clip(lower=1e-4).round(5))
    n = int(rows["query_stop"].max())
    scale = alt.Scale(domain=[0, n], nice=False)
    chart = (
        alt.Chart(rows)
        .mark_rect()
        .encode(
            x=alt.X("key:Q", title="key", scale=scale, axis=alt.Axis(tickCount=5, grid=False)),
            x2="key_stop:Q",
            y=alt.Y("query:Q", title="query", scale=alt.Scale(domain=[n, 0], nice=False), axis=alt.Axis(grid=False)),
            y2="query_stop:Q",
            color=alt.Color(
                "weight:Q",
                scale=alt.Scale(type="log", domain=[1e-4, 1], scheme="viridis", clamp=True),
                legend=alt.Legend(title="attention", format=".0e", orient="right"),
            ),
            tooltip=[
                alt.Tooltip("layer:Q"),
                alt.Tooltip("query:Q"),
                alt.Tooltip("query_group:N"),
                alt.Tooltip("key:Q"),
                alt.Tooltip("key_group:N"),
                alt.Tooltip("weight:Q", format=".4f"),
            ],
        )
        .properties(width=300, height=300)
        .facet(alt.Facet("layer:N", header=alt.Header(title=None, labelExpr="'layer ' + datum.value")), columns=2)
    )
    return theme.figure(chart, rows, caption, description)
