"""Charts: valid, described, captioned, with their data, and legible without colour."""

from __future__ import annotations

import base64
import inspect
import io
import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from avsink import charts
from avsink.charts import theme
from avsink.instruments import pathways

WORDS = {"caption": "What is drawn.", "description": "What to see in it."}
CURVES = pd.DataFrame(
    [
        {"pathway": pathway, "layer": layer, "category": category, "mean": -0.1, "low": -0.2, "high": 0.0, "n": 12}
        for pathway in pathways.FIGURE_4
        for category in ("mixed", "visual anchor → audio answer")
        for layer in range(8)
    ]
)
DOTS = pd.DataFrame(
    [
        {"label": "Speech", "group": "reported", "value": 0.4, "low": None, "high": None, "n": None},
        {"label": "Speech", "group": "measured", "value": 0.5, "low": 0.4, "high": 0.6, "n": 40},
    ]
)
STEPS = pd.DataFrame({"step": [1, 2], "measure": ["loss", "loss"], "value": [2.0, 1.0]})
SPANS = pd.DataFrame([{"track": "dog, heard", "label": "barks", "modality": "audio", "start": 0.5, "end": 1.5}])
WORK = pd.DataFrame([{"pathway": "Video↛Last", "centre": 1, "layer": 2, "start": 3, "stop": 9, "tokens": 6}])
STRIPES = pd.DataFrame([{"kind": "system", "start": 0, "stop": 3}, {"kind": "video", "start": 3, "stop": 9}])
RATIOS = pd.DataFrame([{"label": "Video↛Last", "group": "1,000 tokens", "ratio": 150.0, "limit": 1500.0}])
SHARES = pd.DataFrame(
    [
        {"group": g, "layer": i, "mean": 0.5, "low": 0.4, "high": 0.6, "n": 9}
        for g in ("system", "video")
        for i in (0, 1)
    ]
)
SQUARES = pd.DataFrame(
    [
        {
            "layer": 1,
            "query": q,
            "query_stop": q + 1,
            "key": k,
            "key_stop": k + 1,
            "weight": 0.5,
            "query_group": "video",
        }
        for q in range(3)
        for k in range(q + 1)
    ]
).assign(key_group="system")
NORMS = pd.DataFrame(
    {
        "layer": 0,
        "position": range(4),
        "group": "video",
        "l2": [1.0, 9.0, 1.0, 2.0],
        "sink": [False, True, False, False],
    }
).assign(at=0)
SIZES = pd.DataFrame({"token": "system sink", "position": 0, "dimension": range(5), "magnitude": [1.0, 2, 9, 1, 0]})
DRAWN = {
    "share_curves": (charts.share_curves, SHARES, {"mark": 1}),
    "flow_map": (
        charts.flow_map,
        CURVES,
        {"pathways": pathways.FIGURE_4, "groups": ["Video", "Audio", "Question", "Last"], "margin": 0.1},
    ),
    "attention_maps": (charts.attention_maps, SQUARES, {}),
    "token_norms": (charts.token_norms, NORMS, {}),
    "dimension_sizes": (charts.dimension_sizes, SIZES, {}),
    "knockout_curves": (charts.knockout_curves, CURVES, {}),
    "dot_plot": (charts.dot_plot, DOTS, {"title": "accuracy", "unit": ".0%"}),
    "training_curves": (charts.training_curves, STEPS, {"title": "loss"}),
    "timeline": (charts.timeline, SPANS, {}),
    "work_map": (charts.work_map, WORK, {"stripes": STRIPES, "n_layers": 4}),
    "ratios": (charts.ratios, RATIOS, {"title": "times faster"}),
}
OF_TABLES = {  # every public chart function of a table -> what else it needs
    **{name: extra for name, (_, _, extra) in DRAWN.items()},
    **dict.fromkeys(("dominance_dots", "dominance_map", "leanings", "phi_map", "sink_drift"), {}),
    "layer_curves": {"series": "kind", "title": "MDS"},
    "spread": {"column": "phi", "title": "φ", "mark": None, "name": "τ"},
}


@pytest.fixture(params=DRAWN)
def drawn(request):
    return DRAWN[request.param]


def test_spec_is_valid_and_described(drawn):
    draw, rows, extra = drawn
    spec = draw(rows, **WORDS, **extra).body.to_dict()  # altair validates against the schema of Vega-Lite
    assert spec["description"] == WORDS["description"]


