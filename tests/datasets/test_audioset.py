"""AudioSet: segments with odd commas, names from three tables, ontology, strong labels; one sample or problem each."""

from __future__ import annotations

import json

import pytest
from clip_sets import ONTOLOGY, SEGMENTS, audioset, write_bare
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avsink.datasets import load
from avsink.datasets.check import main
from avsink.datasets.files.sources import MissingData
from avsink.datasets.files.tables import TableError
from avsink.datasets.ontology import Ontology, Sound, read_ontology


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audioset")
    audioset(folder)
    return folder


def with_lines(root, *lines):
    (root / "eval_segments.csv").write_text("\n".join(lines) + "\n")
    return load("audioset", root)


GOOD = '--PJHxphWEs, 30.000, 40.000, "/m/dog,/m/bark"'


@pytest.mark.parametrize("header", [True, False])
def test_a_segment_is_a_caption_with_its_objects(tmp_path, header):
    audioset(tmp_path, header=header)
    loaded = load("audioset", tmp_path)
    assert not loaded.problems and not loaded.lacking
    assert [sample.id for sample in loaded.samples] == [
        "audioset/--PJHxphWEs_30000",
        "audioset/-abc_efghij_0",
        "audioset/ABCDEFGHIJK_12500",
        "audioset/_bcdefghijk_100000",
    ]
    assert [sample.truth["objects"] for sample in loaded.samples] == [
        ["Dog", "Bark"], ["Hiss"], ["Dog", "Sounds of things"], ["Roaring cats (lions, tigers)"],
    ]  # fmt: skip
    assert [sample.media[0].path.stem for sample in loaded.samples] == [name for *_, name in SEGMENTS]
    assert [sample.category for sample in loaded.samples] == ["Animal", "Animal", "mixed", "Animal"]
    assert loaded.samples[0].truth["spans"] == [["Bark", 2.627, 7.237], ["Roaring cats (lions, tigers)", 0.0, 1.5]]
    assert all(sample.task == "caption" and not sample.options for sample in loaded.samples)
    assert not any("spans" in sample.truth for sample in loaded.samples[1:])


def test_a_file_that_was_cut_off_is_said(tmp_path):
    audioset(tmp_path, announced=20_371)
    assert load("audioset", tmp_path).lacking == (
        "eval_segments.csv announces 20,371 segments, 4 are there; fetch it again",
    )


def test_without_class_names_or_ontology(tmp_path):
    audioset(tmp_path)
    (tmp_path / "class_labels_indices.csv").unlink()
    loaded = load("audioset", tmp_path)
    assert len(loaded.samples) == 4 and "classes are named by the ontology alone" in loaded.lacking[0]
    audioset(tmp_path)
    (tmp_path / "ontology.json").unlink()
    loaded = load("audioset", tmp_path)
    assert {sample.category for sample in loaded.samples} == {""} and "no segment has a category" in loaded.lacking[0]
    (tmp_path / "class_labels_indices.csv").unlink()
    with pytest.raises(MissingData, match="neither class_labels_indices.csv nor ontology.json"):
        load("audioset", tmp_path)
    (tmp_path / "eval_segments.csv").unlink()
    with pytest.raises(MissingData, match="there is no eval_segments.csv"):
        load("audioset", tmp_path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('-abc_efghij, 0.000, 10.000, "/m/unknown"', "its class /m/unknown has no name"),
        ("-abc_efghij, 0.000, 10.000", "it has 3 cells, 4 are expected"),
        ("-abc_efghij, 0.000, 10.000, /m/dog,/m/bark", "it has 5 cells"),  # a list without quotes
        ("-abc_efghij, 10.000, 0.000, /m/dog", "it ends at 0 s, before it begins (10 s)"),
        ("-abc_efghij, zero, 10.000, /m/dog", "its start is 'zero'; seconds are expected"),
        ("short, 0.000, 10.000, /m/dog", "its id 'short' is not a YouTube id"),
        ('-abc_efghij, 0.000, 10.000, " , "', "it has no labels"),
        ("zzzzzzzzzzz, 0.000, 10.000, /m/dog", "missing clip zzzzzzzzzzz_0.mp4 or zzzzzzzzzzz_000000.mp4"),
        (GOOD, "the same row is at eval_segments.csv, row 1"),
    ],
)
def test_a_broken_segment_is_a_problem_and_the_others_stay(root, line, reason):
    loaded = with_lines(root, "# a comment", GOOD, line, '_bcdefghijk, 100.000, 110.000, "/m/lion"')
    (problem,) = loaded.problems
    assert reason in problem.reason and problem.where == "eval_segments.csv, row 2" and len(loaded.samples) == 2


def test_a_broken_strong_label_leaves_its_segment(tmp_path):
    audioset(tmp_path)
    good = ["--PJHxphWEs_30000", 1, 2, "/m/bark"]
    bad = [
        ["--PJHxphWEs_30000", 1, 2, "/m/bark"],  # the same span again
        ["--PJHxphWEs_30000", 5, 4, "/m/bark"],
        ["--PJHxphWEs_30000", 1, 2, "/t/new"],
        ["--PJHxphWEs", 1, 2, "/m/dog"],
    ]
    stray = [["zzzzzzzzzzz_0", 1, 2, "/m/dog"]]
    write_bare(tmp_path / "audioset_eval_strong.tsv", [good, *bad, *stray], "\t")
    loaded = load("audioset", tmp_path)
    assert len(loaded.samples) == 4 and loaded.samples[0].truth["spans"] == [["Bark", 1.0, 2.0]]
    assert [problem.where for problem in loaded.problems] == [
        f"audioset_eval_strong.tsv, row {k}" for k in (2, 3, 4, 5)
    ]
    reasons = ("another row has the same span", "before it begins", "/t/new has no name", "is not a clip")
    for problem, reason in zip(loaded.problems, reasons, strict=True):
        assert reason in problem.reason
    assert loaded.lacking == ("1 clips with strong labels are not among the segments; their spans are not used",)
    write_bare(tmp_path / "mid_to_display_name.tsv", [["/t/new", "Novelty, new"]], "\t")
    loaded = load("audioset", tmp_path)
    assert ["Novelty, new", 1.0, 2.0] in loaded.samples[0].truth["spans"] and len(loaded.problems) == 3


