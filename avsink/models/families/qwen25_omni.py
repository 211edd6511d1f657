"""The Qwen2.5-Omni family: its thinker, its processor, its prompt and its positions.

Everything that is true of this family alone is in this file (`avsink.models.families.base` says what that must be):

1. `load`: the thinker class itself, so that talker and vocoder of a full checkpoint are never read;
2. `prompt`: ChatML text, one placeholder a medium (`<|vision_bos|><|VIDEO|><|vision_eos|>`);
3. `encode`: the family's own processor on arrays. It is told the sampled frame rate, and the model's own chunk length
   and position rate: its defaults fit the published checkpoints, and tokens of any other would be interleaved wrongly;
4. `position_ids`: TMRoPE positions [3, 1, N] by the model's own `get_rope_index`. It is called medium by medium,
   because it has one switch for "the videos have sound" and a prompt may hold both kinds. The result is checked against
   the rule that it must follow: without that switch the model numbers the tokens as plain text, and says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from avsink.compat import enable_torchvision
from avsink.layout import MediaTokens, Piece
from avsink.media import Clip, MediaError
from avsink.media.published import PUBLISHED
from avsink.models import weights
from avsink.models.cards import ModelCard
from avsink.models.families import qwen25_omni_files, qwen25_omni_published
from avsink.models.families.base import Family
from avsink.sample import Media, Sample, Text

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

__all__ = ["Qwen25Omni"]

PROCESSOR = "processor (preprocessor_config.json or processor_config.json, tokenizer_config.json, tokenizer.json)"
FEWEST_MEL_FRAMES = 3  # give one audio token


class Qwen25Omni(Family):
    """The thinker of Qwen2.5-Omni, and of every checkpoint fine-tuned from it."""

    features = ("pixel_values", "pixel_values_videos", "input_features")
    left_out = ("talker.", "token2wav.")

    def load(
        self, folder: Path, *, dtype: torch.dtype, device_map: str | dict | None
    ) -> tuple[PreTrainedModel, ProcessorMixin]:
        """Load the thinker and its processor."""
        enable_torchvision()
        from transformers import Qwen2_5OmniProcessor, Qwen2_5OmniThinkerForConditionalGeneration

        thinker = Qwen2_5OmniThinkerForConditionalGeneration
        config = weights.config_of(thinker, folder)
        processor = weights.made_by_transformers(
            lambda: Qwen2_5OmniProcessor.from_pretrained(folder, **weights.SAFE), folder, PROCESSOR
        )
        qwen25_omni_files.check(folder, config, processor)
        hf = weights.from_folder(
            thinker, folder, config=config, left_out=self.left_out, dtype=dtype, device_map=device_map
        )
        # get_rope_index needs this id, but the config class has no field for it.
        if getattr(hf.config, "vision_start_token_id", None) is None:
            hf.config.vision_start_token_id = _id(processor, processor.vision_bos_token)
        return hf.eval(), processor

    def sampling_rate(self, processor: ProcessorMixin) -> int:
        """Samples a second, 16,000 in the published checkpoints."""
        return processor.feature_extractor.sampling_rate

    def longest_sound(self, processor: ProcessorMixin) -> float:
        """Seconds to which the feature extractor pads every sound."""
        return float(processor.feature_extractor.chunk_length)

    def prompt(self, sample: Sample, *, system: str, processor: ProcessorMixin) -> list[Piece]:
        """Write the conversation in ChatML."""
        marks = {
            "video": (processor.vision_bos_token, processor.video_token, processor.vision_eos_token),
            "image": (processor.vision_bos_token, processor.image_token, processor.vision_eos_token),
            "audio": (processor.audio_bos_token, processor.audio_token, processor.audio_eos_token),
        }
        start, end = "<|im_start|>", "<|im_end|>"
        pieces = [Piece(text=f"{start}system\n{system}{end}\n{start}user\n", role="system")]
        for part in sample.parts:
            if isinstance(part, Text):
                pieces.append(Piece(text=part.text, role=part.role))
            else:
                pieces.append(Piece(text="".join(marks[part.kind]), role="medium", medium=part))
        if sample.options or sample.suffix:
            pieces.append(Piece(text="\n", role="suffix"))
        before, middle, after = re.split(r"\{letter\}|\{option\}", sample.prompt.option_line)
        for k, (letter, option) in enumerate(zip(sample.letters, sample.options, strict=True)):
            newline = "\n" if sample.suffix.strip() or k + 1 < len(sample.options) else ""
            if before:
                pieces.append(Piece(text=before, role="option", option=k))
            pieces.append(Piece(text=letter, role="letter", option=k))
            if isinstance(option, Media):
                pieces.append(Piece(text=middle, role="option", option=k))
                pieces.append(Piece(text="".join(marks[option.kind]), role="medium", option=k, medium=option))
                pieces.append(Piece(text=after + newline, role="option", option=k))
            else:
                pieces.append(Piece(text=f"{middle}{option}{after}{newline}", role="option", option=k))
        pieces.append(Piece(text=sample.suffix, role="suffix"))
        pieces.append(Piece(text=f"{end}\n{start}assistant\n", role="header"))
        return pieces

    def encode(
        self,
        text: str,
        media: Sequence[Media],
        clips: Sequence[Clip],
        *,
        hf: PreTrainedModel,
        processor: ProcessorMixin,
        card: ModelCard,
    ) -> dict[str, Tensor]:
        """Run the processor: ids, pixels and mel frames, grids, and lengths."""
        clip_of = list(zip(media, clips, strict=True))
        videos = [(medium, clip) for medium, clip in clip_of if medium.kind == "video"]
        images = [clip for medium, clip in clip_of if medium.kind == "image"]
        heard = [(medium, clip) for medium, clip in clip_of if clip.waveform is not None]
        numbers = {id(medium): k for k, (medium, _) in enumerate(videos)}

        arguments = {}
        shown = partial(self._shown, processor=processor, card=card)
        if images:
            arguments["images"] = [shown(clip, "image")[0] for clip in images]  # each [3, H, W]
            arguments["images_kwargs"] = {"do_resize": False}
        if videos:
            arguments["videos"] = [shown(clip, "video") for _, clip in videos]  # each [T, 3, H, W]
            arguments["videos_kwargs"] = {
                "do_resize": False,
                "fps": videos[0][1].fps,
                "do_sample_frames": False,
                "cap_pixels_per_frame": False,  # `fit` caps every frame
            }
        if heard:
            arguments["audio"] = [_waveform(medium, clip, processor) for medium, clip in heard]  # each [n]
            arguments["audio_kwargs"] = {"sampling_rate": processor.feature_extractor.sampling_rate}
        if videos and heard:
            arguments["load_audio_from_video"] = any(medium.kind == "video" for medium, _ in heard)
            arguments["audio_from_video_indices"] = [numbers.get(id(medium)) for medium, _ in heard]
        encoded = processor(
            text=[text],
            seconds_per_chunk=float(hf.config.seconds_per_chunk),
            position_id_per_seconds=hf.config.position_id_per_seconds,
            return_tensors="pt",
            **arguments,
        )
        return {name: torch.as_tensor(value) for name, value in encoded.items()}

    def fit(self, picture: np.ndarray, *, kind: str, processor: ProcessorMixin, card: ModelCard) -> np.ndarray:
        """Resize one picture within the card's limits on tokens: as the processor does, or the published loader."""
        from transformers.image_utils import SizeDict

        own = {"image": processor.image_processor, "video": processor.video_processor}[kind]
        size = _size(own, {"image": card.image_tokens, "video": card.frame_tokens}[kind])
        if card.sampling == PUBLISHED:
            return qwen25_omni_published.resized(picture, kind=kind, size=size, factor=own.patch_size * own.merge_size)
        resized = own.resize(
            _channels_first(picture[None]),  # [1, 3, H, W]
            size=SizeDict(**size),
            resample=own.resample,
            factor=own.patch_size * own.merge_size,
        )
        return resized[0].permute(1, 2, 0).numpy()  # [H', W', 3]

    def _shown(self, clip: Clip, kind: str, *, processor: ProcessorMixin, card: ModelCard) -> Tensor:
        """A clip's frames in the size of the processor, [T, 3, H, W]."""
        if clip.fitted:
            return _channels_first(clip.frames)
        fitted = [self.fit(picture, kind=kind, processor=processor, card=card) for picture in clip.frames]
        return _channels_first(np.stack(fitted))

    def media_tokens(self, hf: PreTrainedModel) -> MediaTokens:
        """The three placeholder ids of the config."""
        return MediaTokens(
            video=hf.config.video_token_id, image=hf.config.image_token_id, audio=hf.config.audio_token_id
        )

    def grids(
        self, tensors: Mapping[str, Tensor], media: Sequence[Media], *, hf: PreTrainedModel
    ) -> list[tuple[int, int, int]]:
        """The processor's grids, in tokens instead of patches."""
        return [_in_tokens(grid, hf) for medium, grid, _, _ in _facts(tensors, media) if medium.kind != "audio"]

    def position_ids(
        self, tensors: Mapping[str, Tensor], media: Sequence[Media], *, hf: PreTrainedModel, processor: ProcessorMixin
    ) -> Tensor:
        """Time, height and width of every token, [3, 1, N].

        The positions of a medium depend only on where the text before it ends. So each medium is worked out together
        with the text before it, and shifted to follow the one before.
        """
        ids = tensors["input_ids"][0].tolist()
        ends = {"audio": _id(processor, processor.audio_eos_token)}
        parts, done, offset = [], 0, 0
        for medium, grid, length, seconds in _facts(tensors, media):
            stop = ids.index(ends.get(medium.kind, _id(processor, processor.vision_eos_token)), done) + 1
            part = tensors["input_ids"][:, done:stop]  # [1, n]
            own, _ = hf.get_rope_index(
                part,
                attention_mask=torch.ones_like(part),
                image_grid_thw=grid[None] if medium.kind == "image" else None,
                video_grid_thw=grid[None] if medium.kind == "video" else None,
                use_audio_in_video=medium.kind == "video" and medium.sound,
                audio_seqlens=length[None] if length is not None else None,
                second_per_grids=seconds[None] if seconds is not None else None,
            )  # [3, 1, n]
            if medium.kind != "audio":
                _check_positions(part[0], own[:, 0], grid=_in_tokens(grid, hf), seconds=float(seconds or 0), hf=hf)
            parts.append(own + offset)
            done, offset = stop, int(parts[-1][:, 0, -1].max()) + 1
        tail = torch.arange(len(ids) - done) + offset
        return torch.cat([*parts, tail.expand(3, 1, -1)], dim=-1)


