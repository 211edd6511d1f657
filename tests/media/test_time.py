"""How long a clip is, and when what is heard: by the time stamps of packets, whatever the header says."""

from __future__ import annotations

import struct

import av
import numpy as np
import pytest
from recordings import announce, record, scene, tune

from avsink.media import MediaError, read_audio, read_clip, seconds

WEBM = {"video": "libvpx", "audio": "libopus", "rate": 48_000}
KINDS = {
    "webm": ("webm", WEBM),
    "mkv": ("matroska", {}),
    "flv": ("flv", {"video": "flv", "audio": "aac", "rate": 44_100}),
}


def both(path, **how):
    """Two seconds of picture and sound."""
    return record(path, frames=scene(), waveform=tune(rate=how.get("rate", 16_000)), **how)


def numbers(frames: np.ndarray) -> list[int]:
    """Which frame of the scene each frame is: the nearest."""
    return [int(np.abs(scene() - frame.astype(float)).mean(axis=(1, 2, 3)).argmin()) for frame in frames]


def assert_whole(clip, *, sound: bool = True) -> None:
    assert numbers(clip.frames) == [0, 4, 8, 12], "two frames a second, of eight"
    if sound:
        assert len(clip.waveform) == pytest.approx(32_000, abs=1_200)
        n = min(len(clip.waveform), 31_000)
        lags = [np.corrcoef(clip.waveform[400 + lag : n], tune()[400 : n - lag])[0, 1] for lag in range(-400, 401, 4)]
        assert max(lags) > 0.9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("piped", [False, True])
def test_a_file_without_an_announced_duration_gives_the_whole_clip(tmp_path, kind, piped):
    container, how = KINDS[kind]
    path = both(tmp_path / f"clip.{kind}", piped=piped, container=container, **how)
    with av.open(str(path)) as file:
        assert kind == "flv" or bool(file.duration) != piped
    assert_whole(read_clip(path))
    assert seconds(path) == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("announced", [0.0, 0.7, 1.2])
def test_an_mp4_that_announces_nothing_or_too_little_gives_the_whole_clip(tmp_path, announced):
    # without edit lists, which are no announcement: they say what is to be shown
    plain = {"use_editlist": "0"}
    picture = announce(record(tmp_path / "picture.mp4", frames=scene(), options=plain), announced)
    assert_whole(read_clip(picture, need_sound=False), sound=False)
    sound = announce(record(tmp_path / "sound.mp4", waveform=tune(), options=plain), announced)
    assert len(read_audio(sound).waveform) == pytest.approx(32_000, abs=2_000)  # an encoder begins early


def test_a_stream_of_fragments_gives_the_whole_clip(tmp_path):
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    path = record(tmp_path / "clip.mp4", frames=scene(), options=options, piped=True, container="mp4")
    assert_whole(read_clip(path, need_sound=False), sound=False)


def test_pictures_without_time_stamps_follow_each_other(tmp_path):
    path = record(tmp_path / "clip.h264", frames=scene(), container="h264")
    assert_whole(read_clip(path, need_sound=False), sound=False)


def test_a_wav_from_a_pipe_is_whole(tmp_path):
    path = record(tmp_path / "tune.wav", waveform=tune(), audio="pcm_s16le", container="wav", piped=True)
    assert path.read_bytes()[4:8] == b"\xff\xff\xff\xff"
    assert np.abs(read_audio(path).waveform - tune()).max() < 1e-4
    path.write_bytes(path.read_bytes()[:4] + bytes(4) + path.read_bytes()[8:])
    assert np.abs(read_audio(path).waveform - tune()).max() < 1e-4


@pytest.mark.parametrize("size", [0x7FFFF000, 0x80000000])
def test_a_wav_whose_writer_guessed_its_size_is_whole(tmp_path, size):
    """As other programs leave the two sizes when they write into a pipe."""
    path = record(tmp_path / "tune.wav", waveform=tune(), audio="pcm_s16le")
    content = path.read_bytes()
    at = content.index(b"data")
    samples = content[at + 8 : at + 8 + 2 * len(tune())]
    path.write_bytes(
        b"RIFF" + struct.pack("<I", size + at - 4) + content[8:at] + b"data" + struct.pack("<I", size) + samples
    )
    assert np.abs(read_audio(path).waveform - tune()).max() < 1e-4


@pytest.mark.parametrize("video", ["libx264", "mpeg4", "mjpeg"])
@pytest.mark.parametrize("audio", ["libmp3lame", "aac", "ac3"])
def test_an_avi_with_compressed_sound_is_whole(tmp_path, video, audio):
    """Its header counts packets that hold nothing, to keep the tracks in step."""
    long = np.concatenate([scene()] * 4)
    path = record(
        tmp_path / "clip.avi", frames=long, waveform=tune(8.0, rate=48_000), rate=48_000, video=video, audio=audio
    )
    assert len(read_clip(path, fps=8, max_frames=100).frames) >= 62


