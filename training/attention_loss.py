"""The loss that teaches where to look: how much attention a query pays to the keys that it should read."""

from __future__ import annotations

import torch

__all__ = ["HEADS", "attention_loss"]

HEADS = 2  # the first two heads of a layer are taught; they share their keys


def attention_loss(
    decoder, layer: int, hidden: torch.Tensor, positions: torch.Tensor, queries: torch.Tensor, wanted: torch.Tensor
) -> torch.Tensor:
    """The mean of -log(attention paid to the wanted keys) over queries and taught heads.

    Args:
        decoder: The text decoder.
        layer: The layer.
        hidden: Its input, [b, n, width].
        positions: Position ids, [3, b, n].
        queries: The index of each query in the prompt, [b, q].
        wanted: Which keys it should read, bool [b, q, n].
    """
    from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import apply_rotary_pos_emb

    block = decoder.layers[layer]
    attention, normed = block.self_attn, block.input_layernorm(hidden)
    dim = attention.head_dim
    rows = torch.arange(len(hidden))[:, None]
    q = attention.q_proj(normed[rows, queries])[..., : HEADS * dim]  # [b, q, heads * d]
    q = q.unflatten(-1, (HEADS, dim)).transpose(1, 2)  # [b, heads, q, d]
    k = attention.k_proj(normed)[..., :dim].unsqueeze(1)  # [b, 1, n, d]
    cos, sin = decoder.rotary_emb(hidden, positions)  # [b, n, d]
    _, k = apply_rotary_pos_emb(k, k, cos, sin)
    q, _ = apply_rotary_pos_emb(q, q, cos[rows, queries], sin[rows, queries])
    scores = (q @ k.mT) * attention.scaling  # [b, heads, q, n]
    future = torch.arange(hidden.shape[1]) > queries[..., None]  # [b, q, n]
    scores = scores.masked_fill(future[:, None], -torch.inf)
    chosen = scores.masked_fill(~wanted[:, None], -torch.inf).logsumexp(-1)
    return (scores.logsumexp(-1) - chosen).mean()