def test_tables_that_cannot_be_read(tmp_path):
    audioset(tmp_path)
    write_bare(tmp_path / "other_strong.tsv", [["--PJHxphWEs_30000", 1, 2, "/m/bark"]], "\t")
    with pytest.raises(TableError, match="several tables of strong labels: audioset_eval_strong.tsv, other_strong.tsv"):
        load("audioset", tmp_path)
    (tmp_path / "other_strong.tsv").rename(tmp_path / "audioset_train_strong.tsv")  # labels of another split
    assert len(load("audioset", tmp_path).samples) == 4
    rows = [["index", "mid", "display_name"], [0, "/m/dog", "Dog"], [1, "/m/dog", "Cat"]]
    write_bare(tmp_path / "class_labels_indices.csv", rows)
    with pytest.raises(
        TableError, match="class_labels_indices.csv, row 2: a class without id or name, or one named twice"
    ):
        load("audioset", tmp_path)


def test_the_check_opens_the_clips(tmp_path, capsys):
    audioset(tmp_path)
    assert main(["audioset", "--root", str(tmp_path)]) == 0
    next(tmp_path.rglob("_bcdefghijk.mp4")).write_bytes(b"<html>")
    assert main(["audioset", "--root", str(tmp_path)]) == 1
    assert "audioset/_bcdefghijk_100000: _bcdefghijk.mp4 cannot be decoded" in capsys.readouterr().out


def test_the_ontology_of_the_fixture(root):
    ontology = read_ontology(root / "ontology.json")
    assert ontology.descendants("/m/top1") == {"/m/dog", "/t/wild", "/m/bark", "/m/lion", "/m/hiss"}
    assert ontology.ancestors("/m/hiss") == {"/t/wild", "/m/top1", "/m/top2"}
    assert ontology.tops("/m/hiss") == {"/m/top1", "/m/top2"} and ontology.tops("/m/top1") == {"/m/top1"}
    assert ontology.named("dog") == "/m/dog"
    assert [row["id"] for row in ONTOLOGY if not ontology.usable(row["id"])] == ["/t/wild", "/m/horn"]
    for call in (ontology.ancestors, ontology.descendants, ontology.usable):
        with pytest.raises(ValueError, match="the ontology has no class '/m/none'"):
            call("/m/none")
    with pytest.raises(ValueError, match="0 classes of the ontology are called 'Unicorn'"):
        ontology.named("Unicorn")


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 8), st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=16))
def test_ancestors_against_the_closure_of_the_links(n, links):
    """Also with cycles, which a real ontology should not have."""
    links = {(a, b) for a, b in links if a < n and b < n}
    children = {k: tuple(str(b) for a, b in sorted(links) if a == k) for k in range(n)}
    ontology = Ontology(sounds={str(k): Sound(id=str(k), name=f"s{k}", children=children[k]) for k in range(n)})
    reach = [[(a, b) in links for b in range(n)] for a in range(n)]
    for via in range(n):
        for a in range(n):
            for b in range(n):
                reach[a][b] |= reach[a][via] and reach[via][b]
    for a in range(n):
        assert ontology.descendants(str(a)) == {str(b) for b in range(n) if reach[a][b] and b != a}
        assert ontology.ancestors(str(a)) == {str(b) for b in range(n) if reach[b][a] and b != a}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "ontology.json is not a list of classes"),
        ([{"id": "/m/a"}], "ontology.json, class 1 has no id or no name"),
        ([{"id": "/m/a", "name": "A", "child_ids": "x"}], "its child_ids or its restrictions are not a list of texts"),
        (
            [{"id": "/m/a", "name": "A", "restrictions": []}],
            "its child_ids or its restrictions are not a list of texts",
        ),
        ([{"id": "/m/a", "name": "A", "child_ids": [], "restrictions": []}] * 2, "/m/a occurs a second time"),
        (
            [{"id": "/m/a", "name": "A", "child_ids": ["/m/b"], "restrictions": []}],
            "A has a child /m/b that is not a class; fetch it again",
        ),
    ],
)
def test_what_is_not_an_ontology(tmp_path, content, reason):
    (tmp_path / "ontology.json").write_text(json.dumps(content))
    with pytest.raises(TableError, match=reason):
        read_ontology(tmp_path / "ontology.json")


CELL = st.one_of(
    st.sampled_from(
        ["--PJHxphWEs", "-abc_efghij", "30.000", "40", "0", "/m/dog", '"/m/dog,/m/bark"', "", "x", "nan", "inf"]
    ),
    st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters='#"'), max_size=8),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(CELL, min_size=1, max_size=5), min_size=1, max_size=6))
def test_no_segment_is_dropped_or_counted_twice(root, rows):
    lines = [", ".join(["_" + row[0], *row[1:]]) for row in rows]  # no line is empty, or a comment
    loaded = with_lines(root, *lines)
    assert len(loaded.samples) + len(loaded.problems) == len(lines)
