"""Attention knockout along named pathways, layer by layer (Flow sections 4 and 5; figures 3 to 6, 8 to 10, 13, 14).

For one sample that the model answers correctly:

1. p_base is the probability of the predicted letter in the clean run;
2. for each pathway (a set of edges source -> target) and each layer ℓ, these edges are blocked in a window of k layers
   around ℓ, which gives p_knockout of the same letter;
3. Δp = (p_knockout - p_base) / p_base is clearly below 0 where the pathway carries what the prediction needs, and near
   0 where it does not.

`avsink.instruments.pathways` names the pathways by the paper's own labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import pandas as pd

from avsink.engine.run import clean_run
from avsink.instruments.layers import require_layers
from avsink.instruments.pathways import FIGURE_3, FIGURE_4, PATHWAYS
from avsink.sample import Unmeasured

__all__ = ["onward", "sweep", "window"]


def window(center: int, *, k: int, n_layers: int) -> range:
    """Find the window of `k` layers around the layer `center`; at the ends of the network it has fewer.

    All instruments that act in windows take them from here.

    Args:
        center: The layer in the middle.
        k: How many layers the window has, an odd number of at most 2 n_layers - 3: a wider one would be cut to all
            layers wherever its centre is.
        n_layers: How many layers the model has.

    Raises:
        ValueError: `k` is not an odd number of at least 1, or the window holds all layers wherever its centre is, so
            that a sweep would tell nothing of layers.
    """
    if not isinstance(k, Integral) or isinstance(k, bool) or k < 1 or k % 2 == 0:
        raise ValueError(f"k: a window of {k!r} layers has no centre; take an odd number, such as the paper's 7")
    widest = max(1, 2 * n_layers - 3)
    if k > widest:
        raise ValueError(
            f"k: wherever its centre is, a window of {k} layers holds all {n_layers} layers of this model; take an odd "
            f"number of at most {widest}"
        )
    require_layers([center], of="center", n_layers=n_layers)
    return range(max(0, center - k // 2), min(n_layers, center + k // 2 + 1))


def sweep(model, sample, *, k: int, pathways: Sequence[str] = (*FIGURE_3, *FIGURE_4)) -> pd.DataFrame:
    """Block each pathway in a window of k layers around each layer.

    The prediction is the most probable option letter; its probability is that of the softmax over the whole vocabulary.

    Args:
        model: A loaded model.
        sample: A sample with options.
        k: How many layers a window has, an odd number.
        pathways: Names of pathways, keys of `avsink.instruments.pathways.PATHWAYS`.

    Returns:
        One row per (pathway, layer), in that order, with the columns sample, task, category, structure, pathway, layer
        (centre of the window), window_start, window_stop, p_base, p_knockout, delta_p, predicted, answer. A pathway
        whose source or target the prompt lacks (sound, for example) has no rows.

    Raises:
        Unmeasured: The sample has no options, is answered wrongly, or has none of the pathways.
        SampleError: The sample cannot be used.
        ValueError: `k` is not odd, or too wide for the model (`window`).
    """
    layers = [(layer, window(layer, k=k, n_layers=model.n_layers)) for layer in range(model.n_layers)]
    return _blocked(model, sample, pathways, layers)


def onward(model, sample, *, pathways: Sequence[str]) -> pd.DataFrame:
    """Block each pathway in *all* layers after a layer, for every layer.

    What is lost then would also be lost if the source's tokens were discarded after this layer (Flow section 6). A
    window does not show that, since information may pass in layers before and after it.

    Args:
        model: A loaded model.
        sample: A sample with options.
        pathways: Names of pathways, keys of `avsink.instruments.pathways.PATHWAYS`.

    Returns:
        One row per (pathway, layer), with the columns of `sweep`. `layer` is the last layer in which the pathway is
        open; -1 if it is blocked in all layers.

    Raises:
        Unmeasured: The sample has no options, is answered wrongly, or has none of the pathways.
        SampleError: The sample cannot be used.
    """
    layers = [(layer, range(layer + 1, model.n_layers)) for layer in range(-1, model.n_layers - 1)]
    return _blocked(model, sample, pathways, layers)


def _blocked(model, sample, pathways: Sequence[str], layers: Sequence[tuple[int, range]]) -> pd.DataFrame:
    """Block each pathway at each entry of `layers`: (the row's layer, the layers in which the pathway is blocked)."""
    if not sample.options:
        raise Unmeasured(sample.id, "has no options")
    inputs = model.prepare(sample)
    run = clean_run(model, inputs)
    if run.predicted != sample.answer:
        raise Unmeasured(sample.id, "answered wrongly")
    cells = [
        (name, layer, blocked, plan)
        for name in pathways
        for layer, blocked in layers
        if (plan := PATHWAYS[name].plan(inputs.layout, layers=blocked))
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
            "window_start": blocked.start,
            "window_stop": blocked.stop,
            "p_base": p_base,
            "p_knockout": p,
            "delta_p": (p - p_base) / p_base,
            "predicted": run.predicted,
            "answer": sample.answer,
        }
        for (name, layer, blocked, _), p in zip(cells, p_knockout, strict=True)
    )
