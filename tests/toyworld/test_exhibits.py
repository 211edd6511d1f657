"""What the toy world's page shows of a clip: the same scene and times as `avsink.toyworld.masks`."""

from __future__ import annotations

from avsink.toyworld import exhibits, masks
from avsink.toyworld.held_out import read_manifest


def test_spans_are_those_of_the_masks():
    for sample in read_manifest()[:10]:
        shown = exhibits.spans(sample)
        heard = shown[shown["track"] == "heard"]
        assert list(shown.columns) == ["track", "label", "modality", "start", "end"]
        for name, rows in heard.groupby("label"):
            assert tuple(sorted(zip(rows["start"], rows["end"], strict=True))) == masks.spans(sample.truth, name=name)
        assert len(shown) == len(sample.truth["seen"]) + len(sample.truth["heard"])


def test_degradations_draw_one_column_a_level():
    sample = next(sample for sample in read_manifest() if {"seen", "heard"} <= set(sample.truth))
    assert exhibits.degradations(sample, levels=(0.0, 1.0)).width == 2 * (160 + 16) + 16
