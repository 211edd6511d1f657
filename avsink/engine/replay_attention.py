"""The attention of many steps at one layer, put together from parts that kernels compute without waste.

The queries of all steps stand side by side, as one sequence. What each may read is said by its step's `KeyPartition`:

1. clean keys below: read where they lie, by all queries at once that may read the same ones;
2. keys amid: the step's own, those that are lent or given, and clean ones between them, patch by patch;
3. keys with changed scores, which are few, with all their scores at hand;
4. the parts are merged. Equal steps side by side are one batch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from avsink.engine import partial_softmax
from avsink.engine.key_partition import Below, KeyPartition, Rescored
from avsink.engine.patches import Patch
from avsink.engine.record import States

__all__ = ["Masks", "ReplayAttention"]

FEW = 16  # queries that are attended all at once, with masks
NEVER = float("-inf")


class ReplayAttention:
    """The attention of many steps at one layer, their queries side by side, in the parts of `avsink.engine.key_partition`."""

    def __init__(self, states: States, layer: int, partitions: Sequence[KeyPartition], masks: Masks, *, lent):
        self.states, self.layer, self.masks, self.lent = states, layer, masks, lent
        self.runs = list(_runs(partitions))
        self.clean = states.keys[layer], states.values[layer]  # each (key heads, N, D)

    def __call__(self, module, query, key, value, mask, *, scaling, **kwargs) -> Tensor:
        """query (1, heads, R, D); key, value (1, key heads, R, D) -> (1, R, heads, D)."""
        self.scaling = scaling
        few = query.shape[2] <= FEW
        below = self._below_for_few(query) if few else self._below(query)
        if few and all(partition.alone for partition, _ in self.runs):
            amid = self._own_for_few(query, key, value)
        else:
            amid = self._amid(query, key, value)
        output, _ = amid if below is None else partial_softmax.merge(amid, below)
        return output.to(query.dtype).transpose(1, 2).contiguous()

    def _below(self, query: Tensor) -> partial_softmax.Part | None:
        """Every query and the clean keys that it may read before its step's start."""
        kinds: dict[bytes, tuple[Below, list[Tensor]]] = {}
        start = 0
        for partition, times in self.runs:
            starts = torch.arange(start, start + times * partition.size, partition.size)[:, None]
            for below in partition.below:
                kinds.setdefault(below.key, (below, []))[1].append((starts + below.queries).flatten())
            start += times * partition.size
        found = None
        for below, queries in kinds.values():
            queries, keys = torch.cat(queries), (clean[None, :, below.keys] for clean in self.clean)
            if len(kinds) == 1 and len(queries) == query.shape[2]:  # one kind stands in order
                return partial_softmax.part(query, *keys, scaling=self.scaling)
            found = found or _nothing(query)
            part = partial_softmax.part(query[:, :, queries], *keys, scaling=self.scaling)
            found[0][:, :, queries], found[1][:, :, queries] = part
        return found

    def _below_for_few(self, query: Tensor) -> partial_softmax.Part | None:
        """The same for few queries, all at once: a mask then costs less than copies of the keys that may be read."""
        upto = max(partition.start for partition, _ in self.runs)
        if not any(partition.below for partition, _ in self.runs):
            return None
        biases = [
            pad(partition.bias, (0, upto - partition.start), value=NEVER).repeat(times, 1)
            for partition, times in self.runs
        ]
        mask = partial_softmax.Mask.of_bias(torch.cat(biases).to(query))
        return partial_softmax.part(
            query, *(clean[None, :, :upto] for clean in self.clean), scaling=self.scaling, mask=mask
        )

    def _own_for_few(self, query: Tensor, key: Tensor, value: Tensor) -> partial_softmax.Part:
        """Few queries whose keys amid are their steps' own: all at once, no step partition another's."""
        own = torch.block_diag(*(partition.readable for partition, times in self.runs for _ in range(times)))
        mask = partial_softmax.Mask.of(own.bool().to(query.device), dtype=query.dtype)
        return partial_softmax.part(query, key, value, scaling=self.scaling, mask=mask)

    def _amid(self, query: Tensor, key: Tensor, value: Tensor) -> partial_softmax.Part:
        """Every query and the keys amid, one run of equal steps after another."""
        amid = query.new_empty(query.shape), query.new_empty(query.shape[:-1], dtype=torch.float32)
        start = lender = 0
        for partition, times in self.runs:
            stop, lending = start + times * partition.size, lender + times * partition.lent.numel()
            own = tuple(_by_step(x[0, :, start:stop], times) for x in (key, value))  # (times, key heads, rows, D)
            lent = partition.lent.numel() and tuple(_by_step(x[:, lender:lending], times) for x in self.lent)
            keys = self._keys_amid(partition, own, lent)
            queries = _by_step(query[0, :, start:stop], times)
            found = self._attend(partition, queries, keys)
            for changed in partition.rescored:
                self._rescore(changed, queries, keys, found)
            for into, rows in zip(amid, found, strict=True):
                into[0, :, start:stop] = rows.transpose(0, 1).flatten(1, 2)
            start, lender = stop, lending
        return amid

    def _keys_amid(self, partition: KeyPartition, own: tuple[Tensor, Tensor], lent) -> tuple[Tensor, Tensor]:
        """Keys and values amid, each (times, key heads, A, D)."""
        if partition.whole:
            return own
        found = []
        for index, clean in enumerate(self.clean):
            keys = clean[:, partition.amid].repeat(len(own[index]), 1, 1, 1)
            for at, positions, states in partition.given:
                other = (states.keys, states.values)[index][self.layer][:, positions]
                keys[:, :, at] = other.to(keys.device)
            if partition.lent.numel():
                keys[:, :, partition.lent] = lent[index]
            keys[:, :, partition.own] = own[index]
            found.append(keys)
        return tuple(found)

    def _attend(self, partition: KeyPartition, queries: Tensor, keys: tuple[Tensor, Tensor]) -> partial_softmax.Part:
        """Every patch of the keys amid; queries (times, heads, rows, D)."""
        found = None
        for group in partition.patches:
            if group[0].queries.shape == (1, partition.size):  # all of them, in order
                some = self._patch(group[0], queries, keys)
            else:
                some = _nothing(queries)
                for patch in group:
                    at = patch.queries.flatten()
                    some[0][:, :, at], some[1][:, :, at] = self._patch(patch, queries[:, :, at], keys)
            found = some if found is None else partial_softmax.merge(found, some)
        return _nothing(queries) if found is None else found

    def _patch(self, patch: Patch, queries: Tensor, keys: tuple[Tensor, Tensor]) -> partial_softmax.Part:
        """queries: those of the patch, (times, heads, F q, D) -> the same shape, and their log-sum-exps."""
        if patch.keys.shape[1] == 0:
            return _nothing(queries)
        if patch.keys.shape != (1, keys[0].shape[2]):
            keys = tuple(x[:, :, patch.keys.flatten()] for x in keys)
        if patch.how == "filled":
            filled = queries.new_zeros(*queries.shape[:2], patch.keys.shape[1], queries.shape[-1])
            filled[:, :, patch.places] = queries
            output, total = partial_softmax.part(filled, *keys, scaling=self.scaling, causal=True)
            return output[:, :, patch.places], total[:, :, patch.places]
        if patch.how == "masked":
            return partial_softmax.part(queries, *keys, scaling=self.scaling, mask=self.masks.of(patch, like=queries))
        times, equal = len(queries), len(patch.queries)
        queries, *keys = (x.unflatten(2, (equal, -1)).transpose(1, 2).flatten(0, 1) for x in (queries, *keys))
        causal = patch.how == "causal" and queries.shape[2] > 1
        found = partial_softmax.part(queries, *keys, scaling=self.scaling, causal=causal)
        return tuple(x.unflatten(0, (times, equal)).transpose(1, 2).flatten(2, 3) for x in found)

    def _rescore(
        self, changed: Rescored, queries: Tensor, keys: tuple[Tensor, Tensor], found: partial_softmax.Part
    ) -> None:
        """Merge keys with changed scores into what has been found without them."""
        if changed.below:
            keys = tuple(clean[None] for clean in self.clean)
        groups = queries.shape[1] // keys[0].shape[1]
        key, value = (x[:, :, changed.keys].repeat_interleave(groups, dim=1).float() for x in keys)
        scores = queries[:, :, changed.queries].float() @ key.transpose(-1, -2) * self.scaling  # (times, heads, q, K)
        scores = changed.score(scores).masked_fill(~changed.readable.to(scores.device), NEVER)
        total = scores.logsumexp(dim=-1)
        output = (scores - total[..., None]).exp().nan_to_num(0.0) @ value
        at = changed.queries
        merged = partial_softmax.merge((found[0][:, :, at], found[1][:, :, at]), (output, total))
        found[0][:, :, at], found[1][:, :, at] = merged[0].to(found[0].dtype), merged[1]


