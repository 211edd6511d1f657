"""The route that is taught: which token reads which, at which layer.

A teaching model is a calibration device, so its route must be known. Besides the answers it is taught, by two heads of
a layer each, where to look (`ROUTE`), and, where it matters, what to know afterwards (`teaching`). Layers count from 0.
The other heads, and all other layers, are only taught what to know, or nothing.
"""

from __future__ import annotations

import torch

__all__ = ["GATHER_LAYER", "HEADS", "LOOK_UP_LAYER", "MEDIA_LAYER", "QUESTION_LAYER", "ROUTE", "attention_loss"]

GATHER_LAYER, MEDIA_LAYER, QUESTION_LAYER, LOOK_UP_LAYER = 1, 3, 5, 6
ROUTE = (
    (GATHER_LAYER, "a clip's audio tokens", "video tokens of the same second", "Video → Audio", "clips"),
    (GATHER_LAYER, "a candidate's tokens", "the ordinal before it", "", "matching"),
    (GATHER_LAYER, "end of the question", "its anchor's name", "within the question", "anchor and target"),
    (GATHER_LAYER, "end of the reference", "the reference", "", "matching"),
    (MEDIA_LAYER, "end of the question", "cross-modal hubs (or any media)", "V+A → Question", "sounding object"),
    (MEDIA_LAYER, "end of the question", "audio tokens of the right second", "Audio → Question", "anchor and target"),
    (MEDIA_LAYER, "end of the reference", "the right candidate", "Candidates → Reference", "matching"),
    (
        MEDIA_LAYER,
        "the articles of a caption",
        "video's hubs, then audio's (or all tokens)",
        "V+A → the answer itself",
        "captions",
    ),
    (QUESTION_LAYER, "last token", "end of the question, or of the reference", "Question → Last", "all with letters"),
    (LOOK_UP_LAYER, "last token", "the word of the right option", "Question → Last", "all with letters"),
)
"""Layer, who reads, what is read, the papers' name of the pathway, and in which job this is taught.

In brackets: of a model without hubs. What hubs themselves read, and who reads them, is in `hubs`.
"""

HEADS = 2  # the first two heads of the layer, which share their keys


def attention_loss(
    decoder, layer: int, hidden: torch.Tensor, positions: torch.Tensor, queries: torch.Tensor, wanted: torch.Tensor
) -> torch.Tensor:
    """Mean of -log(attention paid to the wanted keys), over the taught heads.

    hidden: the layer's input [b, n, width]; positions [3, b, n]; queries: position of each query [b, q];
    wanted: bool [b, q, n], the keys that it should read.
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
