"""Exact masks and spans of toy clips: against the pictures and sounds that are drawn, and in the committed clips."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from avsink.datasets.masks.object_cells import object_cells, object_tokens, sounding_tokens
from avsink.media import read_clip
from avsink.toyworld.held_out import read_manifest
from avsink.toyworld.masks import masks, scene_of, spans
from avsink.toyworld.scene import Appearance, Scene, Sounding

OWL = Appearance(name="owl", start=1.0, stop=3.0, size=0.5, come_from=(0.3, 0.4), go_to=(0.7, 0.6))
DRUM = Appearance(name="drum", start=0.0, stop=4.0, size=0.4, come_from=(0.5, 0.5), go_to=(0.5, 0.5))
HEARD = (
    Sounding(name="owl", start=3.25, stop=5.0),
    Sounding(name="owl", start=0.5, stop=1.5),
    Sounding(name="bell", start=2.0, stop=3.0),
)
SCENE = Scene(seen=(OWL, DRUM), heard=HEARD, seed=3)


def truth_of(scene, **facts):
    return asdict(scene) | facts


def test_a_scene_can_be_rebuilt_from_the_manifest():
    assert scene_of(truth_of(SCENE, object="owl", fog=0.3)) == replace(SCENE, fog=0.3)
    for sample in read_manifest()[:20]:
        scene = scene_of(sample.truth)
        assert len(scene.seen) == len(sample.truth["seen"]) and scene.duration == sample.truth["duration"]


def test_a_sample_without_a_scene_is_refused():
    sample = next(sample for sample in read_manifest(part="match"))
    with pytest.raises(ValueError, match="truth holds no scene"):
        masks(sample.truth, fps=2, size=32)


def test_a_mask_is_where_the_object_changes_the_picture():
    """Take the object out of the scene: nothing but its mask, and its half-transparent edge, looks different."""
    found = masks(truth_of(SCENE, object="owl"), fps=4, size=96)
    whole, without = (scene.frames(4, 96).astype(int) for scene in (SCENE, replace(SCENE, seen=(DRUM,))))
    changed = (whole != without).any(-1)
    assert found.shape == (16, 96, 96) and found.any(axis=(1, 2)).tolist() == [1.0 <= k / 4 < 3.0 for k in range(16)]
    assert (changed & found).sum() > 0.98 * found.sum() and (changed & ~found).sum() < 0.15 * found.sum()


def test_the_nearer_object_hides_the_other_and_fog_hides_nothing():
    truth = truth_of(SCENE, object="owl")
    owl, drum = (masks(truth, fps=2, size=64, name=name) for name in ("owl", "drum"))
    alone = masks(truth_of(replace(SCENE, seen=(OWL,)), object="owl"), fps=2, size=64)
    assert not (owl & drum).any() and np.array_equal(owl, alone & ~drum) and owl.sum() < alone.sum()
    assert np.array_equal(owl, masks(truth | {"fog": 0.9}, fps=2, size=64))


def test_spans_are_cut_at_the_end_and_in_order():
    truth = truth_of(SCENE, object="owl")
    assert spans(truth) == ((0.5, 1.5), (3.25, 4.0)) and spans(truth, name="bell") == ((2.0, 3.0),)
    assert spans(truth, name="drum") == () and spans(truth | {"noise": 1.0}) == spans(truth)
    assert spans(truth_of(SCENE)) == (
        (0.5, 1.5),
        (2.0, 3.0),
        (3.25, 4.0),
    )  # no object is named: everything that is heard
    with pytest.raises(ValueError, match="the scene has no dog"):
        spans(truth, name="dog")


def test_the_sound_is_where_the_spans_are():
    """By tenths of a second: the object's sound alone is loud inside its spans and nowhere else."""
    alone = replace(SCENE, heard=tuple(thing for thing in HEARD if thing.name == "owl"))
    tenths = np.abs(alone.waveform()).reshape(40, -1).max(axis=1) > 0.02
    inside = [
        any(a - 1e-9 <= k / 10 and (k + 1) / 10 <= b + 1e-9 for a, b in spans(truth_of(alone))) for k in range(40)
    ]
    outside = [
        all((k + 1) / 10 <= a + 1e-9 or b - 1e-9 <= k / 10 for a, b in spans(truth_of(alone))) for k in range(40)
    ]
    assert not tenths[outside].any() and tenths[inside].mean() > 0.6


def test_mask_k_belongs_to_frame_k_of_the_model():
    """In committed clips, the scene drawn at the model's rate equals the decoded frames up to H.264's losses."""
    for sample in read_manifest(part="clean")[:6]:
        film = read_clip(sample.media[0].path, fps=2, need_sound=False).frames.astype(int)
        scene, size = scene_of(sample.truth), film.shape[1]
        drawn = scene.frames(2, size).astype(int)
        found = masks(sample.truth, fps=2, size=size)
        assert found.shape == film.shape[:3] == drawn.shape[:3] and found.any()
        assert np.abs(film - drawn).mean() < 8
        others = scene_of(
            sample.truth | {"seen": [t for t in sample.truth["seen"] if t["name"] != sample.truth["object"]]}
        )
        without = others.frames(2, size).astype(int)
        clearly = np.abs(film - without).max(axis=-1) > 60  # more than H.264's losses
        assert (clearly & found).sum() > 3 * (clearly & ~found).sum()


@pytest.mark.parametrize("strictness", ["high", "very high"])
def test_object_tokens_of_a_toy_clip_by_loops(strictness):
    """The oracle: each cell of each grid of two frames, by the share of the object's pixels in both."""
    sample = read_manifest(part="clean")[0]
    found, grid = masks(sample.truth, fps=2, size=96), (4, 6, 6)
    frames = [range(100 * i, 100 * i + 36) for i in range(4)]
    ratio = {"high": 0.2, "very high": 0.4}[strictness]
    expected = [
        100 * i + 6 * y + x
        for i in range(4)
        for y in range(6)
        for x in range(6)
        if all(found[k, 16 * y : 16 * y + 16, 16 * x : 16 * x + 16].mean() > ratio for k in (2 * i, 2 * i + 1))
    ]
    assert expected and object_tokens(frames, found, grid=grid, strictness=strictness).tolist() == expected
    silent = object_cells(np.zeros_like(found), grid=grid)
    assert not silent.any()


def test_sounding_tokens_of_a_toy_clip():
    """100 tokens of 40 ms: those whose middle is in a span, counted in milliseconds."""
    sample = read_manifest(part="clean")[0]
    own = spans(sample.truth)
    expected = [k for k in range(100) if any(1000 * a <= 40 * k + 20 < 1000 * b for a, b in own)]
    assert expected and sounding_tokens(range(100), own, rate=25).tolist() == expected
