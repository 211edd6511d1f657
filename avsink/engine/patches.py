"""Patches: sets of queries and keys such that one call of a fused kernel attends them, at best without a mask.

Cut edges make a mask of queries x keys, and a kernel with a mask computes every score, also those that are masked. But
queries that have lost the same keys form, with the keys that they have left, another short causal sequence:

1. sort the queries into kinds: those of one kind may read the same keys. If there are few kinds, each gets one patch;
2. if there are many (each frame cut off from all others), the keys that all of these kinds may read make one patch for
   all their queries, and the other keys of each kind make one patch for that kind; patches of equal size are computed
   as one batch. The two results are merged by log-sum-exp;
3. if queries and keys are the same tokens, or nearly so, the patch is causal; if all keys come before all queries, it
   is open. Only a patch that is neither needs a mask, over its own keys alone.

R is the number of a step's rows, which are the queries, and S the number of keys in its suffix (`KeyPartition`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Patch", "patches"]

WORTH = 2**16  # scores; with fewer of them, one mask over all is cheaper than patches
KINDS = 4  # up to so many kinds of queries get a patch each


@dataclass(frozen=True, eq=False)
class Patch:
    """F patches of equal shape, q queries and k keys each.

    Attributes:
        queries: Indices into the step's rows, (F, q).
        keys: Indices into the suffix, (F, k).
        how: How they are attended. `open`: every query may read every key. `causal`: queries and keys are the same
            tokens. `filled` (F = 1): the queries are most of the keys' tokens; the missing ones are filled with zeros,
            and the patch is then causal. `masked` (F = 1): by `readable`.
        places: Of a `filled` patch, where among the keys each query is, (q,).
        readable: Of a `masked` patch, which keys may be read, bool (q, k).
    """

    queries: Tensor
    keys: Tensor
    how: Literal["open", "causal", "filled", "masked"]
    places: Tensor | None = None
    readable: Tensor | None = None


def patches(rows: Tensor, suffix: Tensor, edges: Sequence[tuple[Tensor, Tensor]]) -> tuple[tuple[Patch, ...], ...]:
    """Cut causal attention without some edges into patches.

    Args:
        rows: Positions of the queries, sorted, (R,).
        suffix: Positions of the keys, sorted, (S,).
        edges: The cut edges: (indices into rows, indices into suffix).

    Returns:
        Groups of patches, whose results are to be merged. No query is twice in one group; a query may be in none.
    """
    every_row, every_key = torch.arange(len(rows)), torch.arange(len(suffix))
    if not edges or len(rows) * len(suffix) < WORTH:
        return ((_patch(rows, suffix, every_row, every_key, edges),),)
    kinds = _kinds(len(rows), len(suffix), edges)
    if len(kinds) <= KINDS:
        first = tuple(_patch(rows, suffix, queries, keys.nonzero()[:, 0]) for queries, keys in kinds if keys.any())
        return (first,) if first else ()

    uncut = [queries for queries, keys in kinds if keys.all()]
    cut = [(queries, keys) for queries, keys in kinds if not keys.all()]
    shared = torch.stack([keys for _, keys in cut]).all(dim=0)
    together = torch.cat([queries for queries, _ in cut]).sort().values
    first = [_patch(rows, suffix, queries, every_key) for queries in uncut]
    if shared.any():
        first.append(_patch(rows, suffix, together, shared.nonzero()[:, 0]))
    own = [
        _patch(rows, suffix, queries, left.nonzero()[:, 0]) for queries, keys in cut if (left := keys & ~shared).any()
    ]
    return tuple(group for group in (tuple(first), tuple(_batched(own))) if group)


def _kinds(n_rows: int, n_keys: int, edges: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Group the rows that may read the same keys, causality apart: (indices into rows, bool (S,))."""
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
    rows: Tensor, suffix: Tensor, queries: Tensor, keys: Tensor, edges: Sequence[tuple[Tensor, Tensor]] = ()
) -> Patch:
    """Make one patch of these queries and keys, without the edges."""
    keys = keys[: int(torch.searchsorted(suffix[keys], rows[queries[-1]], right=True))]  # later keys are read by none
    at, of = rows[queries], suffix[keys]  # positions: (q,), (k,)
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
    """Join causal patches of equal size into one."""
    alike: dict[object, list[Patch]] = {}
    for patch in own:
        alike.setdefault(patch.keys.shape if patch.how == "causal" else patch, []).append(patch)
    return [group[0] if len(group) == 1 else _stacked(group) for group in alike.values()]


def _stacked(group: Sequence[Patch]) -> Patch:
    return Patch(torch.cat([patch.queries for patch in group]), torch.cat([patch.keys for patch in group]), "causal")
