"""The explorer of one clip: frames and waveform with their tokens, and the readers of the token under the pointer."""

from __future__ import annotations

import altair as alt

from avsink.charts import theme
from avsink.charts.figure import Figure

__all__ = ["explorer"]

WIDTH = 720  # of the chart outside of the book, in pixels
BAR = 0.045  # height of a bar, in widths of the plane
KINDS = {"video": "blue", "audio": "orange", "text": "purple"}
UNKNOWN = "It is not known which tokens read this one: readers are kept of the most frequent sinks of each modality."


@theme.drawn
def explorer(found, *, tau: float, caption: str, description: str) -> Figure:
    """Draw frames and sound with their tokens. A slider sets the layer; pointing at a token shows who reads it.

    Everything is one view in one plane, so that a single selection works in the frames and in the sound. Heights are
    multiples of the view's width.

    Args:
        found: An `Exploration` from `avsink.instruments.clip_explorer.explore`.
        tau: The model's τ; the scale of φ reaches at least 1.2 τ.
        caption: What is drawn.
        description: What it shows, in a sentence or two, for screen readers.
    """
    theme.require(found.tokens, "position", "place", "layer", "phi", "sink", "asked", *KINDS)
    layers = sorted(found.tokens["layer"].unique().tolist())
    start = layers[len(layers) // 2]
    slider = alt.binding_range(min=layers[0], max=layers[-1], step=1, name="layer ")
    layer = alt.param(name="at_layer", value=start, bind=slider)
    near = " || ".join(  # the deepest layer shown that is not deeper than the slider's
        f"(datum.layer == {one} && at_layer >= {one} && at_layer < {after})"
        for one, after in zip(layers, [*layers[1:], layers[-1] + 1], strict=True)
    )
    asked = alt.selection_point(
        name="asked", fields=["position"], on="pointerover", empty=False, value=[{"position": found.first}]
    )
    top = found.height + 0.05
    height = top + 3 * BAR + 0.02
    across = alt.Scale(domain=[0, 1], nice=False, zero=False)
    down = alt.Scale(domain=[0, height], range=[0, {"expr": f"width * {height:.4f}"}], nice=False, zero=False)
    x, x2 = alt.X("x:Q", scale=across, axis=None), alt.X2("x2:Q")
    y, y2 = alt.Y("y:Q", scale=down, axis=None), alt.Y2("y2:Q")

    size = {name: {"expr": f"width * {found.frames[name].iloc[0]:.4f}"} for name in ("width", "height")}
    frames = found.frames.assign(x=found.frames["x"] + found.frames["width"] / 2)
    frames["y"] += found.frames["height"] / 2
    pictures = alt.Chart(frames).mark_image(**size, aspect=False).encode(x=x, y=y, url="url:N")
    wave = alt.Chart(theme.rounded(found.wave)).mark_rect(color=theme.INK["grey"]).encode(x=x, x2=x2, y=y, y2=y2)

    tokens = theme.rounded(found.tokens)
    here = alt.Chart(tokens).transform_filter(near)
    largest = max(float(tokens["phi"].max()), tau * 1.2)
    cells = here.mark_rect().encode(
        x=x,
        x2=x2,
        y=y,
        y2=y2,
        fill=alt.Fill(
            "phi:Q",
            title="φ",
            scale=alt.Scale(scheme="viridis", domain=[0, largest]),
            legend=alt.Legend(orient="bottom", direction="horizontal", titleOrient="left", gradientLength=180),
        ),
        fillOpacity=alt.when("datum.sink").then(alt.value(0.62)).otherwise(alt.value(0.16)),
        stroke=alt.when("datum.sink").then(alt.value(theme.INK["pink"])).otherwise(alt.value("#8886")),
        strokeWidth=alt.when("datum.sink").then(alt.value(2.2)).otherwise(alt.value(0.5)),
        tooltip=[
            alt.Tooltip("place:N", title="token"),
            alt.Tooltip("layer:Q"),
            alt.Tooltip("phi:Q", title="φ", format=".2f"),
            alt.Tooltip("sink:N"),
            *(alt.Tooltip(f"{kind}:Q", title=f"read by later {kind}", format=".1%") for kind in KINDS),
        ],
    )
    ring = here.transform_filter(asked).mark_rect(fill=None, stroke="#ffffff", strokeWidth=5)
    inner = here.transform_filter(asked).mark_rect(fill=None, stroke="#111111", strokeWidth=2)
    spot = {"x": x, "x2": x2, "y": y, "y2": y2}
    readers = (
        alt.Chart(theme.rounded(found.readers))
        .transform_filter(near)
        .transform_filter("isValid(asked.position) && datum.key == asked.position[0]")
        .mark_circle(color=theme.INK["green"], stroke="#ffffff", strokeWidth=1)
        .transform_calculate(x="(datum.x + datum.x2) / 2", y="(datum.y + datum.y2) / 2")
        .encode(
            x=x,
            y=y,
            size=alt.Size(
                "weight:Q", title="reads it with", scale=alt.Scale(domain=[0, 1], range=[12, 420]), legend=None
            ),
            tooltip=[
                alt.Tooltip("place:N", title="reader"),
                alt.Tooltip("weight:Q", title="reads it with", format=".0%"),
            ],
        )
    )
    folded = here.transform_filter(asked).transform_fold(list(KINDS), as_=["kind", "mean"])
    order = " : ".join(f"datum.kind == '{kind}' ? {at}" for at, kind in enumerate(KINDS)) + " : 0"
    folded = folded.transform_calculate(
        x="0.24",
        x2="0.24 + 0.66 * (datum.mean || 0)",
        y=f"{top} + {BAR} * ({order})",
        y2=f"{top} + {BAR} * ({order}) + {0.7 * BAR}",
        label="'by ' + datum.kind",
        amount="isValid(datum.mean) ? format(datum.mean, '.1%') : 'no later token of this kind'",
        x_label="0.23",
        x_amount="0.245 + 0.66 * (datum.mean || 0)",
        y_middle=f"{top} + {BAR} * ({order}) + {0.35 * BAR}",
    )
    tint = alt.Color(
        "kind:N", scale=alt.Scale(domain=list(KINDS), range=[theme.INK[k] for k in KINDS.values()]), legend=None
    )
    bars = folded.mark_rect().encode(**spot, color=tint)
    words = folded.mark_text(align="right", color=theme.INK["grey"], fontSize=12)
    words = words.encode(x=alt.X("x_label:Q", scale=across), y=alt.Y("y_middle:Q", scale=down), text="label:N")
    amounts = folded.mark_text(align="left", color=theme.INK["grey"], fontSize=12)
    amounts = amounts.encode(x=alt.X("x_amount:Q", scale=across), y=alt.Y("y_middle:Q", scale=down), text="amount:N")
    unknown = here.transform_filter(asked).transform_filter("!datum.asked")
    unknown = unknown.mark_text(align="left", color=theme.INK["grey"], fontSize=12).encode(
        x=alt.value(2), y=alt.Y(datum=top - 0.03, scale=down), text=alt.value(UNKNOWN)
    )
    chart = alt.layer(
        pictures,
        wave,
        cells.add_params(asked),
        ring.encode(**spot),
        inner.encode(**spot),
        readers,
        bars,
        words,
        amounts,
        unknown,
    )
    chart = chart.add_params(layer).resolve_scale(color="independent", size="independent")
    # The book's script keeps the ratio when it fits the chart to its column.
    chart = chart.properties(width="container", height=round(WIDTH * height), usermeta={"ratio": round(height, 4)})
    return theme.figure(chart, tokens, caption, description)
