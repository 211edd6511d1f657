"""Discarding tokens once their information has moved on (Flow section 6; table 4).

1. *When*: after the first layer behind which all ways out of a kind of token (`Video↛Others`) can be closed, in all
   layers to the last, without harm (`last_needed`);
2. *How*: behind that layer their rows are really gone. Hooks on the model's own layers shorten states, rotary tables,
   positions and masks (`discarding`), so later layers are shorter, and so is what they leave in the cache. Decoding
   goes on from that cache by the model's own code: a new token finds in each layer the keys that are left there;
3. *What it costs and saves*: accuracy and latency of the prefill, with the same configurations as the paper
   (`sweep`); beside the latency stands the arithmetic that discarding saves (`arithmetic`).

The distribution of the next token after `discarding` is that of `Run.replay` with the same `Discard`s, which removes
nothing and computes as little as it can. Tests hold them against each other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pandas as pd
import torch
from torch import Tensor

from avsink.interventions import Discard
from avsink.knockout import GROUPS
from avsink.run import Unmeasured
from avsink.states import decoder_inputs, logits

__all__ = [
    "ALL",
    "CLIP",
    "INTERLEAVED",
    "arithmetic",
    "check_layers",
    "configurations",
    "discarding",
    "last_needed",
    "prefill",
    "sweep",
]

# Configuration of table 4 -> the group of tokens that goes. Together they are `ALL`.
CLIP = {"Discard Ques": "NonOptQ", "Discard Audio": "Audio", "Discard Video": "Video"}
INTERLEAVED = {"Discard Ques": "NonOptQ", "Discard Ref": "Reference", "Discard Cand": "Candidates"}
BASELINE, ALL = "Baseline", "Discard All"


def last_needed(curves: pd.DataFrame, *, pathway: str, n_layers: int, margin: float) -> int:
    """The layer L after which tokens can go: the first behind which closing all ways out of them does no harm.

    It does no harm behind a layer if, for this layer and for all deeper ones, the interval of Δp lies above -margin in
    each category. A category with one sample has no interval, and counts as harmed. -1: the tokens were never needed;
    n_layers - 1: they are needed to the end.

    curves: of `knockout.onward`, summarised: the columns pathway, layer, low, and category, if there is one.
    """
    found = curves[curves["pathway"] == pathway]
    if found.empty:
        raise ValueError(f"no curve of {pathway} to go by; the table has {', '.join(curves['pathway'].unique())}")
    lowest = found.assign(low=found["low"].fillna(float("-inf"))).groupby("layer")["low"].min()
    harmed = [int(layer) for layer, low in lowest.items() if not low > -margin]
    return min(n_layers - 1, max(harmed, default=-2) + 1)


@contextmanager
def discarding(model, discards: Sequence[Discard], *, n: int) -> Iterator[None]:
    """Within this context a prompt of `n` tokens loses rows on its way through the decoder.

    Single tokens that are decoded afterwards pass as they are. (From a cache that `prefill` has left, decoding goes on
    without this context in SDPA attention. Eager attention is handed masks, which are shortened here.) Raises
    ValueError, naming the field, for positions and layers that are not there, for the last token, whose output is the
    answer, and for a decoder that adds features of pictures behind a layer from which rows are gone (DeepStack).
    """
    left = _left(discards, n=n, n_layers=model.n_layers)
    first = next((layer for layer, now in enumerate(left) if len(now) < n), len(left))
    hooks = [model.decoder.register_forward_pre_hook(_no_deepstack_behind(first), with_kwargs=True)]
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
def prefill(model, inputs, discards: Sequence[Discard] = ()):
    """The prompt through the text decoder, rows discarded on the way: logits (vocabulary,), and the cache."""
    arguments = decoder_inputs(model, inputs) | {"use_cache": True}
    with discarding(model, discards, n=inputs.layout.n):
        output = model.decoder(**arguments)
    return logits(model, output.last_hidden_state[0, -1]), output.past_key_values


def arithmetic(model, layout, discards: Sequence[Discard] = ()) -> float:
    """Floating-point operations of the decoder's prefill, after `discards`; norms and the like are left out.

    A row costs two operations a weight of the layer's matrices. It reads the keys before it, for four operations a
    feature of a query.
    """
    config = model.decoder.config
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    total = 0.0
    for layer, alive in zip(model.decoder.layers, _left(discards, n=layout.n, n_layers=model.n_layers), strict=True):
        weights = sum(p.numel() for p in layer.parameters() if p.ndim == 2)
        rows = len(alive)
        total += 2.0 * weights * rows + 2.0 * rows * (rows + 1) * config.num_attention_heads * width
    return total


def sweep(model, sample, *, after: Mapping[str, int], rounds: int = 3) -> pd.DataFrame:
    """Table 4 for one sample: a row a configuration, the baseline first.

    after: group of tokens -> the last layer in which it is there; below 0, the group goes after the first layer, since
        rows must enter somewhere. rounds: all configurations run in turn so many times; the best time of each counts.
    Columns: sample, task, category, config, predicted, correct, chance (of a guess), tokens (layer-rows), prefill_ms,
    arithmetic (share of the baseline's operations).
    """
    if not sample.options:
        raise Unmeasured(sample.id, "has no options")
    check_layers(after, n_layers=model.n_layers)
    inputs = model.prepare(sample).to(model.device)
    configs = configurations(inputs.layout, after=after)
    answers, times = {}, dict.fromkeys(configs, float("inf"))
    for _ in range(rounds):
        for name, discards in configs.items():
            answers[name], seconds = _timed(model, inputs, discards)
            times[name] = min(times[name], seconds)
    whole = arithmetic(model, inputs.layout)
    rows = []
    for name, discards in configs.items():
        probabilities = answers[name].softmax(dim=-1)
        said = {letter: float(probabilities[list(ids)].max()) for letter, ids in inputs.letters.items()}
        predicted = max(said, key=said.__getitem__)
        rows.append(
            {
                "sample": sample.id,
                "task": sample.task,
                "category": sample.category,
                "config": name,
                "predicted": predicted,
                "correct": float(predicted == sample.answer),
                "chance": 1 / len(sample.options),
                "tokens": sum(len(p) for p in _left(discards, n=inputs.layout.n, n_layers=model.n_layers)),
                "prefill_ms": 1000 * times[name],
                "arithmetic": arithmetic(model, inputs.layout, discards) / whole,
            }
        )
    return pd.DataFrame(rows)


def check_layers(after: Mapping[str, int], *, n_layers: int) -> None:
    """Raise ValueError, naming the group, for a layer that the model does not have. Below 0 is never needed."""
    for group, layer in after.items():
        if layer >= n_layers:
            raise ValueError(f"after, {group}: there is no layer {layer}; this model's are 0 to {n_layers - 1}")


def configurations(layout, *, after: Mapping[str, int]) -> dict[str, tuple[Discard, ...]]:
    """Name in table 4 -> what is discarded; without groups that the prompt lacks or `after` does not name."""
    kinds = INTERLEAVED if layout.candidates else CLIP
    single = {
        name: (Discard(positions, max(0, after[group])),)
        for name, group in kinds.items()
        if group in after and len(positions := GROUPS[group](layout))
    }
    return {BASELINE: (), **single, ALL: tuple(one for discards in single.values() for one in discards)}


def _timed(model, inputs, discards) -> tuple[Tensor, float]:
    wait = torch.cuda.synchronize if model.device.type == "cuda" else lambda: None
    arguments = decoder_inputs(model, inputs) | {"use_cache": True}
    with torch.inference_mode(), discarding(model, discards, n=inputs.layout.n):
        wait()
        start = time.perf_counter()
        output = model.decoder(**arguments)
        wait()
        seconds = time.perf_counter() - start
    return logits(model, output.last_hidden_state[0, -1]), seconds


def _left(discards: Sequence[Discard], *, n: int, n_layers: int) -> list[Tensor]:
    """Positions that are there, layer by layer."""
    for one in discards:
        if len(one.positions) and int(one.positions[-1]) >= n - 1:
            place = "the last token, which answers" if int(one.positions[-1]) == n - 1 else "outside of the prompt"
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


def _no_deepstack_behind(first: int):
    """A hook for the decoder that refuses features which are added to rows that are gone by then."""

    def enter(module, args, kwargs):
        added = len(kwargs.get("deepstack_visual_embeds") or ())
        if first < added:
            raise ValueError(
                f"Discard.after_layer: {type(module).__name__} adds features of the pictures behind layers 0 to "
                f"{added - 1} (DeepStack), and can lose rows after layer {added - 1} at the earliest"
            )

    return enter


def _shortened(before: Tensor, now: Tensor, n: int):
    """A hook that lets only the rows `now` into a layer; the states that come hold the rows `before`."""
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


ROWS = {"position_ids": -1, "cache_position": -1}  # a layer's arguments with an entry a row, and in which dimension


def _at(value: Tensor, rows: Tensor, *, dim: int) -> Tensor:
    return value.index_select(dim, rows.to(value.device))
