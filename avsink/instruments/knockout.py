"""Attention knockout along named pathways, layer by layer (Flow sections 4 and 5; figures 3 to 6, 8 to 10, 13, 14).

For one sample that the model answers correctly:

1. p_base is the probability of the predicted letter in the clean run;
2. for each pathway, a set of edges source -> target, and each layer l, these edges are blocked in a window of k layers
   around l, which gives p_knockout of the same letter;
3. Δp = (p_knockout - p_base) / p_base is clearly below 0 where the pathway carries what the prediction needs, and near
   0 where it can be spared.

Pathways, by the paper's own labels, are in `avsink.instruments.pathways`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from avsink.engine.run import clean_run
from avsink.instruments.pathways import FIGURE_3, FIGURE_4, PATHWAYS
from avsink.sample import Unmeasured

__all__ = ["onward", "sweep", "window"]


def window(center: int, *, k: int, n_layers: int) -> range:
    """The k layers centred on `center`, fewer at the ends of the network."""
    if k < 1 or k % 2 == 0:
        raise ValueError(f"a window of {k} layers has no centre: take an odd number, 7 in the paper")
    return range(max(0, center - k // 2), min(n_layers, center + k // 2 + 1))


def sweep(model, sample, *, k: int, pathways: Sequence[str] = (*FIGURE_3, *FIGURE_4)) -> pd.DataFrame:
    """Close each pathway around each layer: one row per (pathway, layer), in that order.

    A pathway of which the prompt lacks an end (no sound, say) has no rows. The prediction is the most probable of the
    option letters, its probability that of the softmax over the whole vocabulary.
    Raises `SampleError` if the sample cannot be used, and its kind `Unmeasured` if it is answered wrongly.
    """
    layers = [(layer, window(layer, k=k, n_layers=model.n_layers)) for layer in range(model.n_layers)]
    return _closed(model, sample, pathways, layers)


def onward(model, sample, *, pathways: Sequence[str]) -> pd.DataFrame:
    """Close each pathway in *all* layers behind a layer, for every layer: rows and errors as in `sweep`.

    `layer` is the last one in which the pathway is open, -1 for none: what is lost there would be lost if tokens were
    discarded after it (Flow section 6). Nothing is left over for layers that are far apart to pass on in turn.
    """
    layers = [(layer, range(layer + 1, model.n_layers)) for layer in range(-1, model.n_layers - 1)]
    return _closed(model, sample, pathways, layers)


def _closed(model, sample, pathways: Sequence[str], layers: Sequence[tuple[int, range]]) -> pd.DataFrame:
    """layers: the layer that a row is about, and those in which the pathway is closed."""
    if not sample.options:
        raise Unmeasured(sample.id, "has no options")
    inputs = model.prepare(sample)
    run = clean_run(model, inputs)
    if run.predicted != sample.answer:
        raise Unmeasured(sample.id, "answered wrongly")
    cells = [
        (name, layer, closed, plan)
        for name in pathways
        for layer, closed in layers
        if (plan := PATHWAYS[name].plan(inputs.layout, layers=closed))
    ]
    if not cells:
        raise Unmeasured(sample.id, "has none of the pathways")
    p_base = run.letter_probabilities[run.predicted]
    p_knockout = run.probability_of(run.predicted, run.replay([plan for *_, plan in cells])).tolist()
    return pd.DataFrame(
        {
            "sample": sample.id,
            "task": sample.task,
            "category": sample.category,
            "structure": ", ".join(inputs.layout.structure),
            "pathway": name,
            "layer": layer,
            "window_start": closed.start,
            "window_stop": closed.stop,
            "p_base": p_base,
            "p_knockout": p,
            "delta_p": (p - p_base) / p_base,
            "predicted": run.predicted,
            "answer": sample.answer,
        }
        for (name, layer, closed, _), p in zip(cells, p_knockout, strict=True)
    )
