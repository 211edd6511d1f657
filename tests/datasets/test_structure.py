"""Flow appendix D.3.1: which medium is the reference, which text the question, and in which order they come."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published import FOUR

from avsink.datasets.structure import assign, candidate_named, direction, interleave, structure
from avsink.sample import Media, Text
from avsink.toyworld.jobs import MATCHES

IMAGES, SOUNDS = FOUR["image"], FOUR["audio"]
C, Q, R = "candidates", "question", "reference"


def show(slot):
    return Media(path=Path(f"{slot[0]}{slot[1]}"), kind=slot[0])


def read(text, *options):
    """Parts and options with their roles."""
    shown = {}
    parts = interleave(text, show, shown)
    media = [interleave(option, show, shown)[0] if "[" in option else option for option in options]
    return assign(parts, media)


def question(parts):
    return [part.text for part in parts if isinstance(part, Text) and part.role == "question"]


@pytest.mark.parametrize(
    ("text", "order", "asked"),
    [
        # Flow table 3: the text before the reference, though the first one is longer
        (f"Which instrument in images in {IMAGES} do you think best matches audio [audio1]?", (C, Q, R),
         " do you think best matches audio "),
        (f"Which audio among {SOUNDS} best matches the scene shown in [img1]?", (C, Q, R),
         " best matches the scene shown in "),
        (f"Which image fits audio [audio1]? {IMAGES}", (Q, R, C), "Which image fits audio "),
        (f"Audio: [audio1] images: {IMAGES} Which of them fits best?", (R, C, Q), " Which of them fits best?"),
        (f"[audio1] is heard; which of these images fits? {IMAGES}", (R, Q, C),
         " is heard; which of these images fits? "),
        # no words just before the reference: the longest text
        (f"Which of {IMAGES}, [audio1] fits? I want it said", (C, R, Q), " fits? I want it said"),
        # the rule taken literally: one word before a reference that is last is the question
        (f"Which of these images fits the sound best? {IMAGES} Sound: [audio1]", (C, Q, R), " Sound: "),
        # the first of equally long texts
        (f"one two [audio1] {IMAGES} three four", (Q, R, C), "one two "),
        # a label before each candidate
        ("First [img1] second [img2] which fits [audio1]", (C, Q, R), " which fits "),
    ],
)  # fmt: skip
def test_structure_and_question(text, order, asked):
    parts, _ = read(text)
    assert structure(parts) == order and question(parts) == [asked]
    roles = [part.role for part in parts if isinstance(part, Media)]
    assert roles.count("reference") == 1 and "clip" not in roles
    assert {part.role for part in parts if isinstance(part, Text)} <= {"question", "label"}


@pytest.mark.parametrize(
    "text", ["What of [audio1] and [img1]?", "[audio1] and [audio2], [img1] and [img2]?", f"{IMAGES}?", "[audio1]?",
             "[video1] [img1] or [audio1]?", f"{IMAGES} [audio1]"]
)  # fmt: skip
def test_other_questions_keep_clips_and_question(text):
    parts, _ = read(text)
    assert structure(parts) == () and direction(parts) == ""
    assert {part.role for part in parts} <= {"clip", "question"}


def test_media_in_the_options_are_the_candidates():
    parts, options = read("Which sound fits [img1]?", *(f"[audio{k}]" for k in range(1, 5)))
    assert structure(parts, options) == (Q, R, C) and question(parts) == ["Which sound fits "]
    assert [option.role for option in options] == ["candidate"] * 4
    parts, options = read("Which fits?", "[img1]", "[audio1]", "[audio2]")  # a reference cannot be an option
    assert structure(parts, options) == ()


def test_directions_are_the_toy_worlds():
    assert direction(read(f"which {IMAGES} fits [audio1]")[0]) == MATCHES[0]
    assert direction(read(f"which {SOUNDS} fits [img1]")[0]) == MATCHES[1]
    assert direction(read(f"which {SOUNDS} fits [video1]")[0]) == "video reference → audio candidates"


def test_placeholders_in_every_spelling_and_other_words_in_brackets():
    parts = interleave("[IMG 1][ audio2 ][Video1]", show, {})
    assert [str(part.path) for part in parts] == ["image1", "audio2", "video1"]
    for text in ("[sic] and [1]", "[Verse 2]", "a [text1]", "[images 3] [img] [img1"):
        assert interleave(text, show, {}) == [Text(text=text)]
    words, medium = interleave("[Verse 2] of [audio1]", show, {})
    assert words.text == "[Verse 2] of " and str(medium.path) == "audio1"


def test_a_medium_is_shown_once_and_then_called_by_its_name():
    shown = {}
    parts = interleave("Is [img1] like [img2]? Is [img2] like [audio1]?", show, shown)
    assert [part.text if isinstance(part, Text) else str(part.path) for part in parts] == [
        *("Is ", "image1", " like ", "image2", "? Is image 2 like ", "audio1", "?")
    ]
    assert interleave("[img2]", show, shown) == [Text(text="image 2")]


@pytest.mark.parametrize(
    ("option", "place"),
    [
        *(("second image", 1), ("The first image.", 0), ("4th picture", 3), ("third", 2), ("the third one", 2)),
        *(("image 2", 0), ("[img2]", 0), ("Image4", 3), ("[ IMG 3 ]", 2), ("image #1", 1)),
        *(("fifth image", None), ("image 7", None), ("second audio", None), ("audio 1", None), ("a dog", None)),
        *(("the second image and the third", None), ("second half of the image", None), ("2", None), ("", None)),
    ],
)
def test_the_candidate_that_an_option_names(option, place):
    slots = [("image", 2), ("image", 1), ("image", 3), ("image", 4)]  # image 2 is shown first
    assert candidate_named(option, [show(slot) for slot in slots], slots) == place


def test_an_option_may_be_the_candidate():
    slots = [("audio", 1), ("audio", 2)]
    media = [show(slot) for slot in slots]
    assert candidate_named(media[1], media, slots) == 1 and candidate_named(show(("audio", 2)), media, slots) is None
    assert candidate_named("third audio", [], []) is None


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(st.text(max_size=12), st.sampled_from([f"[img{k}]" for k in (1, 2, 3)] + ["[audio1]", "[audio2]"]))
    )
)
def test_no_text_and_no_medium_is_lost_on_the_way(pieces):
    shown = {}
    parts = interleave("".join(pieces), show, shown)
    media = [part for part in parts if isinstance(part, Media)]
    assert len(media) == len(shown) and all(medium is shown[slot] for medium, slot in zip(media, shown, strict=True))
    assigned, _ = assign(parts)
    assert [getattr(p, "text", None) for p in assigned] == [getattr(p, "text", None) for p in parts]
    assert [getattr(p, "path", None) for p in assigned] == [getattr(p, "path", None) for p in parts]
    if structure(assigned):
        assert sorted(structure(assigned)) == [C, Q, R] and len(question(assigned)) == 1
