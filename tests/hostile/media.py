"""Mutated media: what disks, networks, recorders and telephones do to files, and what a clip then is.

Each trial changes a file of known content, reads it as a sample's medium is read, and compares (`hostile.recorded`).
"""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from hostile.recorded import HOW, IMAGES, RATE, SPECS, Base, heard, hidden, judged, like, setup, shorter
from hostile.trial import Suite, Verdict
from PIL import Image
from recordings import announce, boxes, record, scene, tune, turn

from avsink.media import Clip

# What is done to a file


def truncated(base: Base, rng: random.Random, folder: Path) -> Verdict:
    data = base.data
    cut = rng.randrange(1, len(data))
    path = written(folder / base.path.name, data[:cut])
    return judged(path, base.kind, f"{base.path.name} cut at {cut} of {len(data)}", shorter(base, cut))


def changed(base: Base, places: list[int], values: list[int], folder: Path, what: str) -> Verdict:
    data = bytearray(base.data)
    for at, value in zip(places, values, strict=True):
        data[at] = value
    path = written(folder / base.path.name, bytes(data))
    return judged(path, base.kind, f"{base.path.name} {what}", hidden(base, bytes(data)))


def flipped(base: Base, rng: random.Random, folder: Path) -> Verdict:
    data = base.data
    places = sorted(rng.sample(range(len(data)), rng.choice((1, 1, 1, 2, 8))))
    values = [data[at] ^ 1 << rng.randrange(8) for at in places]
    return changed(base, places, values, folder, f"bits flipped at {places}")


def flipped_in_front(base: Base, rng: random.Random, folder: Path) -> Verdict:
    data = base.data
    place = rng.randrange(min(600, len(data)))
    return changed(base, [place], [data[place] ^ 1 << rng.randrange(8)], folder, f"a bit flipped at {place}")


def zeroed(base: Base, rng: random.Random, folder: Path) -> Verdict:
    data = base.data
    start, length = rng.randrange(len(data)), rng.choice((4, 16, 64, 512))
    places = list(range(start, min(len(data), start + length)))
    return changed(base, places, [0] * len(places), folder, f"{len(places)} bytes zeroed at {start}")


def overwritten(base: Base, rng: random.Random, folder: Path) -> Verdict:
    data = base.data
    start, length = rng.randrange(len(data)), rng.choice((16, 256, 1024))
    places = list(range(start, min(len(data), start + length)))
    values = [rng.randrange(256) for _ in places]
    return changed(base, places, values, folder, f"{len(places)} bytes overwritten at {start}")


def left_out(base: Base, rng: random.Random, folder: Path) -> Verdict:
    """A block of the file is lost, and what follows moves up."""
    data = base.data
    start, length = rng.randrange(len(data)), rng.choice((1, 188, 512, 4096))
    path = written(folder / base.path.name, data[:start] + data[start + length :])
    what = f"{base.path.name} without {length} bytes at {start}"

    def compare(content: Clip) -> str | None:
        same = like(base.content)(content)
        of_pixels = base.kind == "image" and start >= base.pixels and content.frames.shape == base.content.frames.shape
        return same or ("concealed" if of_pixels else None)

    at_the_end = start + length >= len(data)
    return judged(path, base.kind, what, shorter(base, start) if at_the_end else compare)


def with_junk(base: Base, rng: random.Random, folder: Path) -> Verdict:
    junk = rng.choice(
        [rng.randbytes(rng.randrange(1, 5_000)), bytes(700), b"\n", b"TAG" + bytes(125), b"<html>" * 80, b"\xff" * 64]
    )
    path = written(folder / base.path.name, base.data + junk)
    return judged(path, base.kind, f"{base.path.name} and {len(junk)} bytes {junk[:4]!r}", like(base.content))


def renamed(base: Base, rng: random.Random, folder: Path) -> Verdict:
    path = written(
        folder / f"clip{rng.choice(['.mp4', '.wav', '.mkv', '.jpg', '.txt', '.m3u8', '', '.mp3', '.%d'])}", base.data
    )
    return judged(path, base.kind, f"{base.path.name} as {path.name}", like(base.content))


def joined(base: Base, rng: random.Random, folder: Path) -> Verdict:
    path = written(folder / base.path.name, base.data * 2)

    def compare(content: Clip) -> str | None:
        if (first := like(base.content)(content)) or base.kind == "image":
            return first
        n = len(base.content.waveform)
        right = abs(len(content.waveform) - 2 * n) < 2_500
        right &= np.abs(content.waveform[: n - 2_000] - base.content.waveform[: n - 2_000]).max() < 0.01
        if base.content.frames is not None:
            k = len(base.content.frames)
            right &= abs(len(content.frames) - 2 * k) <= 1 and not (content.frames[:k] != base.content.frames).any()
        return "right" if right else None

    return judged(path, base.kind, f"{base.path.name} twice in one file", compare)


