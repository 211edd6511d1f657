"""A scene of the toy world: which objects are seen when and where, which are heard when, and how degraded both are.

`Scene` is the ground truth. Everything else follows from it and its seed, exactly and repeatably:

1. `frames(fps, size)`: sprites move in straight lines over a coloured landscape; `fog` blends in drifting clouds;
2. `masks(fps, size)`: which pixels each object covers, regardless of fog;
3. `waveform()`: the sounds are summed over a faint hiss; `noise` drowns them out.

`fog` and `noise` are the degradations, on a scale from 0 (clean) to 1 (nothing of the object is left).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from avsink.toyworld.sounds import RATE, sound
from avsink.toyworld.sprites import sprite

__all__ = ["Appearance", "Sounding", "Scene", "frame_times"]

_HISS = 0.002  # amplitude of the hiss, because no recording is digitally silent


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """An object that is seen from `start` to `stop` (s) while its centre moves from `come_from` to `go_to`.

    `size` and centres (x, y) are in frame widths.
    """

    name: str
    start: float
    stop: float
    size: float
    come_from: tuple[float, float]
    go_to: tuple[float, float]

    def centre(self, time: float) -> tuple[float, float]:
        """Its centre at `time` (s), (x, y) in frame widths."""
        share = (time - self.start) / max(self.stop - self.start, 1e-6)
        (x0, y0), (x1, y1) = self.come_from, self.go_to
        return x0 + share * (x1 - x0), y0 + share * (y1 - y0)


@dataclass(frozen=True, kw_only=True)
class Sounding:
    """An object that is heard from `start` to `stop` (s); `pitch` is a factor on its frequencies."""

    name: str
    start: float
    stop: float
    pitch: float = 1.0
    gain: float = 0.7


def frame_times(duration: float, fps: float) -> np.ndarray:
    """The times of the frames of a clip in seconds, [T]."""
    return np.arange(int(round(duration * fps))) / fps


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Ground truth of one clip of `duration` seconds. Where things overlap, the later entry of `seen` is in front."""

    seen: tuple[Appearance, ...] = ()
    heard: tuple[Sounding, ...] = ()
    duration: float = 4.0
    fog: float = 0.0
    noise: float = 0.0
    seed: int = 0

    def masks(self, fps: float, size: int) -> np.ndarray:
        """The visible pixels of each appearance, bool [T, len(seen), size, size]."""
        times = frame_times(self.duration, fps)
        masks = np.zeros((len(times), len(self.seen), size, size), dtype=bool)
        for i, time in enumerate(times):
            for k, thing in enumerate(self.seen):
                placed = _place(thing, time, size)
                if placed is not None:
                    rows, columns, picture = placed
                    covered = picture[..., 3] > 127
                    masks[i, :k, rows, columns] &= ~covered
                    masks[i, k, rows, columns] = covered
        return masks

    def frames(self, fps: float, size: int) -> np.ndarray:
        """The frames of the clip, uint8 [T, size, size, 3]."""
        rng = np.random.default_rng([self.seed, 1])
        landscape = _landscape(rng, size)
        clouds = [_clouds(rng, size) for _ in range(2)]
        film = []
        for time in frame_times(self.duration, fps):
            frame = landscape.copy()
            for thing in self.seen:
                placed = _place(thing, time, size)
                if placed is not None:
                    rows, columns, picture = placed
                    alpha = picture[..., 3:] / 255.0
                    frame[rows, columns] = (1 - alpha) * frame[rows, columns] + alpha * picture[..., :3]
            drift = time / self.duration
            cloud = (1 - drift) * clouds[0] + drift * clouds[1]
            film.append((1 - self.fog) * frame + self.fog * cloud)
        return np.clip(np.stack(film), 0, 255).astype(np.uint8)

    def waveform(self) -> np.ndarray:
        """The sound track, float32 [duration * RATE] in [-1, 1]."""
        rng = np.random.default_rng([self.seed, 2])
        count = int(round(self.duration * RATE))
        track = np.zeros(count)
        for thing in self.heard:
            wave = thing.gain * sound(thing.name, thing.stop - thing.start, pitch=thing.pitch, rng=rng)
            first = int(thing.start * RATE)
            wave = wave[: count - first]
            track[first : first + len(wave)] += wave
        murmur = np.cumsum(rng.standard_normal(count))
        murmur = np.diff(murmur, prepend=0) + 0.5 * np.convolve(rng.standard_normal(count), np.ones(8) / 8, "same")
        murmur *= 0.25 / murmur.std()
        track = (1 - self.noise) * track + self.noise * murmur + _HISS * rng.standard_normal(count)
        return np.clip(track, -1, 1).astype(np.float32)


def _place(thing: Appearance, time: float, size: int) -> tuple[slice, slice, np.ndarray] | None:
    """Rows, columns and the part of the picture inside the frame at `time`; None if the object is not in the frame."""
    if not thing.start <= time < thing.stop:
        return None
    picture = sprite(thing.name, max(4, round(thing.size * size)))
    side = picture.shape[0]
    x, y = thing.centre(time)
    left, top = round(x * size - side / 2), round(y * size - side / 2)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, size), min(top + side, size)
    if x0 >= x1 or y0 >= y1:
        return None
    return slice(y0, y1), slice(x0, x1), picture[y0 - top : y1 - top, x0 - left : x1 - left]


def _landscape(rng: np.random.Generator, size: int) -> np.ndarray:
    """Sky and ground in two soft colours, float [size, size, 3]."""
    sky, ground = rng.uniform(150, 235, 3), rng.uniform(90, 190, 3)
    horizon = rng.uniform(0.45, 0.8)
    height = np.linspace(0, 1, size)[:, None, None]  # [size, 1, 1]
    edge = 1 / (1 + np.exp(-(height - horizon) * 30))
    shade = 1 - 0.15 * np.abs(height - horizon)
    return np.broadcast_to(((1 - edge) * sky + edge * ground) * shade, (size, size, 3)).copy()


def _clouds(rng: np.random.Generator, size: int) -> np.ndarray:
    """Coloured blobs about as large as the parts of sprites, float [size, size, 3]."""
    coarse = rng.uniform(0, 255, (7, 7, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC), dtype=float)
