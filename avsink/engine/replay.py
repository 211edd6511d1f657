"""Replays: the exact outcome of many plans for a fraction of a forward pass each.

1. `Schedule` says which rows must be computed at which layer, and which plans share them;
2. layer by layer, the rows of all plans stand side by side as one long sequence, and the model's own layer runs on it.
   Norms, projections and MLPs (experts, too) work row by row, so they cannot tell;
3. only attention must know whose row is whose. `avsink.engine.replay_attention` puts it together from the clean run's keys, read in
   place and once for all plans, and each step's own;
4. the rows asked for leave the last layer; all others are the clean run's.

Memory: states of all steps between two layers, and one layer's work, are kept within `max_bytes`, as estimated from
rows and widths, by doing fewer plans, and fewer steps, at a time. One step by itself is never split, so a pass like a
plain forward's is the least there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from avsink.engine import attention
from avsink.engine.interventions import Intervention
from avsink.engine.key_partition import KeyPartition
from avsink.engine.record import States
from avsink.engine.replay_attention import Masks, ReplayAttention
from avsink.engine.schedule import Node, Schedule, Step

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
        self.masks = Masks(max_bytes // 4)
        self.partitions: dict[Step, KeyPartition] = {}
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
            steps = dict.fromkeys(node.step for node in nodes)
            self.partitions = {step: self.partitions.get(step) or KeyPartition(step, n=self.states.n) for step in steps}
            for batch in self._batches(nodes):
                outputs = self._outputs(layer, batch, before)
                left.update(zip(batch, outputs.split([node.step.size for node in batch]), strict=True))
                bar.update(len(outputs))
        return left

    def _batches(self, nodes: list[Node]) -> Iterator[list[Node]]:
        batch, rows = [], 0
        for node in nodes:
            partition = self.partitions[node.step]
            # Keys that are not all a step's own are copied together, which weighs about a fourth of a row's work.
            work = node.step.size + node.step.lent.numel() + (0 if partition.whole else len(partition.amid) // 4)
            if batch and rows + work > self.most_rows:
                yield batch
                batch, rows = [], 0
            batch.append(node)
            rows += work
        if batch:
            yield batch

    def _outputs(self, layer: int, batch: list[Node], before: dict[Node, Tensor]) -> Tensor:
        """What the rows of these nodes leave the layer with, one node behind the other, (rows, width)."""
        partitions = [self.partitions[node.step] for node in batch]
        replayed = ReplayAttention(self.states, layer, partitions, self.masks, lent=self._lent(layer, batch, before))
        inputs = torch.cat([self._inputs(layer, node, before) for node in batch])
        positions = torch.cat([node.step.rows for node in batch])
        outputs = self._through(layer, inputs, positions, replayed)[0]
        if layer in self.states.added:
            outputs = outputs + self.states.added[layer][positions]
        return outputs

    def _inputs(self, layer: int, node: Node, before: dict[Node, Tensor]) -> Tensor:
        """(rows, width): what the parent left, what another run gives, and clean rows."""
        step, parent = node.step, node.parent
        if parent is not None and not step.enters_given:
            if parent.step.rows is step.rows:
                return before[parent]
            # No clean inputs are needed then, and the run may not have kept them.
            if torch.isin(step.rows, parent.step.rows).all():
                return before[parent][torch.searchsorted(parent.step.rows, step.rows)]
        inputs = self.states.entering(layer, step.rows)
        if parent is not None:
            _copy(before[parent], parent.step.rows, into=inputs, at=step.rows)
        for positions, run in step.given if step.enters_given else ():
            _copy(run.entering(layer, positions).to(inputs.device), positions, into=inputs, at=step.rows)
        return inputs

    def _lent(self, layer: int, batch: list[Node], before: dict[Node, Tensor]) -> tuple[Tensor, Tensor] | None:
        """Keys and values of rows that end here, one node behind the other, each (key heads, rows, D)."""
        lenders = [node for node in batch if node.step.lent.numel()]
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
        with attention.substituted(reader):
            return self.layers[layer](inputs[None], position_embeddings=rotary, attention_mask=None)


class _KeysAndValues(Exception):
    def __init__(self, key: Tensor, value: Tensor):
        self.key, self.value = key, value


def _stop(module, query, key, value, mask, **kwargs):
    """A reader that ends the layer: only keys and values were wanted."""
    raise _KeysAndValues(key, value)


def _copy(rows: Tensor, positions: Tensor, *, into: Tensor, at: Tensor) -> None:
    """Write rows (n, width) at `positions` into a table whose rows are the positions `at`; the others do not fit."""
    fits = torch.isin(positions, at)
    into[torch.searchsorted(at, positions[fits])] = rows[fits]
