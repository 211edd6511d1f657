"""What is wrong with a file by its own structure, before anything is decoded. No duration is as exact.

| format | what says how long the file is |
|---|---|
| mp4, mov, m4a | the sizes of its boxes (`mp4`) |
| wav, avi; aiff | the size in the RIFF or FORM header; the chunks of an avi (`avi`) |
| mkv, webm | the sizes of its elements (`matroska`) |
| ogg, opus | the size and the checksum of each page |
| mp3 | the number of bytes in the Xing or Info header |

A size that its writer did not know, as of a file that was written into a pipe, says nothing. Bytes after the end belong
to somebody else and do no harm. A wav states the size of its samples three times; these must agree.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from avsink.media import avi, matroska, mp4

__all__ = ["fault", "fewest_packets", "is_open_ended"]

PIPED = 0x7FFF0000  # writers to a pipe leave 0 in a header of 32 bits, or something from here on
MATROSKA = b"\x1a\x45\xdf\xa3"
PAGE = 27  # bytes of the header of an Ogg page, before its table of segments
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
ENCODER = 120  # bytes from the name of an mp3's header to that of its encoder
PCM = (1, 3, 0xFFFE)  # the formats of a wav whose samples all have the same size
CUT_OFF = "is cut off: it announces more bytes than it has; fetch it again"
BROKEN = "is damaged or cut off: its parts do not fit into each other; fetch it again"
CONTRADICTS = "is damaged: its header contradicts itself; fetch it again"


def fault(path: Path) -> str:
    """What is wrong, as the end of a sentence that begins with the file's name, or ''."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == MATROSKA:
            return _fault_of_matroska(path)
        if head[:4] in (b"RIFF", b"FORM"):
            announced = int.from_bytes(head[4:8], "little" if head[:4] == b"RIFF" else "big")
            if not _is_piped(announced, size) and announced + 8 > size + announced % 2:  # a last byte may be uncounted
                return CUT_OFF
            if head[8:] == b"AVI ":
                return BROKEN if not _is_piped(announced, size) and avi.is_broken(path) else ""
            return _fault_of_wav(file, size, _is_piped(announced, size)) if head[8:] == b"WAVE" else ""
        if head[:4] == b"OggS":
            return _fault_of_ogg(file, size)
        if head[4:8] == b"ftyp":
            return {mp4.CUT_OFF: CUT_OFF, mp4.BROKEN: BROKEN}.get(mp4.fault(path), "")
        if head[:3] == b"ID3" or head[:1] == b"\xff":
            return _fault_of_mp3(file, size)
    return ""


def fewest_packets(path: Path) -> int:
    """How many packets the tracks of a file have at least, if its structure says so, or 0."""
    with path.open("rb") as file:
        return matroska.count_blocks(path) if file.read(4) == MATROSKA else 0


def is_open_ended(path: Path) -> bool:
    """Whether a RIFF file was written into a pipe, so that the durations in its header are not known either."""
    with path.open("rb") as file:
        head = file.read(8)
    return head[:4] == b"RIFF" and _is_piped(int.from_bytes(head[4:], "little"), path.stat().st_size)


def _is_piped(announced: int, size: int) -> bool:
    """Whether the size in a RIFF header is one that was not known when it was written."""
    return announced == 0 or announced >= max(PIPED, size)


def _fault_of_matroska(path: Path) -> str:
    try:
        matroska.count_blocks(path)
    except matroska.Broken:
        return BROKEN
    return ""


def _fault_of_wav(file: BinaryIO, size: int, piped: bool) -> str:
    """The chunks up to the samples: a name, a size, the content, and a byte to make it even."""
    at, block = 12, 1
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        if name == b"fmt " and length >= 16:
            kind, channels, rate, a_second, block, bits = struct.unpack("<HHIIHH", file.read(16))
            if kind in PCM and (block != channels * ((bits + 7) // 8) or a_second != rate * block or not block):
                return CONTRADICTS
        if name == b"data":
            return CUT_OFF if piped and (size - at - 8) % max(1, block) else ""
        at += 8 + length + length % 2
    return ""


def _fault_of_ogg(file: BinaryIO, size: int) -> str:
    """The pages: a header, a table of sizes, the content; and a checksum of it all, which itself counts as zero."""
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(PAGE)
        if not head.startswith(b"OggS"[: len(head)]):
            return ""  # somebody else's bytes, unless there is another page
        table = file.read(head[26]) if len(head) == PAGE else b""
        at += PAGE + len(table) + sum(table)
        if len(head) < PAGE or at > size:
            return CUT_OFF
        content = file.read(sum(table))
        if _ogg_sum(head[:22] + bytes(4) + head[26:] + table + content) != int.from_bytes(head[22:26], "little"):
            return BROKEN
    return ""


def _ogg_sum(data: bytes) -> int:
    """The checksum of Ogg is that of zlib with all bits in the other order, and without complements."""
    mirrored = zlib.crc32(data.translate(MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def _fault_of_mp3(file: BinaryIO, size: int) -> str:
    """The first frame comes at the start, or after the tag of an album. Encoders put the number of bytes into it."""
    start = 0
    file.seek(0)
    while (head := file.read(10))[:3] == b"ID3":
        start += 10 + sum((byte & 0x7F) << (7 * k) for k, byte in enumerate(reversed(head[6:10])))  # seven bits a byte
        file.seek(start)
    file.seek(start)
    frame = file.read(200)
    if start and frame.strip(b"\0") and not frame.lstrip(b"\0").startswith((b"\xff", b"fLaC")):
        return BROKEN
    at = max(frame.find(b"Xing", 0, 40), frame.find(b"Info", 0, 40))
    if at < 0 and any(frame[k + ENCODER :].startswith((b"LAME", b"Lavc", b"Lavf")) for k in (13, 21, 36)):
        return BROKEN  # the header's name is gone, but not that of the encoder, which it holds
    if at < 0 or len(frame) < at + 16:
        return ""
    flags, _, length = struct.unpack(">III", frame[at + 4 : at + 16])
    both = flags & 3 == 3  # 1: the number of frames is given, 2: that of bytes
    return CUT_OFF if both and start + length > size else ""
