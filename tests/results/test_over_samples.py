"""Runs over samples: bad ones reported, finished ones kept, through errors, Ctrl-C and SIGKILL."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import finding
import pandas as pd
import pytest

from avsink.results.over_samples import run_over_samples
from avsink.results.store import ResultStore
from avsink.sample import SampleError, Unmeasured

MEASURED = ["clip.mp4", "odd.mp4", "long_sound.mp4", "clip.mkv"]


@pytest.fixture
def store(model, tmp_path):
    return ResultStore("finding", model=model, settings={}, root=tmp_path)


@pytest.fixture
def samples(clips):
    return [finding.sample(clips / name) for name in MEASURED]


def rows(sample):
    return pd.DataFrame({"sample": [sample.id], "delta_p": [-0.5]})


def test_bad_input_is_reported_and_the_run_goes_on(untrained, clips, tmp_path):
    done = finding.run(untrained, clips, tmp_path / "results", tmp_path / "log")
    assert list(done.rows["sample"].unique()) == MEASURED
    reasons = dict(zip(done.left_out["sample"], done.left_out["reason"], strict=True))
    assert list(reasons) == ["truncated.mp4", "front.mp4", "absent.mp4"]
    assert reasons["front.mp4"] == "answered wrongly" and "missing file absent.mp4" in reasons["absent.mp4"]
    assert done.counts.to_dict("records") == [
        {"category": "mixed", "asked": 7, "measured": 4, "answered wrongly": 1, "unusable": 2}
    ]
    assert str(done).startswith("4 of 7 samples measured (5 computed now, the others read); left out: 1 × ")

    [record] = (tmp_path / "results").glob("finding/*/*/provenance.json")
    assert [entry["sample"] for entry in json.loads(record.read_text())["left_out"]] == list(reasons)


def test_a_second_run_reads_what_the_first_has_computed(store, samples):
    first = run_over_samples(samples, rows, store=store)
    second = run_over_samples(samples, lambda sample: pytest.fail("computed twice"), store=store)
    assert (first.computed, second.computed) == (4, 0)
    pd.testing.assert_frame_equal(first.rows, second.rows)


def test_a_longer_run_goes_on_from_a_shorter_one(store, samples):
    run_over_samples(samples[:3], rows, store=store)
    assert run_over_samples(samples, rows, store=store).computed == 1


def test_wrong_answers_are_lasting_and_faulty_files_are_tried_again(store, samples):
    tried = []

    def compute(sample):
        tried.append(sample.id)
        if sample.id == "clip.mp4":
            raise Unmeasured(sample.id, "answered wrongly")
        raise SampleError(sample.id, "unreadable")

    for _ in range(2):
        done = run_over_samples(samples[:2], compute, store=store)
    assert tried == ["clip.mp4", "odd.mp4", "odd.mp4"]
    assert list(done.left_out["reason"]) == ["answered wrongly", "unreadable"] and done.rows.empty


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_keeps_what_it_has(store, samples, interruption):
    def compute(sample):
        if sample.id == "long_sound.mp4":
            raise interruption
        return rows(sample)

    with pytest.raises(interruption):
        run_over_samples(samples, compute, store=store)
    assert [store.finished(sample) for sample in samples] == [True, True, False, False]
    assert run_over_samples(samples, rows, store=store).computed == 2


def test_a_killed_run_goes_on_to_the_same_table_and_computes_nothing_twice(untrained, clips, tmp_path):
    def start(log: str) -> subprocess.Popen:
        command = [sys.executable, finding.__file__, untrained, clips, tmp_path / "killed", tmp_path / log]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
        return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)

    def parts(root: str) -> set[str]:
        return {path.name for path in (tmp_path / root).glob("finding/*/*/samples/*.parquet")}

    killed = start("killed.log")
    while len(parts("killed")) < 2 and killed.poll() is None:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    survivors, begun = parts("killed"), (tmp_path / "killed.log").read_text().split()
    assert 2 <= len(survivors) < len(MEASURED), "it was to be killed half-way"

    again, _ = start("again.log").communicate(timeout=600)
    whole = finding.run(untrained, clips, tmp_path / "uninterrupted", tmp_path / "whole.log")
    pd.testing.assert_frame_equal(pd.read_json(io.StringIO(again)), whole.rows, rtol=1e-6)
    computed_again = (tmp_path / "again.log").read_text().split()
    finished = {name for name in begun if any(part.startswith(name) for part in survivors)}
    assert len(finished) == len(survivors) and not finished & set(computed_again)
    assert parts("killed") == parts("uninterrupted")
