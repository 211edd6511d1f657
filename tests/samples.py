"""Small clips and images, and samples that ask about them."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from avsink import Media, Sample, Text


def write_clip(
    path: Path,
    *,
    seconds: float = 4.0,
    sound: float | None = None,
    picture: bool = True,
    fps: int = 8,
    size: int = 96,
    options: dict[str, str] | None = None,
) -> Path:
    """An mp4 whose frame k is a flat grey of level 16 + 5k and whose sound is a 440 Hz tone.

    sound: its length in seconds; None: as long as the picture; 0: no sound track.
    """
    sound = seconds if sound is None else sound
    with av.open(str(path), "w", options=options or {}) as out:
        video = out.add_stream("h264", rate=fps, options={"preset": "ultrafast"}) if picture else None
        audio = out.add_stream("aac", rate=16_000, layout="mono") if sound else None
        if video:
            video.width = video.height = size
            video.pix_fmt = "yuv420p"
        for k in range(round(seconds * fps) if video else 0):
            image = np.full((size, size, 3), min(16 + 5 * k, 250), np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        if video:
            out.mux(video.encode(None))
        if audio:
            tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(sound * 16_000)) / 16_000).astype(np.float32)
            for start in range(0, len(tone), 1024):
                frame = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 16_000, start
                out.mux(audio.encode(frame))
            out.mux(audio.encode(None))
    return path


def write_image(path: Path, *, level: int = 128, size: int = 96) -> Path:
    """A flat grey png."""
    with av.open(str(path), "w", format="image2") as out:
        stream = out.add_stream("png", rate=1)
        stream.width = stream.height = size
        stream.pix_fmt = "rgb24"
        image = np.full((size, size, 3), level, np.uint8)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def clip_sample(*paths: Path, sound: bool | tuple[bool, ...] = True, **changes):
    """A three-way question about one clip or several."""
    sounds = (sound,) * len(paths) if isinstance(sound, bool) else sound
    clips = (Media(path=path, kind="video", sound=heard) for path, heard in zip(paths, sounds, strict=True))
    fields = {
        "id": "clip-1",
        "task": "sounding object",
        "category": "sounding object",
        "parts": (*clips, Text(text="Which object makes the sound?")),
        "options": ("dog", "cat", "bird"),
        "suffix": "Answer with the letter.",
        "answer": "B",
    }
    return Sample(**(fields | changes))


def matching_sample(folder: Path, *, reference: str = "audio"):
    """Four candidates of one kind, the question, and the reference of the other kind (Flow section 5.1)."""
    images = [folder / f"image{k}.png" for k in range(4)]
    sounds = [folder / f"sound{k}.mp4" for k in range(4)]
    kinds = ("image", "audio") if reference == "audio" else ("audio", "image")
    candidates, other = (images, sounds[2]) if reference == "audio" else (sounds, images[2])
    parts = []
    for k, path in enumerate(candidates):
        parts += [Text(text=f"[{k + 1}] ", role="label"), Media(path=path, kind=kinds[0], role="candidate")]
    parts += [Text(text="Which one fits?"), Media(path=other, kind=kinds[1], role="reference")]
    return Sample(
        id="match-1",
        task="match the reference",
        category=f"{reference} reference",
        parts=tuple(parts),
        options=("first", "second", "third", "fourth"),
        suffix="Answer with the letter.",
        answer="C",
    )
