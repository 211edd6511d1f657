"""Patches: sets of queries and keys such that one call of a fused kernel attends them, at best without a mask.

Cut edges make a mask of queries x keys, and a kernel with a mask computes every score, the forbidden ones too. But rows
that have lost the same keys, and what they have left, are again a short causal sequence:

1. rows are sorted into kinds by the keys that they may read. Few kinds: one patch each;
2. many kinds (each frame cut from all others): what all of them may read is one patch for all; what only a kind may
   read is one for each, and those of equal size are computed as a batch. The two are merged by log-sum-exp;
3. where queries and keys are the same tokens, or nearly so, a patch is causal; where all keys come first, it is open.
   Only what is neither needs a mask, and only its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Patch", "patches"]

WORTH = 2**16  # scores; less is computed with a mask at once
KINDS = 4  # of rows, that get a patch each


@dataclass(frozen=True, eq=False)
class Patch:
    """F equal patches of q queries and k keys each.

    queries: indices into the step's rows, (F, q). keys: indices into the keys amid, (F, k).
    how: `open`, every key may be read; `causal`, queries and keys are the same tokens; `filled`, F = 1, the queries are
    most of the keys' tokens, `places` (q,); `masked`, F = 1, by `readable`, bool (q, k).
    """

    queries: Tensor
    keys: Tensor
    how: Literal["open", "causal", "filled", "masked"]
    places: Tensor | None = None
    readable: Tensor | None = None


def patches(rows: Tensor, amid: Tensor, edges: Sequence[tuple[Tensor, Tensor]]) -> tuple[tuple[Patch, ...], ...]:
    """Groups of patches. No query is twice in one group; the groups are to be merged, and a query may be in none.

    rows, amid: positions of queries (R,) and keys (A,), sorted. edges: (indices into rows, indices into amid), cut.
    """
    every_row, every_key = torch.arange(len(rows)), torch.arange(len(amid))
    if not edges or len(rows) * len(amid) < WORTH:
        return ((_patch(rows, amid, every_row, every_key, edges),),)
    kinds = _kinds(len(rows), len(amid), edges)
    if len(kinds) <= KINDS:
        first = tuple(_patch(rows, amid, queries, keys.nonzero()[:, 0]) for queries, keys in kinds if keys.any())
        return (first,) if first else ()

    whole = [queries for queries, keys in kinds if keys.all()]
    cut = [(queries, keys) for queries, keys in kinds if not keys.all()]
    shared = torch.stack([keys for _, keys in cut]).all(dim=0)
    together = torch.cat([queries for queries, _ in cut]).sort().values
    first = [_patch(rows, amid, queries, every_key) for queries in whole]
    if shared.any():
        first.append(_patch(rows, amid, together, shared.nonzero()[:, 0]))
    own = [_patch(rows, amid, queries, left.nonzero()[:, 0]) for queries, keys in cut if (left := keys & ~shared).any()]
    return tuple(group for group in (tuple(first), tuple(_batched(own))) if group)


def _kinds(n_rows: int, n_keys: int, edges: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Rows that may read the same keys, but for causality: (indices into rows, bool (A,))."""
    lost = torch.zeros(len(edges), n_rows, dtype=torch.bool)
    for edge, (queries, _) in enumerate(edges):
        lost[edge, queries] = True
    kinds, of_row = lost.unique(dim=1, return_inverse=True)  # (edges, kinds), (R,)
    found: dict[bytes, tuple[Tensor, Tensor]] = {}
    for kind in range(kinds.shape[1]):
        keys = torch.ones(n_keys, dtype=torch.bool)
        for flag, (_, source) in zip(kinds[:, kind], edges, strict=True):
            if flag:
                keys[source] = False
        queries = (of_row == kind).nonzero()[:, 0]
        before, _ = found.get(keys.numpy().tobytes(), (queries[:0], None))
        found[keys.numpy().tobytes()] = torch.cat([before, queries]).sort().values, keys
    return list(found.values())


def _patch(
    rows: Tensor, amid: Tensor, queries: Tensor, keys: Tensor, edges: Sequence[tuple[Tensor, Tensor]] = ()
) -> Patch:
    keys = keys[: int(torch.searchsorted(amid[keys], rows[queries[-1]], right=True))]  # the others come too late
    at, of = rows[queries], amid[keys]
    if edges:
        readable = of <= at[:, None]
        for cut, source in edges:
            readable[cut[:, None], source[source < len(keys)]] = False
        return Patch(queries[None], keys[None], "masked", readable=readable)
    if len(of) == 0 or of[-1] <= at[0]:
        return Patch(queries[None], keys[None], "open")
    if torch.equal(at, of):
        return Patch(queries[None], keys[None], "causal")
    if 2 * len(at) >= len(of) and torch.isin(at, of).all():
        return Patch(queries[None], keys[None], "filled", places=torch.searchsorted(of, at))
    return Patch(queries[None], keys[None], "masked", readable=of <= at[:, None])


def _batched(own: Sequence[Patch]) -> list[Patch]:
    """Causal patches of one size become one patch of many."""
    alike: dict[object, list[Patch]] = {}
    for patch in own:
        alike.setdefault(patch.keys.shape if patch.how == "causal" else patch, []).append(patch)
    return [group[0] if len(group) == 1 else _stacked(group) for group in alike.values()]


def _stacked(group: Sequence[Patch]) -> Patch:
    return Patch(torch.cat([patch.queries for patch in group]), torch.cat([patch.keys for patch in group]), "causal")
