"""Whole files to clips: survey, decode, compare. `avsink.media` says what the steps are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from avsink.media.clip import Clip, MediaError
from avsink.media.image import image
from avsink.media.limits import Deadline, named
from avsink.media.opening import chosen, opened, pictures
from avsink.media.picture import Fit, Numbered, Picture, fitted
from avsink.media.published import EVEN, PUBLISHED, frame_numbers, whole_length
from avsink.media.raw import RAW, is_padding
from avsink.media.sound import Sound
from avsink.media.survey import MICROSECOND, TOLERANCE, Span, is_announced, survey
from avsink.media.upright import upright
from avsink.sample import Media

__all__ = ["check_beginning", "read", "read_audio", "read_clip", "read_image", "seconds"]

HEIC = {b"ftyp" + brand for brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif")}  # images made of tiles
STATED = {"matroska,webm"}  # whose header says how large the picture is, besides the codec's own
EXACT = 0.001  # seconds
COARSE = 0.01  # seconds, for containers whose clock ticks in thousandths


def read(
    medium: Media,
    *,
    fps: float,
    max_frames: int,
    sampling_rate: int,
    max_seconds: float | None,
    fit: Fit | None = None,
    sampling: str = EVEN,
) -> Clip:
    """Decode a sample's medium according to its kind; see `read_clip` for the arguments."""
    if medium.kind == "image":
        picture = fitted(read_image(medium.path), fit, medium.path.name)
        return Clip(frames=picture[None], fps=fps, fitted=fit is not None)  # [1, H, W, 3]
    if medium.kind == "audio":
        return read_audio(medium.path, sampling_rate=sampling_rate, max_seconds=max_seconds, sampling=sampling)
    return read_clip(
        medium.path,
        fps=fps,
        max_frames=max_frames,
        sampling_rate=sampling_rate,
        max_seconds=max_seconds
        if medium.sound
        else None,  # the limit is one of hearing: frames are sampled more slowly
        need_sound=medium.sound,
        fit=fit,
        sampling=sampling,
    )


def read_image(path: Path | str) -> np.ndarray:
    """Decode an image file, or the first frame of a video: uint8 [H, W, 3]."""
    path = Path(path)
    picture = image(path)
    if picture is not None:
        return picture
    with opened(path) as container:
        with path.open("rb") as file:
            tiled = file.read(12)[4:] in HEIC
        if tiled or container.format.name.endswith(("_pipe", "image2", "mjpeg")):
            raise MediaError(f"{path.name} is a damaged image, or of a kind that is not read; save it as PNG or JPEG")
    for frame in _decoded(path, picture=True):
        with named(path.name):
            return upright(frame.to_ndarray(format="rgb24"), frame, path.name)
    raise MediaError(f"{path.name}: its picture is empty or cannot be decoded")


def read_audio(
    path: Path | str, *, sampling_rate: int = 16_000, max_seconds: float | None = None, sampling: str = EVEN
) -> Clip:
    """Decode a sound file, or the sound track of a video."""
    return read_clip(path, sampling_rate=sampling_rate, max_seconds=max_seconds, need_picture=False, sampling=sampling)


