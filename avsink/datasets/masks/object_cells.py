"""Object tokens (Hubs section 3.2): the video tokens that show the object, the audio tokens while it sounds.

**Video**, as in the study's code:

1. The model cuts two frames into one temporal grid of H x W tokens (after merging), row by row. Token y * W + x of grid
   i stands for the cell (y, x) of frames 2i and 2i + 1. Of an odd number of frames the last one counts twice.
2. A cell reaches from round(x * width / W) to round((x + 1) * width / W) of the mask's pixels, and likewise down.
3. It belongs to the object if, in *both* frames, the share of its pixels brighter than a level exceeds a ratio
   (`STRICTNESS`): ``high`` 20 and 0.2, ``very high`` 40 and 0.4, of 255. The second is the study's default. (The study
   has an older rule, any pixel above 30 in one frame; it is not offered here.)

**Audio**:

4. Token k covers the time from k / rate to (k + 1) / rate of the clip; it belongs to the object if its middle lies in a
   span, its start included (`sounding_tokens`). Qwen2.5-Omni has 25 tokens a second.
5. The study's released spans are blocks of two seconds, numbered from 0, each the whole of one run of audio tokens
   (`block_tokens`); a clip with fewer than five runs is skipped there, and refused here.

Positions are those of the layout, and come back sorted: nothing here depends on a model or on its framework.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["BLOCKS", "STRICTNESS", "Strictness", "block_tokens", "object_cells", "object_tokens", "sounding_tokens"]

BLOCKS = 5  # runs of audio tokens that a clip of the study has
PATCH = 2  # frames of one temporal grid

Span = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Strictness:
    """When a cell belongs to the object. level: of grey, 0 to 255. ratio: of the cell's pixels. Both to be exceeded."""

    level: int
    ratio: float


STRICTNESS: Mapping[str, Strictness] = {
    "high": Strictness(level=20, ratio=0.2),
    "very high": Strictness(level=40, ratio=0.4),
}
"""The study's two."""


def object_cells(
    masks: np.ndarray, *, grid: tuple[int, int, int], strictness: str | Strictness = "very high"
) -> np.ndarray:
    """Steps 1 to 3, bool [T, H, W].

    masks: [frames, height, width], grey levels of 0 to 255, or bool. grid: (T, H, W) after merging; of a model that
    gives patches (t, h, w) and merges 2 x 2, that is (t, h // 2, w // 2). Raises ValueError.
    """
    rule = _rule(strictness)
    masks = np.asarray(masks)
    n_grids, rows, columns = grid
    if masks.ndim != 3 or not len(masks):
        raise ValueError(f"masks are [frames, height, width]; these are {list(masks.shape)}")
    if min(grid) < 1 or len(masks) not in (PATCH * n_grids, PATCH * n_grids - 1):
        raise ValueError(f"{n_grids} grids show {PATCH * n_grids} frames, but there are {len(masks)} masks")
    if len(masks) % PATCH:
        masks = np.concatenate([masks, masks[-1:]])
    bright = masks if masks.dtype == bool else masks > rule.level  # [2T, height, width]
    y, x = _edges(masks.shape[1], rows), _edges(masks.shape[2], columns)  # [H + 1], [W + 1]
    above = np.pad(bright.cumsum(axis=1, dtype=np.int64).cumsum(axis=2), ((0, 0), (1, 0), (1, 0)))
    corners = above[:, y][:, :, x]  # pixels above and to the left of each corner, [2T, H + 1, W + 1]
    count = np.diff(np.diff(corners, axis=1), axis=2)  # [2T, H, W]
    area = np.diff(y)[:, None] * np.diff(x)[None, :]  # [H, W]; 0 where a mask has fewer pixels than the grid cells
    covered = count / np.maximum(area, 1) > rule.ratio
    return covered.reshape(n_grids, PATCH, rows, columns).all(axis=1)


def object_tokens(
    frames: Sequence[Sequence[int]],
    masks: np.ndarray,
    *,
    grid: tuple[int, int, int],
    strictness: str | Strictness = "very high",
) -> np.ndarray:
    """The positions of video tokens that show the object, int64 [n].

    frames: the positions of each temporal grid (`TokenLayout.frames`), T lists of H * W. Raises ValueError.
    """
    positions = [np.asarray(one, dtype=np.int64).reshape(-1) for one in frames]
    n_grids, rows, columns = grid
    if len(positions) != n_grids or any(len(one) != rows * columns for one in positions):
        sizes = sorted({len(one) for one in positions})
        raise ValueError(f"the grid {tuple(grid)} does not fit {len(positions)} temporal grids of {sizes} tokens")
    cells = object_cells(masks, grid=grid, strictness=strictness).reshape(n_grids, rows * columns)
    return np.sort(np.stack(positions)[cells])


def sounding_tokens(audio: Sequence[int], spans: Iterable[Span], *, rate: float, start: float = 0.0) -> np.ndarray:
    """Step 4: the positions of audio tokens inside the spans, int64 [n].

    audio: the positions of all audio tokens, in the order of time. rate: tokens a second. start: of the first, in
    seconds. Raises ValueError.
    """
    if rate <= 0:
        raise ValueError(f"{rate} audio tokens a second; a positive number is expected")
    positions = np.sort(np.asarray(audio, dtype=np.int64).reshape(-1))  # [N]
    middle = start + (np.arange(len(positions)) + 0.5) / rate  # [N]
    inside = np.zeros(len(positions), dtype=bool)
    for begin, end in spans:
        if not begin < end:
            raise ValueError(f"the span from {begin} to {end} s is empty")
        inside |= (begin <= middle) & (middle < end)
    return positions[inside]


def block_tokens(chunks: Sequence[Sequence[int]], blocks: Iterable[int]) -> np.ndarray:
    """Step 5: the positions of the runs of audio tokens with these numbers, int64 [n].

    chunks: the positions of each unbroken run (`TokenLayout.audio_chunks`). Raises ValueError.
    """
    if len(chunks) < BLOCKS:
        raise ValueError(
            f"the clip has {len(chunks)} runs of audio tokens; blocks are known only where there are {BLOCKS}"
        )
    wanted = sorted(set(blocks))
    if wanted and not 0 <= wanted[0] <= wanted[-1] < len(chunks):
        raise ValueError(f"blocks {wanted} of {len(chunks)} runs of audio tokens")
    chosen = [np.asarray(chunks[block], dtype=np.int64).reshape(-1) for block in wanted]
    return np.sort(np.concatenate([np.empty(0, np.int64), *chosen]))


def _rule(strictness: str | Strictness) -> Strictness:
    if isinstance(strictness, Strictness):
        return strictness
    if strictness not in STRICTNESS:
        raise ValueError(f"unknown strictness {strictness!r}; allowed: {', '.join(STRICTNESS)}")
    return STRICTNESS[strictness]


def _edges(pixels: int, cells: int) -> np.ndarray:
    """Step 2, where cells begin and end, [cells + 1]. Halves are rounded to even, as the study's code does."""
    size = pixels / cells
    return np.array([min(int(round(k * size)), pixels) for k in range(cells + 1)])
