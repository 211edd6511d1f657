"""Reported beside measured: the papers' tables, joined with this run's numbers, each with its n and interval.

The papers' numbers are CSV files in ``data/papers`` (its README says which is what). A model, a data set and a depth
differ from the paper's; so layers are compared as depths, from 0 (first layer) to 1 (last).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from avsink import allocation, discard
from avsink.data.sample import Sample
from avsink.data.selections import SELECTIONS, same_task
from avsink.metrics import differences, summarise

__all__ = ["PAPERS", "counts", "depths", "latencies", "paper", "readable", "readable_latencies"]
__all__ += ["table_1", "table_4", "tasks_of_table_4"]

PAPERS = Path(__file__).resolve().parents[1] / "data" / "papers"


def paper(name: str) -> pd.DataFrame:
    """One of the tables, `flow_table1_late_layer_masking`, say."""
    return pd.read_csv(PAPERS / f"{name}.csv")


def table_1(rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracy with media hidden in the last layers. rows: of `allocation.masking`.

    Columns: mask, reported, measured, low, high, n, change (against the first row), change_low, change_high.
    """
    reported = paper("flow_table1_late_layer_masking").set_index("mask")["accuracy"] / 100
    return _accuracies(rows, column="mask", baseline=next(iter(allocation.MASKS)), reported=reported)


def table_4(rows: pd.DataFrame, *, interleaved: bool = False) -> pd.DataFrame:
    """Accuracy after discarding, mean over tasks on both sides. rows: of `discard.sweep`. Columns as in `table_1`."""
    reported = _reported_4(interleaved).groupby("config")["accuracy"].mean() / 100
    return _accuracies(rows, column="config", baseline=discard.BASELINE, reported=reported)


def latencies(rows: pd.DataFrame, *, interleaved: bool = False) -> pd.DataFrame:
    """Prefill latency relative to the baseline's. rows: of `discard.sweep`.

    Columns: config, reported_ms, reported (ratio to the baseline), measured_ms (mean over samples), measured (ratio),
    low, high, n, arithmetic (share of the baseline's operations).
    """
    ms = _reported_4(interleaved).groupby("config", sort=False)["avg_prefill_latency_ms"].first()
    ratio = rows.assign(ratio=rows["prefill_ms"] / rows.groupby("sample")["prefill_ms"].transform("first"))
    measured = summarise(ratio, by=["config"], value="ratio").rename(columns={"mean": "measured"})
    own = rows.groupby("config")[["prefill_ms", "arithmetic"]].mean()
    table = measured.set_index("config").join(own.rename(columns={"prefill_ms": "measured_ms"}))
    table.insert(0, "reported_ms", ms.reindex(table.index))
    table.insert(1, "reported", table["reported_ms"] / ms[discard.BASELINE])
    return table.reset_index()


def tasks_of_table_4(rows: pd.DataFrame, *, interleaved: bool = False) -> pd.DataFrame:
    """Every accuracy of table 4, and every one of this run, task by task: the two have no task in common.

    Columns: side, task, config, accuracy, low, high, n; intervals and n where they are known.
    """
    reported = _reported_4(interleaved)
    direction = ["" if pd.isna(way) else f" ({way})" for way in reported["direction"]]
    task = reported["task"] + direction
    reported = pd.DataFrame({"task": task, "config": reported["config"], "accuracy": reported["accuracy"] / 100})
    measured = summarise(rows, by=["task", "category", "config"], value="correct").rename(columns={"mean": "accuracy"})
    measured["task"] = measured.pop("task") + ", " + measured.pop("category")
    return pd.concat([reported.assign(side="reported"), measured.assign(side="measured")], ignore_index=True)[
        ["side", "task", "config", "accuracy", "low", "high", "n"]
    ]