@pytest.mark.parametrize("name", ["caption", "description"])
@pytest.mark.parametrize("text", ["", "  ", None])
def test_caption_and_description_are_required(drawn, name, text):
    draw, rows, extra = drawn
    words = {key: value for key, value in {**WORDS, name: text}.items() if value is not None}
    with pytest.raises((TypeError, ValueError), match=name):
        draw(rows, **words, **extra)


def test_missing_columns_are_named(drawn):
    draw, rows, extra = drawn
    with pytest.raises(ValueError, match=f"needs the columns {rows.columns[-1]}"):
        draw(rows.drop(columns=rows.columns[-1]), **WORDS, **extra)


@pytest.mark.parametrize("column", ["low", "high", "n"])
def test_a_mean_needs_its_interval_and_n(column):
    with pytest.raises(ValueError, match=column):
        charts.knockout_curves(CURVES.drop(columns=column), **WORDS)


def test_all_charts_of_tables_are_known_here():
    figures = {name for name in charts.__all__ if "caption" in inspect.signature(getattr(charts, name)).parameters}
    assert figures == {*OF_TABLES, "explorer", "clip", "picture", "table"}


def says_nothing(figure) -> bool:
    html = figure.to_html(book=True)
    return (
        html.count('class="avsink-nothing"') == 1
        and "Nothing was measured" in html
        and "avsink-chart" not in html
        and (figure.caption, figure.description) == (WORDS["caption"], WORDS["description"])
        and WORDS["caption"] in html
    )


@pytest.mark.parametrize("name", OF_TABLES)
def test_every_chart_of_a_table_without_rows_says_so(name):
    assert says_nothing(getattr(charts, name)(pd.DataFrame(), **WORDS, **OF_TABLES[name]))


def test_a_table_with_columns_but_no_rows_is_the_same(drawn):
    draw, rows, extra = drawn
    assert says_nothing(draw(rows.head(0), **WORDS, **extra))


def test_the_explorer_of_a_clip_without_tokens_says_so():
    assert says_nothing(charts.explorer(SimpleNamespace(tokens=pd.DataFrame()), tau=2.0, **WORDS))


def test_a_choice_that_leaves_no_row_says_so():
    assert says_nothing(charts.knockout_curves(CURVES, pathways=["Cross-frame"], **WORDS))
    extra = DRAWN["flow_map"][2] | {"pathways": ["Cross-frame"]}
    assert says_nothing(charts.flow_map(CURVES, **WORDS, **extra))


@pytest.mark.parametrize("name", ["caption", "description"])
def test_even_nothing_needs_caption_and_description(name):
    with pytest.raises(ValueError, match=name):
        charts.timeline(pd.DataFrame(), **{**WORDS, name: " "})
    with pytest.raises(TypeError, match=name):
        charts.timeline(pd.DataFrame(), **{key: value for key, value in WORDS.items() if key != name})


def test_tooltips_tell_n_and_the_interval():
    text = charts.knockout_curves(CURVES, **WORDS).body.to_json()
    for field in ("mean", "low", "high", "n"):
        assert re.search(rf'"field": "{field}"[^}}]*"title"', text), field


def test_the_rows_can_be_downloaded(drawn):
    draw, rows, extra = drawn
    html = draw(rows, **WORDS, **extra).to_html(book=True)
    csv = base64.b64decode(re.search(r"base64,([^\"]+)\"", html).group(1))
    pd.testing.assert_frame_equal(pd.read_csv(io.BytesIO(csv)), rows, check_dtype=False)


def test_in_the_book_a_chart_is_inert_data(drawn):
    draw, rows, extra = drawn
    html = draw(rows, **WORDS, **extra).to_html(book=True)
    assert html.count('class="avsink-chart"') == 1
    assert "http" not in re.sub(r'"\$schema": ?"[^"]+"', "", html), "the page must not need a network"


def test_a_chart_of_reported_numbers_alone_is_valid_json():
    """Without a measured row, columns of numbers are columns of objects. A NaN in one of them is not valid JSON."""
    unmeasured = DOTS[:1].astype({name: object for name in ("low", "high", "n")}).replace({None: float("nan")})
    html = charts.dot_plot(unmeasured, **WORDS, title="accuracy").to_html(book=True)
    spec = re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL).group(1)
    (rows,) = json.loads(spec, parse_constant=pytest.fail)["datasets"].values()
    assert rows == [{"label": "Speech", "group": "reported", "value": 0.4, "low": None, "high": None, "n": None}]


