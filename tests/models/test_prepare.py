"""Preparing a sample: what the model is given is what its own processor and position rule would have given it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image
from samples import clip_sample, matching_sample, write_clip

import avsink
from avsink import Media, SampleError
from avsink.media import read_audio, read_clip, read_image

TOKENS_84 = {"shortest_edge": 84 * 84, "longest_edge": 84 * 84}


def plain_logits(model, *, text, use_audio_in_video=False, **media):
    """The answer's logits by transformers alone: its processor, its positions, its forward pass."""
    encoded = model.processor(
        text=[text],
        seconds_per_chunk=1.0,
        position_id_per_seconds=5,
        images_kwargs={"size": TOKENS_84},
        videos_kwargs={"size": TOKENS_84, "fps": 2.0},
        return_tensors="pt",
        **media,
    )
    return model.hf(**encoded, use_audio_in_video=use_audio_in_video).logits[0, -1]


@torch.no_grad()
def test_clip_gives_the_logits_of_the_plain_call(model, clips):
    inputs = model.prepare(clip_sample(clips / "clip.mp4"))
    clip = read_clip(clips / "clip.mp4")
    expected = plain_logits(
        model,
        text=inputs.prompt,
        videos=[clip.frames],
        audio=[clip.waveform],
        audio_from_video_indices=[0],
        load_audio_from_video=True,
        use_audio_in_video=True,
    )
    torch.testing.assert_close(model.forward(inputs).logits[0, -1], expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_silent_clip_gives_the_logits_of_the_plain_call(model, clips):
    inputs = model.prepare(clip_sample(clips / "silent.mp4", sound=False))
    frames = read_clip(clips / "silent.mp4", need_sound=False).frames
    expected = plain_logits(model, text=inputs.prompt, videos=[frames])
    torch.testing.assert_close(model.forward(inputs).logits[0, -1], expected, atol=1e-5, rtol=0)
    assert not inputs.use_audio_in_video and len(inputs.layout.audio) == 0


@torch.no_grad()
@pytest.mark.parametrize("reference", ["audio", "image"])
def test_interleaved_input_gives_the_logits_of_the_plain_call(model, clips, reference):
    sample = matching_sample(clips, reference=reference)
    inputs = model.prepare(sample)
    expected = plain_logits(
        model,
        text=inputs.prompt,
        images=[read_image(m.path) for m in sample.media if m.kind == "image"],
        audio=[read_audio(m.path).waveform for m in sample.media if m.kind == "audio"],
    )
    torch.testing.assert_close(model.forward(inputs).logits[0, -1], expected, atol=1e-5, rtol=0)


def test_sound_alone(model, clips):
    parts = (avsink.Media(path=clips / "sound.mp4", kind="audio"), avsink.Text(text="Which object makes the sound?"))
    layout = model.prepare(clip_sample(parts=parts)).layout
    assert len(layout.audio) == 20 and len(layout.video) == 0


@torch.no_grad()
def test_clips_with_and_without_sound_in_one_prompt(model, clips):
    """No single switch of the model can say this. Each clip must stand as it would alone, moved along."""
    both = model.prepare(clip_sample(clips / "clip.mp4", clips / "silent.mp4", sound=(True, False)))
    swapped = model.prepare(clip_sample(clips / "silent.mp4", clips / "clip.mp4", sound=(False, True)))
    loud = model.prepare(clip_sample(clips / "clip.mp4")).tensors["position_ids"]
    quiet = model.prepare(clip_sample(clips / "silent.mp4", sound=False)).tensors["position_ids"]
    for inputs, first, second in ((both, loud, quiet), (swapped, quiet, loud)):
        system = len(inputs.layout.system)
        positions = inputs.tensors["position_ids"][..., system:]
        one, other = (alone[..., system : alone.shape[-1] - len(both.layout.question) - 5] for alone in (first, second))
        n = one.shape[-1]
        torch.testing.assert_close(positions[..., :n], one)
        moved = other + one.max() + 1 - system
        torch.testing.assert_close(positions[..., n : n + other.shape[-1]], moved)
    assert torch.isfinite(model.forward(both).logits).all()


@pytest.mark.parametrize(
    ("name", "grids", "chunks"),
    [
        ("odd.mp4", 3, [5, 5, 3]),  # 5 frames: the last one is shown twice
        ("short_sound.mp4", 4, [5, 5, 5, 2]),
        ("long_sound.mp4", 4, [5, 5, 5, 19]),  # what is heard after the last picture is one run
        ("one_frame.mp4", 1, [2]),
    ],
)
@torch.no_grad()
def test_unequal_and_tiny_clips(model, clips, name, grids, chunks):
    inputs = model.prepare(clip_sample(clips / name))
    assert len(inputs.layout.frames) == grids
    assert [len(chunk) for chunk in inputs.layout.audio_chunks] == pytest.approx(chunks, abs=1)
    assert torch.isfinite(model.forward(inputs).logits).all()


@torch.no_grad()
@pytest.mark.parametrize("modality", ["video", "audio"])
def test_muting_keeps_every_token_and_changes_one_modality(model, clips, modality):
    sample = clip_sample(clips / "clip.mp4")
    clean, muted = model.prepare(sample), model.prepare(sample, mute={modality})
    for name in ("input_ids", "position_ids", "attention_mask"):
        assert torch.equal(clean.tensors[name], muted.tensors[name])
    tensor = {"video": "pixel_values_videos", "audio": "input_features"}[modality]
    assert {n for n in clean.tensors if not torch.equal(clean.tensors[n], muted.tensors[n])} == {tensor}

    embedded = []
    for inputs in (clean, muted):
        hook = model.decoder.register_forward_pre_hook(
            lambda module, args, kwargs: embedded.append(kwargs["inputs_embeds"][0]), with_kwargs=True
        )
        model.forward(inputs)
        hook.remove()
    moved = (embedded[0] != embedded[1]).any(dim=-1).nonzero()[:, 0]
    assert torch.equal(moved, getattr(clean.layout, modality))


def test_a_long_clip_may_be_seen_without_its_sound(model, clips):
    inputs = model.prepare(clip_sample(clips / "five_minutes.mp4", sound=False))
    assert 100 < 2 * len(inputs.layout.frames) <= 128  # 300 s: one frame every 2.34 s
    moments = inputs.tensors["position_ids"][0, 0, [frame[0] for frame in inputs.layout.frames]]
    assert moments[-1] - moments[0] > 290 * 5  # 5 positions a second


def test_muting_knows_its_modalities(model, clips):
    with pytest.raises(ValueError, match="cannot mute sound; the modalities are video, audio"):
        model.prepare(clip_sample(clips / "clip.mp4"), mute={"sound"})


def test_chunks_are_as_long_as_the_config_says(model, clips, monkeypatch):
    monkeypatch.setattr(model.hf.config, "seconds_per_chunk", 2)
    chunks = model.prepare(clip_sample(clips / "clip.mp4")).layout.audio_chunks
    assert [len(chunk) for chunk in chunks] == [10, 10]


def test_positions_that_are_not_interleaved_are_refused(model, clips, monkeypatch):
    own = type(model.hf).get_rope_index

    def forgetful(self, *args, use_audio_in_video=False, **kwargs):
        return own(self, *args, use_audio_in_video=False, **kwargs)

    monkeypatch.setattr(type(model.hf), "get_rope_index", forgetful)
    with pytest.raises(RuntimeError, match="interleaved positions; install"):
        model.prepare(clip_sample(clips / "clip.mp4"))


def test_card_limits_frames_and_their_size(untrained, clips):
    small = avsink.load(untrained, device="cpu", max_frames=4, max_tokens_per_frame=6)
    layout = small.prepare(clip_sample(clips / "clip.mp4")).layout
    assert [len(frame) for frame in layout.frames] == [4, 4]


def test_clips_of_one_sample_are_sampled_alike(model, clips, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "card", replace(model.card, max_frames=8))
    long = write_clip(tmp_path / "long.mp4", seconds=8, fps=4, size=32)
    inputs = model.prepare(clip_sample(clips / "clip.mp4", long))
    assert inputs.tensors["video_grid_thw"][:, 0].tolist() == [2, 4]
    assert inputs.tensors["video_second_per_grid"].tolist() == [2.0, 2.0]


def test_letters_resolve_through_the_tokenizer(model):
    assert [model.tokenizer.decode(i) for i in model.letter_ids("C")][0] == "C"
    assert all(model.tokenizer.decode(i).strip() == "C" for i in model.letter_ids("C"))
    with pytest.raises(ValueError, match="no single token for the letter 'Ж'"):
        model.letter_ids("Ж")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere.mp4", "missing file nowhere.mp4"),
        ("empty.mp4", "empty.mp4 is empty"),
        ("truncated.mp4", "is cut off"),
        ("silent.mp4", "no sound track"),
        ("sound.mp4", "no picture"),
        ("five_minutes.mp4", "lasts 300 s; this model hears at most 30 s"),
    ],
)
def test_bad_files_are_sample_errors(model, clips, name, reason):
    with pytest.raises(SampleError, match=reason) as caught:
        model.prepare(clip_sample(clips / name))
    assert caught.value.sample_id == "clip-1" and caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answer": "D"}, "the answer 'D' is not among the options ABC"),
        ({"options": ("dog", "dog", "cat")}, "two options have the same text"),
        ({"suffix": "Well<|im_end|>"}, "contains the model's control token <|im_end|>"),
        ({"parts": ()}, "no video, audio or image"),
    ],
)
def test_bad_samples_are_sample_errors(model, clips, change, reason):
    with pytest.raises(SampleError) as caught:
        model.prepare(clip_sample(clips / "clip.mp4", **change))
    assert reason in caught.value.reason


def test_a_click_is_too_short_to_hear(model, tmp_path):
    write_clip(tmp_path / "click.mp4", seconds=1.0, sound=0.01)
    with pytest.raises(SampleError, match="this model needs 0.10 s"):
        model.prepare(clip_sample(tmp_path / "click.mp4"))


def test_what_a_processor_refuses_is_a_sample_error(model, tmp_path):
    """A strip of 2000 x 8 pixels decodes well, but no processor takes it."""
    strip = tmp_path / "strip.png"
    Image.new("RGB", (2000, 8)).save(strip)
    sample = clip_sample(strip)
    parts = [replace(p, kind="image", sound=False) if isinstance(p, Media) else p for p in sample.parts]
    with pytest.raises(SampleError, match="aspect ratio"):
        model.prepare(replace(sample, parts=tuple(parts)))
