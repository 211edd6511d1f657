"""Models by name: `load` reads a checkpoint as it is, `card` says what is known of one without loading it.

1. find the card of the name, and its folder (`avsink.models.cards`, `avsink.models.checkpoint`);
2. choose device and precision: on an accelerator the card's dtype, spread over all devices; otherwise float32 on CPU;
3. let the family's adapter load model and processor (`avsink.models.families.base`).

`avsink.load` goes on from there: it prepares the text decoder for interventions, and checks that they work on it.

This room imports `avsink.layout`, `avsink.media`, `avsink.sample`, `avsink.compat` and `avsink.resources`, and nothing
of the engine.
"""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

from avsink.models.cards import CARDS, DTYPES, ModelCard, card
from avsink.models.checkpoint import MissingModel, folder_of
from avsink.models.families import FAMILIES
from avsink.models.json_files import DamagedModel

if TYPE_CHECKING:
    import torch

    from avsink.models.model import Model

__all__ = [
    "CARDS",
    "DTYPES",
    "DamagedModel",
    "MissingModel",
    "ModelCard",
    "card",
    "check_attention",
    "check_sampling",
    "load",
]


def load(
    name_or_path: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    max_frames: int | None = None,
    max_tokens_per_frame: int | None = None,
    sampling: str = "even",
) -> Model:
    """Load a checkpoint on transformers' own attention. The arguments are those of `avsink.load`."""
    if not str(name_or_path).strip():
        raise ValueError(f"the model's name is empty; the known names are {', '.join(CARDS)}, or give a folder")
    for name, limit in (("max_frames", max_frames), ("max_tokens_per_frame", max_tokens_per_frame)):
        if limit is not None and (not isinstance(limit, Integral) or limit is True or limit < 1):
            raise ValueError(f"{name} is {limit!r}; allowed: a whole number from 1 on, or None for the card's")
    check_sampling(sampling)
    chosen = replace(card(name_or_path), sampling=sampling)
    if max_frames is not None:
        chosen = replace(chosen, max_frames=max_frames)
    if max_tokens_per_frame is not None:
        fewest = min(chosen.frame_tokens[0], max_tokens_per_frame)
        chosen = replace(chosen, frame_tokens=(fewest, max_tokens_per_frame))
    folder = folder_of(chosen)

    import torch  # only now: the steps so far need no large library, and fail at once

    from avsink.models.model import Model

    if device in (None, "auto"):
        device_map = "auto" if torch.accelerator.is_available() else None
    else:
        device_map = {"": _device(device)}
    if dtype in (None, "auto"):
        dtype = chosen.dtype if _accelerated(device_map) else "float32"
    adapter = FAMILIES[chosen.family]()
    hf, processor = adapter.load(folder, dtype=_dtype(dtype), device_map=device_map)
    return Model(card=chosen, hf=hf, processor=processor, adapter=adapter)


def check_sampling(name: str) -> None:
    """Raise ValueError, with the allowed names, if clips are not sampled in a way of this name."""
    from avsink.media.published import SAMPLINGS  # only now: it brings the decoder

    if not isinstance(name, str) or name not in SAMPLINGS:
        raise ValueError(f"unknown sampling {name!r}; allowed: {', '.join(SAMPLINGS)}")


def check_attention(name: str) -> None:
    """Raise ValueError, with the allowed names, if neither avsink nor transformers has an attention of this name."""
    from transformers import AttentionInterface  # only now: `card` and `load` of unknown names need no large library

    allowed = ("avsink", "eager", *(known for known in AttentionInterface().valid_keys() if "paged" not in known))
    if name not in allowed:
        raise ValueError(f"unknown attention {name!r}; allowed: {', '.join(dict.fromkeys(allowed))}")


def _accelerated(device_map: str | dict | None) -> bool:
    return device_map == "auto" or (device_map is not None and device_map[""].type != "cpu")


def _device(device: str | torch.device) -> torch.device:
    import torch

    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).tolist()  # which a device without storage refuses
    except (RuntimeError, AssertionError, TypeError) as error:  # which of them depends on torch's build
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"the device {str(device)!r} cannot be used here ({reason}); try device='cpu'") from None
    return chosen


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    import torch

    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise ValueError(f"unknown dtype {name!r}; allowed are {', '.join(DTYPES)}")
    return getattr(torch, name)
