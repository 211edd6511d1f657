"""Object tokens of a prompt (Hubs section 3.2), as `avsink.tracing.sweep` takes them: from masks and time spans.

1. `grid_of`: how the model cut the video, read off the positions (time, height, width) that it gives to each token;
2. video: the tokens whose cells the masks cover (`avsink.data.objects`, its strictness levels);
3. audio: the tokens inside the spans in seconds; or, of spans released in blocks, whole runs of audio tokens.

Masks and spans come from `avsink.data.mask_files` for real clips, and from `avsink.data.toyworld.masks` for toy ones,
where they are exact.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from avsink.data.objects import Strictness, block_tokens, object_tokens, sounding_tokens

__all__ = ["grid_of", "located"]


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
