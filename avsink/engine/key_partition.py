"""How the rows of a step read: which queries may read which keys, cut into parts that can be computed together.

With `start`, the first position at which anything of a step differs from the clean run (or 0, if that is near):

1. *below* it lie clean keys, the same for every plan, and all of them before every query: no mask is needed. Queries
   that may read the same ones are attended together, whichever plan they belong to;
2. *amid*, from there to the last query, lie the step's own keys, lent and given ones, and clean ones in between; each
   query reads those before it, in patches (`avsink.engine.patches`);
3. keys with changed scores are parts by themselves;
4. the parts are merged by their log-sum-exps (`avsink.engine.attention`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from avsink.engine.patches import Patch, patches
from avsink.engine.schedule import Step

__all__ = ["Below", "KeyPartition", "Rescored"]

FEW = 4  # if clean keys at the beginning are fewer than one in so many queries, merging costs more than copying them


@dataclass(frozen=True, eq=False)
class Below:
    """Queries that may read the same clean keys.

    queries: indices into the step's rows. readable: bool (start,). key: equal for equal `readable`.
    """

    queries: Tensor
    readable: Tensor
    key: bytes

    @cached_property
    def keys(self) -> Tensor | slice:
        """Positions of the keys."""
        return slice(0, len(self.readable)) if self.readable.all() else self.readable.nonzero()[:, 0]


@dataclass(frozen=True, eq=False)
class Rescored:
    """Edges with changed scores. queries: indices into the step's rows; keys: positions, or indices into `amid`.

    readable: bool (queries, keys).
    """

    queries: Tensor
    keys: Tensor
    below: bool
    readable: Tensor
    score: Callable[[Tensor], Tensor]


class KeyPartition:
    """The parts of one step. R rows are computed, `size` for short.

    amid: positions of the keys from `start` on, (A,). own, lent: where the step's rows and the lent ones stand in it.
    given: likewise for those of other runs: (indices into amid, positions, their states).
    below: parts of clean keys before `start`; every query is in at most one of them.
    """

    def __init__(self, step: Step, *, n: int):
        self.rows, self.size = step.rows, step.size
        alive = torch.ones(n, dtype=torch.bool)
        alive[step.gone] = False
        firsts = [step.rows, step.lent, *(positions for positions, _ in step.given)]
        self.start = min(int(positions[0]) for positions in firsts if len(positions))
        if FEW * self.start <= len(step.rows):
            self.start = 0
        self.amid = alive[self.start : int(step.rows[-1]) + 1].nonzero()[:, 0] + self.start
        self.own, self.lent = self._in_amid(step.rows), self._in_amid(step.lent)
        self.given = tuple((self._in_amid(at), at, states) for at, states in step.given if len(at))
        self._edges = [
            (torch.searchsorted(step.rows, target), source, edge.score)
            for edge in step.edges
            if len(target := edge.target[torch.isin(edge.target, step.rows)])
            if len(source := edge.source[alive[edge.source]])
        ]
        self.below = self._below(alive[: self.start])
        self.rescored = tuple(self._rescored())

    @cached_property
    def bias(self) -> Tensor:
        """0 for keys below that a row may read, -inf for others, (R, start)."""
        bias = torch.full((self.size, self.start), float("-inf"))
        for below in self.below:
            bias[below.queries] = torch.zeros(self.start).masked_fill_(~below.readable, float("-inf"))
        return bias

    @cached_property
    def whole(self) -> bool:
        """Every key amid is one of the step's own."""
        return len(self.own) == len(self.amid)

    @cached_property
    def alone(self) -> bool:
        """Amid, the step reads its own keys and no others, and reads them in the ordinary way."""
        return self.whole and not self.rescored

    @cached_property
    def readable(self) -> Tensor:
        """Which keys amid are read in the ordinary way, bool (R, A)."""
        readable = self.amid <= self.rows[:, None]
        for queries, source, _ in self._edges:
            readable[queries[:, None], self._in_amid(source)] = False
        return readable

    @cached_property
    def patches(self) -> tuple[tuple[Patch, ...], ...]:
        """The keys amid that are read in the ordinary way."""
        edges = [(queries, keys) for queries, source, _ in self._edges if len(keys := self._in_amid(source))]
        return patches(self.rows, self.amid, edges)

    def _in_amid(self, positions: Tensor) -> Tensor:
        positions = positions[(positions >= self.start) & (positions <= self.rows[-1])]
        return torch.searchsorted(self.amid, positions)

    def _below(self, alive: Tensor) -> tuple[Below, ...]:
        """alive: bool (start,)."""
        if not self.start:
            return ()
        spared: dict[bytes, tuple[Tensor, Tensor]] = {}  # equal sets of sources -> keys, which queries
        for queries, source, _ in self._edges:
            source = source[source < self.start]
            if len(source):
                _, who = spared.setdefault(
                    source.numpy().tobytes(), (source, torch.zeros(len(self.rows), dtype=torch.bool))
                )
                who[queries] = True
        if not spared:
            return (Below(torch.arange(len(self.rows)), alive, alive.numpy().tobytes()),) if alive.any() else ()
        which = torch.stack([torch.zeros(len(self.rows), dtype=torch.bool), *(who for _, who in spared.values())])
        kinds, of_row = which.unique(dim=1, return_inverse=True)  # (sets, kinds), (R,)
        parts = []
        for kind in range(kinds.shape[1]):
            keys = alive.clone()
            for flag, (source, _) in zip(kinds[1:, kind], spared.values(), strict=True):
                if flag:
                    keys[source] = False
            if keys.any():
                parts.append(Below((of_row == kind).nonzero()[:, 0], keys, keys.numpy().tobytes()))
        return tuple(parts)

    def _rescored(self) -> Iterator[Rescored]:
        cut = [(queries, source) for queries, source, score in self._edges if score is None]
        for queries, source, score in self._edges:
            if score is None:
                continue
            readable = source[None, :] <= self.rows[queries][:, None]
            for gone, keys in cut:
                readable &= ~(torch.isin(queries, gone)[:, None] & torch.isin(source, keys)[None, :])
            below, amid = source < self.start, (source >= self.start) & (source <= self.rows[-1])
            if below.any():
                yield Rescored(queries, source[below], True, readable[:, below], score)
            if amid.any():
                yield Rescored(queries, self._in_amid(source), False, readable[:, amid], score)
