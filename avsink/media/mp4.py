"""Whether the boxes of an mp4 fit into each other, and whether the file has all of them.

FFmpeg passes over a box whose name it does not know. If that is a damaged one, a list of edits or of times is missing,
and the sound comes late. So, before anything is decoded:

1. on the top level, boxes follow each other up to the end of the file; what is no box after the last one does no harm;
2. in the boxes that describe a track, other boxes fill them exactly, and have names that belong there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["fault"]

CUT_OFF, BROKEN = "cut off", "broken"
TOP = set(b"ftyp styp moov moof mdat free skip wide udta uuid meta sidx ssix mfra prft emsg pdin pnot".split())
FREE = {b"free", b"skip", b"uuid"}
INSIDE = {  # of these boxes, all that may be in them; None: anything
    b"moov": None,
    b"trak": set(b"tkhd edts mdia udta meta tref tapt load txas trgr imap matt clip kmat prfl".split()) | FREE,
    b"edts": {b"elst"} | FREE,
    b"mdia": {b"mdhd", b"hdlr", b"minf", b"elng"} | FREE,
    b"minf": set(b"vmhd smhd hmhd nmhd sthd gmhd hdlr dinf stbl code".split()) | FREE,
    b"stbl": set(b"stsd stts ctts cslg stsc stsz stz2 stco co64 stss stps stsh stdp sdtp".split())
    | set(b"sbgp sgpd subs saiz saio padb senc".split())
    | FREE,
}


def fault(path: Path) -> str:
    """`CUT_OFF`, `BROKEN`, or an empty string."""
    size = path.stat().st_size
    with path.open("rb") as file:
        for name, start, end in _boxes(file, 0, size):
            if name not in TOP:
                return ""
            if end > size:
                return CUT_OFF
            if name == b"moov" and not _fits(file, name, start, end):
                return BROKEN
    return ""


def _fits(file: BinaryIO, name: bytes, start: int, end: int) -> bool:
    """Whether what is in a box fills it, and belongs there."""
    at, known = start, INSIDE[name]
    for inner, first, last in _boxes(file, start, end):
        if last > end or (known is not None and inner not in known):
            return False
        if inner in INSIDE and not _fits(file, inner, first, last):
            return False
        at = last
    return end - at < 8  # QuickTime ends some boxes with four zeros


def _boxes(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Each box from here on: its name, where its content begins, and where it ends."""
    while at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        length, name, begin = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1:
            length, begin = int.from_bytes(head[8:16], "big"), 16
        if length == 0:  # up to the end
            length = end - at
        if length < begin:
            return
        yield name, at + begin, at + length
        at += length
