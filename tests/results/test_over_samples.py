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

from avsink.instruments.knockout import sweep
from avsink.instruments.pathways import FIGURE_3, FIGURE_4
from avsink.results.over_samples import measure, measure_into
from avsink.results.store import ResultStore
from avsink.sample import SampleError, Unmeasured

MEASURED = ["clip.mp4", "odd.mp4", "long_sound.mp4", "clip.mkv"]


@pytest.fixture
def store(model, tmp_path):
    return ResultStore("finding", model=model.name, identity={}, root=tmp_path)


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

    [record] = (tmp_path / "results").glob("finding/*/*/records/*.json")
    assert [entry["sample"] for entry in json.loads(record.read_text())["left_out"]] == list(reasons)


def test_a_second_run_reads_what_the_first_has_computed(store, samples):
    first = measure_into(store, samples, rows)
    second = measure_into(store, samples, lambda sample: pytest.fail("computed twice"))
    assert (first.computed, second.computed) == (4, 0)
    pd.testing.assert_frame_equal(first.rows, second.rows)


def test_a_longer_run_goes_on_from_a_shorter_one(store, samples):
    measure_into(store, samples[:3], rows)
    assert measure_into(store, samples, rows).computed == 1


def test_wrong_answers_are_lasting_and_faulty_files_are_tried_again(store, samples):
    tried = []

    def compute(sample):
        tried.append(sample.id)
        if sample.id == "clip.mp4":
            raise Unmeasured(sample.id, "answered wrongly")
        raise SampleError(sample.id, "unreadable")

    for _ in range(2):
        done = measure_into(store, samples[:2], compute)
    assert tried == ["clip.mp4", "odd.mp4", "odd.mp4"]
    assert list(done.left_out["reason"]) == ["answered wrongly", "unreadable"] and done.rows.empty


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_keeps_what_it_has(store, samples, interruption):
    def compute(sample):
        if sample.id == "long_sound.mp4":
            raise interruption
        return rows(sample)

    with pytest.raises(interruption):
        measure_into(store, samples, compute)
    assert [store.rows(sample) is not None for sample in samples] == [True, True, False, False]
    assert measure_into(store, samples, rows).computed == 2


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


def test_what_one_measurement_has_kept_the_same_one_reads_and_another_does_not(model, samples, tmp_path):
    known = [finding.answered(model, sample.media[0].path) for sample in samples[:2]]
    first = measure(sweep, model, known, k=1, root=tmp_path)
    again = measure(sweep, model, known, pathways=(*FIGURE_3, *FIGURE_4), k=1, root=tmp_path)  # the default, said
    assert (first.computed, again.computed) == (2, 0)
    pd.testing.assert_frame_equal(first.rows, again.rows)
    assert measure(sweep, model, known, k=3, root=tmp_path).computed == 2
    assert {path.name for path in tmp_path.iterdir()} == {"knockout.sweep"}
    with pytest.raises(TypeError, match="argument: .k"):
        measure(sweep, model, known, K=3, root=tmp_path)


def test_refused_rows_are_left_out_with_their_reason(store, samples):
    done = measure_into(store, samples, rows)
    left = done.refuse({"odd.mp4": "another model's"})
    assert len(left.rows) == 3 and left.left_out.to_dict("records") == [
        {"sample": "odd.mp4", "category": "mixed", "reason": "another model's"}
    ]
    assert left.counts["measured"].sum() == 3 and len(done.rows) == 4
