"""Interventions on the model's own layers, while it runs by itself: rows that are really gone (Flow section 6).

1. `rows_left`: the `Discard`s say which positions are still there at each layer;
2. `discarding`: hooks on the model's own layers shorten states, rotary tables, positions and masks, so later layers are
   shorter, and so is what they leave in the cache;
3. `prefill`: the prompt runs under these hooks. Decoding continues from that cache by the model's own code: a new token
   finds in each layer the keys that are left there.

The distribution of the next token after `discarding` is that of `Run.replay` with the same `Discard`s, which removes
nothing and computes as little as it can. Tests compare the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from avsink.engine.interventions import Discard
from avsink.engine.record import decoder_inputs, logits
from avsink.models.families.base import TextDecoder, text_decoder

__all__ = ["discarding", "prefill", "rows_left"]


@contextmanager
def discarding(model, discards: Sequence[Discard], *, n: int) -> Iterator[None]:
    """Within this context a prompt of `n` tokens loses rows on its way through the decoder.

    Single tokens that are decoded afterwards pass as they are. With SDPA attention, decoding from a cache of `prefill`
    needs this context no longer; eager attention is given masks, which are shortened here.

    Raises:
        ValueError: For positions or layers that do not exist, for the last token, whose output is the answer, and
            for a decoder that adds features of pictures after a layer that has lost rows (DeepStack).
    """
    left = rows_left(discards, n=n, n_layers=model.n_layers)
    first = next((layer for layer, now in enumerate(left) if len(now) < n), len(left))
    refuse = _nothing_added_from(first, text_decoder(model))
    hooks = [model.decoder.register_forward_pre_hook(refuse, with_kwargs=True)]
    hooks += [
        layer.register_forward_pre_hook(_shortened(before, now, n), with_kwargs=True)
        for layer, before, now in zip(model.decoder.layers, [left[0], *left], left, strict=False)
        if len(now) < n
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def prefill(model, inputs, discards: Sequence[Discard] = (), *, embedded: Mapping[str, object] | None = None):
    """Run the prompt through the text decoder, discarding rows on the way: logits (vocabulary,), and the cache.

    embedded: of `decoder_inputs(model, inputs)`, for callers that run one prompt several times.
    """
    arguments = {**(embedded or decoder_inputs(model, inputs)), "use_cache": True}
    if (states := arguments.get("inputs_embeds")) is not None:
        arguments["inputs_embeds"] = states.clone()  # a layer may change its input where it lies
    with discarding(model, discards, n=inputs.layout.n):
        output = model.decoder(**arguments)
    return logits(model, output.last_hidden_state[0, -1]), output.past_key_values


def rows_left(discards: Sequence[Discard], *, n: int, n_layers: int) -> list[Tensor]:
    """The positions that are still there, layer by layer."""
    for one in discards:
        if len(one.positions) and int(one.positions[-1]) >= n - 1:
            place = "the last token, which answers" if int(one.positions[-1]) == n - 1 else "outside the prompt"
            raise ValueError(f"Discard.positions: position {int(one.positions[-1])} is {place} ({n} tokens)")
        if one.after_layer >= n_layers:
            raise ValueError(f"Discard.after_layer: there is no layer {one.after_layer}; the last is {n_layers - 1}")
    left = []
    for layer in range(n_layers):
        alive = torch.ones(n, dtype=torch.bool)
        for one in discards:
            if one.acts(layer):
                alive[one.gone(layer)] = False
        left.append(alive.nonzero()[:, 0])
    return left


def _nothing_added_from(first: int, family: TextDecoder):
    """A hook for the decoder that refuses features which would be added to rows that are gone."""

    def enter(module, args, kwargs):
        last = max(family.added(kwargs), default=-1)
        if first <= last:
            raise ValueError(
                f"Discard.after_layer: {type(module).__name__} adds features of the pictures up to layer {last} "
                f"(DeepStack), and can lose rows after layer {last} at the earliest"
            )

    return enter


def _shortened(before: Tensor, now: Tensor, n: int):
    """A hook that lets only the rows `now` into a layer, whose input holds the rows `before`."""
    kept = torch.searchsorted(before, now)

    def enter(module, args, kwargs):
        states = args[0] if args else kwargs["hidden_states"]  # (1, rows, width)
        mask = kwargs.get("attention_mask")  # (1, 1, rows, keys) or None
        rotary, changed = kwargs["position_embeddings"], {}  # (1, N, D) each; of a new token, (1, 1, D)
        if rotary[0].shape[-2] == 1 < n:  # decoding, one token at a time: it finds fewer keys
            if mask is not None:
                changed["attention_mask"] = _at(mask, torch.cat([now, torch.arange(n, mask.shape[-1])]), dim=-1)
            return args, kwargs | changed
        if rotary[0].shape[-2] != n:
            raise ValueError(f"discarding is prepared for a prompt of {n} tokens; this one has {rotary[0].shape[-2]}")
        for name, dim in ROWS.items():
            if isinstance(kwargs.get(name), Tensor):
                changed[name] = _at(kwargs[name], now, dim=dim)
        changed["position_embeddings"] = tuple(_at(table, now, dim=-2) for table in rotary)
        if mask is not None:
            changed["attention_mask"] = _at(_at(mask, now, dim=-1), now, dim=-2)
        states = _at(states, kept, dim=1)
        if args:
            return (states, *args[1:]), kwargs | changed
        return args, kwargs | changed | {"hidden_states": states}

    return enter


ROWS = {"position_ids": -1, "cache_position": -1}  # a layer's arguments with one entry per row, and the dimension


def _at(value: Tensor, rows: Tensor, *, dim: int) -> Tensor:
    return value.index_select(dim, rows.to(value.device))
