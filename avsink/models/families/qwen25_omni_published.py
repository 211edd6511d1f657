"""How the loader of the published models, `qwen-omni-utils` 0.0.9, resizes a picture.

The size is that of the processor: a multiple of a token's side, within the limits on pixels, of nearly the same shape.
The values differ:

1. a frame of a video is interpolated in float32, and only the result rounded (torchvision's older function); the
   processor's own interpolates 8-bit values and rounds after each direction;
2. an image is resized by Pillow.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

__all__ = ["resized"]


def resized(picture: np.ndarray, *, kind: str, size: Mapping[str, int], factor: int) -> np.ndarray:
    """A picture of an `image` or a `video`, uint8 [H, W, 3], in the size of the processor.

    Args:
        picture: The picture.
        kind: Of the medium.
        size: Fewest and most pixels, as `shortest_edge` and `longest_edge`.
        factor: Side of a token in pixels.

    Raises:
        ValueError: The picture is 200 times longer than wide.
    """
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    height, width = smart_resize(
        *picture.shape[:2], factor=factor, min_pixels=size["shortest_edge"], max_pixels=size["longest_edge"]
    )
    if kind == "image":
        return np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
    channels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()  # [1, 3, H, W]
    larger = interpolate(channels, size=(height, width), mode="bicubic", antialias=True, align_corners=False)
    return larger[0].clamp(0, 255).round().to(torch.uint8).permute(1, 2, 0).numpy()  # [H', W', 3]
