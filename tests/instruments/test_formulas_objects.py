"""Object tokens, and where the explorer draws tokens, cell by cell and token by token."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from avsink.instruments import clip_explorer
from avsink.instruments.object_tokens import ObjectFinder
from avsink.toyworld.held_out import read_manifest
from avsink.toyworld.masks import masks

GRIDS, DOWN, ACROSS, RATE = 4, 2, 3, 5  # of a clip of four seconds at two frames a second
CELLS = DOWN * ACROSS


@pytest.fixture(scope="module")
def inputs():
    """Each grid followed by a second of sound, after three other tokens."""
    seconds = [range(3 + second * (CELLS + RATE), 3 + (second + 1) * (CELLS + RATE)) for second in range(GRIDS)]
    frames = tuple(torch.tensor(second[:CELLS]) for second in seconds)
    chunks = tuple(torch.tensor(second[CELLS:]) for second in seconds)
    layout = SimpleNamespace(frames=frames, audio_chunks=chunks, video=torch.cat(frames), audio=torch.cat(chunks))
    return SimpleNamespace(layout=layout, grid=(GRIDS, DOWN, ACROSS), sample_id="s")


@pytest.mark.parametrize("number", range(6))
def test_the_tokens_of_an_object_in_sight_and_in_sound(inputs, number):
    """A cell whose pixels are the object's by more than 40 % in both frames; sound whose middle is in its time."""
    sample = read_manifest(part="clean")[number]
    model = SimpleNamespace(card=SimpleNamespace(fps=2.0, audio_rate=RATE, sampling="even"))
    found = ObjectFinder()(model, sample, inputs)
    seen = masks(sample.truth, fps=2.0, size=96)  # (frames, 96, 96)
    expected = []
    for grid, tokens in enumerate(inputs.layout.frames):
        for at, position in enumerate(tokens.tolist()):
            y, x = (at // ACROSS) * 96 // DOWN, (at % ACROSS) * 96 // ACROSS
            cells = [seen[frame, y : y + 96 // DOWN, x : x + 96 // ACROSS] for frame in (2 * grid, 2 * grid + 1)]
            if all(cell.sum() / cell.size > 0.4 for cell in cells):
                expected.append(position)
    assert found["video"].tolist() == expected
    name = sample.truth["object"] if "object" in sample.truth else None
    times = [(one["start"], one["stop"]) for one in sample.truth["heard"] if name in (None, one["name"])]
    audio = inputs.layout.audio.tolist()
    assert found["audio"].tolist() == [
        position for at, position in enumerate(audio) if any(a <= (at + 0.5) / RATE < b for a, b in times)
    ]
    assert 0 < len(found["audio"])


def test_the_explorer_lays_each_token_over_its_cell(inputs):
    frames = pd.DataFrame(
        {"x": [0.1 * k for k in range(GRIDS)], "y": [0.2 * k for k in range(GRIDS)], "width": 0.6, "height": 0.3}
    )
    places, *_ = clip_explorer._places(inputs, frames, np.zeros(1000), top=1.0, n_grids=GRIDS)
    where = places.set_index("position")
    assert len(where) == GRIDS * (CELLS + RATE)
    for grid, tokens in enumerate(inputs.layout.frames):
        for row in range(DOWN):
            for column in range(ACROSS):
                found = where.loc[int(tokens[row * ACROSS + column]), ["x", "y", "x2", "y2"]]
                x, y = 0.1 * grid + column * 0.6 / ACROSS, 0.2 * grid + row * 0.3 / DOWN
                assert list(found) == pytest.approx([x, y, x + 0.6 / ACROSS, y + 0.3 / DOWN])
    for at, position in enumerate(inputs.layout.audio.tolist()):
        found = where.loc[position, ["x", "x2"]]
        assert list(found) == pytest.approx([at / (GRIDS * RATE), (at + 1) / (GRIDS * RATE)])
