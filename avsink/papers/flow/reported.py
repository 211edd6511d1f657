"""Reported beside measured for *From Senses to Decisions*: its tables, joined with measured numbers.

The paper's numbers are CSV files in ``data/papers``. Measured numbers have their n and 95 % interval. The model and the
dataset that are measured differ from the paper's, so layers are compared by depth, from 0 (first layer) to 1 (last).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pandas as pd

from avsink.datasets import load
from avsink.datasets.selections import SELECTIONS, same_task, select
from avsink.instruments import attention_shares, discarding
from avsink.papers.tables import paper
from avsink.results.bootstrap import changes, summarise
from avsink.sample import Sample

__all__ = [
    *("counts", "depths", "directions", "latencies", "numbers", "readable", "readable_latencies"),
    *("readable_tasks", "selected", "structures", "table_1", "table_4", "tasks_of_table_4"),
]


def table_1(rows: pd.DataFrame) -> pd.DataFrame:
    """Join table 1, accuracy with media hidden in the last layers, with measured accuracy.

    Args:
        rows: Rows of `avsink.instruments.attention_shares.masking` over many samples; may be empty.

    Returns:
        One row per mask, with the columns mask, reported, reported_change (from the first row), measured, low, high, n,
        change (from the first row, sample by sample), change_low, change_high, rows_left (here always missing).
        Accuracies and changes are fractions.
    """
    reported = paper("flow_table1_late_layer_masking").set_index("mask")["accuracy"] / 100
    return _accuracies(rows, column="mask", baseline=next(iter(attention_shares.MASKS)), reported=reported)


def table_4(rows: pd.DataFrame, *, interleaved: bool = False) -> pd.DataFrame:
    """Join table 4, accuracy after discarding, mean over tasks, with measured accuracy.

    Args:
        rows: Rows of `avsink.instruments.discarding.compare` over many samples; may be empty.
        interleaved: Whether to take the paper's rows for interleaved inputs.

    Returns:
        One row per configuration, with the columns of `table_1`, config in place of mask. rows_left is the fraction of
        the baseline's layer-rows that are left.
    """
    reported = _reported_4(interleaved).groupby("config")["accuracy"].mean() / 100
    return _accuracies(rows, column="config", baseline=discarding.BASELINE, reported=reported)


def latencies(rows: pd.DataFrame, *, interleaved: bool = False) -> pd.DataFrame:
    """Join table 4, prefill latency, with measured latency.

    Args:
        rows: Rows of `avsink.instruments.discarding.compare` over many samples; may be empty.
        interleaved: Whether to take the paper's rows for interleaved inputs.

    Returns:
        One row per configuration, with the columns config, reported_ms, reported (ratio to the baseline), measured_ms
        (mean over samples), measured (ratio to the baseline, mean over samples), low, high, n, arithmetic (fraction of
        the baseline's operations).
    """
    ms = _reported_4(interleaved).groupby("config", sort=False)["avg_prefill_latency_ms"].first()
    if rows.empty:
        table = pd.DataFrame(
            {"config": ms.index, "reported_ms": ms.to_numpy(), "reported": ms / ms[discarding.BASELINE]}
        )
        names = ["measured", "low", "high", "n", "measured_ms", "arithmetic"]
        return table.reset_index(drop=True).assign(**dict.fromkeys(names, float("nan")))
    ratio = rows.assign(ratio=rows["prefill_ms"] / rows.groupby("sample")["prefill_ms"].transform("first"))
    measured = summarise(ratio, by=["config"], value="ratio").rename(columns={"mean": "measured"})
    own = rows.groupby("config")[["prefill_ms", "arithmetic"]].mean()
    table = measured.set_index("config").join(own.rename(columns={"prefill_ms": "measured_ms"}))
    table.insert(0, "reported_ms", ms.reindex(table.index))
    table.insert(1, "reported", table["reported_ms"] / ms[discarding.BASELINE])
    return table.reset_index()


def tasks_of_table_4(rows: pd.DataFrame, *, interleaved: bool = False) -> pd.DataFrame:
    """List every accuracy of table 4 and every measured one, task by task. The two have no task in common.

    Args:
        rows: Rows of `avsink.instruments.discarding.compare` over many samples; may be empty.
        interleaved: Whether to take the paper's rows for interleaved inputs.

    Returns:
        One row per (side, task, configuration), with the columns side ("reported" or "measured"), task, config,
        accuracy (fraction), low, high, n (missing on the reported side).
    """
    reported = _reported_4(interleaved)
    direction = ["" if pd.isna(way) else f" ({way})" for way in reported["direction"]]
    task = reported["task"] + direction
    reported = pd.DataFrame({"task": task, "config": reported["config"], "accuracy": reported["accuracy"] / 100})
    reported = reported.assign(side="reported")
    if rows.empty:
        return reported.reindex(columns=["side", "task", "config", "accuracy", "low", "high", "n"])
    measured = summarise(rows, by=["task", "category", "config"], value="correct").rename(columns={"mean": "accuracy"})
    measured["task"] = measured.pop("task") + ": " + measured.pop("category")
    return pd.concat([reported, measured.assign(side="measured")], ignore_index=True)[
        ["side", "task", "config", "accuracy", "low", "high", "n"]
    ]


def depths(
    *, spike: int | None, after: Mapping[str, int], interleaved: Mapping[str, int], n_layers: int
) -> pd.DataFrame:
    """Join the layers that the paper names with those found here.

    Args:
        spike: The layer at which attention to video jumps; None if it was not measured.
        after: Group of tokens -> the layer after which it can be discarded, for questions about a clip.
        interleaved: The same for interleaved inputs.
        n_layers: Number of layers of the measured model.

    Returns:
        One row per quantity and group, with the columns quantity, group, where, reported, reported_depth, measured,
        measured_depth. A group that was never needed has layer -1 and no depth; one that was not measured has neither.
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
        One row per (task, structure), with the columns task, structure, reported, here (missing where nothing was
        loaded). The last rows, of the task "all", are table 10.
    """
    held = Counter((same_task(s.task), tuple(s.truth.get("structure") or ())) for s in found.get("knockout", ()))
    rows = [
        (task, ", ".join(order), count, held[same_task(task), order] if found else None)
        for task, orders in SELECTIONS["av-odyssey"]["knockout"].structures.items()
        for order, count in orders.items()
    ]
    table = pd.DataFrame(rows, columns=["task", "structure", "reported", "here"]).astype({"here": "Int64"})
    every = table.groupby("structure", sort=False)[["reported", "here"]].sum(min_count=1).reset_index()
    return pd.concat([table, every.assign(task="all")[table.columns]], ignore_index=True)


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


def numbers(card, *, window: int, first_layer: int | None, n_layers: int) -> pd.DataFrame:
    """Join numbers from the paper's text with those used here.

    Args:
        card: The card of the model.
        window: Number of layers of a blocked window.
        first_layer: The first layer in which media were hidden; None if they were not.
        n_layers: Number of layers of the model.

    Returns:
        One row per quantity, with the columns quantity, where (in the paper), reported, here (missing if none).
    """
    table = paper("flow_numbers")
    here = {
        "first masked layer": first_layer,
        "last masked layer": n_layers - 1,
        "window of layers": window,
        "frames a second": card.fps,
        "most frames": card.max_frames,
        "visual tokens of a frame at most": card.frame_tokens[1],
        "visual tokens of an image at most": card.image_tokens[1],
    }
    return table.rename(columns={"value": "reported"})[["quantity", "where", "reported"]].assign(
        here=table["quantity"].map(here)
    )


def readable(table: pd.DataFrame, *, first: str) -> pd.DataFrame:
    """Format `table_1` or `table_4` for a page: accuracies in percent, changes in points, means with their intervals.

    Args:
        table: Result of `table_1` or `table_4`.
        first: The name of its first column, mask or config.
    """
    shown = {
        first: table[first],
        "reported": table["reported"].map("{:.1%}".format),
        "change": [f"{100 * change:+.1f}".replace("-", "−") for change in table["reported_change"]],
        "measured [95 %]": _with_interval(table, "measured", "low", "high", form="{:.1f}"),
        "change [95 %]": _with_interval(table, "change", "change_low", "change_high", form="{:+.1f}"),
        "rows left": ["" if pd.isna(share) else f"{share:.0%}" for share in table["rows_left"]],
        "n": table["n"].astype("Int64"),
    }
    shown = pd.DataFrame(shown)
    return shown if table["rows_left"].notna().any() else shown.drop(columns="rows left")


def readable_tasks(table: pd.DataFrame) -> pd.DataFrame:
    """Format `tasks_of_table_4` for a page: one row per side and task, one column per configuration."""
    cells = table.assign(cell=_with_interval(table, "accuracy", "low", "high", form="{:.1f}"))
    wide = cells.pivot(index=["side", "task"], columns="config", values="cell")
    counts = cells.groupby(["side", "task"], sort=False)["n"].first().astype("Int64")
    wide = wide.loc[counts.index, list(dict.fromkeys(table["config"]))]
    return wide.assign(n=counts).rename_axis(columns=None).reset_index()


def readable_latencies(table: pd.DataFrame) -> pd.DataFrame:
    """Format `latencies` for a page."""
    return pd.DataFrame(
        {
            "config": table["config"],
            "reported, ms": table["reported_ms"].map("{:,.0f}".format),
            "of baseline": table["reported"].map("{:.1%}".format),
            "measured, ms": ["" if pd.isna(ms) else f"{ms:,.1f}" for ms in table["measured_ms"]],
            "of baseline [95 %]": _with_interval(table, "measured", "low", "high", form="{:.1f}"),
            "arithmetic": ["" if pd.isna(share) else f"{share:.1%}" for share in table["arithmetic"]],
            "n": table["n"].astype("Int64"),
        }
    )


def _with_interval(table: pd.DataFrame, mean: str, low: str, high: str, *, form: str) -> list[str]:
    """Format fractions as percent, ``96.0 [92.7, 98.7]``; "" without a mean, no brackets without an interval."""
    rows = (100 * table[[mean, low, high]]).itertuples(index=False)
    texts = ["" if pd.isna(row[0]) else _cell(row, form=form) for row in rows]
    return [text.replace("-", "−") for text in texts]


def _cell(row: tuple[float, float, float], *, form: str) -> str:
    mean, low, high = map(form.format, row)
    return mean if pd.isna(row[1]) else f"{mean} [{low}, {high}]"


def _reported_4(interleaved: bool) -> pd.DataFrame:
    """Read the paper's table 4 for one kind of input."""
    table = paper("flow_table4_discarding")
    return table[table["input"] == ("multi-input" if interleaved else "video")].drop(columns="input")


def _accuracies(rows: pd.DataFrame, *, column: str, baseline: str, reported: pd.Series) -> pd.DataFrame:
    """Make the columns of `table_1`, one row per value of `column`, from `reported`: value -> accuracy."""
    names = ["measured", "low", "high", "n", "change", "change_low", "change_high", "rows_left"]
    if rows.empty:  # nothing of this kind was measured: the paper's numbers are shown alone
        table = pd.DataFrame({column: reported.index}).assign(**dict.fromkeys(names, float("nan")))
    else:
        table = summarise(rows, by=[column], value="correct").rename(columns={"mean": "measured"})
        change = changes(rows, column=column, baseline=baseline).drop(columns="n")
        change = change.rename(columns={"mean": "change", "low": "change_low", "high": "change_high"})
        table = table.merge(change, on=column, how="left")
        left = rows.groupby(column)["tokens"].sum() if "tokens" in rows else pd.Series(dtype=float)
        table["rows_left"] = table[column].map(left / left.get(baseline, float("nan")))
    table.insert(1, "reported", table[column].map(reported))
    table.insert(2, "reported_change", table["reported"] - reported[baseline])
    return table
