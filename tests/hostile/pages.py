"""Hostile strings through every chart and table of the book: none becomes markup, and each can be read there.

A trial fills one maker of `hostile.shown` with hostile words, and with harmless ones that differ and agree in the same
places. The truth:

1. both have the same elements with the same attributes, in the same order (one difference is allowed: an option of a
   menu or a tick of an axis is no element here, but a row of data);
2. every string of the chart's JSON is a word verbatim or also there with harmless words in it, and every word is there;
3. cells, captions, alternative texts and links hold the words, control characters as their pictures;
4. Vega-Lite compiles the chart and draws it, with no element that a drawing does not have;
5. all of it can be saved: it is UTF-8.
"""

from __future__ import annotations

import base64
import csv
import inspect
import io
import json
import random
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from hostile.strings import FIXED, hostile, pictured
from hostile.trial import Suite, Verdict, refused

from avsink.charts.figure import Figure

__all__ = ["SUITE"]

TEXTS = ("alt", "aria-label")
SVG = set("svg g path text rect line tspan defs clippath lineargradient radialgradient stop image title circle".split())
HASH = re.compile(r"(data-|view_)[0-9a-f]{16,}(_\d+)?")
TINT = re.compile(r"(\[.*\])\[indexof\((\[.*\]), datum\.\w+\)\]", re.DOTALL)  # an expression that holds words
DRAWN = 5  # every so many charts are drawn by Vega
WITHOUT_FRAMES = {"picture", "nothing", "conclusion"}  # a data frame cannot hold half a surrogate pair


class _Page(HTMLParser):
    """Elements with their attributes, and the text of each, in order."""

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = ["page"]
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, tuple(attrs)))
        self.texts.append((tag, ""))
        if tag not in ("img", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        self.elements.append((f"/{tag}", ()))
        if tag in self._open:
            del self._open[len(self._open) - 1 - self._open[::-1].index(tag) :]

    def handle_data(self, data):
        if self.texts and self.texts[-1][0] == self._open[-1]:
            self.texts[-1] = (self.texts[-1][0], self.texts[-1][1] + data)
        else:
            self.texts.append((self._open[-1], data))

    def handle_comment(self, data):
        self.elements.append(("comment", (("", data),)))

    def handle_decl(self, decl):
        self.elements.append(("declaration", (("", decl),)))

    unknown_decl = handle_pi = handle_decl

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(tag, tuple(name for name, _ in attributes)) for tag, attributes in self.elements]

    def of(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag and text.strip()]

    def attributes(self, *names: str) -> list[str]:
        return [value or "" for _, own in self.elements for name, value in own if name in names]


def _harmless(number: int) -> str:
    return f"word{number:02d}"


def _setup(folder: Path) -> dict:
    from hostile import shown

    return shown.MAKERS


def _trial(makers: dict, rng: random.Random, folder: Path) -> Verdict:
    at = rng.randrange(10**9)
    name = rng.choice(list(makers))
    words = _drawn(rng, halves=name in WITHOUT_FRAMES, of_files=name == "clip")
    what = f"{name} of {', '.join(ascii(word)[:60] for word in words[:3])}"
    try:
        evil, good = (_made(makers[name], spoken, folder) for spoken in (words, [*map(_harmless, _pattern(words))]))
    except ValueError as error:
        return refused(error, what, names=[])
    problem = _difference(evil, good, words)
    if not problem and at % DRAWN == 0:
        problem = next(filter(None, map(_badly_drawn, _specs(evil["book"]))), "")
    return Verdict(outcome="silently wrong" if problem else "right", what=what, said=problem)


def _drawn(rng: random.Random, *, halves: bool, of_files: bool) -> list[str]:
    """Eight words; some may be equal, as they are in data. The first can be the name of a file where it has to be."""
    words = [hostile(rng) for _ in range(8)] if rng.random() < 0.5 else rng.sample(FIXED, 8)
    if not halves:
        words = [re.sub("[\ud800-\udfff]", "½", word) for word in words]
    if of_files:
        words[0] = words[0].replace("/", "").replace("\0", "")[:40]
    return words


def _pattern(words: list[str]) -> list[int]:
    return [words.index(word) for word in words]


def _made(maker, words: list[str], folder: Path) -> dict[str, str]:
    """What a maker's object gives to the book, to a plain notebook, and as plain text."""
    extra = {"folder": folder} if "folder" in inspect.signature(maker).parameters else {}
    shown = maker(lambda k: words[k], **extra)
    bundle = shown._repr_mimebundle_()
    if not isinstance(shown, Figure):
        return {"book": bundle["text/html"], "text": bundle["text/plain"]}
    return {"book": shown.to_html(book=True), "plain": shown.to_html(book=False), "text": bundle["text/plain"]}


