"""Causal tracing with the sinks of each layer, where tables 1 and 2 of Hubs take the same global sinks at all layers.

1. The clean and the corrupted run are those of `avsink.instruments.tracing`;
2. at the entry of each layer, those tokens of the dominated modality are restored that are sinks at *that* layer. At
   other layers the same tokens are computed like all others;
3. IE_clean and IE_corrupt are those of all layers together. The corrupted run is replayed once.
"""

from __future__ import annotations

import pandas as pd

from avsink.engine.interventions import Restore
from avsink.instruments.tracing import corrupt

__all__ = ["TOKEN_SET", "trace"]

TOKEN_SET = "Layer-wise"
"""The name of these sets in the column token_set."""


def trace(model, sample, *, dominance: str | None = None) -> pd.DataFrame:
    """Measure the effect of restoring the sinks of each layer at that layer, for one sample.

    Args:
        model: A loaded model whose card has sink dimensions and a threshold.
        sample: The sample.
        dominance: The dominant modality, `audio` or `video`; None to find it, which takes a third run.

    Returns:
        One row, with the columns of `avsink.instruments.tracing.trace`; tokens is the mean over layers.

    Raises:
        Unmeasured: No modality dominates the sample, or the corrupted run has the same prediction as the clean one.
        SampleError: The sample cannot be used.
        ValueError: The model's sinks are not calibrated.
    """
    traced = corrupt(model, sample, dominance=dominance)
    among, o_clean, o_corrupt = traced.restorable, traced.clean.predicted, traced.corrupted.predicted
    flags = traced.sinks.flags[:, among]  # (layers, tokens of the modality)
    plan = [Restore(among[own], [layer], traced.clean.states) for layer, own in enumerate(flags)]
    restored, base = traced.corrupted.replay([plan]), traced.corrupted.letter_probabilities
    p_clean, p_corrupt = (
        float(traced.corrupted.probability_of(letter, restored)[0]) for letter in (o_clean, o_corrupt)
    )
    row = {
        "sample": sample.id,
        "task": sample.task,
        "category": sample.category,
        "dominance": traced.dominance,
        "o_clean": o_clean,
        "o_corrupt": o_corrupt,
        "token_set": TOKEN_SET,
        "one_in": 0,
        "draw": 0,
        "ie_clean": p_clean - base[o_clean],
        "ie_corrupt": base[o_corrupt] - p_corrupt,
        "p_clean": p_clean,
        "p_corrupt": p_corrupt,
        "tokens": float(flags.sum(dim=1).float().mean()),
    }
    return pd.DataFrame([row])
