"""Tables: every cell in its format, escaped, readable as text, too."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from avsink import charts
from avsink.charts.markup import inert_json
from avsink.results.verdicts import Verdict

EVIL = ("<script>alert(1)</script>", '"><svg onload=alert(1)>', "$x$ \\(y\\)", "a & b &amp; c", "{{7*7}}", "`b`", "")


def cells(html: str) -> list[list[str]]:
    """Headings and cells, read by a parser of its own."""
    return [[cell.text for cell in row.select("th, td")] for row in BeautifulSoup(html, "html.parser").select("tr")]


def test_numbers_have_the_format_of_their_column_and_missing_ones_are_empty():
    frame = pd.DataFrame(
        {
            "name": ["a", None],
            "share": [0.256, np.nan],
            "mean": [1234.5678, -0.00001234],
            "n": [12345, 7],
            "some": pd.Series([3, None], dtype="Int64"),
            "flag": [True, False],
            "mixed": ["x", 0.5],
        }
    )
    shown = charts.table(frame, formats={"share": "{:.0%}", "n": "{:,}"})
    assert cells(shown.to_html()) == [
        list(frame),
        ["a", "26%", "1235", "12,345", "3", "True", "x"],
        ["", "", "-1.234e-05", "7", "", "False", "0.5"],
    ]
    rounded = charts.table(frame[["mean", "n"]], number="{:.1f}")
    assert cells(rounded.to_html())[1:] == [["1234.6", "12345"], ["-0.0", "7"]]


def test_everything_is_escaped_and_can_be_read():
    frame = pd.DataFrame({name: [name, *EVIL] for name in EVIL[:3]}, index=["<b>"] * 8)
    html = charts.table(frame, caption="<h1>c</h1>").to_html()
    assert {tag.name for tag in BeautifulSoup(html, "html.parser").find_all()} == set(
        "table caption thead tbody tr th td".split()
    )
    assert cells(html) == [list(frame), *frame.to_numpy().tolist()]
    assert "<caption>&lt;h1&gt;c" in html


def test_a_table_is_accessible_and_its_dollars_are_no_formulas():
    soup = BeautifulSoup(charts.table(pd.DataFrame({"a": ["$x$"]}), caption="Of a.").to_html(), "html.parser")
    assert soup.table.caption.text == "Of a." and soup.th["scope"] == "col"
    assert {"mathjax_ignore", "tex2jax_ignore"} <= set(soup.table["class"])


def test_a_table_without_rows_says_so():
    for frame in (pd.DataFrame(), pd.DataFrame({"a": [], "b": []})):
        assert "no rows" in charts.table(frame).to_html() and "no rows" in str(charts.table(frame))
    assert cells(charts.table(pd.DataFrame({"a": [], "b": []})).to_html())[0] == ["a", "b"]


def test_two_columns_of_one_name_are_both_shown():
    frame = pd.DataFrame([[1, 2.5]], columns=["x", "x"])
    assert cells(charts.table(frame, number="{:.2f}").to_html()) == [["x", "x"], ["1", "2.50"]]


def test_a_format_of_no_column_is_refused():
    with pytest.raises(ValueError, match="no column shre to format; it has share, n"):
        charts.table(pd.DataFrame({"share": [1.0], "n": [2]}), formats={"shre": "{:.0%}"})


def test_as_text_it_has_one_line_a_row():
    frame = pd.DataFrame({"category": ["two\nlines", "b"], "n": [1, 22]})
    assert str(charts.table(frame, caption="c")) == "c\ncategory   n\ntwo lines  1\nb          22"
    bundle = charts.table(frame)._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}


@pytest.mark.parametrize(("text", "seen"), [("a\0b\x1b", "a␀b␛"), ("\ud800x", "\ufffdx"), ("a\tb", "a\tb")])
def test_what_cannot_be_seen_or_saved_has_a_picture(text, seen):
    shown = charts.picture(_dot(), caption=f"<{text}", description="d")
    assert f"&lt;{seen}" in shown.to_html() and seen in shown._repr_mimebundle_()["text/plain"]
    shown.to_html().encode()


def _dot():
    from PIL import Image

    return Image.new("RGB", (1, 1))


def test_a_verdict_is_a_paragraph_with_its_outcome_in_bold():
    found = Verdict("A <b>claim</b>: $x$", "Flow, Finding 1", "not supported", "because </p><script>")
    html = charts.verdict(found)._repr_mimebundle_()["text/html"]
    soup = BeautifulSoup(html, "html.parser")
    assert [tag.name for tag in soup.find_all()] == ["p", "strong"] and soup.strong.text == "Not supported"
    assert soup.text == str(found) == charts.verdict(found)._repr_mimebundle_()["text/plain"]
    assert "mathjax_ignore" in soup.p["class"]


def test_a_bare_verdict_has_no_form_in_which_its_words_are_markup():
    """As Markdown, a card's caveat with a script in it was one on the page."""
    assert not [name for name in dir(Verdict) if name.startswith("_repr_")]


def test_charts_json_opens_no_tag_and_holds_no_control_characters():
    text = inert_json({"</script>": ["<!--", "a\x00b", "line\u2028", "constructor", 1, None]})
    assert "<" not in text and "\u2028" not in text
    assert json.loads(text) == {"</script>": ["<!--", "a␀b", "line␤", "constructor\u2060", 1, None]}
    with pytest.raises(ValueError):
        inert_json([float("nan")])


def test_in_a_plain_notebook_no_row_closes_the_script():
    """Altair writes rows into a script element as they are."""
    evil = "</script><script>alert(1)</script>"
    rows = pd.DataFrame([{"track": evil, "label": evil, "modality": "audio", "start": 0, "end": 1}])
    html = charts.timeline(rows, caption="c", description=evil).to_html(book=False)
    assert evil not in html and len(re.findall("</script", html)) == len(re.findall("<script", html))


def test_a_column_that_means_something_else_to_vega_is_refused():
    rows = pd.DataFrame([{"a.b": "x", "layer": 0, "mean": 0.1, "low": 0.0, "high": 0.2, "n": 3}])
    with pytest.raises(ValueError, match="cannot draw the column 'a.b'; rename it"):
        charts.layer_curves(rows, series="a.b", title="t", caption="c", description="d")


def test_a_file_whose_name_looks_like_an_address_is_of_the_kind_of_its_ending(tmp_path):
    path = tmp_path / "data:text,x.mp4"
    path.write_bytes(b"clip")
    assert 'src="data:video/mp4;base64,' in charts.clip(path, caption="c", description="d").to_html()
