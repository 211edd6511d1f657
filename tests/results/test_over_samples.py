"""Runs over samples: bad ones reported, finished ones kept, through errors, Ctrl-C and SIGKILL."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import finding
import numpy as np
import pandas as pd
import pytest
from disks import refusing

from avsink.instruments.knockout import sweep
from avsink.instruments.pathways import FIGURE_3, FIGURE_4
from avsink.results.over_samples import measure, measure_into
from avsink.results.store import ResultStore, Unwritable
from avsink.sample import Media, SampleError, Unmeasured

MEASURED = ["clip.mp4", "odd.mp4", "long_sound.mp4", "clip.mkv"]


def opened(root):
    return ResultStore("finding", model="tiny", identity={}, root=root)


@pytest.fixture
def store(tmp_path):
    return opened(tmp_path)


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
    assert str(done).startswith("4 of 7 samples measured (5 computed now); left out: 1 × ")

    [record] = (tmp_path / "results").glob("finding/*/*/records/*.json")
    assert [entry["sample"] for entry in json.loads(record.read_text())["left_out"]] == list(reasons)


def test_a_second_run_reads_what_the_first_has_computed(store, samples):
    first = measure_into(store, samples, rows)
    second = measure_into(store, samples, lambda sample: pytest.fail("computed twice"))
    assert (first.computed, second.computed) == (4, 0)
    assert str(first) == "4 of 4 samples measured (4 computed now); none left out."
    pd.testing.assert_frame_equal(first.rows, second.rows)


def test_a_longer_run_goes_on_from_a_shorter_one(store, samples):
    measure_into(store, samples[:3], rows)
    done = measure_into(store, samples, rows)
    assert (
        done.computed == 1 and str(done) == "4 of 4 samples measured (1 computed now, the others read); none left out."
    )
    assert str(measure_into(store, samples, rows)) == "4 of 4 samples measured (all read); none left out."


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
    with pytest.raises(ValueError, match="no sample has the id 'old.mp4'"):
        done.refuse({"odd.mp4": "another model's", "old.mp4": "another model's"})


def test_rows_can_be_refused_where_there_are_none(store, samples):
    def compute(sample):
        raise Unmeasured(sample.id, "answered wrongly")

    left = measure_into(store, samples, compute).refuse({"odd.mp4": "another model's"})
    assert left.rows.empty and left.counts["measured"].sum() == 0


def never(sample):
    pytest.fail(f"{sample.id} was computed")


def test_the_same_sample_given_twice_is_measured_once_and_named(store, samples, tmp_path):
    copy = tmp_path / "copy.mp4"  # another path, the same content
    copy.write_bytes(samples[1].media[0].path.read_bytes())
    again = replace(samples[1], parts=(replace(samples[1].parts[0], path=copy), *samples[1].parts[1:]))
    with pytest.warns(UserWarning, match="given more than once, and measured once: 'odd.mp4', 'clip.mkv'") as said:
        done = measure_into(store, [*samples, again, samples[3], samples[3]], rows)
    assert len(said) == 1
    assert list(done.rows["sample"]) == MEASURED and done.computed == 4
    assert done.counts.to_dict("records") == [{"category": "mixed", "asked": 4, "measured": 4}]
    assert str(done).startswith("4 of 4 samples measured")


@pytest.mark.parametrize("field", ["category", "path", "truth", "answer"])
def test_different_samples_of_one_id_are_an_error_that_names_it(store, samples, field):
    changed = {
        "category": {"category": "another"},
        "path": {"parts": (replace(samples[1].parts[0], path=samples[0].media[0].path), *samples[1].parts[1:])},
        "truth": {"truth": {"objects": ["dog"]}},
        "answer": {"answer": "B"},
    }
    other = replace(samples[1], **changed[field])
    with pytest.raises(ValueError, match="different samples have the same id: 'odd.mp4'. Give each an id of its own"):
        measure_into(store, [*samples, other], never)


def test_long_ground_truth_counts_to_the_last_number(store, samples):
    """numpy prints the first and last three of more than a thousand numbers."""
    long = np.zeros(5000)
    one, other = (replace(samples[0], truth={"mask": mask}) for mask in (long, long + (np.arange(5000) == 2500)))
    measure_into(store, [one], rows)
    assert measure_into(store, [one], never).computed == 0
    assert measure_into(store, [other], rows).computed == 1


def test_samples_whose_ground_truth_cannot_be_kept_apart_are_left_out_by_name(store, samples):
    for truth in ({"scene": object()}, {(1, 2): 3}, {1: 2, "a": 3}):
        done = measure_into(store, [replace(samples[0], truth=truth), samples[1]], rows)
        assert len(done.rows) == 1 and "ground truth cannot be told from another" in done.left_out["reason"][0]


@pytest.mark.parametrize(
    ("field", "value"), [("id", 7), ("id", None), ("id", "caf\udce9"), ("category", None), ("task", 1.5)]
)
def test_what_cannot_stand_in_a_table_is_named(store, samples, field, value):
    with pytest.raises(ValueError, match=rf"samples\[1\]: its {field} is .*, which is not text") as caught:
        measure_into(store, [samples[0], replace(samples[1], **{field: value})], never)
    assert repr(value) in str(caught.value)
    with pytest.raises(TypeError, match=r"samples\[2\] is a str, not an avsink.Sample"):
        measure_into(store, [*samples[:2], "odd.mp4"], never)


def test_samples_may_come_one_by_one(store, samples):
    done = measure_into(store, (sample for sample in samples), rows)
    assert len(done.rows) == len(done.samples) == 4


def test_files_that_cannot_be_looked_at_are_left_out_by_name(store, samples):
    def sample(id, path):
        return replace(samples[0], id=id, parts=(Media(path=Path(path), kind="video"),))

    odd = [sample("long", "x" * 300 + ".mp4"), sample("nul", "a\0b.mp4"), sample("latin", "/tmp/caf\udce9.mp4")]
    done = measure_into(store, [*odd, samples[0]], rows)
    assert list(done.rows["sample"]) == ["clip.mp4"]
    assert list(done.left_out["sample"]) == [sample.id for sample in odd]
    assert "File name too long" in done.left_out["reason"][0] and "caf\\udce9" in done.left_out["reason"][2]


def test_a_medium_that_cannot_be_read_ends_nothing(store, samples):
    def compute(sample):
        try:
            sample.media[0].path.read_bytes()
        except OSError as error:
            raise SampleError(sample.id, error.strerror) from None
        return rows(sample)

    with refusing(samples[1].media[0].path, errno.EACCES, what="read"):
        done = measure_into(store, samples, compute)
    assert list(done.left_out["sample"]) == ["odd.mp4"] and len(done.rows) == 3
    assert measure_into(store, samples, compute).computed == 1


def test_rows_of_a_file_that_was_changed_meanwhile_are_not_kept(store, samples, tmp_path):
    """They would be kept as those of the new content."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(samples[0].media[0].path.read_bytes())
    moving = replace(samples[0], parts=(Media(path=clip, kind="video"),))

    def compute(sample):
        found = rows(sample).assign(delta_p=float(clip.stat().st_size))
        clip.write_bytes(samples[1].media[0].path.read_bytes())
        return found

    done = measure_into(store, [moving], compute)
    assert done.rows.empty and done.left_out["reason"].tolist() == ["its files were changed while it was measured"]
    assert measure_into(store, [moving], compute).rows["delta_p"].tolist() == [clip.stat().st_size]


