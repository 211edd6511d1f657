"""Prompts whose every token says itself what it is, so that sets of tokens and edges can be told without the layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch

from avsink.layout import TokenLayout
from avsink.models.model import Inputs
from avsink.sample import Media, Sample
from avsink.testing.random_decoder import BareModel, bare_model

__all__ = [
    *("CLIP", "CORRECT", "LETTERS", "LOUD", "MATCH", "RIGHT", "Token"),
    *("asked", "decoder", "inputs_of", "layout_of", "sample_of", "where"),
]


@dataclass(frozen=True)
class Token:
    """What a token is.

    kind: system, video, audio, text (of the question), word (of an option's line), letter, label (of a candidate),
        delimiter (of a candidate or the reference), other, header or last.
    part: the number of its temporal grid or chunk of sound.
    role: of the token's medium among several, `candidate` or `reference`.
    item: the number of the candidate, or of the option.
    asked: whether it belongs to the question.
    """

    kind: str
    part: int = -1
    role: str = ""
    item: int = -1
    asked: bool = False


def _clip() -> tuple[Token, ...]:
    tokens = [Token("system")] * 3 + [Token("other")]
    for second in range(3):
        tokens += [Token("video", second)] * 4 + [Token("audio", second)] * 2
    tokens += [Token("other")] + [Token("text", asked=True)] * 3
    for option in range(3):
        tokens += [Token("letter", item=option, asked=True), Token("text", item=option, asked=True)]
    return (*tokens, Token("text", asked=True), Token("header"), Token("header"), Token("last"))


def _match() -> tuple[Token, ...]:
    tokens = [Token("system")] * 2
    for candidate in range(3):
        edge = Token("delimiter", -1, "candidate", candidate)
        image = [Token("video", candidate, "candidate", candidate)] * (2 + candidate)
        tokens += [Token("label"), edge, *image, edge]
    edge = Token("delimiter", -1, "reference")
    tokens += [Token("text", asked=True)] * 3 + [edge] + [Token("audio", 0, "reference")] * 3 + [edge, Token("other")]
    for option in range(3):
        tokens += [Token("letter", item=option), Token("word", item=option), Token("word", item=option)]
    return (*tokens, Token("header"), Token("last"))


CLIP, MATCH = _clip(), _match()
RIGHT, CORRECT = 1, 2  # the right option, and the candidate that it names


def where(tokens: Sequence[Token], test: Callable[[Token], bool]) -> list[int]:
    """The positions of the tokens for which the test holds."""
    return [p for p, token in enumerate(tokens) if test(token)]


def layout_of(tokens: Sequence[Token], *, answer: int = RIGHT, correct: int | None = None) -> TokenLayout:
    """The layout of a prompt, as `avsink.layout` describes it."""

    def of(test: Callable[[Token], bool]) -> torch.Tensor:
        return torch.tensor(where(tokens, test), dtype=torch.long)

    def parts(kind: str) -> tuple[torch.Tensor, ...]:
        count = 1 + max((t.part for t in tokens if t.kind == kind), default=-1)
        return tuple(of(lambda t, k=k: t.kind == kind and t.part == k) for k in range(count))

    several = any(t.role for t in tokens)
    options = range(3)
    layout = TokenLayout(
        n=len(tokens),
        system=of(lambda t: t.kind == "system"),
        video=of(lambda t: t.kind == "video"),
        audio=of(lambda t: t.kind == "audio"),
        frames=parts("video"),
        audio_chunks=parts("audio"),
        question=of(lambda t: t.asked),
        option_letters=tuple(where(tokens, lambda t, k=k: t.kind == "letter" and t.item == k)[0] for k in options),
        options=tuple(of(lambda t, k=k: t.kind in ("letter", "word", "text") and t.item == k) for k in options),
        candidates=tuple(of(lambda t, k=k: t.role == "candidate" and t.item == k) for k in range(3 * several)),
        reference=of(lambda t: t.role == "reference"),
        labels=of(lambda t: t.kind == "label"),
        header=of(lambda t: t.kind == "header"),
        last=of(lambda t: t.kind == "last"),
        other=of(lambda t: t.kind in ("other", "word", "label") or t.kind == "letter" and not t.asked),
        answer=answer,
        correct=CORRECT if several and correct is None else correct,
    )
    layout.check()
    return layout


def decoder(family: str = "qwen2.5-omni", *, layers: int = 4, seed: int = 0) -> BareModel:
    """A small decoder with random weights: three heads for each key head."""
    return bare_model(family, layers=layers, width=48, heads=6, kv_heads=2, mlp=64, vocabulary=60, seed=seed)


LOUD = 7  # the feature in which every other token of each modality is larger than the others
LETTERS = {"A": (33, 40), "B": (41, 34), "C": (35,)}  # spellings, as of a letter with and without a space


def inputs_of(
    model: BareModel, tokens: Sequence[Token], *, seed: int = 0, muted: str = "", answer: int = RIGHT
) -> Inputs:
    """A prompt of random embeddings. `seed` draws other media; those of the modality `muted` are 0."""
    layout, config = layout_of(tokens, answer=answer), model.decoder.config
    text, media = (torch.Generator().manual_seed(number) for number in (99, seed))
    embeds = torch.randn(len(tokens), config.hidden_size, generator=text)
    for modality in ("video", "audio"):
        positions = getattr(layout, modality)
        drawn = torch.randn(len(positions), config.hidden_size, generator=media)
        drawn[1::2, LOUD] *= 6
        embeds[positions] = 0.0 if modality == muted else drawn
    time = torch.arange(len(tokens)) + torch.arange(len(tokens)) // 5  # positions with gaps
    axes = torch.stack([time, time // 2 + 1, 2 * time]) if config.model_type != "qwen2" else time[None]
    return Inputs(
        sample_id=f"formulas-{seed}",
        tensors={
            "inputs_embeds": embeds[None].to(model.dtype),
            "attention_mask": torch.ones(1, len(tokens), dtype=torch.long),
            "position_ids": axes[:, None] if len(axes) == 3 else axes,
        },
        layout=layout,
        letters=LETTERS,
        use_audio_in_video=True,
        prompt="",
    )


def sample_of(answer: str, *, id: str = "s1") -> Sample:
    """A sample with three options; what it shows is in the prompt that `asked` gives to the model."""
    clip = Media(path=Path("clip.mp4"), kind="video")
    return Sample(id=id, task="t", category="c", parts=(clip,), options=("x", "y", "z"), answer=answer)


def asked(model: BareModel, tokens: Sequence[Token], *, seed: int = 0, answer: int = RIGHT) -> BareModel:
    """The model, prepared to make this prompt of any sample, also with modalities muted."""

    def prepare_muted(sample, mutes):
        return [inputs_of(model, tokens, seed=seed, answer=answer, muted="".join(mute)) for mute in mutes]

    model.prepare_muted = prepare_muted
    model.prepare = lambda sample, mute=(): prepare_muted(sample, [mute])[0]
    model.card = SimpleNamespace(name="formulas", sink_dims=None, sink_tau=None)
    return model
