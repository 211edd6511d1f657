"""Manifests of dominated samples: read as they were written, or refused with the file and the row."""

from __future__ import annotations

import pytest
from published import write_table

from avsink.papers.hubs.measure import COLUMNS, read_manifest


def _row(sample: str = "set/001", **changes) -> dict:
    return dict(zip(COLUMNS, (sample, "audio", "A", "A", "B", "C"), strict=True)) | changes


def test_it_is_read_as_it_was_written(tmp_path):
    rows = [_row(), _row("007", dominance="video"), _row("NA"), _row('a, "b"')]
    for bom in (False, True):
        table = read_manifest(write_table(tmp_path / "m.csv", rows, bom=bom))
        assert table.to_dict("records") == rows and list(table) == list(COLUMNS)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (_row(), "m.csv, row 2: the sample set/001 is also at m.csv, row 1"),
        (_row("b", dominance="both"), "m.csv, row 2: it is dominated by 'both'"),
        (_row("b", predicted_a=""), "m.csv, row 2: it has no predicted_a"),
        (_row("b", answer="BC"), "m.csv, row 2: its answer is 'BC'; a letter is expected"),
        (_row(""), "m.csv, row 2: it has no sample"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path, row, reason):
    with pytest.raises(ValueError, match=reason):
        read_manifest(write_table(tmp_path / "m.csv", [_row(), row, _row("c")]))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "m.csv has no column sample, dominance"),
        ((",".join(COLUMNS) + "\na,audio,A,A,A\n").encode(), "row 1: it has 5 cells, the table 6 columns"),
        ((",".join(COLUMNS) + "\nx,audio,A,A,A,B,B\n").encode(), "row 1: it has 7 cells, the table 6 columns"),
        ((",".join(COLUMNS) + "\nx,audio,A,A,A,B\n").encode("utf-16"), "is not UTF-8 at byte 0"),
    ],
)
def test_what_is_cut_or_shifted_is_refused(tmp_path, content, reason):
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        read_manifest(tmp_path / "m.csv")
