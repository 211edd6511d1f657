"""A clean run of one prompt, and its replays under interventions (Flow section 4.1; Hubs section 3.2).

1. `clean_run` runs the prompt once, as it is, and keeps what every layer left (`avsink.engine.record`);
2. `Run.replay` gives the distribution of the next token under each of many *plans*, exactly, without running what a
   plan cannot change (`avsink.engine.replay`). A plan is one intervention or several together (`avsink.engine.interventions`).

    run = clean_run(model, inputs)
    run.letter_probabilities["A"]
    run.replay([Block(video, question, layers=range(3, 10)), (Block(...), Discard(...))])     # (2, vocabulary)

An empty plan, and one that changes nothing, is the clean run itself, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import index

import psutil
import torch
from torch import Tensor

from avsink.engine.interventions import Discard, Intervention, Plan, as_plan
from avsink.engine.record import Listener, States, logits, record
from avsink.engine.replay import replay
from avsink.engine.schedule import Schedule

__all__ = ["Cost", "Run", "clean_run"]

SHARE = 4  # replays may take one part in so many of the memory that is free


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Work in layer-rows, a row being one token at one layer: what replays compute, and what full passes would."""

    rows: int
    full: int

    @property
    def limit(self) -> float:
        """How many times faster replays can be than full passes, if every row costs the same."""
        return self.full / self.rows if self.rows else float("inf")


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a clean run leaves behind.

    states: of every layer. logits: of the next token, float32 (vocabulary,).
    """

    model: object
    inputs: object
    states: States
    logits: Tensor

    @cached_property
    def probabilities(self) -> Tensor:
        """The distribution of the next token, (vocabulary,)."""
        return self.logits.softmax(dim=-1)

    @cached_property
    def letter_probabilities(self) -> dict[str, float]:
        """Probability of each option's letter, out of the *whole* vocabulary and not out of the letters."""
        return {letter: float(self.probability_of(letter, self.probabilities)) for letter in self.inputs.letters}

    @property
    def predicted(self) -> str:
        """The most probable of the option letters."""
        return max(self.letter_probabilities, key=self.letter_probabilities.__getitem__)

    def probability_of(self, letter: str, probabilities: Tensor) -> Tensor:
        """The probability of one letter in `probabilities` (…, vocabulary): its most probable spelling's."""
        return probabilities[..., list(self.inputs.letters[letter])].amax(dim=-1)

    def replay(self, plans: Sequence[Plan], *, max_bytes: int | None = None, progress: bool = True) -> Tensor:
        """Distributions of the next token under each of `plans`, float32 (plans, vocabulary), on the model's device.

        max_bytes: about how much memory the states and the work of all plans together may take, beside the run's own
            and the answer itself; by default a quarter of what is free. Less memory means more passes, and never a
            failure or other numbers, rounding apart. One plan's step is not split, so the least is what that needs.
        progress: show a bar, counting layer-rows, if it takes more than a few seconds.
        Raises ValueError or TypeError, naming the field, for a plan that does not fit this run.
        """
        last = torch.tensor([self.states.n - 1])
        return self.replay_logits(plans, last, max_bytes=max_bytes, progress=progress)[:, 0].softmax(dim=-1)

    @torch.inference_mode()
    def replay_logits(
        self, plans: Sequence[Plan], positions: Iterable[int], *, max_bytes: int | None = None, progress: bool = True
    ) -> Tensor:
        """Next-token logits at `positions` under each plan, float32 (plans, positions, vocabulary)."""
        plans = self._checked(plans)
        wanted, order = self._wanted(positions, plans)
        if max_bytes is not None and not (isinstance(max_bytes, int) and max_bytes > 0):
            raise ValueError(f"max_bytes: {max_bytes!r} is not a number of bytes")
        if max_bytes is None:
            max_bytes = _free(self.model.device) // SHARE
        rows = replay(self.model, self.states, plans, wanted=wanted, max_bytes=max_bytes, progress=progress)
        changed = (rows != self.states.output[wanted]).flatten(1).any(dim=1)  # (plans,)
        clean = self._clean_logits(wanted)
        found = clean.repeat(len(plans), 1, 1)
        if changed.any():
            found[changed.to(found.device)] = logits(self.model, self.model.decoder.norm(rows[changed]))
        return found[:, order]

    def cost(self, plans: Sequence[Plan]) -> Cost:
        """The work that these plans need, in one replay for the next token's distribution."""
        plans = self._checked(plans)
        states, last = self.states, torch.tensor([self.states.n - 1])
        rows = Schedule(plans, n=states.n, n_layers=states.n_layers, wanted=last).rows
        return Cost(rows=rows, full=len(plans) * states.n * states.n_layers)

    def _checked(self, plans: Sequence[Plan]) -> list[tuple[Intervention, ...]]:
        if isinstance(plans, Intervention):
            raise TypeError("plans: a list of plans is needed, also for one: replay([plan])")
        plans = [as_plan(plan) for plan in plans]
        for intervention in {id(one): one for plan in plans for one in plan}.values():
            intervention.check(self.states)
        return plans

    def _wanted(self, positions: Iterable[int], plans: list[tuple[Intervention, ...]]) -> tuple[Tensor, Tensor]:
        """Sorted positions, and where each one asked for stands among them."""
        try:
            asked = torch.as_tensor([index(p) for p in positions], dtype=torch.long)
        except TypeError:
            raise TypeError(f"positions: {positions!r} is not a list of whole numbers") from None
        if not len(asked) or int(asked.min()) < 0 or int(asked.max()) >= self.states.n:
            raise ValueError(f"positions: {asked.tolist()} must be some of the prompt's, 0 to {self.states.n - 1}")
        wanted, order = asked.unique(return_inverse=True)
        for one in {id(one): one for plan in plans for one in plan if isinstance(one, Discard)}.values():
            if one.after_layer + 1 < self.states.n_layers and torch.isin(wanted, one.positions).any():
                raise ValueError("Discard.positions: they hold a position whose logits are asked for")
        return wanted, order

    def _clean_logits(self, wanted: Tensor) -> Tensor:
        if wanted.tolist() == [self.states.n - 1]:
            return self.logits[None]
        return logits(self.model, self.model.decoder.norm(self.states.output[wanted]))


def clean_run(model, inputs, *, observers: Sequence[Listener] = (), between: bool = True) -> Run:
    """Run the prompt as it is. `model` and `inputs` are `avsink.load(...)` and `model.prepare(sample)`.

    observers: of `avsink.engine.observers`, to measure in the same pass.
    between: keep the states between layers. Without them a run is several times smaller, keys and values being narrower
        than states; it can be replayed, and restored from, under plans that act at every layer, and no others.
    """
    inputs = inputs.to(model.device)
    states, output = record(model, inputs, observers, between=between)
    return Run(model=model, inputs=inputs, states=states, logits=logits(model, output[-1:])[0])


def _free(device: torch.device) -> int:
    """Bytes that could be had now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available
