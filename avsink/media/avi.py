"""Whether the chunks of an AVI follow each other, and are those that its index names.

FFmpeg passes over a chunk that it does not know. In an AVI the number of packets is the time, so all that comes after a
lost one would come early. The way is walked here, without decoding:

1. a RIFF segment holds chunks: a name, a size, the content, and a byte to make it even. A LIST holds more of them;
2. the list `movi` holds packets, whose names are a track's number and a kind (``01wb``), and what is no packet;
3. the index `idx1`, where there is one, names them in order, with their sizes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path

__all__ = ["is_broken"]

PACKET = re.compile(rb"\d\d(d[bc]|wb|pc|tx|sb|iv)")
OTHER = re.compile(rb"ix\d\d|JUNK|LIST|idx1|\d\dix")
ENTRY = 16  # bytes: name, flags, place, size


def is_broken(path: Path) -> bool:
    """Whether a file that begins like an AVI is damaged, as far as can be seen without decoding."""
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        packets: list[tuple[bytes, int]] = []
        index: list[tuple[bytes, int]] = []
        for name, start, size in _chunks(data, 12, len(data)):
            if name == b"LIST" and data[start : start + 4] == b"movi":
                if not _walk(data, start + 4, start + size, packets):
                    return True
            elif name == b"idx1" and not index:
                entries = struct.iter_unpack("<4sIII", data[start : start + size // ENTRY * ENTRY])
                index = [(name, length) for name, _, _, length in entries if PACKET.fullmatch(name)]
        return index != packets[: len(index)]


def _walk(data: mmap, at: int, end: int, packets: list[tuple[bytes, int]]) -> bool:
    """Append the packets between two places; False if something there is no chunk."""
    for name, start, size in _chunks(data, at, end):
        if PACKET.fullmatch(name):
            packets.append((name, size))
        elif name == b"LIST":
            if not _walk(data, start + 4, start + size, packets):
                return False
        elif not OTHER.fullmatch(name):
            return False
        if start + size > end:
            return False
    return True


def _chunks(data: mmap, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk between two places: its name, where its content begins, and the size of that."""
    while at + 8 <= end:
        name, size = struct.unpack_from("<4sI", data, at)
        if name == b"RIFF":  # a further segment of a long file
            at += 12
            continue
        yield name, at + 8, size
        at += 8 + size + size % 2
