"""A whole decoder of the Qwen2 kind, row by row, with every intervention of the papers.

At each layer, for a row x at position p (RMSNorm, rotary positions, grouped queries, SwiGLU):

    h = x + O · concat over heads of Σ_j softmax_j(A_j) v_j,     A_j = q · k_j / sqrt(D),  j over the keys that it reads
    out = h + W_down (silu(W_gate n(h)) ∘ W_up n(h))

Interventions are plain lists:

    ("block", sources, targets, layers)            no score of these edges
    ("reweight", boost, damp, targets, layers, α)  A + α|A| at boost, A - α|A| at damp
    ("restore", positions, layers, other)          rows enter these layers as in another `Pass`
    ("discard", positions, after)                  rows are taken out after this layer; others keep their positions
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Pass", "run"]


@dataclass(frozen=True)
class Pass:
    """One pass over N tokens; rows that were taken out are NaN from then on.

    inputs: what enters each layer, (N, width).
    weights: the attention weights of each layer, (heads, N, N); 0 where nothing is read.
    logits: of the next token at each position, (N, vocabulary).
    """

    inputs: list[Tensor]
    weights: list[Tensor]
    logits: Tensor


def run(model, inputs, plan: Sequence[tuple] = ()) -> Pass:
    """Run a prompt of embeddings through the decoder of `model`, in float64."""
    config = model.decoder.config
    plan = [
        tuple(field if isinstance(field, (str, int, float, Pass)) else _set(field) for field in one) for one in plan
    ]
    given = {name: tensor.double() for name, tensor in model.hf.state_dict().items() if tensor.is_floating_point()}
    states = inputs.tensors["inputs_embeds"][0].double()
    angles = _angles(config, inputs.tensors["position_ids"])
    alive = list(range(len(states)))
    entered, seen = [], []
    for layer in range(config.num_hidden_layers):
        for _, positions, after in (one for one in plan if one[0] == "discard"):
            if layer == after + 1:
                alive = [p for p in alive if p not in positions]
        rows = torch.full_like(states, math.nan)
        rows[alive] = states[alive]
        for one in plan:
            if one[0] == "restore" and layer in one[2]:
                for p in one[1] & set(alive):
                    rows[p] = one[3].inputs[layer][p]
        entered.append(rows)
        own = {name.split(f"layers.{layer}.")[1]: w for name, w in given.items() if f"layers.{layer}." in name}
        states, weights = _layer(config, own, rows, angles, alive, [one for one in plan if _changes(one, layer)])
        seen.append(weights)
    normed = _normed(config, states, given["model.norm.weight"])
    return Pass(entered, seen, normed @ given["lm_head.weight"].T)


def _changes(one: tuple, layer: int) -> bool:
    return one[0] == "block" and layer in one[3] or one[0] == "reweight" and layer in one[4]


def _layer(config, own: dict[str, Tensor], rows: Tensor, angles: Tensor, alive: list[int], changes: list[tuple]):
    """One layer: rows (N, width) -> rows (N, width), attention weights (heads, N, N)."""
    heads, key_heads = config.num_attention_heads, config.num_key_value_heads
    normed = _normed(config, rows, own["input_layernorm.weight"])
    query, key, value = (
        (normed @ own[f"self_attn.{name}_proj.weight"].T + own[f"self_attn.{name}_proj.bias"]).unflatten(-1, (of, -1))
        for name, of in (("q", heads), ("k", key_heads), ("v", key_heads))
    )  # (N, heads or key heads, D)
    query, key = _turned(query, angles), _turned(key, angles)
    shared = [head // (heads // key_heads) for head in range(heads)]  # neighbouring heads share their keys
    key, value, size = key[:, shared], value[:, shared], query.shape[-1]
    weights = torch.zeros(heads, len(rows), len(rows), dtype=torch.float64)
    mixed = torch.full((len(rows), heads, size), math.nan, dtype=torch.float64)
    for i in alive:
        blocked = {j for kind, sources, targets, *_ in changes if kind == "block" and i in targets for j in sources}
        keys = [j for j in alive if j <= i and j not in blocked]
        if not keys:
            mixed[i] = 0.0
            continue
        scores = (key[keys] * query[i]).sum(-1).T / math.sqrt(size)  # (heads, keys)
        for _, boost, damp, _, _, alpha in (one for one in changes if one[0] == "reweight" and i in one[3]):
            for at, j in enumerate(keys):
                if j in boost:
                    scores[:, at] = scores[:, at] + alpha * scores[:, at].abs()
                elif j in damp:
                    scores[:, at] = scores[:, at] - alpha * scores[:, at].abs()
        powers = (scores - scores.max(-1, keepdim=True).values).exp()
        weights[:, i, keys] = powers / powers.sum(-1, keepdim=True)
        mixed[i] = (weights[:, i, keys].T[:, :, None] * value[keys]).sum(0)
    rows = rows + mixed.flatten(1) @ own["self_attn.o_proj.weight"].T
    normed = _normed(config, rows, own["post_attention_layernorm.weight"])
    gate, up = normed @ own["mlp.gate_proj.weight"].T, normed @ own["mlp.up_proj.weight"].T
    return rows + (gate / (1 + torch.exp(-gate)) * up) @ own["mlp.down_proj.weight"].T, weights


def _normed(config, rows: Tensor, weight: Tensor) -> Tensor:
    return rows / ((rows**2).sum(-1, keepdim=True) / rows.shape[-1] + config.rms_norm_eps) ** 0.5 * weight


def _angles(config, positions: Tensor) -> Tensor:
    """By which angle each pair of dimensions is turned, (N, D / 2).

    Pair j turns by p θ^(-2j/D). With three axes, the first pairs turn by the time p_t, the next ones by the height, the
    last ones by the width (`mrope_section`).
    """
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    facts = config.rope_parameters
    sections = facts.get("mrope_section") or [size // 2]
    axis = [k for k, pairs in enumerate(sections) for _ in range(pairs)]
    table = positions.double().reshape(-1, positions.shape[-1])  # (axes, N)
    return torch.stack([table[axis[j]] * facts["rope_theta"] ** (-2 * j / size) for j in range(size // 2)], dim=-1)


def _turned(rows: Tensor, angles: Tensor) -> Tensor:
    """Turn the pairs (x_j, x_{j + D/2}) of each head: rows (N, heads, D)."""
    half = rows.shape[-1] // 2
    cosine, sine = angles.cos()[:, None], angles.sin()[:, None]
    one, two = rows[..., :half], rows[..., half:]
    return torch.cat([one * cosine - two * sine, two * cosine + one * sine], dim=-1)


def _set(numbers) -> set[int]:
    return {int(number) for number in numbers}
