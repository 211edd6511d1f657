"""Object tokens of a prompt (Hubs section 3.2), as `tracing.trace` takes them: from masks and time spans.

1. how the model cut the video into cells is what the family's adapter says (`Inputs.grid`);
2. video: the tokens whose cells the masks cover (`avsink.datasets.masks.object_cells`, its strictness levels);
3. audio: the tokens inside the spans in seconds; or, of spans released in blocks, whole chunks of audio tokens.

Masks and spans come from `avsink.datasets.masks.files` for real clips, and from `avsink.toyworld.masks` for toy ones,
where they are exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avsink.datasets.masks.files import Spans, mask_files, read_masks, read_spans
from avsink.datasets.masks.object_cells import Strictness, block_tokens, object_tokens, sounding_tokens
from avsink.sample import SampleError
from avsink.toyworld import masks as toy

__all__ = ["ObjectFinder", "located"]

TOY_PIXELS = 96  # a side; any will do, cells are found by proportion


def located(
    inputs,
    *,
    masks: np.ndarray | None = None,
    strictness: str | Strictness = "very high",
    spans: Iterable[tuple[float, float]] | None = None,
    rate: float | None = None,
    blocks: Iterable[int] | None = None,
) -> dict[str, Tensor]:
    """Modality -> sorted positions of its object tokens, for what is known of it. Raises ValueError.

    masks: [frames, height, width], of the frames that the model sees. spans: in seconds; rate: audio tokens a second
    (25 of Qwen2.5-Omni). blocks: numbers of chunks of audio tokens, instead of spans.
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
    """Finds the object tokens of a sample: exact if it is a toy clip, else from files.

    Attributes:
        masks: a folder with a folder of masks for each clip, by the clip's name; None: none are known.
        spans: a file of `avsink.datasets.masks.files.read_spans`; None: none are known.
        strictness: of masks, a name in `avsink.datasets.masks.object_cells.STRICTNESS`.
    """

    masks: Path | None = None
    spans: Path | None = None
    strictness: str = "very high"

    @classmethod
    def from_files(cls, *, masks: str = "", spans: str = "", strictness: str = "very high") -> ObjectFinder:
        """The same from names of a folder and a file; "" for none."""
        folder, file = (Path(name).expanduser() if name else None for name in (masks, spans))
        return cls(masks=folder, spans=file, strictness=strictness)

    @cached_property
    def _heard(self) -> Spans | None:
        return None if self.spans is None else read_spans(self.spans)

    def __call__(self, model, sample, inputs) -> dict[str, Tensor] | None:
        """Modality -> sorted positions of its object tokens; None where nothing is known of the sample.

        inputs: of `model.prepare(sample)`. Raises `SampleError` for masks or spans that do not fit.
        """
        clips = [medium for medium in sample.media if medium.kind == "video"]
        if len(clips) != 1:
            return None
        card, clip = model.card, clips[0].path.stem
        masks = None if self.masks is None else self.masks / clip
        given: dict[str, object] = {}
        if "seen" in sample.truth:
            given["masks"] = toy.masks(sample.truth, fps=card.fps, size=TOY_PIXELS)
            given["spans"] = toy.spans(sample.truth)
        try:
            if masks is not None and masks.is_dir():
                there = len(mask_files(masks))  # one fewer where the last frame is repeated to fill its grid
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
