"""Files of known content, and what a changed one gives in comparison.

- content that the change does not touch, or that follows from it (turned, later, silent for a while): right;
- a refusal that names the file: named;
- damage to the payload of packets, which the codec hid without a flag: concealed, but only if every changed byte that
  matters lies in a packet, and if the number, size and rate of frames, the length of the sound, and all that was
  decoded from before the damage and from well after it are right;
- anything else, above all a shorter clip or another time: silently wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import av
import numpy as np
from hostile.trial import Verdict, refused
from PIL import Image
from recordings import record, scene, tune

from avsink.media import Clip, read
from avsink.sample import Media

RATE = 16_000
SETTLED = 0.4  # seconds after which a decoder of sound has forgotten a damaged packet
TICK = 0.0015  # seconds: the clock of Matroska ticks in thousandths
REORDERED = 0.3  # seconds by which frames are shown later than they are stored
HOW = {"fps": 4.0, "max_frames": 64, "sampling_rate": RATE, "max_seconds": 30.0}

SPECS = {  # picture and sound, or sound alone
    "clip.mp4": {"rate": 44_100},
    "front.mp4": {"options": {"movflags": "faststart"}},
    "parts.mp4": {"options": {"movflags": "frag_keyframe+empty_moov"}, "rate": 48_000},
    "clip.mov": {"audio": "pcm_s16le"},
    "vp8.webm": {"video": "libvpx", "audio": "libopus", "rate": 48_000},
    "vp9.webm": {"video": "libvpx-vp9", "audio": "libopus", "rate": 48_000},
    "live.webm": {"video": "libvpx", "audio": "libopus", "rate": 48_000, "piped": True, "container": "webm"},
    "clip.mkv": {"rate": 44_100},
    "live.mkv": {"audio": "flac", "piped": True, "container": "matroska"},
    "clip.avi": {"video": "mjpeg", "audio": "libmp3lame", "rate": 44_100},
    "tune.mp3": {"audio": "libmp3lame", "rate": 44_100},
    "tune.wav": {"audio": "pcm_s16le"},
    "pipe.wav": {"audio": "pcm_s16le", "piped": True, "container": "wav"},
    "tune.flac": {"audio": "flac", "rate": 44_100},
    "tune.opus": {"audio": "libopus", "rate": 48_000},
    "tune.m4a": {},
    "tune.aac": {"container": "adts"},
}
IMAGES = {
    "image.png": {},
    "image.jpg": {"quality": 90},
    "image.gif": {},
    "image.webp": {"quality": 90},
    "image.bmp": {},
    "image.tif": {"compression": "tiff_lzw"},
}
SOUNDS = [name for name in SPECS if name.startswith(("tune", "pipe"))]
OPEN = ("live.webm", "live.mkv", "pipe.wav", "tune.aac")  # nothing says how long they are to be


@dataclass(frozen=True, kw_only=True)
class Packet:
    """Where a packet lies in the file, and in time (seconds)."""

    kind: str
    place: int
    size: int
    start: float
    end: float


@dataclass(kw_only=True)
class Base:
    """A file of known content."""

    path: Path
    kind: str
    content: Clip
    packets: tuple[Packet, ...] = ()

    @cached_property
    def data(self) -> bytes:
        return self.path.read_bytes()

    @property
    def start(self) -> float:
        """Seconds at which the picture begins, or the sound alone."""
        kind = "audio" if self.content.frames is None else "video"
        return min((p.start for p in self.packets if p.kind == kind), default=0.0)

    def in_payload(self, at: int) -> bool:
        """Whether a byte is of a packet, of a codec's own header, or of an image's pixels and tables."""
        if self.kind == "image":
            return at >= self.pixels
        return any(place <= at < place + size for place, size in self.coded) or any(
            p.place <= at < p.place + p.size for p in self.packets
        )

    @cached_property
    def coded(self) -> list[tuple[int, int]]:
        """Where the codecs' own headers lie: place and size."""
        with av.open(str(self.path)) as container:
            headers = [stream.codec_context.extradata or b"" for stream in container.streams]
        return [(self.data.find(header), len(header)) for header in headers if header in self.data]

    @cached_property
    def pixels(self) -> int:
        """Where the content of an image begins, after the header that says its size and kind."""
        places = {
            ".jpg": 20,  # its tables
            ".gif": 13,  # its colours
            ".webp": 20,
            ".bmp": 54,
            ".tif": 8,
            ".png": len(self.data),  # has checksums
        }
        return places[self.path.suffix]


