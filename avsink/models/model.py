"""A loaded model, and what it makes of a sample.

`Model.prepare`, the way of one sample into tensors:

1. check the sample; decode its media (2 frames a second, by the card's `sampling`, see `avsink.media`);
2. mute, if asked: frames or waveform become zeros *before* the processor, so that every token stays (Hubs);
3. the family's adapter (`avsink.models.families.base`) writes the prompt, expands it and encodes the media;
4. lay out the tokens (`avsink.layout`), work out their positions, of which the model must have enough, and move
   everything to the model's device.

Anything wrong with a sample or its files is a `SampleError`, which a measurement records before it goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from avsink.layout import Piece, TokenLayout
from avsink.media import Clip, read
from avsink.models.cards import ModelCard
from avsink.models.families.base import Family
from avsink.sample import Media, Sample, SampleError

__all__ = ["Inputs", "Model"]

MODALITIES = ("video", "audio")
STRETCHED = ("linear", "dynamic", "yarn")  # rotary scaling by a factor that max_position_embeddings may leave out


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """What `Model.prepare` makes of a sample.

    Attributes:
        sample_id: The sample's id.
        tensors: Keyword arguments of the model's forward pass, a batch of one: `input_ids` [1, N], `attention_mask`
            [1, N], `position_ids` [3, 1, N] (time, height, width), and whatever the media need.
        layout: Which token is what.
        letters: Option letter -> ids of the tokens that spell it.
        use_audio_in_video: Whether sound is interleaved with a video, for calls that work out the positions themselves
            (`generate`); the forward pass takes them from `tensors`.
        prompt: The text, with one placeholder a medium.
        grids: (T, H, W) in tokens of each video or image in turn, row by row; none of prompts made in code.
    """

    sample_id: str
    tensors: Mapping[str, Tensor]
    layout: TokenLayout
    letters: Mapping[str, tuple[int, ...]]
    use_audio_in_video: bool
    prompt: str
    grids: tuple[tuple[int, int, int], ...] = ()

    @property
    def grid(self) -> tuple[int, int, int]:
        """(T, H, W) in tokens of everything shown, if it has one size. Raises ValueError if not."""
        if not self.grids:
            raise ValueError(f"sample {self.sample_id} shows no video, so it has no grid")
        if len({(h, w) for _, h, w in self.grids}) != 1:
            raise ValueError(f"sample {self.sample_id} shows pictures of different sizes, so it has no single grid")
        return sum(t for t, _, _ in self.grids), *self.grids[0][1:]

    def to(self, device: torch.device | str) -> Inputs:
        """Copy the tensors to a device. The layout stays on the CPU: its positions index tensors on any device."""
        return replace(self, tensors={name: tensor.to(device) for name, tensor in self.tensors.items()})


class Model:
    """A model, its processor, and what is known of both.

    Attributes:
        card: What no file of the checkpoint says.
        hf: The transformers model.
        processor: Its processor, with the tokenizer.
        adapter: The adapter of the model's family.
        decoder: The text decoder, the only part that instruments touch.
    """

    def __init__(self, *, card: ModelCard, hf, processor, adapter: Family):
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
        """The name on the card."""
        return self.card.name

    @property
    def device(self) -> torch.device:
        """Where inputs go: the device of the first weights."""
        return self.hf.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return self.hf.dtype

    @property
    def n_layers(self) -> int:
        """Layers of the text decoder."""
        return self.decoder.config.num_hidden_layers

    @cached_property
    def max_positions(self) -> int:
        """Tokens of the longest prompt, and the number of positions, that the config says the text decoder takes."""
        config = self.decoder.config
        rope, most = config.rope_parameters or {}, config.max_position_embeddings
        if rope.get("rope_type") in STRETCHED:
            most = max(most, int(rope["factor"] * (rope.get("original_max_position_embeddings") or most)))
        return most

    @cached_property
    def sampling_rate(self) -> int:
        """Samples a second of the sound that the model takes."""
        return self.adapter.sampling_rate(self.processor)

    @cached_property
    def max_seconds(self) -> float:
        """Seconds of the longest sound that can be heard whole."""
        limit = self.adapter.longest_sound(self.processor)
        return min(limit, self.card.max_seconds or limit)

    def letter_ids(self, letter: str) -> tuple[int, ...]:
        """Ids of the single tokens that spell this letter, in the card's variants."""
        if letter not in self._letter_ids:
            written = [variant.format(letter) for variant in self.card.letter_variants]
            encoded = self.tokenizer(written, add_special_tokens=False)["input_ids"]
            ids = tuple(dict.fromkeys(tokens[0] for tokens in encoded if len(tokens) == 1))
            if not ids:
                raise ValueError(f"{self.name}'s tokenizer has no single token for the letter {letter!r}")
            self._letter_ids[letter] = ids
        return self._letter_ids[letter]

    def forward(self, inputs: Inputs, **kwargs):
        """Run the model's own forward pass."""
        return self.hf(**inputs.tensors, **kwargs)

    def prepare(self, sample: Sample, *, mute: Collection[str] = ()) -> Inputs:
        """Make tensors and layout of one sample. `mute`: `video`, `audio` or both. Raises `SampleError`."""
        return self.prepare_muted(sample, [mute])[0]

    def prepare_muted(self, sample: Sample, mutes: Sequence[Collection[str]]) -> list[Inputs]:
        """`prepare` one sample once for each way of muting it; its media are decoded only once."""
        if unknown := set().union(*mutes) - set(MODALITIES):
            raise ValueError(f"cannot mute {', '.join(sorted(unknown))}; the modalities are {', '.join(MODALITIES)}")
        sample.check()
        pieces = self._prompt(sample)
        try:
            clips = self._decode(sample.media)
        except ValueError as error:
            raise SampleError(sample.id, str(error)) from None
        return [self._assembled(sample, pieces, [_muted(clip, mute) for clip in clips]) for mute in mutes]

    def assemble(self, sample: Sample, clips: Sequence[Clip]) -> Inputs:
        """Steps 3 and 4, for media that are decoded already: one clip for each of `sample.media`; no file is read."""
        return self._assembled(sample, self._prompt(sample), clips)

    def _assembled(self, sample: Sample, pieces: list[Piece], clips: Sequence[Clip]) -> Inputs:
        text = "".join(piece.text for piece in pieces)
        try:
            tensors = self.adapter.encode(
                text, sample.media, clips, hf=self.hf, processor=self.processor, card=self.card
            )
        except ValueError as error:  # a `MediaError`, or a processor that cannot take such a picture or sound
            raise SampleError(sample.id, str(error)) from None
        tensors["position_ids"] = self.adapter.position_ids(tensors, sample.media, hf=self.hf, processor=self.processor)
        self._check_length(sample, tensors)
        grids = tuple(self.adapter.grids(tensors, sample.media, hf=self.hf))
        return Inputs(
            sample_id=sample.id,
            tensors={
                name: tensor.to(self.device, self.dtype if name in self.adapter.features else tensor.dtype)
                for name, tensor in tensors.items()
            },
            layout=self._layout(sample, pieces, text, tensors, grids),
            letters={letter: self.letter_ids(letter) for letter in sample.letters},
            use_audio_in_video=any(medium.kind == "video" and medium.sound for medium in sample.media),
            prompt=text,
            grids=grids,
        )

    def _check_length(self, sample: Sample, tensors: Mapping[str, Tensor]) -> None:
        needed, most = max(tensors["input_ids"].shape[1], int(tensors["position_ids"].max()) + 1), self.max_positions
        if needed > most:
            raise SampleError(
                sample.id,
                f"its prompt takes {needed:,} positions, and {self.name} has {most:,} (by its config.json); take "
                "shorter media, or load the model with a lower max_frames or max_tokens_per_frame",
            )

    def _decode(self, media: tuple[Media, ...]) -> list[Clip]:
        """All media. Clips of one sample are sampled at one rate, that of the clip that needs the lowest."""

        def read_all(fps: float) -> list[Clip]:
            limits = {"max_frames": self.card.max_frames, "max_seconds": self.max_seconds}
            rates = {"fps": fps, "sampling_rate": self.sampling_rate}
            how = {"sampling": self.card.sampling, **rates, **limits}
            return [read(medium, fit=self._fit(medium.kind), **how) for medium in media]

        clips = read_all(self.card.fps)
        rates = {clip.fps for medium, clip in zip(media, clips, strict=True) if medium.kind == "video"}
        return clips if len(rates) < 2 else read_all(min(rates))

    def _fit(self, kind: str) -> Callable[[np.ndarray], np.ndarray]:
        """What resizes a picture of this kind of medium as the processor would."""
        return partial(self.adapter.fit, kind=kind, processor=self.processor, card=self.card)

    def _prompt(self, sample: Sample) -> list[Piece]:
        system = self.card.system if sample.prompt.system is None else sample.prompt.system
        pieces = self.adapter.prompt(sample, system=system, processor=self.processor)
        for piece in pieces:
            for control in self.tokenizer.all_special_tokens:
                if piece.role not in ("system", "medium", "header") and control in piece.text:
                    raise SampleError(sample.id, f"its text contains the model's control token {control}")
        return pieces

    def _layout(self, sample: Sample, pieces: list[Piece], text: str, tensors: dict, grids: Sequence) -> TokenLayout:
        plain = self.tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        try:
            return TokenLayout.build(
                pieces,
                text_ids=plain["input_ids"],
                starts=[start for start, _ in plain["offset_mapping"]],
                input_ids=tensors["input_ids"][0].tolist(),
                tokens=self.adapter.media_tokens(self.hf),
                grids=[h * w for _, h, w in grids],
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
