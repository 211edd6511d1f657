"""Object tokens of real prompts: toy clips through a model's processor, against the grid that the processor reports."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from avsink.datasets.masks.object_cells import object_cells
from avsink.instruments.object_tokens import ObjectFinder, located
from avsink.sample import SampleError
from avsink.toyworld.held_out import read_manifest
from avsink.toyworld.masks import masks, spans


@pytest.fixture(scope="module")
def prepared(model):
    sample = read_manifest(part="clean")[0]
    return sample, model.prepare(sample)


def test_the_grid_is_the_processors(model, prepared):
    _, inputs = prepared
    t, h, w = inputs.tensors["video_grid_thw"][0].tolist()
    merge = model.hf.spatial_merge_size
    assert inputs.grid == (t, h // merge, w // merge)


def test_where_the_object_is_seen_and_heard(model, prepared):
    """Each video token by its own position ids; each audio token by its place in the sound."""
    sample, inputs = prepared
    layout, grid = inputs.layout, inputs.grid
    own = masks(sample.truth, fps=model.card.fps, size=96)
    found = located(inputs, masks=own, spans=spans(sample.truth), rate=25)
    assert set(found) == {"video", "audio"} and all(len(found[name]) for name in found)
    cells = object_cells(own, grid=grid)
    places = inputs.tensors["position_ids"][:, 0]
    expected = []
    for i, frame in enumerate(layout.frames):
        top, left = places[1, frame].min(), places[2, frame].min()
        expected += [p for p in frame.tolist() if cells[i, int(places[1, p] - top), int(places[2, p] - left)]]
    assert found["video"].tolist() == sorted(expected)
    heard = [
        p for k, p in enumerate(layout.audio.tolist()) if any(a <= (k + 0.5) / 25 < b for a, b in spans(sample.truth))
    ]
    assert found["audio"].tolist() == heard
    high = located(inputs, masks=own, strictness="high")
    assert set(high) == {"video"} and set(found["video"].tolist()) <= set(high["video"].tolist())
    assert torch.isin(found["video"], layout.video).all() and torch.isin(found["audio"], layout.audio).all()


def test_blocks_are_runs_of_audio(prepared):
    _, inputs = prepared
    chunks = tuple(torch.arange(10 * k, 10 * k + 4) for k in range(5))
    longer = replace(inputs, layout=replace(inputs.layout, audio_chunks=chunks))
    assert located(longer, blocks=[4, 1])["audio"].tolist() == [10, 11, 12, 13, 40, 41, 42, 43]
    with pytest.raises(ValueError, match="chunks of audio tokens; blocks are defined only for 5 chunks or more"):
        located(inputs, blocks=[0])


def test_what_cannot_be_located(prepared):
    _, inputs = prepared
    with pytest.raises(ValueError, match="spans need the rate"):
        located(inputs, spans=[(0, 1)])
    with pytest.raises(ValueError, match="give one of them"):
        located(inputs, spans=[(0, 1)], rate=25, blocks=[0])
    with pytest.raises(ValueError, match="grids show .* frames, but there are 3 masks"):
        located(inputs, masks=np.zeros((3, 8, 8), dtype=bool))
    with pytest.raises(ValueError, match="shows no video"):
        located(replace(inputs, grids=()), masks=np.zeros((4, 8, 8), dtype=bool))
    with pytest.raises(ValueError, match="pictures of different sizes"):
        located(replace(inputs, grids=(*inputs.grids, (1, 1, 1))), masks=np.zeros((4, 8, 8), dtype=bool))
    assert located(inputs) == {}


def test_masks_of_an_odd_number_of_frames_are_as_many_as_the_frames(model, prepared, tmp_path):
    """The last frame is repeated to fill its grid; nobody makes a mask of the repetition."""
    sample, inputs = prepared
    grids = len(inputs.layout.frames)
    clip = sample.media[0].path.stem
    (tmp_path / clip).mkdir()
    for k in range(2 * grids - 1):
        Image.fromarray(np.full((96, 96), 255, dtype=np.uint8)).save(tmp_path / clip / f"{k}.png")
    found = ObjectFinder(masks=tmp_path)(model, replace(sample, truth={}), inputs)
    assert found["video"].tolist() == inputs.layout.video.tolist()
    (tmp_path / clip / "0.png").unlink()
    with pytest.raises(
        SampleError, match=f"{grids} grids show {2 * grids} frames, but there are {2 * grids - 2} masks"
    ):
        ObjectFinder(masks=tmp_path)(model, replace(sample, truth={}), inputs)
