"""What replays compute, as tables: which tokens at which layers, and how much of full passes that is.

Nothing is run for these numbers. They are read off the schedule (`avsink.engine.schedule`) that a replay would follow.
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

STRIPES = ("system", "video", "audio", "question", "header", "last", "other")


def savings(run, *, k: int, pathways: Sequence[str]) -> pd.DataFrame:
    """Work of the sweeps of a pathway over all layers, and of all sweeps in one replay (the last row).

    Columns: pathway, windows, rows (layer-rows computed), full (those of full passes), gain (full / rows).
    """
    sweeps = {name: _sweep(run, name, k=k) for name in pathways}
    sweeps["all in one replay"] = [plan for plans in sweeps.values() for plan in plans]
    rows = []
    for name, plans in sweeps.items():
        cost = run.cost(plans)
        rows.append((name, len(plans), cost.rows, cost.full, cost.limit))
    return pd.DataFrame(rows, columns=["pathway", "windows", "rows", "full", "gain"])


def computed(run, *, k: int, pathways: Sequence[str], centres: Sequence[int]) -> pd.DataFrame:
    """Runs of neighbouring tokens that one window's replay computes: pathway, centre, layer, start, stop, tokens."""
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
    """The prompt as stripes of one kind of token each: kind, start, stop."""
    groups = layout.groups()
    stripes = [(start, stop, kind) for kind in STRIPES for start, stop in _spans(groups[kind])]
    return pd.DataFrame(sorted(stripes), columns=["start", "stop", "kind"])[["kind", "start", "stop"]]


def _sweep(run, name: str, *, k: int) -> list:
    layers = range(run.states.n_layers)
    windows = [window(centre, k=k, n_layers=len(layers)) for centre in layers]
    return [PATHWAYS[name].plan(run.inputs.layout, layers=blocked) for blocked in windows]


def _spans(positions: Tensor) -> list[tuple[int, int]]:
    return [(int(run[0]), int(run[-1]) + 1) for run in consecutive(positions)]
