"""Models by name: `load` gives a `Model`, `card` what is known of one without loading it.

1. find the card of the name, and its folder (`avsink.models.cards`, `avsink.models.checkpoint`);
2. choose device and precision: on an accelerator the card's dtype, spread over all devices; otherwise float32 on CPU;
3. let the family's adapter load model and processor;
4. put the text decoder, and it alone, on the attention function that the instruments act through;
5. check that interventions do on this model what they say (`avsink.engine.self_check`).

A new family is one adapter file and one line in `ADAPTERS`.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from avsink.models.cards import CARDS, ModelCard, card
from avsink.models.checkpoint import MissingModel, folder_of

if TYPE_CHECKING:
    import torch

    from avsink.models.model import Model

__all__ = ["CARDS", "MissingModel", "ModelCard", "card", "load"]

ADAPTERS = {"qwen25_omni": "avsink.models.families.qwen25_omni"}
DTYPES = ("float32", "bfloat16", "float16")


def load(
    name_or_path: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    attention: str = "avsink",
    max_frames: int | None = None,
    max_tokens_per_frame: int | None = None,
    check: bool = True,
) -> Model:
    """A model by its name ("tiny-omni", "Qwen/Qwen2.5-Omni-7B", ...) or its folder.

    device: None takes every accelerator there is, or else the CPU. dtype: None is the card's on an accelerator, float32
    elsewhere. Both may be given as "auto", which is the same as None.
    attention: of the text decoder; interventions need the default.
    max_frames, max_tokens_per_frame: instead of the card's limits on a clip.
    check: run the self-check, a dozen short passes. It raises `avsink.engine.self_check.SelfCheckFailed`. With another
        `attention` there is none, since no instrument would run.
    """
    chosen = card(name_or_path)
    if max_frames is not None:
        chosen = replace(chosen, max_frames=max_frames)
    if max_tokens_per_frame is not None:
        fewest = min(chosen.frame_tokens[0], max_tokens_per_frame)
        chosen = replace(chosen, frame_tokens=(fewest, max_tokens_per_frame))
    folder = folder_of(chosen)

    import torch  # what has been done so far needs none of the large libraries, and fails at once

    from avsink.models.model import Model

    if device in (None, "auto"):
        device_map = "auto" if torch.accelerator.is_available() else None
    else:
        device_map = {"": _device(device)}
    if dtype in (None, "auto"):
        dtype = chosen.dtype if _accelerated(device_map) else "float32"
    adapter = import_module(ADAPTERS[chosen.family])
    hf, processor = adapter.load(folder, dtype=_dtype(dtype), device_map=device_map)
    if attention == "avsink":
        import_module(
            "avsink.engine.attention"
        )  # registers it; the instruments build on models, never the other way round
    hf.set_attn_implementation({"text_config": attention})
    model = Model(card=chosen, hf=hf, processor=processor, adapter=adapter)
    if check and attention == "avsink":
        import_module("avsink.engine.self_check").check(model)
    return model


def _accelerated(device_map: str | dict | None) -> bool:
    return device_map == "auto" or (device_map is not None and device_map[""].type != "cpu")


def _device(device: str | torch.device) -> torch.device:
    import torch

    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:  # torch raises either, by build
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"the device {str(device)!r} cannot be used here ({reason}); try device='cpu'") from None
    return chosen


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    import torch

    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise ValueError(f"unknown dtype {name!r}; allowed are {', '.join(DTYPES)}")
    return getattr(torch, name)