def tagged(base: Base, rng: random.Random, folder: Path) -> Verdict:
    """A tag in Latin-1, as old programs write it."""
    spec = dict(SPECS[base.path.name])
    path = folder / base.path.name
    frames = None if base.kind == "audio" else scene()
    record(path, frames=frames, waveform=tune(rate=spec.get("rate", RATE)), tags={"title": "Mueller"}, **spec)
    path.write_bytes(path.read_bytes().replace(b"Mueller", b"M\xfcller "))
    return judged(
        path, base.kind, f"{base.path.name} with a tag in Latin-1", like(base.content, frames=0.5, sound=0.02)
    )


def announcing(base: Base, rng: random.Random, folder: Path) -> Verdict:
    path = written(folder / base.path.name, base.data)
    seconds = rng.choice((0.0, 0.3, 1.0, 1.7, 2.6, 30.0, 5_000.0))
    announce(path, seconds)
    clean = base.content

    def compare(content: Clip) -> str | None:
        if same := like(clean)(content):
            return same
        # An encoder's padding at the end is cut by an edit list that fits, and not by one that does not.
        if clean.frames is not None and (
            content.frames.shape != clean.frames.shape or (content.frames != clean.frames).any()
        ):
            return None
        n = min(len(clean.waveform), len(content.waveform))
        long = abs(len(content.waveform) - len(clean.waveform)) < RATE // 5
        return "right" if long and np.abs(content.waveform[:n] - clean.waveform[:n]).max() < 1e-3 else None

    return judged(path, base.kind, f"{base.path.name} announces {seconds} s", compare)


def turned(base: Base, rng: random.Random, folder: Path) -> Verdict:
    turns = {
        (0, 1, -1, 0): lambda f: np.rot90(f, -1, axes=(1, 2)),
        (-1, 0, 0, -1): lambda f: np.rot90(f, 2, axes=(1, 2)),
        (0, -1, 1, 0): lambda f: np.rot90(f, 1, axes=(1, 2)),
        (-1, 0, 0, 1): lambda f: f[:, :, ::-1],
    }
    matrix, undo = rng.choice(list(turns.items()))
    path = turn(written(folder / base.path.name, base.data), *matrix)
    clean = replace(base.content, frames=undo(base.content.frames))
    return judged(path, base.kind, f"{base.path.name} turned by {matrix}", like(clean))


def holed(base: Base, rng: random.Random, folder: Path) -> Verdict:
    """Sound is missing for a while: silence there, and all else at its time."""
    start, length = rng.uniform(0.3, 1.0), rng.uniform(0.15, 0.7)
    lost, kind = [], rng.choice(("mkv", "nut", "mp4"))

    def keep(packet: av.Packet) -> bool:
        time = float(packet.pts * packet.time_base)
        inside = packet.stream.type == "audio" and start <= time < start + length
        lost.extend([time] * inside)
        return not inside

    codec, rate = {"mkv": "flac", "nut": "pcm_s16le", "mp4": "alac"}[kind], rng.choice((RATE, 44_100))
    how = {"frames": scene(), "waveform": tune(rate=rate), "audio": codec, "rate": rate}
    clean = heard(record(folder / f"whole.{kind}", **how), "video")
    path = record(folder / f"holed.{kind}", keep=keep, **how)

    def compare(content: Clip) -> str | None:
        if (content.frames != clean.frames).any() or abs(len(content.waveform) - len(clean.waveform)) > RATE // 8:
            return None
        if not lost:
            return like(clean)(content)
        first, last = (round(time * RATE) for time in (min(lost), max(lost)))
        before, gap, after = slice(0, first - 500), slice(first + 500, last), last + LONGEST
        silent = np.abs(content.waveform[gap]).max(initial=0) < 0.02
        apart = np.abs(content.waveform[before] - clean.waveform[before]).max(initial=0)
        ours, end = content.waveform[after:], len(clean.waveform) - 20
        ours = ours[: max(0, end - after)]
        apart_later = min(
            np.abs(ours - clean.waveform[after + k :][: len(ours)]).max(initial=0) for k in range(-18, 19)
        )
        return "right" if silent and apart < 0.02 and apart_later < 0.1 else None

    return judged(path, "video", f"{kind}: {length:.2f} s of sound lost at {start:.2f} s", compare)


