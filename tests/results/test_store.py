"""The result store: whole files only, found again under the same key, and never under another."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from avsink.results.store import ResultStore
from avsink.sample import Media, Sample, Unmeasured


def sample(name):
    return Sample(id=name, task="t", category="c", parts=(Media(path=Path(f"{name}.mp4"), kind="video"),))


def rows(name, delta=-0.5):
    return pd.DataFrame({"sample": name, "pathway": ["Cross-frame", "Audio↮Video"], "delta_p": [delta, 0.0]})


@pytest.fixture
def store(tmp_path):
    return ResultStore("finding", model="tiny", identity={"window": 3}, root=tmp_path)


def test_rows_come_back_as_they_were(store):
    saved = store.save(sample("a"), rows("a"))
    pd.testing.assert_frame_equal(saved, rows("a"))
    pd.testing.assert_frame_equal(store.rows(sample("a")), saved)
    assert store.rows(sample("missing")) is None
    pd.testing.assert_frame_equal(pd.read_parquet(store.folder / "samples"), saved)  # without our code


def test_a_store_is_found_again_and_another_question_has_another_store(store, tmp_path):
    store.save(sample("a"), rows("a"))

    def other(name="finding", model="tiny", identity=None):
        return ResultStore(name, model=model, identity=identity or {"window": 3}, root=tmp_path).rows(sample("a"))

    assert other() is not None
    assert other(identity={"window": 7}) is other(name="other") is other(model="large") is None


def test_a_changed_sample_has_no_rows(store):
    store.save(sample("a"), rows("a"))
    assert store.rows(replace(sample("a"), category="another")) is None


def test_names_that_are_no_file_names(store):
    odd = sample("clips/07: who?\u202e" + "x" * 300)
    store.save(odd, rows("odd"))
    assert len(store.rows(odd)) == 2


def test_a_sample_left_out_for_good_has_a_reason_and_no_rows(store):
    store.leave_out(sample("a"), Unmeasured("a", "answered wrongly"))
    assert store.reason(sample("a")) == "answered wrongly" and store.rows(sample("a")) is None
    assert store.reason(sample("b")) is None


def test_a_write_that_dies_leaves_neither_a_part_nor_litter(store, monkeypatch):
    before = sorted(store.folder.rglob("*.*"))

    def die(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", die)
    with pytest.raises(OSError, match="disk full"):
        store.save(sample("a"), rows("a"))
    assert store.rows(sample("a")) is None and sorted(store.folder.rglob("*.*")) == before


@pytest.mark.parametrize("kind", ["part", "excuse"])
def test_a_file_that_was_cut_off_is_put_aside_and_its_sample_computed_again(store, kind):
    if kind == "part":
        store.save(sample("a"), rows("a"))
        path, read = store._part(sample("a")), store.rows
    else:
        store.leave_out(sample("a"), Unmeasured("a", "answered wrongly"))
        path, read = store._excuse(sample("a")), store.reason
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(UserWarning, match="is damaged"):
        assert read(sample("a")) is None
    assert path.with_name(f".{path.name}.damaged").is_file()
    store.save(sample("a"), rows("a"))
    assert len(store.rows(sample("a"))) == 2


def test_no_flipped_bit_of_a_part_goes_unnoticed(store):
    """The footer may be sound and the rows damaged: each byte of the file is changed in turn."""
    whole = store.save(sample("a"), rows("a"))
    path = store._part(sample("a"))
    good, found = path.read_bytes(), {"noticed": 0, "harmless": 0}
    for at in range(0, len(good), 7):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        with warnings.catch_warnings(action="ignore"):
            read = store.rows(sample("a"))
        if read is None:
            found["noticed"] += 1
        else:  # a byte that says nothing about the rows, such as the name of the writing program
            pd.testing.assert_frame_equal(read, whole)
            found["harmless"] += 1
    assert found["noticed"] > 20


def test_rows_of_another_sample_are_noticed(store):
    store.save(sample("a"), rows("a"))
    store.save(sample("b"), rows("b"))
    shutil.copy(store._part(sample("b")), store._part(sample("a")))
    with pytest.warns(UserWarning, match="is damaged .its content is not what was written"):
        assert store.rows(sample("a")) is None


def test_parts_and_excuses_of_another_key_are_noticed(store, tmp_path):
    other = ResultStore("finding", model="tiny", identity={"window": 7}, root=tmp_path)
    store.save(sample("a"), rows("a"))
    store.leave_out(sample("b"), Unmeasured("b", "answered wrongly"))
    shutil.copy(store._part(sample("a")), other._part(sample("a")))
    shutil.copy(store._excuse(sample("b")), other._excuse(sample("b")))
    with pytest.warns(UserWarning, match="is damaged"):
        assert other.rows(sample("a")) is None and other.reason(sample("b")) is None


def test_a_damaged_part_that_another_process_puts_aside_first_is_no_error(store, monkeypatch):
    store.save(sample("a"), rows("a"))
    part = store._part(sample("a"))
    part.write_bytes(b"not parquet")
    replace_file = os.replace

    def late(*paths):
        part.unlink()
        replace_file(*paths)

    monkeypatch.setattr(os, "replace", late)
    with pytest.warns(UserWarning, match="is damaged"):
        assert store.rows(sample("a")) is None


def test_rows_that_cannot_be_kept_are_refused_in_words(store):
    with pytest.raises(TypeError, match="rows must hold numbers and text, one in a cell"):
        store.save(sample("a"), pd.DataFrame({"positions": [[1, 2]]}))


def test_a_damaged_record_of_the_identity_is_written_anew(store, tmp_path):
    (store.folder / "provenance.json").write_text("{")
    ResultStore("finding", model="tiny", identity={"window": 3}, root=tmp_path)
    assert json.loads((store.folder / "provenance.json").read_text()) == {"window": 3}


def test_litter_of_a_killed_write_is_not_taken_for_a_part(store):
    part = store._part(sample("a"))
    part.with_name(f".{part.name}.123").write_bytes(b"half a fi")
    assert store.rows(sample("a")) is None


def test_provenance_tells_what_the_key_was_made_of(store, tmp_path):
    record = json.loads((store.folder / "provenance.json").read_text())
    assert record == {"window": 3}
    ResultStore("finding", model="tiny", identity={"window": 3}, root=tmp_path)
    assert json.loads((store.folder / "provenance.json").read_text()) == record


RUN = """
import sys
from avsink.results.store import ResultStore
store = ResultStore("finding", model="tiny", identity={"window": 3}, root=sys.argv[1])
for step in range(20):
    store.describe(commit=sys.argv[2], samples=[sys.argv[2]] * step)
"""


def test_two_runs_on_one_store_do_not_lose_each_others_record(store, tmp_path):
    names = ["first", "second", "third"]
    at_once = [subprocess.Popen([sys.executable, "-c", RUN, tmp_path, name]) for name in names]
    assert [process.wait() for process in at_once] == [0, 0, 0]
    records = [json.loads(path.read_text()) for path in (store.folder / "records").glob("*.json")]
    assert sorted(record["commit"] for record in records) == names
    assert all(record["samples"] == [record["commit"]] * 19 for record in records)


def test_a_store_can_be_moved(store, tmp_path):
    store.save(sample("a"), rows("a"))
    shutil.move(tmp_path / "finding", tmp_path / "moved/finding")
    again = ResultStore("finding", model="tiny", identity={"window": 3}, root=tmp_path / "moved")
    assert len(again.rows(sample("a"))) == 2