def _nothing(queries: Tensor) -> partial_softmax.Part:
    """What queries read of no keys."""
    return torch.zeros_like(queries), queries.new_full(queries.shape[:-1], NEVER, dtype=torch.float32)


def _runs(partitions: Sequence[KeyPartition]) -> Iterator[tuple[KeyPartition, int]]:
    """Equal partitions side by side, and how many of them."""
    at = 0
    while at < len(partitions):
        times = 1
        while at + times < len(partitions) and partitions[at + times] is partitions[at]:
            times += 1
        yield partitions[at], times
        at += times


def _by_step(side_by_side: Tensor, times: int) -> Tensor:
    """(heads, times x rows, D) -> (times, heads, rows, D), without copying."""
    return side_by_side.unflatten(1, (times, -1)).transpose(0, 1)


class Masks:
    """Masks that have been made, the latest ones, up to a number of bytes."""

    def __init__(self, most: int):
        self.most, self.bytes, self.made = most, 0, OrderedDict()

    def of(self, patch: Patch, *, like: Tensor) -> partial_softmax.Mask:
        key = patch, like.device
        if key not in self.made:
            mask = partial_softmax.Mask.of(patch.readable.to(like.device), dtype=like.dtype)
            self.made[key] = mask
            self.bytes += mask.bias.nbytes
            while self.bytes > self.most and len(self.made) > 1:
                self.bytes -= self.made.popitem(last=False)[1].bias.nbytes
        self.made.move_to_end(key)
        return self.made[key]