def other_form(base: Base, rng: random.Random, folder: Path) -> Verdict:
    """The same sound in another layout and at another rate has the same level and time."""
    layout, channels = rng.choice((("mono", 1), ("stereo", 2), ("5.1", 6), ("quad", 4), ("7.1", 8)))
    rate = rng.choice((8_000, 11_025, RATE, 22_050, 32_000, 44_100, 48_000, 96_000))
    kind, codec = rng.choice((("wav", "pcm_s16le"), ("wav", "pcm_f32le"), ("flac", "flac"), ("mkv", "pcm_s24le")))
    path = record(
        folder / f"tune.{kind}", waveform=np.tile(tune(rate=rate), (channels, 1)), rate=rate, layout=layout, audio=codec
    )
    clean = Clip(waveform=tune())
    return judged(path, "audio", f"{kind} {codec} {layout} {rate} Hz", like(clean, sound=0.03))


def late(base: Base, rng: random.Random, folder: Path) -> Verdict:
    """Sound that begins before or after the picture."""
    shift = rng.choice((-0.5, -0.125, 0.125, 0.25, 0.625))

    def keep(packet: av.Packet) -> bool:
        packet.pts += round((1 + (shift if packet.stream.type == "audio" else 0)) / packet.time_base)
        packet.dts = packet.pts
        return True

    path = record(folder / "late.mkv", frames=scene(), waveform=tune(), video="mjpeg", audio="pcm_s16le", keep=keep)
    n = round(shift * RATE)
    expected = np.pad(tune(), (n, 0)) if n > 0 else tune()[-n:]

    def compare(content: Clip) -> str | None:
        same = like(Clip(waveform=expected), sound=0.01)(Clip(waveform=content.waveform))
        return same if len(content.frames) == 8 else None

    return judged(path, "video", f"sound {shift:+} s", compare)


def back(base: Base, rng: random.Random, folder: Path) -> Verdict:
    """Time stamps that jump back, as when a recorder starts again."""
    kind = rng.choice(("video", "audio"))
    path = folder / "back.ts"
    record(path, frames=scene(), waveform=tune(rate=48_000), rate=48_000)
    data = path.read_bytes()
    half = len(data) // 188 // 2 * 188
    path.write_bytes(data + data[half:])
    return judged(path, kind, "back.ts repeats its second half", lambda content: None)


ODD = {
    "empty": lambda path, base: path.write_bytes(b""),
    "one byte": lambda path, base: path.write_bytes(b"\0"),
    "a folder": lambda path, base: path.mkdir(),
    "missing": lambda path, base: None,
    "a link to itself": lambda path, base: path.symlink_to(path),
    "a link to nothing": lambda path, base: path.symlink_to(path.with_name("nothing")),
    "text": lambda path, base: path.write_text("this is not a recording\n" * 50),
    "a page": lambda path, base: path.write_text("<!DOCTYPE html><html><body>404 Not Found</body></html>\n" * 9),
    "a pointer": lambda path, base: path.write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    ),
    "an archive": lambda path, base: path.write_bytes(b"PK\3\4" + bytes(500)),
    "zeros": lambda path, base: path.write_bytes(bytes(50_000)),
    "a list of parts": lambda path, base: path.write_text(f"ffconcat version 1.0\nfile {base.path.name}\n"),
    "a playlist": lambda path, base: path.write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{base.path}\n#EXT-X-ENDLIST\n"
    ),
}


def odd(base: Base, rng: random.Random, folder: Path) -> Verdict:
    """What is no recording at all."""
    what = rng.choice(list(ODD))
    path = folder / f"odd{base.path.suffix}"
    shutil.copy(base.path, folder / f"copy{base.path.suffix}")
    ODD[what](path, base)
    return judged(path, base.kind, f"{base.kind}: {what} as {path.name}", lambda content: None)


def header(base: Base, rng: random.Random, folder: Path) -> Verdict:
    """One number in a header of an mp4 or wav is absurd: refused, or without effect."""
    data = bytearray(base.data)
    number = rng.choice((0, 1, 0x7FFF, 0xFFFF))
    if base.path.suffix == ".wav":
        name, at, size = rng.choice((("channels", 22, 2), ("rate", 24, 4), ("block", 32, 2), ("bits", 34, 2)))
        value = number if size == 2 else rng.choice((0, 1, 10_000_000, 2**32 - 1))
        data[at : at + size] = value.to_bytes(size, "little")
    else:
        name, offset, size = rng.choice(((b"avc1", 24, 4), (b"mp4a", 16, 2), (b"mp4a", 24, 4), (b"stsd", 4, 4)))
        at = (boxes(bytes(data), name) or [40])[0] + offset
        value = number << 16 | number if size == 4 else number
        data[at : at + size] = value.to_bytes(size, "big")
    path = written(folder / base.path.name, bytes(data))
    return judged(path, base.kind, f"{base.path.name}: {name} says {value}", like(base.content))