def depths(*, spike: int, after: Mapping[str, int], interleaved: Mapping[str, int], n_layers: int) -> pd.DataFrame:
    """Layers that the paper names, and those found here, with their depths from 0 to 1.

    Columns: quantity, group, where, reported, reported_depth, measured, measured_depth. A group that was never needed
    has layer -1 and no depth; one that was not measured has neither.
    """
    table = paper("flow_layers").fillna({"group": ""})
    found = {("spike of attention to video", ""): spike}
    found |= {("discard after layer", group): layer for group, layer in after.items()}
    found |= {("discard after layer (interleaved)", group): layer for group, layer in interleaved.items()}
    keys = zip(table["quantity"], table["group"], strict=True)
    layers = pd.Series([found.get(key) for key in keys], dtype="Int64")
    return table[["quantity", "group", "where"]].assign(
        reported=table["layer"],
        reported_depth=table["layer"] / (table["n_layers"] - 1),
        measured=layers,
        measured_depth=(layers / (n_layers - 1)).astype(float).where(layers >= 0),
    )


def counts(benchmark: str, samples: Sequence[Sample]) -> pd.DataFrame:
    """Tables 5 to 9 and 12: how many questions the paper used of each task, and how many are at hand here.

    benchmark, samples: what this run was made on; the paper's benchmarks that it was not made on have none at hand.
    Columns: benchmark, use, task, reported, here (missing where nothing was loaded).
    """
    found = Counter(same_task(sample.task) for sample in samples)
    rows = [
        (name, use, task, reported, found[same_task(task)] if name == benchmark else None)
        for name, selections in SELECTIONS.items()
        for use, selection in selections.items()
        for task, reported in selection.counts.items()
    ]
    table = pd.DataFrame(rows, columns=["benchmark", "use", "task", "reported", "here"])
    return table.astype({"here": "Int64"})


def readable(table: pd.DataFrame, *, first: str) -> pd.DataFrame:
    """`table_1` or `table_4` for a page: intervals beside their means, in percent and points."""
    shown = {
        first: table[first],
        "reported": table["reported"].map("{:.1%}".format),
        "change": (100 * table["reported_change"]).map("{:+.1f}".format),
        "measured [95 %]": _with_interval(table, "measured", "low", "high", form="{:.1f}"),
        "change [95 %]": _with_interval(table, "change", "change_low", "change_high", form="{:+.1f}"),
        "n": table["n"],
    }
    return pd.DataFrame(shown)


def readable_latencies(table: pd.DataFrame) -> pd.DataFrame:
    """`latencies` for a page."""
    return pd.DataFrame(
        {
            "config": table["config"],
            "reported, ms": table["reported_ms"].map("{:,.0f}".format),
            "of baseline": table["reported"].map("{:.1%}".format),
            "measured, ms": table["measured_ms"].map("{:,.1f}".format),
            "of baseline [95 %]": _with_interval(table, "measured", "low", "high", form="{:.1f}"),
            "arithmetic": table["arithmetic"].map("{:.1%}".format),
            "n": table["n"],
        }
    )


def _with_interval(table: pd.DataFrame, mean: str, low: str, high: str, *, form: str) -> list[str]:
    """Shares as percent, ``96.0 [92.7, 98.7]``; nothing where there is no mean."""
    rows = (100 * table[[mean, low, high]]).itertuples(index=False)
    texts = ["" if pd.isna(row[0]) else "{0} [{0}, {0}]".replace("{0}", form).format(*row) for row in rows]
    return [text.replace("-", "−") for text in texts]


def _reported_4(interleaved: bool) -> pd.DataFrame:
    table = paper("flow_table4_discarding")
    return table[table["input"] == ("multi-input" if interleaved else "video")].drop(columns="input")


def _accuracies(rows: pd.DataFrame, *, column: str, baseline: str, reported: pd.Series) -> pd.DataFrame:
    table = summarise(rows, by=[column], value="correct").rename(columns={"mean": "measured"})
    change = summarise(differences(rows, column=column, baseline=baseline), by=[column], value="change")
    change = change.rename(columns={"mean": "change", "low": "change_low", "high": "change_high"}).drop(columns="n")
    table = table.merge(change, on=column, how="left")
    table.insert(1, "reported", table[column].map(reported))
    table.insert(2, "reported_change", table["reported"] - reported[baseline])
    return table