def _facts(tensors: Mapping[str, Tensor], media: Sequence[Media]) -> Iterator[tuple[Media, Tensor | None, ...]]:
    """Per medium: itself, its grid (t, h, w) in patches, its mel frames, its seconds per temporal grid."""
    videos, images = iter(tensors.get("video_grid_thw", ())), iter(tensors.get("image_grid_thw", ()))
    lengths = iter(tensors["feature_attention_mask"].sum(-1)) if "feature_attention_mask" in tensors else iter(())
    seconds = iter(tensors.get("video_second_per_grid", ()))
    for medium in media:
        if medium.kind == "image":
            yield medium, next(images), None, None
        elif medium.kind == "audio":
            yield medium, None, next(lengths), None
        else:
            yield medium, next(videos), next(lengths) if medium.sound else None, next(seconds)


def _in_tokens(grid: Tensor, hf) -> tuple[int, int, int]:
    """(T, H, W) in tokens, from a grid in patches."""
    t, h, w = grid.tolist()
    return t, h // hf.spatial_merge_size, w // hf.spatial_merge_size


def _check_positions(ids: Tensor, positions: Tensor, *, grid: tuple[int, int, int], seconds: float, hf) -> None:
    """Hold positions [3, n] of one video or image to TMRoPE.

    Audio tokens count on by one. A temporal grid has the time at which it falls on the same clock, and its tokens lie
    row by row.
    """
    config, (t, h, w) = hf.config, grid
    seen = (ids == config.video_token_id) | (ids == config.image_token_id)
    heard = ids == config.audio_token_id
    start = positions[0, seen][0]
    cell = torch.arange(h * w).repeat(t)  # [T * H * W]
    moments = (torch.arange(t) * seconds * config.position_id_per_seconds).long()
    expected = torch.stack([moments.repeat_interleave(h * w), cell // w, cell % w])
    sound = torch.arange(int(heard.sum())).expand(3, -1)
    if not torch.equal(positions[:, seen] - start, expected) or not torch.equal(positions[:, heard] - start, sound):
        import transformers

        raise RuntimeError(
            f"transformers {transformers.__version__} does not give this model's interleaved positions; install the "
            "versions that this project was tested with: pip install -c constraints.txt transformers"
        )


def _size(processor, tokens: tuple[int, int]) -> dict[str, int]:
    """Fewest and most pixels of a picture: the card's, unless the checkpoint's processor was made for smaller ones."""
    token = (processor.patch_size * processor.merge_size) ** 2  # pixels
    own = dict(processor.size)
    most = min(tokens[1] * token, own["longest_edge"])
    return {"shortest_edge": min(max(tokens[0] * token, own["shortest_edge"]), most), "longest_edge": most}


def _channels_first(frames) -> Tensor:
    return torch.from_numpy(frames).permute(0, 3, 1, 2)  # [T, H, W, 3] -> [T, 3, H, W]


def _waveform(medium: Media, clip: Clip, processor):
    """At most what the encoder hears: `avsink.media` refuses longer sounds, but for a codec's padding."""
    extractor = processor.feature_extractor
    fewest = (FEWEST_MEL_FRAMES - 1) * extractor.hop_length + 1
    if len(clip.waveform) < fewest:
        raise MediaError(
            f"the sound of {medium.path.name} lasts {len(clip.waveform) / clip.sampling_rate:.2f} s; "
            f"this model needs {fewest / extractor.sampling_rate:.2f} s"
        )
    return clip.waveform[: extractor.n_samples]


def _id(processor, token: str) -> int:
    return processor.tokenizer.convert_tokens_to_ids(token)
