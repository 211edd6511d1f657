"""The one attention function of the text decoder.

The text decoder, and no other part of the model, is told by name to use `attention`
(`set_attn_implementation({"text_config": NAME})`), through transformers' own interface:

1. by default it *is* transformers' SDPA function, to the last bit;
2. within `substituted(by=...)` the call goes to a substitute. That is how a run is recorded (`avsink.engine.record`),
   observed (`avsink.engine.observers`) and replayed (`avsink.engine.replay`).

Two functions are registered under that name, and the mask function is the one that is easily forgotten: without it,
transformers silently passes no mask at all, so padding is read, and attention that relies on the mask is not causal.

The substitute is passed in a context variable and not as a keyword argument: `generate` refuses unknown keyword
arguments, and the audio and vision towers would receive them, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

import torch
from torch import Tensor

from avsink.compat import enable_torchvision

enable_torchvision()  # before anything of transformers is imported
from transformers import AttentionInterface, AttentionMaskInterface  # noqa: E402
from transformers.integrations.sdpa_attention import sdpa_attention_forward  # noqa: E402
from transformers.masking_utils import sdpa_mask  # noqa: E402

__all__ = ["NAME", "Substitute", "attention", "plain", "substituted"]

NAME = "avsink"  # a neutral name: ones that contain "sdpa" or "flex_attention" trigger transformers' dispatch checks


class Substitute(Protocol):
    """A function that takes the place of the attention function for a while."""

    def __call__(
        self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs
    ) -> Tensor:
        """Attend.

        Args:
            module: The attention module that calls; `module.layer_idx` is its layer.
            query: (B, heads, Q, D), rotated.
            key: (B, key heads, K, D), rotated.
            value: (B, key heads, K, D).
            mask: What the mask function made, or None where attention is causal or needs no mask.
            **kwargs: What else transformers passes, such as `scaling`.

        Returns:
            The attention output, (B, Q, heads, D).
        """


_substitute: ContextVar[Substitute | None] = ContextVar("substitute", default=None)


@contextmanager
def substituted(by: Substitute) -> Iterator[None]:
    """Within this context, decoders whose attention is `NAME` attend by means of `by`."""
    token = _substitute.set(by)
    try:
        yield
    finally:
        _substitute.reset(token)


def attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs
) -> tuple[Tensor, None]:
    """Attend as a function of transformers' interface; shapes as in `Substitute`. The weights are never formed."""
    substitute = _substitute.get()
    if substitute is None:
        return plain(module, query, key, value, attention_mask, **kwargs), None
    return substitute(module, query, key, value, attention_mask, **kwargs), None


def plain(module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs) -> Tensor:
    """Call transformers' own SDPA function: the substitute that changes nothing."""
    return sdpa_attention_forward(module, query, key, value, mask, **kwargs)[0]


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
