"""Reported and here: how many questions of each task, direction and order Flow used (tables 5 to 12)."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from avsink.datasets import load
from avsink.datasets.selections import SELECTIONS, same_task, select
from avsink.papers.tables import paper
from avsink.sample import Sample

__all__ = ["counts", "directions", "selected", "structures"]


def selected(benchmark: str, root: str = "") -> dict[str, list[Sample]]:
    """Apply the paper's selections to a dataset.

    Args:
        benchmark: The name of the dataset.
        root: The folder of the dataset, as for `avsink.datasets.load`.

    Returns:
        Use (`knockout`, …) -> samples; {} if the paper has no selections of this dataset.
    """
    if benchmark not in SELECTIONS:
        return {}
    loaded = load(benchmark, root)
    return {use: list(select(loaded, use).samples) for use in SELECTIONS[benchmark]}


def counts(*found: tuple[str, dict[str, list[Sample]]]) -> pd.DataFrame:
    """Count the questions of each task that the paper used, and those in the files here (tables 5 to 9 and 12).

    Args:
        *found: (dataset, what `selected` returned for it). The paper's other datasets count as not loaded.

    Returns:
        One row per (dataset, use, task), with the columns benchmark, use, task, reported, here (missing where nothing
        was loaded).
    """
    here = {(name, use): samples for name, uses in found for use, samples in uses.items()}
    rows = []
    for name, selections in SELECTIONS.items():
        for use, selection in selections.items():
            held = Counter(same_task(sample.task) for sample in here.get((name, use), ()))
            for task, reported in selection.counts.items():
                rows.append((name, use, task, reported, held[same_task(task)] if (name, use) in here else None))
    table = pd.DataFrame(rows, columns=["benchmark", "use", "task", "reported", "here"])
    return table.astype({"here": "Int64"})


def structures(found: dict[str, list[Sample]]) -> pd.DataFrame:
    """Count the orders in which the parts of AV-Odyssey's prompts come (tables 10 and 11).

    Args:
        found: Result of `selected("av-odyssey", …)`, or {}.

    Returns:
        One row per (task, structure), with the columns task, structure, reported, reported_pct (of all prompts; table
        10 alone), here (missing where nothing was loaded). The last rows, of the task "all", are table 10.
    """
    held = Counter((same_task(s.task), tuple(s.truth.get("structure") or ())) for s in found.get("knockout", ()))
    rows = [
        (task, ", ".join(order), count, held[same_task(task), order] if found else None)
        for task, orders in SELECTIONS["av-odyssey"]["knockout"].structures.items()
        for order, count in orders.items()
    ]
    table = pd.DataFrame(rows, columns=["task", "structure", "reported", "here"]).astype({"here": "Int64"})
    every = table.groupby("structure", sort=False)[["reported", "here"]].sum(min_count=1).reset_index()
    printed = paper("flow_table10_av_odyssey_structures").set_index("structure")["pct"]
    every = every.assign(task="all", reported_pct=every["structure"].map(printed).astype("Int64"))
    return pd.concat([table, every], ignore_index=True)[["task", "structure", "reported", "reported_pct", "here"]]


def directions(found: dict[str, list[Sample]]) -> pd.DataFrame:
    """Give the share of each direction of matching in AV-Odyssey, in percent (tables 9 and 12).

    The paper's two shares of Bird Recognition add up to 90 %.

    Args:
        found: Result of `selected("av-odyssey", …)`, or {}.

    Returns:
        One row per task, with the columns task, audio_reference and image_reference (as reported), here_audio_reference
        and n (missing where nothing was loaded).
    """
    table = paper("flow_table9_av_odyssey_tasks")
    held = {same_task(task): [] for task in table["task"]}
    for samples in found.values():
        for sample in samples:
            held.setdefault(same_task(sample.task), []).append(sample.category.startswith("audio reference"))
    own = [held[same_task(task)] for task in table["task"]]
    return pd.DataFrame(
        {
            "task": table["task"],
            "audio_reference": table["a_ref_to_i_cand_pct"],
            "image_reference": table["i_ref_to_a_cand_pct"],
            "here_audio_reference": [100 * sum(flags) / len(flags) if flags else None for flags in own],
            "n": [len(flags) if found else None for flags in own],
        }
    )
