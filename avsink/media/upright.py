"""Turning a frame as its container says. A telephone records lying on its side, and writes down how it was held.

The display matrix (FFmpeg's `libavutil/display.h`, and ISO/IEC 14496-12) maps a point (x, y) of the stored frame to
(a x + c y, b x + d y) of the shown one, but for a shift. Its quarter turns and mirrors are the eight ways to lay a
rectangle on itself. The scale is left alone: models are shown the pixels that are there.
"""

from __future__ import annotations

import struct

import av
import numpy as np
from av.sidedata.sidedata import Type

from avsink.media.clip import MediaError

__all__ = ["upright"]

SLANT = 0.02  # of a side: a degree is more than any rounding of a quarter turn


def upright(picture: np.ndarray, frame: av.VideoFrame, name: str) -> np.ndarray:
    """A picture, uint8 [H, W, 3], turned and mirrored as the frame that it was converted from says.

    Raises:
        MediaError: If it is neither a quarter turn nor a mirror.
    """
    data = frame.side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return picture
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))
    if max(abs(b), abs(c)) <= SLANT * min(abs(a), abs(d)):
        across, down = a, d
    elif max(abs(a), abs(d)) <= SLANT * min(abs(b), abs(c)):
        picture, across, down = picture.transpose(1, 0, 2), c, b  # rows become columns
    else:
        raise MediaError(f"{name} is turned by {frame.rotation} degrees; only quarter turns are shown: encode it again")
    return np.ascontiguousarray(picture[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])
