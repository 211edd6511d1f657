"""The rendered book, in a browser without a network: whether every page shows what it declares.

The pages are those of a small book, in the sizes that the notebooks name as `mock`. `make test` lets nbmake execute its
notebooks (`book/small`) beside the other tests; the fixture `html` waits for them and renders them. Without
`book/small` among the tests, it runs nbmake itself. Set AVSINK_BOOK_HTML to a folder of pages (`_build/html`) to look
at a finished book instead.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import make_book
import pages
import pytest
from browser import Visit

STATIC = make_book.ROOT / "book/_static"
PATIENCE = 600  # seconds until all small notebooks have been executed by this or another process


@pytest.fixture(scope="session")
def html(request, tmp_path_factory) -> Path:
    """The folder of a rendered book."""
    if finished := os.environ.get("AVSINK_BOOK_HTML"):
        return Path(finished).resolve()
    small = {page.place(pages.SMALL) for page in pages.PAGES}
    if small <= {item.path for item in request.session.items}:
        until = time.monotonic() + PATIENCE
        while late := sorted(str(path) for path in small if not pages.executed(path)):
            assert time.monotonic() < until, f"nbmake has not executed {', '.join(late)}"
            time.sleep(0.5)
    else:
        pages.write_small()
        nbmake = [sys.executable, "-m", "pytest", "--nbmake", "--overwrite", "-q", "-n", "auto", "--maxprocesses", "8"]
        subprocess.run([*nbmake, pages.SMALL], cwd=pages.ROOT, check=True)
    return make_book.render(tmp_path_factory.mktemp("book"), runs=pages.SMALL)


@pytest.mark.parametrize("name", make_book.contents())
def test_page_shows_what_it_declares(html, chromium, name):
    """On a desk by day, and then on a telephone at night; without a network."""
    visit = Visit(chromium, html / f"{name}.html")
    charts = visit.charts()
    assert len(charts) == (html / f"{name}.html").read_text().count('class="avsink-chart"')
    for chart in charts:
        assert chart["state"] == "drawn", visit.errors
        assert chart["marks"] > 0 and chart["height"] > 60
        assert chart["width"] <= chart["room"] + 1, "wider than its column"
        assert chart["description"], "nothing for a screen reader"
    assert visit.silent_clips() == []

    visit.turn_into_a_telephone()
    for chart in visit.charts():
        assert chart["state"] == "drawn", visit.errors
        assert chart["width"] <= chart["room"] + 1, "wider than its column"
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 421, "the page scrolls sideways"

    assert visit.errors == []
    assert visit.asked == [], "the page asks other hosts for something"
    visit.page.close()


def test_dragging_over_layers_and_choosing_a_task_change_the_map(html, chromium):
    visit = Visit(chromium, html / "book/runs/tiny-omni/flow_finding2_pathways.html")
    chart = visit.page.query_selector(".avsink-chart")
    chart.scroll_into_view_if_needed()

    def arrows() -> list[str]:
        return chart.eval_on_selector_all("svg.marks .mark-symbol path", "paths => paths.map(path => path.outerHTML)")

    before, strips = arrows(), visit.page.query_selector_all(".avsink-chart svg.marks .mark-rect.role-mark path")
    box = strips[len(strips) // 2].bounding_box()
    visit.page.mouse.move(box["x"] + 5, box["y"] + 5)
    visit.page.mouse.down()
    visit.page.mouse.move(box["x"] + 90, box["y"] + 5, steps=8)
    visit.page.mouse.up()
    visit.page.wait_for_timeout(300)
    dragged = arrows()
    assert dragged != before
    chart.query_selector("select").select_option(index=1)
    visit.page.wait_for_timeout(300)
    assert arrows() != dragged
    assert visit.errors == []
    visit.page.close()


def test_pointing_at_a_token_of_the_explorer_shows_its_readers(html, chromium):
    visit = Visit(chromium, html / "book/runs/tiny-omni/hubs_explorer.html")
    chart = visit.page.query_selector(".avsink-chart")
    chart.scroll_into_view_if_needed()

    def drawn(mark: str) -> list[str]:
        return chart.eval_on_selector_all(f"svg.marks .mark-{mark} > *", "all => all.map(one => one.outerHTML)")

    pictures = chart.query_selector_all("svg.marks image")
    assert len(pictures) == 4 and len({round(picture.bounding_box()["width"]) for picture in pictures}) == 1
    frame, dots, bars = pictures[1].bounding_box(), drawn("symbol"), drawn("text")
    assert dots  # a token is chosen from the beginning
    visit.page.mouse.move(frame["x"] + 8, frame["y"] + 8)  # its first token, which tiny-omni was taught to be a hub
    visit.page.wait_for_timeout(400)
    assert drawn("symbol") != dots and drawn("text") != bars
    cells = drawn("rect")
    chart.eval_on_selector(
        "input[type=range]", "slider => { slider.value = 0; slider.dispatchEvent(new Event('input')); }"
    )
    visit.page.wait_for_timeout(400)
    assert drawn("rect") != cells
    assert visit.errors == []
    visit.page.close()


def test_findings_show_charts(html):
    for page in pages.PAGES:
        text = (html / f"book/runs/{page.name}.html").read_text()
        assert 'class="avsink-chart"' in text, f"{page.name} declares no chart: was it executed for the book?"


@pytest.mark.parametrize("spec", ['{"mark": "bar"}', '{"value": NaN}'], ids=["without Vega", "not JSON"])
def test_a_chart_that_cannot_be_drawn_says_so(chromium, tmp_path, spec):
    """The page tells its reader, and tells this test."""
    shutil.copy(STATIC / "charts.js", tmp_path)
    chart = f'<div class="avsink-chart"><script type="application/json">{spec}</script></div>'
    (tmp_path / "page.html").write_text(f"<body>{chart}<script src='charts.js'></script></body>")
    visit = Visit(chromium, tmp_path / "page.html")
    assert visit.charts()[0]["state"] == "failed"
    assert "could not be drawn" in visit.page.inner_text(".avsink-chart")
    visit.page.close()
