"""Recordings of every kind: any codec in any container, with exactly the picture and the sound that are given."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

QUICK = {
    "libx264": {"preset": "ultrafast"},
    "libvpx": {"deadline": "good", "cpu-used": "5"},  # in real time, frames would depend on the machine's load
    "libvpx-vp9": {"deadline": "good", "cpu-used": "5"},
}


class _Pipe:
    """Something that bytes can only be written to, one after the other."""

    def __init__(self) -> None:
        self.content = bytearray()

    def write(self, data: bytes) -> int:
        self.content += data
        return len(data)


def record(
    path: Path,
    *,
    frames: np.ndarray | None = None,
    waveform: np.ndarray | None = None,
    video: str = "libx264",
    audio: str = "aac",
    fps: int = 8,
    rate: int = 16_000,
    layout: str = "mono",
    container: str | None = None,
    options: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    block: int = 1024,
    piped: bool = False,
    keep: Callable[[av.Packet], bool] = lambda packet: True,
    **encoding: object,
) -> Path:
    """Encode frames (uint8 [T, H, W, 3]) and sound (float32 [channels, n] or [n]), and write packets in order of time.

    block: samples in a packet of sound, if the codec leaves that open.
    piped: into a pipe, so that the writer cannot go back and fill in sizes and durations.
    keep: whether to write this packet.
    encoding: attributes of the sound's encoder, such as a bit_rate.
    """
    pipe = _Pipe()
    with av.open(pipe if piped else str(path), "w", format=container, options=dict(options or {})) as out:
        out.metadata.update(tags or {})
        sources = []
        if frames is not None:
            stream = out.add_stream(video, rate=fps, options=QUICK.get(video, {}))
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = "yuvj420p" if video == "mjpeg" else "yuv420p"
            sources.append((stream, [(k / fps, f) for k, f in enumerate(_pictures(frames))]))
        if waveform is not None:
            stream = out.add_stream(audio, rate=rate, layout=layout)
            for name, value in encoding.items():
                setattr(stream.codec_context, name, value)
            blocks = _blocks(np.atleast_2d(waveform), stream.codec_context, block, rate, layout)
            sources.append((stream, [(block.pts / rate, block) for block in blocks]))
        turns = sorted(((time, k, frame) for k, (_, own) in enumerate(sources) for time, frame in own), key=_turn)
        for _, k, frame in [*turns, *((0, k, None) for k in range(len(sources)))]:
            out.mux([packet for packet in sources[k][0].encode(frame) if keep(packet)])
    if piped:
        path.write_bytes(pipe.content)
    return path


def _turn(entry: tuple[float, int, object]) -> tuple[float, int]:
    return entry[:2]


def _pictures(frames: np.ndarray) -> list[av.VideoFrame]:
    return [av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in frames]


def _blocks(
    waveform: np.ndarray, context: av.AudioCodecContext, block: int, rate: int, layout: str
) -> list[av.AudioFrame]:
    """The sound in blocks of the encoder's size and format."""
    size, blocks = context.frame_size or block, []
    convert = av.AudioResampler(format=context.format.name, layout=layout, rate=rate)
    for start in range(0, waveform.shape[1], size):
        piece = np.ascontiguousarray(waveform[:, start : start + size], np.float32)
        frame = av.AudioFrame(format="fltp", layout=layout, samples=piece.shape[1])
        for plane, channel in zip(frame.planes[: len(piece)], piece, strict=True):
            plane.update(np.pad(channel, (0, plane.buffer_size // 4 - len(channel))).tobytes())
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        blocks += convert.resample(frame)
    return blocks


def scene(count: int = 16, *, height: int = 48, width: int = 64) -> np.ndarray:
    """Frames that tell their number by their colours, and up from down: uint8 [count, height, width, 3]."""
    y, x = np.mgrid[:height, :width]
    return np.stack(
        [
            np.stack([(2 * x + 10 * k) % 200 + 20, (3 * y + 5 * k) % 180 + 30, 0 * x + 20 + 9 * k % 200], axis=-1)
            for k in range(count)
        ]
    ).astype(np.uint8)


def tune(seconds: float = 2.0, rate: int = 16_000) -> np.ndarray:
    """Another tone and loudness every quarter of a second, so that it tells the time: float32 [n]."""
    time = np.arange(round(seconds * rate)) / rate
    step = (4 * time).astype(int)
    tone = 400 + 120 * (7 * step % 11)  # whole periods in each quarter, so that there are no clicks
    return ((0.25 + 0.125 * (step % 3)) * np.sin(2 * np.pi * tone * time)).astype(np.float32)


def boxes(data: bytes, name: bytes) -> list[int]:
    """Where the contents of all boxes of this name begin in an mp4."""
    found, at = [], data.find(name)
    while at >= 0:
        found.append(at + 4)
        at = data.find(name, at + 1)
    return found


def announce(path: Path, seconds: float) -> Path:
    """Write another duration into every header of an mp4 that states one."""
    data = bytearray(path.read_bytes())
    scale = struct.unpack_from(">I", data, boxes(data, b"mvhd")[0] + 12)[0]
    for name, unit, place in ((b"mvhd", scale, 16), (b"tkhd", scale, 20), (b"mdhd", None, 16)):
        for at in boxes(data, name):
            ticks = unit or struct.unpack_from(">I", data, at + 12)[0]
            struct.pack_into(">I", data, at + place, round(seconds * ticks))
    path.write_bytes(data)
    return path


def turn(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Write a display matrix into the picture track of an mp4, which is its first track."""
    data = bytearray(path.read_bytes())
    at = boxes(data, b"tkhd")[0] + 40
    one = 1 << 16
    struct.pack_into(">9i", data, at, a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path
