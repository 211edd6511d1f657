"""What decoding gives, and what it raises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Clip", "MediaError"]


class MediaError(ValueError):
    """A file that cannot be used, and why."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The decoded content of one file.

    Attributes:
        frames: uint8 [T, H, W, 3], or None if the picture was not asked for; an image is a clip of one frame.
        fps: Frames per second of `frames`, not of the file.
        waveform: float32 [n], mono, full scale is 1; None if the sound was not asked for.
        sampling_rate: Samples per second of `waveform`.
        duration: Seconds of the picture, or of the sound if there is no picture.
        fitted: Whether `frames` have been through the `fit` that `avsink.media.read` was given.
    """

    frames: np.ndarray | None = None
    fps: float = 2.0
    waveform: np.ndarray | None = None
    sampling_rate: int = 16_000
    duration: float = 0.0
    fitted: bool = False
