"""The plain way: one full forward pass of the model for every plan. It shares no code with the engine.

It is used in two ways:

1. as *speed reference* (`Reference`): what published knockout scripts do, done well. The stock decoder, with blocked
   edges in 4-D masks that are made once for all windows of a pathway, outside the measured time; media encoded once;
   logits of the last position only;
2. as *oracle* (`oracle`): all four kinds of interventions in any combination, with its own attention function that
   computes every score. It is slow, and short enough to be checked by reading.

A plan for the oracle is a list of dicts:

    dict(kind="block", source=[...], target=[...], layers=[...])      these queries cannot read these keys
    dict(kind="reweight", boost=[...], damp=[...], target=[...], layers=[...], alpha=0.2)
                                                                      A + alpha |A|, A - alpha |A|, before the softmax
    dict(kind="restore", positions=[...], layers=[...], run=0)        rows enter these layers as in run 0
    dict(kind="discard", positions=[...], after_layer=3)              no such keys in later layers

A query without a key reads nothing: its attention output is 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import torch
from torch import Tensor

from avsink.compat import enable_torchvision

enable_torchvision()  # before anything of transformers is imported
from transformers import AttentionInterface  # noqa: E402

Edges = Sequence[tuple[Tensor, Tensor]]  # (source positions, target positions), ...
NAME = "plain"


@contextmanager
def attending(model, name: str) -> Iterator[None]:
    """Within this context the model has another attention implementation."""

    def choose(implementation: str) -> None:
        nested = getattr(model.hf.config, "text_config", None) is not None
        model.hf.set_attn_implementation({"text_config": implementation} if nested else implementation)

    before = model.decoder.config._attn_implementation
    choose(name)
    assert model.decoder.config._attn_implementation == name
    try:
        yield
    finally:
        choose(before)


@contextmanager
def removed_after(handles: Iterable) -> Iterator[None]:
    """Remove hooks after this context."""
    handles = list(handles)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Reference:
    """Knockout by full forward passes.

    Attributes:
        side: `sdpa`: a 4-D mask in every layer, causal outside the window. `causal`: the same without masks outside the
            window, where the fused kernel for causal attention does half the work. `eager`: eager attention, which
            published scripts require, and which makes its own causal masks.
    """

    def __init__(self, model, inputs, *, side: str = "sdpa"):
        self.model, self.n, self.side = model, inputs.layout.n, side
        self.arguments = {}

        class Reached(Exception):
            pass

        def catch(module, args, kwargs):
            self.arguments.update(kwargs, use_cache=False, past_key_values=None)
            raise Reached

        with removed_after([model.decoder.register_forward_pre_hook(catch, with_kwargs=True)]):
            try:
                model.forward(inputs)
            except Reached:
                pass

    @torch.inference_mode()
    def mask(self, edges: Edges) -> Tensor:
        """Make the mask without these edges, to be added to scores, (1, 1, N, N).

        SDPA also takes boolean masks, but converts them at each call. With this mask a query without keys would read
        all keys equally; no pathway leaves such a query.
        """
        device, dtype = self.model.device, self.model.dtype
        never = torch.finfo(dtype).min
        mask = torch.full((self.n, self.n), never, dtype=dtype, device=device).triu_(1)
        for source, target in edges:
            mask[target.to(device)[:, None], source.to(device)] = never
        return mask[None, None]

    @torch.inference_mode()
    def sweep(self, mask: Tensor | None, windows: Sequence[Iterable[int]]) -> Tensor:
        """Compute next-token distributions with `mask` in one window of layers after another, (windows, vocabulary)."""
        with attending(self.model, "eager" if self.side == "eager" else "sdpa"):
            return torch.stack([self._forward(mask, window) for window in windows])

    @cached_property
    def causal(self) -> Tensor:
        """The mask without blocked edges."""
        return self.mask([])

    def _forward(self, mask: Tensor | None, window: Iterable[int]) -> Tensor:
        def give(this):
            return lambda module, args, kwargs: (args, kwargs | {"attention_mask": this})

        masks = {layer: mask for layer in window}
        if self.side == "sdpa" and masks:
            masks = {layer: masks.get(layer, self.causal) for layer in range(self.model.n_layers)}
        layers = self.model.decoder.layers
        with removed_after(
            layers[layer].self_attn.register_forward_pre_hook(give(this), with_kwargs=True)
            for layer, this in masks.items()
        ):
            states = self.model.decoder(**self.arguments).last_hidden_state  # (1, N, width)
        return self.model.hf.get_output_embeddings()(states[:, -1])[0].float().softmax(-1)


def attend(module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, *, scaling, edits=(), **kwargs):
    """Compute softmax(edited scores + mask) values, with all scores at once.

    Args:
        module: The attention module.
        query: (1, heads, N, D).
        key: (1, key heads, N, D).
        value: (1, key heads, N, D).
        attention_mask: 0 or -inf, (N, N).
        scaling: The factor of the scores.
        edits: (targets, keys, factor), applied one after the other.
        **kwargs: What else transformers passes; not used.
    """
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = query @ key.transpose(2, 3) * scaling  # (1, heads, N, N)
    for targets, keys, factor in edits:
        of = scores[:, :, targets[:, None], keys]
        scores[:, :, targets[:, None], keys] = of + factor * of.abs()
    weights = (scores.float() + attention_mask).softmax(-1)
    weights = weights.masked_fill(attention_mask.isneginf().all(-1)[:, None], 0.0).to(value.dtype)
    return (weights @ value).transpose(1, 2).contiguous(), weights


AttentionInterface.register(NAME, attend)


@torch.inference_mode()
def layer_inputs(model, inputs) -> list[Tensor]:
    """Compute the input of each layer in a run without interventions, (N, width)."""
    seen: dict[int, Tensor] = {}
    oracle(model, inputs, [], positions=[], seen=seen)
    return [seen[layer] for layer in range(model.n_layers)]


@torch.inference_mode()
def oracle(
    model,
    inputs,
    plan: Sequence[dict],
    *,
    positions: Sequence[int],
    others: Sequence[Sequence[Tensor]] = (),
    seen: dict[int, Tensor] | None = None,
) -> Tensor:
    """Compute logits at `positions` under one plan, float32 (positions, vocabulary).

    Args:
        model: The model.
        inputs: The prompt.
        plan: A list of dicts, see above.
        positions: Where logits are asked for.
        others: `layer_inputs` of the runs to restore from.
        seen: If given, it is filled with the inputs of all layers.
    """
    n, device = inputs.layout.n, model.device

    def at(step: dict, field: str) -> Tensor:
        return torch.as_tensor(step[field], dtype=torch.long, device=device)

    def enter(index: int):
        def replace(module, args, kwargs):
            states = args[0].clone()
            for step in plan:
                if step["kind"] == "restore" and index in step["layers"]:
                    states[0, at(step, "positions")] = others[step["run"]][index][at(step, "positions")]
            if seen is not None:
                seen[index] = states[0]
            return (states, *args[1:]), kwargs

        return replace

    def attended(index: int):
        mask = torch.full((n, n), float("-inf"), device=device).triu(1)
        edits = []
        for step in plan:
            if step["kind"] == "block" and index in step["layers"]:
                mask[at(step, "target")[:, None], at(step, "source")] = float("-inf")
            if step["kind"] == "discard" and index > step["after_layer"]:
                mask[:, at(step, "positions")] = float("-inf")
            if step["kind"] == "reweight" and index in step["layers"]:
                edits.append((at(step, "target"), at(step, "boost"), step["alpha"]))
                edits.append((at(step, "target"), at(step, "damp"), -step["alpha"]))

        def give(module, args, kwargs):
            return args, kwargs | {"attention_mask": mask, "edits": edits}

        return give

    layers = list(enumerate(model.decoder.layers))
    handles = [layer.register_forward_pre_hook(enter(i), prepend=True, with_kwargs=True) for i, layer in layers]
    handles += [layer.self_attn.register_forward_pre_hook(attended(i), with_kwargs=True) for i, layer in layers]
    with attending(model, NAME), removed_after(handles):
        logits = model.forward(inputs, use_cache=False).logits[0]  # (N, vocabulary)
    return logits[list(positions)].float()
