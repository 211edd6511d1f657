"""What the checks of `avsink.engine.self_check` share: prompts, passes over them, and how outcomes are compared.

Outcomes are next-token logits at up to `ROWS` positions after the media: the root mean square of their difference, in
units of their standard deviation. In float32 the worst position counts, and `EXACT` is allowed.

In half precision rounding alone moves logits. By how much depends on the model, and at single positions it moves them
as far as a fault would: where it turns over which expert is chosen, or which of two keys is read. So the median
position counts, and what is allowed is measured: one pass is made in two of transformers' own attentions, which compute
the same and round differently, and `TIMES` the distance of their outcomes is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avsink.engine import attention
from avsink.engine.interventions import Plan
from avsink.engine.observers import LastRow
from avsink.engine.record import decoder_inputs, logits, record
from avsink.engine.run import Run
from avsink.media import Clip
from avsink.sample import Media, Sample, Text

__all__ = ["EXACT", "Case", "Wrong"]

SECONDS, SIDE = 3, 96  # length of the noise, more than one chunk of the interleaving in any family; pixels of a frame
EXACT, TIMES = 1e-3, 3
ROWS = 32


class Wrong(Exception):
    """A check's own finding, as opposed to an error inside it."""


class Case:
    """Prompts and passes. A pass is made when its outcome is first needed; logits are (rows, vocabulary)."""

    def __init__(self, model, prompts: tuple | None):
        self.model, self.decoder, self.prompts = model, model.decoder, prompts
        self.half = torch.finfo(model.dtype).eps > 1e-6

    def prepare(self) -> None:
        """Make the prompts, and choose the positions at which outcomes are compared."""
        self.prompts = self.prompts or tuple(_noise(self.model, seed=seed) for seed in (0, 1))
        self.layout = self.prompts[0].layout
        self.n = self.layout.n
        self.media = torch.cat([self.layout.video, self.layout.audio]).sort().values
        self.after_media = torch.arange(int(self.media[-1]) + 1, self.n)
        at = torch.linspace(0, len(self.after_media) - 1, steps=min(ROWS, len(self.after_media)))
        self.rows = self.after_media[at.long()]

    @property
    def layers(self) -> range:
        """All layers."""
        return range(len(self.decoder.layers))

    @cached_property
    def own(self) -> tuple[Tensor, list, list]:
        """The model's own pass: logits, each call of its decoder (arguments, output), the modules that attended."""
        called, attended = [], []

        def note(module, *args, **kwargs):
            attended.append(module)
            return attention.plain(module, *args, **kwargs)

        def enter(module, args, kwargs):
            called.append([_kept(kwargs)])

        hooks = [
            self.decoder.register_forward_pre_hook(enter, with_kwargs=True, prepend=True),
            self.decoder.register_forward_hook(lambda module, args, output: called[-1].append(output)),
        ]
        try:
            with attention.substituted(by=note):
                found = self.model.forward(self.prompts[0]).logits[0]
        finally:
            for hook in hooks:
                hook.remove()
        return found[self.rows], called, attended

    @cached_property
    def arguments(self) -> tuple[dict, dict]:
        """The arguments with which the model calls its decoder, for each prompt."""
        first = self.own[1][0][0] | {"past_key_values": None, "use_cache": False}
        return first, decoder_inputs(self.model, self.prompts[1])

    @cached_property
    def last_row(self) -> LastRow:
        """The last token's attention in the first of `runs`, to media and what is before them, and to what is after."""
        groups = {"media and before": torch.arange(int(self.after_media[0])), "after media": self.after_media}
        return LastRow(groups)

    @cached_property
    def runs(self) -> tuple[Run, Run]:
        """A clean run of each prompt."""
        runs = []
        for inputs, embedded in zip(self.prompts, self.arguments, strict=True):
            states, output = record(self.model, inputs, () if runs else [self.last_row], embedded=_kept(embedded))
            runs.append(Run(model=self.model, inputs=inputs, states=states, logits=logits(self.model, output[-1:])[0]))
        return tuple(runs)

    def decoded(self, *, by: str | None = None, **changes) -> Tensor:
        """Run the decoder itself, with some arguments changed: its output, (N, width).

        Args:
            by: The name of an attention of transformers' own, to be used instead of ours.
            **changes: The arguments that are changed.
        """
        config, name = self.decoder.config, self.decoder.config._attn_implementation
        config._attn_implementation = by or name
        try:
            return self.decoder(**_kept(self.arguments[0] | changes)).last_hidden_state[0, -self.n :]
        finally:
            config._attn_implementation = name

    @cached_property
    def stock(self) -> Tensor:
        """Logits of a pass in transformers' own attention."""
        return self.logits(self.decoded(by="sdpa"))

    def recorded(self, run: Run) -> Tensor:
        """Logits of a run."""
        return self.logits(self.decoder.norm(run.states.output))

    def replayed(self, run: Run, plans: Sequence[Plan]) -> Tensor:
        """Logits of a run's replays, all of them side by side, (plans, rows, vocabulary)."""
        return run.replay_logits(plans, self.rows.tolist(), progress=False)

    def logits(self, normed: Tensor) -> Tensor:
        """Logits at `rows` from all rows of the decoder's output, (N, width)."""
        return logits(self.model, normed[self.rows])

    @cached_property
    def tolerance(self) -> float:
        """How far apart outcomes may be that should be equal."""
        if not self.half:
            return EXACT
        return max(EXACT, TIMES * self.apart(self.logits(self.decoded(by="eager")), self.stock))

    def apart(self, found: Tensor, other: Tensor) -> float:
        """How far apart outcomes are; NaN if they are not numbers."""
        found, other = found.float().cpu(), other.float().cpu()
        distances = (found - other).square().mean(dim=-1).sqrt() / other.std(dim=-1)  # (rows,)
        return float(distances.median() if self.half else distances.max())

    def same(self, found: Tensor, other: Tensor, what: str) -> None:
        """Raise `Wrong` unless these outcomes are the same but for rounding."""
        if not (apart := self.apart(found, other)) <= self.tolerance:  # also if it is NaN
            raise Wrong(
                f"{what} differ: logits are {apart:.2g} standard deviations apart, {self.tolerance:.2g} allowed"
            )


def _kept(arguments: dict) -> dict:
    """The decoder's arguments, with a copy of the states: a layer may change them where they lie."""
    states = arguments.get("inputs_embeds")
    return arguments if states is None else arguments | {"inputs_embeds": states.clone()}


def _noise(model, *, seed: int):
    """Make the prompt with the question about a clip of noise, without reading any file."""
    noise, fps, rate = np.random.default_rng(seed), model.card.fps, model.sampling_rate
    frames = noise.integers(0, 256, (round(SECONDS * fps), SIDE, SIDE, 3), dtype=np.uint8)
    waveform = 0.1 * noise.standard_normal(SECONDS * rate, dtype=np.float32)
    parts = (Media(path=Path("noise"), kind="video"), Text(text="Which object makes the sound?"))
    sample = Sample(id="self-check", task="", category="", parts=parts, options=("dog", "cat"), answer="A")
    return model.assemble(sample, [Clip(frames=frames, fps=fps, waveform=waveform, sampling_rate=rate)])
