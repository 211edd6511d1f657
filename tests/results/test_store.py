"""The result store: whole files only, found again under the same key, and never under another."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from avsink.results import provenance
from avsink.results.store import ResultStore, results_root
from avsink.sample import Media, Sample, Unmeasured


def sample(name):
    return Sample(id=name, task="t", category="c", parts=(Media(path=Path(f"{name}.mp4"), kind="video"),))


def rows(name, delta=-0.5):
    return pd.DataFrame({"sample": name, "pathway": ["Cross-frame", "Audio↮Video"], "delta_p": [delta, 0.0]})


@pytest.fixture
def store(model, tmp_path):
    return ResultStore("finding", model=model, settings={"window": 3}, root=tmp_path)


def test_rows_come_back_in_the_order_asked(store):
    for name in ("b", "a", "c"):
        store.save(sample(name), rows(name))
    found = store.read([sample("a"), sample("missing"), sample("b")])
    pd.testing.assert_frame_equal(found, pd.concat([rows("a"), rows("b")], ignore_index=True))
    assert store.read([sample("missing")]).empty


def test_a_store_is_found_again_and_another_question_has_another_store(store, model, tmp_path):
    store.save(sample("a"), rows("a"))
    assert ResultStore("finding", model=model, settings={"window": 3}, root=tmp_path).finished(sample("a"))
    assert not ResultStore("finding", model=model, settings={"window": 7}, root=tmp_path).finished(sample("a"))
    assert not ResultStore("other", model=model, settings={"window": 3}, root=tmp_path).finished(sample("a"))


@pytest.mark.parametrize("what", ["versions", "weights_fingerprint", "source_fingerprint", "processing_fingerprint"])
def test_whatever_changes_the_numbers_changes_the_folder(store, model, tmp_path, monkeypatch, what):
    monkeypatch.setattr(provenance, what, lambda *_: "changed")
    assert ResultStore("finding", model=model, settings={"window": 3}, root=tmp_path).folder != store.folder


def test_a_changed_sample_is_not_finished(store):
    store.save(sample("a"), rows("a"))
    assert store.finished(sample("a")) and not store.finished(replace(sample("a"), category="another"))


def test_names_that_are_no_file_names(store):
    odd = sample("clips/07: who?\u202e" + "x" * 300)
    store.save(odd, rows("odd"))
    assert store.finished(odd) and len(store.read([odd])) == 2


def test_a_sample_left_out_for_good_is_finished_and_has_no_rows(store):
    store.leave_out(sample("a"), Unmeasured("a", "answered wrongly"))
    assert store.finished(sample("a")) and store.reason(sample("a")) == "answered wrongly"
    assert store.read([sample("a")]).empty and store.reason(sample("b")) is None


def test_a_write_that_dies_leaves_neither_a_part_nor_litter(store, monkeypatch):
    def die(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", die)
    with pytest.raises(OSError, match="disk full"):
        store.save(sample("a"), rows("a"))
    assert not store.finished(sample("a")) and not list(store.folder.rglob("*.*"))


@pytest.mark.parametrize("kind", ["part", "excuse"])
def test_a_damaged_file_is_put_aside_and_its_sample_computed_again(store, kind):
    if kind == "part":
        store.save(sample("a"), rows("a"))
        path = store._part(sample("a"))
    else:
        store.leave_out(sample("a"), Unmeasured("a", "answered wrongly"))
        path = store._excuse(sample("a"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(UserWarning, match="is damaged"):
        assert not store.finished(sample("a"))
    store.save(sample("a"), rows("a"))
    assert store.finished(sample("a")) and len(store.read([sample("a")])) == 2


def test_litter_of_a_killed_write_is_not_taken_for_a_part(store):
    part = store._part(sample("a"))
    part.with_name(f".{part.name}.123").write_bytes(b"half a fi")
    assert not store.finished(sample("a")) and store.read([sample("a")]).empty


def test_provenance_tells_how_the_numbers_were_made(store):
    store.describe(samples=[sample("a"), sample("b")], seed=0, data="toyworld")
    record = json.loads((store.folder / "provenance.json").read_text())
    assert record["samples"] == ["a", "b"] and record["seed"] == 0 and record["data"] == "toyworld"
    assert record["dtype"] == "float32" and record["attention"] == "avsink over sdpa"
    assert {"torch", "transformers"} <= set(record["versions"]) and len(record["commits"]) == 1


def test_where_results_lie(monkeypatch, tmp_path):
    monkeypatch.setenv("AVSINK_RESULTS", str(tmp_path))
    assert results_root() == tmp_path
    monkeypatch.delenv("AVSINK_RESULTS")
    assert results_root() == Path(store.__file__).parent.parent / "results"
