"""What follows a run of the decoder, layer by layer, and the one that keeps what replays need.

A layer may change its input where it lies, and a decoder may do so between two layers. So what is kept are copies, made
when states pass: the value that entered a layer, and not whatever lies in its place afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from avsink.engine.states import States

__all__ = ["Keeper", "Listener"]


class Listener:
    """Follows a run of the decoder on one prompt of N tokens; a subclass defines the methods that it needs."""

    def begin(self) -> None:
        """Called once, before the first layer."""

    def enter(self, layer: int, states: Tensor, arguments: Mapping[str, object]) -> None:
        """Called before a layer.

        Args:
            layer: The layer.
            states: Its input, (N, width).
            arguments: All its keyword arguments.
        """

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, *, scaling: float) -> None:
        """Called with what a layer's attention function receives.

        Args:
            layer: The layer.
            query: Rotated queries, (heads, N, D).
            key: Rotated keys, (key heads, N, D).
            value: Values, (key heads, N, D).
            scaling: The factor of the scores.
        """

    def leave(self, layer: int, states: Tensor) -> None:
        """Called after a layer, with its output, (N, width)."""

    def end(self, states: Tensor) -> None:
        """Called after the last layer, with what the final norm receives, (N, width)."""


class Keeper(Listener):
    """Keeps what `States` are made of.

    Args:
        decoder: The text decoder.
        added: Layer -> (positions, features) that the decoder is known to add to that layer's output.
        between: Whether to keep the inputs of all layers, or of the first alone.
    """

    def __init__(self, decoder, *, added: Mapping[int, tuple[Tensor, Tensor]], between: bool):
        self.decoder, self.announced, self.between = decoder, added, between

    def begin(self):
        """Forget earlier runs."""
        self.inputs, self.keys, self.values, self.rotary, self.added = [], [], [], [], {}
        self.output = None

    def enter(self, layer, states, arguments):
        """Keep the layer's input and its rotary tables."""
        entered = self._next(layer, states) if layer else states.clone()
        if self.between or not layer:
            self.inputs.append(entered)
        self.rotary.append(arguments["position_embeddings"])

    def attend(self, layer, query, key, value, *, scaling):
        """Keep the layer's keys and values."""
        self.keys.append(key)
        self.values.append(value)

    def leave(self, layer, states):
        """Keep the layer's output, until the next layer or the norm has been given it."""
        self.output = states.clone()

    def end(self, states):
        """Keep what the final norm receives."""
        self.output = self._next(len(self.keys), states)

    def states(self, *, tokens: Tensor | None, weights: tuple) -> States:
        """Return what was kept; `tokens`: ids, (1, N); `weights`: of the model."""
        return States(
            inputs=tuple(self.inputs),
            keys=tuple(self.keys),
            values=tuple(self.values),
            output=self.output,
            added=self.added,
            rotary=tuple(self.rotary),
            tokens=None if tokens is None else tokens[0].cpu(),
            decoder=self.decoder,
            weights=weights,
        )

    def _next(self, layer: int, states: Tensor) -> Tensor:
        """Return a copy of what enters `layer` (or the norm), and keep what was added to what the layer before left."""
        if _same(states, self.output):
            return self.output
        self.added[layer - 1] = self._added(layer - 1, self.output, states)
        return states.clone()

    def _added(self, layer: int, left: Tensor, entered: Tensor) -> Tensor:
        """Find what was added to a layer's output, (N, width); anything that was not announced is an error."""
        if layer in self.announced:
            positions, features = self.announced[layer]
            added = torch.zeros_like(left)
            added[positions.to(left.device)] = features.to(left)
            if torch.equal(left + added, entered):
                return added
        after = f"layer {layer + 1}" if layer + 1 < len(self.decoder.layers) else "the final norm"
        raise RuntimeError(
            f"something changes the states of {type(self.decoder).__name__} between layer {layer} and {after}, and "
            "replays would miss it: if this family of models does so itself, its adapter must say what is added "
            "(`added` in avsink/models/families/base.py); if another tool does, remove it"
        )


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same bits, also where they are not numbers."""
    if one.shape != other.shape or one.dtype != other.dtype or one.device != other.device:
        return False
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[one.element_size()]
    return torch.equal(one.contiguous().view(bits), other.contiguous().view(bits))
