"""Replays: the exact outcome of many plans for a fraction of a forward pass each (DESIGN of the engine: methods page).

1. `Schedule` says which rows must be computed at which layer, and which plans share them;
2. layer by layer, the rows of all plans stand side by side as one long sequence, and the model's own layer runs on it.
   Norms, projections and MLPs (experts, too) work row by row, so they cannot tell;
3. only attention must know whose row is whose. `_Read` puts it together from the clean run's keys, read in place and
   once for all plans, and each step's own;
4. the rows asked for leave the last layer; all others are the clean run's.

Memory: states of all steps between two layers, and one layer's work, are kept within `max_bytes` by doing fewer plans,
and fewer steps, at a time. One step by itself is never split, so a pass like a plain forward's is the least there is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from avsink import attention
from avsink.interventions import Intervention
from avsink.reading import Reading, Rescored
from avsink.schedule import Node, Schedule, Step
from avsink.states import States

__all__ = ["replay"]

QUIET = 5  # seconds before a bar of progress appears
CACHE = 2**25  # bytes of one layer's work at a time on a CPU: more than its caches hold is slower


@torch.inference_mode()
def replay(
    model,
    states: States,
    plans: Sequence[tuple[Intervention, ...]],
    *,
    wanted: Tensor,
    max_bytes: int,
    progress: bool = True,
) -> Tensor:
    """What leaves the last layer at the positions `wanted` (sorted) under each plan, (plans, wanted, width)."""
    result = states.output[wanted].repeat(len(plans), 1, 1)
    row_bytes = states.output.shape[-1] * states.output.element_size()
    schedules = list(_passes(plans, states, wanted, most=max_bytes // 2 // row_bytes))
    rows = sum(schedule.rows for schedule, _ in schedules)
    with tqdm(
        total=rows, desc="replay", unit="row", unit_scale=True, delay=QUIET, leave=False, disable=not progress
    ) as bar:
        for schedule, first in schedules:
            left = _Pass(model, states, schedule, max_bytes=max_bytes // 2).run(bar)
            for plan, node in enumerate(schedule.ends, start=first):
                if node is not None:
                    result[plan, torch.searchsorted(wanted, node.step.rows)] = left[node].to(result.device)
    return result


def _passes(plans, states: States, wanted: Tensor, *, most: int) -> Iterator[tuple[Schedule, int]]:
    """Schedules that hold at most so many rows between layers, each with the index of its first plan."""
    if not plans:
        return
    waiting = [(0, len(plans))]
    while waiting:
        start, stop = waiting.pop()
        schedule = Schedule(plans[start:stop], n=states.n, n_layers=states.n_layers, wanted=wanted)
        if stop - start > 1 and 2 * schedule.held > most:  # a layer's inputs and outputs
            middle = (start + stop) // 2
            waiting += [(middle, stop), (start, middle)]
        else:
            yield schedule, start


class _Pass:
    """One schedule, from the first layer to the last."""

    def __init__(self, model, states: States, schedule: Schedule, *, max_bytes: int):
        self.layers, self.states, self.schedule = model.decoder.layers, states, schedule
        self.masks = _Masks(max_bytes // 4)
        self.readings: dict[Step, Reading] = {}
        config = model.decoder.config
        width = max(config.intermediate_size, getattr(config, "moe_intermediate_size", 0))
        row = (8 * config.hidden_size + 3 * width) * states.output.element_size()
        if states.output.device.type == "cpu":
            max_bytes = min(max_bytes, CACHE)
        self.most_rows = max(1, max_bytes // row)

    def run(self, bar) -> dict[Node, Tensor]:
        """What each node of the last layer leaves, (rows, width)."""
        left: dict[Node, Tensor] = {}
        for layer, nodes in enumerate(self.schedule.layers):
            before, left = left, {}
            for batch in self._batches(nodes):
                outputs = self._outputs(layer, batch, before)
                left.update(zip(batch, outputs.split([len(node.step.rows) for node in batch]), strict=True))
                bar.update(len(outputs))
        return left

    def _batches(self, nodes: list[Node]) -> Iterator[list[Node]]:
        batch, rows = [], 0
        for node in nodes:
            if batch and rows + len(node.step.rows) > self.most_rows:
                yield batch
                batch, rows = [], 0
            batch.append(node)
            rows += len(node.step.rows)
        if batch:
            yield batch

    def _outputs(self, layer: int, batch: list[Node], before: dict[Node, Tensor]) -> Tensor:
        """What the rows of these nodes leave the layer with, one node behind the other, (rows, width)."""
        for node in batch:
            if node.step not in self.readings:
                self.readings[node.step] = Reading(node.step, n=self.states.n)
        readings = [self.readings[node.step] for node in batch]
        read = _Read(self.states, layer, readings, self.masks, lent=self._lent(layer, batch, before))
        inputs = torch.cat([self._inputs(layer, node, before) for node in batch])
        positions = torch.cat([node.step.rows for node in batch])
        outputs = self._through(layer, inputs, positions, read)[0]
        if layer in self.states.added:
            outputs = outputs + self.states.added[layer][positions]
        return outputs

    def _inputs(self, layer: int, node: Node, before: dict[Node, Tensor]) -> Tensor:
        """(rows, width): what the parent left, what another run gives, and clean rows."""
        step, parent = node.step, node.parent
        if parent is not None and parent.step.rows is step.rows and not step.enters_given:
            return before[parent]
        inputs = self.states.inputs[layer][step.rows]
        if parent is not None:
            _copy(before[parent], parent.step.rows, into=inputs, at=step.rows)
        for positions, run in step.given:
            _copy(run.inputs[layer][positions].to(inputs.device), positions, into=inputs, at=step.rows)
        return inputs

    def _lent(self, layer: int, batch: list[Node], before: dict[Node, Tensor]) -> tuple[Tensor, Tensor] | None:
        """Keys and values of rows that end here, one node behind the other, each (key heads, rows, D)."""
        lenders = [node for node in batch if len(node.step.lent)]
        if not lenders:
            return None
        at = [torch.searchsorted(node.parent.step.rows, node.step.lent) for node in lenders]
        inputs = torch.cat([before[node.parent][rows] for node, rows in zip(lenders, at, strict=True)])
        positions = torch.cat([node.step.lent for node in lenders])
        try:
            self._through(layer, inputs, positions, _stop)
        except _KeysAndValues as found:
            return found.key[0], found.value[0]
        raise RuntimeError(f"layer {layer} never attended through {attention.NAME!r}")

    def _through(self, layer: int, inputs: Tensor, positions: Tensor, reader) -> Tensor:
        rotary = tuple(table[:, positions] for table in self.states.rotary)
        with attention.through(reader):
            return self.layers[layer](inputs[None], position_embeddings=rotary, attention_mask=None)


class _KeysAndValues(Exception):
    def __init__(self, key: Tensor, value: Tensor):
        self.key, self.value = key, value


def _stop(module, query, key, value, mask, **kwargs):
    """A reader that ends the layer: only keys and values were wanted."""
    raise _KeysAndValues(key, value)


class _Read:
    """The attention of many steps at one layer, their queries side by side, in the parts of `avsink.reading`."""

    def __init__(self, states: States, layer: int, readings: Sequence[Reading], masks: _Masks, *, lent):
        self.states, self.layer, self.readings, self.masks, self.lent = states, layer, readings, masks, lent
        self.clean = states.keys[layer], states.values[layer]  # each (key heads, N, D)

    def __call__(self, module, query, key, value, mask, *, scaling, **kwargs) -> Tensor:
        """query (1, heads, R, D); key, value (1, key heads, R, D) -> (1, R, heads, D)."""
        self.scaling = scaling
        read = self._below(query)
        amid = query.new_empty(query.shape), query.new_empty(query.shape[:-1], dtype=torch.float32)
        start = lender = 0
        for reading, times in _runs(self.readings):
            stop, lending = start + times * len(reading.rows), lender + times * len(reading.lent)
            own = tuple(_by_step(x[0, :, start:stop], times) for x in (key, value))  # (times, key heads, rows, D)
            lent = reading.lent.numel() and tuple(_by_step(x[:, lender:lending], times) for x in self.lent)
            keys = self._amid(reading, own, lent)
            queries = _by_step(query[0, :, start:stop], times)
            found = self._attend(reading, queries, keys)
            for changed in reading.rescored:
                self._rescore(changed, queries, keys, found)
            for into, rows in zip(amid, found, strict=True):
                into[0, :, start:stop] = rows.transpose(0, 1).flatten(1, 2)
            start, lender = stop, lending
        output, _ = amid if read is None else attention.merge(amid, read)
        return output.to(query.dtype).transpose(1, 2).contiguous()

    def _below(self, query: Tensor) -> attention.Part | None:
        """Every query and the clean keys that it may read before its step's start."""
        queries: dict[bytes, list[Tensor]] = {}
        keys = {}
        start = 0
        for reading in self.readings:
            for below in reading.below:
                queries.setdefault(below.key, []).append(below.queries + start)
                keys[below.key] = below.keys
            start += len(reading.rows)
        if not queries:
            return None
        output, total = None, None
        for kind, found in queries.items():
            rows = torch.cat(found)
            key, value = (clean[None, :, keys[kind]] for clean in self.clean)
            if len(rows) == query.shape[2]:
                return attention.part(query, key, value, scaling=self.scaling)
            if output is None:
                output = torch.zeros_like(query)
                total = query.new_full(query.shape[:-1], float("-inf"), dtype=torch.float32)
            output[:, :, rows], total[:, :, rows] = attention.part(query[:, :, rows], key, value, scaling=self.scaling)
        return output, total

    def _amid(self, reading: Reading, own: tuple[Tensor, Tensor], lent) -> tuple[Tensor, Tensor]:
        """Keys and values amid, each (times, key heads, A, D)."""
        if reading.whole:
            return own
        found = []
        for index, clean in enumerate(self.clean):
            keys = clean[:, reading.amid].repeat(len(own[index]), 1, 1, 1)
            for at, positions, states in reading.given:
                other = (states.keys, states.values)[index][self.layer][:, positions]
                keys[:, :, at] = other.to(keys.device)
            if len(reading.lent):
                keys[:, :, reading.lent] = lent[index]
            keys[:, :, reading.own] = own[index]
            found.append(keys)
        return tuple(found)

    def _attend(self, reading: Reading, queries: Tensor, keys: tuple[Tensor, Tensor]) -> attention.Part:
        """queries (times, heads, rows, D)."""
        if reading.unmasked:
            return attention.part(queries, *keys, scaling=self.scaling)
        if not reading.causal:
            mask = self.masks.of(reading, like=queries)
            return attention.part(queries, *keys, scaling=self.scaling, mask=mask)
        if reading.whole:
            return attention.part(queries, *keys, scaling=self.scaling, causal=True)
        filled = queries.new_zeros(*queries.shape[:2], len(reading.amid), queries.shape[-1])
        filled[:, :, reading.own] = queries
        output, total = attention.part(filled, *keys, scaling=self.scaling, causal=True)
        return output[:, :, reading.own], total[:, :, reading.own]

    def _rescore(self, changed: Rescored, queries: Tensor, keys: tuple[Tensor, Tensor], found: attention.Part) -> None:
        """Merge keys with changed scores into what has been found without them."""
        if changed.below:
            keys = tuple(clean[None] for clean in self.clean)
        groups = queries.shape[1] // keys[0].shape[1]
        key, value = (x[:, :, changed.keys].repeat_interleave(groups, dim=1).float() for x in keys)
        scores = queries[:, :, changed.queries].float() @ key.transpose(-1, -2) * self.scaling  # (times, heads, q, K)
        scores = changed.score(scores).masked_fill(~changed.readable.to(scores.device), float("-inf"))
        total = scores.logsumexp(dim=-1)
        output = (scores - total[..., None]).exp().nan_to_num(0.0) @ value
        at = changed.queries
        merged = attention.merge((found[0][:, :, at], found[1][:, :, at]), (output, total))
        found[0][:, :, at], found[1][:, :, at] = merged[0].to(found[0].dtype), merged[1]


