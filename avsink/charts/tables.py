"""Every table of the book: what a notebook shows of a data frame, and the rows under a figure.

`table` turns a data frame into a `Table`: headings and cells as text, each number in its format. On a page it is HTML,
in which all text is escaped (`avsink.charts.markup`); elsewhere it is lines of text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Number

import numpy as np
import pandas as pd

from avsink.charts.markup import VERBATIM, escaped, visible

__all__ = ["Table", "table"]

NUMBER = "{:.4g}"  # of a fraction that has no other format
NO_ROWS = "no rows"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as text.

    Attributes:
        heads: The heading of each column.
        cells: The text of each cell, row by row.
        caption: What the table shows; "" for none.
    """

    heads: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    caption: str = ""

    def to_html(self) -> str:
        """The table as HTML."""
        caption = f"<caption>{escaped(self.caption)}</caption>" if self.caption else ""
        heads = "".join(f'<th scope="col">{escaped(head)}</th>' for head in self.heads)
        rows = ["".join(f"<td>{escaped(cell)}</td>" for cell in row) for row in self.cells]
        rows = rows or [f'<td colspan="{len(self.heads) or 1}">{NO_ROWS}</td>']
        body = "\n".join(f"<tr>{row}</tr>" for row in rows)
        head = f"<thead><tr>{heads}</tr></thead>\n" if self.heads else ""
        return f'<table class="{VERBATIM}">{caption}\n{head}<tbody>\n{body}\n</tbody></table>'

    def __str__(self) -> str:
        rows = [[" ".join(visible(cell).split()) for cell in row] for row in (self.heads, *self.cells)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        lines = [visible(self.caption), *lines, "" if self.cells else NO_ROWS]
        return "\n".join(filter(None, lines))

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self.to_html(), "text/plain": str(self)}


def table(
    frame: pd.DataFrame, *, formats: Mapping[str, str] | None = None, number: str = NUMBER, caption: str = ""
) -> Table:
    """Show a data frame, without its index. Missing values are left empty.

    Args:
        frame: What to show.
        formats: Column -> format of its numbers, such as ``{"share": "{:.0%}"}``.
        number: Format of the fractions in other columns. Whole numbers are shown as they are.
        caption: What the table shows; "" for none.

    Raises:
        ValueError: If `formats` names a column that the table does not have.
    """
    formats = dict(formats or {})
    if missing := [name for name in formats if name not in frame]:
        known = ", ".join(map(str, frame.columns))
        raise ValueError(f"the table has no column {', '.join(map(str, missing))} to format; it has {known}")
    columns = [
        [_cell(value, formats.get(name), number) for value in frame.iloc[:, at]] for at, name in enumerate(frame)
    ]
    return Table(
        heads=tuple(str(name) for name in frame),
        cells=tuple(zip(*columns, strict=True)) if columns else (),
        caption=caption,
    )


def _cell(value: object, form: str | None, number: str) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    if isinstance(value, Number) and not isinstance(value, bool | np.bool_):
        fraction = not isinstance(value, int | np.integer)
        return (form or (number if fraction else "{}")).format(value)
    return str(value)
