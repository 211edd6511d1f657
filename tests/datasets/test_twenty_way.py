"""The 20-way item: fixed sets of labels, an own order for each item, and one right answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from clip_sets import GROUPS, LABELS
from hypothesis import given, settings
from hypothesis import strategies as st

from avsink.datasets.prompts import template
from avsink.datasets.twenty_way import Case, draw, item, names, shuffled

CLIP = Path("clip.mp4")
WORDS = template("", "vggsound")
TEXT = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=6)


def test_every_label_is_asked_once_in_a_set_of_20_that_its_group_shares():
    drawn = draw(GROUPS)
    assert {label: drawn.of(label).group for label in LABELS} == {
        label: group for group, labels in GROUPS.items() for label in labels
    }
    assert [case.name for case in drawn.cases] == ["people 1", "people 2", "animals", "sports"]
    for case in drawn.cases:
        asked = [label for label in case.labels if drawn.asked[label] is case]
        own = set(GROUPS[case.group])
        assert len(case.labels) == 20 and set(asked) == own & set(asked)
        assert not (set(case.labels) - set(asked)) & own  # distractors come from other groups
    sizes = [sum(drawn.asked[label] is case for label in case.labels) for case in drawn.cases[:2]]
    assert sorted(sizes) == [11, 12]


def test_what_is_drawn_depends_on_the_labels_and_the_seed_alone():
    turned = {group: labels[::-1] for group, labels in GROUPS.items()}
    assert {case.name: case.labels for case in draw(turned).cases} == {c.name: c.labels for c in draw(GROUPS).cases}
    assert draw(GROUPS, seed=1).cases != draw(GROUPS, seed=0).cases


def test_a_given_set_comes_first_and_the_rest_is_drawn():
    own = (*GROUPS["sports"], *GROUPS["animals"][:11])
    drawn = draw(GROUPS, given={"study": own})
    assert drawn.cases[0] == Case(name="study", group="study", labels=own)
    assert {drawn.of(label).name for label in own} == {"study"}
    assert drawn.of(GROUPS["animals"][11]).name == "animals"
    assert {case.group for case in drawn.cases} == {"study", "people", "animals"}
    with pytest.raises(ValueError, match="the case 'study' has 19 different labels; 20 are expected"):
        draw(GROUPS, given={"study": [*own[:19], own[0]]})
    with pytest.raises(ValueError, match="needs 20 different labels, but there are only 3|cannot be made"):
        draw({"all": ["a", "b", "c"]})
    with pytest.raises(ValueError, match="'unheard' is in no set of 20 labels"):
        drawn.of("unheard")


def test_two_spellings_of_one_name_are_never_in_one_set():
    assert names("Mouse (animal)") == names("mouse") == {"mouse"} and names("alligator/crocodile") == {
        "alligator",
        "crocodile",
    }
    assert names("donkey, ass braying") == {"donkey, ass braying"} and names("(x)") == {"(x)"}
    with pytest.raises(ValueError, match="two labels of the same name: 'animal 1' and 'Animal 1'"):
        Case(name="x", group="x", labels=(*LABELS[:18], "animal 1", "Animal 1"))
    groups = GROUPS | {"other": ["Police Car", "people coughing/people spitting", *(f"thing {k}" for k in range(30))]}
    for case in draw(groups).cases:
        said = [name for label in case.labels for name in names(label)]
        assert len(said) == len(set(said))


def test_two_spellings_in_one_group_are_asked_apart():
    one_group = {"all": [*LABELS[:20], LABELS[0].upper(), f"{LABELS[0]} (loud)"]}
    drawn = draw(one_group)
    assert set(drawn.asked) == set(one_group["all"])
    assert len({drawn.of(label).name for label in (LABELS[0], LABELS[0].upper(), f"{LABELS[0]} (loud)")}) == 3


def test_cases_have_names_of_their_own():
    groups = {
        "a": [f"a{k}" for k in range(40)],
        "a 1": [f"b{k}" for k in range(20)],
        "given": [f"c{k}" for k in range(20)],
    }
    drawn = draw(groups, given={"given": [f"a{k}" for k in range(20)]})
    assert [case.name for case in drawn.cases] == ["given", "a", "a 1", "given (others)"]
    again = draw(groups).cases
    assert [case.name for case in again] == ["a 1", "a 2", "a 1 (others)", "given"]


def test_an_item_has_its_own_order_and_the_letter_of_its_label():
    case = draw(GROUPS).of("playing tennis")
    one = item("vggsound/a", case, "playing tennis", clip=CLIP, words=WORDS, truth={"clip": "a"})
    two = item("vggsound/b", case, "playing tennis", clip=CLIP, words=WORDS)
    assert set(one.options) == set(two.options) == set(case.labels) and one.options != two.options
    for sample in (one, two):
        assert sample.options[ord(sample.answer) - 65] == "playing tennis"
        assert (sample.task, sample.category) == ("sounding object: sports", "sports")
    assert len(one.parts) == 2 and one.prompt.name == "vggsound" and one.suffix.endswith("(A to T).")
    assert one.truth == {"label": "playing tennis", "object": "playing tennis", "case": "sports", "clip": "a"}
    with pytest.raises(ValueError, match="'animal 99' is not among the labels of the case 'sports'"):
        item("x", case, "animal 99", clip=CLIP, words=WORDS)


def test_right_answers_are_spread_over_the_letters():
    case = draw(GROUPS).cases[0]
    letters = [item(f"clip {k}", case, case.labels[k % 20], clip=CLIP, words=WORDS).answer for k in range(4_000)]
    counts = [letters.count(chr(65 + k)) for k in range(20)]
    assert min(counts) > 140 and max(counts) < 260  # 200 expected, standard deviation 14


@settings(max_examples=100, deadline=None)
@given(st.permutations(LABELS[:20]), TEXT, st.integers(0, 3))
def test_the_order_of_options_is_that_of_the_id_and_not_of_the_table(labels, id, seed):
    assert shuffled(labels, id=id, seed=seed) == shuffled(LABELS[:20], id=id, seed=seed)
    assert sorted(shuffled(labels, id=id, seed=seed)) == sorted(labels)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(TEXT, st.lists(TEXT.map(str.casefold), max_size=30, unique=True), min_size=1, max_size=4),
    st.integers(0, 5),
)
def test_no_label_is_dropped_or_asked_twice(groups, seed):
    taken, disjoint = set(), {}
    for group, labels in groups.items():
        disjoint[group] = [label for label in labels if label not in taken]
        taken |= set(labels)
    if len(taken) < 20:
        if taken:
            with pytest.raises(ValueError, match="needs 20 different labels"):
                draw(disjoint, seed=seed)
        return
    drawn = draw(disjoint, seed=seed)
    assert set(drawn.asked) == taken
    assert all(label in case.labels and label in disjoint[case.group] for label, case in drawn.asked.items())
    assert len({case.name for case in drawn.cases}) == len(drawn.cases) == len(set(map(id, drawn.asked.values())))