def outcome(done):
    return done.rows.to_dict("list"), done.left_out.to_dict("list"), done.computed


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_complete_store_is_read_where_nothing_can_be_written(tmp_path, samples, code):
    def compute(sample):
        if sample.id == "odd.mp4":
            raise Unmeasured(sample.id, "answered wrongly")
        if sample.id == "clip.mkv":
            raise SampleError(sample.id, "cut off")
        return rows(sample)

    absent = replace(samples[0], id="absent.mp4", parts=(Media(path=Path("absent.mp4"), kind="video"),))
    first = measure_into(opened(tmp_path), [*samples, absent], compute)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with refusing(tmp_path, code), pytest.warns(UserWarning, match="this measurement was not recorded") as said:
        again = measure_into(opened(tmp_path), [*samples, absent], never)
    assert len(said) == 1 and str(first.folder) in str(said[0].message)
    assert outcome(again) == (*outcome(first)[:2], 0)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_nothing_is_computed_that_could_not_be_kept(tmp_path, samples):
    measure_into(opened(tmp_path), samples[:2], rows)
    with refusing(tmp_path, errno.EROFS), pytest.raises(Unwritable, match="its file system is read-only") as caught:
        measure_into(opened(tmp_path), samples, never)
    assert str(opened(tmp_path).folder / "samples") in str(caught.value) and "\n" not in str(caught.value)
    assert measure_into(opened(tmp_path), samples, rows).computed == 2


def test_a_disk_that_fills_up_ends_the_run_with_what_is_finished(tmp_path, samples):
    store = opened(tmp_path)
    with ExitStack() as disk:

        def compute(sample):
            if sample.id == "long_sound.mp4":
                disk.enter_context(refusing(tmp_path, errno.ENOSPC))
            return rows(sample)

        with pytest.raises(Unwritable, match="the disk is full. .*Finished samples stay") as caught:
            measure_into(store, samples, compute)
    assert str(store.folder / "samples") in str(caught.value) and "\n" not in str(caught.value)
    assert [store.rows(sample) is not None for sample in samples] == [True, True, False, False]
    assert not list(store.folder.rglob(".*"))
    assert measure_into(opened(tmp_path), samples, rows).computed == 2


def test_an_ordinary_run_warns_of_nothing(store, samples):
    with warnings.catch_warnings(action="error"):
        measure_into(store, samples, rows)
        measure_into(store, samples, never)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (pd.DataFrame({"sample": ["clip.mkv"]}), "sample odd.mp4: its rows need a column `sample`"),
        (pd.DataFrame({"sample": []}), "sample odd.mp4 has no rows; raise avsink.Unmeasured"),
        (None, "sample odd.mp4: its rows are a NoneType"),
    ],
)
def test_an_instruments_faults_name_the_sample(store, samples, found, said):
    with pytest.raises(TypeError, match=said):
        measure_into(store, samples, lambda sample: found if sample.id == "odd.mp4" else rows(sample))
    assert store.rows(samples[0]) is not None
