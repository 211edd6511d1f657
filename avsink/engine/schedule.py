"""What must be computed at all: for many plans at once, which rows at which layer.

A row is one token at one layer. The clean run has every row already. For a plan, in each layer:

1. a row has a *new input* if its input is not the clean one: it was computed in the layer before, or it is *given*,
   which means that it enters with its state of another run (`Restore`). Rows that a `Discard` has removed are *gone*;
2. a row has a *new output* if its input is new, if the edges to it are changed in this layer, or if it comes after a
   row that is gone or has a new input. All other rows stay clean;
3. a row with a new output is computed only if its output will be used. It will not be used if the row comes after the
   last position asked for, if this is the last layer and the row is not asked for, or if the next layer replaces or
   removes the row. A row that was computed in the layer before, is neither given nor gone, and is not computed in
   this one is *key-only*: only its key and value are computed, since other rows may read them;
4. plans that have done the same up to a layer share what was computed: windows [0, 4), [0, 5) and [0, 6) of a sweep are
   one until they close. So the work is a tree over the layers, whose root is the clean run and costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import torch
from torch import Tensor

from avsink.engine.interventions import Edges, Intervention
from avsink.engine.states import States

__all__ = ["Node", "Schedule", "Step"]

NONE = torch.empty(0, dtype=torch.long)


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """What one layer computes for all plans that have done the same so far.

    Positions are sorted LongTensors on the CPU.

    Attributes:
        rows: Positions of the rows that are computed.
        key_only: Positions of the rows of which only key and value are computed, from the parent's outputs.
        given: Positions of the rows that enter with their states of another run, and the states of that run.
        gone: Positions of the rows that have been removed.
        edges: The edges that are cut or rescored.
    """

    rows: Tensor
    key_only: Tensor
    given: tuple[tuple[Tensor, States], ...]
    gone: Tensor
    edges: tuple[Edges, ...]

    @cached_property
    def size(self) -> int:
        """How many rows are computed."""
        return len(self.rows)

    @cached_property
    def enters_given(self) -> bool:
        """Whether a computed row enters with its state of another run."""
        return any(bool(torch.isin(positions, self.rows).any()) for positions, _ in self.given)


@dataclass(frozen=True, eq=False)
class Node:
    """A step in its place in the tree.

    Attributes:
        step: What is computed.
        parent: The node of the layer before, whose outputs are its inputs; None for the clean run.
    """

    step: Step
    parent: Node | None


class Schedule:
    """The tree of everything that a list of plans must compute.

    Args:
        plans: Plans that have been checked against the run.
        n: Number of tokens.
        n_layers: Number of layers.
        wanted: Sorted positions whose outputs of the last layer are asked for.

    Attributes:
        layers: The nodes of each layer; nodes with equal steps are neighbours.
        ends: For each plan, its node in the last layer; None if the plan leaves the clean run's outcome as it is.

    Raises:
        ValueError: A plan gives one row two states, or changes the scores of the same edges twice, in one layer.
    """

    def __init__(self, plans: Sequence[tuple[Intervention, ...]], *, n: int, n_layers: int, wanted: Tensor):
        self.n, self.n_layers, self.wanted = n, n_layers, wanted
        self._steps: dict[tuple, Step | None] = {}
        self._rows: dict[bytes, Tensor] = {}
        self.layers: list[list[Node]] = []
        ends: list[Node | None] = [None] * len(plans)
        for layer in range(n_layers):
            alike: dict[tuple, list[int]] = {}
            for index, plan in enumerate(plans):
                acting = tuple(one.identity for one in plan if one.acts(layer))
                if acting or ends[index] is not None:
                    alike.setdefault((ends[index], acting), []).append(index)
            nodes = []
            for (parent, acting), members in alike.items():
                step = self._step([plans[index] for index in members], acting, parent, layer)
                node = None if step is None else Node(step, parent)
                if node is not None:
                    nodes.append(node)
                for index in members:
                    ends[index] = node
            order = {step: at for at, step in reversed(list(enumerate(node.step for node in nodes)))}
            self.layers.append(sorted(nodes, key=lambda node: order[node.step]))
        self.ends = tuple(ends)

    @property
    def rows(self) -> int:
        """How many rows are computed, over all layers."""
        return sum(node.step.size for nodes in self.layers for node in nodes)

    @property
    def held(self) -> int:
        """The largest number of rows that must be kept from one layer to the next."""
        return max(sum(node.step.size for node in nodes) for nodes in self.layers)

    def _step(
        self, plans: list[tuple[Intervention, ...]], acting: tuple, parent: Node | None, layer: int
    ) -> Step | None:
        """Return the step of plans that act alike in this layer, or None if they leave nothing to compute.

        Equal steps are one object.
        """
        replaced = self._replaced(plans, layer + 1)
        key = (
            None if parent is None else id(parent.step.rows),
            acting,
            replaced.numpy().tobytes(),
            layer + 1 == self.n_layers,
        )
        if key not in self._steps:
            together = [one for one in plans[0] if one.acts(layer)]
            self._steps[key] = self._new_step(together, parent, replaced, layer)
        return self._steps[key]

    def _replaced(self, plans: list[tuple[Intervention, ...]], layer: int) -> Tensor:
        """Find the rows that every plan replaces or removes before this layer: their earlier outputs are not used."""
        replaced = None
        for plan in plans:
            acting = [one for one in plan if one.acts(layer)] if layer < self.n_layers else []
            groups = [found[0] for one in acting if (found := one.given(layer)) is not None]
            groups += [found for one in acting if (found := one.gone(layer)) is not None]
            if not groups:
                return NONE
            flags = self._flags(groups)
            replaced = flags if replaced is None else replaced & flags
        return replaced.nonzero()[:, 0]

    def _new_step(self, acting: list[Intervention], parent: Node | None, replaced: Tensor, layer: int) -> Step | None:
        """Build a step: items 1 to 3 at the top of this file. All groups of rows are flags, bool (N,)."""
        gone = self._flags(positions for one in acting if (positions := one.gone(layer)) is not None)
        given = [
            (positions[~gone[positions]], states)
            for one in acting
            for positions, states in [one.given(layer) or ((), None)]
            if states
        ]
        is_given = self._flags(positions for positions, _ in given)
        if int(is_given.sum()) < sum(len(positions) for positions, _ in given):
            raise ValueError(f"Restore.positions: a plan gives the same row two states at layer {layer}")
        edges = tuple(e for one in acting for e in one.edges(layer) if len(e.source) and len(e.target))
        for one, other in combinations([edge for edge in edges if edge.score], 2):
            if torch.isin(one.target, other.target).any() and torch.isin(one.source, other.source).any():
                raise ValueError(f"Reweight.target: a plan changes the scores of the same edges twice at layer {layer}")

        from_parent = self._flags([] if parent is None else [parent.step.rows]) & ~is_given & ~gone
        new_input = from_parent | is_given
        new_output = new_input | (torch.arange(self.n) > self._first(new_input | gone))
        for edge in edges:
            new_output[edge.target[edge.target >= edge.source[0]]] = True
        matters = torch.arange(self.n) <= self.wanted[-1]
        if layer + 1 == self.n_layers:
            matters = self._flags([self.wanted])
        rows = new_output & matters & ~gone
        rows[replaced] = False
        if not rows.any():
            return None
        can_be_read = torch.arange(self.n) <= int(rows.nonzero()[-1])
        return Step(
            rows=self._positions(rows),
            key_only=self._positions(from_parent & ~rows & can_be_read),
            given=tuple((positions[can_be_read[positions]], states) for positions, states in given),
            gone=self._positions(gone),
            edges=edges,
        )

    def _flags(self, groups) -> Tensor:
        flags = torch.zeros(self.n, dtype=torch.bool)
        for positions in groups:
            flags[positions] = True
        return flags

    def _first(self, flags: Tensor) -> int:
        return int(flags.nonzero()[0]) if flags.any() else self.n

    def _positions(self, flags: Tensor) -> Tensor:
        """Return the flagged positions; equal sets are one object, so that they can be compared by identity."""
        return self._rows.setdefault(flags.numpy().tobytes(), flags.nonzero()[:, 0])
