"""Clips sampled as the published models' loader samples them, held to what it took of ten clips.

`published.json` has its own answers, and `make_published.py` says how they were made. Values are held to the functions
that it calls: PyAV's conversion of every frame, torchvision's older `resize`, Pillow's `resize`.
"""

from __future__ import annotations

import json
from copy import copy
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from recordings import record, scene, tune
from samples import clip_sample, write_clip, write_image
from ten_clips import TEN

from avsink.instruments import knockout
from avsink.media import MediaError, read_audio, read_clip
from avsink.media.published import SAMPLINGS, frame_numbers, spaced
from avsink.models import load
from avsink.models.cards import CARDS
from avsink.models.model import Model
from avsink.results import fingerprints

FACTS = json.loads((Path(__file__).parent / "published.json").read_text(encoding="utf-8"))
PRIMING = 1024  # samples before the beginning: FFmpeg 7, on which the facts rest, plays them in Matroska; 8 skips them


def every_frame(path: Path) -> np.ndarray:
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def published(model, **changes) -> Model:
    """The model, sampling as published."""
    card = replace(model.card, sampling="published", **changes)
    return Model(card=card, hf=model.hf, processor=model.processor, adapter=model.adapter)


@pytest.fixture
def fit(tiny_omni):
    """What resizes a picture for Qwen2.5-Omni-7B, by kind and limits."""
    from avsink.compat import enable_torchvision

    enable_torchvision()
    processor = copy(tiny_omni.processor)
    for name in ("image_processor", "video_processor"):
        own = copy(getattr(processor, name))
        own.size = {"shortest_edge": 4 * 28 * 28, "longest_edge": 768 * 28 * 28}
        setattr(processor, name, own)

    def fit_of(kind: str, **limits):
        card = replace(CARDS["Qwen/Qwen2.5-Omni-7B"], sampling="published", **limits)
        return lambda picture: tiny_omni.adapter.fit(picture, kind=kind, processor=processor, card=card)

    return fit_of


@pytest.mark.parametrize("name", TEN)
def test_a_clip_is_taken_as_by_the_loader_of_the_published_models(tmp_path, fit, name):
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.functional import resize

    fact, path = FACTS[name], TEN[name].write(tmp_path)
    frames = every_frame(path)
    assert len(frames) == fact["total"]
    taken = read_clip(path, max_frames=128, fit=fit("video"), sampling="published")
    assert len(taken.frames) == len(fact["frames"]) and list(taken.frames.shape[1:3]) == fact["size"]
    chosen = torch.from_numpy(frames[fact["frames"]]).permute(0, 3, 1, 2)
    expected = resize(chosen, fact["size"], interpolation=InterpolationMode.BICUBIC, antialias=True)
    assert torch.equal(torch.from_numpy(taken.frames).permute(0, 3, 1, 2), expected)
    assert taken.fps == 2.0, "what the processor is told, whatever the frames"
    skipped = PRIMING * 16_000 // TEN[name].rate if path.suffix == ".mkv" else 0
    assert len(taken.waveform) == fact["sound"] - skipped


@pytest.mark.parametrize("name", ["large and short", "longer than the limit"])
def test_its_own_limits_can_be_had(tmp_path, fit, name):
    fact, path = FACTS[name]["default"], TEN[name].write(tmp_path)
    frames = every_frame(path)
    shape = fit("video", frame_tokens=(128, 768))(frames[0]).shape
    assert list(shape[:2]) == fact["size"]
    taken = read_clip(path, max_frames=768, need_sound=False, sampling="published")
    assert np.array_equal(taken.frames, frames[fact["frames"]])


def test_even_sampling_takes_other_frames_of_most_of_them(tmp_path):
    """Or the name would make no difference."""
    recipe = TEN["two seconds at 8"]
    frames = every_frame(recipe.write(tmp_path))
    assert np.array_equal(read_clip(tmp_path / recipe.name, sampling="even").frames, frames[[0, 4, 8, 12]])
    assert np.array_equal(read_clip(tmp_path / recipe.name, sampling="published").frames, frames[[0, 5, 10, 15]])


