"""Interventions: what is done to a run, as data (Flow sections 4.1 and 6; Hubs, tables 1 and 2).

An intervention says *what* is done, never how. It answers three questions about each layer, and the engine knows
nothing else of it. A row is one token's state:

1. `edges(layer)`: which attention edges are cut, or have their scores changed;
2. `given(layer)`: which rows enter the layer with the state that they have in another run;
3. `gone(layer)`: which rows have been removed before the layer.

A new kind of intervention is one more frozen dataclass that answers some of these; the others and the engine stay as
they are.

    Block(video, question, layers=range(3, 10))         # these queries cannot read these keys
    Restore(sinks, range(28), states=clean.states)      # these rows are what they were in another run
    Reweight(cross, uni, alpha=0.2, layers=range(6, 28), target=text)
    Discard(video, after_layer=26)                      # these rows end here

Positions are LongTensors (as in the layout), lists or ranges. They become sorted tensors without repetitions. Empty
sets, no layers, and targets before all of their sources are allowed and change nothing. Positions do not say for which
prompt they were made: a position outside the prompt is an error, but one from another prompt cannot be noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from functools import cached_property, partial
from operator import index
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from avsink.engine.states import States

__all__ = ["Block", "Discard", "Edges", "Intervention", "Plan", "Restore", "Reweight", "as_plan", "as_positions"]

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


@dataclass(frozen=True, eq=False)
class Edges:
    """All edges from `source` to `target` in which the key does not come after the query.

    Attributes:
        source: Positions of the keys, sorted.
        target: Positions of the queries, sorted.
        score: Turns scaled scores into new ones, elementwise; None cuts the edges.
    """

    source: Tensor
    target: Tensor
    score: Callable[[Tensor], Tensor] | None = None


class Intervention:
    """The base of all kinds: it checks fields, and answers "nothing" where a kind has no answer of its own.

    A kind with a field `layers` acts in those layers.

    Attributes:
        POSITIONS: The names of the fields that hold positions.
    """

    POSITIONS: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self):
        for name in self.POSITIONS:
            object.__setattr__(self, name, as_positions(getattr(self, name), field=self._named(name)))
        if "layers" in self.__dict__:
            object.__setattr__(self, "layers", _layers(self.layers, field=self._named("layers")))

    def acts(self, layer: int) -> bool:
        """Whether it may change anything at this layer."""
        return layer in self.layers

    def edges(self, layer: int) -> tuple[Edges, ...]:
        """The attention edges that are cut or rescored in this layer, where it acts."""
        return ()

    def given(self, layer: int) -> tuple[Tensor, States] | None:
        """The positions that enter this layer with their states of another run, and that run's states."""
        return None

    def gone(self, layer: int) -> Tensor | None:
        """The positions that have been removed before this layer."""
        return None

    def check(self, states: States) -> None:
        """Check that the intervention fits the run with these states.

        Raises:
            ValueError: It does not fit; the message names the field.
            TypeError: A field holds the wrong kind of value; the message names the field.
        """
        for name in self.POSITIONS:
            positions = getattr(self, name)
            if len(positions) and int(positions[-1]) >= states.n:
                raise ValueError(
                    f"{self._named(name)}: position {int(positions[-1])} is outside the prompt, which has "
                    f"{states.n} tokens; take positions from the layout of the same inputs"
                )
        for layer in self.__dict__.get("layers", ()):
            self._check_layer("layers", layer, states)

    @cached_property
    def identity(self) -> tuple:
        """A key that is equal for interventions that do the same in any layer in which both act."""
        return type(self), *(_hashable(getattr(self, f.name)) for f in fields(self) if f.name != "layers")

    def _named(self, field: str) -> str:
        return f"{type(self).__name__}.{field}"

    def _check_layer(self, field: str, layer: int, states: States) -> None:
        if not 0 <= layer < states.n_layers:
            raise ValueError(
                f"{self._named(field)}: there is no layer {layer}; this model's are 0 to {states.n_layers - 1}"
            )


Plan = Intervention | Sequence[Intervention]


def as_plan(plan: Plan) -> tuple[Intervention, ...]:
    """Turn a plan, one intervention or several applied together, into a tuple.

    Raises:
        TypeError: The plan holds something that is not an intervention.
    """
    together = (plan,) if isinstance(plan, Intervention) else tuple(plan)
    for one in together:
        if not isinstance(one, Intervention):
            raise TypeError(f"a plan is an intervention or a sequence of them; this one holds a {type(one).__name__}")
    return together


@dataclass(frozen=True, eq=False)
class Block(Intervention):
    """Attention knockout: queries at `target` cannot read keys at `source` (Flow section 4.1).

    A query that has lost all its keys reads nothing: its attention output is 0.

    Attributes:
        source: Positions of the keys.
        target: Positions of the queries.
        layers: The layers in which the edges are cut.
    """

    POSITIONS = ("source", "target")

    source: Tensor
    target: Tensor
    layers: Iterable[int]

    def edges(self, layer: int) -> tuple[Edges, ...]:
        """All edges from source to target, cut."""
        return (Edges(self.source, self.target),)


