"""Interventions: what is done to a run, as data (Flow sections 4.1 and 6; Hubs sections 3 and 5).

An intervention says *what*, never how. Layer by layer it can be asked three questions, and whoever carries it out
knows nothing else of it:

1. `edges(layer)`: which attention edges are cut, or have their scores changed;
2. `given(layer)`: which rows enter the layer with the states of another run;
3. `gone(layer)`: which rows no longer exist.

A new kind is one more frozen dataclass that answers some of these; neither the others nor the engine change.

    Block(video, question, layers=range(3, 10))         # these queries cannot read these keys
    Restore(sinks, range(28), states=clean.states)      # these rows are what they were in another run
    Reweight(cross, uni, alpha=0.2, layers=range(6, 28), target=text)
    Discard(video, after_layer=26)                      # these rows end here

Positions are what the layout gives: LongTensors, lists or ranges. They become sorted tensors without repetitions. Empty
sets, no layers, and targets that stand before all of their sources are allowed and change nothing. Positions carry no
mark of the prompt that they were made for: what lies outside of a prompt is refused, what lies inside is believed.
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
    from avsink.engine.record import States

__all__ = ["Block", "Discard", "Edges", "Intervention", "Plan", "Restore", "Reweight", "as_plan", "as_positions"]

WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


@dataclass(frozen=True, eq=False)
class Edges:
    """All edges from `source` (keys) to `target` (queries), as far as the keys are not after the queries.

    score: from the scaled scores to new ones, elementwise; None cuts the edges.
    """

    source: Tensor
    target: Tensor
    score: Callable[[Tensor], Tensor] | None = None


class Intervention:
    """What all kinds share: checked fields, and three answers of which most are "nothing".

    POSITIONS: the names of the fields that hold positions. A kind that has a field `layers` acts in these.
    """

    POSITIONS: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self):
        for name in self.POSITIONS:
            object.__setattr__(self, name, as_positions(getattr(self, name), field=self._named(name)))
        if "layers" in self.__dict__:
            object.__setattr__(self, "layers", _layers(self.layers, field=self._named("layers")))

    def acts(self, layer: int) -> bool:
        """Whether it changes anything at this layer, or may do so."""
        return layer in self.layers

    def edges(self, layer: int) -> tuple[Edges, ...]:
        return ()

    def given(self, layer: int) -> tuple[Tensor, States] | None:
        return None

    def gone(self, layer: int) -> Tensor | None:
        return None

    def check(self, states: States) -> None:
        """Raise ValueError, naming the field, unless it fits the run that left `states`."""
        for name in self.POSITIONS:
            positions = getattr(self, name)
            if len(positions) and int(positions[-1]) >= states.n:
                raise ValueError(
                    f"{self._named(name)}: position {int(positions[-1])} is outside of the prompt, which has "
                    f"{states.n} tokens; take positions from the layout of the same inputs"
                )
        for layer in self.__dict__.get("layers", ()):
            self._check_layer("layers", layer, states)

    @cached_property
    def identity(self) -> tuple:
        """Equal for interventions that do the same wherever both act."""
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
    """One intervention, or several applied together, as a tuple."""
    together = (plan,) if isinstance(plan, Intervention) else tuple(plan)
    for one in together:
        if not isinstance(one, Intervention):
            raise TypeError(f"a plan is an intervention or a sequence of them; this one holds a {type(one).__name__}")
    return together


@dataclass(frozen=True, eq=False)
class Block(Intervention):
    """Attention knockout: queries at `target` cannot read keys at `source` (Flow section 4.1).

    A query that has lost all its keys reads nothing: its attention output is 0.
    """

    POSITIONS = ("source", "target")

    source: Tensor
    target: Tensor
    layers: Iterable[int]

    def edges(self, layer: int) -> tuple[Edges, ...]:
        return (Edges(self.source, self.target),)


@dataclass(frozen=True, eq=False)
class Restore(Intervention):
    """Causal tracing: rows at `positions` enter each of `layers` as they did in another run (Hubs section 3.2).

    states: what that run left, `other_run.states`; its prompt must have the same tokens at the same positions. Behind
    the last of `layers` the rows go on from what they were given, and read whatever the others have become. Rows that
    a `Discard` has removed stay away.
    """

    POSITIONS = ("positions",)

    positions: Tensor
    layers: Iterable[int]
    states: States

    def given(self, layer: int) -> tuple[Tensor, States]:
        return self.positions, self.states

    def check(self, states: States) -> None:
        super().check(states)
        if not isinstance(self.states, type(states)):
            kind = type(self.states).__name__
            raise TypeError(f"{self._named('states')}: these are what a run left, `other_run.states`, and not a {kind}")
        if reason := states.differs(self.states, at=self.positions):
            raise ValueError(f"{self._named('states')}: they come from another prompt or model: {reason}")


@dataclass(frozen=True, eq=False)
class Reweight(Intervention):
    """Adaptive sink-guided decoding's edit: of the scores A, before the softmax, that `target` gives to keys,

        A + alpha |A| at `boost`,    A - alpha |A| at `damp`    (Hubs section 5)

    A holds the scaled scores, all heads alike.
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
                f"{self._named('boost')} and damp share the position {shared[0]}; a key is one or the other"
            )
        if not isinstance(self.alpha, (int, float)) or not 0 <= self.alpha < float("inf"):
            raise ValueError(f"{self._named('alpha')}: {self.alpha} is not a finite weight of 0 or more")

    def edges(self, layer: int) -> tuple[Edges, ...]:
        return (
            Edges(self.boost, self.target, partial(_moved, by=self.alpha)),
            Edges(self.damp, self.target, partial(_moved, by=-self.alpha)),
        )


@dataclass(frozen=True, eq=False)
class Discard(Intervention):
    """Rows at `positions` exist up to and including layer `after_layer`, and in none behind it (Flow section 6)."""

    POSITIONS = ("positions",)

    positions: Tensor
    after_layer: int

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "after_layer", _layer(self.after_layer, field=self._named("after_layer")))

    def acts(self, layer: int) -> bool:
        return layer > self.after_layer

    def gone(self, layer: int) -> Tensor:
        return self.positions

    def check(self, states: States) -> None:
        super().check(states)
        self._check_layer("after_layer", self.after_layer, states)


def _moved(scores: Tensor, *, by: float) -> Tensor:
    return scores + by * scores.abs()


def as_positions(given: Iterable[int] | Tensor, *, field: str) -> Tensor:
    """Sorted, each once, on the CPU: (n,)."""
    if not isinstance(given, Tensor):
        given = _listed(given, field=field, of="positions")
        try:
            given = torch.as_tensor(given)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            raise TypeError(f"{field}: positions are a list of whole numbers, not {given!r}"[:200]) from None
    if given.numel() == 0:
        return torch.empty(0, dtype=torch.long)
    if given.ndim != 1 or given.dtype not in WHOLE:
        shape = tuple(given.shape)
        raise TypeError(f"{field}: positions are a list of whole numbers, not {given.dtype} of shape {shape}")
    positions = given.cpu().long().unique()  # sorted
    if int(positions[0]) < 0:
        raise ValueError(f"{field}: position {int(positions[0])} is outside of the prompt; positions count from 0")
    return positions


def _layers(given: Iterable[int], *, field: str) -> tuple[int, ...]:
    return tuple(sorted({_layer(layer, field=field) for layer in _listed(given, field=field, of="layers")}))


def _layer(given: int, *, field: str) -> int:
    try:
        layer = index(given)
    except TypeError:
        layer = -1
    if layer < 0:
        raise ValueError(f"{field}: {given!r} is no layer; layers are whole numbers and count from 0")
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
