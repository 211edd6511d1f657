"""The 20 pictures of the toy world: flat drawings of a few shapes each, as data.

A sprite is a list of shapes on a canvas of 64 x 64 units, drawn in order: ``("oval" | "box" | "poly" | "line" | "arc",
coordinates, colour)``. `sprite(name, size)` draws it at four times the size and scales it down, so that edges are
smooth, and returns RGBA; the alpha channel is the object's exact mask.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["sprite"]

_CANVAS = 64
_OVERSAMPLE = 4
_INK = "#26262e"

Shape = tuple[str, tuple[float, ...], str]


def _eyes(x0: float, x1: float, y: float, r: float = 2.5) -> list[Shape]:
    return [("oval", (x - r, y - r, x + r, y + r), _INK) for x in (x0, x1)]


def _rays(colour: str, *lines: tuple[float, ...]) -> list[Shape]:
    return [("line", line, colour) for line in lines]


_SPRITES: dict[str, list[Shape]] = {
    "dog": [
        ("oval", (4, 10, 22, 44), "#6b4423"), ("oval", (42, 10, 60, 44), "#6b4423"),
        ("oval", (12, 8, 52, 56), "#b5793f"), ("oval", (20, 32, 44, 56), "#ecd0a6"), ("oval", (26, 34, 38, 43), _INK),
        *_eyes(23, 41, 25, 3),
    ],
    "cat": [
        ("poly", (8, 30, 10, 2, 30, 16), "#e8862e"), ("poly", (56, 30, 54, 2, 34, 16), "#e8862e"),
        ("oval", (7, 12, 57, 58), "#f2994a"), ("poly", (28, 36, 36, 36, 32, 41), "#c2455e"), *_eyes(22, 42, 29, 4),
        *_rays(_INK, (6, 36, 20, 40), (6, 46, 20, 43), (58, 36, 44, 40), (58, 46, 44, 43)),
    ],
    "bird": [
        ("oval", (10, 20, 50, 54), "#2f80ed"), ("oval", (32, 6, 58, 32), "#2f80ed"),
        ("poly", (54, 16, 64, 21, 54, 26), "#f2b705"), ("poly", (2, 22, 34, 28, 18, 48), "#1b4fa0"),
        ("oval", (20, 34, 46, 54), "#cfe3ff"), *_eyes(47, 47, 17),
    ],
    "frog": [
        ("oval", (8, 6, 28, 28), "#27a844"), ("oval", (36, 6, 56, 28), "#27a844"),
        ("oval", (4, 16, 60, 58), "#34c759"), ("oval", (12, 10, 24, 22), "#ffffff"),
        ("oval", (40, 10, 52, 22), "#ffffff"), *_eyes(18, 46, 16, 3.4), ("arc", (16, 24, 48, 48), "#0c5c22"),
    ],
    "cow": [
        ("poly", (6, 16, 2, 2, 18, 10), "#d9c7a3"), ("poly", (58, 16, 62, 2, 46, 10), "#d9c7a3"),
        ("oval", (8, 6, 56, 54), "#fafafa"), ("oval", (8, 8, 30, 30), _INK), ("oval", (14, 36, 50, 62), "#f4a6b7"),
        ("oval", (22, 44, 28, 52), "#9c4a5c"), ("oval", (36, 44, 42, 52), "#9c4a5c"),
        ("oval", (19, 19, 26, 26), "#fafafa"), *_eyes(42, 42, 23, 3),
    ],
    "duck": [
        ("oval", (4, 28, 54, 60), "#ffd60a"), ("oval", (30, 4, 58, 34), "#ffd60a"),
        ("oval", (50, 16, 64, 26), "#ff6b1a"), ("oval", (12, 34, 38, 52), "#e0ae00"), *_eyes(46, 46, 15, 3),
    ],
    "owl": [
        ("oval", (8, 8, 56, 62), "#7a4f9e"), ("poly", (8, 24, 10, 0, 28, 14), "#7a4f9e"),
        ("poly", (56, 24, 54, 0, 36, 14), "#7a4f9e"), ("oval", (12, 14, 33, 35), "#fff3c4"),
        ("oval", (31, 14, 52, 35), "#fff3c4"), *_eyes(22.5, 41.5, 24.5, 5),
        ("poly", (28, 32, 36, 32, 32, 42), "#f2b705"), ("oval", (20, 42, 44, 60), "#c9a8e0"),
    ],
    "bee": [
        ("oval", (14, 2, 34, 26), "#bfe3f5"), ("oval", (30, 2, 50, 26), "#bfe3f5"),
        ("oval", (6, 18, 58, 54), "#ffc300"), ("box", (20, 20, 27, 52), _INK), ("box", (34, 19, 41, 53), _INK),
        ("poly", (0, 36, 8, 31, 8, 41), _INK), *_eyes(50, 50, 32, 3),
    ],
    "bell": [
        ("oval", (26, 50, 38, 62), "#8a5a00"), ("poly", (14, 46, 20, 16, 44, 16, 50, 46), "#e0a526"),
        ("oval", (18, 4, 46, 34), "#e0a526"), ("box", (6, 44, 58, 52), "#b57f12"), ("oval", (28, 0, 36, 8), "#8a5a00"),
        ("poly", (24, 40, 27, 16, 31, 16, 29, 40), "#fbe3a0"),
    ],
    "drum": [
        ("box", (6, 20, 58, 54), "#c0392b"), ("oval", (6, 44, 58, 62), "#c0392b"),
        ("oval", (6, 10, 58, 30), "#f7efe0"),
        *_rays("#f4d03f", (8, 24, 20, 54), (20, 54, 32, 28), (32, 28, 44, 54), (44, 54, 56, 24)),
        *_rays("#6b4423", (12, 0, 30, 20), (52, 0, 36, 20)),
    ],
    "trumpet": [
        ("poly", (40, 24, 62, 8, 62, 56, 40, 40), "#f5c542"), ("box", (2, 28, 46, 36), "#e3a812"),
        ("oval", (8, 30, 40, 54), "#e3a812"), ("oval", (15, 36, 33, 48), "#7d5ba6"),
        *_rays("#8a5a00", (16, 16, 16, 30), (24, 16, 24, 30), (32, 16, 32, 30)), ("box", (0, 26, 6, 38), "#8a5a00"),
    ],
    "whistle": [
        ("oval", (4, 20, 42, 58), "#00a6a6"), ("box", (22, 20, 62, 36), "#00a6a6"),
        ("oval", (14, 30, 32, 48), "#d5f5f5"), ("box", (38, 20, 46, 28), "#003f3f"),
        *_rays("#666a73", (10, 8, 16, 20), (10, 8, 26, 4)),
    ],
    "clock": [
        ("oval", (4, 4, 60, 60), "#34495e"), ("oval", (10, 10, 54, 54), "#fdfdfd"),
        *_rays(_INK, (32, 32, 32, 16), (32, 32, 44, 38)), *_rays("#c0392b", (32, 32, 20, 44)),
        ("oval", (29, 29, 35, 35), _INK),
    ],
    "phone": [
        ("box", (16, 2, 48, 62), "#22252b"), ("box", (19, 9, 45, 52), "#5ac8fa"),
        ("oval", (28, 54, 36, 61), "#8e9199"), ("box", (24, 15, 40, 21), "#ffffff"),
        ("oval", (26, 27, 38, 41), "#34c759"),
    ],
    "train": [
        ("box", (4, 14, 60, 50), "#8e1b2f"), ("box", (10, 20, 28, 34), "#dff1ff"),
        ("box", (34, 20, 54, 34), "#dff1ff"), ("box", (4, 38, 60, 43), "#f4d03f"), ("oval", (8, 44, 24, 60), _INK),
        ("oval", (40, 44, 56, 60), _INK), ("box", (46, 4, 54, 14), "#3a3a44"),
    ],
    "piano": [
        ("box", (2, 10, 62, 30), "#1c1c22"), ("box", (2, 30, 62, 56), "#ffffff"),
        *_rays("#777777", (14, 30, 14, 56), (26, 30, 26, 56), (38, 30, 38, 56), (50, 30, 50, 56)),
        ("box", (11, 30, 17, 45), _INK), ("box", (23, 30, 29, 45), _INK), ("box", (47, 30, 53, 45), _INK),
    ],
    "guitar": [
        ("oval", (4, 32, 36, 62), "#d2691e"), ("oval", (14, 22, 40, 48), "#d2691e"),
        ("oval", (15, 37, 27, 49), "#3b1f0b"), ("poly", (24, 38, 54, 4, 60, 9, 30, 43), "#5b3413"),
        ("poly", (50, 6, 56, 0, 64, 8, 58, 14), "#3b1f0b"),
    ],
    "siren": [
        ("box", (8, 46, 56, 60), "#4a4e57"), ("oval", (14, 12, 50, 66), "#ff2d55"),
        ("box", (8, 48, 56, 60), "#4a4e57"), ("oval", (24, 22, 34, 40), "#ffc2cf"),
        *_rays("#ff9500", (32, 0, 32, 8), (6, 12, 13, 18), (58, 12, 51, 18), (0, 34, 9, 35), (64, 34, 55, 35)),
    ],
    "rain": [
        ("oval", (4, 14, 34, 40), "#8fa3b8"), ("oval", (20, 4, 50, 38), "#a9bccf"),
        ("oval", (34, 14, 62, 40), "#8fa3b8"), ("box", (16, 26, 50, 40), "#8fa3b8"),
        *_rays("#1e6fff", (14, 44, 10, 60), (26, 44, 22, 62), (38, 44, 34, 60), (50, 44, 46, 62)),
    ],
    "car": [
        ("poly", (14, 28, 22, 12, 44, 12, 54, 28), "#7ed957"), ("box", (2, 28, 62, 46), "#4caf2a"),
        ("poly", (19, 27, 25, 16, 32, 16, 32, 27), "#e3f7ff"), ("poly", (35, 27, 35, 16, 42, 16, 49, 27), "#e3f7ff"),
        ("oval", (9, 38, 25, 54), _INK), ("oval", (40, 38, 56, 54), _INK), ("oval", (56, 31, 62, 37), "#fff59d"),
    ],
}  # fmt: skip


@lru_cache(maxsize=512)
def sprite(name: str, size: int) -> np.ndarray:
    """Draw an object: uint8 [size, size, 4]; alpha is its mask."""
    scale = _OVERSAMPLE * size / _CANVAS
    image = Image.new("RGBA", (size * _OVERSAMPLE, size * _OVERSAMPLE), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    for kind, coordinates, colour in _SPRITES[name]:
        points = [c * scale for c in coordinates]
        if kind == "oval":
            draw.ellipse(points, fill=colour)
        elif kind == "box":
            draw.rounded_rectangle(points, radius=1.5 * scale, fill=colour)
        elif kind == "poly":
            draw.polygon(points, fill=colour)
        elif kind == "arc":
            draw.arc(points, 20, 160, fill=colour, width=round(2.5 * scale))
        else:
            draw.line(points, fill=colour, width=round(2.5 * scale))
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))
