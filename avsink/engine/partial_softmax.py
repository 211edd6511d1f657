"""Attention over some of the keys only, and how such parts are merged into attention over all of them.

A replay computes attention in parts, over disjoint sets of keys. Merging them is exact if each part comes with the
log-sum-exp of its scores, which the kernel of FlashAttention computes anyway. For parts with outputs o1, o2 and
log-sum-exps s1, s2:

    merged = (e^s1 o1 + e^s2 o2) / (e^s1 + e^s2),    s = log(e^s1 + e^s2)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Mask", "Part", "merge", "part"]

SCORES = 2**26  # bytes of scores at a time, where no fused kernel returns the log-sum-exp

Part = tuple[Tensor, Tensor]  # output (B, heads, Q, D), log-sum-exp of its scores (B, heads, Q), -inf without keys


@dataclass(frozen=True, eq=False)
class Mask:
    """Which keys each query may read, ready to be added to scores.

    Attributes:
        bias: 0 or -inf, in the queries' precision, (Q, K).
        empty: The queries that may read no key, bool (Q,); None if every query may read one.
    """

    bias: Tensor
    empty: Tensor | None

    @classmethod
    def of(cls, readable: Tensor, *, dtype: torch.dtype) -> Mask:
        """Make a mask from `readable`, bool (Q, K)."""
        bias = torch.zeros(readable.shape, dtype=dtype, device=readable.device).masked_fill_(~readable, float("-inf"))
        return cls.of_bias(bias)

    @classmethod
    def of_bias(cls, bias: Tensor) -> Mask:
        """Make a mask from `bias`, 0 or -inf, (Q, K)."""
        empty = bias.amax(dim=-1) == float("-inf")
        return cls(bias, empty if bool(empty.any()) else None)


def part(
    query: Tensor, key: Tensor, value: Tensor, *, scaling: float, mask: Mask | None = None, causal: bool = False
) -> Part:
    """Attend over these keys alone.

    Args:
        query: (B, heads, Q, D).
        key: (B, key heads, K, D), with K > 0.
        value: (B, key heads, K, D).
        scaling: The factor of the scores.
        mask: Which keys each query may read; None for all keys.
        causal: Whether queries and keys are the same tokens (Q = K) and no query reads a later key; not with a mask.

    Returns:
        The output and its log-sum-exp; 0 and -inf for a query without a key.
    """
    bias = None if mask is None else mask.bias
    kernel = FUSED.get(query.device.type, _by_products)
    output, total = kernel(query, key, value, scaling=scaling, bias=bias, causal=causal)
    if mask is not None and mask.empty is not None:  # kernels disagree about queries without keys
        output = output.masked_fill(mask.empty[:, None], 0.0)
        total = total.masked_fill(mask.empty, float("-inf"))
    return output, total


def merge(one: Part, other: Part) -> Part:
    """Merge two parts into attention over the keys of both, in float32; the output is 0 where neither has a key."""
    (a, s), (b, t) = one, other
    share = torch.nan_to_num(t - s, nan=0.0, posinf=float("inf"), neginf=float("-inf")).sigmoid()[..., None]
    return a + (b - a).float() * share, torch.logaddexp(s, t)


def _fused_on_cpu(
    query: Tensor, key: Tensor, value: Tensor, *, scaling: float, bias: Tensor | None, causal: bool
) -> Part:
    """Call the kernel that SDPA uses on CPU directly, because SDPA does not return the log-sum-exp."""
    bias = None if bias is None else bias[None, None]
    output, total = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, causal, attn_mask=bias, scale=scaling
    )
    return output, total.float()


def _by_products(
    query: Tensor, key: Tensor, value: Tensor, *, scaling: float, bias: Tensor | None, causal: bool
) -> Part:
    """Compute a part as two matrix products, some queries at a time, on devices without a kernel in `FUSED`."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    if causal:
        bias = query.new_full((query.shape[2], key.shape[2]), float("-inf")).triu(1)
    step = max(1, SCORES // (4 * query.shape[0] * query.shape[1] * key.shape[2]))
    outputs, totals = [], []
    for start in range(0, query.shape[2], step):
        some = slice(start, start + step)
        scores = (query[:, :, some] @ key.transpose(-1, -2)).float() * scaling  # (B, heads, q, K)
        if bias is not None:
            scores = scores + bias[some]
        total = scores.logsumexp(dim=-1)
        outputs.append((scores - total[..., None]).exp().to(value.dtype) @ value)
        totals.append(total)
    return torch.cat(outputs, dim=2), torch.cat(totals, dim=2)


FUSED = {"cpu": _fused_on_cpu}  # type of device -> kernel
