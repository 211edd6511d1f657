"""What a run leaves at every layer, and from which replays start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["States", "weights_of"]


@dataclass(frozen=True, kw_only=True, eq=False)
class States:
    """One prompt of N tokens, layer by layer.

    Attributes:
        inputs: The input of each layer, (N, width); of the first layer alone if none were kept between layers.
        keys: The rotated keys of each layer, (key heads, N, D).
        values: The values of each layer, (key heads, N, D).
        output: What the final norm receives, (N, width).
        added: Layer -> what the decoder adds to that layer's output, (N, width); most families add nothing.
        rotary: For each layer, cosines and sines of all positions, each (1, N, D); in most families one pair for all.
        tokens: Token ids, (N,); None if the prompt was given as embeddings.
        decoder: The module that was recorded.
        weights: What `weights_of` the model was then.
    """

    inputs: tuple[Tensor, ...]
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    output: Tensor
    added: Mapping[int, Tensor]
    rotary: tuple[tuple[Tensor, Tensor], ...]
    tokens: Tensor | None
    decoder: object = None
    weights: tuple = ()

    @property
    def n(self) -> int:
        """Tokens of the prompt."""
        return len(self.output)

    @property
    def n_layers(self) -> int:
        """Layers of the decoder."""
        return len(self.keys)

    def entering(self, layer: int, positions: Tensor) -> Tensor:
        """Look up the layer's input at these positions, (positions, width).

        Raises:
            ValueError: The run kept no states between layers.
        """
        if layer >= len(self.inputs):
            raise ValueError(
                f"a plan needs what enters layer {layer}, but this run kept nothing between layers; use "
                "clean_run(..., between=True), the default"
            )
        return self.inputs[layer][positions]

    def differs(self, other: States, *, at: Tensor) -> str | None:
        """Say why rows `at` of the other run cannot replace the same rows of this one; None if they can."""
        if (self.n, self.n_layers, self.output.shape[-1]) != (other.n, other.n_layers, other.output.shape[-1]):
            return (
                f"{other.n} tokens, {other.n_layers} layers of width {other.output.shape[-1]}, and not "
                f"{self.n}, {self.n_layers} of {self.output.shape[-1]}"
            )
        if self is other:
            return None
        if self.decoder is not other.decoder:
            return "they are of another model"
        if self.weights != other.weights:
            return "they are of the same model with other weights"
        tables = {(id(own), id(its)): (own, its) for own, its in zip(self.rotary, other.rotary, strict=True)}
        for own, its in tables.values():
            if not torch.equal(own[0][:, at], its[0][:, at]):
                return "the tokens have other positions (time, height, width)"
        if self.tokens is not None and other.tokens is not None:
            other_ids = (self.tokens[at] != other.tokens[at]).nonzero()
            if len(other_ids):
                return f"the token at position {int(at[other_ids[0, 0]])} is another one"
        return None


def weights_of(model) -> tuple:
    """Where the weights are that replays use, and how often each has been changed: equal if none has been since."""
    parts = (model.decoder, model.hf.get_output_embeddings())
    weights = (weight for part in parts for weight in part.parameters())
    return tuple((weight.data_ptr(), 0 if weight.is_inference() else weight._version) for weight in weights)
