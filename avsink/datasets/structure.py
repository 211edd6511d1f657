"""The parts of an interleaved question: candidates, question and reference (Flow appendix D.3.1).

1. **Parse.** The text refers to its media by placeholders, ``[img1]``, ``[audio1]``, ``[video1]`` (`interleave`);
   anything else in brackets, ``[Verse 2]``, is text. If there is one medium of one modality and several of the other,
   the one is the *reference* and the several are the *candidates*.
2. **Split.** The placeholders divide the text into segments, each a medium or a text.
3. **Question.** If the reference is the last medium, the question is the text just before it; otherwise it is the text
   with the most words (the first of them, if several have as many). Every other text is a label, which belongs to no
   measured group.
4. **Label.** The order in which the three begin is the structure (`structure`), for example
   ``("candidates", "question", "reference")``. `avsink.layout.TokenLayout.structure` finds the same in the tokens.

`assign` sets the roles of steps 1 and 3. Other questions (one medium of each kind, two of each) are left as they are:
their media are clips, and all their text is the question. Media in the options count as candidates too; the text of
options is not a segment.

A medium is shown where its placeholder first occurs. A later mention becomes words (``image 2``), so that no candidate
is in the prompt twice: otherwise a pathway from a candidate would be blocked at only one of its copies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from avsink.sample import Media, Text

__all__ = ["Slot", "assign", "candidate_named", "direction", "interleave", "structure"]

Slot = tuple[str, int]
"""A medium as in a placeholder: its kind, and its number among those of that kind, from 1."""

Part = Text | Media
KINDS = {"audio": "audio", "video": "video", "img": "image", "image": "image"}
PLACEHOLDER = re.compile(rf"\[\s*({'|'.join(KINDS)})[\s_]*(\d+)\s*\]", re.IGNORECASE)

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
SHORT = ("1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th")
NOUNS = {
    "image": "image|img|picture|photo",
    "audio": "audio|sound|music|recording|audio clip|sound clip",
    "video": "video|clip|video clip",
}


def interleave(text: str, show: Callable[[Slot], Media], shown: dict[Slot, Media]) -> list[Part]:
    """Replace the placeholders in a text by media.

    Args:
        text: The text with placeholders.
        show: Slot -> medium; raises ValueError if there is none.
        shown: The media that were shown before this text; those of this text are added.

    Returns:
        The texts and media, in order.
    """
    parts: list[Part] = []
    words, done = "", 0
    for match in PLACEHOLDER.finditer(text):
        words += text[done : match.start()]
        done = match.end()
        slot = (KINDS[match[1].lower()], int(match[2]))
        if slot in shown:
            words += f"{slot[0]} {slot[1]}"
            continue
        shown[slot] = show(slot)
        parts += [Text(text=words)] if words else []
        parts.append(shown[slot])
        words = ""
    words += text[done:]
    return parts + ([Text(text=words)] if words else [])


def assign(
    parts: Sequence[Part], options: Sequence[str | Media] = ()
) -> tuple[tuple[Part, ...], tuple[str | Media, ...]]:
    """Give parts and options their roles; unchanged if this is not a matching question."""
    media = [part for part in (*parts, *options) if isinstance(part, Media)]
    heard = [medium for medium in media if medium.kind == "audio"]
    seen = [medium for medium in media if medium.kind != "audio"]
    if sorted((min(len(heard), 2), min(len(seen), 2))) != [1, 2] or len({medium.kind for medium in seen}) != 1:
        return tuple(parts), tuple(options)
    (reference,), candidates = (heard, seen) if len(heard) == 1 else (seen, heard)
    question = _question(parts, reference, last=media[-1] is reference)
    if question is None or not any(part is reference for part in parts):
        return tuple(parts), tuple(options)

    def with_role(part):
        if isinstance(part, Text):
            return replace(part, role="question" if part is question else "label")
        if part is reference:
            return replace(part, role="reference")
        return replace(part, role="candidate") if any(part is one for one in candidates) else part

    return tuple(map(with_role, parts)), tuple(map(with_role, options))


def structure(parts: Sequence[Part], options: Sequence[str | Media] = ()) -> tuple[str, ...]:
    """The order of candidates, question and reference (step 4) in the result of `assign`; () if there are none."""
    names = {"candidate": "candidates", "question": "question", "reference": "reference"}
    segments = [part for part in (*parts, *options) if not isinstance(part, str)]
    if not any(part.role == "candidate" for part in segments):
        return ()
    return tuple(dict.fromkeys(names[part.role] for part in segments if part.role in names))


def direction(parts: Sequence[Part], options: Sequence[str | Media] = ()) -> str:
    """The direction of matching, as in ``audio reference → image candidates``, in the result of `assign`; or ''."""
    kinds = {part.role: part.kind for part in (*parts, *options) if isinstance(part, Media)}
    return f"{kinds['reference']} reference → {kinds['candidate']} candidates" if "reference" in kinds else ""


def candidate_named(option: str | Media, candidates: Sequence[Media], slots: Sequence[Slot]) -> int | None:
    """The index of the candidate that an option refers to; None if that is unclear.

    The option must be the medium itself, or consist of nothing but its place (``the second image``) or its number
    (``image 2``, ``[img2]``). Candidates and their slots are given in the order in which they are shown.
    """
    if isinstance(option, Media):
        return next((i for i, medium in enumerate(candidates) if medium is option), None)
    kinds = {kind for kind, _ in slots}
    if len(kinds) != 1:
        return None
    noun = f"(?:{NOUNS[next(iter(kinds))]})"
    said = " ".join(option.lower().strip(" .").split()).removeprefix("the ")
    if match := re.fullmatch(rf"({'|'.join((*ORDINALS, *SHORT))})(?: one| {noun})?", said):
        place = (ORDINALS if match[1] in ORDINALS else SHORT).index(match[1])
        return place if place < len(candidates) else None
    if match := re.fullmatch(rf"\[? ?{noun}[ _#]*(\d+) ?\]?", said):
        places = [i for i, (_, number) in enumerate(slots) if number == int(match[1])]
        return places[0] if places else None
    return None


def _question(parts: Sequence[Part], reference: Media, *, last: bool) -> Text | None:
    """Step 3."""
    texts = [part for part in parts if isinstance(part, Text) and re.search(r"\w", part.text)]
    before = next((a for a, b in zip(parts, parts[1:], strict=False) if b is reference), None)
    if last and any(before is text for text in texts):
        return before
    return max(texts, key=lambda text: len(text.text.split()), default=None)
