"""VGGSound: both tables, names that begin with a dash, labels with commas; each row is one sample or one problem."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from clip_sets import GROUPS, LABELS, SHOWN, STEMS, vggsound_test, vggsound_whole, write_bare, write_clips, write_stat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avsink.datasets import load, load_samples, tasks_of
from avsink.datasets.check import main
from avsink.datasets.files.sources import MissingData
from avsink.datasets.files.tables import TableError
from avsink.datasets.vggsound import super_classes


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Clips and super-classes; each test writes its table."""
    folder = write_clips(tmp_path_factory.mktemp("vggsound"))
    write_stat(folder)
    return folder


def loaded_from(root, rows, name="test.csv"):
    for table in ("test.csv", "vggsound.csv"):
        (root / table).unlink(missing_ok=True)
    write_bare(root / name, rows)
    return load("vggsound", root)


@pytest.mark.parametrize("make", [vggsound_test, vggsound_whole])
def test_both_tables_give_the_same_samples(tmp_path, make):
    make(tmp_path)
    loaded = load("vggsound", tmp_path)
    assert not loaded.problems and not loaded.lacking
    assert [sample.id for sample in loaded.samples] == [f"vggsound/{stem}" for stem in STEMS]
    for sample, stem, label in zip(loaded.samples, STEMS, SHOWN, strict=True):
        assert sample.media[0].path.name == f"{stem}.mp4" and len(sample.options) == 20
        assert sample.options[ord(sample.answer) - 65] == label == sample.truth["label"]
        assert sample.truth["clip"] == stem
    assert [sample.task.removeprefix("sounding object: ") for sample in loaded.samples] == [
        "people", "people", "animals", "sports", "animals",
    ]  # fmt: skip
    assert loaded.samples[3].category == "sports" and loaded.samples[0].category in ("people 1", "people 2")


def test_items_stay_what_they_are_when_the_table_changes(root):
    rows = [[f"{stem}.mp4", label] for stem, label in zip(STEMS, SHOWN, strict=True)]
    all_of_them = {sample.id: sample for sample in loaded_from(root, rows).samples}
    some = loaded_from(root, rows[:0:-2]).samples
    assert some and all(all_of_them[sample.id] == sample for sample in some)


def test_a_task_is_a_super_class(root):
    loaded_from(root, [[f"{stem}.mp4", label] for stem, label in zip(STEMS, SHOWN, strict=True)])
    tasks = ["sounding object: people", "sounding object: animals", "sounding object: sports"]
    assert tasks_of("vggsound", root) == tasks
    assert len(load_samples("vggsound", root=root, tasks=tasks[:1])) == 2


def test_an_old_stat_or_none_is_said_and_makes_one_group(tmp_path):
    rows = [[f"{stem}.mp4", label] for stem, label in zip(STEMS, SHOWN, strict=True)]
    write_clips(tmp_path)
    write_stat(tmp_path, grouped=False)
    write_bare(tmp_path / "test.csv", rows)
    with pytest.raises(TableError, match="no 20-way questions can be asked in .* there are only 5"):
        load("vggsound", tmp_path)
    write_bare(tmp_path / "test.csv", rows + [[f"ABCDEFGHIJK_{k:06d}.mp4", f"thing {k}"] for k in range(15)])
    loaded = load("vggsound", tmp_path)
    assert "older version without super-classes" in loaded.lacking[0]
    assert {(sample.task, sample.category) for sample in loaded.samples} == {("sounding object: all", "all")}
    (tmp_path / "stat.csv").unlink()
    assert "stat.csv is not there" in load("vggsound", tmp_path).lacking[0]


def test_given_sets_come_from_cases_json(root):
    own = [*GROUPS["sports"], *GROUPS["animals"][:11]]
    (root / "cases.json").write_text(json.dumps({"study": own}))
    try:
        loaded = loaded_from(root, [[f"{STEMS[3]}.mp4", "playing tennis"], [f"{STEMS[0]}.mp4", "people coughing"]])
        assert [sample.category for sample in loaded.samples][0] == "study"
        assert set(loaded.samples[0].options) == set(own)
        (root / "cases.json").write_text("[1]")
        with pytest.raises(TableError, match="cases.json is not an object of lists of labels"):
            load("vggsound", root)
        (root / "cases.json").write_text('{"study": ["a"]}')
        with pytest.raises(TableError, match="the case 'study' has 1 different labels"):
            load("vggsound", root)
    finally:
        (root / "cases.json").unlink()


def test_faults_of_stat_are_said(tmp_path):
    write_bare(tmp_path / "stat.csv", [["a", 1, "x"], ["a", 2, "x"], ["b", 3, ""], ["c"], ["d, e", 4, "y"]])
    found = super_classes(tmp_path)
    assert found.groups == {"x": ("a",), "y": ("d, e",), "all": ("b",)}
    assert [fault.split(":")[0] for fault in found.lacking] == [
        "stat.csv, row 2", "stat.csv, row 4", "stat.csv has no super-class for b",
    ]  # fmt: skip


