"""Discarding tokens once their information has moved on (Flow section 6; table 4).

1. *When*: after the first layer behind which all ways out of a kind of token (`Video↛Others`) can be closed, in all
   layers to the last, without harm (`last_needed`);
2. *How*: behind that layer their rows are really gone. Hooks on the model's own layers shorten states, rotary tables,
   positions and masks (`discarding`), so later layers are shorter, and so is what they leave in the cache. Decoding
   goes on from that cache by the model's own code: a new token finds in each layer the keys that are left there;
3. *What it costs and saves*: accuracy and latency of the prefill, with the same configurations as the paper
   (`compare`); beside the latency stands the arithmetic that discarding saves (`arithmetic`).

The distribution of the next token after `discarding` is that of `Run.replay` with the same `Discard`s, which removes
nothing and computes as little as it can. Tests hold them against each other.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from avsink.engine.interventions import Discard
from avsink.engine.live import discarding, rows_left
from avsink.engine.record import decoder_inputs, logits
from avsink.instruments.pathways import GROUPS
from avsink.sample import Unmeasured

__all__ = [
    "ALL",
    "CLIP",
    "INTERLEAVED",
    "arithmetic",
    "check_layers",
    "configurations",
    "last_needed",
    "compare",
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


def arithmetic(model, layout, discards: Sequence[Discard] = ()) -> float:
    """Floating-point operations of the decoder's prefill, after `discards`; norms and the like are left out.

    A row costs two operations a weight of the layer's matrices. It reads the keys before it, for four operations a
    feature of a query.
    """
    config = model.decoder.config
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    total = 0.0
    for layer, alive in zip(
        model.decoder.layers, rows_left(discards, n=layout.n, n_layers=model.n_layers), strict=True
    ):
        weights = sum(p.numel() for p in layer.parameters() if p.ndim == 2)
        rows = len(alive)
        total += 2.0 * weights * rows + 2.0 * rows * (rows + 1) * config.num_attention_heads * width
    return total


def compare(model, sample, *, after: Mapping[str, int], rounds: int = 3) -> pd.DataFrame:
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
                "tokens": sum(len(p) for p in rows_left(discards, n=inputs.layout.n, n_layers=model.n_layers)),
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
