"""Level and rate of the sound: the mean of the channels, against a decoder and a resampler written here."""

from __future__ import annotations

import wave
from fractions import Fraction

import av
import numpy as np
import pytest
from recordings import record, tune

from avsink.media import MediaError, read_audio
from avsink.media.sound import Sound

RATES = (8_000, 16_000, 44_100, 48_000, 96_000)
EDGE = 400  # samples in which a filter knows only half of its surroundings
CHANNELS = {"mono": 1, "stereo": 2, "5.1": 6}


def chords(channels: int, rate: int, seconds: float = 0.4) -> np.ndarray:
    """Each channel has its own tones, all below 3 kHz, so that every rate can hold them: int16 [channels, n]."""
    t = np.arange(round(seconds * rate)) / rate
    tones = [
        np.sin(2 * np.pi * (200 + 331 * k) * t) + 0.4 * np.sin(2 * np.pi * (2_900 - 170 * k) * t) for k in range(6)
    ]
    return (np.stack(tones[:channels]) / 1.5 * 32_000).astype(np.int16)


def write_wav(path, samples: np.ndarray, rate: int):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(samples))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.T.astype("<i2").tobytes())
    return path


def resampled(mono: np.ndarray, rate: int, to: int = 16_000) -> np.ndarray:
    """Ideal low-pass at the lower of both limits, by a sum over a windowed sinc; each output sample by itself."""
    if rate == to:
        return mono
    limit = min(rate, to) / rate  # of the input's own
    reach = int(48 / limit)
    centres = np.arange(round(len(mono) * to / rate)) * rate / to
    at = np.floor(centres).astype(int)[:, None] + np.arange(-reach, reach + 1)
    offset = centres[:, None] - at
    taps = limit * np.sinc(limit * offset) * np.kaiser(2 * reach + 1, 8.0)
    return (taps * np.where((at >= 0) & (at < len(mono)), mono[at.clip(0, len(mono) - 1)], 0)).sum(axis=1)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("layout", CHANNELS)
@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_sound_is_the_mean_of_its_channels_at_any_rate(tmp_path, kind, layout, rate):
    samples = chords(CHANNELS[layout], rate)
    path = tmp_path / f"chords.{kind}"
    if kind == "wav":
        write_wav(path, samples, rate)
    else:
        record(path, waveform=samples / 2.0**15, audio="flac", rate=rate, layout=layout)
    expected = resampled(samples.mean(axis=0) / 2.0**15, rate)
    heard = read_audio(path).waveform
    assert abs(len(heard) - len(expected)) <= 2
    inner = slice(EDGE, min(len(heard), len(expected)) - EDGE)
    assert np.abs(heard[inner] - expected[inner]).max() < (1e-6 if rate == 16_000 else 2e-3)


@pytest.mark.parametrize("layout", ["stereo", "5.1"])
def test_equal_channels_sound_like_one(tmp_path, layout):
    one = tune(rate=48_000)
    record(tmp_path / "one.m4a", waveform=one, rate=48_000, bit_rate=256_000)
    record(
        tmp_path / "more.m4a",
        waveform=np.tile(one, (CHANNELS[layout], 1)),
        rate=48_000,
        layout=layout,
        bit_rate=256_000 * CHANNELS[layout],
    )
    alone, together = (read_audio(tmp_path / name).waveform for name in ("one.m4a", "more.m4a"))
    n = min(len(alone), len(together))
    # The fifth and sixth channel of 5.1 are a low-frequency channel, which the encoder filters.
    assert np.std(together[:n]) == pytest.approx(np.std(alone[:n]), rel=0.02 if layout == "stereo" else 0.2)
    if layout == "stereo":
        assert np.corrcoef(alone[:n], together[:n])[0, 1] > 0.999


