"""Real files for the toy world: mp4 with H.264 and AAC, and png.

`avsink.media` reads them like any downloaded clip.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from avsink.toyworld.sounds import RATE

__all__ = ["write_clip", "write_image"]


def write_clip(
    path: Path, *, frames: np.ndarray | None, waveform: np.ndarray | None, fps: float, crf: int = 30
) -> None:
    """Encode frames (uint8 [T, H, W, 3]) and sound (float32 [n] at 16 kHz) as mp4; either may be None.

    The encoder uses one thread and no B-frames, so that one version of it always gives the same bytes for a scene.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        if frames is not None:
            video = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
            video.height, video.width, video.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
            video.options = {"crf": str(crf), "preset": "veryfast", "bf": "0", "threads": "1"}
        if waveform is not None:
            audio = container.add_stream("aac", rate=RATE, layout="mono")
            audio.bit_rate = 16_000
        if frames is not None:
            for frame in frames:
                container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(video.encode())
        if waveform is not None:
            for start in range(0, len(waveform), 1024):
                block = np.ascontiguousarray(waveform[None, start : start + 1024].astype(np.float32))  # [1, <=1024]
                packed = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
                packed.sample_rate, packed.pts, packed.time_base = RATE, start, Fraction(1, RATE)
                container.mux(audio.encode(packed))
            container.mux(audio.encode())


def write_image(path: Path, frame: np.ndarray) -> None:
    """Write one frame (uint8 [H, W, 3]) as png."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(frame).save(path, optimize=True)
