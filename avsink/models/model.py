"""A loaded model, and what it makes of a sample.

`Model.prepare`, the way of one sample into tensors:

1. check the sample; decode its media (2 frames a second, see `avsink.media`);
2. mute, if asked: frames or waveform become zeros *before* the processor, so that every token stays (Hubs section 3.1);
3. the family's adapter writes the prompt, and its processor expands it and encodes the media;
4. lay out the tokens (`avsink.layout`), work out their positions, and put it all on the model's device.

Anything wrong with a sample or its files is a `SampleError`, which a run records before it goes on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from avsink.layout import Piece, TokenLayout
from avsink.media import Clip, read
from avsink.models.cards import ModelCard
from avsink.sample import Media, Sample, SampleError

__all__ = ["Inputs", "Model"]

MODALITIES = ("video", "audio")
FEATURES = ("pixel_values", "pixel_values_videos", "input_features")  # the tensors that have the model's precision


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """What `Model.prepare` makes of a sample.

    tensors: keyword arguments of the model's forward pass, a batch of one: input_ids [1, N], attention_mask [1, N],
        position_ids [3, 1, N] (time, height, width), and whatever the media need.
    use_audio_in_video: whether sound is interleaved with a video, for calls that work out the positions themselves
        (`generate`); the forward pass takes them from `tensors`.
    letters: option letter -> ids of the tokens that say it.
    prompt: the text, with one placeholder a medium.
    """

    sample_id: str
    tensors: Mapping[str, Tensor]
    layout: TokenLayout
    letters: Mapping[str, tuple[int, ...]]
    use_audio_in_video: bool
    prompt: str

    def to(self, device: torch.device | str) -> Inputs:
        """The same inputs on another device. The layout stays where it is: positions index from anywhere."""
        return replace(self, tensors={name: tensor.to(device) for name, tensor in self.tensors.items()})


class Model:
    """hf: the transformers model. decoder: its text decoder, the only part that instruments touch."""

    def __init__(self, *, card: ModelCard, hf, processor, adapter: ModuleType):
        self.card = card
        self.hf = hf
        self.processor = processor
        self.adapter = adapter
        self.tokenizer = processor.tokenizer
        self.decoder = hf.get_decoder()
        self._letter_ids: dict[str, tuple[int, ...]] = {}

    def __repr__(self) -> str:
        return f"Model({self.name!r}, {self.n_layers} layers, {self.dtype}, {self.device})"

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def device(self) -> torch.device:
        return self.hf.device

    @property
    def dtype(self) -> torch.dtype:
        return self.hf.dtype

    @property
    def n_layers(self) -> int:
        return self.decoder.config.num_hidden_layers

    @cached_property
    def max_seconds(self) -> float:
        """The longest sound that can be heard whole."""
        limit = float(self.processor.feature_extractor.chunk_length)
        return min(limit, self.card.max_seconds or limit)

    def letter_ids(self, letter: str) -> tuple[int, ...]:
        """Ids of the tokens that say this letter, by the card's variants; those that are one token."""
        if letter not in self._letter_ids:
            written = [variant.format(letter) for variant in self.card.letter_variants]
            encoded = self.tokenizer(written, add_special_tokens=False)["input_ids"]
            ids = tuple(dict.fromkeys(tokens[0] for tokens in encoded if len(tokens) == 1))
            if not ids:
                raise ValueError(f"{self.name}'s tokenizer has no single token for the letter {letter!r}")
            self._letter_ids[letter] = ids
        return self._letter_ids[letter]

    def forward(self, inputs: Inputs, **kwargs):
        """The model's own forward pass."""
        return self.hf(**inputs.tensors, **kwargs)

    def prepare(self, sample: Sample, *, mute: Collection[str] = ()) -> Inputs:
        """Tensors and layout of one sample. mute: `video`, `audio` or both. Raises `SampleError`."""
        if unknown := set(mute) - set(MODALITIES):
            raise ValueError(f"cannot mute {', '.join(sorted(unknown))}; the modalities are {', '.join(MODALITIES)}")
        sample.check()
        pieces = self._prompt(sample)
        try:
            clips = [_muted(clip, mute) for clip in self._decode(sample.media)]
        except ValueError as error:
            raise SampleError(sample.id, str(error)) from None
        return self._assembled(sample, pieces, clips)

    def assemble(self, sample: Sample, clips: Sequence[Clip]) -> Inputs:
        """Steps 3 and 4, for media that are at hand: one clip for each of `sample.media`, whose files are not read."""
        return self._assembled(sample, self._prompt(sample), clips)

    def _assembled(self, sample: Sample, pieces: list[Piece], clips: Sequence[Clip]) -> Inputs:
        text = "".join(piece.text for piece in pieces)
        try:
            tensors = self.adapter.encode(
                text, sample.media, clips, hf=self.hf, processor=self.processor, card=self.card
            )
        except ValueError as error:  # a `MediaError`, or what a processor has against such a picture or sound
            raise SampleError(sample.id, str(error)) from None
        tensors["position_ids"] = self.adapter.position_ids(tensors, sample.media, hf=self.hf, processor=self.processor)
        return Inputs(
            sample_id=sample.id,
            tensors={
                name: tensor.to(self.device, self.dtype if name in FEATURES else tensor.dtype)
                for name, tensor in tensors.items()
            },
            layout=self._layout(sample, pieces, text, tensors),
            letters={letter: self.letter_ids(letter) for letter in sample.letters},
            use_audio_in_video=any(medium.kind == "video" and medium.sound for medium in sample.media),
            prompt=text,
        )

    def _decode(self, media: tuple[Media, ...]) -> list[Clip]:
        """All media; clips of one sample are sampled alike, at the rate of the one that needs the slowest."""

        def read_all(fps: float) -> list[Clip]:
            limits = {"max_frames": self.card.max_frames, "max_seconds": self.max_seconds}
            rate = self.processor.feature_extractor.sampling_rate
            return [read(medium, fps=fps, sampling_rate=rate, **limits) for medium in media]

        clips = read_all(self.card.fps)
        rates = {clip.fps for medium, clip in zip(media, clips, strict=True) if medium.kind == "video"}
        return clips if len(rates) < 2 else read_all(min(rates))

    def _prompt(self, sample: Sample) -> list[Piece]:
        pieces = self.adapter.prompt(sample, system=self.card.system, processor=self.processor)
        for piece in pieces:
            for control in self.tokenizer.all_special_tokens:
                if piece.role not in ("system", "medium", "header") and control in piece.text:
                    raise SampleError(sample.id, f"its text contains the model's control token {control}")
        return pieces

    def _layout(self, sample: Sample, pieces: list[Piece], text: str, tensors: dict) -> TokenLayout:
        plain = self.tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        try:
            return TokenLayout.build(
                pieces,
                text_ids=plain["input_ids"],
                starts=[start for start, _ in plain["offset_mapping"]],
                input_ids=tensors["input_ids"][0].tolist(),
                tokens=self.adapter.media_tokens(self.hf),
                grids=self.adapter.grids(tensors, sample.media, hf=self.hf),
                answer=sample.letters.index(sample.answer) if sample.options else None,
                correct=sample.truth.get("correct_candidate"),
            )
        except ValueError as error:
            raise SampleError(sample.id, f"its tokens cannot be laid out: {error}") from None


def _muted(clip: Clip, mute: Collection[str]) -> Clip:
    """Step 2: black frames, silence."""
    if "video" in mute and clip.frames is not None:
        clip = replace(clip, frames=np.zeros_like(clip.frames))
    if "audio" in mute and clip.waveform is not None:
        clip = replace(clip, waveform=np.zeros_like(clip.waveform))
    return clip