@dataclass(frozen=True, eq=False)
class Restore(Intervention):
    """Causal tracing: rows at `positions` enter each of `layers` as they did in another run (Hubs, tables 1 and 2).

    After the last of `layers` the rows are computed again, from the states that they were given and from what the other
    rows have become. Rows that a `Discard` has removed are not restored.

    Attributes:
        positions: The rows to restore.
        layers: The layers whose inputs are restored.
        states: The states of the other run, `other_run.states`; both prompts must have the same tokens at `positions`.
    """

    POSITIONS = ("positions",)

    positions: Tensor
    layers: Iterable[int]
    states: States

    def given(self, layer: int) -> tuple[Tensor, States]:
        """The restored positions, and the states of the run that they come from."""
        return self.positions, self.states

    def check(self, states: States) -> None:
        """Check that it fits the run with these states, and that both runs have the same tokens at `positions`."""
        super().check(states)
        if not isinstance(self.states, type(states)):
            kind = type(self.states).__name__
            raise TypeError(f"{self._named('states')}: give what another run left, `other_run.states`, not a {kind}")
        if reason := states.differs(self.states, at=self.positions):
            raise ValueError(f"{self._named('states')}: they come from another prompt or model: {reason}")


@dataclass(frozen=True, eq=False)
class Reweight(Intervention):
    """Raise and lower attention scores, as Hubs' adaptive sink-guided decoding does.

    The scaled scores A of the queries at `target`, before the softmax and in all heads alike, become

        A + alpha |A| for keys at `boost`,    A - alpha |A| for keys at `damp`.

    Attributes:
        boost: Positions of keys whose scores are raised.
        damp: Positions of keys whose scores are lowered; none may be in `boost`, too.
        alpha: The weight α, finite and at least 0.
        layers: The layers in which scores are changed.
        target: Positions of the queries.
    """

    POSITIONS = ("boost", "damp", "target")

    boost: Tensor
    damp: Tensor
    alpha: float
    layers: Iterable[int]
    _: KW_ONLY
    target: Tensor

    def __post_init__(self):
        super().__post_init__()
        if shared := sorted(set(self.boost.tolist()) & set(self.damp.tolist())):
            raise ValueError(
                f"{self._named('boost')} and damp share the position {shared[0]}; a key can be in one of them only"
            )
        if not isinstance(self.alpha, (int, float)) or not 0 <= self.alpha < float("inf"):
            raise ValueError(f"{self._named('alpha')}: {self.alpha} is not a finite weight of 0 or more")

    def edges(self, layer: int) -> tuple[Edges, ...]:
        """The edges from `boost` and those from `damp`, each with its change of scores."""
        return (
            Edges(self.boost, self.target, partial(_weighted, by=self.alpha)),
            Edges(self.damp, self.target, partial(_weighted, by=-self.alpha)),
        )


@dataclass(frozen=True, eq=False)
class Discard(Intervention):
    """Remove rows at `positions` after layer `after_layer`: later layers run without them (Flow section 6).

    Attributes:
        positions: The rows to remove.
        after_layer: The last layer in which they exist.
    """

    POSITIONS = ("positions",)

    positions: Tensor
    after_layer: int

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "after_layer", _layer(self.after_layer, field=self._named("after_layer")))

    def acts(self, layer: int) -> bool:
        """Whether the rows are gone from this layer."""
        return layer > self.after_layer

    def gone(self, layer: int) -> Tensor:
        """The removed positions."""
        return self.positions

    def check(self, states: States) -> None:
        """Check that the intervention fits the run with these states."""
        super().check(states)
        self._check_layer("after_layer", self.after_layer, states)


def _weighted(scores: Tensor, *, by: float) -> Tensor:
    return scores + by * scores.abs()


def as_positions(given: Iterable[int] | Tensor, *, field: str) -> Tensor:
    """Turn positions in any form into a sorted LongTensor without repetitions, on the CPU, (n,).

    Args:
        given: Whole numbers, at least 0.
        field: The name of the field, for error messages.

    Raises:
        TypeError: They are not a list of whole numbers.
        ValueError: One of them is negative.
    """
    if not isinstance(given, Tensor):
        given = _listed(given, field=field, of="positions")
        try:
            given = torch.as_tensor(given)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            raise TypeError(f"{field}: positions must be a list of whole numbers, not {given!r}"[:200]) from None
    if given.numel() == 0:
        return torch.empty(0, dtype=torch.long)
    if given.ndim != 1 or given.dtype not in INTEGERS:
        shape = tuple(given.shape)
        raise TypeError(f"{field}: positions must be a list of whole numbers, not {given.dtype} of shape {shape}")
    positions = given.cpu().long().unique()  # sorted
    if int(positions[0]) < 0:
        raise ValueError(f"{field}: position {int(positions[0])} is outside the prompt; positions count from 0")
    return positions


def _layers(given: Iterable[int], *, field: str) -> tuple[int, ...]:
    return tuple(sorted({_layer(layer, field=field) for layer in _listed(given, field=field, of="layers")}))


def _layer(given: int, *, field: str) -> int:
    try:
        layer = index(given)
    except TypeError:
        layer = -1
    if layer < 0:
        raise ValueError(f"{field}: {given!r} is not a layer; layers are whole numbers that count from 0")
    return layer


def _listed(given: Iterable, *, field: str, of: str) -> list:
    try:
        return list(given)
    except TypeError:
        raise TypeError(f"{field}: {given!r} is not a list of {of}") from None


def _hashable(value: object) -> object:
    if isinstance(value, Tensor):
        return value.numpy().tobytes()
    return value if isinstance(value, (int, float, str)) else id(value)
