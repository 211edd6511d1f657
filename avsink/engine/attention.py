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

from collections.abc import Callable, Iterator, Mapping
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

__all__ = [
    *("NAME", "Substitute", "attention", "plain", "require_in_use", "require_one_call", "require_plain"),
    "substituted",
]

NAME = "avsink"  # a neutral name: ones that contain "sdpa" or "flex_attention" trigger transformers' dispatch checks

# What a layer may pass besides query, key, value and mask: name -> whether attention with this value, over a prompt of
# n tokens, is the plain one: causal, and the softmax of the scaled scores alone. None always is, since it asks for
# nothing.
KNOWN: dict[str, Callable[[object, int], bool]] = {
    "scaling": lambda value, n: isinstance(value, (int, float)),  # the factor of the scores: any is honoured
    "dropout": lambda value, n: value == 0,
    "is_causal": lambda value, n: value is True,
    "sliding_window": lambda value, n: value >= n,  # then every token before is inside it
    **dict.fromkeys(  # for other kernels, which make masks from them; here a mask says which keys are read
        ("position_ids", "cache_position"), lambda value, n: True
    ),
    **dict.fromkeys(  # about what is returned or kept
        ("use_cache", "output_attentions", "output_hidden_states", "output_router_logits", "return_dict"),
        lambda value, n: True,
    ),
}
REMEDY = (
    "load the model with avsink.load, and leave its attention as it is; to set it back: "
    f'model.hf.set_attn_implementation({{"text_config": "{NAME}"}})'
)


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
    """Attend as a function of transformers' interface; shapes as in `Substitute`. The weights are never formed.

    Raises:
        RuntimeError: The layer passes an argument that is not known, and which SDPA would ignore.
    """
    if unknown := [name for name, given in kwargs.items() if given is not None and name not in KNOWN]:
        raise _not_plain(module, unknown[0], kwargs[unknown[0]])
    substitute = _substitute.get()
    if substitute is None:
        return plain(module, query, key, value, attention_mask, **kwargs), None
    return substitute(module, query, key, value, attention_mask, **kwargs), None


def plain(module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs) -> Tensor:
    """Call transformers' own SDPA function: the substitute that changes nothing."""
    return sdpa_attention_forward(module, query, key, value, mask, **kwargs)[0]


def require_plain(module: torch.nn.Module, arguments: Mapping[str, object], *, n: int) -> None:
    """Raise RuntimeError unless a layer asks for plain causal attention over a prompt of `n` tokens.

    Args:
        module: The attention module that calls.
        arguments: What it passes besides query, key, value and mask.
        n: Tokens of the prompt.
    """
    for name, value in arguments.items():
        if value is not None and not (name in KNOWN and KNOWN[name](value, n)):
            raise _not_plain(module, name, value)
    if arguments.get("scaling") is None:
        raise _not_plain(module, "scaling", None)
    if not getattr(module, "is_causal", True):
        raise _not_plain(module, "is_causal", False)


def require_in_use(decoder: torch.nn.Module) -> None:
    """Raise RuntimeError if a decoder's attention is not this one."""
    if (name := decoder.config._attn_implementation) != NAME:
        raise RuntimeError(f"the decoder's attention is {name!r}, which would ignore every intervention; {REMEDY}")


def require_one_call(layer: int, calls: int) -> None:
    """Raise RuntimeError unless a layer has called this attention function once."""
    if calls != 1:
        raise RuntimeError(
            f"layer {layer} called the attention function {NAME!r} {calls} times and not once, so interventions would "
            f"not act as they say; {REMEDY}"
        )


def _not_plain(module: torch.nn.Module, name: str, value: object) -> RuntimeError:
    shown = f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
    return RuntimeError(
        f"layer {getattr(module, 'layer_idx', '?')} of this decoder ({type(module).__name__}) asks for attention with "
        f"{name} {shown}, which is not computed here and would be left out without a word; such decoders, or this "
        "setting of theirs, are not supported"
    )


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
