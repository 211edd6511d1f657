"""Which token is what (Flow sections 2 and 5; Hubs' token groups): index tensors over one expanded prompt.

The prompt is written as text with one placeholder for each medium; the processor then replaces each placeholder by
hundreds of tokens. Both forms are tokenised, so the groups can be found exactly, without searching for words:

1. pieces: the model family's adapter writes the prompt as a sequence of `Piece`s, each with its role;
2. every token of the text belongs to the piece that holds its first character;
3. `align`: walk through text tokens and expanded tokens together. A placeholder takes every expanded token up to the
   text token that follows it; every other text token must reappear unchanged;               -> piece of each token [N]
4. inside a medium's piece, the model's placeholder ids tell video from audio. Video tokens are split into temporal
   grids (`frames`), audio tokens into chunks of consecutive positions (`audio_chunks`). The rest of the piece are the
   medium's *delimiters*, the begin and end tokens that are written around every placeholder;
5. `check`: the groups must cover the prompt and must not overlap.

A delimiter has no modality: `video` and `audio` are placeholders alone. But it belongs to its medium. Flow appendix
D.3.1 cuts a prompt at the placeholders of its *text*, such as [img1], into media spans and text spans; what the
processor makes of [img1] is the image with its delimiters. So a candidate, and the reference, is the whole span of its
medium.

Positions are sorted LongTensors, never (start, end) ranges, because some families interleave token by token. Images
count as video: both are what the model sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from avsink.sample import Media

__all__ = ["MediaTokens", "Piece", "TokenLayout", "align", "consecutive"]

Role = Literal["system", "medium", "question", "label", "letter", "option", "suffix", "header"]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of the prompt's text.

    Attributes:
        text: The text; a medium's placeholder with its delimiters.
        role: What it is for. `letter` is an option's letter and `option` the rest of its line, including the newline;
            `suffix` is any other text around the options; `header` is the template between the user's words and the
            answer.
        option: Which option the piece belongs to, counted from 0; None outside the options.
        medium: The medium whose placeholder the piece holds.
    """

    text: str
    role: Role
    option: int | None = None
    medium: Media | None = None


