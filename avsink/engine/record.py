"""Record what every layer receives and computes, while the model runs as it is.

1. `decoder_inputs`: the model's own forward pass runs up to the text decoder. By then media are encoded and positions
   explicit;
2. `record`: the decoder then runs by its own code. `avsink.engine.listeners` keeps the input of each layer (from hooks)
   and its keys and values (from the attention function);
3. what the decoder adds after a layer is kept, too: some families add features of the pictures there, as the family's
   adapter says. Any other change would make a replay wrong, and is an error;
4. `logits`: the head computes logits for the rows asked for.

A replay calls the layers by itself, with nothing but states and rotary tables. So whatever else acts on a state on its
way is refused here: other people's hooks, arguments of layers and attention that are not known, states that change
after the norm. A prompt is one sequence whose tokens read all tokens before them. Padding, packing and sliding windows
are refused, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from avsink.engine import attention
from avsink.engine.foreign import refuse_foreign
from avsink.engine.listeners import Keeper, Listener
from avsink.engine.states import States, weights_of
from avsink.models.families.base import text_decoder

__all__ = ["decoder_inputs", "logits", "record", "run_decoder"]

# Arguments of layers that a replay leaves out: they belong to the cache, which there is none of, to what is returned,
# or are handed on to the attention function, which looks at them itself.
LEFT_OUT = {
    *("position_ids", "cache_position", "past_key_values", "use_cache", "return_dict"),
    *("output_attentions", "output_hidden_states", "output_router_logits"),
}
GIVEN = {"hidden_states", "attention_mask", "position_embeddings"}  # also in a replay


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
        RuntimeError: The decoder's attention is another one, or the decoder does what replays do not know of.
        ForeignCode: Somebody else has put a hook on a layer.
        ValueError: The prompt's mask is more than causal.
    """
    attention.require_in_use(model.decoder)
    refuse_foreign(model)
    attended = []

    def read(module, query, key, value, mask, **kwargs):
        if mask is not None:
            raise ValueError(
                "inputs: this prompt's mask is more than causal (padding, packing or a sliding window), which the "
                "instruments do not support; give one prompt, without padding"
            )
        attention.require_plain(module, kwargs, n=query.shape[2])
        attended.append(module.layer_idx)
        for listener in listeners:
            listener.attend(module.layer_idx, query[0], key[0], value[0], scaling=kwargs["scaling"])
        return attention.plain(module, query, key, value, mask, **kwargs)

    for listener in listeners:
        listener.begin()
    with _hooks(model.decoder, listeners) as normed, attention.substituted(read):
        output = model.decoder(**arguments).last_hidden_state
    for layer in range(len(model.decoder.layers)):
        attention.require_one_call(layer, attended.count(layer))
    if len(normed) != 1 or not (output is normed[0] or torch.equal(output, normed[0])):
        raise RuntimeError(
            f"{type(model.decoder).__name__} does not end with one call of its norm, and replays would miss what else "
            "it does; such decoders are not supported"
        )
    return output[0]


def record(
    model,
    inputs,
    listeners: Sequence[Listener] = (),
    *,
    between: bool = True,
    embedded: Mapping[str, object] | None = None,
) -> tuple[States, Tensor]:
    """Run one prompt and record it (steps 1 to 3).

    Args:
        model: A loaded model.
        inputs: One prompt, from `model.prepare`.
        listeners: What else follows the run.
        between: Whether to keep the inputs of all layers, or of the first alone.
        embedded: `decoder_inputs(model, inputs)`, if they are known already.

    Returns:
        The states, and the decoder's output after the final norm, (N, width).

    Raises:
        ValueError: The inputs are padded, or are not one prompt.
        RuntimeError: As `run_decoder`; or something changes the states between two layers that the family's adapter
            does not know of.
    """
    arguments = embedded or decoder_inputs(model, inputs)
    keeper = Keeper(model.decoder, added=text_decoder(model).added(arguments), between=between)
    output = run_decoder(model, arguments, [keeper, *listeners])
    return keeper.states(tokens=inputs.tensors.get("input_ids"), weights=weights_of(model)), output


@torch.inference_mode()
def logits(model, normed: Tensor) -> Tensor:
    """Compute the next token's logits, float32 (…, vocabulary), from rows (…, width) after the final norm."""
    return model.hf.get_output_embeddings()(normed).float()


@contextmanager
def _hooks(decoder: torch.nn.Module, listeners: Sequence[Listener]) -> Iterator[list[Tensor]]:
    """Within this context the listeners hear of every layer and of the norm; yields what the norm returns."""
    normed: list[Tensor] = []

    def before(index):
        def enter(module, args, kwargs):
            _require_known(index, args, kwargs)
            for listener in listeners:
                listener.enter(index, (args[0] if args else kwargs["hidden_states"])[0], kwargs)

        return enter

    def after(index):
        def leave(module, args, output):
            for listener in listeners:
                listener.leave(index, output[0])

        return leave

    def end(module, args):
        for listener in listeners:
            listener.end(args[0][0])

    hooks = [layer.register_forward_pre_hook(before(i), with_kwargs=True) for i, layer in enumerate(decoder.layers)]
    hooks += [layer.register_forward_hook(after(i)) for i, layer in enumerate(decoder.layers)]
    hooks += [decoder.norm.register_forward_pre_hook(end)]
    hooks += [decoder.norm.register_forward_hook(lambda module, args, output: normed.append(output))]
    try:
        yield normed
    finally:
        for hook in hooks:
            hook.remove()


def _require_known(layer: int, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
    """Raise RuntimeError if a layer is given what a replay would not give it."""
    unknown = [name for name, value in kwargs.items() if value is not None and name not in GIVEN | LEFT_OUT]
    if len(args) > 1:
        unknown.append(f"a second one of type {type(args[1]).__name__}")
    if unknown or kwargs.get("position_embeddings") is None:
        wrong = f"the argument {unknown[0]}" if unknown else "no position_embeddings"
        raise RuntimeError(
            f"layer {layer} of this decoder is given {wrong}, which replays do not know; such decoders are not "
            "supported"
        )
