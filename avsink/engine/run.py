"""A clean run of one prompt, and its replays under interventions (Flow section 4.1; Hubs, tables 1 and 2).

1. `clean_run` runs the prompt once, without interventions, and keeps every layer's states (`avsink.engine.record`);
2. `Run.replay` computes the distribution of the next token under each of many *plans*, exactly, without running what a
   plan cannot change (`avsink.engine.replay`). A plan is one intervention or several together
   (`avsink.engine.interventions`).

    run = clean_run(model, inputs)
    run.letter_probabilities["A"]
    run.replay([Block(video, question, layers=range(3, 10)), (Block(...), Discard(...))])     # (2, vocabulary)

An empty plan, and one that has nothing to act on (no layers, no positions), gives the clean run's distribution to the
last bit. A plan that acts and changes nothing, such as `Reweight` with α = 0 or a run restored to itself, is computed,
and gives it but for rounding: 1e-6 in float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import index

import psutil
import torch
from torch import Tensor

from avsink.engine import attention
from avsink.engine.foreign import refuse_foreign
from avsink.engine.interventions import Discard, Intervention, Plan, as_plan
from avsink.engine.listeners import Listener
from avsink.engine.observers import of_sample
from avsink.engine.record import logits, record
from avsink.engine.replay import replay
from avsink.engine.schedule import Schedule
from avsink.engine.states import States, weights_of
from avsink.sample import SampleError

__all__ = ["Cost", "Run", "clean_run", "letter_probabilities"]

ONE_IN = 4  # replays may take a quarter of the free memory


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The work of replays, in rows; a row is one token at one layer.

    Attributes:
        rows: Number of rows that the replays compute.
        full: Number of rows that one full forward pass per plan would compute.
    """

    rows: int
    full: int

    @property
    def limit(self) -> float:
        """How many times faster than full passes the replays can be, if every row costs the same."""
        return self.full / self.rows if self.rows else float("inf")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A clean run of one prompt, from which replays start.

    Attributes:
        model: The model that was run.
        inputs: The prompt, on the model's device.
        states: The states of every layer.
        logits: The logits of the next token, float32 (vocabulary,).
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
        """The probability of each option's letter: a softmax over the *whole* vocabulary, not over the letters."""
        return letter_probabilities(self.inputs, self.probabilities)

    @property
    def predicted(self) -> str:
        """The most probable option letter."""
        return max(self.letter_probabilities, key=self.letter_probabilities.__getitem__)

    def probability_of(self, letter: str, probabilities: Tensor) -> Tensor:
        """Look up the probability of an option letter, which is that of its most probable spelling.

        Args:
            letter: The letter.
            probabilities: Distributions of the next token, (…, vocabulary).

        Returns:
            Probabilities, (…).
        """
        return probabilities[..., list(self.inputs.letters[letter])].amax(dim=-1)

    def replay(self, plans: Sequence[Plan], *, max_bytes: int | None = None, progress: bool = True) -> Tensor:
        """Compute the distribution of the next token under each plan.

        Args:
            plans: Each one an intervention, or a sequence of interventions applied together.
            max_bytes: About how much memory the states and the work of all plans may take, in addition to the run and
                the result; by default a quarter of the free memory. With less memory the plans are replayed in more
                parts, and numbers change by no more than rounding. The limit is exceeded if one plan needs more.
            progress: Whether to show a progress bar, which counts rows, if it takes more than a few seconds.

        Returns:
            Probabilities, float32 (plans, vocabulary), on the model's device.

        Raises:
            ValueError: A plan does not fit this run; the message names the field.
            TypeError: Something is not a plan, or a field holds the wrong kind of value.
        """
        last = torch.tensor([self.states.n - 1])
        return self.replay_logits(plans, last, max_bytes=max_bytes, progress=progress)[:, 0].softmax(dim=-1)

    @torch.inference_mode()
    def replay_logits(
        self, plans: Sequence[Plan], positions: Iterable[int], *, max_bytes: int | None = None, progress: bool = True
    ) -> Tensor:
        """Compute the logits of the next token at several positions under each plan.

        Args:
            plans: As for `replay`.
            positions: The positions, at least one, in any order. No plan may remove one of them.
            max_bytes: As for `replay`.
            progress: As for `replay`.

        Returns:
            Logits, float32 (plans, positions, vocabulary), on the model's device.

        Raises:
            ValueError: A plan or a position does not fit this run; the message names the field.
            TypeError: Something is not a plan, or a field holds the wrong kind of value.
            RuntimeError: The model is not what it was in the clean run: its weights, or the attention of its layers.
            ForeignCode: Somebody else has put a hook on a layer.
        """
        attention.require_in_use(self.model.decoder)
        refuse_foreign(self.model)
        if weights_of(self.model) != self.states.weights:
            raise RuntimeError("the model's weights were changed after this run; make the run again with clean_run")
        plans = self._checked(plans)
        wanted, order = self._wanted(positions, plans)
        if max_bytes is not None and not (isinstance(max_bytes, int) and max_bytes > 0):
            raise ValueError(f"max_bytes: {max_bytes!r} is not a positive whole number of bytes")
        if max_bytes is None:
            max_bytes = _free(self.model.device) // ONE_IN
        rows = replay(self.model, self.states, plans, wanted=wanted, max_bytes=max_bytes, progress=progress)
        changed = (rows != self.states.output[wanted]).flatten(1).any(dim=1)  # (plans,)
        clean = self._clean_logits(wanted)
        found = clean.repeat(len(plans), 1, 1)
        if changed.any():
            found[changed.to(found.device)] = logits(self.model, self.model.decoder.norm(rows[changed]))
        return found[:, order]

    def cost(self, plans: Sequence[Plan]) -> Cost:
        """Count the work of one replay of these plans for the next token's distribution."""
        plans = self._checked(plans)
        states, last = self.states, torch.tensor([self.states.n - 1])
        rows = Schedule(plans, n=states.n, n_layers=states.n_layers, wanted=last).rows
        return Cost(rows=rows, full=len(plans) * states.n * states.n_layers)

    def _checked(self, plans: Sequence[Plan]) -> list[tuple[Intervention, ...]]:
        if isinstance(plans, Intervention):
            raise TypeError("plans: give a list of plans, also for a single one: replay([plan])")
        plans = [as_plan(plan) for plan in plans]
        for intervention in {id(one): one for plan in plans for one in plan}.values():
            intervention.check(self.states)
        return plans

    def _wanted(self, positions: Iterable[int], plans: list[tuple[Intervention, ...]]) -> tuple[Tensor, Tensor]:
        """Check and sort the positions; also return the index of each one asked for among the sorted ones."""
        try:
            asked = torch.as_tensor([index(p) for p in positions], dtype=torch.long)
        except TypeError:
            raise TypeError(f"positions: {positions!r} is not a list of whole numbers") from None
        if not len(asked) or int(asked.min()) < 0 or int(asked.max()) >= self.states.n:
            raise ValueError(f"positions: {asked.tolist()}; give at least one, from 0 to {self.states.n - 1}")
        wanted, order = asked.unique(return_inverse=True)
        for one in {id(one): one for plan in plans for one in plan if isinstance(one, Discard)}.values():
            if one.after_layer + 1 < self.states.n_layers and torch.isin(wanted, one.positions).any():
                raise ValueError("Discard.positions: a plan removes a position whose logits are asked for")
        return wanted, order

    def _clean_logits(self, wanted: Tensor) -> Tensor:
        if wanted.tolist() == [self.states.n - 1]:
            return self.logits[None]
        return logits(self.model, self.model.decoder.norm(self.states.output[wanted]))