@dataclass(frozen=True, kw_only=True)
class MediaTokens:
    """The placeholder token ids of video, image and audio, which the model replaces by features."""

    video: int
    image: int
    audio: int


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenLayout:
    """Positions of every group of tokens in one prompt.

    Attributes:
        n: The number of tokens.
        system: Everything before the user's turn.
        video: All video and image tokens.
        audio: All audio tokens.
        frames: The tokens of each temporal grid.
        audio_chunks: The audio tokens of each chunk: consecutive positions, without other tokens in between.
        question: For a question about a clip, all of the user's text, with options and suffix (Flow section 2); for an
            interleaved input, only the segment that states the task (Flow section 5.1).
        option_letters: The position of each option's letter.
        options: The positions of each option's whole line.
        candidates: The span of each candidate of an interleaved input: its media tokens with their delimiters.
        reference: The span of its reference, likewise.
        labels: The texts that name candidates ("first"), with whatever else is neither question nor option.
        header: The template between the user's text and the last token.
        last: The final token, where the answer is predicted, (1,).
        other: Tokens in none of the papers' groups: the delimiters of a clip, labels, and the option lines of
            interleaved inputs.
        answer: The index of the right option.
        correct: The index of the candidate that the right option names.
    """

    n: int
    system: Tensor
    video: Tensor
    audio: Tensor
    frames: tuple[Tensor, ...]
    audio_chunks: tuple[Tensor, ...]
    question: Tensor
    option_letters: tuple[int, ...]
    options: tuple[Tensor, ...]
    candidates: tuple[Tensor, ...]
    reference: Tensor
    labels: Tensor
    header: Tensor
    last: Tensor
    other: Tensor
    answer: int | None = None
    correct: int | None = None

    @property
    def media(self) -> Tensor:
        """All video and audio tokens, and the delimiters of candidates and reference."""
        return _joined([self.video, self.audio, *self.candidates, self.reference]).unique()

    @property
    def true_candidate(self) -> Tensor:
        """CorrectCand of Flow section 5: the tokens of the candidate that the right option names."""
        return _joined(tokens for i, tokens in enumerate(self.candidates) if i == self.correct)

    @property
    def false_candidates(self) -> Tensor:
        """IncorrectCand: the tokens of the other candidates; empty if the right one is not known."""
        return _joined(tokens for i, tokens in enumerate(self.candidates) if self.correct not in (None, i))

    @property
    def true_option(self) -> Tensor:
        """TrueOpt of Flow appendix F.1.2, CorrectOpt of section 5: the *letter* of the right option."""
        return _long(p for i, p in enumerate(self.option_letters) if i == self.answer)

    @property
    def false_options(self) -> Tensor:
        """FalseOpt, IncorrectOpt: the letters of the other options."""
        return _long(p for i, p in enumerate(self.option_letters) if i != self.answer)

    @property
    def true_line(self) -> Tensor:
        """The whole line of the right option, its letter included."""
        return _joined(line for i, line in enumerate(self.options) if i == self.answer)

    @property
    def false_lines(self) -> Tensor:
        """The whole lines of the other options."""
        return _joined(line for i, line in enumerate(self.options) if i != self.answer)

    @property
    def non_option_question(self) -> Tensor:
        """NonOptQ: the question without its option letters. With TrueOpt and FalseOpt it makes up the question."""
        return self.question[~torch.isin(self.question, _long(self.option_letters))]

    @property
    def stem(self) -> Tensor:
        """The question without its option lines."""
        return self.question[~torch.isin(self.question, _joined(self.options))]

    @property
    def structure(self) -> tuple[str, ...]:
        """The order of the segments of an interleaved input (Flow appendix D.3.1), or () for a clip."""
        if not self.candidates:
            return ()
        segments = {"candidates": self.candidates[0], "question": self.question, "reference": self.reference}
        return tuple(sorted((name for name in segments if len(segments[name])), key=lambda name: segments[name][0]))

    def groups(self) -> dict[str, Tensor]:
        """Map the name of every group to its positions, one tensor each. Some groups are parts of others."""
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("n", "answer", "correct")}
        found["option_letters"] = _long(self.option_letters)
        for name in ("true_option", "false_options", "non_option_question"):
            found[name] = getattr(self, name)
        return {name: _joined(group) if isinstance(group, tuple) else group for name, group in found.items()}

    def check(self) -> None:
        """Check that the groups cover the prompt once, and that frames and chunks cover their modality once.

        Raises:
            ValueError: If not.
        """
        groups = self.groups()
        whole = ("system", "question", "other", "header", "last")
        for name, parts, all_of_it in (
            ("prompt", [self.media, *(groups[part] for part in whole)], torch.arange(self.n)),
            ("video", [groups["frames"]], self.video),
            ("audio", [groups["audio_chunks"]], self.audio),
        ):
            if not torch.equal(torch.cat(parts).sort().values, all_of_it):
                raise ValueError(
                    f"the parts of the {name} overlap or leave tokens out; check the pieces of the family's adapter"
                )
        for name, spans in (("candidates", self.candidates), ("reference", (self.reference,))):
            for span in spans:
                if len(span) and not torch.isin(span, _joined([self.video, self.audio])).any():
                    raise ValueError(f"{name} without video or audio tokens; check the pieces of the family's adapter")

    @classmethod
    def build(
        cls,
        pieces: Sequence[Piece],
        *,
        text_ids: Sequence[int],
        starts: Sequence[int],
        input_ids: Sequence[int],
        tokens: MediaTokens,
        grids: Sequence[int],
        answer: int | None = None,
        correct: int | None = None,
    ) -> TokenLayout:
        """Find every group of a prompt: steps 2 to 5.

        Args:
            pieces: The prompt's text, cut into pieces.
            text_ids: The tokenised text.
            starts: For each of these tokens, the index of its first character in the text.
            input_ids: The expanded prompt.
            tokens: The model's placeholder ids.
            grids: For each video or image in turn, how many tokens one temporal grid has.
            answer: The index of the right option.
            correct: The index of the candidate that the right option names.

        Raises:
            ValueError: If the processor changed the text, or the groups do not cover the prompt once.
        """
        ends = torch.tensor([len(piece.text) for piece in pieces]).cumsum(0)
        of_text = torch.bucketize(torch.tensor(starts), ends, right=True)  # (text tokens,)
        piece = of_text[align(text_ids, input_ids, placeholders={tokens.video, tokens.image, tokens.audio})]  # (N,)
        ids = torch.tensor(input_ids)
        seen, heard = (ids == tokens.video) | (ids == tokens.image), ids == tokens.audio

        def of(chosen: Callable[[Piece], bool], among: Tensor | None = None) -> Tensor:
            flags = torch.tensor([chosen(p) for p in pieces])[piece]
            return (flags if among is None else flags & among).nonzero()[:, 0]

        media = [p for p in pieces if p.role == "medium"]
        visual = [p for p in media if p.medium.kind != "audio"]
        interleaved = any(p.medium.role != "clip" for p in media)
        asked = ("question",) if interleaved else ("question", "letter", "option", "suffix")
        lines = sorted({p.option for p in pieces if p.option is not None})
        candidates = tuple(of(lambda q, p=p: q is p) for p in media if p.medium.role == "candidate")
        reference = of(lambda p: p.role == "medium" and p.medium.role == "reference")
        end = of(lambda p: p.role == "header")
        layout = dict(
            system=of(lambda p: p.role == "system"),
            video=of(lambda p: p.role == "medium", seen),
            audio=of(lambda p: p.role == "medium", heard),
            question=of(lambda p: p.role in asked),
            header=end[:-1],
            last=end[-1:],
        )
        built = cls(
            n=len(ids),
            **layout,
            other=_complement(_joined([*layout.values(), *candidates, reference]), len(ids)),
            frames=tuple(
                frame
                for p, size in zip(visual, grids, strict=True)
                for frame in of(lambda q, p=p: q is p, seen).split(size)
            ),
            audio_chunks=tuple(chunk for p in media for chunk in consecutive(of(lambda q, p=p: q is p, heard))),
            option_letters=tuple(
                _only(of(lambda p, k=k: p.role == "letter" and p.option == k), f"option {k + 1}'s letter")
                for k in lines
            ),
            options=tuple(of(lambda p, k=k: p.option == k) for k in lines),
            candidates=candidates,
            reference=reference,
            labels=of(lambda p: p.role == "label"),
            answer=answer,
            correct=correct,
        )
        built.check()
        return built


