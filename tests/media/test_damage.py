"""What is wrong with a file is said by name, and what is not wrong is no reason to refuse it."""

from __future__ import annotations

import os
import random

import av
import numpy as np
import pytest
from recordings import boxes, record, scene, tune

from avsink import media
from avsink.datasets.check import with_media
from avsink.datasets.files import probe
from avsink.datasets.loaded import Loaded
from avsink.media import MediaError, read_audio, read_clip, read_image
from avsink.sample import Media, Sample, Text

SOUNDS = {
    "tune.mp3": {"audio": "libmp3lame", "rate": 44_100},
    "tune.wav": {"audio": "pcm_s16le"},
    "tune.flac": {"audio": "flac"},
    "tune.opus": {"audio": "libopus", "rate": 48_000},
    "tune.m4a": {},
    "tune.mka": {"audio": "libopus", "rate": 48_000},
}


def sounding(folder, name):
    return record(folder / name, waveform=tune(rate=SOUNDS[name].get("rate", 16_000)), **SOUNDS[name])


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize("junk", [bytes(700), b"\n", b"TAG" + bytes(125)], ids=["zeros", "newline", "ID3v1"])
def test_what_follows_a_whole_file_does_no_harm(tmp_path, name, junk):
    path = sounding(tmp_path, name)
    clean = read_audio(path).waveform
    path.write_bytes(path.read_bytes() + junk)
    assert (read_audio(path).waveform == clean).all()


@pytest.mark.parametrize("name", SOUNDS)
def test_a_cut_sound_is_refused_wherever_it_was_cut(tmp_path, name):
    path = sounding(tmp_path, name)
    whole = path.read_bytes()
    for cut in random.Random(name).sample(range(1, len(whole)), 12):
        path.write_bytes(whole[:cut])
        with pytest.raises(MediaError, match=f"^{name}"):
            read_audio(path)


def cover_only(folder):
    """A song: sound, and the picture of its album."""
    path = folder / "song.m4a"
    with av.open(str(path), "w", format="mp4") as out:
        sound = out.add_stream("aac", rate=16_000, layout="mono")
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(tune()[None, :16_000], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16_000, 0
        out.mux([*sound.encode(frame), *sound.encode(None)])
        out.mux([*cover.encode(av.VideoFrame.from_ndarray(scene(1)[0], format="rgb24")), *cover.encode(None)])
    return path


def test_the_cover_of_an_album_is_no_picture(tmp_path):
    path = cover_only(tmp_path)
    for need in (lambda: read_clip(path, need_sound=False), lambda: read_clip(path), lambda: read_image(path)):
        with pytest.raises(MediaError, match="song.m4a has no picture: its only picture is the cover of an album"):
            need()
    assert len(read_audio(path).waveform) == pytest.approx(16_000, abs=1_100)
    assert probe.fault(Media(path=path, kind="audio")) == ""


def test_a_tag_in_another_encoding_is_no_fault(tmp_path):
    path = record(tmp_path / "tune.mp3", waveform=tune(), audio="libmp3lame", tags={"title": "Mueller"})
    path.write_bytes(path.read_bytes().replace(b"Mueller", b"M\xfcller "))
    with pytest.raises(UnicodeDecodeError):
        av.open(str(path))
    assert len(read_audio(path).waveform) == pytest.approx(32_000, abs=10)
    assert probe.fault(Media(path=path, kind="audio")) == ""


@pytest.mark.parametrize("error", [ValueError("odd"), UnicodeDecodeError("utf-8", b"\xfc", 0, 1, "x"), MemoryError()])
def test_whatever_decoding_raises_names_the_sample_and_the_run_goes_on(tmp_path, monkeypatch, error):
    good, bad = record(tmp_path / "good.mp4", frames=scene()), tmp_path / "bad.mp4"
    bad.write_bytes(good.read_bytes())
    real = av.open

    def failing(path, *args, **kwargs):
        if "bad" in str(path):
            raise error
        return real(path, *args, **kwargs)

    monkeypatch.setattr(av, "open", failing)
    parts = [(Media(path=path, kind="video", sound=False), Text(text="What?")) for path in (bad, good)]
    samples = tuple(Sample(id=f"s{k}", task="t", category="c", parts=own) for k, own in enumerate(parts))
    checked = with_media(Loaded(name="own", samples=samples, problems=(), tables=(), lacking=()))
    assert [sample.id for sample in checked.samples] == ["s1"]
    assert [problem.id for problem in checked.problems] == ["s0"] and "bad.mp4" in checked.problems[0].reason


def test_an_interruption_is_none_of_its_business(tmp_path, monkeypatch):
    path = record(tmp_path / "clip.mp4", frames=scene())
    monkeypatch.setattr(av, "open", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        read_clip(path, need_sound=False)


def test_what_is_no_file_is_said(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "circle.mp4").symlink_to(tmp_path / "circle.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    for name, reason in {"folder": "is a folder", "circle": "missing file|cannot be", "pipe": "missing file"}.items():
        with pytest.raises(MediaError, match=f"{name}.mp4.*({reason})|({reason}).*{name}.mp4"):
            read_clip(tmp_path / f"{name}.mp4")


@pytest.mark.parametrize("name", ["list.txt", "list.m3u8", "list.mp4"])
@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile clip.mp4\n", "#EXTM3U\n#EXTINF:2,\nclip.mp4\n"])
def test_a_list_of_other_files_is_not_followed(tmp_path, name, text):
    record(tmp_path / "clip.mp4", frames=scene())
    (tmp_path / name).write_text(text)
    with pytest.raises(MediaError, match=name):
        read_clip(tmp_path / name, need_sound=False)


def test_checksums_of_a_codec_are_looked_at(tmp_path):
    """FLAC has a checksum in each frame, Ogg in each page; a decoder that is not asked passes over both."""
    for name in ("tune.flac", "tune.opus"):
        path = sounding(tmp_path, name)
        whole = path.read_bytes()
        for at in random.Random(name).sample(range(len(whole) // 2, len(whole) - 100), 8):
            data = bytearray(whole)
            data[at] ^= 4
            path.write_bytes(data)
            with pytest.raises(MediaError, match=name):
                read_audio(path)


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_damage_that_the_decoder_reports_is_not_hidden(tmp_path, container):
    """Half of a packet of H.264 is overwritten; by default, FFmpeg paints over the hole and goes on."""
    path = record(tmp_path / f"clip.{container}", frames=scene(height=96, width=128))
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as file:
        packet = [packet for packet in file.demux() if packet.size][3]
        place = data.find(bytes(packet), packet.pos)
    data[place + packet.size // 2 : place + packet.size] = bytes(packet.size - packet.size // 2)
    path.write_bytes(data)
    with pytest.raises(MediaError, match=f"clip.{container}"):
        read_clip(path, need_sound=False)


def test_a_clock_that_does_not_fit_the_samples_is_refused(tmp_path):
    path = record(tmp_path / "tune.m4a", waveform=tune())
    data = bytearray(path.read_bytes())
    at = boxes(bytes(data), b"mdhd")[0] + 12
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") * 5 // 4).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(MediaError, match="tune.m4a"):
        read_audio(path)


def test_the_kept_length_is_that_of_the_packets(tmp_path):
    path = record(tmp_path / "clip.webm", frames=scene(), video="libvpx", piped=True, container="webm")
    assert media.seconds(path) == pytest.approx(2.0, abs=0.01)
    assert np.isfinite(probe.seconds(path))
