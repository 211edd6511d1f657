"""Discarding tokens once their information has moved on (Flow section 6; table 4).

1. *When*: a group of tokens can be discarded after layer L if blocking all its outgoing edges (`Video↛Others`) in all
   layers after L does no harm, and neither does it for any deeper layer. The first such L counts (`last_needed`);
2. *How*: after that layer its rows are removed from the model's own layers, and from their cache
   (`avsink.engine.live.prefill`);
3. *What it costs and saves*: accuracy and prefill latency under the paper's configurations (`compare`), and beside the
   latency the operations that discarding saves (`arithmetic`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pandas as pd
import torch

from avsink.engine.interventions import Discard
from avsink.engine.live import prefill, rows_left
from avsink.engine.record import decoder_inputs
from avsink.engine.run import letter_probabilities
from avsink.instruments.pathways import GROUPS
from avsink.sample import Unmeasured

__all__ = [
    *("ALL", "BASELINE", "CLIP", "INTERLEAVED"),
    *("arithmetic", "check_layers", "compare", "configurations", "last_needed"),
]

# Configuration of table 4 -> the group of tokens that it discards. All of them together are `ALL`.
CLIP = {"Discard Ques": "NonOptQ", "Discard Audio": "Audio", "Discard Video": "Video"}
INTERLEAVED = {"Discard Ques": "NonOptQ", "Discard Ref": "Reference", "Discard Cand": "Candidates"}
BASELINE, ALL = "Baseline", "Discard All"


def last_needed(curves: pd.DataFrame, *, pathway: str, n_layers: int, margin: float) -> int:
    """Find the last layer in which a group of tokens is needed.

    Blocking does no harm after layer L if, for L and all deeper layers, the interval of Δp lies above -margin in every
    category. The result is the first such L. A category with one sample has no interval, and counts as harmed.

    Args:
        curves: Rows of `knockout.onward`, summarised: pathway, layer, low, and category if there is more than one.
        pathway: All outgoing edges of the group, such as `Video↛Others`.
        n_layers: Number of layers of the model.
        margin: The largest relative drop of the answer's probability that counts as no harm.

    Returns:
        A layer; -1 if the tokens are never needed, n_layers - 1 if they are needed to the end.

    Raises:
        ValueError: There is no curve of the pathway.
    """
    found = curves[curves["pathway"] == pathway]
    if found.empty:
        known = ", ".join(curves["pathway"].unique()) or "no pathway"
        raise ValueError(f"there is no curve of {pathway}; the table has {known}")
    lowest = found.assign(low=found["low"].fillna(float("-inf"))).groupby("layer")["low"].min()
    harmed = [int(layer) for layer, low in lowest.items() if not low > -margin]
    return min(n_layers - 1, max(harmed, default=-2) + 1)


def arithmetic(model, layout, discards: Sequence[Discard] = ()) -> float:
    """Count the floating-point operations of the decoder's prefill under `discards`.

    At each layer, a row costs two operations for each weight of the layer's matrices, and for each key that it reads
    four operations for each dimension of the queries. Norms, activations and the rotary embedding are left out.
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
    """Answer one sample under each configuration of table 4.

    Args:
        model: A loaded model.
        sample: A sample with options.
        after: Group of tokens -> the last layer in which it is present. A group with a negative layer is discarded
            after layer 0, the earliest that is possible.
        rounds: How many times all configurations are run in turn; the shortest time of each counts.

    Returns:
        One row per configuration, the baseline first, with the columns sample, task, category, config, predicted,
        correct (0 or 1), chance (that a guess is right), tokens (rows that are left, summed over layers), prefill_ms
        (time of the decoder's prefill in milliseconds) and arithmetic (fraction of the baseline's operations).

    Raises:
        Unmeasured: The sample has no options.
        ValueError: `after` names a layer that the model does not have.
    """
    if not sample.options:
        raise Unmeasured(sample.id, "has no options")
    check_layers(after, n_layers=model.n_layers)
    inputs = model.prepare(sample)
    configs = configurations(inputs.layout, after=after)
    embedded = decoder_inputs(model, inputs)
    answers, times = {}, dict.fromkeys(configs, float("inf"))
    for _ in range(rounds):
        for name, discards in configs.items():
            with _stopwatch(model) as seconds:
                answers[name], _ = prefill(model, inputs, discards, embedded=embedded)
            times[name] = min(times[name], *seconds)
    whole = arithmetic(model, inputs.layout)
    rows = []
    for name, discards in configs.items():
        said = letter_probabilities(inputs, answers[name].softmax(dim=-1))
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
    """Raise ValueError, naming the group, for a layer that the model does not have. Negative means never needed."""
    for group, layer in after.items():
        if layer >= n_layers:
            raise ValueError(f"after, {group}: there is no layer {layer}; this model's are 0 to {n_layers - 1}")


def configurations(layout, *, after: Mapping[str, int]) -> dict[str, tuple[Discard, ...]]:
    """Name in table 4 -> what is discarded. Groups that the prompt lacks or `after` does not name are left out."""
    kinds = INTERLEAVED if layout.candidates else CLIP
    single = {
        name: (Discard(positions, max(0, after[group])),)
        for name, group in kinds.items()
        if group in after and len(positions := GROUPS[group](layout))
    }
    return {BASELINE: (), **single, ALL: tuple(one for discards in single.values() for one in discards)}


@contextmanager
def _stopwatch(model) -> Iterator[list[float]]:
    """Time each pass of the text decoder alone, in seconds: neither the media encoders nor the output head."""
    wait = torch.cuda.synchronize if model.device.type == "cuda" else lambda: None
    starts, seconds = [], []

    def begin(*_) -> None:
        wait()
        starts.append(time.perf_counter())

    def end(*_) -> None:
        wait()
        seconds.append(time.perf_counter() - starts[-1])

    hooks = model.decoder.register_forward_pre_hook(begin), model.decoder.register_forward_hook(end)
    try:
        yield seconds
    finally:
        for hook in hooks:
            hook.remove()
