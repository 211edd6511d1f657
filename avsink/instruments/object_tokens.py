"""Object tokens of a prompt (Hubs section 3.2), as `avsink.instruments.tracing.trace` takes them: from masks and time spans.

1. `grid_of`: how the model cut the video, read off the positions (time, height, width) that it gives to each token;
2. video: the tokens whose cells the masks cover (`avsink.datasets.masks.object_cells`, its strictness levels);
3. audio: the tokens inside the spans in seconds; or, of spans released in blocks, whole runs of audio tokens.

Masks and spans come from `avsink.datasets.masks.files` for real clips, and from `avsink.toyworld.masks` for toy ones,
where they are exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avsink.datasets.masks.files import Spans, mask_files, read_masks
from avsink.datasets.masks.object_cells import Strictness, block_tokens, object_tokens, sounding_tokens
from avsink.sample import SampleError
from avsink.toyworld import masks as toy

__all__ = ["grid_of", "located", "of_sample"]

TOY_PIXELS = 96  # a side; any will do, cells are found by proportion


def grid_of(inputs) -> tuple[int, int, int]:
    """(T, H, W) of the only video, in tokens. Raises ValueError unless its tokens lie row by row."""
    frames = inputs.layout.frames
    if not frames:
        raise ValueError(f"sample {inputs.sample_id} shows no video, so it has no grid")
    positions = inputs.tensors["position_ids"][1:, 0].cpu()  # [2, N], height and width
    shapes = set()
    for frame in frames:
        y, x = positions[:, frame] - positions[:, frame[:1]]  # [n] each, from the first token of the grid
        rows, columns = int(y.max()) + 1, int(x.max()) + 1
        order = torch.arange(len(frame))
        if len(frame) != rows * columns or not torch.equal(y * columns + x, order):
            raise ValueError(f"sample {inputs.sample_id}: the tokens of a temporal grid do not lie row by row")
        shapes.add((rows, columns))
    if len(shapes) != 1:
        raise ValueError(f"sample {inputs.sample_id} shows pictures of different sizes; masks are of one clip")
    return len(frames), *shapes.pop()


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
    (25 of Qwen2.5-Omni). blocks: numbers of runs of audio tokens, instead of spans.
    """
    if spans is not None and blocks is not None:
        raise ValueError("spans and blocks both say when the object is heard; give one of them")
    if spans is not None and rate is None:
        raise ValueError("spans need the rate: how many audio tokens the model has a second")
    layout, found = inputs.layout, {}
    if masks is not None:
        found["video"] = object_tokens(layout.frames, masks, grid=grid_of(inputs), strictness=strictness)
    if spans is not None:
        found["audio"] = sounding_tokens(layout.audio, spans, rate=rate)
    if blocks is not None:
        found["audio"] = block_tokens(layout.audio_chunks, blocks)
    return {modality: torch.from_numpy(positions) for modality, positions in found.items()}


def of_sample(
    model, sample, *, masks: Path | None = None, spans: Spans | None = None, strictness: str | Strictness = "very high"
) -> dict[str, Tensor] | None:
    """`located` for a sample: exact if it is a toy clip, else from files; None where nothing is known of it.

    masks: a folder with a folder of masks for each clip, by the clip's name. spans: of `read_spans`. Raises
    `SampleError` for masks that do not fit.
    """
    clips = [medium for medium in sample.media if medium.kind == "video"]
    if len(clips) != 1:
        return None
    card, clip = model.card, clips[0].path.stem
    given: dict[str, object] = {}
    if "seen" in sample.truth:
        given["masks"] = toy.masks(sample.truth, fps=card.fps, size=TOY_PIXELS)
        given["spans"] = toy.spans(sample.truth)
    try:
        inputs = model.prepare(sample)
        if masks is not None and (masks / clip).is_dir():
            there = len(mask_files(masks / clip))  # one fewer where the last frame is repeated to fill its grid
            given["masks"] = read_masks(masks / clip, n_frames=min(2 * len(inputs.layout.frames), there))
        if spans is not None and clip in spans.blocks:
            given["blocks"] = spans.blocks[clip]
        elif spans is not None and clip in spans.spans:
            given["spans"] = spans.spans[clip]
        return located(inputs, **given, strictness=strictness, rate=card.audio_rate) if given else None
    except ValueError as error:
        raise error if isinstance(error, SampleError) else SampleError(sample.id, str(error)) from None