def test_in_a_plain_notebook_a_chart_draws_itself(monkeypatch):
    monkeypatch.delenv("AVSINK_BOOK", raising=False)
    bundle = charts.timeline(SPANS, **WORDS)._repr_mimebundle_()
    assert "vegaEmbed" in bundle["text/html"] and "avsink-chart" not in bundle["text/html"]
    assert WORDS["description"] in bundle["text/plain"]


def test_a_script_cannot_be_smuggled_in_by_the_data():
    evil = SPANS.assign(label="</script><script>alert(1)</script>")
    html = charts.timeline(evil, **{**WORDS, "caption": "<script>alert(2)</script>"}).to_html(book=True)
    assert html.count("<script") == 1 and "<script>alert" not in html


@pytest.mark.parametrize("figure", ["FIGURE_3", "FIGURE_4", "FIGURE_9", "FIGURE_10"])
def test_pathways_of_a_figure_differ_even_without_colour(figure):
    names = getattr(pathways, figure)
    looks = [theme.stroke(name, at=at) for at, name in enumerate(names)]
    assert len({(tuple(dash), shape) for _, dash, shape in looks}) == len(names)


def test_every_pathway_has_the_colour_of_its_source():
    sources = {name.partition("↛")[0] for name in pathways.PATHWAYS}
    assert sources <= set(theme.SOURCE)


@pytest.mark.parametrize("page", ["#ffffff", "#121212"])
@pytest.mark.parametrize("ink", theme.INK)
def test_inks_stand_out_on_light_and_dark_pages(ink, page):
    light, dark = sorted((_luminance(theme.INK[ink]), _luminance(page)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3, "WCAG 2.1 asks 3:1 of graphics"


def _luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.1 defines it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_a_long_prompt_is_thinned_on_screen_but_no_sink_is_lost_nor_any_row_of_the_data():
    rows = pd.DataFrame({"layer": 0, "position": range(6000), "group": "video", "l2": 1.0, "at": 0, "sink": False})
    rows.loc[[7, 4001], "sink"] = True
    figure = charts.token_norms(rows, **WORDS)
    [drawn] = figure.body.to_dict()["datasets"].values()
    assert len(drawn) < 1000 and {7, 4001} <= {row["position"] for row in drawn}
    assert len(figure.data) == 6000


def test_sinks_of_a_published_model_can_be_drawn():
    """28 layers of 1,900 tokens, and thousands of sinks: more than Altair takes by itself, or a screen can show."""
    layer, position = (grid.ravel() for grid in np.meshgrid(range(28), range(1900), indexing="ij"))
    rows = pd.DataFrame({"layer": layer, "position": position, "phi": 0.01 * (position % 97), "place": "here"})
    rows = rows.assign(group=np.where(position < 1500, "video", "audio"), sink=False)
    rows.loc[(rows["layer"] == 3) & (rows["position"] == 777), ["phi", "sink"]] = 50.0, True
    figure = charts.phi_map(rows, **WORDS)
    html = figure.to_html(book=True)
    spec = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL).group(1))
    drawn = next(rows for rows in spec["datasets"].values() if any(row["sink"] for row in rows))
    (sink,) = [row for row in drawn if row["sink"]]
    assert len(drawn) <= 28 * 400 and sink["from"] <= 777 < sink["to"] and sink["phi"] == 50
    assert max(row["to"] for row in drawn) == 1900
    assert "A column is 5 neighbouring tokens" in html and "53,200 rows, 300 of them here" in html

    points = pd.DataFrame({"score": 0.1, "place": "token 0", "sample": "s", "position": range(9000)})
    points = points.assign(modality="video", kind="unimodal")
    figure = charts.leanings(points, **WORDS)
    assert "One in 3 is drawn" in figure.to_html(book=True) and len(figure.data) == 9000


def test_the_maps_arrows_lead_from_source_to_target_and_joint_sources_begin_between():
    from avsink.charts.maps import _ends

    groups = ["Video", "Audio", "Question", "Last"]
    assert [_ends(name, groups) for name in ("Video↛Last", "Cross-audio", "V+A↛Question")] == [(0, 3), (1, 1), (0.5, 2)]
    assert _ends("CorrectCand↛CorrectOpt", ["Candidates", "Options"]) == (0, 1)
    with pytest.raises(ValueError, match="no row for Reference"):
        _ends("Reference↛Last", groups)
