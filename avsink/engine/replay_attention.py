"""The attention of many steps at one layer, merged from parts that kernels compute without waste.

The queries of all steps form one sequence, step after step. The `KeyPartition` of each step says what they may read:

1. prefix: clean keys are read where they are, by all queries at once that may read the same ones, whatever their step;
2. suffix: each step's own keys, its key-only and given ones, and the clean ones between them, patch by patch;
3. keys with changed scores: they are few, so all their scores are computed;
4. the parts are merged. Equal steps that follow each other are computed as one batch.

If there are few queries in all, a mask costs less than the copies that avoid it: the prefixes of all steps are then
attended at once with one mask, and so are the suffixes if they hold only the steps' own keys.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from avsink.engine import partial_softmax
from avsink.engine.attention import require_plain
from avsink.engine.key_partition import KeyPartition, Prefix, Rescored
from avsink.engine.patches import Patch
from avsink.engine.states import States

__all__ = ["Masks", "ReplayAttention"]

FEW = 16  # up to so many queries are attended all at once, with masks
NEVER = float("-inf")


class ReplayAttention:
    """A substitute for the attention function: the attention of many steps at one layer.

    R is the number of queries of all steps together. Within one batch of `times` equal steps, r is the number of
    queries of each, and S the number of keys in its suffix.

    Args:
        states: The states of the clean run.
        layer: The layer.
        partitions: The key partition of each step, in order; equal steps share one object.
        masks: The masks made so far.
        key_only: Keys and values of the key-only rows of all steps, step after step, each (key heads, rows, D); None if
            there are none.
    """

    def __init__(
        self,
        states: States,
        layer: int,
        partitions: Sequence[KeyPartition],
        masks: Masks,
        *,
        key_only: tuple[Tensor, Tensor] | None,
    ):
        self.states, self.layer, self.masks, self.key_only = states, layer, masks, key_only
        self.batches = list(_batches(partitions))
        self.clean = states.keys[layer], states.values[layer]  # each (key heads, N, D)

    def __call__(self, module, query, key, value, mask, *, scaling, **kwargs) -> Tensor:
        """Compute the attention of all queries, in place of the model's attention function.

        Args:
            module: The attention module that calls.
            query: Queries of all steps, (1, heads, R, D).
            key: Keys of the same rows, (1, key heads, R, D).
            value: Values of the same rows, (1, key heads, R, D).
            mask: None; the key partitions say what is read.
            scaling: The factor of the scores.
            **kwargs: What else the layer passes, none of which may change attention.

        Returns:
            The attention output, (1, R, heads, D).

        Raises:
            RuntimeError: The layer asks for other attention than the plain one.
        """
        require_plain(module, {"scaling": scaling, "attention_mask": mask, **kwargs}, n=self.states.n)
        self.scaling = scaling
        few = query.shape[2] <= FEW
        prefix = self._prefix_for_few(query) if few else self._prefix(query)
        if few and all(partition.own_only and not partition.rescored for partition, _ in self.batches):
            suffix = self._own_for_few(query, key, value)
        else:
            suffix = self._suffix(query, key, value)
        output, _ = suffix if prefix is None else partial_softmax.merge(suffix, prefix)
        return output.to(query.dtype).transpose(1, 2).contiguous()

    def _prefix(self, query: Tensor) -> partial_softmax.Part | None:
        """Attend the prefixes: every query and the clean keys that it reads before its step's `start`."""
        kinds: dict[bytes, tuple[Prefix, list[Tensor]]] = {}
        start = 0
        for partition, times in self.batches:
            starts = torch.arange(start, start + times * partition.size, partition.size)[:, None]
            for prefix in partition.prefixes:
                kinds.setdefault(prefix.key, (prefix, []))[1].append((starts + prefix.queries).flatten())
            start += times * partition.size
        found = None
        for prefix, queries in kinds.values():
            queries, keys = torch.cat(queries), (clean[None, :, prefix.keys] for clean in self.clean)
            if len(kinds) == 1 and len(queries) == query.shape[2]:  # all queries, in order
                return partial_softmax.part(query, *keys, scaling=self.scaling)
            found = found or _nothing(query)
            part = partial_softmax.part(query[:, :, queries], *keys, scaling=self.scaling)
            found[0][:, :, queries], found[1][:, :, queries] = part
        return found

    def _prefix_for_few(self, query: Tensor) -> partial_softmax.Part | None:
        """Attend the prefixes of few queries all at once: a mask then costs less than copies of the readable keys."""
        upto = max(partition.start for partition, _ in self.batches)
        if not any(partition.prefixes for partition, _ in self.batches):
            return None
        biases = [
            pad(partition.bias, (0, upto - partition.start), value=NEVER).repeat(times, 1)
            for partition, times in self.batches
        ]
        mask = partial_softmax.Mask.of_bias(torch.cat(biases).to(query))
        return partial_softmax.part(
            query, *(clean[None, :, :upto] for clean in self.clean), scaling=self.scaling, mask=mask
        )

    def _own_for_few(self, query: Tensor, key: Tensor, value: Tensor) -> partial_softmax.Part:
        """Attend suffixes that hold only own keys, few queries all at once; no step reads another step's keys."""
        own = torch.block_diag(*(partition.readable for partition, times in self.batches for _ in range(times)))
        mask = partial_softmax.Mask.of(own.bool().to(query.device), dtype=query.dtype)
        return partial_softmax.part(query, key, value, scaling=self.scaling, mask=mask)

    def _suffix(self, query: Tensor, key: Tensor, value: Tensor) -> partial_softmax.Part:
        """Attend the suffixes, and keys with changed scores, one batch of equal steps after another."""
        suffix = query.new_empty(query.shape), query.new_empty(query.shape[:-1], dtype=torch.float32)
        start = key_only_start = 0
        for partition, times in self.batches:
            stop = start + times * partition.size
            key_only_stop = key_only_start + times * partition.key_only.numel()
            own = tuple(_by_step(x[0, :, start:stop], times) for x in (key, value))  # (times, key heads, r, D)
            key_only = partition.key_only.numel() and tuple(
                _by_step(x[:, key_only_start:key_only_stop], times) for x in self.key_only
            )
            keys = self._suffix_keys(partition, own, key_only)
            queries = _by_step(query[0, :, start:stop], times)
            found = self._attend(partition, queries, keys)
            for rescored in partition.rescored:
                self._rescore(rescored, queries, keys, found)
            for into, rows in zip(suffix, found, strict=True):
                into[0, :, start:stop] = rows.transpose(0, 1).flatten(1, 2)
            start, key_only_start = stop, key_only_stop
        return suffix

    def _suffix_keys(self, partition: KeyPartition, own: tuple[Tensor, Tensor], key_only) -> tuple[Tensor, Tensor]:
        """Collect the keys and values of a suffix, each (times, key heads, S, D)."""
        if partition.own_only:
            return own
        found = []
        for index, clean in enumerate(self.clean):
            keys = clean[:, partition.suffix].repeat(len(own[index]), 1, 1, 1)
            for at, positions, states in partition.given:
                other = (states.keys, states.values)[index][self.layer][:, positions]
                keys[:, :, at] = other.to(keys.device)
            if partition.key_only.numel():
                keys[:, :, partition.key_only] = key_only[index]
            keys[:, :, partition.own] = own[index]
            found.append(keys)
        return tuple(found)

    def _attend(self, partition: KeyPartition, queries: Tensor, keys: tuple[Tensor, Tensor]) -> partial_softmax.Part:
        """Attend every patch of a suffix and merge the results; queries (times, heads, r, D)."""
        found = None
        for group in partition.patches:
            if group[0].queries.shape == (1, partition.size):  # all queries, in order
                some = self._patch(group[0], queries, keys)
            else:
                some = _nothing(queries)
                for patch in group:
                    at = patch.queries.flatten()
                    some[0][:, :, at], some[1][:, :, at] = self._patch(patch, queries[:, :, at], keys)
            found = some if found is None else partial_softmax.merge(found, some)
        return _nothing(queries) if found is None else found

    def _patch(self, patch: Patch, queries: Tensor, keys: tuple[Tensor, Tensor]) -> partial_softmax.Part:
        """Attend one patch: its queries (times, heads, F q, D) -> the same shape, and their log-sum-exps."""
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
        # (times, heads, F q, D) -> (times F, heads, q, D), and back
        queries, *keys = (x.unflatten(2, (equal, -1)).transpose(1, 2).flatten(0, 1) for x in (queries, *keys))
        causal = patch.how == "causal" and queries.shape[2] > 1
        found = partial_softmax.part(queries, *keys, scaling=self.scaling, causal=causal)
        return tuple(x.unflatten(0, (times, equal)).transpose(1, 2).flatten(2, 3) for x in found)

    def _rescore(
        self, rescored: Rescored, queries: Tensor, keys: tuple[Tensor, Tensor], found: partial_softmax.Part
    ) -> None:
        """Merge keys with changed scores into `found`, which is attention without them, in place."""
        if rescored.in_prefix:
            keys = tuple(clean[None] for clean in self.clean)
        groups = queries.shape[1] // keys[0].shape[1]
        key, value = (x[:, :, rescored.keys].repeat_interleave(groups, dim=1).float() for x in keys)
        scores = queries[:, :, rescored.queries].float() @ key.transpose(-1, -2) * self.scaling  # (times, heads, q, K)
        scores = rescored.score(scores).masked_fill(~rescored.readable.to(scores.device), NEVER)
        total = scores.logsumexp(dim=-1)
        output = (scores - total[..., None]).exp().nan_to_num(0.0) @ value
        at = rescored.queries
        merged = partial_softmax.merge((found[0][:, :, at], found[1][:, :, at]), (output, total))
        found[0][:, :, at], found[1][:, :, at] = merged[0].to(found[0].dtype), merged[1]