def letter_probabilities(inputs, probabilities: Tensor) -> dict[str, float]:
    """Look up each option letter, by its most probable spelling, in one distribution (vocabulary,)."""
    return {letter: float(probabilities[list(ids)].amax()) for letter, ids in inputs.letters.items()}


def clean_run(model, inputs, *, observers: Sequence[Listener] = (), between: bool = True) -> Run:
    """Run the prompt once, without interventions, and keep what replays need.

    Args:
        model: What `avsink.load` returns.
        inputs: What `model.prepare` returns.
        observers: Observers (`avsink.engine.observers`) that measure in the same pass.
        between: Whether to keep the states between layers. Without them a run takes several times less memory, since
            keys and values are narrower than states. Then only plans can be replayed whose rows at every layer are
            among those that they compute at layer 0, since no other layer's inputs are known: ones with a `Restore` at
            every layer, and a `Block` or `Reweight` at every layer whose targets are all tokens from the first one on.
            Others are an error. A run can be restored from it at every layer, or from layer 0 on.

    Raises:
        ValueError: The inputs are padded, or are not one prompt.
        ForeignCode: Somebody else has put a hook on a layer (`avsink.engine.foreign`).
        RuntimeError: The decoder does what replays would miss (`avsink.engine.record`).
        SampleError: The model's logits, or states that an observer needs, are not finite.
    """
    inputs = inputs.to(model.device)
    with of_sample(inputs):
        states, output = record(model, inputs, observers, between=between)
    found = logits(model, output[-1:])[0]
    if bool(found.isnan().any()):
        raise SampleError(
            inputs.sample_id,
            f"the model's logits are not numbers in {str(output.dtype).removeprefix('torch.')}; load the model in "
            "bfloat16 or float32",
        )
    return Run(model=model, inputs=inputs, states=states, logits=found)


def _free(device: torch.device) -> int:
    """Return the free memory, in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available
