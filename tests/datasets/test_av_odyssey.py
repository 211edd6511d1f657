"""AV-Odyssey: media from parquet parts or files, placed where the placeholders are in the text."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from published import FOUR, MOODS, ODYSSEY, ORDINALS, odyssey_bench, odyssey_media, odyssey_paths, speakerbench_csv

import avsink
from avsink.datasets import av_speakerbench, load_samples
from avsink.datasets.av_odyssey import TASKS, load
from avsink.datasets.files.sources import MissingData
from avsink.datasets.files.tables import TableError
from avsink.media import read_audio, read_image
from avsink.results import fingerprints
from avsink.sample import Media, Text
from avsink.toyworld.jobs import MATCHES

C, Q, R = "candidates", "question", "reference"
LETTERS = "ABCD"
EXPECTED = {
    # id: task, category, structure, the candidate that the right option names
    "1_0": ("Instrument Recognition", MATCHES[0], (C, Q, R), 1),
    "1_1": ("Instrument Recognition", MATCHES[0], (Q, R, C), 2),
    "7_0": ("Material Recognition", MATCHES[0], (R, C, Q), 0),
    "9_0": ("Hazard Recognition", MATCHES[0], (R, Q, C), 3),
    "5_0": ("Animal Recognition", MATCHES[1], (C, Q, R), 2),
    "16_0": ("Dance and Music Matching", MATCHES[1], (Q, R, C), 2),
    "12_0": ("Speech Sentiment Analysis", "Tone", (), None),
    "22_0": ("Audio-Visual Synchronization", "Time", (), None),
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    root = tmp_path_factory.mktemp("odyssey") / "bench"
    odyssey_bench(root)
    return root


@pytest.fixture(scope="module")
def media_root(tmp_path_factory):
    """The media of the form with paths; each test writes its table."""
    root = tmp_path_factory.mktemp("odyssey-paths")
    odyssey_media(root / "media")
    return root


def row(**changes) -> dict:
    """A matching question in the form with paths, every cell a text or a list of texts."""
    images, sounds = [f"media/2_26_{k}.png" for k in range(4)], ["media/31_6_0.wav"]
    return {
        "question_id": "q",
        "question_type_id": "1",
        "data_type": "image",
        "subfield": "Timbre",
        "question": f"Which of {FOUR['image']} fits [audio1]?",
        "options": str(ORDINALS),
        "answer": "A",
        "image_path": images,
        "audio_path": sounds,
        "video_path": None,
    } | changes


def loaded_from(root, rows):
    columns = dict.fromkeys(name for one in rows for name in one)
    lists, text = pyarrow.list_(pyarrow.string()), pyarrow.string()
    schema = pyarrow.schema([(name, lists if name.endswith("_path") else text) for name in columns])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), root / "av_odyssey.parquet")
    return load(root)


def checked(loaded, *, typed=True):
    assert not loaded.problems and not loaded.lacking
    assert {sample.id.removeprefix("av-odyssey/") for sample in loaded.samples} == set(EXPECTED)
    subfield = {entry[0]: entry[3] for entry in ODYSSEY}
    for sample in loaded.samples:
        id = sample.id.removeprefix("av-odyssey/")
        task, category, structure, correct = EXPECTED[id]
        assert sample.task == (task if typed else subfield[id])
        assert (sample.category, tuple(sample.truth["structure"])) == (category, structure)
        assert sample.truth["correct_candidate"] == correct and sample.truth["unused"] == []
        assert len(sample.options) == 4 and sample.suffix == "Answer with the letter of the right option."
        roles = [medium.role for medium in sample.media]
        assert sorted(set(roles)) == (["candidate", "reference"] if structure else ["clip"])


@pytest.mark.parametrize("raw", [False, True])
def test_parts_with_media_inside(tmp_path, raw):
    odyssey_bench(tmp_path / "bench", raw=raw)
    loaded = load(tmp_path / "bench")
    checked(loaded)
    sample = next(sample for sample in loaded.samples if sample.id.endswith("/1_0"))
    assert [round(read_image(medium.path).mean()) for medium in sample.media[:4]] == [40, 90, 140, 190]
    assert sample.media[4].kind == "audio" and len(read_audio(sample.media[4].path).waveform) == 8_000
    assert {medium.path.suffix for medium in sample.media} == {".png", ".wav"}
    # nine different files, however many rows hold them, and nothing unfinished
    assert len(list((tmp_path / "bench/unpacked/media").iterdir())) == 9


@pytest.mark.parametrize("typed", [False, True])
def test_the_form_with_paths(tmp_path, typed):
    odyssey_paths(tmp_path, typed=typed)
    checked(load(tmp_path), typed=typed)
    if not typed:
        with pytest.raises(ValueError, match="none of the tasks .* name these tasks: Timbre, Melody, Tone, Time"):
            load_samples("av-odyssey", root=tmp_path, selection="knockout")


def test_parts_and_options_are_in_the_order_of_the_text(bench):
    samples = {sample.id.removeprefix("av-odyssey/"): sample for sample in load(bench).samples}
    first = samples["1_0"]
    assert [part.role for part in first.parts] == [*("label", *["candidate"] * 4), "question", "reference", "label"]
    assert first.parts[5].text == " do you think best matches audio "
    assert first.options == ("second image", "fourth image", "third image", "first image")
    inside = samples["16_0"]
    assert [(option.kind, option.role) for option in inside.options] == [("audio", "candidate")] * 4
    assert inside.media == (inside.parts[1], *inside.options)
    video = next(medium for medium in samples["22_0"].media if medium.kind == "video")
    assert not video.sound  # its sound is a separate medium


def test_missing_and_broken_parts_are_said_and_the_others_used(tmp_path):
    odyssey_bench(tmp_path / "bench", parts=5)
    whole = (tmp_path / "bench/av_odyssey_part2.parquet").read_bytes()
    (tmp_path / "bench/av_odyssey_part2.parquet").write_bytes(whole[: len(whole) // 2])
    loaded = load(tmp_path / "bench")
    assert loaded.lacking[0] == "av_odyssey_part6.parquet is not there"
    assert "av_odyssey_part2.parquet is not a parquet file, or is cut off" in loaded.lacking[1]
    assert len(loaded.samples) == 5 and not loaded.problems
    with pytest.warns(UserWarning, match="av_odyssey_part6.parquet is not there"):
        assert len(load_samples("av-odyssey", root=tmp_path / "bench")) == 5


def test_another_table_or_none_is_refused(tmp_path):
    with pytest.raises(MissingData, match="there is no av_odyssey_part1.parquet to av_odyssey_part6.parquet, and no"):
        load(tmp_path)
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), tmp_path / "av_odyssey.parquet")
    with pytest.raises(TableError, match="has no column question_id"):
        load(tmp_path)
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), tmp_path / "av_odyssey_part1.parquet")
    with pytest.raises(MissingData, match="has no column question_id"):
        load(tmp_path)


BROKEN = [
    ({"question": "Which of [img1][img2][img5] fits [audio1]?"}, "it names image 5, which it does not have"),
    ({"question": "Which fits [audio2]?"}, "it names audio 2, which it does not have"),
    ({"question": "Which fits [text1]?"}, "it names no medium"),
    ({"question": "Which fits?"}, "it names no medium"),
    ({"image_path": ["media/2_26_0.png", None, "media/2_26_2.png", ""]}, "it names image 2, which it does not have"),
    ({"image_path": [f"media/gone{k}.png" for k in range(4)]}, "missing file media/gone0.png"),
    ({"audio_path": ["/etc/passwd"]}, "is outside the dataset's folder"),
    ({"options": str(MOODS[:3])}, "it has 3 options; 4 are expected"),
    ({"options": "['A. [audio2] is', 'B. b', 'C. c', 'D. d']"}, "it names audio 2"),
    ({"data_type": "text"}, "its data_type is 'text'"),
    ({"question_type_id": "27"}, "its question_type_id is '27'; 1 to 26 are known"),
    ({"question_type_id": None}, "its question_type_id is None"),
    ({"question_type_id": "inf"}, "its question_type_id is 'inf'"),
    ({"answer": "five"}, "its answer is 'five'"),
    ({"subfield": None}, "it has no subfield"),
]


@pytest.mark.parametrize(("change", "reason"), BROKEN)
def test_a_broken_row_is_a_problem(media_root, change, reason):
    loaded = loaded_from(media_root, [row(question_id="good"), row(**change)])
    (problem,) = loaded.problems
    assert problem.id == "av-odyssey/q" and reason in problem.reason
    assert [sample.id for sample in loaded.samples] == ["av-odyssey/good"]


def test_slots_that_are_null_are_skipped_and_unused_ones_named(media_root):
    some = ["media/2_26_0.png", None, "media/2_26_2.png", "media/2_26_3.png"]
    (sample,) = loaded_from(
        media_root,
        [
            row(
                image_path=some,
                question="Which of [img1][img3] fits [audio1]?",
                options=str(["A. image 3", *MOODS[1:]]),
            )
        ],
    ).samples
    assert [m.role for m in sample.media] == ["candidate", "candidate", "reference"]
    assert sample.truth["correct_candidate"] == 1 and sample.truth["unused"] == ["image 4"]


def test_an_option_naming_a_shown_medium_is_words_and_one_with_words_and_a_medium_a_problem(media_root):
    options = ["A. [img2]", "B. [img1] or [img3]", "C. [img4]", "D. none"]
    (sample,) = loaded_from(media_root, [row(options=str(options))]).samples
    assert sample.options == ("image 2", "image 1 or image 3", "image 4", "none")
    assert sample.truth["correct_candidate"] == 1 and len(sample.media) == 5
    loaded = loaded_from(
        media_root, [row(question="What fits [audio1]?", options=str(["A. see [img1]", "B. b", "C. c", "D. d"]))]
    )
    assert "has a medium among words" in loaded.problems[0].reason


def test_other_words_in_brackets_are_words(media_root):
    question = f"[Verse 2] Which of {FOUR['image']} fits [audio1]?"
    options = ["A. [Verse 2]", "B. the chorus [x2]", "C. [img3]", "D. [Bridge 1]"]
    (sample,) = loaded_from(media_root, [row(question=question, options=str(options), answer="C")]).samples
    assert sample.parts[0].text == "[Verse 2] Which of " and len(sample.media) == 5
    assert sample.options == ("[Verse 2]", "the chorus [x2]", "image 3", "[Bridge 1]")
    assert sample.truth["correct_candidate"] == 2


def test_a_column_of_names_wins_over_the_numbers(media_root):
    rows = [row(task_name="Owl Recognition"), row(question_id="r", task_name=None), row(question_id="s", task_name="3")]
    tasks = [sample.task for sample in loaded_from(media_root, rows).samples]
    assert tasks == ["Owl Recognition", "Instrument Recognition", "Instrument Recognition"]
    assert len(TASKS) == len(set(TASKS.values())) == 26


def test_selections_name_tasks_of_the_table():
    from avsink.datasets.selections import SELECTIONS

    selections = SELECTIONS["av-odyssey"]
    assert sum(selections["knockout"].counts.values()) == 1304
    assert {task for one in selections.values() for task in one.counts} <= set(TASKS.values())
    orders = selections["knockout"].structures
    assert {task: sum(of_task.values()) for task, of_task in orders.items()} == dict(selections["knockout"].counts)
    assert sum(of_task[C, Q, R] for of_task in orders.values()) == 1001  # table 10


def test_a_medium_in_an_option_counts_by_its_bytes(media_root):
    options = str([f"{letter}. [audio{k}]" for k, letter in enumerate(LETTERS, 1)])
    sounds = [f"media/31_6_{k}.wav" for k in range(4)]
    (sample,) = loaded_from(media_root, [row(question="What fits [img1]?", options=options, audio_path=sounds)]).samples
    before = fingerprints.sample(sample)
    moved = shutil.copy(sample.options[0].path, media_root / "moved.wav")
    same = (replace(sample.options[0], path=media_root / "moved.wav"), *sample.options[1:])
    assert fingerprints.sample(replace(sample, options=same)) == before
    moved.write_bytes(sample.options[1].path.read_bytes())
    assert fingerprints.sample(replace(sample, options=same)) != before


def test_samples_become_inputs_of_their_structure(bench, tmp_path):
    model = avsink.load("tiny-omni", device="cpu", check=False)
    config = model.hf.config
    for sample in load(bench).samples:
        inputs = model.prepare(sample)
        layout, ids = inputs.layout, inputs.tensors["input_ids"][0]
        assert layout.structure == tuple(sample.truth["structure"])
        if layout.structure:
            wanted = [m for m in sample.media if m.role == "candidate"]
            token = {"image": config.image_token_id, "audio": config.audio_token_id}[wanted[0].kind]
            assert [ids[tokens[1:-1]].unique().tolist() for tokens in layout.candidates] == [[token]] * 4
            assert all(token not in ids[tokens[[0, -1]]] for tokens in layout.candidates), "begin and end tokens"
            asked = next(part for part in sample.parts if isinstance(part, Text) and part.role == "question")
            written = model.tokenizer.encode(asked.text)
            assert ids[layout.question].tolist() == written or len(layout.question) == len(written)
            assert len(layout.reference) and layout.options[0][0] == layout.option_letters[0]
        for option, line in zip(sample.options, layout.options, strict=True):
            heard = (ids[line] == config.audio_token_id).sum()
            assert (heard > 0) == isinstance(option, Media)

    speakerbench_csv(tmp_path)
    layout = model.prepare(av_speakerbench.load(tmp_path).samples[0]).layout
    assert layout.structure == () and not layout.candidates and not len(layout.reference)
    assert len(layout.video) and len(layout.audio) and len(layout.option_letters) == 4


CELLS = st.one_of(
    st.none(),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=30),
    st.sampled_from(["A", "[img1]", "[audio1][img9]", "27", str(MOODS), "['A. [audio1]', 'B. b', 'C. c', 'D. d']"]),
)
PATHS = st.one_of(
    st.none(),
    st.lists(st.one_of(st.none(), st.sampled_from(["media/2_26_0.png", "media/31_6_0.wav", "x", "../x", ""]))),
)
CHANGES = {name: PATHS if name.endswith("_path") else CELLS for name in row()}
ROWS = st.lists(
    st.builds(
        lambda id, some, change: row(question_id=id) | {name: change[name] for name in some},
        st.sampled_from("abcdef"),
        st.lists(st.sampled_from(sorted(CHANGES)), max_size=3),
        st.fixed_dictionaries(CHANGES),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS)
def test_no_row_is_dropped_or_counted_twice(media_root, rows):
    loaded = loaded_from(media_root, rows)
    assert len(loaded.samples) + len(loaded.problems) == len(rows)
    ids = [sample.id for sample in loaded.samples]
    assert len(set(ids)) == len(ids)


def test_no_warning_without_a_problem(bench):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_samples("av-odyssey", root=bench, tasks=["Instrument Recognition"], n_samples=1)) == 1
