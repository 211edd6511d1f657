"""Opening a file, and choosing its tracks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.stream import Disposition

from avsink.media import structure
from avsink.media.clip import MediaError
from avsink.media.limits import CHANNELS, PIXELS, RATES, STREAMS, named

__all__ = ["STRICT", "chosen", "opened", "pictures", "present"]

# A decoder reports what it can check, instead of hiding it: checksums, and whatever breaks the rules of its format.
STRICT = {"err_detect": "crccheck+explode", "max_pixels": str(PIXELS)}
LISTS = {"concat", "dash", "hls"}  # name other files, here or elsewhere
NOT_SHOWN = Disposition.attached_pic | Disposition.timed_thumbnails


def present(path: Path) -> None:
    """Raise `MediaError` if there is no such file, or nothing in it."""
    with named(path.name):
        if path.is_dir():
            raise MediaError(f"{path.name} is a folder, not a file (looked in {path.parent})")
        if not path.is_file():
            raise MediaError(f"missing file {path.name} (looked in {path.parent})")
        if path.stat().st_size == 0:
            raise MediaError(f"{path.name} is empty (0 bytes); fetch it again")


@contextmanager
def opened(path: Path) -> Iterator[av.container.InputContainer]:
    """Open a file with PyAV. Whatever goes wrong inside the block becomes a `MediaError` that names the file."""
    present(path)
    with named(path.name):
        if fault := structure.fault(path):
            raise MediaError(f"{path.name} {fault}")
        # Tags in another encoding than UTF-8 are no reason to refuse a recording.
        with av.open(f"file:{path}", metadata_errors="replace", options=dict(STRICT)) as container:
            if LISTS & set(container.format.name.split(",")):
                raise MediaError(f"{path.name} is a list of other files ({container.format.name}), not a recording")
            if len(container.streams) > STREAMS:
                raise MediaError(f"{path.name} has {len(container.streams)} tracks; at most {STREAMS} are read")
            yield container


def pictures(container: av.container.InputContainer) -> list[av.VideoStream]:
    """The tracks with a picture. The cover of an album is none."""
    return [stream for stream in container.streams.video if not stream.disposition & NOT_SHOWN]


def chosen(container: av.container.InputContainer, name: str, *, picture: bool, sound: bool) -> list[av.stream.Stream]:
    """The first picture and the first sound track of a file, as far as they are asked for, ready to be decoded.

    Raises:
        MediaError: If there is none, or it is of a kind that no recording has.
    """
    streams = []
    if picture:
        shown = pictures(container)
        if not shown:
            cover = ": its only picture is the cover of an album" if container.streams.video else ""
            raise MediaError(f"{name} has no picture{cover}; a file with a video track is needed")
        streams.append(shown[0])
    if sound:
        if not container.streams.audio:
            raise MediaError(f"{name} has no sound track; to show it without sound use sound=False")
        streams.append(container.streams.audio[0])
    for stream in streams:
        _check(stream, name)
        stream.codec_context.options = dict(STRICT)
    return streams


def _check(stream: av.stream.Stream, name: str) -> None:
    context = stream.codec_context
    if context is None:
        raise MediaError(f"{name}: there is no decoder for its {stream.type} track; encode it again, as h264 or aac")
    if stream.type == "video" and context.width * context.height > PIXELS:
        raise MediaError(
            f"{name} claims a picture of {context.width} x {context.height}; at most {PIXELS / 1e6:.0f} million pixels "
            "are read"
        )
    if stream.type == "audio" and context.channels > CHANNELS:
        raise MediaError(f"{name} claims {context.channels} channels of sound; at most {CHANNELS} are read")
    if stream.type == "audio" and not RATES[0] <= context.sample_rate <= RATES[1]:
        raise MediaError(
            f"{name} claims {context.sample_rate} samples of sound a second; {RATES[0]:,} to {RATES[1]:,} are read"
        )
