"""A page of a hostile data set, rendered as every page is, in a browser: its words are words.

The data set is a csv of AV-SpeakerBench whose ids, questions, options, tasks, categories and files are called by tags
and scripts. What the loader makes of it goes through every chart and table of the book into a notebook, and that
through jupyter-book with the book's own settings.
"""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path

import make_book
import nbformat
import pytest
from browser import Visit
from bs4 import BeautifulSoup
from hostile.shown import MAKERS
from published import speakerbench_csv, speakerbench_media, speakerbench_row

import avsink
from avsink.sample import Sample

V4 = nbformat.v4
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
EVIL = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    '"><svg onload=alert(3)>',
    "</td></table></figure></script><script>alert(4)</script>",
    "{{7*7}} ${alert(5)} $\\\\href{javascript:alert(5)}{x}$",
    "`x` [a](javascript:alert(6)) <iframe src=javascript:alert(6)></iframe>",
    "'] + alert(7) + [' constructor",
    "\u202erts\u202c 👩‍👩‍👧‍👦 line\u2028end",
)
BY_VEGA = set("div svg g path text line rect defs clippath lineargradient stop image circle title tspan".split())
BY_VEGA |= set("form label span select option input details summary a noscript script".split())


def _samples(root: Path) -> list[Sample]:
    """The samples of a csv in which nothing is called by a harmless word."""
    speakerbench_media(root)
    rows = []
    for k, evil in enumerate(EVIL):
        clip = root / f"audiovisual/{evil.replace('/', '')}.mp4"
        shutil.copy(root / "audiovisual/vid0_0_1.mp4", clip)
        choices = repr([f"{letter}. {text}" for letter, text in zip("ABCD", EVIL[k:] + EVIL, strict=False)])
        words = {"question_id": f"{evil} {k}", "question": evil, "choices": choices, "answer": "A"}
        words |= {
            "task_id": EVIL[k // 3],
            "category": EVIL[k // 3 + 1],
            "audio_visual_path": f"audiovisual/{clip.name}",
        }
        rows.append(speakerbench_row(k, **words))
    speakerbench_csv(root, rows)
    return avsink.load_samples("av-speakerbench", root=root)


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> tuple[Path, list[str]]:
    """The page; and for each of its outputs, its HTML with harmless words."""
    folder = tmp_path_factory.mktemp("<b>hostile")
    samples = _samples(folder / "data")
    assert len(samples) == len(EVIL)
    words = [w for s in samples for w in (s.id, s.task, s.category, s.parts[-1].text, *s.options, s.media[0].path.stem)]
    cells, expected = [V4.new_markdown_cell("# Hostile")], []
    for at, (name, maker) in enumerate(MAKERS.items()):
        extra = {"folder": folder} if "folder" in inspect.signature(maker).parameters else {}
        own = [word.replace("/", "") for word in words[at:] + words]
        told = V4.new_output("execute_result", data=_bundle(maker(own.__getitem__, **extra)), execution_count=1)
        cells.append(V4.new_code_cell(name, outputs=[told], execution_count=1))
        expected.append(_bundle(maker(lambda k: f"word{k}", **extra))["text/html"])
    said = [V4.new_output("stream", text="\n".join(EVIL))]
    said.append(V4.new_output("error", ename="ValueError", evalue=EVIL[0], traceback=[f"ValueError: {EVIL[0]}"]))
    cells.append(V4.new_code_cell("print()", outputs=said, execution_count=1))
    sources = folder / "sources"
    shutil.copytree(make_book.ROOT / "book", sources / "book", ignore=shutil.ignore_patterns("runs", "small", "*.md"))
    shutil.copy(make_book.ROOT / "_config.yml", sources)
    (sources / "_toc.yml").write_text("format: jb-book\nroot: page\n")
    nbformat.write(V4.new_notebook(cells=cells, metadata=KERNEL), sources / "page.ipynb")
    make_book.to_html(sources, folder)
    return folder / "_build/html/page.html", expected


def _bundle(shown) -> dict[str, str]:
    """What a kernel sends of it while the book is made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVSINK_BOOK", "1")
        return shown._repr_mimebundle_()


def _tags(visit: Visit, selector: str) -> list[list[str]]:
    """The elements in each element that is selected, but for those in a chart that Vega has drawn."""
    return visit.page.evaluate(
        """selector => [...document.querySelectorAll(selector)].map(place => [...place.querySelectorAll('*')]
            .filter(element => !element.closest('.avsink-chart > *')).map(element => element.localName))""",
        selector,
    )


def test_no_word_of_a_hostile_data_set_is_an_element_of_its_page(shown, chromium):
    path, expected = shown
    visit = Visit(chromium, path)
    assert [chart["state"] for chart in visit.charts()].count("drawn") == len(visit.charts()) > 20, visit.errors
    tags = [
        [
            tag.name
            for tag in BeautifulSoup(html, "html.parser").find_all()
            if not tag.find_parent(class_="avsink-chart")
        ]
        for html in expected
    ]
    assert _tags(visit, ".cell_output .text_html") == tags
    drawn = visit.page.eval_on_selector_all(".avsink-chart *", "found => found.map(one => one.localName.toLowerCase())")
    assert set(drawn) <= BY_VEGA
    assert not visit.page.query_selector(".cell_output pre :is(script, img, svg, iframe)")
    handlers = """() => [...document.querySelectorAll('.cell_output *')].flatMap(element => [...element.attributes])
        .filter(one => one.name.startsWith('on') || one.value.startsWith('javascript:')).map(one => one.name)"""
    assert visit.page.evaluate(handlers) == []
    text = visit.page.evaluate("document.body.textContent")
    assert all(evil.replace("\u2028", "␤").replace("/", "") in text.replace("/", "") for evil in EVIL)

    map_of_samples = list(MAKERS).index("dominance_map")
    mark = visit.page.query_selector_all(".cell_output")[map_of_samples].query_selector(".mark-symbol.role-mark path")
    mark.scroll_into_view_if_needed()
    mark.hover(force=True)
    visit.page.wait_for_selector("#vg-tooltip-element.visible")
    assert set(_tags(visit, "#vg-tooltip-element")[0]) == {"table", "tbody", "tr", "td"}
    assert (visit.dialogs, visit.errors, visit.asked) == ([], [], [])
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 1401, "the page scrolls sideways"
    visit.page.close()