def _runs(readings: Sequence[Reading]) -> Iterator[tuple[Reading, int]]:
    """Equal readings side by side, and how many of them."""
    at = 0
    while at < len(readings):
        times = 1
        while at + times < len(readings) and readings[at + times] is readings[at]:
            times += 1
        yield readings[at], times
        at += times


def _by_step(side_by_side: Tensor, times: int) -> Tensor:
    """(heads, times x rows, D) -> (times, heads, rows, D), without copying."""
    return side_by_side.unflatten(1, (times, -1)).transpose(0, 1)


def _copy(rows: Tensor, positions: Tensor, *, into: Tensor, at: Tensor) -> None:
    """Write rows (n, width) at `positions` into a table whose rows are the positions `at`; the others do not fit."""
    fits = torch.isin(positions, at)
    into[torch.searchsorted(at, positions[fits])] = rows[fits]


class _Masks:
    """Masks that have been made, the latest ones, up to a number of bytes."""

    def __init__(self, most: int):
        self.most, self.bytes, self.made = most, 0, OrderedDict()

    def of(self, reading: Reading, *, like: Tensor) -> attention.Mask:
        if reading not in self.made:
            mask = attention.Mask.of(reading.readable().to(like.device), dtype=like.dtype)
            self.made[reading] = mask
            self.bytes += mask.bias.nbytes
            while self.bytes > self.most and len(self.made) > 1:
                self.bytes -= self.made.popitem(last=False)[1].bias.nbytes
        self.made.move_to_end(reading)
        return self.made[reading]