def setup(folder: Path) -> dict[str, Base]:
    bases = {}
    for name, spec in SPECS.items():
        sound = tune(rate=spec.get("rate", RATE))
        path = record(folder / name, frames=None if name in SOUNDS else scene(), waveform=sound, **spec)
        kind = "audio" if name in SOUNDS else "video"
        bases[name] = Base(path=path, kind=kind, content=heard(path, kind), packets=packets(path))
        check_content(bases[name])
    for name, how in IMAGES.items():
        path = folder / name
        Image.fromarray(scene(1)[0]).save(path, **how)
        bases[name] = Base(path=path, kind="image", content=heard(path, "image"))
    return bases


def heard(path: Path, kind: str) -> Clip:
    return read(Media(path=path, kind=kind, sound=kind == "video"), **HOW)


def packets(path: Path) -> tuple[Packet, ...]:
    found, data = [], path.read_bytes()
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size and packet.pos is not None:
                place = max(packet.pos, data.find(bytes(packet), packet.pos))  # in Matroska, after a header
                ticks = packet.pts if packet.pts is not None else packet.dts
                start, length = float(ticks * packet.time_base), float((packet.duration or 0) * packet.time_base)
                kind = packet.stream.type
                found.append(Packet(kind=kind, place=place, size=packet.size, start=start, end=start + length))
    return tuple(found)


