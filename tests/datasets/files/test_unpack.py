"""Media from parquet files: written once and completely, reused, and written again if missing."""

from __future__ import annotations

import shutil

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from published import ODYSSEY, odyssey_bench, odyssey_row

from avsink.datasets.av_odyssey import COLUMNS, load
from avsink.datasets.files.tables import TableError
from avsink.datasets.files.unpack import unpacked


@pytest.fixture
def bench(tmp_path):
    odyssey_bench(tmp_path / "bench")
    return tmp_path / "bench"


def checked(loaded):
    """Every sample is there, and each of its media is a file with content."""
    assert len(loaded.samples) == len(ODYSSEY) and not loaded.problems and not loaded.lacking
    assert all(medium.path.stat().st_size for sample in loaded.samples for medium in sample.media)
    return loaded


def times(bench):
    return {path: path.stat().st_mtime_ns for path in (bench / "unpacked").rglob("*") if path.is_file()}


def test_media_are_written_once(bench, monkeypatch):
    load(bench)
    before = times(bench)
    monkeypatch.setattr(pyarrow.parquet, "ParquetFile", None)  # nothing is read from the tables again
    checked(load(bench))
    assert before == times(bench)


def test_an_interrupted_unpacking_goes_on(bench, monkeypatch):
    real, count = pyarrow.parquet.ParquetFile.iter_batches, [0]

    def interrupted(self, **kwargs):
        count[0] += 1
        if count[0] > 2:
            raise KeyboardInterrupt
        yield from real(self, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(pyarrow.parquet.ParquetFile, "iter_batches", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load(bench)
    assert len(list((bench / "unpacked/rows").iterdir())) == 2
    checked(load(bench))


def test_a_medium_that_was_deleted_is_written_again_and_no_other(bench):
    gone = load(bench).samples[0].media[0].path
    before = times(bench)
    gone.unlink()
    checked(load(bench))
    after = times(bench)
    assert gone.is_file() and {path for path in before if path.parent == gone.parent} <= set(after)
    assert all(after[path] == time for path, time in before.items() if path.parent == gone.parent and path != gone)
    shutil.rmtree(gone.parent)
    checked(load(bench))


@pytest.mark.parametrize("content", ["", "no json", "[]", '{"image_1": 3}', '{"image_1": ["media"]}'])
def test_damaged_rows_are_written_again(bench, content):
    before = checked(load(bench)).samples
    for path in (bench / "unpacked/rows").iterdir():
        path.write_text(content)
    assert checked(load(bench)).samples == before


def test_missing_columns_are_said_each_time(bench, tmp_path):
    part = bench / "av_odyssey_part1.parquet"
    said = "av_odyssey_part1.parquet has no column task, mood; it has question_id, "
    for _ in range(2):  # before anything is written, and after
        with pytest.raises(TableError, match=said):
            unpacked(part, columns=COLUMNS, needs=["question_id", "task", "mood"], cache=tmp_path / "cache")
        assert unpacked(part, columns=COLUMNS, needs=["question_id"], cache=tmp_path / "cache")


def test_a_table_without_a_row_is_missing(bench):
    part = bench / "av_odyssey_part6.parquet"
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(part).slice(0, 0), part)
    for _ in range(2):
        assert load(bench).lacking == ("av_odyssey_part6.parquet holds no row",)


def test_the_cache_may_be_elsewhere(bench, tmp_path, monkeypatch):
    monkeypatch.setenv("AVSINK_CACHE", str(tmp_path / "cache"))
    checked(load(bench))
    assert (tmp_path / "cache/unpacked/media").is_dir() and not (bench / "unpacked").exists()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sets(st.integers(1, 4)), st.sets(st.integers(1, 4))), min_size=1))
def test_no_row_of_a_part_is_dropped_and_only_slots_that_hold_bytes_are_there(tmp_path_factory, rows):
    root = tmp_path_factory.mktemp("part")
    names = [f"{kind}_{k}" for kind in ("image", "audio") for k in range(1, 5)]
    table = []
    for id, filled, named in rows:
        media = {f"image_{k}": b"\x89PNG picture %d" % k if k in filled else None for k in range(1, 5)}
        media |= {f"audio_{k}": b"RIFF....WAVE" if k == 1 else b"" if k == 2 else None for k in range(1, 5)}
        question = "".join(f"[img{k}]" for k in sorted(named)) + " or [audio1]?"
        base = {name: str(value) for name, value in odyssey_row(0)[0].items()}
        table.append(base | {"question_id": id, "question": question} | media)
    schema = pyarrow.schema([(name, pyarrow.binary() if name in names else pyarrow.string()) for name in table[0]])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table, schema=schema), root / "av_odyssey_part1.parquet")
    loaded = load(root)
    assert len(loaded.samples) + len(loaded.problems) == len(rows)
    firsts = {}
    for id, filled, named in rows:
        firsts.setdefault(id, named <= filled)
    assert {sample.id for sample in loaded.samples} == {f"av-odyssey/{id}" for id, good in firsts.items() if good}
    shutil.rmtree(root)
