"""Tables: every row of every format is read, with its place, or the file is refused with a reason."""

from __future__ import annotations

import json

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published import write_table

from avsink.datasets.files.tables import Row, TableError, as_list, find, lacking, pairs, read, read_json

ROWS = [
    {"id": "1", "text": 'a "quoted", comma', "list": "['A. x', \"B. it's\"]"},
    {"id": "2", "text": "two\nlines\u2028and\x0ba third\t", "list": "[]"},
    {"id": "3", "text": "", "list": "['é ✓']"},
]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_every_format_gives_the_same_rows(tmp_path, suffix):
    path = tmp_path / f"t.{suffix}"
    if suffix == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    elif suffix == "json":
        path.write_text(json.dumps(ROWS, ensure_ascii=False), encoding="utf-8")
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), encoding="utf-8")
    else:
        write_table(path, ROWS)
    rows = read(path, needs=["id", "list"])
    assert [dict(row.values) for row in rows] == [ROWS[0], ROWS[1], ROWS[2] | {"text": None}]
    assert [row.where for row in rows] == [
        f"t.{suffix}, {'line' if suffix == 'jsonl' else 'row'} {k}" for k in (1, 2, 3)
    ]
    assert not any(row.fault for row in rows)
    with pytest.raises(TableError, match="no column answer; it has id, text, list"):
        read(path, needs=["answer"])


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    write_table(tmp_path / "t.csv", ROWS, bom=True)
    assert "id" in read(tmp_path / "t.csv")[0].values


def test_numbers_stay_numbers_and_nan_is_nothing(tmp_path):
    rows = [{"n": 1.0, "k": 3}, {"n": float("nan"), "k": None}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "t.parquet")
    assert [dict(row.values) for row in read(tmp_path / "t.parquet")] == [{"n": 1.0, "k": 3}, {"n": None, "k": None}]


