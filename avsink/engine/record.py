"""What a run leaves behind at every layer, recorded while the model runs as it is.

1. `decoder_inputs`: the model's own forward pass goes as far as the door of the text decoder; media are encoded and
   positions explicit there;
2. `record`: the decoder then runs by its own code. On the way are kept, of each layer, its input (hooks) and its keys
   and values (the attention function), by reference and not copied;
3. whatever the decoder does between two layers is found out, too: some families add features of the pictures there
   (DeepStack). Anything else would make a replay wrong, and is an error;
4. `logits`: final norm and head, for the rows asked.

A prompt is one sequence whose tokens read all tokens before them. Padding, packing and sliding windows are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from avsink.engine import attention

__all__ = ["Listener", "States", "decoder_inputs", "logits", "record", "run_decoder"]


@dataclass(frozen=True, kw_only=True, eq=False)
class States:
    """One prompt of N tokens, layer by layer.

    inputs: of each layer, (N, width); of the first alone, if the run kept none between layers. keys, values: of each
    layer, (key heads, N, D), keys rotated.
    output: of the last layer, before the final norm, (N, width).
    added: layer -> what the decoder adds to that layer's output, (N, width); most families add nothing.
    rotary: cosines and sines of all positions, each (1, N, D). tokens: ids (N,), or None if they were not at hand.
    decoder: the module that left them.
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
        return len(self.output)

    @property
    def n_layers(self) -> int:
        return len(self.keys)

    def entering(self, layer: int, positions: Tensor) -> Tensor:
        """What enters the layer at these positions, (positions, width)."""
        if layer >= len(self.inputs):
            raise ValueError(
                f"a plan needs what enters layer {layer}, but this run kept nothing between layers, which is enough "
                "only for plans that act at all of them; use clean_run(..., between=True), the default"
            )
        return self.inputs[layer][positions]

    def differs(self, other: States, *, at: Tensor) -> str | None:
        """Why rows `at` of the other run cannot stand in for rows of this one; None if they can."""
        if (self.n, self.n_layers, self.output.shape[-1]) != (other.n, other.n_layers, other.output.shape[-1]):
            return (
                f"{other.n} tokens, {other.n_layers} layers of width {other.output.shape[-1]}, and not "
                f"{self.n}, {self.n_layers} of {self.output.shape[-1]}"
            )
        if self is other:
            return None
        if self.decoder is not other.decoder:
            return "another model left them"
        if not torch.equal(self.rotary[0][:, at], other.rotary[0][:, at]):
            return "the tokens stand at other positions (time, height, width)"
        if self.tokens is not None and other.tokens is not None:
            other_ids = (self.tokens[at] != other.tokens[at]).nonzero()
            if len(other_ids):
                return f"the token at position {int(at[other_ids[0, 0]])} is another one"
        return None


class _Caught(Exception):
    """Ends a forward pass where it has done its work."""


@torch.inference_mode()
def decoder_inputs(model, inputs) -> dict[str, object]:
    """What the model's own forward pass hands to its text decoder, a batch of one. Raises ValueError on padding."""
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
    """Sees a run of the decoder as it goes by; every method may be left out. N tokens, one prompt."""

    def begin(self) -> None:
        """A run begins."""

    def enter(self, layer: int, states: Tensor, arguments: Mapping[str, object]) -> None:
        """states: the layer's input, (N, width). arguments: what else the decoder hands to the layer."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, *, scaling: float) -> None:
        """query (heads, N, D); key, value (key heads, N, D); queries and keys are rotated."""

    def leave(self, layer: int, states: Tensor) -> None:
        """states: the layer's output, (N, width)."""


@torch.inference_mode()
def run_decoder(model, arguments: Mapping[str, object], listeners: Sequence[Listener]) -> Tensor:
    """Run the decoder as it is; its output behind its final norm, (N, width)."""
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
    """Steps 1 to 3: the states, and the decoder's output behind its final norm, (N, width).

    between: keep the inputs of all layers, and not of the first alone.
    """
    arguments = decoder_inputs(model, inputs)
    keeper = _Keeper(model.decoder, arguments, between=between)
    output = run_decoder(model, arguments, [keeper, *listeners])
    return keeper.states(tokens=inputs.tensors.get("input_ids")), output


@torch.inference_mode()
def logits(model, normed: Tensor) -> Tensor:
    """Next-token logits of rows (…, width) behind the final norm; float32 (…, vocabulary)."""
    return model.hf.get_output_embeddings()(normed).float()


@contextmanager
def _hooks(layers: Sequence[torch.nn.Module], listeners: Sequence[Listener]) -> Iterator[None]:
    def before(index):
        def enter(module, args, kwargs):
            for listener in listeners:
                listener.enter(index, (args[0] if args else kwargs["hidden_states"])[0], kwargs)

        return enter

    def behind(index):
        def leave(module, args, output):
            for listener in listeners:
                listener.leave(index, output[0])

        return leave

    hooks = [layer.register_forward_pre_hook(before(i), with_kwargs=True) for i, layer in enumerate(layers)]
    hooks += [layer.register_forward_hook(behind(i)) for i, layer in enumerate(layers)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Keeper(Listener):
    """Keeps what `States` are made of, by reference."""

    def __init__(self, decoder, arguments: Mapping[str, object], *, between: bool):
        self.decoder, self.arguments, self.between = decoder, arguments, between
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
        """What was added on the way from one layer to the next, (N, width): DeepStack, or an error."""
        features, seen = (self.arguments.get(name) for name in ("deepstack_visual_embeds", "visual_pos_masks"))
        if features is not None and layer < len(features):
            added = torch.zeros_like(left)
            added[seen[0].to(left.device)] = features[layer].to(left)
            if torch.equal(left + added, entered):
                return added
        raise RuntimeError(
            f"something changes the states of {type(self.decoder).__name__} between layers {layer} and {layer + 1}, "
            "and replays would miss it: either another tool has put a hook there, which must go, or this family does "
            "so itself, which avsink/states.py must learn"
        )