def cover(base: Base, rng: random.Random, folder: Path) -> Verdict:
    """A song with the cover of its album: sound, and no picture."""
    path = folder / "song.m4a"
    with av.open(str(base.path)) as source, av.open(str(path), "w", format="mp4") as out:
        sound = out.add_stream_from_template(source.streams.audio[0])
        art = out.add_stream("mjpeg", rate=1)
        art.width, art.height, art.pix_fmt = 64, 48, "yuvj420p"
        art.disposition = av.stream.Disposition.attached_pic
        for packet in source.demux(source.streams.audio[0]):
            if packet.size:
                packet.stream = sound
                out.mux(packet)
        picture = av.VideoFrame.from_ndarray(scene(1)[0], format="rgb24")
        out.mux([*art.encode(picture), *art.encode(None)])
    kind = rng.choice(("audio", "video", "image"))
    if kind == "audio":
        return judged(path, kind, "song.m4a is heard", like(base.content))
    return judged(path, kind, f"song.m4a as {kind}", lambda content: None)


def image_form(base: Base, rng: random.Random, folder: Path) -> Verdict:
    """Orientation, transparency and depth of an image."""
    picture = scene(1)[0]
    what = rng.choice(("turned", "giant", "deep", "clear"))
    path = folder / f"{what}.png"
    if what == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(np.ascontiguousarray(np.rot90(picture))).save(path, exif=exif)
    elif what == "giant":
        data = bytearray(base.data)
        struct.pack_into(">II", data, 16, 60_000, 60_000)
        path.write_bytes(data)
        return judged(path, "image", "a PNG that claims 60,000 x 60,000", lambda content: None)
    elif what == "deep":
        deep = picture[..., 0].astype(np.uint16) * 257
        Image.fromarray(deep).save(path)
        picture = np.repeat(picture[..., :1], 3, axis=-1)
    else:
        Image.fromarray(np.dstack([picture, np.full((48, 64), 255, np.uint8)])).save(path)
    return judged(path, "image", f"an image, {what}", like(Clip(frames=picture[None], fps=HOW["fps"])))


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


LONGEST = 5_200  # samples at 16 kHz: a packet of FLAC has 4,608
MP4 = ("clip.mp4", "front.mp4", "tune.m4a")
ALL = (*SPECS, *IMAGES)
# Nothing says how many samples a wav from a pipe is to have, so nobody can know which are missing, or too many.
LISTED = tuple(name for name in ALL if name != "pipe.wav")
KINDS: tuple[tuple[Callable[[Base, random.Random, Path], Verdict], tuple[str, ...], int], ...] = (
    # what is done, to which files, and how often in a round
    (truncated, ALL, 4),
    (flipped, ALL, 5),
    (holed, ("clip.mp4",), 1),
    (zeroed, ALL, 3),
    (turned, ("clip.mp4", "front.mp4", "clip.mov"), 1),
    (other_form, ("tune.wav",), 1),
    (announcing, MP4, 1),
    (flipped_in_front, ALL, 3),
    (with_junk, LISTED, 2),
    (odd, ALL, 2),
    (joined, ALL, 1),
    (tagged, tuple(SPECS), 1),
    (late, ("clip.mkv",), 1),
    (header, ("clip.mp4", "tune.wav", "tune.m4a"), 1),
    (cover, ("tune.m4a",), 1),
    (image_form, ("image.png",), 1),
    (overwritten, ALL, 2),
    (left_out, LISTED, 2),
    (renamed, ALL, 1),
    (back, ("clip.mp4",), 1),
)


def trial(bases: dict[str, Base], rng: random.Random, folder: Path) -> Verdict:
    """One of each kind at first, then as often as each is to come. The folder is named by the number of the trial."""
    weights = [often for _, _, often in KINDS]
    number = int(folder.name)
    do, names, _ = KINDS[number] if number < len(KINDS) else rng.choices(KINDS, weights)[0]
    return do(bases[rng.choice(names)], rng, folder)


SUITE = Suite(name="media", trials=600, setup=setup, trial=trial)
