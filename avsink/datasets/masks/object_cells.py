"""Object tokens (Hubs, table 1): the video tokens that show the object, the audio tokens while it sounds.

**Video**, as in the code released with the paper:

1. The model turns two frames into one temporal grid of H x W tokens (after merging), row by row. Token y * W + x of
   grid i is the cell (y, x) of frames 2i and 2i + 1. If the number of frames is odd, the last one counts twice.
2. The cell covers the columns round(x * width / W) to round((x + 1) * width / W) of the mask's pixels; rows likewise.
3. It belongs to the object if, in *both* frames, the share of its pixels brighter than a level exceeds a ratio
   (`STRICTNESS`): ``high`` is level 20 of 255 and ratio 0.2, ``very high`` 40 and 0.4. The second is the default of the
   released code. (Its older rule, any pixel above 30 in one frame, is not offered here.)

**Audio**:

4. Token k covers the time from k / rate to (k + 1) / rate of the clip; it belongs to the object if its middle is in a
   span [start, stop) (`sounding_tokens`). Qwen2.5-Omni has 25 tokens a second.
5. The released spans are blocks of two seconds, numbered from 0, each of them one chunk of audio tokens
   (`block_tokens`). The released code skips a clip with fewer than five chunks; here it is refused.

Positions are those of the layout, and are returned sorted. Nothing here depends on a model or its framework.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["BLOCKS", "STRICTNESS", "Strictness", "block_tokens", "object_cells", "object_tokens", "sounding_tokens"]

BLOCKS = 5  # chunks of audio tokens in a clip of the paper
PATCH = 2  # frames per temporal grid

Span = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Strictness:
    """When a cell belongs to the object: more than `ratio` of its pixels are brighter than `level`.

    Attributes:
        level: Grey level, 0 to 255.
        ratio: Share of the cell's pixels.
    """

    level: int
    ratio: float


STRICTNESS: Mapping[str, Strictness] = {
    "high": Strictness(level=20, ratio=0.2),
    "very high": Strictness(level=40, ratio=0.4),
}
"""The two rules of the released code."""


def object_cells(
    masks: np.ndarray, *, grid: tuple[int, int, int], strictness: str | Strictness = "very high"
) -> np.ndarray:
    """Which cells show the object (steps 1 to 3).

    Args:
        masks: [frames, height, width], grey levels of 0 to 255, or bool.
        grid: (T, H, W) after merging; for a model with patches (t, h, w) and 2 x 2 merging, (t, h // 2, w // 2).
        strictness: A rule, or its name in `STRICTNESS`.

    Returns:
        bool [T, H, W].

    Raises:
        ValueError: If masks and grid do not fit together.
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
    area = np.diff(y)[:, None] * np.diff(x)[None, :]  # [H, W]; 0 if a mask has fewer pixels than the grid has cells
    covered = count / np.maximum(area, 1) > rule.ratio
    return covered.reshape(n_grids, PATCH, rows, columns).all(axis=1)


def object_tokens(
    frames: Sequence[Sequence[int]],
    masks: np.ndarray,
    *,
    grid: tuple[int, int, int],
    strictness: str | Strictness = "very high",
) -> np.ndarray:
    """The positions of the video tokens that show the object.

    Args:
        frames: The positions of each temporal grid (`TokenLayout.frames`), T lists of H * W.
        masks: As in `object_cells`.
        grid: As in `object_cells`.
        strictness: As in `object_cells`.

    Returns:
        int64 [n], sorted.

    Raises:
        ValueError: If frames, masks and grid do not fit together.
    """
    positions = [np.asarray(one, dtype=np.int64).reshape(-1) for one in frames]
    n_grids, rows, columns = grid
    if len(positions) != n_grids or any(len(one) != rows * columns for one in positions):
        sizes = sorted({len(one) for one in positions})
        raise ValueError(f"the grid {tuple(grid)} does not fit {len(positions)} temporal grids of {sizes} tokens")
    cells = object_cells(masks, grid=grid, strictness=strictness).reshape(n_grids, rows * columns)
    return np.sort(np.stack(positions)[cells])


def sounding_tokens(audio: Sequence[int], spans: Iterable[Span], *, rate: float, start: float = 0.0) -> np.ndarray:
    """The positions of the audio tokens inside the spans (step 4).

    Args:
        audio: The positions of all audio tokens.
        spans: (start, stop) pairs in seconds.
        rate: Audio tokens per second.
        start: The time of the first token in seconds.

    Returns:
        int64 [n], sorted.

    Raises:
        ValueError: If a span is empty, or the rate is not positive.
    """
    if rate <= 0:
        raise ValueError(f"the rate is {rate} audio tokens a second; a positive number is expected")
    positions = np.sort(np.asarray(audio, dtype=np.int64).reshape(-1))  # [N]
    middle = start + (np.arange(len(positions)) + 0.5) / rate  # [N]
    inside = np.zeros(len(positions), dtype=bool)
    for begin, end in spans:
        if not begin < end:
            raise ValueError(f"the span from {begin} to {end} s is empty")
        inside |= (begin <= middle) & (middle < end)
    return positions[inside]


def block_tokens(chunks: Sequence[Sequence[int]], blocks: Iterable[int]) -> np.ndarray:
    """The positions of the chunks of audio tokens with these numbers (step 5).

    Args:
        chunks: The positions of each chunk (`TokenLayout.audio_chunks`).
        blocks: Numbers of chunks, from 0.

    Returns:
        int64 [n], sorted.

    Raises:
        ValueError: If there are fewer than five chunks, or a number is out of range.
    """
    if len(chunks) < BLOCKS:
        raise ValueError(
            f"the clip has {len(chunks)} chunks of audio tokens; blocks are defined only for {BLOCKS} chunks or more"
        )
    wanted = sorted(set(blocks))
    if wanted and not 0 <= wanted[0] <= wanted[-1] < len(chunks):
        raise ValueError(f"blocks {wanted} are out of range: the clip has {len(chunks)} chunks of audio tokens")
    chosen = [np.asarray(chunks[block], dtype=np.int64).reshape(-1) for block in wanted]
    return np.sort(np.concatenate([np.empty(0, np.int64), *chosen]))


def _rule(strictness: str | Strictness) -> Strictness:
    if isinstance(strictness, Strictness):
        return strictness
    if strictness not in STRICTNESS:
        raise ValueError(f"unknown strictness {strictness!r}; allowed: {', '.join(STRICTNESS)}")
    return STRICTNESS[strictness]


def _edges(pixels: int, cells: int) -> np.ndarray:
    """The edges of cells in pixels (step 2), [cells + 1]. Halves are rounded to even, as in the released code."""
    size = pixels / cells
    return np.array([min(int(round(k * size)), pixels) for k in range(cells + 1)])
