"""Let the PyPI wheel of torchvision live beside the CPU build of torch.

The Linux wheel of torchvision is built for CUDA. Beside a CPU torch its import stops at two operators that were never
declared (``operator torchvision::nms does not exist``), and every model import of transformers stops with it. Declaring
the two schemas is enough: the processors only resize and normalise, they never call these operators.
"""

from __future__ import annotations

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: torch.library.Library | None = None


def enable_torchvision() -> None:
    """Declare torchvision's missing operators, if they are. Call before transformers; calling again is free."""
    global _library
    if _library is not None or hasattr(torch.ops.torchvision, "nms"):
        return
    _library = torch.library.Library("torchvision", "DEF")  # kept alive: the schemas go when it does
    for schema in _SCHEMAS:
        _library.define(schema)
