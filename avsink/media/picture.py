"""The picture of a clip: the frames that a player would show, upright, at regular times.

One frame is kept every `1 / fps` seconds from the first frame on, each the frame that is shown at that time; or those
of given numbers (`Numbered`). Frames are looked at one by one, and only those that are kept are converted, turned
upright (`avsink.media.upright`) and resized by `fit`, so that a long clip or a large picture is never in memory as a
whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

import av
import numpy as np

from avsink.media.clip import MediaError
from avsink.media.limits import KEPT
from avsink.media.upright import upright

__all__ = ["Fit", "Numbered", "Picture", "fitted", "rate"]

Fit = Callable[[np.ndarray], np.ndarray]
"""One picture, uint8 [H, W, 3], in another size."""

TICK = 64  # ticks a second: the time between frames of a slowed-down clip is a whole number of them, see `rate`
JUMP = 0.5  # seconds


class Picture:
    """One track of pictures, a decoded frame at a time.

    Attributes:
        fps: Frames kept a second.
        start: Seconds at which the first frame is shown, None before there is any.
        end: Seconds at which the last frame has been shown.
        seen: Frames that were looked at.
    """

    kind = "picture"

    def __init__(self, seconds: float, fps: float, max_frames: int, *, fit: Fit | None, name: str):
        self.fps = rate(seconds, fps, max_frames)
        self.name = name
        self.start: float | None = None
        self.end = 0.0
        self.seen = 0
        self._fit = fit
        self._wanted = min(max_frames, max(1, round(seconds * self.fps)))
        self._frames: np.ndarray | None = None
        self._kept = 0
        self._shown: av.VideoFrame | None = None
        self._time = self._length = 0.0  # of the frame that is shown

    @property
    def seconds(self) -> float:
        """The length of the picture."""
        return self.end - (self.start or 0.0)

    def add(self, frame: av.VideoFrame) -> None:
        """Look at the next frame. One without a time follows the one before."""
        time = self.end if frame.time is None else frame.time
        if self.start is None:
            self.start = self._time = time
        if time < self._time - JUMP:
            raise MediaError(
                f"{self.name}: the time stamps of its picture jump back from {self._time:.1f} s to {time:.1f} s, as if "
                "it were several recordings; encode it again"
            )
        self._keep(until=time - self.start)
        self._length = float((frame.duration or 0) * frame.time_base) or max(self._length, time - self._time)
        self._shown, self._time = frame, time
        self.seen += 1
        self.end = max(self.end, time + self._length)

    def frames(self) -> np.ndarray:
        """All that were kept, uint8 [T, H, W, 3]."""
        self._keep(until=max(self.seconds, 1e-3))
        return self._frames[: self._kept]

    def _keep(self, until: float) -> None:
        """Keep the frame that is shown now for every sampling time before `until` (seconds)."""
        picture = None
        while self._kept < self._wanted and self._kept / self.fps < until - 1e-6:
            if picture is None:
                picture = self._converted()
            self._frames[self._kept] = picture
            self._kept += 1

    def _converted(self) -> np.ndarray:
        """The frame that is shown now, as it is kept."""
        picture = fitted(upright(self._shown.to_ndarray(format="rgb24"), self._shown, self.name), self._fit, self.name)
        if self._frames is None:
            if self._wanted * picture.nbytes > KEPT:
                height, width, _ = picture.shape
                raise MediaError(
                    f"{self.name}: {self._wanted} frames of {width} x {height} take "
                    f"{self._wanted * picture.nbytes / 2**30:.0f} GB; at most {KEPT / 2**30:.0f} are kept: take fewer, "
                    "or encode it again, smaller"
                )
            self._frames = np.empty((self._wanted, *picture.shape), np.uint8)
        if picture.shape != self._frames.shape[1:]:
            raise MediaError(f"{self.name}: its picture changes its size at {self._time:.1f} s; encode it again")
        return picture


class Numbered(Picture):
    """The frames of these numbers, counted from 0 in the order in which they are shown.

    Args:
        chosen: The numbers, in order.
        fps: What the model is told to be the frames a second.
        fit: As of `Picture`.
        name: The file's name.
    """

    def __init__(self, chosen: Sequence[int], fps: float, *, fit: Fit | None, name: str):
        super().__init__(0.0, fps, len(chosen), fit=fit, name=name)
        self._chosen, self._wanted = chosen, len(chosen)

    def _keep(self, until: float) -> None:
        """Keep the frame that is shown now as often as its number was chosen."""
        while self._kept < self._wanted and self._chosen[self._kept] == self.seen - 1:
            picture = self._converted()
            self._frames[self._kept] = picture
            self._kept += 1


def fitted(picture: np.ndarray, fit: Fit | None, name: str) -> np.ndarray:
    """A picture through `fit`, if there is one."""
    try:
        return picture if fit is None else fit(picture)
    except ValueError as error:  # of a shape that the model cannot take
        raise MediaError(f"{name}: {error}") from None


def rate(seconds: float, fps: float, max_frames: int) -> float:
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
