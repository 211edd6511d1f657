"""The one attention function of the text decoder.

The text decoder, and it alone, is told by name to attend through `attention`
(`set_attn_implementation({"text_config": NAME})`), on transformers' own interface:

1. by default it *is* transformers' SDPA function, to the last bit;
2. within `through(reader)` the call goes to the reader. That is how a run is recorded (`avsink.engine.record`), observed
   (`avsink.engine.observers`) and replayed (`avsink.engine.replay`).

Two registrations are needed. The mask function is the one that is easily forgotten: without an entry of the same name,
transformers passes no mask at all, and the decoder becomes non-causal in silence.

A reader reaches the function through a context variable, not through keyword arguments: `generate` refuses unknown
ones, and the audio and vision towers would be handed them, too.
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
    """Takes the place of the attention function for a while."""

    def __call__(
        self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs
    ) -> Tensor:
        """query (B, heads, Q, D); key, value (B, key heads, K, D), rotated -> output (B, Q, heads, D)."""


_substitute: ContextVar[Substitute | None] = ContextVar("substitute", default=None)


@contextmanager
def substituted(by: Substitute) -> Iterator[None]:
    """Within this context, decoders that run on `NAME` attend by means of `reader`."""
    token = _substitute.set(by)
    try:
        yield
    finally:
        _substitute.reset(token)


def attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs
) -> tuple[Tensor, None]:
    """transformers' attention function; shapes as for `Reader`. The weights are never formed."""
    reader = _substitute.get()
    if reader is None:
        return plain(module, query, key, value, attention_mask, **kwargs), None
    return reader(module, query, key, value, attention_mask, **kwargs), None


def plain(module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs) -> Tensor:
    """transformers' own SDPA function: the reader that changes nothing."""
    return sdpa_attention_forward(module, query, key, value, mask, **kwargs)[0]


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
