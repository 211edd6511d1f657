"""What replays compute, as tables: which tokens at which layers, and how much less that is than full passes.

Nothing is run for these numbers: they are read from the schedule that a replay would follow (`avsink.engine.schedule`).
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from avsink.engine.interventions import as_plan
from avsink.engine.schedule import Schedule
from avsink.instruments.knockout import window
from avsink.instruments.pathways import PATHWAYS
from avsink.layout import consecutive

__all__ = ["computed", "savings", "segments"]

# Groups of `TokenLayout.groups` that cover the prompt once
STRIPES = ("system", "video", "audio", "question", "header", "last", "other")


def savings(run, *, k: int, pathways: Sequence[str]) -> pd.DataFrame:
    """Count the work of each pathway's sweep over all layers, and of all sweeps in one replay (the last row).

    Args:
        run: A clean run.
        k: How many layers a window has, an odd number.
        pathways: Names of pathways, keys of `avsink.instruments.pathways.PATHWAYS`.

    Returns:
        One row per pathway, with the columns pathway, windows (of k layers, one around each layer), rows (computed
        layer-rows: one token at one layer each), full (those of full passes) and gain (full / rows).
    """
    sweeps = {name: _sweep(run, name, k=k) for name in pathways}
    sweeps["all in one replay"] = [plan for plans in sweeps.values() for plan in plans]
    rows = []
    for name, plans in sweeps.items():
        cost = run.cost(plans)
        rows.append((name, len(plans), cost.rows, cost.full, cost.limit))
    return pd.DataFrame(rows, columns=["pathway", "windows", "rows", "full", "gain"])


def computed(run, *, k: int, pathways: Sequence[str], centres: Sequence[int]) -> pd.DataFrame:
    """List the spans of neighbouring tokens that the replay of each window of k layers computes.

    Args:
        run: A clean run.
        k: How many layers a window has, an odd number.
        pathways: Names of pathways, keys of `avsink.instruments.pathways.PATHWAYS`.
        centres: The layers in the middle of the windows.

    Returns:
        One row per span, with the columns pathway, centre (of the window), layer, start, stop (exclusive), tokens.
    """
    n, n_layers, last = run.states.n, run.states.n_layers, torch.tensor([run.states.n - 1])
    found = []
    for name in pathways:
        for centre in centres:
            plan = as_plan(PATHWAYS[name].plan(run.inputs.layout, layers=window(centre, k=k, n_layers=n_layers)))
            for layer, nodes in enumerate(Schedule([plan], n=n, n_layers=n_layers, wanted=last).layers):
                for node in nodes:
                    found += [
                        (name, centre, layer, start, stop, stop - start) for start, stop in _spans(node.step.rows)
                    ]
    return pd.DataFrame(found, columns=["pathway", "centre", "layer", "start", "stop", "tokens"])


def segments(layout) -> pd.DataFrame:
    """Cut the prompt into spans of one kind of token each.

    Returns:
        One row per span, in the order of the prompt, with the columns kind, start, stop (exclusive).
    """
    groups = layout.groups()
    stripes = [(start, stop, kind) for kind in STRIPES for start, stop in _spans(groups[kind])]
    return pd.DataFrame(sorted(stripes), columns=["start", "stop", "kind"])[["kind", "start", "stop"]]


def _sweep(run, name: str, *, k: int) -> list:
    """Make one plan per layer, which blocks the pathway in a window of k layers around it."""
    layers = range(run.states.n_layers)
    windows = [window(centre, k=k, n_layers=len(layers)) for centre in layers]
    return [PATHWAYS[name].plan(run.inputs.layout, layers=blocked) for blocked in windows]


def _spans(positions: Tensor) -> list[tuple[int, int]]:
    """Find (start, stop) of each group of consecutive positions."""
    return [(int(span[0]), int(span[-1]) + 1) for span in consecutive(positions)]