def _nothing(queries: Tensor) -> partial_softmax.Part:
    """Attention over no keys."""
    return torch.zeros_like(queries), queries.new_full(queries.shape[:-1], NEVER, dtype=torch.float32)


def _batches(partitions: Sequence[KeyPartition]) -> Iterator[tuple[KeyPartition, int]]:
    """Group equal partitions that follow each other: each partition, and how many times it occurs."""
    at = 0
    while at < len(partitions):
        times = 1
        while at + times < len(partitions) and partitions[at + times] is partitions[at]:
            times += 1
        yield partitions[at], times
        at += times


def _by_step(rows: Tensor, times: int) -> Tensor:
    """Split the rows of equal steps: (heads, times x r, D) -> (times, heads, r, D), without copying."""
    return rows.unflatten(1, (times, -1)).transpose(0, 1)


class Masks:
    """The masks of patches, made when first used; the most recently used ones are kept.

    Args:
        most: How many bytes of masks to keep at most; the mask in use is kept in any case.
    """

    def __init__(self, most: int):
        self.most, self.bytes, self.made = most, 0, OrderedDict()

    def of(self, patch: Patch, *, like: Tensor) -> partial_softmax.Mask:
        """Return the mask of a `masked` patch, on the device and in the precision of `like`."""
        key = patch, like.device
        if key not in self.made:
            mask = partial_softmax.Mask.of(patch.readable.to(like.device), dtype=like.dtype)
            self.made[key] = mask
            self.bytes += mask.bias.nbytes
            while self.bytes > self.most and len(self.made) > 1:
                self.bytes -= self.made.popitem(last=False)[1].bias.nbytes
        self.made.move_to_end(key)
        return self.made[key]
