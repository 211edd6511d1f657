"""The authors' released item lists: tables, samples with their own options, sets of labels, and captions."""

from __future__ import annotations

import pandas as pd
import pytest
from clip_sets import (
    STEMS,
    TWENTY,
    chat,
    choices,
    frames_of,
    released,
    step1_item,
    step2_item,
    vggsound_test,
    write_bare,
    write_clips,
    write_json,
)
from released_clone import PEOPLE, SPORTS, clone

from avsink.datasets import hubs, load
from avsink.datasets.files.tables import TableError
from avsink.papers.hubs import released as readers
from avsink.papers.hubs.measure import COLUMNS, read_manifest
from avsink.papers.hubs.released_items import captions, cases, items, manifest, samples


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = released(tmp_path_factory.mktemp("hubs"))
    write_clips(folder / "clips", STEMS)
    return folder


def test_items_of_both_steps(root):
    table = items(root / "json_files/causal_tracing").table
    assert table.groupby("list").size().to_dict() == {"people_case_2": 3, "sports": 5, "sports_case_1": 5}
    assert set(table.loc[table["list"] != "people_case_2", "case"]) == {"sports"}
    people = table[table["list"] == "people_case_2"].iloc[1]
    assert (people["sample"], people["clip"]) == (f"hubs/people/{STEMS[1]}", STEMS[1]) and people["media"] == tuple(
        frames_of(STEMS[1])
    )
    assert people["options"] == tuple(choices(1).values()) and people["options"][10] == people["label_name"]
    assert (people["predicted_av"], people["predicted_v"], people["predicted_a"]) == ("K", "R", "K")
    sports = table[table["list"] == "sports"].iloc[0]
    assert sports["media"].endswith(f"{STEMS[0]}.mp4") and sports["o_clean"] == "K" and pd.isna(sports["predicted_av"])
    assert sports[["p_clean_clean", "p_clean_corrupt", "p_corrupted_clean", "p_corrupted_corrupt"]].tolist() == [
        0.9, 0.05, 0.2, 0.6,
    ]  # fmt: skip


def test_items_are_dominated_by_the_letters_that_their_predictions_begin_with(tmp_path):
    """The authors compared letters, and released texts."""
    texts = [
        ("C.", "R", "C"),
        ("C\n\n\nHuman: In the image", "I", "C\nHuman: What"),
        ("C. people whistling", "T", "C."),
    ]
    lists = {
        "people_case_2": texts,
        "sports_case_1": [(av, a, v) for av, v, a in texts],
        "animal": [("C.", "C", "C\n")],
    }
    for name, said in lists.items():
        chats = [step1_item(k, av=av, v=v, a=a) for k, (av, v, a) in enumerate(said)]
        write_json(tmp_path / f"{name}.json", chats)
    table = items(tmp_path).table
    assert table.groupby("list")["dominance"].unique().map(list).to_dict() == {
        "people_case_2": ["audio"],
        "sports_case_1": ["video"],
        "animal": ["both"],
    }


def test_one_id_joins_items_results_effects_histories_and_samples(tmp_path):
    clone(tmp_path)
    write_clips(tmp_path / "clips", STEMS)
    ids = {f"hubs/people/{stem}" for stem in PEOPLE} | {f"hubs/sports/{stem}" for stem in SPORTS}
    for read in (readers.histories, readers.results, readers.effects):
        assert set(read(tmp_path).table["sample"]) == ids
    lists = tmp_path / "json_files/causal_tracing"
    assert set(items(lists).table["sample"]) == ids
    assert {sample.id for sample in hubs.load(tmp_path).samples} == ids


def test_a_manifest_follows_from_the_lists(tmp_path):
    clone(tmp_path)
    write_clips(tmp_path / "clips", STEMS)
    lists, path = tmp_path / "json_files/causal_tracing/step1", tmp_path / "manifest.csv"
    table = manifest(lists, write=path)
    pd.testing.assert_frame_equal(read_manifest(path), table.astype(str))
    assert list(table.columns) == list(COLUMNS) and table.groupby("dominance").size().to_dict() == {
        "audio": 2,
        "video": 2,
    }
    by_id = {sample.id: sample for sample in hubs.load(tmp_path).samples}
    for row in table.itertuples():
        sample = by_id[row.sample]
        assert sample.answer == row.answer and sample.truth["predicted_av"] == row.predicted_av == "K"
    write_json(
        lists / "sports_case_1_small.json",
        [step1_item(2, choices=choices(1), label_name=choices(1)["K"], v="K", a="R")],
    )
    with pytest.raises(TableError, match="sports_case_1, sports_case_1_small contradict each other about hubs/sports"):
        manifest(lists)
    agreed = write_json(tmp_path / "people.json", [step1_item(0, v="K")])  # all three agree
    assert manifest(agreed).empty


