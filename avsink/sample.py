"""One question about some media: the form in which every dataset reaches the instruments.

Whatever a dataset's files look like, its loader yields `Sample`s. A sample says *what* is asked, in the order in which
the model meets it:

1. `parts`: texts and media, interleaved as in the dataset;
2. `options`: the option texts without letters, rendered after the parts as lines ``A. text``. An option may be a
   medium (``A.``, then an image);
3. `suffix`: the instruction that ends the user's turn (``Answer with the letter.``), on lines of its own; mere white
   space is added to the last option as it is.

`prompt` says by which template these words were chosen, and how it writes an option's line and the system text.

The model's adapter (`avsink.models`) turns a sample into tokens; `avsink.layout` records which token is what. Nothing
here imports torch.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from avsink.resources import expanded

__all__ = ["Media", "Prompt", "Sample", "SampleError", "Text", "Unmeasured"]

MediaKind = Literal["video", "audio", "image"]
MediaRole = Literal["clip", "candidate", "reference"]
TextRole = Literal["question", "label"]


class SampleError(ValueError):
    """A sample that cannot be used. A measure records its id and the reason, and continues with the next sample."""

    def __init__(self, sample_id: str, reason: str):
        super().__init__(f"sample {sample_id}: {reason}")
        self.sample_id = sample_id
        self.reason = reason


class Unmeasured(SampleError):
    """A valid sample to which a measure does not apply, for example because the model answers it wrongly."""


@dataclass(frozen=True, kw_only=True)
class Media:
    """A file that the model sees, hears or both.

    Attributes:
        path: The file; text is taken for its path.
        kind: What the model is given of the file.
        role: Its part in the question: the ``clip`` that the question is about, or a ``candidate`` or the
            ``reference`` of an interleaved input (Flow section 5).
        sound: Whether a ``video`` comes with its sound track.
    """

    path: Path
    kind: MediaKind
    role: MediaRole = "clip"
    sound: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.path, Path):
            object.__setattr__(self, "path", expanded(self.path))


@dataclass(frozen=True, kw_only=True)
class Text:
    """Words of the user's turn.

    Attributes:
        role: A ``question`` states the task (the papers' question tokens); a ``label`` only names the medium next to
            it.
    """

    text: str
    role: TextRole = "question"


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """The template that a sample's words are from (`avsink.datasets.prompts`), and what it says beside them.

    Attributes:
        name: The template's name; "" for words that come from none.
        digest: A hash of its file.
        option_line: One option, with ``{letter}`` and then ``{option}``.
        system: The system text; None for the model's own.
    """

    name: str = ""
    digest: str = ""
    option_line: str = "{letter}. {option}"
    system: str | None = None


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One item of a dataset.

    Attributes:
        id: Unique within the dataset; identifies the item in results and error messages.
        task: The dataset's own name for the task.
        category: The group under which the item is reported (Flow tables 2 and 5).
        answer: The letter of the right option, or None for a task without options (captioning).
        truth: Whatever else the dataset knows (objects, spans, reference caption), for instruments that need it.
        prompt: The template of its words.
    """

    id: str
    task: str
    category: str
    parts: tuple[Text | Media, ...]
    options: tuple[str | Media, ...] = ()
    suffix: str = ""
    answer: str | None = None
    truth: Mapping[str, object] = field(default_factory=dict)
    prompt: Prompt = Prompt()

    @property
    def letters(self) -> tuple[str, ...]:
        """The option letters, ``A`` first."""
        return tuple(string.ascii_uppercase[: len(self.options)])

    @property
    def media(self) -> tuple[Media, ...]:
        """All media in the order in which the model meets them; those of the options come last."""
        return tuple(part for part in (*self.parts, *self.options) if isinstance(part, Media))

    @property
    def kind(self) -> str:
        """``interleaved`` for candidates with a reference (Flow section 5), else ``clip``."""
        return "interleaved" if any(medium.role == "reference" for medium in self.media) else "clip"

    def check(self) -> None:
        """Check that the sample is consistent and its files exist.

        Raises:
            SampleError: If not.
        """
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
