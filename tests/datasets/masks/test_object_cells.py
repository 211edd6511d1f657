"""Object tokens: the grid rule against explicit loops over cells and pixels, spans against a loop over tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsink.datasets.masks.object_cells import (
    STRICTNESS,
    Strictness,
    block_tokens,
    object_cells,
    object_tokens,
    sounding_tokens,
)


def slow_cells(masks, grid, level, ratio):
    """The rule as it is written down, cell by cell and pixel by pixel."""
    n_grids, rows, columns = grid
    found = np.zeros(grid, dtype=bool)
    for i in range(n_grids):
        for gy in range(rows):
            for gx in range(columns):
                both = True
                for k in (2 * i, min(2 * i + 1, len(masks) - 1)):
                    height, width = masks[k].shape
                    y0, y1 = round(gy * (height / rows)), min(round((gy + 1) * (height / rows)), height)
                    x0, x1 = round(gx * (width / columns)), min(round((gx + 1) * (width / columns)), width)
                    bright = total = 0
                    for y in range(y0, y1):
                        for x in range(x0, x1):
                            total += 1
                            bright += int(masks[k][y, x]) > level
                    both &= total > 0 and bright / total > ratio
                found[i, gy, gx] = both
    return found


@st.composite
def masks_and_grid(draw):
    grid = (draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    frames = 2 * grid[0] - draw(st.integers(0, 1))
    height, width = draw(st.integers(1, 17)), draw(st.integers(1, 17))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    levels = np.array([0, 20, 21, 40, 41, 255], dtype=np.uint8)
    shares = rng.dirichlet(np.full(6, 0.4))
    return rng.choice(levels, size=(frames, height, width), p=shares), grid


@settings(max_examples=150, deadline=None)
@given(masks_and_grid(), st.sampled_from(list(STRICTNESS)))
def test_the_grid_rule_is_that_of_the_loops(drawn, strictness):
    masks, grid = drawn
    rule = {"high": (20, 0.2), "very high": (40, 0.4)}[strictness]
    assert np.array_equal(object_cells(masks, grid=grid, strictness=strictness), slow_cells(masks, grid, *rule))


@settings(max_examples=60, deadline=None)
@given(masks_and_grid())
def test_very_high_is_stricter_than_high(drawn):
    masks, grid = drawn
    strict, loose = (object_cells(masks, grid=grid, strictness=name) for name in ("very high", "high"))
    assert not (strict & ~loose).any()


def test_both_bounds_must_be_exceeded_in_both_frames():
    """One cell of 10 x 10 pixels: 40 bright ones are a share of 0.4, which does not exceed it."""

    def covered(*counts, value=255, strictness="very high"):
        masks = np.zeros((len(counts), 10, 10), dtype=np.uint8)
        for mask, count in zip(masks, counts, strict=True):
            mask.reshape(-1)[:count] = value
        return bool(object_cells(masks, grid=(1, 1, 1), strictness=strictness).item())

    assert [covered(n, n) for n in (40, 41)] == [False, True]
    assert [covered(n, n, strictness="high") for n in (20, 21)] == [False, True]
    assert not covered(100, 40) and not covered(40, 100) and covered(41)  # a single frame counts twice
    assert [covered(100, 100, value=value) for value in (40, 41)] == [False, True]
    assert [covered(100, 100, value=value, strictness="high") for value in (20, 21)] == [False, True]
    assert covered(100, 100, value=7, strictness=Strictness(level=6, ratio=0.9))


def test_bool_masks_are_white_where_they_are_true():
    masks = np.random.default_rng(0).random((4, 30, 30)) < 0.4
    for name in STRICTNESS:
        grey = object_cells(masks.astype(np.uint8) * 255, grid=(2, 3, 3), strictness=name)
        assert np.array_equal(object_cells(masks, grid=(2, 3, 3), strictness=name), grey)


def test_tokens_are_the_positions_of_the_cells():
    """Grids need not be contiguous, nor in order: the tokens of one are scattered among those of another."""
    masks = np.zeros((4, 4, 6), dtype=bool)
    masks[:2, :2, 2:4] = True  # grid 0: row 0, column 1
    masks[2:, 2:, 4:] = True  # grid 1: row 1, column 2
    frames = [[10, 12, 14, 16, 18, 20], [11, 13, 15, 17, 19, 21]]
    assert object_tokens(frames, masks, grid=(2, 2, 3)).tolist() == [12, 21]
    assert object_tokens(frames[::-1], masks, grid=(2, 2, 3)).tolist() == [13, 20]
    assert object_tokens(frames, np.zeros_like(masks), grid=(2, 2, 3)).tolist() == []


@pytest.mark.parametrize(
    ("masks", "grid", "strictness", "reason"),
    [
        (np.zeros((5, 8, 8)), (2, 2, 2), "high", "2 grids show 4 frames, but there are 5 masks"),
        (np.zeros((2, 8, 8)), (2, 2, 2), "high", "2 grids show 4 frames, but there are 2 masks"),
        (np.zeros((8, 8)), (2, 2, 2), "high", r"masks are \[frames, height, width\]; these are \[8, 8\]"),
        (np.zeros((4, 8, 8)), (2, 2, 3), "high", "the grid .* does not fit 2 temporal grids of"),
        (np.zeros((4, 8, 8)), (2, 2, 2), "low", "unknown strictness 'low'; allowed: high, very high"),
    ],
)
def test_what_does_not_fit_is_refused(masks, grid, strictness, reason):
    with pytest.raises(ValueError, match=reason):
        object_tokens([range(4), range(4, 8)], masks, grid=grid, strictness=strictness)


SPANS = st.lists(
    st.tuples(st.integers(-4, 40), st.integers(1, 20)).map(lambda s: (s[0] / 4, (s[0] + s[1]) / 4)), max_size=4
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 500), unique=True, max_size=80),
    SPANS,
    st.sampled_from([2.0, 12.5, 25.0]),
    st.integers(0, 3),
)
def test_a_token_sounds_if_its_middle_is_in_a_span(audio, spans, rate, start):
    expected = []
    for k, position in enumerate(sorted(audio)):
        middle = start + (k + 0.5) / rate
        if any(begin <= middle < end for begin, end in spans):
            expected.append(position)
    assert sounding_tokens(audio, spans, rate=rate, start=start).tolist() == expected


def test_ten_seconds_of_qwen_in_blocks_and_in_seconds():
    """250 tokens in five chunks of 50 with other tokens between them: blocks of two seconds are spans of two."""
    chunks = [list(range(100 * k, 100 * k + 50)) for k in range(5)]
    audio = [p for chunk in chunks for p in chunk]
    blocks = block_tokens(chunks, [3, 0, 3])
    assert blocks.tolist() == [*chunks[0], *chunks[3]]
    assert np.array_equal(blocks, sounding_tokens(audio, [(6.0, 8.0), (0.0, 2.0)], rate=25))
    assert block_tokens(chunks, []).tolist() == []


def test_invalid_spans_and_blocks():
    with pytest.raises(ValueError, match="the span from 2 to 2 s is empty"):
        sounding_tokens([1, 2], [(2, 2)], rate=25)
    with pytest.raises(ValueError, match="0 audio tokens a second"):
        sounding_tokens([1, 2], [(1, 2)], rate=0)
    with pytest.raises(ValueError, match="the clip has 4 chunks of audio tokens"):
        block_tokens([[1], [2], [3], [4]], [0])
    with pytest.raises(ValueError, match=r"blocks \[0, 5\] are out of range: the clip has 5 chunks"):
        block_tokens([[1], [2], [3], [4], [5]], [0, 5])
    with pytest.raises(ValueError, match=r"blocks \[-1\]"):
        block_tokens([[1], [2], [3], [4], [5]], [-1])
