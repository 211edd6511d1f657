"""Record what every layer receives and computes, while the model runs as it is.

1. `decoder_inputs`: the model's own forward pass runs up to the text decoder. By then media are encoded and positions
   explicit;
2. `record`: the decoder then runs by its own code. The input of each layer (from hooks) and its keys and values (from
   the attention function) are kept by reference, not copied;
3. what the decoder adds between two layers is kept, too: some families add features of the pictures there, as the
   family's adapter says. Any other change would make a replay wrong, and is an error;
4. `logits`: the head computes logits for the rows asked for.

A prompt is one sequence whose tokens read all tokens before them. Padding, packing and sliding windows are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from avsink.engine import attention
from avsink.models.families.base import text_decoder

__all__ = ["Listener", "States", "decoder_inputs", "logits", "record", "run_decoder"]


@dataclass(frozen=True, kw_only=True, eq=False)
class States:
    """One prompt of N tokens, layer by layer.

    Attributes:
        inputs: The input of each layer, (N, width); of the first layer alone if none were kept between layers.
        keys: The rotated keys of each layer, (key heads, N, D).
        values: The values of each layer, (key heads, N, D).
        output: The output of the last layer, before the final norm, (N, width).
        added: Layer -> what the decoder adds to that layer's output, (N, width); most families add nothing.
        rotary: Cosines and sines of all positions, each (1, N, D).
        tokens: Token ids, (N,); None if the prompt was given as embeddings.
        decoder: The module that was recorded.
    """

    inputs: tuple[Tensor, ...]
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    output: Tensor
    added: Mapping[int, Tensor]
    rotary: tuple[Tensor, Tensor]
    tokens: Tensor | None
    decoder: object = None

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
                f"a plan needs what enters layer {layer}, but this run kept nothing between layers, which is enough "
                "only for plans that act at all of them; use clean_run(..., between=True), the default"
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
        if not torch.equal(self.rotary[0][:, at], other.rotary[0][:, at]):
            return "the tokens have other positions (time, height, width)"
        if self.tokens is not None and other.tokens is not None:
            other_ids = (self.tokens[at] != other.tokens[at]).nonzero()
            if len(other_ids):
                return f"the token at position {int(at[other_ids[0, 0]])} is another one"
        return None


class _Caught(Exception):
    """Ends a forward pass at the text decoder."""


@torch.inference_mode()
def decoder_inputs(model, inputs) -> dict[str, object]:
    """Find the keyword arguments with which the model's own forward pass calls its text decoder, for a batch of one.

    Raises:
        ValueError: The inputs are padded, or are not one prompt.
        RuntimeError: The forward pass never calls the text decoder.
    """
    padding = inputs.tensors.get("attention_mask")
    if padding is not None and not bool((padding == 1).all()):
        raise ValueError("inputs.attention_mask: the prompt is padded; give one prompt, without padding")
    caught = {}

    def catch(module, args, kwargs):
        assert not args, "the decoder is called with keyword arguments alone"
        caught.update(kwargs, past_key_values=None, use_cache=False)
        raise _Caught

    hook = model.decoder.register_forward_pre_hook(catch, with_kwargs=True, prepend=True)
    try:
        model.forward(inputs)
    except _Caught:
        pass
    finally:
        hook.remove()
    if not caught:
        raise RuntimeError(f"{type(model.hf).__name__} never called its text decoder {type(model.decoder).__name__}")
    embedded = caught["inputs_embeds"] if caught.get("inputs_embeds") is not None else caught["input_ids"]
    if len(embedded) != 1:
        raise ValueError(f"inputs: {len(embedded)} prompts in one batch; give one, a replay makes its own batches")
    return caught


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


@torch.inference_mode()
def run_decoder(model, arguments: Mapping[str, object], listeners: Sequence[Listener]) -> Tensor:
    """Run the decoder by its own code.

    Args:
        model: A loaded model.
        arguments: The decoder's keyword arguments, from `decoder_inputs`.
        listeners: What follows the run.

    Returns:
        The decoder's output after the final norm, (N, width).

    Raises:
        RuntimeError: The model was loaded with another attention function.
        ValueError: The prompt's mask is more than causal.
    """
    if model.decoder.config._attn_implementation != attention.NAME:
        raise RuntimeError(
            f"the decoder's attention is {model.decoder.config._attn_implementation!r}, which would ignore every "
            f'intervention; load the model with avsink.load(..., attention="{attention.NAME}")'
        )

    def read(module, query, key, value, mask, **kwargs):
        if mask is not None:
            raise ValueError(
                "inputs: this prompt's mask is more than causal (padding, packing or a sliding window), which the "
                "instruments do not support; give one prompt, without padding"
            )
        for listener in listeners:
            listener.attend(module.layer_idx, query[0], key[0], value[0], scaling=kwargs["scaling"])
        return attention.plain(module, query, key, value, mask, **kwargs)

    for listener in listeners:
        listener.begin()
    with _hooks(model.decoder.layers, listeners), attention.substituted(read):
        return model.decoder(**arguments).last_hidden_state[0]


def record(model, inputs, listeners: Sequence[Listener] = (), *, between: bool = True) -> tuple[States, Tensor]:
    """Run one prompt and record it (steps 1 to 3).

    Args:
        model: A loaded model.
        inputs: One prompt, from `model.prepare`.
        listeners: What else follows the run.
        between: Whether to keep the inputs of all layers, or of the first alone.

    Returns:
        The states, and the decoder's output after the final norm, (N, width).

    Raises:
        ValueError: The inputs are padded, or are not one prompt.
        RuntimeError: Something changes the states between two layers that the family's adapter does not know of.
    """
    arguments = decoder_inputs(model, inputs)
    keeper = _Keeper(model.decoder, added=text_decoder(model).added(arguments), between=between)
    output = run_decoder(model, arguments, [keeper, *listeners])
    return keeper.states(tokens=inputs.tensors.get("input_ids")), output


@torch.inference_mode()
def logits(model, normed: Tensor) -> Tensor:
    """Compute the next token's logits, float32 (…, vocabulary), from rows (…, width) after the final norm."""
    return model.hf.get_output_embeddings()(normed).float()


