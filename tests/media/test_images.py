"""Images: whole or refused, upright, and red, green and blue whatever they were stored as."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from recordings import record, scene

from avsink.media import MediaError, read_image

PICTURE = scene(1)[0]


def saved(path, picture=PICTURE, mode="RGB", **how):
    Image.fromarray(picture).convert(mode).save(path, **how)
    return path


def test_a_png_is_taken_bit_by_bit(tmp_path):
    assert (read_image(saved(tmp_path / "a.png")) == PICTURE).all()


@pytest.mark.parametrize("kind", ["jpg", "webp", "gif", "bmp", "tif", "png"])
def test_every_kind_shows_the_same_picture(tmp_path, kind):
    assert np.abs(read_image(saved(tmp_path / f"a.{kind}")).astype(int) - PICTURE).mean() < 12


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.97])
@pytest.mark.parametrize("kind", ["jpg", "webp", "gif", "bmp", "tif", "png"])
def test_an_image_cut_anywhere_is_refused(tmp_path, kind, share):
    path = saved(tmp_path / f"a.{kind}")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(MediaError, match=f"a.{kind}"):
        read_image(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_shown_upright(tmp_path, orientation):
    """The eight orientations of EXIF, each undone by hand."""
    stored = {
        1: PICTURE,
        2: PICTURE[:, ::-1],
        3: PICTURE[::-1, ::-1],
        4: PICTURE[::-1],
        5: PICTURE.transpose(1, 0, 2),
        6: PICTURE.transpose(1, 0, 2)[::-1],
        7: PICTURE[::-1, ::-1].transpose(1, 0, 2),
        8: PICTURE.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    assert (read_image(path) == PICTURE).all()


def test_what_is_transparent_lies_on_white(tmp_path):
    alpha = np.linspace(0, 255, 64).astype(np.uint8) * np.ones((48, 1), np.uint8)
    Image.fromarray(np.dstack([PICTURE, alpha])).save(tmp_path / "a.png")
    share = alpha[..., None] / 255
    assert np.abs(read_image(tmp_path / "a.png") - (share * PICTURE + (1 - share) * 255)).max() <= 1


def test_palettes_grey_and_cmyk_become_colours(tmp_path):
    grey = PICTURE[..., 0]
    assert (read_image(saved(tmp_path / "grey.png", grey, "L")) == grey[..., None]).all()
    few = np.repeat(np.repeat(PICTURE[::16, ::16], 16, axis=0), 16, axis=1)
    assert (
        read_image(saved(tmp_path / "few.png", few, "P"))
        == np.asarray(Image.fromarray(few).convert("P").convert("RGB"))
    ).all()
    assert (
        read_image(saved(tmp_path / "bits.png", grey, "1"))
        == np.asarray(Image.fromarray(grey).convert("1"))[..., None] * 255
    ).all()
    assert np.abs(read_image(saved(tmp_path / "a.jpg", mode="CMYK")).astype(int) - PICTURE).mean() < 12


def test_sixteen_bits_keep_the_upper_eight(tmp_path):
    deep = (np.arange(48 * 64, dtype=np.uint16) * 21).reshape(48, 64)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert (read_image(tmp_path / "deep.png") == (deep // 256)[..., None]).all()


def test_the_first_picture_of_an_animation_is_shown(tmp_path):
    frames = [Image.fromarray(frame) for frame in scene(4)]
    for kind in ("gif", "webp", "png"):
        path = tmp_path / f"moving.{kind}"
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
        assert np.abs(read_image(path).astype(int) - PICTURE).mean() < 12


def test_the_first_frame_of_a_video_is_an_image(tmp_path):
    path = record(tmp_path / "clip.mkv", frames=scene(4))
    assert np.abs(read_image(path).astype(int) - PICTURE).mean() < 12


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


@pytest.mark.parametrize("side", [16_384, 30_000, 2**31 - 1])
def test_a_giant_image_is_refused_before_it_is_decoded(tmp_path, side):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    content = chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")
    (tmp_path / "giant.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + content)
    with pytest.raises(MediaError, match="giant.png"):
        read_image(tmp_path / "giant.png")


@pytest.mark.parametrize(
    "content", [b"<html>not found</html>" * 9, b"version https://git-lfs.github.com/spec/v1\n", b"\0" * 99]
)
def test_what_is_no_image_is_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(MediaError, match="a.png"):
        read_image(tmp_path / "a.png")


def test_sound_has_no_picture(tmp_path):
    path = record(tmp_path / "a.m4a", waveform=np.zeros(16_000, np.float32))
    with pytest.raises(MediaError, match="a.m4a has no picture"):
        read_image(path)
