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
from playwright.sync_api import sync_playwright

STATIC = make_book.ROOT / "book/_static"
LONG = 60_000  # ms; a page takes one or two seconds, unless the machine is busy
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


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        pytest.fail("no Chromium on the path: `apt-get install chromium`, or run .ci/run, which does it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page, opened without a network.

    Attributes:
        asked: the addresses on other hosts that it asked for.
        errors: what went wrong in it.
    """

    def __init__(self, chromium, path: Path):
        self.asked, self.errors = [], []
        self.page = chromium.new_page(viewport={"width": 1400, "height": 900}, color_scheme="light")
        self.page.set_default_timeout(LONG)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._heard)
        self.page.route("**/*", self._answer)
        self.page.goto(path.as_uri(), wait_until="domcontentloaded")
        self.page.wait_for_function("[...document.querySelectorAll('.avsink-chart')].every(c => c.dataset.state)")

    def _heard(self, message):
        """Vega says what fails while a chart is alive, and does not throw it."""
        if message.type == "error" and message.text.startswith("ERROR"):
            self.errors.append(message.text)

    def _answer(self, route):
        if route.request.url.startswith(("file:", "data:", "blob:")):
            route.continue_()
        else:
            self.asked.append(route.request.url)
            route.abort()

    def turn_into_a_telephone(self):
        """A narrow window in the dark theme; every chart is drawn anew for it."""
        self.page.evaluate("document.querySelectorAll('.avsink-chart').forEach(c => delete c.dataset.state)")
        self.page.set_viewport_size({"width": 420, "height": 900})
        self.page.evaluate("document.documentElement.dataset.theme = 'dark'")
        self.page.wait_for_function("[...document.querySelectorAll('.avsink-chart')].every(c => c.dataset.state)")

    def silent_clips(self) -> list[str]:
        """What keeps a clip of the page from being played."""
        return self.page.evaluate(
            """() => Promise.all([...document.querySelectorAll('video')].map(clip => new Promise(resolve => {
                const look = () => clip.error ? resolve(clip.error.message || 'error')
                    : clip.readyState > 1 ? resolve(clip.videoWidth ? '' : 'no picture') : setTimeout(look, 100);
                clip.load(); look();
            }))).then(found => found.filter(Boolean))"""
        )

    def charts(self) -> list[dict]:
        """State, description, size and number of marks of every chart that the page declares."""
        return self.page.evaluate(
            """() => [...document.querySelectorAll('.avsink-chart')].map(chart => {
                const svg = chart.querySelector('svg.marks'), box = svg?.getBoundingClientRect();
                return {
                    state: chart.dataset.state,
                    description: chart.querySelector('[role=graphics-document]')?.getAttribute('aria-label'),
                    width: box?.width, height: box?.height, room: chart.clientWidth,
                    marks: svg?.querySelectorAll('.role-mark path, .role-mark line').length,
                };
            })"""
        )


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