BROKEN = [
    (["--U7joUcTCo_000000.mp4"], "it has 1 cells, 2 are expected: clip, label"),
    (["--U7joUcTCo_000000.mp4", "bird chirping", "tweeting"], "it has 3 cells"),  # a comma that was not quoted
    (["--U7joUcTCo_000000.mp4", ""], "it has no label"),
    (["--U7joUcTCo_000000.mp4", "unheard of"], "its label 'unheard of' is in no set of 20 labels"),
    (["", "playing tennis"], "it has no clip"),
    (["tooshort_000000.mp4", "playing tennis"], "is not a clip name"),
    (["../../secret.mp4", "playing tennis"], "is not a clip name"),
    (["zzzzzzzzzzz_000000.mp4", "playing tennis"], "missing clip zzzzzzzzzzz_000000.mp4"),
]


@pytest.mark.parametrize(("row", "reason"), BROKEN)
def test_a_broken_row_is_a_problem_and_the_others_stay(root, row, reason):
    loaded = loaded_from(root, [[f"{STEMS[1]}.mp4", SHOWN[1]], row, [f"{STEMS[2]}.mp4", SHOWN[2]]])
    (problem,) = loaded.problems
    assert reason in problem.reason and problem.where == "test.csv, row 2" and len(loaded.samples) == 2


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (["--U7joUcTCo", "x", "playing tennis", "test"], "whole seconds are expected"),
        (["--U7joUcTCo", 0, "playing tennis", "val"], "its split is 'val'; train or test is expected"),
        (["--U7joUcTCo", 0, "playing tennis"], "it has 3 cells"),
    ],
)
def test_rows_of_the_whole_table(root, row, reason):
    rows = [row, ["ABCDEFGHIJK", 30, "animal 1", "test"], ["ABCDEFGHIJK", 31, "animal 1", "train"]]
    loaded = loaded_from(root, rows, "vggsound.csv")
    (problem,) = loaded.problems
    assert reason in problem.reason and [sample.id for sample in loaded.samples] == ["vggsound/ABCDEFGHIJK_000030"]


def test_what_is_not_here_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("AVSINK_DATA", raising=False)
    with pytest.raises(
        MissingData, match=r"where is vggsound\? AVSINK_DATA is not set. Make a folder DIR with test.csv or"
    ):
        load("vggsound")
    with pytest.raises(MissingData, match="there is no folder Loie/VGGSound. Make a folder DIR with"):
        load("vggsound", "Loie/VGGSound")
    with pytest.raises(MissingData, match="there is no test.csv or vggsound.csv"):
        load("vggsound", tmp_path)
    monkeypatch.setenv("AVSINK_DATA", str(tmp_path))
    vggsound_test(tmp_path / "vggsound")
    assert len(load("vggsound").samples) == 5


def test_the_check_opens_the_clips(tmp_path, capsys):
    vggsound_test(tmp_path)
    assert main(["vggsound", "--root", str(tmp_path)]) == 0
    assert "vggsound from test.csv: 5 samples, 0 problems" in capsys.readouterr().out
    next(tmp_path.rglob(f"{STEMS[0]}.mp4")).write_bytes(b"<html>")
    assert main(["vggsound", "--root", str(tmp_path)]) == 1
    assert f"vggsound/{STEMS[0]}: {STEMS[0]}.mp4 cannot be decoded" in capsys.readouterr().out


NAMES = st.one_of(
    st.sampled_from([f"{stem}.mp4" for stem in STEMS] + list(STEMS) + ["", "a.mp4", "#", "\u2028.mp4"]),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\n\0"), max_size=12),
)
SAID = st.one_of(
    st.sampled_from([*LABELS[:4], "", " ", 'a "quoted" one', "a, b"]),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(NAMES, SAID).map(list), min_size=1, max_size=10))
def test_no_row_is_dropped_or_counted_twice(root, rows):
    loaded = loaded_from(root, rows)
    assert len(loaded.samples) + len(loaded.problems) == len(rows)
    ids = [sample.id for sample in loaded.samples]
    assert len(set(ids)) == len(ids) and all(problem.reason for problem in loaded.problems)
    assert len({(problem.id, problem.where) for problem in loaded.problems}) == len(loaded.problems)
    often = Counter(name.strip().removesuffix(".mp4") for name, _ in rows)
    good = [name.strip().removesuffix(".mp4") for name, label in rows if label.strip() in LABELS]
    assert {f"vggsound/{stem}" for stem in good if stem in STEMS and often[stem] == 1} <= set(ids)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from([stem[:-7] for stem in STEMS] + ["", "x"]),
            st.sampled_from(["0", "30", "130", "999999", "-1", "1.0", ""]),
            SAID,
            st.sampled_from(["test", "train", "", "Test"]),
        ).map(list),
        min_size=1,
        max_size=10,
    )
)
def test_no_row_of_the_whole_table_is_dropped_but_those_of_train(root, rows):
    loaded = loaded_from(root, rows, "vggsound.csv")
    assert len(loaded.samples) + len(loaded.problems) == sum(split != "train" for *_, split in rows)
