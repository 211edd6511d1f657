"""The one attention function: scaled dot products, from which edges can be taken away (Flow section 4.1).

An *edge* is a pair (query position, key position). Flow sets the mask of the blocked edges to -inf; here:

1. the decoder is told, by name, to use the function below (`set_attn_implementation({"text_config": NAME})`);
2. `blocked(edges)` says, for a while, which edges are gone at which layers;
3. at a layer that loses edges, the function writes them into a boolean mask, True = may be read,  (B, 1, Q, K)
   and hands everything to transformers' own SDPA function;
4. a query that has lost all its keys reads nothing: its output is 0, on every backend and in every precision;
5. at every other layer, and outside of `blocked`, it *is* transformers' SDPA function, to the last bit.

Two registrations are needed. The mask function is the one that is easily forgotten: without an entry of the same name,
transformers passes no mask at all, and the decoder becomes non-causal in silence.

Edges reach the function through a context variable, not through keyword arguments: `generate` refuses unknown ones, and
the audio and vision towers would be handed them, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from avsink.models.torchvision_shim import enable_torchvision

enable_torchvision()  # before anything of transformers is imported
from transformers import AttentionInterface, AttentionMaskInterface  # noqa: E402
from transformers.integrations.sdpa_attention import sdpa_attention_forward  # noqa: E402
from transformers.masking_utils import sdpa_mask  # noqa: E402

__all__ = ["NAME", "Edges", "attention", "blocked"]

NAME = "avsink"  # a neutral name: ones that contain "sdpa" or "flex_attention" trigger transformers' dispatch checks


@dataclass(frozen=True)
class Edges:
    """All edges from `source` (keys) to `target` (queries), in one element of the batch.

    element: index into the batch.
    source, target: positions in the prompt; LongTensors of any length.
    """

    element: int
    source: Tensor
    target: Tensor


_blocked: ContextVar[Mapping[int, Iterable[Edges]]] = ContextVar("blocked", default=MappingProxyType({}))


@contextmanager
def blocked(edges: Mapping[int, Iterable[Edges]]) -> Iterator[None]:
    """Within this context, layer `l` of a decoder that runs on `NAME` does without `edges[l]`."""
    token = _blocked.set(edges)
    try:
        yield
    finally:
        _blocked.reset(token)


def attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs
) -> tuple[Tensor, None]:
    """SDPA without the edges that are blocked at this layer.

    query: (B, heads, Q, D); key, value: (B, key heads, K, D); the queries are the last Q of the K positions.
    Returns the output (B, Q, heads, D); the weights are never formed.
    """
    edges = _blocked.get().get(module.layer_idx)
    if not edges:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    mask = _readable(attention_mask, query=query, key=key)  # (B, 1, Q, K)
    first = key.shape[2] - query.shape[2]  # position of the first query
    for edge in edges:
        source, target = edge.source.to(mask.device), edge.target.to(mask.device)  # layers may lie on several devices
        rows = target[target >= first] - first
        mask[edge.element, 0, rows[:, None], source] = False
    # What a softmax over nothing gives depends on backend and version (0, NaN, or uniform over all keys, future ones
    # included). So such a query is given every key, and its output is then set to 0.
    empty = ~mask.any(dim=-1, keepdim=True)  # (B, 1, Q, 1)
    output, _ = sdpa_attention_forward(module, query, key, value, mask | empty, **kwargs)
    return output.masked_fill(empty.transpose(1, 2), 0.0), None  # (B, Q, heads, D)


def _readable(attention_mask: Tensor | None, *, query: Tensor, key: Tensor) -> Tensor:
    """The mask that SDPA would have applied, as a boolean tensor (B, 1, Q, K) of our own to write in."""
    n_batch, n_queries, n_keys = query.shape[0], query.shape[2], key.shape[2]
    if attention_mask is None:  # transformers' way to say: causal, nothing padded
        causal = torch.ones(n_queries, n_keys, dtype=torch.bool, device=query.device).tril(n_keys - n_queries)
        return causal.expand(n_batch, 1, -1, -1).clone()
    if attention_mask.dtype != torch.bool:
        raise TypeError(f"expected a boolean attention mask (True = may be read), got {attention_mask.dtype}")
    return attention_mask.expand(n_batch, 1, n_queries, n_keys).clone()


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
