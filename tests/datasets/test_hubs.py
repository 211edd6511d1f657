"""The lists of Hubs' authors as a dataset: a clone, with VGGSound's clips below it or in their own folder."""

from __future__ import annotations

import pytest
from clip_sets import STEMS, TWENTY, choices, released, write_clips, write_json
from released_clone import PEOPLE, SPORTS, clone

from avsink.datasets import load, load_samples, tasks_of
from avsink.datasets.files.sources import MissingData


@pytest.fixture
def root(tmp_path):
    clone(tmp_path / "crossmodal-hub")
    return tmp_path / "crossmodal-hub"


def test_items_and_captions_are_tasks_of_one_dataset(root, tmp_path):
    released(root)  # brings a list of captions, and more items of the same two cases
    write_clips(root / "clips", STEMS)
    assert tasks_of("hubs", root) == ["sounding object: people", "sounding object: sports", "caption"]
    with pytest.warns(UserWarning, match="1 rows cannot be used, 10 can\n.*it is the header of a table, not a clip"):
        (own,) = load_samples("hubs", root=root, tasks="sounding object: people", n_samples=1)
    stem = own.id.removeprefix("hubs/people/")
    assert own.category == "people" and own.options == tuple(choices(STEMS.index(stem)).values())
    assert set(own.options) == set(TWENTY) and own.media[0].path.stem == stem
    with pytest.warns(UserWarning):
        captions = load_samples("hubs", root=root, tasks="caption")
    assert sorted(sample.id for sample in captions) == [f"hubs/vggsound_animal/{stem}" for stem in sorted(STEMS[:2])]


def test_parts_of_lists_are_not_read_again(root):
    write_clips(root / "clips", STEMS)
    loaded = load("hubs", root)
    assert not loaded.problems and not loaded.lacking
    assert [path.name for path in loaded.tables] == ["people_case_2.json", "sports_case_1.json"]
    assert len(loaded.samples) == len(PEOPLE) + len(SPORTS)


def test_where_clips_are_looked_for(root, tmp_path, monkeypatch):
    monkeypatch.setenv("AVSINK_DATA", str(tmp_path / "data"))
    alone = load("hubs", root)
    assert not alone.samples and all("missing clip" in problem.reason for problem in alone.problems)
    assert alone.lacking == (f"no clip is in {root}; put VGGSound's below it, or into a folder $AVSINK_DATA/vggsound",)
    write_clips(tmp_path / "data/vggsound", STEMS)
    assert len(load("hubs", root).samples) == 4
    write_clips(root / "clips", STEMS[:1])  # a clone with clips of its own is whole in itself
    assert [sample.id for sample in load("hubs", root).samples] == [f"hubs/people/{STEMS[0]}"]
    write_clips(tmp_path / "both", STEMS[1:])
    root.rename(tmp_path / "both/clone")
    assert len(load("hubs", tmp_path / "both").samples) == 4
    with pytest.raises(MissingData, match="no lists of Hubs' authors in .*vggsound"):
        load("hubs", tmp_path / "data/vggsound")


def test_a_bad_item_and_an_empty_list(root):
    write_clips(root / "clips", STEMS)
    lists = root / "json_files/causal_tracing/step1"
    write_json(lists / "animal_25_case_2.json", [])
    write_json(lists / "people_case_2.json", [7])
    loaded = load("hubs", root)
    assert loaded.lacking == ("animal_25_case_2.json holds no row",) and len(loaded.samples) == 2
    (problem,) = loaded.problems
    assert str(problem) == "hubs/people/(people_case_2.json, item 1): it is not a chat with a user's turn"
