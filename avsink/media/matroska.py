"""Whether the elements of a Matroska or WebM file fit into each other.

FFmpeg looks for the next intact element after a damaged one, and says nothing: a block is missing, or all that follows.
So the way is walked here, without decoding:

1. the segment holds known elements, one after the other, up to its end, or up to that of the file if it has no size;
2. one with a checksum fits it;
3. a cluster holds known elements, and each block belongs to a track that there is;
4. each block gives at least one packet, which `avsink.media.survey` counts.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path

__all__ = ["Broken", "count_blocks"]

SEGMENT, CLUSTER, TRACKS = 0x18538067, 0x1F43B675, 0x1654AE6B
TRACK, NUMBER, CRC = 0xAE, 0xD7, 0xBF
GROUP, BLOCK, SIMPLE = 0xA0, 0xA1, 0xA3
ANYWHERE = {CRC, 0xEC}  # a checksum, and nothing
PARTS = {CLUSTER, TRACKS, 0x114D9B74, 0x1549A966, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367} | ANYWHERE
NUMBERS = {0xE7, 0xA7, 0xAB}  # of a cluster: its time, where it is, how long the one before it was
IN_GROUP = {BLOCK, 0x9B, 0xFA, 0xFB, 0xFD, 0xA2, 0xA4, 0x75A1, 0x75A2, 0x8E, 0xC8} | ANYWHERE
IN_CLUSTER = {GROUP, SIMPLE, 0x5854, 0xAF} | NUMBERS | ANYWHERE


class Broken(Exception):
    """An element that does not fit."""


def count_blocks(path: Path) -> int:
    """How many packets a file has at least.

    Raises:
        Broken: If it is damaged or cut off, as far as can be seen without decoding.
    """
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        try:
            return _walk(data)
        except IndexError:
            raise Broken from None


def _walk(data: mmap) -> int:
    _, _, head = _element(data, 0, len(data))
    segment, first, last = _element(data, head, len(data))
    if segment != SEGMENT:
        raise Broken
    tracks: set[int] = set()
    count = 0
    for name, start, end in _elements(data, first, last, PARTS):
        _check_sum(data, start, end)
        if name == TRACKS:
            entries = [(at, stop) for entry, at, stop in _elements(data, start, end) if entry == TRACK]
            fields = [field for entry in entries for field in _elements(data, *entry)]
            tracks = {data[at] for field, at, _ in fields if field == NUMBER}
        elif name == CLUSTER:
            for block in _blocks(data, start, end):
                count += 1
                if tracks and _number(data, block, keep=False)[0] not in tracks:
                    raise Broken
    return count


def _blocks(data: mmap, start: int, end: int) -> Iterator[int]:
    """Where the blocks of a cluster begin."""
    for name, first, last in _elements(data, start, end, IN_CLUSTER):
        if name == SIMPLE:
            yield first
        elif name == GROUP:
            yield from (at for inner, at, _ in _elements(data, first, last, IN_GROUP) if inner == BLOCK)


def _elements(data: mmap, at: int, end: int, known: set[int] | None = None) -> Iterator[tuple[int, int, int]]:
    """Each element in a stretch of the file: its id, where its content begins, and where it ends."""
    while at < end:
        name, start, stop = _element(data, at, end)
        too_long = name in NUMBERS and known is IN_CLUSTER and (stop is None or stop - start > 8)
        if too_long or (known is not None and name not in known):
            raise Broken
        if stop is None:  # only clusters of live streams: they end where the next one begins
            stop = _next_part(data, start, end)
        yield name, start, stop
        at = stop


def _next_part(data: mmap, at: int, end: int) -> int:
    while at < end:
        name, _, stop = _element(data, at, end)
        if name in PARTS - ANYWHERE or stop is None:
            return at
        at = stop
    return at


def _element(data: mmap, at: int, end: int) -> tuple[int, int, int | None]:
    name, at = _number(data, at, keep=True)
    size, start = _number(data, at, keep=False)
    if size is None:
        return (name, start, end) if name == SEGMENT else (name, start, None)
    if start + size > end:
        raise Broken
    return name, start, start + size


def _number(data: mmap, at: int, *, keep: bool) -> tuple[int | None, int]:
    """A number of EBML, and where it ends. The zeros before its first one say how many bytes follow it.

    An id keeps that one. A size of all ones is not known: None.
    """
    first = data[at]
    if not first:
        raise Broken
    length = 9 - first.bit_length()
    number = int.from_bytes(data[at : at + length], "big")
    if not keep:
        number &= 2 ** (7 * length) - 1
    return (None if not keep and number == 2 ** (7 * length) - 1 else number), at + length


def _check_sum(data: mmap, start: int, end: int) -> None:
    """A checksum is the first thing in an element, and is that of the rest of it."""
    if end - start >= 6 and data[start] == CRC and data[start + 1] == 0x84:
        if zlib.crc32(data[start + 6 : end]) != int.from_bytes(data[start + 2 : start + 6], "little"):
            raise Broken
