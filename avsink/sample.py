"""One question about some media: the form in which every benchmark reaches the instruments.

A loader, whatever its files look like, yields `Sample`s and nothing else. A sample says *what* is asked, in the
order in which the model meets it:

1. `parts`: texts and media, interleaved as the benchmark interleaves them;
2. `options`: the option texts, without letters; rendered as lines ``A. text`` after the parts. An option may be a
   medium (``A.`` and then an image);
3. `suffix`: the demand that ends the user's turn (``Answer with the letter.``).

How that becomes tokens is the business of the model's adapter (`avsink.models`), and which token is what that of
`avsink.layout`. Nothing here imports torch.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = ["Media", "Text", "Sample", "SampleError", "Unmeasured"]

MediaKind = Literal["video", "audio", "image"]
MediaRole = Literal["clip", "candidate", "reference"]
TextRole = Literal["question", "label"]


class SampleError(ValueError):
    """A sample that cannot be used. The run records its id and reason, and goes on with the next one."""

    def __init__(self, sample_id: str, reason: str):
        super().__init__(f"sample {sample_id}: {reason}")
        self.sample_id = sample_id
        self.reason = reason


class Unmeasured(SampleError):
    """A sound sample that is outside of what is measured, now and always: answered wrongly, say."""


@dataclass(frozen=True, kw_only=True)
class Media:
    """A file that the model sees, hears or both.

    kind: what the model is given of it. A ``video`` is given with its sound track when `sound` is true.
    role: its part in the question: the ``clip`` that is asked about, or a ``candidate`` / the ``reference`` of an
        interleaved input (Flow section 5).
    """

    path: Path
    kind: MediaKind
    role: MediaRole = "clip"
    sound: bool = True


@dataclass(frozen=True, kw_only=True)
class Text:
    """Words of the user's turn.

    role: ``question`` states the task (the papers' question tokens); a ``label`` only names the medium beside it.
    """

    text: str
    role: TextRole = "question"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One item of a benchmark.

    id: unique within the benchmark; names the item in results and in error messages.
    task: the benchmark's own name of the task; `category`: the group it is reported under (Flow tables 2 and 5).
    answer: the letter of the right option, or None for a task without options (captioning).
    truth: whatever else the benchmark knows (objects, spans, reference caption), for the instruments that need it.
    """

    id: str
    task: str
    category: str
    parts: tuple[Text | Media, ...]
    options: tuple[str | Media, ...] = ()
    suffix: str = ""
    answer: str | None = None
    truth: Mapping[str, object] = field(default_factory=dict)

    @property
    def letters(self) -> tuple[str, ...]:
        """The option letters, ``A`` first."""
        return tuple(string.ascii_uppercase[: len(self.options)])

    @property
    def media(self) -> tuple[Media, ...]:
        """The media, in the order in which the model meets them; those of the options come last."""
        return tuple(part for part in (*self.parts, *self.options) if isinstance(part, Media))

    @property
    def kind(self) -> str:
        """What its media are: one `clip` to be asked about, or `interleaved` candidates and a reference (Flow 5)."""
        return "interleaved" if any(medium.role == "reference" for medium in self.media) else "clip"

    def check(self) -> None:
        """Raise `SampleError` if the sample contradicts itself or its files are not there."""
        if len(self.options) > len(string.ascii_uppercase):
            raise SampleError(self.id, f"{len(self.options)} options, but only 26 letters")
        if self.options and self.answer not in self.letters:
            raise SampleError(self.id, f"the answer {self.answer!r} is not among the options {''.join(self.letters)}")
        if len(set(self.options)) != len(self.options):
            raise SampleError(self.id, "two options have the same text or medium, so the answer is ambiguous")
        if not self.media:
            raise SampleError(self.id, "no video, audio or image to ask about")
        for medium in self.media:
            if not medium.path.is_file():
                raise SampleError(self.id, f"missing file {medium.path.name} (looked in {medium.path.parent})")