def align(text_ids: Sequence[int], input_ids: Sequence[int], *, placeholders: set[int]) -> Tensor:
    """Find, for each expanded token, the index of the text token that it comes from, (N,).

    Args:
        text_ids: The tokenised text.
        input_ids: The expanded prompt.
        placeholders: The ids in the text that the processor replaces by many tokens.

    Raises:
        ValueError: If the processor changed anything but the placeholders.
    """
    origin: list[int] = []
    for i, token in enumerate(text_ids):
        if token not in placeholders:
            if len(origin) == len(input_ids) or input_ids[len(origin)] != token:
                raise ValueError(
                    f"the processor changed the text: token {i} ({token}) is not at position {len(origin)}"
                )
            origin.append(i)
            continue
        after = text_ids[i + 1]  # a placeholder is always followed by its end-of-medium token
        while len(origin) < len(input_ids) and input_ids[len(origin)] != after:
            origin.append(i)
    if len(origin) != len(input_ids):
        raise ValueError(f"the processor added {len(input_ids) - len(origin)} tokens after the text")
    return torch.tensor(origin)


def _long(positions: Iterable[int]) -> Tensor:
    return torch.tensor(list(positions), dtype=torch.long)


def _joined(groups: Iterable[Tensor]) -> Tensor:
    return torch.cat([_long(()), *groups]).sort().values


def consecutive(positions: Tensor) -> tuple[Tensor, ...]:
    """Split sorted positions into chunks of consecutive ones."""
    breaks = (positions.diff() > 1).nonzero()[:, 0] + 1
    return tuple(chunk for chunk in positions.tensor_split(breaks) if len(chunk))


def _complement(positions: Tensor, n: int) -> Tensor:
    everything = torch.arange(n)
    return everything[~torch.isin(everything, positions)]


def _only(positions: Tensor, what: str) -> int:
    if len(positions) != 1:
        raise ValueError(
            f"{what} is {len(positions)} tokens; a letter must be one token, whose probability is measured"
        )
    return int(positions[0])
