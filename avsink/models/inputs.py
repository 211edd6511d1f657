"""One sample, ready for the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from avsink.layout import TokenLayout

__all__ = ["Inputs"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """What `Model.prepare` makes of a sample.

    tensors: keyword arguments of the model's forward pass, a batch of one: input_ids [1, N], attention_mask [1, N],
        position_ids [3, 1, N] (time, height, width), and whatever the media need.
    use_audio_in_video: whether sound is interleaved with a video, for calls that work out the positions themselves
        (`generate`); the forward pass takes them from `tensors`.
    letters: option letter -> ids of the tokens that say it.
    prompt: the text, with one placeholder a medium.
    """

    sample_id: str
    tensors: Mapping[str, Tensor]
    layout: TokenLayout
    letters: Mapping[str, tuple[int, ...]]
    use_audio_in_video: bool
    prompt: str

    def to(self, device: torch.device | str) -> Inputs:
        """The same inputs on another device. The layout stays where it is: positions index from anywhere."""
        return replace(self, tensors={name: tensor.to(device) for name, tensor in self.tensors.items()})
