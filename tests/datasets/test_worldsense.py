"""WorldSense: three published forms, three or four options, and durations that are read from the files."""

from __future__ import annotations

import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from published import (
    worldsense_json,
    worldsense_media,
    worldsense_parquet,
    worldsense_question,
    worldsense_tsv,
    worldsense_video,
    write_table,
)

from avsink.datasets import load_samples, selections
from avsink.datasets.files.sources import MissingData
from avsink.datasets.files.tables import TableError
from avsink.datasets.worldsense import load


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The media alone; each test writes its table."""
    return worldsense_media(tmp_path_factory.mktemp("worldsense"))


def record(k: int = 0, **changes) -> dict:
    return {"video_id": f"dvOk{k}"} | worldsense_video(k) | changes


def loaded_from(root, records: list[tuple[str, object]]):
    """Load from pairs, because a file may repeat a key."""
    text = ",".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in records)
    (root / "worldsense_qa.json").write_text("{" + text + "}", encoding="utf-8")
    return load(root)


def test_the_original_gives_every_task_of_every_video(tmp_path):
    ids = worldsense_json(tmp_path)
    loaded = load(tmp_path)
    assert not loaded.problems
    assert [sample.id for sample in loaded.samples] == [f"worldsense/{video}/{name}" for video, name in ids]
    first = loaded.samples[0]
    clip, text = first.parts
    assert clip.path == tmp_path / "videos/dvOk0.mp4" and (clip.kind, clip.sound) == ("video", True)
    assert (
        text.text.endswith("(A, B, C or D).\nQuestion: How often does the bell ring, 0?") and first.suffix == "Answer:"
    )
    assert (first.task, first.category, first.answer) == ("Audio Counting", "Audio Counting", "A")
    assert first.truth == {
        "duration": "<1min",
        "sub_category": "Household",
        "audio_class": ["Speech", "Event"],
        "video_domain": "Daily Life",
        "domain": "Recognition",
        "video": "dvOk0",
    }


@pytest.mark.parametrize("make", [worldsense_parquet, worldsense_tsv])
def test_the_forms_with_a_row_a_question(tmp_path, make):
    rows = make(tmp_path)
    loaded = load(tmp_path)
    assert not loaded.problems and [s.id for s in loaded.samples] == [f"worldsense/{k}" for k in range(len(rows))]
    for sample, row in zip(loaded.samples, rows, strict=True):
        assert sample.parts[1].text.endswith(row["question"]) and sample.answer == row["answer"]
        assert sample.task == sample.category == row["task_type"]
        assert (sample.truth["domain"], sample.truth["video_domain"]) == (row["task_domain"], row["domain"])
        assert sample.media[0].path == tmp_path / "videos" / f"{row['video']}.mp4"
        assert sample.truth["audio_class"] == ["Speech", "Event"]


def test_three_options_or_four(tmp_path):
    worldsense_parquet(tmp_path)
    samples = load(tmp_path).samples
    assert [len(sample.options) for sample in samples] == [4, 4, 3, 4, 4, 3]
    assert samples[2].options == ("2", "3", "4") and samples[2].letters == ("A", "B", "C")
    asked = {3: "Reply with its letter only (A, B or C).", 4: "Reply with its letter only (A, B, C or D)."}
    assert all(asked[len(sample.options)] in sample.parts[1].text for sample in samples)


def test_the_original_comes_before_copies_of_it(tmp_path):
    worldsense_tsv(tmp_path)
    worldsense_json(tmp_path)
    assert [path.name for path in load(tmp_path).tables] == ["worldsense_qa.json"]


def test_a_video_is_found_wherever_its_archive_was_unpacked(tmp_path):
    worldsense_tsv(tmp_path)
    shutil.move(tmp_path / "videos", tmp_path / "worldsense_videos_0" / "videos")
    assert not load(tmp_path).problems
    (tmp_path / "other").mkdir()
    shutil.copy(tmp_path / "worldsense_videos_0/videos/dvOk0.mp4", tmp_path / "other/dvOk0.mp4")
    reasons = {problem.reason for problem in load(tmp_path).problems}
    assert reasons == {f"missing file videos/dvOk0.mp4 (looked in {tmp_path})"}  # there are two of that name


BROKEN = [
    (worldsense_question(answer="D", candidates=["A. x", "B. y", "C. z"]), "a letter from A to C is expected"),
    (worldsense_question(candidates=["A. x", "B. y"]), "it has 2 options; 3 or 4 are expected"),
    (worldsense_question(candidates="A. x"), "its candidates cannot be read as a list"),
    (worldsense_question(candidates=None), "its candidates is not a list"),
    (worldsense_question(task_type=None), "it has no task_type"),
    (worldsense_question(task_domain=""), "it has no task_domain"),
    (worldsense_question(question=["?"]), "its question is not text"),
    (worldsense_question(video_id="dvOk1"), "its task1 is that of another video, dvOk1"),
    (worldsense_question(video="dvOk1"), "its task1 is that of another video, dvOk1"),
    (None, "its task1 is not an object"),
    ("?", "its task1 is not an object"),
]


@pytest.mark.parametrize(("task", "reason"), BROKEN)
def test_a_broken_question_is_a_problem_and_its_neighbours_stay(root, task, reason):
    loaded = loaded_from(
        root, [("dvOk0", record(0, task0=worldsense_question(), task1=task, task2=worldsense_question(1)))]
    )
    (problem,) = loaded.problems
    assert reason in problem.reason and problem.id == "worldsense/dvOk0/task1" and len(loaded.samples) == 2


def test_a_question_that_names_its_own_video_is_good(root):
    loaded = loaded_from(root, [("dvOk0", record(0, video="dvOk0", task0=worldsense_question(video_id="dvOk0")))])
    assert len(loaded.samples) == 1 and not loaded.problems
    loaded = loaded_from(root, [("dvOk0", record(0, video="dvOk1", task0=worldsense_question(video_id="dvOk0")))])
    assert [problem.reason for problem in loaded.problems] == ["its record is that of another video, dvOk1"]


def test_records_without_a_question_repeated_or_of_another_video_are_problems(root):
    loaded = loaded_from(
        root,
        [
            ("dvOk0", record(0, task0=worldsense_question())),
            ("dvOk1", record(1)),
            ("dvOk0", record(0, task0=worldsense_question(1))),
            ("dvOk2", record(1, task0=worldsense_question())),
            ("nowhere", record(0, video_id="nowhere", task0=worldsense_question())),
            ("dvOk4", "text"),
        ],
    )
    assert [sample.id for sample in loaded.samples] == ["worldsense/dvOk0/task0"]
    assert [(problem.id, problem.reason[:35]) for problem in loaded.problems] == [
        ("worldsense/dvOk1", "its record has no question (no key "),
        ("worldsense/dvOk0/task0", "another row with this id is at worl"),
        ("worldsense/dvOk2/task0", "its record is that of another video"),
        ("worldsense/nowhere/task0", "missing file videos/nowhere.mp4 (lo"),
        ("worldsense/dvOk4", "its record is not an object"),
    ]


def test_a_table_twice_is_all_problems(tmp_path):
    rows = worldsense_tsv(tmp_path)
    write_table(tmp_path / "WorldSense.tsv", rows + rows[:2])
    loaded = load(tmp_path)
    assert len(loaded.samples) == len(rows) and [p.id for p in loaded.problems] == ["worldsense/0", "worldsense/1"]


def test_the_selection_reads_durations_from_the_files(tmp_path):
    worldsense_json(tmp_path)
    assert {sample.truth["duration"] for sample in load(tmp_path).samples} == {"<1min"}
    samples = load_samples("worldsense", root=tmp_path, selection="knockout")
    # of videos 0 and 1; video 2 lasts 61 s. Video Emotions is for the other selection
    assert [sample.id for sample in samples] == ["worldsense/dvOk0/task0", "worldsense/dvOk1/task1"]
    assert {sample.task for sample in samples} == {"Audio Counting", "Emotion Change"}
    (other,) = load_samples("worldsense", root=tmp_path, selection="cross-dataset")
    assert (other.id, other.task) == ("worldsense/dvOk1/task0", "Video Emotions")
    for k in (0, 1):
        shutil.copy(tmp_path / "videos/dvOk2.mp4", tmp_path / f"videos/dvOk{k}.mp4")
    with pytest.raises(ValueError, match="0 rows cannot be used, none is left"):
        load_samples("worldsense", root=tmp_path, selection="knockout")


def test_a_video_without_a_duration_becomes_a_problem(tmp_path):
    worldsense_json(tmp_path)
    (tmp_path / "videos/dvOk0.mp4").write_bytes(b"no video")
    loaded = selections.select(load(tmp_path), "knockout")
    assert [problem.id for problem in loaded.problems] == ["worldsense/dvOk0/task0"]
    assert "cannot be decoded" in loaded.problems[0].reason


def test_a_folder_without_worldsense_is_refused(tmp_path):
    with pytest.raises(MissingData, match="no WorldSense in .*: there is no worldsense_qa.json"):
        load(tmp_path)
    (tmp_path / "worldsense_qa.json").write_text("[]")
    with pytest.raises(TableError, match="not an object with one record per video"):
        load(tmp_path)


JUNK = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.text(max_size=5), max_size=5),
    st.booleans(),
)
QUESTION = st.builds(
    lambda k, change: worldsense_question(k) | change,
    st.integers(0, 5),
    st.one_of(st.just({}), st.dictionaries(st.sampled_from([*worldsense_question(), "video", "id"]), JUNK, max_size=2)),
)
TASKS = st.dictionaries(st.sampled_from([f"task{k}" for k in range(5)]), st.one_of(QUESTION, JUNK), max_size=5)
RECORDS = st.lists(st.tuples(st.sampled_from(["dvOk0", "dvOk1", "dvOk2", "x", "../x", ""]), TASKS), max_size=8)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RECORDS, st.booleans())
def test_no_question_is_dropped_or_counted_twice(root, records, named):
    full = [(video, (record(0, video_id=video) if named else worldsense_video(0)) | tasks) for video, tasks in records]
    loaded = loaded_from(root, full)
    assert len(loaded.samples) + len(loaded.problems) == sum(max(1, len(tasks)) for _, tasks in records)
    ids = [sample.id for sample in loaded.samples]
    assert len(set(ids)) == len(ids)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["0", "1", "2", "7", ""]), QUESTION), min_size=1, max_size=8))
def test_no_row_of_the_tsv_is_dropped_or_counted_twice(tmp_path_factory, root, rows):
    folder = tmp_path_factory.mktemp("tsv")
    (folder / "videos").symlink_to(root / "videos")
    table = [{"index": k, "video": "dvOk0"} | {name: str(value) for name, value in row.items()} for k, row in rows]
    write_table(folder / "WorldSense.tsv", table)
    loaded = load(folder)
    assert len(loaded.samples) + len(loaded.problems) == len(rows)
    assert len({sample.id for sample in loaded.samples}) == len(loaded.samples)
