"""Raw sound: one packet after the other, without a container, as in mp3, AAC and FLAC files.

Nothing there tells the time or the length, and FFmpeg passes over what it cannot read. But every byte belongs to a
packet, save for tags about the album at both ends. So a byte that belongs to none means damage.
"""

from __future__ import annotations

from pathlib import Path

import av

from avsink.media.clip import MediaError

__all__ = ["RAW", "Chain", "is_padding"]

RAW = {"aac", "ac3", "dts", "eac3", "flac", "mp3"}
FIRST = (b"\xff", b"\x0b\x77", b"\x7f\xfe", b"fLaC", b"ID3")
LAST = (b"TAG", b"APETAGEX", b"LYRICS", b"ID3")


def is_padding(data: bytes) -> bool:
    """Whether bytes after the last packet, which FFmpeg may give as one more, are a tag or nothing."""
    return not data.strip(b"\0\r\n ") or data.startswith(LAST)


class Chain:
    """The packets of a raw file, of which each begins where the one before ends."""

    def __init__(self, path: Path):
        self._path = path
        self._end: int | None = None
        if not self._bytes(0).startswith(FIRST):
            self._refuse()

    def add(self, packet: av.Packet) -> None:
        """Raise `MediaError` if this is no packet of sound, or something is between it and the one before."""
        if self._end not in (None, packet.pos) or not bytes(packet).startswith(FIRST):
            self._refuse()
        self._end = None if packet.pos is None else packet.pos + packet.size

    def close(self) -> None:
        """Raise `MediaError` if something other than a tag follows the last packet."""
        rest = b"" if self._end is None else self._bytes(self._end)
        if not is_padding(rest):
            self._refuse()

    def _bytes(self, at: int) -> bytes:
        with self._path.open("rb") as file:
            file.seek(at)
            return file.read(8)

    def _refuse(self) -> None:
        raise MediaError(
            f"{self._path.name} holds bytes that belong to no packet of sound: it is damaged, or something was added; "
            "fetch it again, or encode it again"
        )
