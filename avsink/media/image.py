"""Images, by Pillow, which refuses a file that is cut off.

1. the first image of an animation;
2. turned upright as its EXIF orientation says;
3. held to what shows damage: a PNG to its checksums, a JPEG to a second decoder, since Pillow's fills up with grey what
   it cannot read;
4. eight bits of red, green and blue: palettes are looked up, CMYK is converted, 16 bits of grey keep the upper eight;
   what is transparent lies on white, as in the loader of the published models (qwen-vl-utils, `to_rgb`).
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import av
import numpy as np
from av.error import PatchWelcomeError
from PIL import Image, ImageOps, UnidentifiedImageError

from avsink.media.clip import MediaError
from avsink.media.limits import PIXELS, named
from avsink.media.opening import STRICT, present

__all__ = ["image"]


def image(path: Path) -> np.ndarray | None:
    """Decode an image: uint8 [H, W, 3]; None if the file is no image.

    Raises:
        MediaError: If it is damaged, cut off or too large.
    """
    present(path)
    with warnings.catch_warnings(), named(path.name):
        warnings.simplefilter("ignore")  # of Pillow, about metadata and about sizes that are refused here
        try:
            with Image.open(path) as file:
                width, height = file.size
                if width * height > PIXELS:
                    raise MediaError(
                        f"{path.name} has {width} x {height} pixels; at most {PIXELS / 1e6:.0f} million are read: "
                        "scale it down"
                    )
                if file.format == "GIF" and file.tile and file.tile[0][1] != (0, 0, width, height):
                    raise MediaError(f"{path.name} is damaged: its first frame does not fill it; fetch it again")
                if file.format == "PNG":
                    _check_sums(path)
                elif file.format == "JPEG":
                    _check_scan(path)
                return np.array(_rgb(ImageOps.exif_transpose(file), path.name))  # [H, W, 3]
        except UnidentifiedImageError:
            return None


def _check_sums(path: Path) -> None:
    """Hold every part of a PNG to its checksum; decoding alone does not look at them all."""
    with Image.open(path) as file:
        file.verify()


def _check_scan(path: Path) -> None:
    """Let FFmpeg read a JPEG strictly, up to its last end mark; what it has no decoder for is left to Pillow."""
    data = path.read_bytes()
    whole = io.BytesIO(data[: data.rfind(b"\xff\xd9") + 2])
    try:
        with av.open(whole, format="jpeg_pipe", options=dict(STRICT)) as container:
            container.streams.video[0].codec_context.options = dict(STRICT)
            frames = list(container.decode(video=0))
    except PatchWelcomeError:
        return
    if not frames or any(frame.is_corrupt for frame in frames):
        raise MediaError(f"{path.name} is damaged: its decoder says so; fetch it again")


def _rgb(picture: Image.Image, name: str) -> Image.Image:
    if picture.mode in ("I", "F"):
        raise MediaError(f"{name} has pixels of 32 bits, and does not say which value is white; convert it to 8 bits")
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(ground, picture).convert("RGB")
    return picture.convert("RGB")
