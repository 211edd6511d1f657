"""The frame around everything that a reader looks at: a caption, a description, and the data to take away.

A `Figure` is what the functions of `avsink.charts` return and what a notebook cell shows. It renders as

1. the body: a chart, a picture or a playable clip;
2. the caption: what is drawn, and what to see in it (numbered by the book's style sheet);
3. the data: a fold-out table with a CSV link, both inside the page, so that they work without a network.

All text is escaped (`avsink.charts.markup`): what a data set calls its categories, samples and files is never markup.

`about` says once for all later figures which model they show. A model that was taught its pathways has a caveat, and no
figure of it is shown without.

The description is one or two sentences that state the *result*, for readers who hear the page instead of seeing it.
Neither text may be left out.

A chart is rendered in one of two ways. In a plain notebook it is Altair's own HTML. While the book is being made
(`AVSINK_BOOK=1` in the environment) it is inert JSON in a ``<div class="avsink-chart">``: the book's own script,
`book/_static/charts.js`, draws it with a local copy of Vega, to the width and the colours of the page that it is on.
"""

from __future__ import annotations

import base64
import io
import json
import mimetypes
import os
from dataclasses import dataclass, field
from pathlib import Path

import altair as alt
import pandas as pd
from PIL import Image

from avsink.charts.markup import VERBATIM, escaped, inert_json, visible
from avsink.charts.tables import table

__all__ = ["Figure", "about", "clip", "nothing_measured", "picture"]

SHOWN = 300  # rows of the data that a page shows as a table; the CSV has all


class _Shown:
    """What all figures of a page are about."""

    caveat = ""


_shown = _Shown()


def about(card) -> None:
    """Say which model the figures from here on show: their captions end with its card's caveat, if it has one."""
    _shown.caveat = card.caveat


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Something to look at, its caption, its description, and the rows that it was made from.

    body: an Altair chart, or the HTML of a picture or a clip.
    data: the rows offered for download; None where the body is its own data.
    caveat: what the caption ends with; by default that of the model that the page is `about`.
    """

    body: alt.TopLevelMixin | str
    caption: str
    description: str
    data: pd.DataFrame | None = None
    caveat: str = field(default_factory=lambda: _shown.caveat)

    def __post_init__(self) -> None:
        for name in ("caption", "description"):
            if not getattr(self, name).strip():
                raise ValueError(f"a figure needs a {name}: say what a reader should see in it")

    def to_html(self, *, book: bool | None = None) -> str:
        """The figure as HTML; `book` says for which of the two renderers, and is read from the environment if None."""
        book = os.environ.get("AVSINK_BOOK") == "1" if book is None else book
        body = self.body if isinstance(self.body, str) else _chart_html(self.body, book=book)
        caption = f"<figcaption>{escaped(self._said())}</figcaption>"
        return f'<figure class="avsink-figure {VERBATIM}">{body}{caption}{_data_html(self.data)}</figure>'

    def _said(self) -> str:
        return f"{self.caption} {self.caveat}".strip()

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self.to_html(), "text/plain": visible(f"{self._said()}\n{self.description}")}


def picture(image: Path | Image.Image, *, caption: str, description: str) -> Figure:
    """A picture, from a file or from memory, embedded in the page."""
    if isinstance(image, Image.Image):
        buffer = io.BytesIO()
        image.save(buffer, format="PNG")
        source = _data_uri(buffer.getvalue(), kind="image/png")
    else:
        source = _file_uri(image)
    body = f'<img src="{source}" alt="{escaped(description)}">'
    return Figure(body=body, caption=caption, description=description)


def clip(path: Path, *, caption: str, description: str) -> Figure:
    """A clip with picture and sound, embedded in the page and playable there."""
    body = f'<video controls loop src="{_file_uri(path)}" aria-label="{escaped(description)}"></video>'
    return Figure(body=body, caption=caption, description=description)


def nothing_measured(*, caption: str, description: str) -> Figure:
    """A figure of a table without rows: a sentence in place of the chart."""
    body = '<p class="avsink-nothing">Nothing was measured here, so there is nothing to draw.</p>'
    return Figure(body=body, caption=caption, description=description)


class _Inert(json.JSONEncoder):
    """How Altair writes a chart into a script element of its own HTML."""

    def encode(self, o: object) -> str:
        return inert_json(o)


def _chart_html(chart: alt.TopLevelMixin, *, book: bool) -> str:
    with alt.data_transformers.disable_max_rows():  # charts thin out what no screen can show by themselves
        if not book:
            return chart.to_html(fullhtml=False, output_div=f"avsink-{id(chart):x}", json_kwds={"cls": _Inert})
        spec = inert_json(chart.to_dict())
    missing = "<noscript>This chart needs JavaScript; its data are below.</noscript>"
    return f'<div class="avsink-chart">{missing}<script type="application/json">{spec}</script></div>'


def _data_html(data: pd.DataFrame | None) -> str:
    if data is None:
        return ""
    csv = _data_uri(data.to_csv(index=False).encode(errors="backslashreplace"), kind="text/csv;charset=utf-8")
    link = f'<a download="data.csv" href="{csv}">Download as CSV</a>'
    rows = f"{len(data):,} rows" + (f", {SHOWN} of them here and all in the CSV" if len(data) > SHOWN else "")
    shown = table(data[:SHOWN]).to_html()
    return f'<details><summary>Data ({rows})</summary>{link}<div class="avsink-table">{shown}</div></details>'


def _file_uri(path: Path) -> str:
    kind = mimetypes.guess_type(f"file{path.suffix}")[0]  # a whole name may look like an address
    return _data_uri(path.read_bytes(), kind=kind or "application/octet-stream")


def _data_uri(content: bytes, *, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