def test_mixing_never_passes_full_scale(tmp_path):
    loud = np.where(np.arange(16_000) // 40 % 2, 32_767, -32_768) * np.ones((6, 1))
    heard = read_audio(write_wav(tmp_path / "loud.wav", loud, 16_000)).waveform
    assert heard.max() == 32_767 / 32_768 and heard.min() == -1.0


def test_a_mono_track_is_taken_bit_by_bit(tmp_path):
    samples = np.random.default_rng(0).integers(-32_768, 32_767, (1, 16_000))
    heard = read_audio(write_wav(tmp_path / "noise.wav", samples, 16_000)).waveform
    assert (heard == samples[0].astype(np.float32) / np.float32(32_768)).all()


@pytest.mark.parametrize("bits", ["pcm_u8", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_alaw"])
def test_every_kind_of_sample_has_the_same_level(tmp_path, bits):
    heard = read_audio(record(tmp_path / "tune.wav", waveform=np.tile(tune(), (2, 1)), layout="stereo", audio=bits))
    assert np.abs(heard.waveform - tune()).max() < {"pcm_u8": 0.01, "pcm_alaw": 0.03}.get(bits, 1e-4)


@pytest.mark.parametrize(("rate", "layout"), [(48_000, "mono"), (44_100, "stereo"), (22_050, "stereo")])
def test_rate_and_channels_may_change_midway(tmp_path, rate, layout):
    """Two pieces of a broadcast, one after the other: raw packets of AAC, each of which says what it is."""
    record(tmp_path / "one.aac", waveform=tune(rate=44_100), rate=44_100)
    channels = np.tile(tune(rate=rate), (CHANNELS[layout], 1))
    record(tmp_path / "two.aac", waveform=channels, rate=rate, layout=layout)
    both = tmp_path / "both.aac"
    both.write_bytes((tmp_path / "one.aac").read_bytes() + (tmp_path / "two.aac").read_bytes())
    one, two, heard = (read_audio(tmp_path / f"{name}.aac").waveform for name in ("one", "two", "both"))
    assert len(heard) == pytest.approx(len(one) + len(two), abs=4)
    second = heard[len(one) + 4_000 : len(one) + 28_000]
    shifts = [np.corrcoef(second, two[4_000 + k : 28_000 + k])[0, 1] for k in range(-4, 5)]
    assert max(shifts) > 0.99
    assert np.std(second) == pytest.approx(np.std(two[4_000:28_000]), rel=0.02)


@pytest.mark.parametrize(
    ("channels", "rate", "reason"),
    [
        (1, 1, "claims 1 samples of sound a second"),
        (1, 10_000_000, "claims 10000000 samples of sound a second"),
        (3_000, 16_000, "claims 3000 channels|cannot be decoded"),
    ],
)
def test_what_no_recording_has_is_refused_by_name(tmp_path, channels, rate, reason):
    path = write_wav(tmp_path / "odd.wav", np.zeros((channels, 60), np.int16), rate)
    with pytest.raises(MediaError, match=f"odd.wav.*({reason})"):
        read_audio(path)


def test_a_header_that_contradicts_itself_is_refused(tmp_path):
    path = write_wav(tmp_path / "odd.wav", chords(1, 16_000), 16_000)
    data = bytearray(path.read_bytes())
    data[25] ^= 0x40  # the rate, but not the bytes a second
    path.write_bytes(data)
    with pytest.raises(MediaError, match="odd.wav .* contradicts itself"):
        read_audio(path)


@pytest.mark.parametrize("layout", ["7.1", "hexadecagonal"])
def test_many_channels_are_mixed_by_their_mean(tmp_path, layout):
    """As separate planes, of which PyAV loses count from eight on."""
    channels = {"7.1": 8, "hexadecagonal": 16}[layout]
    samples = np.random.default_rng(1).uniform(-1, 1, (channels, 8_000)).astype(np.float32)
    frame = av.AudioFrame(format="fltp", layout=layout, samples=8_000)
    for plane, channel in zip(frame.planes[:channels], samples, strict=True):
        plane.update(channel.tobytes())
    frame.sample_rate, frame.pts, frame.time_base = 16_000, 0, Fraction(1, 16_000)
    sound = Sound(16_000, clock=True, name="many.mka")
    sound.add(frame)
    assert np.abs(sound.waveform(start=0.0) - samples.mean(axis=0)).max() < 1e-6
