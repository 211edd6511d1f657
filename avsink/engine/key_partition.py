"""Key partitions: which keys each query of a step may read, cut into parts that kernels attend without waste.

The keys are split at `start`, the first position at which the step differs from the clean run (or at 0, if that
position is near the beginning):

1. the *prefix*, before `start`: clean keys, which are the same for every plan. All of them come before all queries,
   so no mask is needed. Queries that may read the same ones are attended together, whatever plan they belong to;
2. the *suffix*, from `start` to the last query: the step's own keys, key-only and given ones, and clean ones between
   them. Each query reads those up to itself, in patches (`avsink.engine.patches`);
3. keys whose scores are changed are parts of their own;
4. the parts are merged by their log-sum-exps (`avsink.engine.partial_softmax`).

Throughout, R is the number of the step's rows, which are the queries, and S the number of keys in the suffix. What
*key-only*, *given* and *gone* mean is said in `avsink.engine.schedule`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from avsink.engine.patches import Patch, patches
from avsink.engine.schedule import Step

__all__ = ["KeyPartition", "Prefix", "Rescored"]

FEW = 4  # a prefix of at most one key for so many queries is not split off: merging would cost more than copying


@dataclass(frozen=True, eq=False)
class Prefix:
    """Queries that read the same keys of the prefix, with unchanged scores.

    Attributes:
        queries: Indices into the step's rows.
        readable: Which positions before `start` they read, bool (start,).
        key: Equal for equal `readable`.
    """

    queries: Tensor
    readable: Tensor
    key: bytes

    @cached_property
    def keys(self) -> Tensor | slice:
        """The positions that they read."""
        return slice(0, len(self.readable)) if self.readable.all() else self.readable.nonzero()[:, 0]


@dataclass(frozen=True, eq=False)
class Rescored:
    """Edges whose scores are changed.

    Attributes:
        queries: Indices into the step's rows.
        keys: Positions if the keys are in the prefix, else indices into the suffix.
        in_prefix: Whether the keys are in the prefix.
        readable: Which edges may be read, bool (queries, keys).
        score: Turns scaled scores into new ones, elementwise.
    """

    queries: Tensor
    keys: Tensor
    in_prefix: bool
    readable: Tensor
    score: Callable[[Tensor], Tensor]


class KeyPartition:
    """The parts of one step.

    Attributes:
        rows: Positions of the queries, (R,).
        size: R.
        start: The position at which prefix and suffix meet.
        suffix: Positions of the keys from `start` on, (S,).
        own: Where in the suffix the step's own rows are: indices, (R,).
        key_only: Likewise for the key-only rows.
        given: Likewise for the given rows of each other run: (indices, positions, that run's states).
        prefixes: Parts of the prefix; every query is in at most one of them.
        rescored: Parts with changed scores.
    """

    def __init__(self, step: Step, *, n: int):
        """Cut the keys of a step in a prompt of `n` tokens."""
        self.rows, self.size = step.rows, step.size
        alive = torch.ones(n, dtype=torch.bool)
        alive[step.gone] = False
        firsts = [step.rows, step.key_only, *(positions for positions, _ in step.given)]
        self.start = min(int(positions[0]) for positions in firsts if len(positions))
        if FEW * self.start <= len(step.rows):
            self.start = 0
        self.suffix = alive[self.start : int(step.rows[-1]) + 1].nonzero()[:, 0] + self.start
        self.own, self.key_only = self._in_suffix(step.rows), self._in_suffix(step.key_only)
        self.given = tuple((self._in_suffix(at), at, states) for at, states in step.given if len(at))
        self._edges = [  # (indices into rows, positions of keys, change of scores)
            (torch.searchsorted(step.rows, target), source, edge.score)
            for edge in step.edges
            if len(target := edge.target[torch.isin(edge.target, step.rows)])
            if len(source := edge.source[alive[edge.source]])
        ]
        self.prefixes = self._prefixes(alive[: self.start])
        self.rescored = tuple(self._rescored())

    @cached_property
    def bias(self) -> Tensor:
        """0 for keys of the prefix that a query reads with unchanged scores, -inf for others, (R, start)."""
        bias = torch.full((self.size, self.start), float("-inf"))
        for prefix in self.prefixes:
            bias[prefix.queries] = torch.zeros(self.start).masked_fill_(~prefix.readable, float("-inf"))
        return bias

    @cached_property
    def own_only(self) -> bool:
        """Whether every key of the suffix is one of the step's own."""
        return len(self.own) == len(self.suffix)

    @cached_property
    def readable(self) -> Tensor:
        """Which keys of the suffix are read with unchanged scores, bool (R, S)."""
        readable = self.suffix <= self.rows[:, None]
        for queries, source, _ in self._edges:
            readable[queries[:, None], self._in_suffix(source)] = False
        return readable

    @cached_property
    def patches(self) -> tuple[tuple[Patch, ...], ...]:
        """The same keys as in `readable`, cut into patches."""
        edges = [(queries, keys) for queries, source, _ in self._edges if len(keys := self._in_suffix(source))]
        return patches(self.rows, self.suffix, edges)

    def _in_suffix(self, positions: Tensor) -> Tensor:
        """Turn positions into indices into the suffix; positions outside it are left out."""
        positions = positions[(positions >= self.start) & (positions <= self.rows[-1])]
        return torch.searchsorted(self.suffix, positions)

    def _prefixes(self, alive: Tensor) -> tuple[Prefix, ...]:
        """Group the queries by the keys of the prefix that they read with unchanged scores; alive: bool (start,)."""
        if not self.start:
            return ()
        cut: dict[bytes, tuple[Tensor, Tensor]] = {}  # set of keys -> its positions, and which queries have lost it
        for queries, source, _ in self._edges:
            source = source[source < self.start]
            if len(source):
                _, losers = cut.setdefault(
                    source.numpy().tobytes(), (source, torch.zeros(len(self.rows), dtype=torch.bool))
                )
                losers[queries] = True
        if not cut:
            return (Prefix(torch.arange(len(self.rows)), alive, alive.numpy().tobytes()),) if alive.any() else ()
        lost = torch.stack([torch.zeros(len(self.rows), dtype=torch.bool), *(losers for _, losers in cut.values())])
        kinds, of_row = lost.unique(dim=1, return_inverse=True)  # (1 + sets, kinds), (R,)
        parts = []
        for kind in range(kinds.shape[1]):
            keys = alive.clone()
            for flag, (source, _) in zip(kinds[1:, kind], cut.values(), strict=True):
                if flag:
                    keys[source] = False
            if keys.any():
                parts.append(Prefix((of_row == kind).nonzero()[:, 0], keys, keys.numpy().tobytes()))
        return tuple(parts)

    def _rescored(self) -> Iterator[Rescored]:
        """Cut the edges with changed scores at `start`, and mark those that are cut or not causal as unreadable."""
        cut = [(queries, source) for queries, source, score in self._edges if score is None]
        for queries, source, score in self._edges:
            if score is None:
                continue
            readable = source[None, :] <= self.rows[queries][:, None]
            for losers, keys in cut:
                readable &= ~(torch.isin(queries, losers)[:, None] & torch.isin(source, keys)[None, :])
            in_prefix, in_suffix = source < self.start, (source >= self.start) & (source <= self.rows[-1])
            if in_prefix.any():
                yield Rescored(queries, source[in_prefix], True, readable[:, in_prefix], score)
            if in_suffix.any():
                yield Rescored(queries, self._in_suffix(source), False, readable[:, in_suffix], score)
