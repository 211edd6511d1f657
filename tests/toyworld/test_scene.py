"""Scenes: the ground truth and what is rendered from it agree."""

from dataclasses import replace

import numpy as np
import pytest

from avsink.toyworld.prompts import NAMES
from avsink.toyworld.scene import Appearance, Scene, Sounding
from avsink.toyworld.sounds import RATE, sound
from avsink.toyworld.sprites import sprite

OWL = Appearance(name="owl", start=1.0, stop=3.0, size=0.5, come_from=(0.3, 0.4), go_to=(0.7, 0.6))
SCENE = Scene(seen=(OWL,), heard=(Sounding(name="bell", start=1.0, stop=2.5),), seed=5)


def test_the_mask_is_where_the_picture_changes():
    with_owl, without = SCENE.frames(4, 96).astype(int), replace(SCENE, seen=()).frames(4, 96).astype(int)
    changed = (with_owl != without).any(-1)
    masks = SCENE.masks(4, 96)[:, 0]
    assert masks.any(axis=(1, 2)).tolist() == [1.0 <= i / 4 < 3.0 for i in range(16)]
    assert (changed & masks).sum() / masks.sum() > 0.98
    # Half-transparent edges may change pixels just outside of the mask, nothing else does.
    assert (changed & ~masks).sum() < 0.1 * masks.sum()


def test_a_later_object_hides_an_earlier_one_in_the_masks():
    over = replace(OWL, name="clock")
    masks = replace(SCENE, seen=(OWL, over)).masks(2, 96)
    assert not (masks[:, 0] & masks[:, 1]).any()
    assert masks[:, 1].sum() == replace(SCENE, seen=(over,)).masks(2, 96).sum()


def test_the_sound_is_where_its_span_says():
    wave = SCENE.waveform()
    assert wave.shape == (4 * RATE,) and wave.dtype == np.float32
    loud = np.abs(wave.reshape(-1, RATE // 10)).max(-1) > 0.05  # tenths of a second
    assert loud[10:25].all() and not loud[:10].any() and not loud[25:].any()


def test_full_degradation_leaves_nothing_and_none_changes_nothing():
    assert (replace(SCENE, fog=1.0).frames(2, 64) == replace(SCENE, fog=1.0, seen=()).frames(2, 64)).all()
    other = replace(SCENE, heard=(Sounding(name="frog", start=1.0, stop=2.5),))
    assert np.array_equal(replace(SCENE, noise=1.0).waveform(), replace(other, noise=1.0).waveform())
    assert not np.array_equal(SCENE.waveform(), other.waveform())


@pytest.mark.parametrize("level", [0.2, 0.5, 0.8])
def test_contrast_falls_with_fog_and_the_signal_with_noise(level):
    foggy = replace(SCENE, fog=level)
    difference = np.abs(foggy.frames(2, 64).astype(int) - replace(foggy, seen=()).frames(2, 64)).sum()
    clean = np.abs(SCENE.frames(2, 64).astype(int) - replace(SCENE, seen=()).frames(2, 64)).sum()
    assert difference / clean == pytest.approx(1 - level, abs=0.06)


def test_the_same_scene_is_rendered_the_same_twice():
    assert np.array_equal(SCENE.frames(2, 64), SCENE.frames(2, 64))
    assert np.array_equal(SCENE.waveform(), SCENE.waveform())
    assert not np.array_equal(SCENE.waveform(), replace(SCENE, seed=6).waveform())


def test_every_object_has_a_picture_and_a_sound_of_its_own():
    pictures = np.stack([sprite(name, 48).astype(float).ravel() for name in NAMES])
    spectra = []
    for name in NAMES:
        wave = sound(name, 1.0, pitch=1.0, rng=np.random.default_rng(0))
        assert len(wave) == RATE and np.isfinite(wave).all() and 0.3 < np.abs(wave).max() <= 1
        power = np.abs(np.fft.rfft(wave)) ** 2
        spectra.append(np.log1p(np.add.reduceat(power, np.geomspace(1, len(power) - 1, 40).astype(int))))
    for table in (pictures, np.stack(spectra)):
        distances = np.linalg.norm(table[:, None] - table[None], axis=-1)
        distances[np.diag_indices(len(NAMES))] = np.inf
        assert distances.min() > 0.05 * np.median(distances[np.isfinite(distances)])
