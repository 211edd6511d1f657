"""Decoding: the frames that a player would show, all of the sound, and a plain reason for every bad file."""

from __future__ import annotations

import wave

import numpy as np
import pytest
from samples import write_clip

from avsink.media import MediaError, read_audio, read_clip, read_image


def test_clip_holds_the_frames_shown_every_half_second(clips):
    clip = read_clip(clips / "clip.mp4")
    assert clip.frames.shape == (8, 96, 96, 3) and clip.frames.dtype == np.uint8
    assert clip.fps == 2.0 and clip.duration == pytest.approx(4.0, abs=0.01)
    # Frame k of the file (8 a second) has the grey 16 + 5k, so every fourth one was taken.
    assert np.abs(clip.frames.mean(axis=(1, 2, 3)) - (16 + 20 * np.arange(8))).max() < 4


def test_sound_is_the_tone_that_was_written(clips):
    clip = read_clip(clips / "clip.mp4")
    assert clip.waveform.dtype == np.float32 and clip.waveform.ndim == 1
    assert len(clip.waveform) / clip.sampling_rate == pytest.approx(4.0, abs=0.1)
    spectrum = np.abs(np.fft.rfft(clip.waveform[8_000:24_000]))
    assert spectrum.argmax() == 440
    half = read_audio(clips / "clip.mp4", sampling_rate=8_000)
    assert len(half.waveform) == pytest.approx(len(clip.waveform) / 2, abs=20)


def test_frame_cap_spreads_frames_over_the_whole_clip(tmp_path):
    path = write_clip(tmp_path / "long.mp4", seconds=11.3, fps=4, size=32, sound=0)
    clip = read_clip(path, max_frames=16, need_sound=False)
    assert len(clip.frames) <= 16 and len(clip.frames) / clip.fps == pytest.approx(11.3, abs=1.0)
    period = 1 / clip.fps
    assert period * 64 == int(period * 64) and 1 / clip.fps == period


def test_chunks_agree_in_float32_and_float64_at_every_capped_length():
    from avsink.media.picture import rate as _rate

    for hundredths in range(6_450, 30_000, 7):
        seconds_per_grid = 2 / _rate(hundredths / 100, 2.0, 128)
        exact = np.arange(64) * seconds_per_grid * 25
        rounded = np.arange(64, dtype=np.float32) * np.float32(seconds_per_grid) * np.float32(25)
        assert (exact // 50 == rounded // 50).all()


@pytest.mark.parametrize(
    ("name", "frames", "sound"),
    [("odd.mp4", 5, 2.5), ("short_sound.mp4", 8, 3.3), ("long_sound.mp4", 8, 6.7), ("one_frame.mp4", 1, 0.5)],
)
def test_unequal_and_tiny_clips_are_kept_as_they_are(clips, name, frames, sound):
    clip = read_clip(clips / name)
    assert len(clip.frames) == frames
    assert len(clip.waveform) / 16_000 == pytest.approx(sound, abs=0.1)


def test_silent_clip_can_be_shown_and_sound_alone_heard(clips):
    assert read_clip(clips / "silent.mp4", need_sound=False).waveform is None
    assert read_audio(clips / "sound.mp4").frames is None


def test_image(clips):
    image = read_image(clips / "image2.png")
    assert image.shape == (96, 96, 3) and abs(image.mean() - 140) < 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere.mp4", "missing file nowhere.mp4"),
        ("empty.mp4", "is empty"),
        ("truncated.mp4", "cut off"),
        ("silent.mp4", "no sound track"),
        ("sound.mp4", "no picture"),
        ("five_minutes.mp4", "lasts 300 s; this model hears at most 30 s"),
    ],
)
def test_bad_files_are_refused_with_a_reason(clips, name, reason):
    with pytest.raises(MediaError, match=reason) as caught:
        read_clip(clips / name, max_seconds=30)
    assert "av.error" not in str(caught.value) and caught.value.__cause__ is None


@pytest.mark.parametrize(("name", "reason"), [("front.mp4", "cut off"), ("clip.mkv", "cut off")])
def test_no_cut_of_a_file_gives_a_silently_shorter_clip(clips, tmp_path, name, reason):
    whole = (clips / name).read_bytes()  # both have their index in front, so that a piece of them can be opened
    reasons = []
    for share in np.linspace(0.3, 0.8, 21):
        (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(MediaError) as caught:
            read_clip(tmp_path / name)
        reasons.append(str(caught.value))
    assert any(reason in said for said in reasons), reasons


def test_a_text_file_is_not_a_clip(tmp_path):
    path = tmp_path / "note.mp4"
    path.write_text("this is not a video " * 50)
    with pytest.raises(MediaError, match="not a media file"):
        read_clip(path)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_cut_mp4_is_called_cut_off_wherever_it_was_cut(clips, tmp_path, share):
    for name in ("clip.mp4", "front.mp4"):
        whole = (clips / name).read_bytes()
        cut = tmp_path / name
        cut.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(MediaError, match="is cut off"):
            read_clip(cut)


def test_a_cut_wav_is_called_cut_off(tmp_path):
    path = tmp_path / "tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(64_000))
    assert len(read_audio(path).waveform) == 32_000
    path.write_bytes(path.read_bytes()[:30_000])
    with pytest.raises(MediaError, match="is cut off"):
        read_audio(path)