def read_clip(
    path: Path | str,
    *,
    fps: float = 2.0,
    max_frames: int = 128,
    sampling_rate: int = 16_000,
    max_seconds: float | None = None,
    need_picture: bool = True,
    need_sound: bool = True,
    fit: Fit | None = None,
    sampling: str = EVEN,
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
        fit: Resizes each frame that is kept, so that a large picture is never kept as it is.
        sampling: "even" or "published" (`avsink.media.published`).

    Raises:
        MediaError: If the file is missing, damaged, too long, too large, or lacks a track that is needed.
    """
    path = Path(path)
    spans = survey(path, picture=need_picture, sound=need_sound, max_seconds=max_seconds)
    longest = max(span.seconds for span in spans.values())
    published = sampling == PUBLISHED
    picture = Picture(spans["video"].seconds if need_picture else 0.0, fps, max_frames, fit=fit, name=path.name)
    sound = Sound(
        sampling_rate,
        clock=need_sound and spans["audio"].clock,
        name=path.name,
        placed=not published,
        sixteen=published and need_picture,
    )
    with named(path.name):
        if published and need_picture:
            picture = _numbered(path, spans["video"], fps=fps, max_frames=max_frames, fit=fit)
        for frame in _decoded(path, picture=need_picture, sound=need_sound, seconds=longest):
            (picture if isinstance(frame, av.VideoFrame) else sound).add(frame)
        for kind, span in spans.items():
            _check_decoded(path.name, picture if kind == "video" else sound, span)
        waveform = None
        if need_sound:
            waveform = sound.waveform(start=picture.start if need_picture and not published else sound.start)
            if published:
                samples = round(sound.heard * sound.rate)
                waveform = whole_length(waveform, samples, sound.rate, sampling_rate)
        return Clip(
            frames=picture.frames() if need_picture else None,
            fps=picture.fps,
            waveform=waveform,
            sampling_rate=sampling_rate,
            duration=picture.seconds if need_picture else sound.seconds,
            fitted=fit is not None,
        )


def _numbered(path: Path, span: Span, *, fps: float, max_frames: int, fit: Fit | None) -> Numbered:
    """The frames that the published sampling takes. They are counted first: a packet need not show anything."""
    total = sum(1 for _ in _decoded(path, picture=True, seconds=span.seconds))
    rate = span.rate or total / span.seconds
    numbers = frame_numbers(total, rate, fps=fps, max_frames=max_frames, name=path.name)
    return Numbered(numbers, fps, fit=fit, name=path.name)


def check_beginning(medium: Media) -> None:
    """Decode an image, or the first frame of each track that a medium needs. Raises `MediaError`."""
    if medium.kind == "image":
        read_image(medium.path)
        return
    needs = {"picture": medium.kind == "video", "sound": medium.kind == "audio" or medium.sound}
    for need in (kind for kind, needed in needs.items() if needed):  # opened for each: reading one moves past the other
        for _ in _decoded(medium.path, picture=need == "picture", sound=need == "sound"):
            break
        else:
            raise MediaError(f"{medium.path.name}: its {need} is empty or cannot be decoded")


def seconds(path: Path) -> float:
    """How long a file announces to be, or else is by its packets. Raises `MediaError`."""
    with opened(path) as container:
        if is_announced(path, container):
            return container.duration / MICROSECOND
        needs = {"picture": bool(pictures(container)), "sound": bool(container.streams.audio)}
    return max((span.seconds for span in survey(path, **needs).values()), default=0.0)


def _decoded(
    path: Path, *, picture: bool = False, sound: bool = False, seconds: float = 0.0
) -> Iterator[av.VideoFrame | av.AudioFrame]:
    """All frames of the tracks that are asked for, in the order of the file."""
    deadline = Deadline(path.name)
    with opened(path) as container:
        streams = chosen(container, path.name, picture=picture, sound=sound)
        context = streams[0].codec_context
        stated = (context.width, context.height) if picture and container.format.name in STATED else None
        for packet in container.demux(streams):
            if packet.size and container.format.name in RAW and is_padding(bytes(packet)):
                continue
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise MediaError(f"{path.name} is damaged: its decoder says so of {_place(frame)}; fetch it again")
                if stated and isinstance(frame, av.VideoFrame) and (frame.width, frame.height) != stated:
                    raise MediaError(
                        f"{path.name} shows {frame.width} x {frame.height} pixels, but its header says {stated[0]} x "
                        f"{stated[1]}: it is damaged, or its picture changes its size; encode it again"
                    )
                deadline.check(seconds)
                yield frame


def _place(frame: av.VideoFrame | av.AudioFrame) -> str:
    kind = "the picture" if isinstance(frame, av.VideoFrame) else "the sound"
    return kind if frame.time is None else f"{kind} at {frame.time:.1f} s"


def _check_decoded(name: str, track: Picture | Sound, span: Span) -> None:
    """Refuse a track of which less was decoded than its packets hold, or its header counts."""
    if track.start is None:
        raise MediaError(f"{name}: its {track.kind} is empty or cannot be decoded")
    if track.seconds < span.measured - TOLERANCE:
        raise MediaError(
            f"{name} is damaged: of {span.measured:.1f} s of {track.kind} only {track.seconds:.1f} s were decoded; "
            "fetch it again"
        )
    if isinstance(track, Sound):
        track.check_clock()
    if span.counted and isinstance(track, Sound) and abs(track.heard - span.announced) > EXACT:
        raise MediaError(
            f"{name} is damaged: its header counts {span.announced:.2f} s of sound, but {track.heard:.2f} s were "
            "decoded; fetch it again"
        )
    if span.plain and abs(track.end - span.end) > COARSE:
        raise MediaError(
            f"{name} is damaged: its sound ends at {track.end:.2f} s, but by its header at {span.end:.2f} s; fetch it "
            "again"
        )