def _difference(evil: dict[str, str], good: dict[str, str], words: list[str]) -> str:
    """The first thing that is not as it would be with harmless words."""
    turned = [(_harmless(k), word) for k, word in zip(_pattern(words), words, strict=True)]

    def spoken(text: str, *, seen: bool = True) -> str:
        """The text of the good page with the hostile words in place of the harmless ones."""
        for harmless, word in turned:
            text = text.replace(harmless, pictured(word) if seen else word)
        return _newlines(text)

    for form in evil:
        try:
            evil[form].encode()
        except UnicodeEncodeError as error:
            return f"{form} cannot be saved: {error}"
    if evil["text"].split() != spoken(good["text"]).split():
        return f"as text it is {evil['text'][:200]!r}"
    for form in set(evil) - {"text"}:
        ours, theirs = _Page(evil[form]), _Page(good[form])
        if ours.shape != theirs.shape:
            return f"{form}: other elements: {set(ours.shape) ^ set(theirs.shape) or 'in another number'}"
        for tag in ("figcaption", "caption", "td", "th", "p", "strong", "summary", "a"):
            if [_newlines(t).strip() for t in ours.of(tag)] != [
                *filter(None, (spoken(t).strip() for t in theirs.of(tag)))
            ]:
                return f"{form}: other text in {tag}: {ours.of(tag)[:3]!r}"
        if [_newlines(text) for text in ours.attributes(*TEXTS)] != [*map(spoken, theirs.attributes(*TEXTS))]:
            return f"{form}: other {TEXTS}: {ours.attributes(*TEXTS)[:3]!r}"
        kinds = [[value.partition(",")[0] for value in page.attributes("href", "src")] for page in (ours, theirs)]
        if kinds[0] != kinds[1]:
            return f"{form}: other links: {kinds[0]}"
    for ours, theirs in zip(_specs(evil["book"]), _specs(good["book"]), strict=True):
        found, wanted = sorted(map(_seen, _strings(ours))), sorted(map(spoken, _strings(theirs)))
        if found != wanted:
            return f"other strings in the chart: {sorted(set(found) ^ set(wanted))[:4]!r}"
    for ours, theirs in zip(_tables(evil["book"]), _tables(good["book"]), strict=True):
        saved = [
            [spoken(cell, seen=False).encode(errors="backslashreplace").decode() for cell in row] for row in theirs
        ]
        if ours != saved:
            return f"other cells in the CSV: {ours[:2]!r}"
    return ""


def _newlines(text: str) -> str:
    """A page has one kind of line's end, whatever it was written with."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _seen(text: str) -> str:
    """A chart's text without the joiner that is not seen at its end."""
    return _newlines(text.removesuffix("\u2060"))


def _specs(html: str) -> list[dict]:
    """The charts of a page."""
    page = _Page(html)
    inside = [tag for tag, attributes in page.elements if ("type", "application/json") in attributes]
    return [json.loads(text, parse_constant=_not_json) for tag, text in page.texts if inside and tag == "script"]


def _not_json(name: str):
    raise ValueError(f"{name} is not JSON")


def _strings(value: object) -> Iterator[str]:
    """Every string of a JSON value, keys too; but not the names of data and views, which are hashes of them."""
    if isinstance(value, str):
        if tint := TINT.fullmatch(value):
            yield from _strings([json.loads(part) for part in tint.groups()])
        elif not HASH.fullmatch(value):
            yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        if "datasets" in value:
            value = value | {"datasets": list(value["datasets"].values())}
        for key, item in value.items():
            yield key
            yield from _strings(item)


def _tables(html: str) -> list[list[list[str]]]:
    """The cells of the CSV links of a page."""
    links = [link for link in _Page(html).attributes("href") if link.startswith("data:text/csv")]
    texts = [base64.b64decode(link.partition(",")[2]).decode() for link in links]
    return [[[_newlines(c) for c in row] for row in csv.reader(io.StringIO(text, newline=""))] for text in texts]


def _badly_drawn(spec: dict) -> str:
    """What is wrong with the drawing of a chart; "" if nothing."""
    import altair
    import vl_convert

    version = ".".join(altair.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    try:
        svg = vl_convert.vegalite_to_svg(spec, vl_version=version)
    except ValueError as error:
        return f"Vega-Lite cannot draw it: {str(error)[:300]}"
    foreign = {tag.strip("/") for tag, _ in _Page(svg).elements} - SVG
    return f"foreign elements in the drawing: {foreign}" if foreign else ""


SUITE = Suite(name="pages", trials=400, setup=_setup, trial=_trial)