def test_a_lost_packet_of_an_avi_is_noticed(tmp_path):
    """Time is the number of packets there, so that all that follows would come early."""
    path = both(tmp_path / "clip.avi", video="mjpeg", audio="pcm_s16le")
    whole = path.read_bytes()
    packets = [at for at in range(len(whole)) if whole[at : at + 4] == b"01wb" and at < whole.index(b"idx1")]
    for at in (packets[1], packets[len(packets) // 2]):
        for name in (b"07wb", b"xxxx", b"JUNK"):
            path.write_bytes(whole[:at] + name + whole[at + 4 :])
            with pytest.raises(MediaError, match=r"^clip\.avi is damaged"):
                read_clip(path)


def test_an_avi_from_a_pipe_is_whole(tmp_path):
    path = both(tmp_path / "clip.avi", piped=True, container="avi", video="mjpeg", audio="pcm_s16le")
    assert_whole(read_clip(path))


def within(start: float, stop: float, kind: str = "audio"):
    """Drop the packets of one track that begin in this time."""

    def keep(packet: av.Packet) -> bool:
        return packet.stream.type != kind or not start <= float(packet.pts * packet.time_base) < stop

    return keep


LOSSLESS = {"mkv": "flac", "mp4": "alac", "nut": "pcm_s16le"}


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_gap_in_the_sound_is_silent_and_later_sound_keeps_its_time(tmp_path, kind, rate):
    how = {"audio": LOSSLESS[kind], "rate": rate}
    whole = read_clip(both(tmp_path / f"whole.{kind}", **how)).waveform
    holed = read_clip(both(tmp_path / f"holed.{kind}", keep=within(0.7, 1.3), **how)).waveform
    # A packet of FLAC has 4,608 samples. The clock of Matroska ticks in thousandths.
    assert len(holed) == pytest.approx(len(whole), abs=20)
    assert np.abs(holed[:11_000] - whole[:11_000]).max() < 1e-3
    assert np.abs(holed[16_500:19_500]).max() < 0.02
    n = min(len(holed), len(whole))
    late = max(range(-20, 21), key=lambda lag: holed[27_000 : n - 40] @ whole[27_000 + lag : n - 40 + lag])
    assert abs(late) <= 17


def test_a_gap_in_the_picture_holds_the_frame_before(tmp_path):
    path = record(tmp_path / "clip.mkv", frames=scene(), video="mjpeg", keep=within(0.6, 1.4, "video"))
    frames = read_clip(path, need_sound=False).frames
    assert numbers(frames) == [0, 4, 4, 12]


def test_the_coarse_clock_of_matroska_is_no_gap(tmp_path):
    one = read_audio(both(tmp_path / "clip.mkv", audio="flac", rate=44_100)).waveform
    other = read_audio(record(tmp_path / "tune.flac", waveform=tune(rate=44_100), audio="flac", rate=44_100)).waveform
    assert (one == other).all()


def test_time_stamps_that_repeat_are_left_out(tmp_path):
    """Sound that claims to begin before the one before it has ended: the first to come is heard."""

    def early(packet: av.Packet) -> bool:
        packet.pts -= round(0.25 / packet.time_base) if packet.pts * packet.time_base >= 1 else 0
        packet.dts = packet.pts
        return True

    path = record(tmp_path / "clip.nut", waveform=tune(), audio="pcm_s16le", block=8_000, keep=early)
    heard = read_audio(path).waveform
    assert len(heard) == 28_000
    assert np.abs(heard[:15_000] - tune()[:15_000]).max() < 1e-4
    assert np.abs(heard[17_000:] - tune()[21_000:]).max() < 1e-4


@pytest.mark.parametrize("late", [0.0, 0.3])
def test_sound_that_begins_late_or_early_is_aligned_with_the_picture(tmp_path, late):
    def moved(packet: av.Packet) -> bool:
        shift = 0.5 + (late if packet.stream.type == "audio" else 0.125)
        packet.pts += round(shift / packet.time_base)
        packet.dts = packet.pts
        return True

    path = record(tmp_path / "clip.mkv", frames=scene(), waveform=tune(), video="mjpeg", audio="pcm_s16le", keep=moved)
    heard = read_clip(path).waveform
    shift = round((late - 0.125) * 16_000)
    expected = np.pad(tune(), (shift, 0)) if shift > 0 else tune()[-shift:]
    assert len(heard) == pytest.approx(len(expected), abs=16)
    assert max(np.corrcoef(heard[100:28_000], expected[100 + k : 28_000 + k])[0, 1] for k in range(-16, 17)) > 0.999


def test_two_recordings_in_one_file_are_refused(tmp_path):
    path = both(tmp_path / "clip.ts", rate=48_000)
    path.write_bytes(2 * path.read_bytes())
    with pytest.raises(MediaError, match="clip.ts.*(jump back|damaged)"):
        read_clip(path)


def test_a_picture_of_a_thousand_frames_a_second_and_more_is_refused(tmp_path):
    path = record(tmp_path / "clip.mp4", frames=scene(80), fps=1_000_000)
    with pytest.raises(MediaError, match="clip.mp4 claims 80 pictures in 0.000 s"):
        read_clip(path, need_sound=False)