def test_frames_are_spaced_as_by_torch():
    rng = np.random.default_rng(0)
    for longest in (40, 2_000, 100_000):
        for total in rng.integers(2, longest, 400):
            count = 2 * int(rng.integers(1, min(384, total // 2) + 1))
            assert spaced(int(total), count) == torch.linspace(0, total - 1, count).round().long().tolist()


@pytest.mark.parametrize(
    ("total", "rate", "most", "count"),
    [(100, 25.0, 128, 8), (113, 25.0, 128, 8), (3, 8.0, 128, 2), (60, 60.0, 128, 4), (700, 10.0, 129, 128)],
)
def test_the_number_of_frames_is_even_and_at_least_four(total, rate, most, count):
    numbers = frame_numbers(total, rate, fps=2.0, max_frames=most, name="clip")
    assert len(numbers) == count and numbers[0] == 0 and numbers[-1] == total - 1


def test_a_clip_of_one_frame_is_refused_with_what_to_do(tmp_path):
    path = record(tmp_path / "clip.mp4", frames=scene(1), waveform=tune(0.5))
    with pytest.raises(MediaError, match=r'clip.mp4 has 1 frames, .* takes two or more: use sampling="even"'):
        read_clip(path, sampling="published")


def test_sound_is_taken_as_it_is_decoded(tmp_path):
    """A late beginning is heard early, a gap is closed, and values have 16 bits where there is a picture."""

    def moved(packet: av.Packet) -> bool:
        if packet.stream.type == "audio":
            packet.pts += round((0.3 if packet.pts * packet.time_base < 1 else 0.8) / packet.time_base)
            packet.dts = packet.pts
        return True

    loud = np.stack([tune(), 0.3 * tune()])
    how = {"video": "mjpeg", "audio": "pcm_f32le", "layout": "stereo", "keep": moved}
    path = record(tmp_path / "clip.mkv", frames=scene(), waveform=loud, **how)
    heard = read_clip(path, sampling="published").waveform
    steps = np.rint(loud.astype(np.float64) * 2**15) / 2**15
    assert len(heard) == 32_000 and np.abs(heard - steps.mean(axis=0)).max() < 1e-7
    alone = read_audio(path, sampling="published").waveform
    assert np.abs(alone - loud.mean(axis=0)).max() < 1e-7, "16 bits come by the way out of a film"
    assert len(read_clip(path).waveform) > 32_000 + 7_000, "in our own sampling the gap is silent"


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_the_length_of_sound_is_rounded_up(tmp_path, rate):
    path = record(tmp_path / "tune.wav", waveform=tune(0.777, rate=rate), audio="pcm_s16le", rate=rate)
    n = len(tune(0.777, rate=rate))
    assert len(read_audio(path, sampling="published").waveform) == -(-n * 16_000 // rate)


def test_images_are_resized_by_pillow(tmp_path, fit):
    noise = np.random.default_rng(0).integers(0, 256, (90, 150, 3)).astype(np.uint8)
    expected = np.asarray(Image.fromarray(noise).resize((140, 84), Image.Resampling.BICUBIC))
    assert np.array_equal(fit("image")(noise), expected)


def test_the_model_places_frames_at_the_rate_that_the_processor_is_told(model, tmp_path):
    sample = clip_sample(write_clip(tmp_path / "clip.mp4", seconds=1, fps=20))
    inputs = published(model).prepare(sample)
    assert inputs.tensors["video_grid_thw"][0, 0] == 2, "four frames of one second"
    assert inputs.tensors["video_second_per_grid"].tolist() == [1.0]


def test_an_image_and_a_sound_are_prepared_too(model, tmp_path):
    from avsink import Media, Sample, Text

    media = Media(path=write_image(tmp_path / "image.png"), kind="image")
    sample = Sample(id="one", task="see", category="", parts=(media, Text(text="What is it?")))
    assert published(model).prepare(sample).grids


def test_the_sampling_is_named_on_the_card_and_in_the_key_of_results(untrained, model):
    other = load(untrained, device="cpu", sampling="published")
    assert (model.card.sampling, other.card.sampling) == ("even", "published")
    keys = [fingerprints.identity(knockout.sweep, one, {"k": 3}) for one in (model, published(model))]
    assert [key["card"]["sampling"] for key in keys] == ["even", "published"]
    assert keys[0] | {"card": None} == keys[1] | {"card": None}, "and nothing else differs"


@pytest.mark.parametrize("name", ["Published", "", None, ["even"]])
def test_a_sampling_that_is_none_is_refused(untrained, name):
    with pytest.raises(ValueError, match=rf"unknown sampling .*; allowed: {', '.join(SAMPLINGS)}"):
        load(untrained, device="cpu", sampling=name)
