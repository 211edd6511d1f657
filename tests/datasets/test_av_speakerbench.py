"""AV-SpeakerBench: each row of each published form is one sample or one problem."""

from __future__ import annotations

import warnings
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from published import speakerbench_csv, speakerbench_media, speakerbench_row, speakerbench_tsv, write_table

from avsink.datasets import load_samples, tasks_of
from avsink.datasets.av_speakerbench import load
from avsink.datasets.files.tables import TableError
from avsink.datasets.loaded import key_of
from avsink.datasets.options import options_of


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The media alone; each test writes its table."""
    return speakerbench_media(tmp_path_factory.mktemp("speakerbench"))


def loaded_from(root, rows):
    write_table(root / "test.csv", rows)
    return load(root)


@pytest.mark.parametrize(("make", "table"), [(speakerbench_csv, "test.csv"), (speakerbench_tsv, "test.tsv")])
def test_both_forms_give_every_question(tmp_path, make, table):
    rows = make(tmp_path)
    loaded = load(tmp_path)
    assert not loaded.problems and [path.name for path in loaded.tables] == [table]
    assert [sample.id for sample in loaded.samples] == [f"av-speakerbench/{row['question_id']}" for row in rows]
    for sample, row in zip(loaded.samples, rows, strict=True):
        clip, text = sample.parts
        assert clip.path == tmp_path / row["audio_visual_path"] and (clip.kind, clip.sound) == ("video", True)
        assert text.text.endswith(f"\n{row['question']}") and sample.suffix == "The best answer is:"
        assert sample.options == ("the man", "the woman's friend", "both", "neither")
        assert (sample.answer, sample.task) == (row["answer"], row["task_id"])
    first, second = loaded.samples[:2]
    assert first.category == "Speech Attributes" and first.truth["category"] == "Audio-centric"  # Flow's, its own
    assert second.category == "Visual-centric"  # Flow has no category for Visual Counting


def test_a_byte_order_mark_and_flattened_folders(tmp_path):
    rows = [speakerbench_row(0, audio_visual_path="audiovisual/chunk_3/vid0_0_1.mp4")]
    speakerbench_csv(tmp_path, rows, bom=True)
    (sample,) = load(tmp_path).samples
    assert sample.media[0].path == tmp_path / "audiovisual/vid0_0_1.mp4"


BROKEN = [
    ({"answer": "E"}, "its answer is 'E'; a letter from A to D is expected"),
    ({"answer": ""}, "its answer is None"),
    ({"answer": "AB"}, "its answer is 'AB'"),
    ({"choices": "A. yes, B. no"}, "its choices cannot be read as a list"),
    ({"choices": "['A. yes' 'B. no' 'C. both' 'D. none']"}, "it has 1 options; 4 are expected"),  # numpy's form
    ({"choices": "['A. yes', 'B. no', 'C. both']"}, "it has 3 options; 4 are expected"),
    ({"choices": "['A. yes', 'B. no', 'D. both', 'C. none']"}, "do not begin with the letters A, B, ... in order"),
    ({"choices": "['A. yes', 'no', 'both', 'none']"}, "do not begin with the letters"),
    ({"choices": "['A. yes', 'B. ', 'C. both', 'D. none']"}, "one of its options is empty"),
    ({"choices": "['A. yes', 'B. yes', 'C. both', 'D. none']"}, "two options have the same text"),
    ({"choices": "['A. yes', None, 'C. both', 'D. none']"}, "its choices hold None"),
    ({"question": "  "}, "it has no question"),
    ({"task_id": ""}, "it has no task_id"),
    ({"category": ""}, "it has no category"),
    ({"audio_visual_path": "audiovisual/gone.mp4"}, "missing file audiovisual/gone.mp4"),
    ({"audio_visual_path": "../secret.mp4"}, "is outside the dataset's folder"),
    ({"audio_visual_path": "x" * 5000}, "missing file"),
    ({"audio_visual_path": "."}, "missing file ."),
    ({"audio_visual_path": "/"}, "is outside the dataset's folder"),
    ({"question_id": ""}, "it has no question_id"),
]


@pytest.mark.parametrize(("change", "reason"), BROKEN)
def test_a_broken_row_is_a_problem_with_its_id_and_the_others_stay(root, change, reason):
    # the second is of Visual Counting, for which Flow has no category
    loaded = loaded_from(root, [speakerbench_row(0), speakerbench_row(1) | change, speakerbench_row(2)])
    (problem,) = loaded.problems
    assert reason in problem.reason and len(loaded.samples) == 2
    assert problem.where == "test.csv, row 2"
    expected = "av-speakerbench/1" if "question_id" not in change else "av-speakerbench/(test.csv, row 2)"
    assert problem.id == expected


def test_the_second_row_of_an_id_is_a_problem_whatever_it_says(root):
    rows = [speakerbench_row(0), speakerbench_row(0), speakerbench_row(0, question="Another?"), speakerbench_row(1)]
    loaded = loaded_from(root, rows)
    assert [sample.id for sample in loaded.samples] == ["av-speakerbench/0", "av-speakerbench/1"]
    assert [problem.reason for problem in loaded.problems] == [
        "the same row is at test.csv, row 1",
        "another row with this id is at test.csv, row 1",
    ]


def test_letters_are_removed_only_if_all_are_in_place():
    def options(*texts):
        return options_of(list(texts), column="options", counts={2, 3, 4})

    assert options("A. yes", "B. no") == options("(A) yes", "(B) no") == options("a) yes", "b) no") == ["yes", "no"]
    assert options("A: yes", "B: no") == options("A.yes", "B.no") == ["yes", "no"]
    assert options("（A）yes", "（B）no") == options("A - yes", "B – no") == options("A．yes", "B、no") == ["yes", "no"]
    assert options("U.S. law", "no law") == ["U.S. law", "no law"] and options("1", 2) == ["1", "2"]
    assert options("A. A. Milne", "B. B. King") == ["A. Milne", "B. King"]
    assert options("A. U.S. law", "B. no law") == ["U.S. law", "no law"]
    for texts in (["A dog", "a cat"], ["A major", "B flat"], ["I see", "no"], ["A-flat", "B-side"], ["b", "c"]):
        assert options(*texts) == texts  # a letter without a mark, or a word


@pytest.mark.parametrize(
    "texts",
    [
        ["B. yes", "A. no", "C. both", "D. none"],  # in another order
        ["B. yes", "C. no", "D. both", "E. none"],  # in order, from another letter
        ["A. yes", "A. no", "B. both", "C. none"],
        ["A. yes", "B. no", "C. both", "none"],  # not all
        ["yes", "B. no", "both", "none"],
        ["yes", "A, no", "both", "none"],
        ["(B) yes", "(A) no", "(C) both", "(D) none"],
        ["b) yes", "a) no", "c) both", "d) none"],
        ["B - yes", "A - no", "C - both", "D - none"],
        ["B yes", "A no", "C both", "D none"],
        ["B", "A", "C", "D"],
        ["A.M. radio", "C. Debussy", "E. Satie", "none"],  # an initial cannot be told from a letter
        ["U.S. law", "B. no law", "both", "none"],
        ["B.C. times", "A.D. times", "C.E. times", "D.C. times"],
    ],
)
def test_letters_out_of_place_are_refused(texts):
    with pytest.raises(ValueError, match="do not begin with the letters A, B, ... in order"):
        options_of(texts, column="options", counts={4})


@pytest.mark.parametrize(
    ("value", "key"),
    [
        *(
            (7, "7"),
            (7.0, "7"),
            ("7", "7"),
            (" 7.0 ", "7"),
            ("-7.00", "-7"),
            (7.5, "7.5"),
            ("7.5", "7.5"),
            ("7.", "7."),
        ),
        *(("1_0", "1_0"), ("v1.0", "v1.0"), ("1.0.0", "1.0.0"), ("٣.0", "٣.0")),
        *((None, ""), (True, ""), ([7], ""), ("", ""), (float("inf"), "inf")),
    ],
)
def test_a_whole_number_is_the_same_key_however_it_is_written(value, key):
    assert key_of(value) == key


def test_ids_that_differ_only_in_how_a_number_is_written_are_one(root):
    loaded = loaded_from(root, [speakerbench_row(0, question_id="7"), speakerbench_row(1, question_id="7.0")])
    assert [sample.id for sample in loaded.samples] == ["av-speakerbench/7"]
    assert [problem.reason for problem in loaded.problems] == ["another row with this id is at test.csv, row 1"]


def test_another_table_is_refused_at_once(root):
    write_table(root / "test.csv", [{"id": 1, "prompt": "?"}])
    with pytest.raises(TableError, match="test.csv has no column question_id, question, .* Is it a file of this"):
        load(root)


def test_loading_continues_with_one_warning(root):
    loaded_from(root, [speakerbench_row(k) for k in range(6)] + [speakerbench_row(9, answer="Z")])
    with pytest.warns(UserWarning) as caught:
        samples = load_samples("av-speakerbench", root=root, n_samples=4)
    assert len(samples) == 4 and len(caught) == 1
    said = str(caught[0].message)
    assert "1 rows cannot be used, 6 can" in said and "av-speakerbench/9: its answer is 'Z'" in said
    assert f"python -m avsink.datasets.check av-speakerbench --root {root}" in said
    assert tasks_of("av-speakerbench", root) == ["Speech Intensity", "Visual Counting", "Speaker Detection"]

    loaded_from(root, [speakerbench_row(9, answer="Z")])
    with pytest.raises(ValueError, match="1 rows cannot be used, none is left"):
        load_samples("av-speakerbench", root=root)


def test_selections_are_flows_tasks_however_they_are_spelt(root):
    spelt = [speakerbench_row(0, task_id="speech_intensity"), speakerbench_row(1), speakerbench_row(2)]
    loaded_from(root, spelt)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        knockout = load_samples("av-speakerbench", root=root, selection="knockout")
        cross = load_samples("av-speakerbench", root=root, selection="cross-task")
    assert {(s.task, s.category) for s in knockout} == {
        ("speech_intensity", "Speech Attributes"),
        ("Speaker Detection", "Speaker Detection"),
    }
    assert [s.task for s in cross] == ["Visual Counting"]
    with pytest.raises(ValueError, match="no selection 'knock'; allowed: knockout, cross-task, or None"):
        load_samples("av-speakerbench", root=root, selection="knock")


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
CELLS = st.one_of(
    TEXTS, st.sampled_from(["", "A", "d", "nan", "['A. a', 'B. b', 'C. c', 'D. d']", "audiovisual", ".."])
)
GOOD = [speakerbench_row(k) for k in range(10)]
ROW = st.builds(
    lambda k, change: speakerbench_row(k) | change,
    st.integers(0, 9),
    st.one_of(st.just({}), st.dictionaries(st.sampled_from(sorted(speakerbench_row())), CELLS, max_size=3)),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROW, min_size=1, max_size=12), st.sampled_from(["csv", "tsv"]))
def test_no_row_is_dropped_or_counted_twice(root, rows, suffix):
    for path in root.glob("test.*"):
        path.unlink()
    write_table(root / f"test.{suffix}", rows)
    loaded = load(root)
    assert len(loaded.samples) + len(loaded.problems) == len(rows)
    ids = [sample.id for sample in loaded.samples]
    assert len(set(ids)) == len(ids)
    assert len({(problem.id, problem.where) for problem in loaded.problems}) == len(loaded.problems)
    assert all(problem.reason for problem in loaded.problems)
    often = Counter(row["question_id"].strip() for row in rows)
    good = [row["question_id"] for row in rows if row in GOOD and often[row["question_id"]] == 1]
    assert {f"av-speakerbench/{k}" for k in good} <= set(ids)
