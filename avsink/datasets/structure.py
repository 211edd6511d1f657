"""What an interleaved question is made of: candidates, question and reference (Flow appendix D.3.1).

1. **Parse.** The text names its media by placeholders, ``[img1]``, ``[audio1]``, ``[video1]`` (`interleave`); anything
   else in brackets, ``[Verse 2]``, is text. A single medium of one modality against several of the other is the
   *reference*; the several are the *candidates*.
2. **Split.** The placeholders cut the text into segments: media and texts in turn.
3. **Question.** If the reference is the last medium, the question is the text just before it; otherwise it is the
   longest text by words, the first of equals. Every other text is a label, which belongs to no group that is measured.
4. **Label.** The order in which the three begin is the structure (`structure`), for example
   ``("candidates", "question", "reference")``. `avsink.layout.TokenLayout.structure` finds the same in the tokens.

`assign` does steps 1 to 3. What is no such question (one medium of each kind, two of each) is left as it is: its media
are clips, and all of its text is the question. Media may also stand in the options; those count as candidates as well,
while the text of options is no segment.

A medium is shown where its placeholder comes first. A later mention becomes words (``image 2``), so that no candidate
stands in the prompt twice: a pathway out of a candidate would otherwise be closed at one of its copies only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from avsink.sample import Media, Text

__all__ = ["Slot", "assign", "candidate_named", "direction", "interleave", "structure"]

Slot = tuple[str, int]
"""A medium as a placeholder names it: its kind, and its number among those of that kind, from 1."""

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
    """Texts and media of a text with placeholders, in its order.

    show(slot): the medium, or ValueError if there is none. shown: the media that stand before this text; those of this
    text are added.
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
    """Parts and options with their roles; unchanged, if this is no matching question."""
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
    """Step 4, for parts that have their roles; () for what is no matching question."""
    names = {"candidate": "candidates", "question": "question", "reference": "reference"}
    segments = [part for part in (*parts, *options) if not isinstance(part, str)]
    if not any(part.role == "candidate" for part in segments):
        return ()
    return tuple(dict.fromkeys(names[part.role] for part in segments if part.role in names))


def direction(parts: Sequence[Part], options: Sequence[str | Media] = ()) -> str:
    """``audio reference → image candidates``, say, for parts that have their roles; '' if there is no reference."""
    kinds = {part.role: part.kind for part in (*parts, *options) if isinstance(part, Media)}
    return f"{kinds['reference']} reference → {kinds['candidate']} candidates" if "reference" in kinds else ""


def candidate_named(option: str | Media, candidates: Sequence[Media], slots: Sequence[Slot]) -> int | None:
    """The place among the candidates of the one that an option names; None if that cannot be told.

    The option may be the medium itself, give its place (``the second image``), or its number (``image 2``, ``[img2]``).
    It must say nothing else. slots: the candidates' slots.
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
