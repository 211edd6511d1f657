"""Let the PyPI wheel of torchvision work with the CPU build of torch.

The Linux wheel of torchvision is built for CUDA. With a CPU build of torch, importing it fails because two operators
were never declared (``operator torchvision::nms does not exist``), and every model import of transformers fails with
it. Declaring the two schemas is enough: the processors only resize and normalise, and never call these operators.
"""

from __future__ import annotations

import torch

__all__ = ["enable_torchvision"]

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: torch.library.Library | None = None


def enable_torchvision() -> None:
    """Declare torchvision's operators if they are missing.

    Call it before a model of transformers is imported. A second call does nothing.
    """
    global _library
    if _library is not None or hasattr(torch.ops.torchvision, "nms"):
        return
    _library = torch.library.Library("torchvision", "DEF")  # kept alive: the schemas are dropped with it
    for schema in _SCHEMAS:
        _library.define(schema)
