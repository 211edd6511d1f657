"""Files to arrays: what a model will see and hear of a clip, a sound or an image, decoded by PyAV.

Sampling follows Flow appendix C. For one clip:

1. open it; refuse a clip that lacks a picture or sound it needs, or lasts longer than the model can hear;
2. picture: one frame every `1 / fps` seconds from the first frame on, each the frame that a player would show at that
   time. A clip with more than `max_frames` of them is sampled more slowly, evenly over its whole length;
3. sound: mixed to mono, resampled, and aligned with the start of the picture: cut if it starts earlier, padded with
   silence if it starts later;
4. compare the seconds decoded with the seconds that the file announces, and for mp4 and wav also the bytes: a cut-off
   file is an error, never a shorter clip. (The sound of a Matroska file cannot be checked on its own.)

`MediaError` says what is wrong with a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError

from avsink.sample import Media

__all__ = ["Clip", "MediaError", "opened", "read", "read_audio", "read_clip", "read_image"]

TOLERANCE = 0.5  # seconds that a container may announce after its last frame: edit lists and codec padding
SLACK = 0.1  # seconds over the model's limit that are only a codec's padding
TICK = 64  # ticks a second: the time between frames of a slowed-down clip is a whole number of them, see `_rate`


class MediaError(ValueError):
    """A file that cannot be used, and why."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The decoded content of one file.

    Attributes:
        frames: uint8 [T, H, W, 3], or None if the picture was not asked for; an image is a clip of one frame.
        fps: Frames per second of `frames`, not of the file.
        waveform: float32 [n], mono, in [-1, 1]; None if the sound was not asked for.
        sampling_rate: Samples per second of `waveform`.
        duration: Seconds of the picture, or of the sound if there is no picture.
    """

    frames: np.ndarray | None = None
    fps: float = 2.0
    waveform: np.ndarray | None = None
    sampling_rate: int = 16_000
    duration: float = 0.0


def read(medium: Media, *, fps: float, max_frames: int, sampling_rate: int, max_seconds: float | None) -> Clip:
    """Decode a sample's medium according to its kind; see `read_clip` for the arguments."""
    if medium.kind == "image":
        return Clip(frames=read_image(medium.path)[None], fps=fps)  # [1, H, W, 3]
    if medium.kind == "audio":
        return read_audio(medium.path, sampling_rate=sampling_rate, max_seconds=max_seconds)
    return read_clip(
        medium.path,
        fps=fps,
        max_frames=max_frames,
        sampling_rate=sampling_rate,
        max_seconds=max_seconds
        if medium.sound
        else None,  # the limit is one of hearing: frames are sampled more slowly
        need_sound=medium.sound,
    )


def read_image(path: Path | str) -> np.ndarray:
    """Decode an image file, or the first frame of a video: uint8 [H, W, 3]."""
    frames = read_clip(path, max_frames=1, need_sound=False).frames
    assert frames is not None
    return frames[0]


def read_audio(path: Path | str, *, sampling_rate: int = 16_000, max_seconds: float | None = None) -> Clip:
    """Decode a sound file, or the sound track of a video."""
    return read_clip(path, sampling_rate=sampling_rate, max_seconds=max_seconds, need_picture=False)


def read_clip(
    path: Path | str,
    *,
    fps: float = 2.0,
    max_frames: int = 128,
    sampling_rate: int = 16_000,
    max_seconds: float | None = None,
    need_picture: bool = True,
    need_sound: bool = True,
) -> Clip:
    """Decode the picture, the sound or both of one file.

    Args:
        path: The file.
        fps: Frames to take per second of the clip.
        max_frames: Upper limit of the number of frames; a longer clip is sampled more slowly.
        sampling_rate: Samples per second of the waveform, in Hz.
        max_seconds: Longest clip that is accepted; None for no limit.
        need_picture: Whether to decode the picture.
        need_sound: Whether to decode the sound.

    Raises:
        MediaError: If the file is missing, damaged, too long, or lacks a track that is needed.
    """
    path = Path(path)
    with opened(path) as container:
        if need_picture and not container.streams.video:
            raise MediaError(f"{path.name} has no picture; a file with a video track is needed")
        if need_sound and not container.streams.audio:
            raise MediaError(f"{path.name} has no sound track; to show it without sound use sound=False")
        streams = container.streams.video[: int(need_picture)] + container.streams.audio[: int(need_sound)]
        longest = max(_announced(container, stream) for stream in streams)
        if max_seconds is not None and longest > max_seconds + SLACK:
            raise MediaError(
                f"{path.name} lasts {longest:.0f} s; this model hears at most {max_seconds:.0f} s: shorten the clip"
            )

        picture = _Picture(_announced(container, streams[0]), fps, max_frames)
        sound = _Sound(sampling_rate)
        for frame in container.decode(*streams):
            (picture if isinstance(frame, av.VideoFrame) else sound).add(frame)
        _check_complete(path, container, {s: picture if s.type == "video" else sound for s in streams})
    return Clip(
        frames=picture.frames() if need_picture else None,
        fps=picture.fps,
        waveform=sound.waveform(start=picture.start if need_picture else sound.start) if need_sound else None,
        sampling_rate=sampling_rate,
        duration=picture.seconds if need_picture else sound.seconds,
    )