def check_content(base: Base) -> None:
    """The undamaged file must give what was recorded."""
    content = base.content
    if content.frames is not None:
        near = numbers(content.frames)
        assert all(abs(number - 2 * k) <= 1 for k, number in enumerate(near)) and len(near) in (8, 9), (base.path, near)
    piece = tune()[3 * RATE // 4 - 500 : RATE + 500]  # a quarter with its own tone, and where it begins and ends
    around = content.waveform[3 * RATE // 4 - 2_000 : RATE + 2_000]
    alike = np.correlate(around, piece, "valid").max() / (piece @ piece)
    assert 0.8 < alike < 1.2, (base.path, alike)


# What a changed file gives


def judged(path: Path, kind: str, what: str, expected: Callable[[Clip], str | None]) -> Verdict:
    """Read, and compare: `expected` gives an outcome, or None for silently wrong."""
    try:
        content = heard(path, kind)
    except Exception as error:
        return refused(error, what, names=[path.name])
    outcome = expected(content)
    said = "" if outcome else described(content)
    return Verdict(outcome=outcome or "silently wrong", what=what, said=said)


def described(content: Clip) -> str:
    frames = None if content.frames is None else content.frames.shape
    sound = None if content.waveform is None else f"{len(content.waveform) / RATE:.3f} s"
    return f"frames {frames} at {content.fps}, sound {sound}"


def like(clean: Clip, *, frames: float = 0.0, sound: float = 0.0) -> Callable[[Clip], str | None]:
    """Right if it is the clean content; up to a mean difference of levels, and a share of the loudness."""

    def compare(content: Clip) -> str | None:
        if (content.frames is None) != (clean.frames is None) or (content.waveform is None) != (clean.waveform is None):
            return None
        if clean.frames is not None and (
            content.fps != clean.fps
            or content.frames.shape != clean.frames.shape
            or np.abs(content.frames.astype(int) - clean.frames).mean() > frames
        ):
            return None
        if clean.waveform is not None:
            slack = 0 if not sound else RATE // 50
            if abs(len(content.waveform) - len(clean.waveform)) > slack:
                return None
            n = min(len(content.waveform), len(clean.waveform))
            if np.std(content.waveform[:n] - clean.waveform[:n]) > sound * np.std(clean.waveform):
                return None
        return "right"

    return compare


def hidden(base: Base, data: bytes) -> Callable[[Clip], str | None]:
    """Of a file with some bytes changed: right if nothing differs, concealed if only the payload makes a difference."""

    def compare(content: Clip) -> str | None:
        if same := like(base.content)(content):
            return same
        places = [at for at, (old, new) in enumerate(zip(base.data, data, strict=True)) if old != new]
        outside = [at for at in places if not base.in_payload(at)]
        if outside and not is_harmless(base, data, outside):
            return "right" if is_a_moment_later(base, data, content) else None
        inside = [at for at in places if base.in_payload(at)]
        return "concealed" if inside and fits(base, content, inside) else None

    return compare


def is_harmless(base: Base, data: bytes, places: list[int]) -> bool:
    """Whether these changes alone change nothing."""
    only = bytearray(base.data)
    for at in places:
        only[at] = data[at]
    path = base.path.with_name(f"only-{base.path.name}")
    path.write_bytes(only)
    try:
        return like(base.content)(heard(path, base.kind)) is not None
    except ValueError:
        return False


def is_a_moment_later(base: Base, data: bytes, content: Clip) -> bool:
    """Whether the clock differs by less than half a percent, so that a frame may be the one before."""
    path = base.path.with_name(f"only-{base.path.name}")
    path.write_bytes(data)
    times = [[(p.kind, p.start) for p in found] for found in (base.packets, packets(path))]
    if not times[0] or [kind for kind, _ in times[0]] != [kind for kind, _ in times[1]]:
        return False
    apart = max(abs(old - new) for (_, old), (_, new) in zip(*times, strict=True))
    near = [numbers(clip.frames) for clip in (base.content, content)] if content.frames is not None else [[0], [0]]
    still = len(near[0]) == len(near[1]) and all(old - new in (0, 1) for old, new in zip(*near, strict=True))
    return (
        0 < apart < TICK + 0.005 * 2.0
        and still
        and abs(len(content.waveform) - len(base.content.waveform)) < 0.0115 * RATE
    )


def numbers(frames: np.ndarray) -> list[int]:
    """Which frame of the scene each frame is: the nearest."""
    return [int(np.abs(scene() - frame.astype(float)).mean(axis=(1, 2, 3)).argmin()) for frame in frames]


def fits(base: Base, content: Clip, places: list[int]) -> bool:
    """Whether shape and time are right, and all that lies before the damaged packets, or long after them."""
    clean = base.content
    if base.kind == "image":
        return content.frames.shape == clean.frames.shape
    if (content.fps, content.sampling_rate) != (clean.fps, clean.sampling_rate):
        return False
    of_codec = any(place <= at < place + size for place, size in base.coded for at in places)  # touches all
    touched = [p for p in base.packets if of_codec or any(p.place <= at < p.place + p.size for at in places)]
    origin = base.start
    if clean.frames is not None:
        if content.frames.shape != clean.frames.shape:
            return False
        first = min((p.start for p in touched if p.kind == "video"), default=np.inf) - origin
        before = [k for k in range(len(clean.frames)) if (k + 1) / clean.fps <= first - REORDERED]
        if (content.frames[before] != clean.frames[before]).any():
            return False
    if clean.waveform is not None:
        if abs(len(content.waveform) - len(clean.waveform)) > RATE * TICK:
            return False
        n = min(len(content.waveform), len(clean.waveform))
        times = np.arange(n) / RATE + origin
        heard_of = [p for p in touched if p.kind == "audio"]
        first = min((p.start for p in heard_of), default=np.inf) - 0.1
        last = max((p.end for p in heard_of), default=-np.inf) + SETTLED
        early, late = times < first, (times > last) & (first < np.inf)
        return same_sound(content.waveform[:n], clean.waveform[:n], early, 0) and same_sound(
            content.waveform[:n], clean.waveform[:n], late, 24
        )
    return True


def same_sound(ours: np.ndarray, other: np.ndarray, where: np.ndarray, shift: int) -> bool:
    """Whether both sound alike there, within so many samples and a twentieth of the loudness."""
    found = [ours - np.roll(other, k) for k in range(-shift, shift + 1)]
    inner = where & (np.arange(len(ours)) >= shift) & (np.arange(len(ours)) < len(ours) - shift)
    return not inner.any() or min(np.std(apart[inner]) for apart in found) < 0.05 * np.std(other)


def shorter(base: Base, cut: int) -> Callable[[Clip], str | None]:
    """Right if nothing is missing; or, of a recording without an end, if it is what its whole packets hold."""
    clean = base.content

    def compare(content: Clip) -> str | None:
        if same := like(clean)(content):
            return same
        if base.path.name not in OPEN:
            return None
        ends = {
            kind: max((p.end for p in base.packets if p.kind == kind and p.place + p.size <= cut), default=0.0)
            for kind in ("video", "audio")
        }
        if clean.frames is not None:
            n = len(content.frames)
            if abs(n / clean.fps - (ends["video"] - base.start)) > 0.4 or (content.frames != clean.frames[:n]).any():
                return None
        n = len(content.waveform)
        if not n or abs(n / RATE - (ends["audio"] - base.start)) > 0.15:
            return None
        differs = np.abs(content.waveform - clean.waveform[:n])[: max(0, n - RATE // 10)]
        return "right" if differs.max(initial=0) < 1e-3 else None

    return compare
