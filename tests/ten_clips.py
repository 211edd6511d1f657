"""Ten clips unlike one another in what a sampler of frames and sound looks at: rates, sizes, channels, durations."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from recordings import record, scene, tune

__all__ = ["TEN", "Recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to make one clip."""

    count: int  # frames
    fps: Fraction | int
    size: tuple[int, int]  # height, width
    seconds: float  # of sound
    rate: int
    layout: str = "mono"
    name: str = "clip.mp4"
    how: tuple[tuple[str, str], ...] = ()

    def write(self, folder: Path) -> Path:
        """Write the clip. Its channels are the same tune, each at a loudness of its own."""
        height, width = self.size
        channels = {"mono": 1, "stereo": 2, "5.1": 6}[self.layout]
        loudness = np.linspace(1, 0.4, channels, dtype=np.float32)[:, None]
        return record(
            folder / self.name,
            frames=scene(self.count, height=height, width=width),
            waveform=loudness * tune(self.seconds, rate=self.rate),
            fps=self.fps,
            rate=self.rate,
            layout=self.layout,
            **dict(self.how),
        )


OPUS = (("video", "libvpx"), ("audio", "libopus"))
TEN = {
    "two seconds at 8": Recipe(count=16, fps=8, size=(48, 64), seconds=2.0, rate=16_000),
    "ten seconds at 29.97": Recipe(
        count=300, fps=Fraction(30_000, 1001), size=(90, 160), seconds=10.0, rate=44_100, layout="stereo"
    ),
    "nine seconds at 23.976": Recipe(
        count=216, fps=Fraction(24_000, 1001), size=(120, 68), seconds=9.0, rate=48_000, layout="5.1"
    ),
    "odd number at 25": Recipe(count=113, fps=25, size=(72, 96), seconds=4.5, rate=22_050),
    "one second at 60": Recipe(count=60, fps=60, size=(64, 64), seconds=1.0, rate=48_000, layout="stereo"),
    "one frame a second": Recipe(count=12, fps=1, size=(96, 128), seconds=12.0, rate=8_000),
    "longer than the limit": Recipe(count=700, fps=10, size=(48, 64), seconds=70.0, rate=8_000),
    "webm at 12": Recipe(
        count=31, fps=12, size=(66, 98), seconds=2.5, rate=48_000, layout="stereo", name="clip.webm", how=OPUS
    ),
    "matroska at 15": Recipe(count=50, fps=15, size=(50, 180), seconds=3.3, rate=32_000, name="clip.mkv"),
    "large and short": Recipe(count=20, fps=20, size=(360, 640), seconds=1.5, rate=16_000, layout="stereo"),
}
"""Name -> recipe. The sound of some is longer or shorter than the picture."""
