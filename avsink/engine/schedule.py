"""What must be computed at all: for many plans at once, which rows at which layer.

A row is one token at one layer. Against the clean run, whose rows are all at hand:

1. a row is *foreign* to a layer when its input is not the clean one: computed a layer before, or given by another run;
2. a layer changes the output of foreign rows, of rows whose own edges are changed there, and of every row behind the
   first foreign or missing one, because it can read that one. Nothing else;
3. of these, only rows that still matter are computed: none behind the last position asked, in the last layer only the
   positions asked, and none that the next layer replaces or drops. Rows that end there still lend their keys;
4. plans that did the same up to a layer share what was computed: the windows [0, 4), [0, 5), [0, 6) of a sweep are one
   until they close. So the work is a tree over the layers. Its root is the clean run, which costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import torch
from torch import Tensor

from avsink.engine.interventions import Edges, Intervention
from avsink.engine.record import States

__all__ = ["Node", "Schedule", "Step"]

NONE = torch.empty(0, dtype=torch.long)


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """What one layer does for all plans that are alike up to here. Positions are sorted LongTensors on the CPU.

    rows: computed. lent: foreign rows that are only read; their inputs come from the step before.
    given: rows of other runs, by run. gone: rows that are not there. edges: cut or rescored ones.
    """

    rows: Tensor
    lent: Tensor
    given: tuple[tuple[Tensor, States], ...]
    gone: Tensor
    edges: tuple[Edges, ...]

    @cached_property
    def size(self) -> int:
        """How many rows are computed."""
        return len(self.rows)

    @cached_property
    def enters_given(self) -> bool:
        """Whether a row that is computed enters with another run's state."""
        return any(bool(torch.isin(positions, self.rows).any()) for positions, _ in self.given)


@dataclass(frozen=True, eq=False)
class Node:
    """A step, computed from the states that its parent has left; parent None is the clean run."""

    step: Step
    parent: Node | None


class Schedule:
    """layers: the nodes of each layer, equal steps side by side. ends: per plan, the node it ends in; None if clean."""

    def __init__(self, plans: Sequence[tuple[Intervention, ...]], *, n: int, n_layers: int, wanted: Tensor):
        """wanted: positions whose last output is asked for; plans have been checked against the run."""
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
        """Layer-rows that are computed."""
        return sum(node.step.size for nodes in self.layers for node in nodes)

    @property
    def held(self) -> int:
        """Rows that must be kept from one layer to the next, at the worst layer."""
        return max(sum(node.step.size for node in nodes) for nodes in self.layers)

    def _step(
        self, plans: list[tuple[Intervention, ...]], acting: tuple, parent: Node | None, layer: int
    ) -> Step | None:
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
        """Rows whose inputs to this layer no plan takes from the layer before."""
        replaced = None
        for plan in plans:
            acting = [one for one in plan if one.acts(layer)] if layer < self.n_layers else []
            given = [found[0] for one in acting if (found := one.given(layer)) is not None]
            own = given + [found for one in acting if (found := one.gone(layer)) is not None]
            if not own:
                return NONE
            flags = self._flags(own)
            replaced = flags if replaced is None else replaced & flags
        return replaced.nonzero()[:, 0]

    def _new_step(self, acting: list[Intervention], parent: Node | None, replaced: Tensor, layer: int) -> Step | None:
        gone = self._flags(positions for one in acting if (positions := one.gone(layer)) is not None)
        given = [
            (positions[~gone[positions]], run)
            for one in acting
            for positions, run in [one.given(layer) or ((), None)]
            if run
        ]
        put = self._flags(positions for positions, _ in given)
        if int(put.sum()) < sum(len(positions) for positions, _ in given):
            raise ValueError(f"Restore.positions: a plan gives one row two states at layer {layer}")
        edges = tuple(e for one in acting for e in one.edges(layer) if len(e.source) and len(e.target))
        for one, other in combinations([edge for edge in edges if edge.score], 2):
            if torch.isin(one.target, other.target).any() and torch.isin(one.source, other.source).any():
                raise ValueError(f"Reweight.target: a plan changes the scores of the same edges twice at layer {layer}")

        passed = self._flags([] if parent is None else [parent.step.rows]) & ~put & ~gone
        foreign = passed | put
        changed = foreign | (torch.arange(self.n) > self._first(foreign | gone))
        for edge in edges:
            changed[edge.target[edge.target >= edge.source[0]]] = True
        matters = torch.arange(self.n) <= self.wanted[-1]
        if layer + 1 == self.n_layers:
            matters = self._flags([self.wanted])
        rows = changed & matters & ~gone
        rows[replaced] = False
        if not rows.any():
            return None
        read = torch.arange(self.n) <= int(rows.nonzero()[-1])
        return Step(
            rows=self._positions(rows),
            lent=self._positions(passed & ~rows & read),
            given=tuple((positions[read[positions]], run) for positions, run in given),
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
        """Equal sets become one object, so that they can be told apart by identity."""
        return self._rows.setdefault(flags.numpy().tobytes(), flags.nonzero()[:, 0])
