"""Templates of prompts: the words of every dataset, those of a user, and what is wrong with a template."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from clip_sets import LABELS, vggsound_test
from published import (
    odyssey_bench,
    speakerbench_csv,
    speakerbench_row,
    worldsense_json,
)

from avsink import Text, load_samples
from avsink.datasets import DATASETS, load, prompts
from avsink.datasets.prompts import FORMS, PromptError, template
from avsink.models.families.qwen25_omni import Qwen25Omni
from avsink.results import fingerprints, over_samples
from avsink.results.store import ResultStore
from avsink.sample import Prompt
from avsink.toyworld import prompts as toy

SELECT = (
    "Select the best answer to the following multiple-choice question based on the video. Respond with only the letter "
    "(A, B, C, or D) of the correct option."
)
CAREFULLY = (
    "Carefully watch this video and pay attention to every detail. Based on your observations, select the best option "
    "that accurately addresses the question."
)
FRAMES = f"\nThese are the frames of a video and the corresponding audio. {SELECT}\n"


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, Path]:
    """A small copy of each dataset."""
    folder = tmp_path_factory.mktemp("datasets")
    made = {name: folder / name for name in ("av-speakerbench", "worldsense", "av-odyssey", "vggsound")}
    speakerbench_csv(made["av-speakerbench"])
    worldsense_json(made["worldsense"])
    odyssey_bench(made["av-odyssey"])
    vggsound_test(made["vggsound"])
    return made


@pytest.fixture
def write(tmp_path):
    """Write a template: what it says beside an ordinary one of AV-SpeakerBench; None leaves a key out."""

    def written(name: str = "mine.json", **said) -> Path:
        whole = {"dataset": "av-speakerbench", "turn": "{media}{question}\n{options}\nAnswer:"} | said
        path = tmp_path / name
        path.write_text(json.dumps({key: value for key, value in whole.items() if value is not None}))
        return path

    return written


class Marks:
    """Stands for a processor: what is written around media."""

    vision_bos_token = audio_bos_token = "<"
    vision_eos_token = audio_eos_token = ">"
    video_token, image_token, audio_token = "video", "image", "audio"


def turn(sample) -> str:
    """The user's turn as the model's adapter writes it."""
    pieces = Qwen25Omni().prompt(sample, system="system", processor=Marks)
    return "".join(piece.text for piece in pieces[1:-1])


def lines(options) -> list[str]:
    return [f"{letter}. {text}" for letter, text in zip("ABCDEFGHIJKLMNOPQRST", options, strict=False)]


def test_the_defaults_are_the_prompts_that_the_loaders_had_in_their_code(roots):
    """To the letter, as they were before there were templates."""
    question = speakerbench_row(0)["question"]
    options = "\n".join(lines(["the man", "the woman's friend", "both", "neither"]))
    assert turn(load("av-speakerbench", roots["av-speakerbench"]).samples[0]) == (
        "<video>Choose the best answer to this question about the video. Reply with its letter only (A, B, C or D).\n"
        f"{question}\n{options}\nThe best answer is:"
    )
    questions = load("worldsense", roots["worldsense"]).samples
    assert {len(sample.options) for sample in questions} == {3, 4}
    for sample in questions:
        asked = sample.parts[1].text.partition("Question: ")[2]
        letters = {3: "A, B or C", 4: "A, B, C or D"}[len(sample.options)]
        assert asked and turn(sample) == (
            "<video>These are the frames of a video and its sound. Watch and listen closely, and choose the best "
            f"answer to the question. Reply with its letter only ({letters}).\nQuestion: {asked}\n"
            + "\n".join(lines(sample.options))
            + "\nAnswer:"
        )
    for sample in load("av-odyssey", roots["av-odyssey"]).samples:
        assert turn(sample).endswith("\nAnswer with the letter of the right option.")
        assert not [part for part in sample.parts if isinstance(part, Text) and "right option" in part.text]


def test_real_clips_are_not_asked_the_toy_worlds_question(roots):
    ours = turn(load("vggsound", roots["vggsound"]).samples[0])
    assert toy.sounding_object() not in ours and toy.SUFFIX not in ours
    assert ours.count("\n\n") == 2 and ours.endswith("(A to T)."), "task, options and demand stand apart"
    words = template("", "audioset").words("caption", media=[])
    assert words["parts"][-1].text.endswith("Describe what you see and hear in a single sentence.")


def test_the_toy_world_keeps_its_own_words():
    samples = load("toyworld").samples
    said = {part.text.strip() for sample in samples for part in sample.parts if isinstance(part, Text)}
    assert {toy.sounding_object(), toy.CAPTION_REQUEST, toy.matching("audio")} <= said
    assert {sample.prompt for sample in samples} == {Prompt()}
    with pytest.raises(PromptError, match="toyworld cannot be asked in other words"):
        load_samples("toyworld", prompt="vggsound")


def test_every_template_here_can_be_used_and_says_where_it_is_from():
    found = {name for dataset in FORMS for name in prompts.names(dataset)}
    assert found == {path.stem for path in (Path(__file__).parents[2] / "data/prompts").glob("*.json")}
    for dataset in FORMS:
        assert all(template(name, dataset).source for name in prompts.names(dataset))
    assert set(FORMS) <= set(DATASETS)


def test_a_user_gives_option_line_and_system_text(roots, write, model):
    path = write(
        turn="{media}\n{question}\n\n{options}\n\nOne of {letters}; {first} or {last}?",
        option="{letter} = {option};",
        system="You are a careful listener.",
    )
    (sample, *_) = load_samples("av-speakerbench", root=roots["av-speakerbench"], prompt=path)
    assert "\n\nA = the man;\nB = the woman's friend;\nC = both;\nD = neither;\n\nOne of A, B, C or D; A or D?" in turn(
        sample
    )
    inputs = model.prepare(sample)
    assert "<|im_start|>system\nYou are a careful listener.<|im_end|>" in inputs.prompt
    ids = inputs.tensors["input_ids"][0]
    assert [model.tokenizer.decode(ids[place]) for place in inputs.layout.option_letters] == ["A", "B", "C", "D"]
    assert model.tokenizer.decode(ids[inputs.layout.true_line]).startswith(f"{sample.answer} = ")


def test_an_option_line_may_begin_before_its_letter(roots, write, model):
    path = write(option="({letter}) {option}")
    sample = load("av-speakerbench", roots["av-speakerbench"], prompt=path).samples[0]
    assert "\n(A) the man\n(B) the woman's friend\n" in turn(sample)
    layout = model.prepare(sample).layout
    assert [int(line[0]) < letter for line, letter in zip(layout.options, layout.option_letters, strict=True)] == [
        True
    ] * 4


def test_a_task_may_have_words_of_its_own(roots, write):
    own = {"turn": "{media}How many? {question}\n{options}"}
    path = write(tasks={"visual counting": own})
    asked = {
        sample.task: turn(sample) for sample in load("av-speakerbench", roots["av-speakerbench"], prompt=path).samples
    }
    assert asked["Visual Counting"].startswith("<video>How many? ") and asked["Visual Counting"].endswith("D. neither")
    assert all(text.endswith("Answer:") for task, text in asked.items() if task != "Visual Counting")
    with pytest.raises(
        PromptError, match="words for the task 'Audio Counting', which the dataset does not have; allowed"
    ):
        load("av-speakerbench", roots["av-speakerbench"], prompt=write(tasks={"Audio Counting": own}))


def test_words_around_an_interleaved_question_are_no_segment_of_it(roots, write, model):
    said = "Look at all the pictures and listen to all the sounds of this puzzle with the greatest care. "
    path = write(dataset="av-odyssey", turn=said + "{question} Well?\n{options}\nOne letter:")
    plain = load("av-odyssey", roots["av-odyssey"]).samples
    other = load("av-odyssey", roots["av-odyssey"], prompt=path).samples
    matched = [(one, two) for one, two in zip(plain, other, strict=True) if one.kind == "interleaved"]
    assert matched and len(matched) < len(plain)
    for one, two in zip(plain, other, strict=True):
        assert turn(two).startswith(said) and " Well?\nA. " in turn(two)
        assert (two.truth, two.media, two.category) == (one.truth, one.media, one.category)
    one, two = matched[0]
    assert two.parts[0] == Text(text=said, role="label") and two.parts[1:-1] == one.parts
    before, after = model.prepare(one), model.prepare(two)
    assert after.layout.structure == before.layout.structure == tuple(one.truth["structure"])

    def asked(inputs):
        return model.tokenizer.decode(inputs.tensors["input_ids"][0][inputs.layout.question])

    assert asked(after) == asked(before)


WRONG = {
    "no file": ("no.json", "there is no prompt 'no.json'; allowed: the names av-speakerbench"),
    "of another dataset": ("worldsense", "is a template of worldsense, not of av-speakerbench; .* Templates of av-sp"),
    "no object": ([1], "is no object"),
    "unknown dataset": ({"dataset": "speakerbench"}, "its `dataset` is 'speakerbench'; allowed: av-sp"),
    "dataset that is none": ({"dataset": [["av"]]}, r"its `dataset` is \['av'\]; allowed"),
    "no turn": ({"turn": None}, "has no `turn`, which every template needs"),
    "mistyped key": ({"sytem": "You listen."}, "there is no key 'sytem'. Did you mean system"),
    "empty": ({"turn": " "}, "its `turn` is empty; write it, or leave the key out"),
    "wrong type": ({"turn": ["{media}"]}, r"its `turn` is \['{media}'\]; text is expected"),
    "unknown placeholder": ({"turn": "{media}{qestion}\n{options}"}, "{qestion}, which is unknown; allowed: {media}"),
    "no place for media": ({"turn": "{question}\n{options}"}, "has no {media}, the place for the media; write it once"),
    "two places": ({"turn": "{media}{media}{question}\n{options}"}, "has 2 times {media}, the place"),
    "no question": ({"turn": "{media}Well?\n{options}"}, "has no {question}, the question"),
    "no options": ({"turn": "{media}{question}"}, "has no {options}, the place for the options"),
    "one medium alone": ({"turn": "{audio}{video}{question}\n{options}"}, "{audio}, but .* one video with its"),
    "media last": ({"turn": "{question}\n{options}\n{media}"}, "{media} after {options}; options come after"),
    "options in a line": ({"turn": "{media}{question} {options}\nWhich?"}, r"{options} needs lines of its own"),
    "words after options": ({"turn": "{media}{question}\n{options} Which?"}, r"{options} needs lines of its own"),
    "option without letter": ({"option": "- {option}"}, "its `option` is '- {option}'; one line with {letter}, then"),
    "option turned round": ({"option": "{option} ({letter})"}, "its `option` is .*; one line with {letter}, then"),
    "option of two lines": ({"option": "{letter}\n{option}"}, "its `option` is .*; one line with"),
    "control token": ({"turn": "{media}<|im_end|>{question}\n{options}"}, "its `turn` has '<|', which begins control"),
    "system with a placeholder": ({"system": "Say {letters}."}, "its `system` has {letters}, but nothing is filled in"),
    "placeholder with spaces": ({"turn": "{media}{ question }\n{question}\n{options}"}, "{ question }, which is"),
    "half a space": ({"turn": "{media}{question }\n{options}"}, "no spaces: {question}"),
    "option with spaces": ({"option": "{letter} {option}, { letter}"}, "its `option` has { letter}, which is unknown"),
    "system with spaces": ({"system": "Say { letters }."}, "its `system` has { letters }, which is unknown"),
    "NUL": ({"turn": "{media}\x00{question}\n{options}"}, r"its `turn` has the control character '\\x00'; take it out"),
    "escape": ({"system": "\x1b[0mListen."}, r"its `system` has the control character '\\x1b'"),
    "old line break": ({"turn": "{media}{question}\r{options}"}, r"its `turn` has the control character '\\r'"),
    "task that is none": ({"tasks": {"Visual Counting": "Count!"}}, "task 'Visual Counting': it is 'Count!'; an"),
    "task with a source": ({"tasks": {"A": {"source": "x"}}}, "task 'A': there is no key 'source'"),
    "task without media": ({"tasks": {"A": {"turn": "{question}\n{options}"}}}, "task 'A': its `turn` has no {media}"),
}  # fmt: skip


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_wrong_with_a_template_is_said(tmp_path, write, fault):
    said, message = WRONG[fault]
    given = write(**said) if isinstance(said, dict) else said
    if isinstance(said, list):
        (given := tmp_path / "list.json").write_text(json.dumps(said))
    with pytest.raises(PromptError, match=message.replace("|", r"\|").replace("{", r"\{").replace("}", r"\}")):
        load("av-speakerbench", tmp_path, prompt=given)


def test_a_dataset_has_only_what_it_publishes(write):
    for dataset, turn_, message in (
        ("av-odyssey", "{media}{question}\n{options}", "its question and options have a placeholder for each medium"),
        ("vggsound", "{media}{question}\n{options}", "this dataset has none: write the question itself"),
        ("audioset", "{media}Say it.\n{options}", r"\{options\}, which is unknown; allowed: \{media\}"),
    ):
        with pytest.raises(PromptError, match=message):
            template(write(dataset=dataset, turn=turn_), dataset)
    with pytest.raises(PromptError, match="it has an `option`, but this dataset has no options"):
        template(write(dataset="audioset", turn="{media}Say it.", option="{letter}. {option}"), "audioset")


@pytest.mark.parametrize("text", ['{"dataset": "av-speakerbench", "turn": }', "", '{"a": 1, "a": 2}', '"\\ud800"'])
def test_a_file_that_is_no_template_is_named(tmp_path, text):
    (path := tmp_path / "mine.json").write_text(text)
    with pytest.raises(PromptError, match="mine.json"):
        template(path, "av-speakerbench")


@pytest.mark.parametrize("text", ['{"dataset": "av-speakerbench", "turn": }', "{", ""])
def test_a_users_own_file_is_to_be_corrected_and_not_fetched(tmp_path, text):
    (path := tmp_path / "mine.json").write_text(text)
    with pytest.raises(PromptError) as said:
        template(path, "av-speakerbench")
    assert "fetch" not in str(said.value) and "correct it" in str(said.value)


def test_line_breaks_of_windows_are_line_breaks(write):
    turn_, own = "{media}Q:\n{question}\n{options}\nA:", "{media}{question}\n{options}\nHow many?"
    windows = write(turn=turn_.replace("\n", "\r\n"), tasks={"Visual Counting": {"turn": own.replace("\n", "\r\n")}})
    plain = write("plain.json", turn=turn_, tasks={"Visual Counting": {"turn": own}})
    for task in ("Speaker Detection", "Visual Counting"):
        made, expected = (
            template(path, "av-speakerbench").words(task, question="Who?", options=("a", "b"))
            for path in (windows, plain)
        )
        assert made["parts"] == expected["parts"] and made["suffix"] == expected["suffix"]


def test_braces_and_letters_of_a_question_are_text(write):
    words = template(write(turn="{media}Fill in { }, {question}\n{options}\n{last}!"), "av-speakerbench").words(
        "task", question="what is {last} or {media}?", options=("a", "b")
    )
    assert words["parts"] == (Text(text="Fill in { }, what is {last} or {media}?"),) and words["suffix"] == "B!"


@pytest.mark.parametrize("value", [None, 3, ["worldsense"]])
def test_a_prompt_that_is_no_name_is_refused(value):
    with pytest.raises(ValueError, match="prompt is .*; allowed: the name of a template, a JSON file"):
        load_samples("worldsense", prompt=value)


def test_results_depend_on_the_words_and_not_on_a_templates_name(roots, write):
    def key(**said) -> str:
        (sample, *_) = load("av-speakerbench", roots["av-speakerbench"], prompt=write(**said)).samples
        return fingerprints.sample(sample)

    plain = key()
    assert key(name="other.json", source="elsewhere") == plain
    others = [
        key(turn="{media} {question}\n{options}\nAnswer:"),
        key(turn="{media}{question}\n{options}\nAnswer: "),
        key(option="{letter}) {option}"),
        key(system="You listen."),
    ]
    assert len({plain, *others}) == 5


def test_a_measurement_records_its_templates(roots, tmp_path, write):
    import hashlib

    path = write()
    samples = load("av-speakerbench", roots["av-speakerbench"], prompt=path).samples[:2]
    samples += load("vggsound", roots["vggsound"]).samples[:1]
    samples += (replace(samples[0], id="by hand", prompt=Prompt()),)
    store = ResultStore("test", model="none", identity={}, root=tmp_path / "results")
    over_samples.measure_into(store, samples, lambda sample: pd.DataFrame({"sample": [sample.id]}))
    (record,) = (store.folder / "records").iterdir()
    digests = [
        hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        for file in (path, Path(__file__).parents[2] / "data/prompts/vggsound.json")
    ]
    assert json.loads(record.read_text())["prompts"] == [
        {"template": "mine", "digest": digests[0], "samples": 2},
        {"template": "vggsound", "digest": digests[1], "samples": 1},
    ]


def test_labels_are_shown_as_options_of_a_template(roots):
    sample = load("vggsound", roots["vggsound"]).samples[0]
    assert set(sample.options) <= set(LABELS) and "\n\nA. " in turn(sample)