@contextmanager
def _hooks(layers: Sequence[torch.nn.Module], listeners: Sequence[Listener]) -> Iterator[None]:
    def before(index):
        def enter(module, args, kwargs):
            for listener in listeners:
                listener.enter(index, (args[0] if args else kwargs["hidden_states"])[0], kwargs)

        return enter

    def after(index):
        def leave(module, args, output):
            for listener in listeners:
                listener.leave(index, output[0])

        return leave

    hooks = [layer.register_forward_pre_hook(before(i), with_kwargs=True) for i, layer in enumerate(layers)]
    hooks += [layer.register_forward_hook(after(i)) for i, layer in enumerate(layers)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Keeper(Listener):
    """Keeps what `States` are made of, by reference.

    Args:
        decoder: The text decoder.
        added: Layer -> (positions, features) that the decoder is known to add to that layer's output.
        between: Whether to keep the inputs of all layers, or of the first alone.
    """

    def __init__(self, decoder, *, added: Mapping[int, tuple[Tensor, Tensor]], between: bool):
        self.decoder, self.announced, self.between = decoder, added, between
        self.inputs, self.keys, self.values, self.added = [], [], [], {}
        self.output = self.rotary = None

    def enter(self, layer, states, arguments):
        if layer and states.data_ptr() != self.output.data_ptr():
            self.added[layer - 1] = self._added(layer - 1, self.output, states)
        if self.between or not layer:
            self.inputs.append(states)
        self.rotary = arguments["position_embeddings"]

    def attend(self, layer, query, key, value, *, scaling):
        self.keys.append(key)
        self.values.append(value)

    def leave(self, layer, states):
        self.output = states

    def states(self, *, tokens: Tensor | None) -> States:
        return States(
            inputs=tuple(self.inputs),
            keys=tuple(self.keys),
            values=tuple(self.values),
            output=self.output,
            added=self.added,
            rotary=self.rotary,
            tokens=None if tokens is None else tokens[0].cpu(),
            decoder=self.decoder,
        )

    def _added(self, layer: int, left: Tensor, entered: Tensor) -> Tensor:
        """Find what was added to a layer's output, (N, width); anything that was not announced is an error."""
        if layer in self.announced:
            positions, features = self.announced[layer]
            added = torch.zeros_like(left)
            added[positions.to(left.device)] = features.to(left)
            if torch.equal(left + added, entered):
                return added
        raise RuntimeError(
            f"something changes the states of {type(self.decoder).__name__} between layers {layer} and {layer + 1}, "
            "and replays would miss it: if another tool has put a hook there, remove it; if this family of models does "
            "so itself, its adapter must say what is added (`added` in avsink/models/families/base.py)"
        )
