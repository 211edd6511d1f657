"""How long the tracks of a file are, by the time stamps of their packets; nothing is decoded.

What a header announces may be missing (recorders in browsers, pipes, live streams), guessed, or wrong; the packets are
what there is to decode. So

1. the length of a track is what its packets span;
2. an announcement that ends with the last of them is more exact: a packet need not say how long it is;
3. an announcement of more than there is means that the file is cut off.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av

from avsink.media.clip import MediaError
from avsink.media.limits import FRAMES_A_SECOND, Deadline
from avsink.media.opening import chosen, opened
from avsink.media.raw import RAW, Chain, is_padding
from avsink.media.structure import fewest_packets, is_open_ended

__all__ = ["MICROSECOND", "TOLERANCE", "Span", "is_announced", "survey"]

MICROSECOND = 1_000_000  # FFmpeg's clock for containers
TOLERANCE = 0.5  # seconds that a container may announce after its last frame: edit lists and codec padding
SLACK = 0.1  # seconds over the model's limit that are only a codec's padding
GUESSED = RAW - {"flac"} | {"h264", "hevc", "m4v", "mpegvideo"}  # lengths, from a rate of bits
COUNTED = {"flac", "wav"}  # whose header counts the samples of the sound
ENOUGH = 8  # packets, to tell how many there are a second


@dataclass(kw_only=True)
class Span:
    """One track's packets.

    Attributes:
        start: Seconds at which the first begins.
        begun: Seconds at which the last begins.
        end: Seconds at which the last ends.
        packets: How many there are to be seen or heard.
        unseen: How many an edit list leaves out.
        filled: Seconds that they fill, by their own lengths.
        announced: Seconds that the track announces, or else the file; 0 if neither does.
        counted: Whether that is a count of samples.
        plain: Whether each packet of sound holds exactly the samples of its time.
        clock: Whether there are time stamps, and not only those that FFmpeg makes up for raw streams of sound.
        rate: Pictures a second on average, as the file says; 0 if it does not, and for sound.
    """

    start: float = 0.0
    begun: float = 0.0
    end: float = 0.0
    packets: int = 0
    unseen: int = 0
    filled: float = 0.0
    announced: float = 0.0
    counted: bool = False
    plain: bool = False
    clock: bool = True
    rate: float = 0.0

    @property
    def measured(self) -> float:
        """Seconds that the packets span."""
        return self.end - self.start

    @property
    def seconds(self) -> float:
        """The length of the track."""
        likely = self.begun - self.start <= self.announced <= self.measured + TOLERANCE
        return self.announced if likely else self.measured

    def add(self, packet: av.Packet) -> None:
        """Count one more packet. One without a time follows the one before."""
        if packet.is_discard:
            self.unseen += 1
            return
        ticks = packet.dts if packet.pts is None else packet.pts
        start = self.end if ticks is None else float(ticks * packet.time_base)
        end = start + float((packet.duration or 0) * packet.time_base)
        self.start = min(self.start, start) if self.packets else start
        self.begun = max(self.begun, start) if self.packets else start
        self.end = max(self.end, end) if self.packets else end
        self.filled += end - start
        self.packets += 1


def survey(path: Path, *, picture: bool, sound: bool, max_seconds: float | None = None) -> dict[str, Span]:
    """Measure the picture and the sound of a file, as far as they are asked for: "video" and "audio" -> span.

    Raises:
        MediaError: If a track is empty, cut off or damaged, or longer than `max_seconds`.
    """
    deadline = Deadline(path.name)
    with opened(path) as container:
        streams = chosen(container, path.name, picture=picture, sound=sound)
        asked = {stream.index for stream in streams}
        spans = [Span() for _ in container.streams]
        open_ended = is_open_ended(path)
        chain = Chain(path) if container.format.name in RAW else None
        for packet in container.demux():
            if not packet.size or (chain and is_padding(bytes(packet))):
                continue
            span = spans[packet.stream_index]
            span.add(packet)
            if chain:
                chain.add(packet)
            deadline.check(span.measured)
            if packet.stream_index not in asked:
                continue
            if packet.is_corrupt and not open_ended:  # the last packet from a pipe is shorter than FFmpeg expects
                raise MediaError(f"{path.name} is damaged, {span.measured:.1f} s after its start; fetch it again")
            if max_seconds is not None and span.measured > max_seconds + SLACK:
                length = max(span.measured, _announced(container, packet.stream))
                raise MediaError(
                    f"{path.name} lasts {length:.0f} s; this model hears at most {max_seconds:.0f} s: shorten the clip"
                )
        if chain:
            chain.close()
        if sum(span.packets + span.unseen for span in spans) < fewest_packets(path):
            raise MediaError(f"{path.name} is damaged: some of its packets cannot be read; fetch it again")
        for stream in streams:
            span = spans[stream.index]
            span.announced = _announced(container, stream) if is_announced(path, container) else 0.0
            span.clock = chain is None
            span.rate = float(stream.average_rate or 0) if stream.type == "video" else 0.0
            span.plain = stream.codec_context.name.startswith("pcm_")
            span.counted = container.format.name in COUNTED and span.announced > 0
            _check(path.name, stream, spans)
        return {stream.type: spans[stream.index] for stream in streams}


def is_announced(path: Path, container: av.container.InputContainer) -> bool:
    """Whether a file says how long it is, and FFmpeg did not have to guess."""
    return bool(container.duration) and container.format.name not in GUESSED and not is_open_ended(path)


def _announced(container: av.container.InputContainer, stream: av.stream.Stream) -> float:
    """The duration in seconds that the track announces, or else the file; 0 for an image."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / MICROSECOND


def _check(name: str, stream: av.stream.Stream, spans: list[Span]) -> None:
    """Refuse a cut-off track. If only the whole file announces a length (Matroska), its longest track must reach it."""
    span = spans[stream.index]
    kind = "picture" if stream.type == "video" else "sound"
    if not span.packets:
        raise MediaError(f"{name}: its {stream.type} track is empty or cannot be decoded")
    reached = span.measured if stream.duration else max(other.end for other in spans if other.packets)
    formats = stream.container.format.name.split(",")
    missing = "mp4" in formats and span.packets + span.unseen < stream.frames
    length = span.measured / span.packets
    if missing and span.filled < span.measured - length / 2:
        raise MediaError(f"{name} is damaged: its {kind} lacks some of the packets that it lists; fetch it again")
    if reached < span.announced - (length / 2 if missing else TOLERANCE):
        raise MediaError(
            f"{name} is cut off: it has {reached:.1f} s of {kind}, but announces {span.announced:.1f} s; fetch it again"
        )
    if stream.type == "video" and span.packets > max(ENOUGH, FRAMES_A_SECOND * span.measured):
        raise MediaError(
            f"{name} claims {span.packets} pictures in {span.measured:.3f} s: its time stamps are damaged; encode it "
            "again"
        )
