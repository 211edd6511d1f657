"""Object tokens of a prompt (Hubs, table 1), found from masks and time spans, for `tracing.trace`.

1. The family's adapter says how the model cut the video into cells (`Inputs.grid`);
2. video: the tokens whose cells the masks cover, at a level of strictness (`avsink.datasets.masks.object_cells`);
3. audio: the tokens inside the spans, which are in seconds; where spans were published as numbers of chunks, all tokens
   of these chunks.

Masks and spans of real clips are read from files (`avsink.datasets.masks.files`). Those of toy clips are exact
(`avsink.toyworld.masks`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avsink import resources
from avsink.datasets.masks.files import Spans, mask_files, read_masks, read_spans
from avsink.datasets.masks.object_cells import Strictness, block_tokens, object_tokens, sounding_tokens
from avsink.sample import SampleError
from avsink.toyworld import masks as toy

__all__ = ["ObjectFinder", "located"]

TOY_PIXELS = 96  # side of a toy mask; any number will do, since cells are found by proportion


def located(
    inputs,
    *,
    masks: np.ndarray | None = None,
    strictness: str | Strictness = "very high",
    spans: Iterable[tuple[float, float]] | None = None,
    rate: float | None = None,
    blocks: Iterable[int] | None = None,
) -> dict[str, Tensor]:
    """Find the object tokens of a prompt from what is known of the object.

    Args:
        inputs: The prompt.
        masks: Where the object is seen, (frames, height, width), in the frames that the model sees.
        strictness: How much of a token's cell the masks must cover: a level, or the name of one.
        spans: When the object is heard, (start, end) in seconds.
        rate: Audio tokens per second (25 for Qwen2.5-Omni); needed with `spans`.
        blocks: When the object is heard, as numbers of chunks of audio tokens; in place of `spans`.

    Returns:
        Modality -> sorted positions of its object tokens. A modality of which nothing was given is missing.

    Raises:
        ValueError: Both `spans` and `blocks` are given, `spans` without `rate`, or something does not fit the prompt.
    """
    if spans is not None and blocks is not None:
        raise ValueError("spans and blocks both say when the object is heard; give one of them")
    if spans is not None and rate is None:
        raise ValueError("spans need the rate: how many audio tokens the model has a second")
    layout, found = inputs.layout, {}
    if masks is not None:
        found["video"] = object_tokens(layout.frames, masks, grid=inputs.grid, strictness=strictness)
    if spans is not None:
        found["audio"] = sounding_tokens(layout.audio, spans, rate=rate)
    if blocks is not None:
        found["audio"] = block_tokens(layout.audio_chunks, blocks)
    return {modality: torch.from_numpy(positions) for modality, positions in found.items()}


@dataclass(frozen=True, kw_only=True)
class ObjectFinder:
    """Finds the object tokens of a sample: exactly for a toy clip, from files for a real one.

    Attributes:
        masks: The folder that has one folder of masks per clip, with the clip's name; None if there is none.
        spans: The file of time spans, in the format of `avsink.datasets.masks.files.read_spans`; None if there is none.
        strictness: The name of a level in `avsink.datasets.masks.object_cells.STRICTNESS`.
    """

    masks: Path | None = None
    spans: Path | None = None
    strictness: str = "very high"

    @classmethod
    def from_files(cls, *, masks: str = "", spans: str = "", strictness: str = "very high") -> ObjectFinder:
        """Make a finder from names, where a leading ~ is the home folder.

        Args:
            masks: The name of the folder of masks; "" if there is none.
            spans: The name of the file of time spans; "" if there is none.
            strictness: The name of a level of strictness.
        """
        folder, file = (resources.expanded(name) if name else None for name in (masks, spans))
        return cls(masks=folder, spans=file, strictness=strictness)

    @cached_property
    def _heard(self) -> Spans | None:
        return None if self.spans is None else read_spans(self.spans)

    def __call__(self, model, sample, inputs) -> dict[str, Tensor] | None:
        """Find the object tokens of one sample.

        Args:
            model: A loaded model.
            sample: The sample.
            inputs: Its prompt, from `model.prepare(sample)`.

        Returns:
            Modality -> sorted positions of its object tokens; None if the sample is not one clip, or nothing is
            known of it.

        Raises:
            SampleError: The masks or spans cannot be read, or do not fit the clip.
        """
        clips = [medium for medium in sample.media if medium.kind == "video"]
        if len(clips) != 1:
            return None
        card, clip = model.card, clips[0].path.stem
        masks = None if self.masks is None else self.masks / clip
        given: dict[str, object] = {}
        if "seen" in sample.truth:
            if card.sampling != "even":
                reason = 'its masks are of frames at even times; load the model with sampling="even"'
                raise SampleError(sample.id, reason)
            given["masks"] = toy.masks(sample.truth, fps=card.fps, size=TOY_PIXELS)
            given["spans"] = toy.spans(sample.truth)
        try:
            if masks is not None and masks.is_dir():
                there = len(mask_files(masks))  # one fewer than frames if the last frame is repeated to fill its grid
                given["masks"] = read_masks(masks, n_frames=min(2 * len(inputs.layout.frames), there))
            if self._heard is not None and clip in self._heard.blocks:
                given["blocks"] = self._heard.blocks[clip]
            elif self._heard is not None and clip in self._heard.spans:
                given["spans"] = self._heard.spans[clip]
            if not given:
                return None
            return located(inputs, **given, strictness=self.strictness, rate=card.audio_rate)
        except ValueError as error:
            raise error if isinstance(error, SampleError) else SampleError(sample.id, str(error)) from None
