"""avsink: where sound and sight meet inside audio-visual language models.

    import avsink

    model = avsink.load("tiny-omni")                     # a name or a folder
    inputs = model.prepare(sample)                       # tensors, and which token is what
    run = avsink.clean_run(model, inputs)
    run.replay([avsink.Block(inputs.layout.video, inputs.layout.question, layers=range(3, 10))])

Other names are imported when they are first used, so that `import avsink` is quick and needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from avsink.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from avsink.models.model import Model

_HOMES = {
    "avsink.models": ("card",),
    "avsink.datasets": ("load_samples",),
    "avsink.sample": ("Media", "Prompt", "Sample", "SampleError", "Text", "Unmeasured"),
    "avsink.engine.interventions": ("Block", "Discard", "Restore", "Reweight"),
    "avsink.engine.run": ("clean_run",),
    "avsink.results.over_samples": ("measure",),
    "avsink.results.bootstrap": ("summarise",),
    "avsink.results.verdicts": ("judge",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", "load", *sorted(_HOME)]


def load(
    name_or_path: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    attention: str = "avsink",
    max_frames: int | None = None,
    max_tokens_per_frame: int | None = None,
    sampling: str = "even",
    check: bool = True,
) -> Model:
    """Load a model that the instruments can act on.

    Args:
        name_or_path: A name ("tiny-omni", "Qwen/Qwen2.5-Omni-7B", ...) or a folder.
        device: None or "auto" for every accelerator there is, or else the CPU.
        dtype: None or "auto" for the card's on an accelerator, and float32 elsewhere.
        attention: Of the text decoder, and of it alone; interventions need the default.
        max_frames: Upper limit of frames of a clip, instead of the card's.
        max_tokens_per_frame: Upper limit of visual tokens of a frame, instead of the card's.
        sampling: Which frames of a clip are taken, and how its sound: "even", or "published", as the published models
            were evaluated (`avsink.media.published`).
        check: Run the self-check, a dozen short passes. With another `attention` there is none, since no instrument
            would run.

    Raises:
        ValueError: For a name, device, dtype, attention or sampling that is unknown.
        MissingModel: If the model is not here, or not complete (`avsink.models`).
        DamagedModel: If its files cannot be read, or contradict each other.
        SelfCheckFailed: If interventions would not do what they say (`avsink.engine.self_check`).
    """
    from avsink import models

    if attention != "avsink":  # the default is known; asking transformers for others takes seconds
        models.card(name_or_path)
        models.check_attention(attention)
    limits = {"max_frames": max_frames, "max_tokens_per_frame": max_tokens_per_frame, "sampling": sampling}
    model = models.load(name_or_path, device=device, dtype=dtype, **limits)

    from avsink.engine import self_check  # only now, since it needs torch
    from avsink.engine.attention import NAME

    model.hf.set_attn_implementation({"text_config": attention})
    if check and attention == NAME:
        self_check.check(model)
    return model


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'avsink' has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