class _Picture:
    """Step 2, one decoded frame at a time, so that a long clip is never in memory as a whole."""

    kind = "video"

    def __init__(self, seconds: float, fps: float, max_frames: int):
        self.fps = _rate(seconds, fps, max_frames)
        self.wanted = min(max_frames, max(1, round(seconds * self.fps)))
        self.kept: list[np.ndarray] = []
        self.start: float | None = None
        self.end = 0.0
        self.shown: av.VideoFrame | None = None

    @property
    def seconds(self) -> float:
        return self.end - (self.start or 0.0)

    def add(self, frame: av.VideoFrame) -> None:
        time = frame.time or 0.0
        if self.start is None:
            self.start = time
        self._keep(until=time - self.start)
        self.shown = frame
        self.end = max(self.end, time + _length(frame))

    def _keep(self, until: float) -> None:
        """Keep the frame that is shown now for every sampling time before `until` (seconds)."""
        while len(self.kept) < self.wanted and len(self.kept) / self.fps < until - 1e-6:
            self.kept.append(self.shown.to_ndarray(format="rgb24"))  # [H, W, 3]

    def frames(self) -> np.ndarray:
        self._keep(until=max(self.seconds, 1e-3))
        return np.stack(self.kept)  # [T, H, W, 3]


class _Sound:
    """Step 3."""

    kind = "audio"

    def __init__(self, sampling_rate: int):
        self.sampling_rate = sampling_rate
        self.resampler = av.AudioResampler(format="fltp", layout="mono", rate=sampling_rate)
        self.blocks: list[np.ndarray] = []
        self.start: float | None = None
        self.end = 0.0

    @property
    def seconds(self) -> float:
        return self.end - (self.start or 0.0)

    def add(self, frame: av.AudioFrame) -> None:
        time = frame.time or 0.0
        if self.start is None:
            self.start = time
        self.end = max(self.end, time + frame.samples / frame.sample_rate)
        self.blocks += [block.to_ndarray()[0] for block in self.resampler.resample(frame)]  # each [n]

    def waveform(self, start: float) -> np.ndarray:
        tail = [block.to_ndarray()[0] for block in self.resampler.resample(None)]
        waveform = np.concatenate(self.blocks + tail).astype(np.float32)  # [n]
        late = round((self.start - start) * self.sampling_rate)
        return np.pad(waveform, (late, 0)) if late > 0 else waveform[-late:]


def _rate(seconds: float, fps: float, max_frames: int) -> float:
    """Frames per second for a clip of this length: `fps`, or as much less as `max_frames` requires.

    A reduced rate is chosen such that the time between frames is a multiple of 1/64 s. Such times are exact in float32
    and float64. Processor and model each compute from them where the chunks of two seconds end, and so agree.
    """
    if round(seconds * fps) <= max_frames:
        return fps
    ticks = ceil(seconds / max_frames * TICK)
    while 1 / (TICK / ticks) != ticks / TICK:
        ticks += 1
    return TICK / ticks


def _length(frame: av.VideoFrame) -> float:
    """For how many seconds a frame is shown."""
    return float((frame.duration or 0) * frame.time_base)


def _announced(container: av.container.InputContainer, stream: av.stream.Stream) -> float:
    """The duration in seconds that the track announces, or else the file; 0 for an image."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1_000_000  # FFmpeg's clock for containers ticks in microseconds


def _check_complete(path: Path, container: av.container.InputContainer, tracks: dict) -> None:
    """Step 4. If only the whole file announces a duration (Matroska), only its longest track must reach it."""
    for stream, track in tracks.items():
        if track.start is None:
            raise MediaError(f"{path.name}: its {track.kind} track is empty or cannot be decoded")
        reached = track.seconds if stream.duration else max(other.end for other in tracks.values())
        announced = _announced(container, stream)
        unread = not stream.duration and len(tracks) < len(container.streams)
        if reached < announced - TOLERANCE and not unread:
            raise MediaError(
                f"{path.name} is cut off: {reached:.1f} s of {track.kind} were decoded, but the file announces "
                f"{announced:.1f} s; fetch it again"
            )


def _is_cut_off(path: Path) -> bool:
    """Whether an mp4's boxes or a wav's header announce more bytes than the file has; more exact than durations."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF":
            return int.from_bytes(head[4:8], "little") + 8 > size
        at = 0
        while head[4:8] == b"ftyp" and at + 8 <= size:
            file.seek(at)
            box = file.read(16)
            length = int.from_bytes(box[:4], "big")
            length = int.from_bytes(box[8:16], "big") if length == 1 else length
            if length < 8:  # 0: up to the end of the file
                return False
            at += length
    return at > size


@contextmanager
def opened(path: Path) -> Iterator[av.container.InputContainer]:
    """Open a file with PyAV, and turn every error of FFmpeg inside the block into a `MediaError`."""
    if not path.is_file():
        raise MediaError(f"missing file {path.name} (looked in {path.parent})")
    if path.stat().st_size == 0:
        raise MediaError(f"{path.name} is empty (0 bytes); fetch it again")
    if _is_cut_off(path):
        raise MediaError(f"{path.name} is cut off: it announces more bytes than it has; fetch it again")
    try:
        with av.open(str(path)) as container:
            yield container
    except FFmpegError as error:
        reason = f"{path.name} cannot be decoded: it is damaged or not a media file ({error.strerror}); fetch it again"
        raise MediaError(reason) from None