def test_a_row_with_too_many_or_too_few_cells_is_a_row_with_a_fault(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n1\n\n1,2,3\n")
    rows = read(tmp_path / "t.csv")
    assert [row.fault for row in rows] == [
        "",
        "it has 1 cells, the table 2 columns",
        "it has 3 cells, the table 2 columns",
    ]
    assert rows[2].where == "t.csv, row 3"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("t.csv", b'a,b\n1,2\n3,"open\n5,6\n', "t.csv cannot be read after row 1"),
        ("t.csv", b"a,a\n1,2\n", "two columns of the same name"),
        ("t.csv", b"a,b\n\xff,2\n", "not UTF-8 at byte 4"),
        ("t.json", b"[{", "t.json is not JSON"),
        ("t.json", b"{}", "not a list of rows"),
        ("t.json", b'[{"n": ' + b"9" * 5000 + b"}]", "t.json is not JSON"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "line 2 is not JSON"),
        ("t.parquet", b"PAR1 but not really", "not a parquet file, or is cut off"),
        ("t.xlsx", b"", "not a table of a known format; allowed: .csv"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=reason):
        read(tmp_path / name)


def test_a_repeated_key_of_a_json_object_is_not_forgotten(tmp_path):
    (tmp_path / "t.json").write_text('{"v": {"x": 1}, "v": {"x": 2, "x": 3}}')
    found = pairs(read_json(tmp_path / "t.json"))
    assert [key for key, _ in found] == ["v", "v"] and pairs(found[1][1]) == [("x", 2), ("x", 3)]


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_a_row_with_a_repeated_key_is_faulty(tmp_path, suffix):
    """Of two answers, the last was taken without a word."""
    lines = ['{"id": 1, "answer": "A"}', '{"id": 2, "answer": "A", "answer": "B"}', '{"id": 3, "in": {"x": 1, "x": 2}}']
    path = tmp_path / f"t.{suffix}"
    path.write_text("[" + ",".join(lines) + "]" if suffix == "json" else "\n".join(lines))
    assert [row.fault for row in read(path)] == ["", "it has the key 'answer' twice", "it has the key 'x' twice"]


def test_a_line_of_json_is_named_by_its_number_whatever_is_between(tmp_path):
    (tmp_path / "t.jsonl").write_bytes('\ufeff{"id": "a\u2028b"}\r\n\r\n\n{"id": 2}\n'.encode())
    rows = read(tmp_path / "t.jsonl")
    assert [(row.values["id"], row.where) for row in rows] == [("a\u2028b", "t.jsonl, line 1"), (2, "t.jsonl, line 4")]
    for line in ("[1]", "null", "1" * 5000, "[" * 100_000):
        (tmp_path / "t.jsonl").write_text('{"id": 1}\n' + line)
        with pytest.raises(TableError, match="t.jsonl, line 2 is not"):
            read(tmp_path / "t.jsonl")


def test_a_parquet_file_with_two_columns_of_one_name_or_bytes_that_are_no_text_is_refused(tmp_path):
    table = pyarrow.table({"id": ["1"], "answer": ["A"]})
    pyarrow.parquet.write_table(table.append_column("answer", pyarrow.array(["B"])), tmp_path / "t.parquet")
    with pytest.raises(TableError, match="t.parquet has two columns of the same name: id, answer, answer"):
        read(tmp_path / "t.parquet")
    buffers = [None, *map(pyarrow.py_buffer, (b"\0\0\0\0\2\0\0\0", b"\xff\xfe"))]
    text = pyarrow.Array.from_buffers(pyarrow.string(), 1, buffers)
    pyarrow.parquet.write_table(pyarrow.table({"id": text}), tmp_path / "t.parquet")
    with pytest.raises(TableError, match="t.parquet is not a parquet file, or is cut off: .*utf-8"):
        read(tmp_path / "t.parquet")


@pytest.mark.parametrize("kind", ["a folder", "a broken link"])
def test_what_has_the_name_of_a_table_and_is_none_is_not_passed_over(tmp_path, kind):
    """A folder called cases.json was as if there were none, and the options were others."""
    place = tmp_path / "cases.json"
    place.mkdir() if kind == "a folder" else place.symlink_to("nowhere")
    for pattern in ("cases.json", "cases*.json"):
        with pytest.raises(TableError, match=f"cases.json is {kind}, not a file"):
            find(tmp_path, pattern)


def test_a_message_is_short_however_long_the_cell_is():
    assert len(str(TableError("x" * 10_000))) <= 500 and str(TableError("short")) == "short"


@pytest.mark.parametrize("value", ["['a', 'b']", ["a", "b"], ("a", "b"), ' ["a", "b"]\n'])
def test_a_list_may_be_the_text_of_one(value):
    assert as_list(value, "it") == ["a", "b"]


@pytest.mark.parametrize("value", ["['a', ", "a, b", "__import__('os')", "{'a': 1}", None, 3, "", "(" * 5000])
def test_anything_else_is_not_a_list_and_is_never_run(value):
    with pytest.raises(ValueError, match="its choices"):
        as_list(value, "its choices")


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_list_or_a_value_error(text):
    try:
        assert isinstance(as_list(text, "it"), list)
    except ValueError:
        pass


SOME = [Row(values={"id": "1"}, where="row 1")]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["test.csv"], []),
        (["test-00000-of-00001.parquet"], []),
        (["test-00001-of-00002.parquet", "test-00000-of-00002.parquet"], []),
        (["test-00000-of-00002.parquet"], ["test-00001-of-00002.parquet is not there"]),
        (["t-1-of-3.csv"], ["t-0-of-3.csv, t-2-of-3.csv are not there"]),
        (["t-0-of-2.csv", "u-1-of-2.csv"], ["t-1-of-2.csv is not there", "u-0-of-2.csv is not there"]),
        (["t-2-of-2.csv"], ["t-0-of-2.csv, t-1-of-2.csv are not there"]),
        (
            ["t-00-of-10.csv"],
            [", ".join(f"t-{k:02}-of-10.csv" for k in range(1, 7)) + " and 3 more are not there"],
        ),
    ],
)
def test_absent_pieces_of_a_table_are_named(tmp_path, names, said):
    assert lacking({tmp_path / name: SOME for name in names}) == tuple(said)


def test_a_table_without_a_row_is_named(tmp_path):
    tables = {tmp_path / "t.csv": [], tmp_path / "u.csv": SOME}
    assert lacking(tables) == ("t.csv holds no row",)


def test_the_first_pattern_that_a_folder_has_is_taken(tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("data/test-1.parquet", "data/test-0.parquet", "x.tsv"):
        (tmp_path / name).touch()
    assert [path.name for path in find(tmp_path, "a.json", "test-*.parquet", "*.tsv")] == [
        "test-0.parquet",
        "test-1.parquet",
    ]
    assert find(tmp_path, "b.csv") == []
