"""Replays: the exact outcome of many plans, each for a fraction of a forward pass.

1. `Schedule` says which rows must be computed at which layer, and which plans share them;
2. layer by layer, the rows of all plans are joined into one long sequence, and the model's own layer runs on it. Norms,
   projections and MLPs (also experts) treat each row by itself, so they need not know its plan;
3. only attention must know which plan a row belongs to. `avsink.engine.replay_attention` computes it from the clean
   run's keys, which are read where they are and once for all plans, and from each step's own;
4. in the last layer, outputs are read at the positions asked for; a row that was not computed has its clean output.

Memory: the states of all steps between two layers, and the work of one layer, are estimated from rows and widths and
kept within `max_bytes` by replaying fewer plans, and computing fewer steps, at a time. A single step is never split, so
the least that is needed is about the memory of one forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from avsink.engine import attention
from avsink.engine.interventions import Intervention
from avsink.engine.key_partition import KeyPartition
from avsink.engine.replay_attention import Masks, ReplayAttention
from avsink.engine.schedule import Node, Schedule, Step
from avsink.engine.states import States

__all__ = ["replay"]

QUIET = 5  # seconds before a progress bar appears
CACHE = 2**25  # bytes of one layer's work at a time on a CPU; it is slower if they do not fit into its caches


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
    """Compute the last layer's outputs under each plan.

    Args:
        model: The model of the clean run.
        states: The states of the clean run.
        plans: Plans that have been checked against the run.
        wanted: Sorted positions whose outputs are asked for.
        max_bytes: About how much memory the replay may take.
        progress: Whether to show a progress bar if it takes more than a few seconds.

    Returns:
        States before the final norm, (plans, wanted, width).
    """
    result = states.output[wanted].repeat(len(plans), 1, 1)
    row_bytes = states.output.shape[-1] * states.output.element_size()
    schedules = list(_schedules(plans, states, wanted, most=max_bytes // 2 // row_bytes))
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


def _schedules(plans, states: States, wanted: Tensor, *, most: int) -> Iterator[tuple[Schedule, int]]:
    """Divide plans among schedules that keep at most `most` rows between layers; with the index of its first plan."""
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
        """Return the output of each node of the last layer, (rows, width)."""
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
        """Divide the nodes of a layer into batches of at most `most_rows` rows, or of one node."""
        batch, rows = [], 0
        for node in nodes:
            partition = self.partitions[node.step]
            # A suffix with keys other than the step's own is copied, at about a fourth of a row's work per key.
            copied = 0 if partition.own_only else len(partition.suffix) // 4
            work = node.step.size + node.step.key_only.numel() + copied
            if batch and rows + work > self.most_rows:
                yield batch
                batch, rows = [], 0
            batch.append(node)
            rows += work
        if batch:
            yield batch

    def _outputs(self, layer: int, batch: list[Node], before: dict[Node, Tensor]) -> Tensor:
        """Run the layer on the rows of these nodes, node after node, (rows, width)."""
        partitions = [self.partitions[node.step] for node in batch]
        key_only = self._key_only(layer, batch, before)
        replayed = ReplayAttention(self.states, layer, partitions, self.masks, key_only=key_only)
        inputs = torch.cat([self._inputs(layer, node, before) for node in batch])
        positions = torch.cat([node.step.rows for node in batch])
        outputs = self._run_layer(layer, inputs, positions, replayed)[0]
        if layer in self.states.added:
            outputs = outputs + self.states.added[layer][positions]
        return outputs

    def _inputs(self, layer: int, node: Node, before: dict[Node, Tensor]) -> Tensor:
        """Collect a node's inputs, (rows, width): what the parent left, states of other runs, and clean rows."""
        step, parent = node.step, node.parent
        if parent is not None and not step.enters_given:
            if parent.step.rows is step.rows:
                return before[parent]
            # No clean inputs are needed here, and the run may not have kept them.
            if torch.isin(step.rows, parent.step.rows).all():
                return before[parent][torch.searchsorted(parent.step.rows, step.rows)]
        inputs = self.states.entering(layer, step.rows)
        if parent is not None:
            _copy(before[parent], parent.step.rows, into=inputs, at=step.rows)
        for positions, states in step.given if step.enters_given else ():
            _copy(states.entering(layer, positions).to(inputs.device), positions, into=inputs, at=step.rows)
        return inputs

    def _key_only(self, layer: int, batch: list[Node], before: dict[Node, Tensor]) -> tuple[Tensor, Tensor] | None:
        """Compute keys and values of the key-only rows, node after node, each (key heads, rows, D)."""
        nodes = [node for node in batch if node.step.key_only.numel()]
        if not nodes:
            return None
        at = [torch.searchsorted(node.parent.step.rows, node.step.key_only) for node in nodes]
        inputs = torch.cat([before[node.parent][rows] for node, rows in zip(nodes, at, strict=True)])
        positions = torch.cat([node.step.key_only for node in nodes])
        try:
            self._run_layer(layer, inputs, positions, _stop)
        except _KeysAndValues as found:
            return found.key[0], found.value[0]

    def _run_layer(self, layer: int, inputs: Tensor, positions: Tensor, substitute: attention.Substitute) -> Tensor:
        """Run the model's layer on inputs (rows, width) at these positions, (1, rows, width)."""
        rotary = tuple(table[:, positions] for table in self.states.rotary[layer])
        calls = 0

        def counted(module, query, key, value, mask, **kwargs) -> Tensor:
            nonlocal calls
            calls += 1
            return substitute(module, query, key, value, mask, **kwargs)

        with attention.substituted(by=counted):
            outputs = self.layers[layer](inputs[None], position_embeddings=rotary, attention_mask=None)
        attention.require_one_call(layer, calls)
        return outputs


class _KeysAndValues(Exception):
    """Carries keys and values out of a layer."""

    def __init__(self, key: Tensor, value: Tensor):
        self.key, self.value = key, value


def _stop(module, query, key, value, mask, **kwargs):
    """A substitute that ends the layer early: only keys and values are wanted."""
    raise _KeysAndValues(key, value)


def _copy(rows: Tensor, positions: Tensor, *, into: Tensor, at: Tensor) -> None:
    """Copy rows (n, width) of `positions` into a table whose rows are the positions `at`; others are left out."""
    held = torch.isin(positions, at)
    into[torch.searchsorted(at, positions[held])] = rows[held]