def test_items_become_samples_with_their_own_options(root):
    loaded = samples(root / "json_files/causal_tracing/step1/sports_case_1.json", root / "clips")
    assert [sample.id for sample in loaded.samples] == [f"hubs/sports/{stem}" for stem in STEMS]
    for k, sample in enumerate(loaded.samples):
        assert sample.options == tuple(choices(k).values()) and sample.answer == "K"
        assert sample.media[0].path.stem == STEMS[k] and sample.truth["predicted_av"] == "K"
    frames = samples(root / "json_files/causal_tracing/step1/people_case_2.json", root / "clips")
    assert [sample.media[0].path.name for sample in frames.samples] == [f"{stem}.mp4" for stem in STEMS[:3]]


def test_their_sets_of_labels_serve_our_items(root, tmp_path):
    """`cases` writes what the VGGSound loader takes: its questions then offer the study's 20 labels."""
    vggsound_test(tmp_path)
    write_bare(tmp_path / "test.csv", [[f"{STEMS[0]}.mp4", TWENTY[3]]])
    sets = cases(root / "json_files/causal_tracing/step1", write=tmp_path / "cases.json")
    assert sets == {name: tuple(sorted(TWENTY)) for name in ("people_case_2", "sports_case_1")}
    (sample,) = load("vggsound", tmp_path).samples
    assert set(sample.options) == set(TWENTY) and sample.category == "people_case_2"
    assert sample.options[ord(sample.answer) - 65] == TWENTY[3]
    other = dict(zip(choices(1), [*list(choices(1).values())[:19], "another"], strict=True))
    path = write_json(tmp_path / "two.json", [step1_item(0), step1_item(1, choices=other, label_name=other["K"])])
    with pytest.raises(TableError, match="the items of two have different labels"):
        cases(path)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (step1_item(1, label="Z"), "its choice Z is None"),
        (step1_item(1, label_name="another"), "its choice K is '.*', but its label_name is 'another'"),
        (step1_item(1, choices={"A": "x"}), "its choices do not have the letters A to T"),
        (
            step1_item(1, choices=dict.fromkeys(choices(0), "same"), label_name="same"),
            "two of its choices are the same",
        ),
        (step1_item(1, av=None), "its av is None; a text is expected"),
        (step1_item(1, av="It is K"), "its av is 'It is K'; a letter from A to T is expected first"),
        (step2_item(1, corrupt_pred=""), "its corrupt_pred is ''"),
        (chat(None, **{"choices": choices(1)}), "its video is None"),
        ([{"role": "system", "content": []}], "it is not a chat with a user's turn"),
        (7, "it is not a chat with a user's turn"),
        (step1_item(0), "there is another row of this clip at list.json, item 1"),
    ],
)
def test_a_bad_item_is_a_problem_and_the_others_stay(tmp_path, item, reason):
    found = items(write_json(tmp_path / "list.json", [step1_item(0), item, step1_item(2)]))
    (problem,) = found.problems
    assert found.table["clip"].tolist() == [STEMS[0], STEMS[2]] and problem.where == "list.json, item 2"
    with pytest.raises(ValueError, match=reason):
        raise ValueError(problem.reason)


def test_captions_leave_out_the_header_that_got_in(root):
    loaded = captions(root / "json_files/asd/vggsound_animal.json", root / "clips")
    assert [sample.truth["objects"] for sample in loaded.samples] == [["alligator/crocodile"], ["mouse (animal)"]]
    assert [sample.truth["synonyms"] for sample in loaded.samples] == [["alligator", "crocodile"], ["mouse"]]
    assert [sample.task for sample in loaded.samples] == ["caption"] * 2
    (problem,) = loaded.problems
    assert "it is the header of a table, not a clip" in problem.reason and "item 3" in problem.where


def test_lists_of_another_kind(root, tmp_path):
    found = items(root / "json_files/asd")
    assert len(found.table) == 0 and "has no row with choices: it is another kind of file" in found.problems[0].reason
    with pytest.raises(TableError, match="x.json is not a list of chats"):
        samples(write_json(tmp_path / "x.json", {}), tmp_path)
