"""Reported beside measured for *From Senses to Decisions*: its tables, joined with measured numbers.

The paper's numbers are CSV files in ``data/papers``. Measured numbers have their n and 95 % interval. The model and the
dataset that are measured differ from the paper's, so layers are compared by depth, from 0 (first layer) to 1 (last).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from avsink.instruments import attention_shares, discarding, sink_kinds
from avsink.papers.tables import paper
from avsink.results.bootstrap import LEVEL, changes, resampled_means, summarise
from avsink.sample import Sample

__all__ = [
    *(
        "depths",
        "first_sinks",
        "largest_grid",
        "latencies",
        "numbers",
        "readable",
        "readable_latencies",
        "readable_tasks",
    ),
    *("table_1", "table_4", "tasks_of_table_4"),
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
        (mean over samples), measured (that mean over the baseline's), low, high, n, arithmetic (fraction of the
        baseline's operations).
    """
    ms = _reported_4(interleaved).groupby("config", sort=False)["avg_prefill_latency_ms"].first()
    if rows.empty:
        table = pd.DataFrame(
            {"config": ms.index, "reported_ms": ms.to_numpy(), "reported": ms / ms[discarding.BASELINE]}
        )
        names = ["measured", "low", "high", "n", "measured_ms", "arithmetic"]
        return table.reset_index(drop=True).assign(**dict.fromkeys(names, float("nan")))
    times = rows.pivot(index="sample", columns="config", values="prefill_ms")[list(rows["config"].unique())]
    drawn = resampled_means(times.to_numpy())  # (draws, configurations)
    ratios = drawn / drawn[:, [times.columns.get_loc(discarding.BASELINE)]]
    mean = times.mean()
    low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    table = pd.DataFrame(
        {
            "config": times.columns,
            "reported_ms": ms.reindex(times.columns).to_numpy(),
            "reported": (ms / ms[discarding.BASELINE]).reindex(times.columns).to_numpy(),
            "measured_ms": mean.to_numpy(),
            "measured": (mean / mean[discarding.BASELINE]).to_numpy(),
            "low": low,
            "high": high,
            "n": len(times),
        }
    )
    return table.assign(arithmetic=table["config"].map(rows.groupby("config")["arithmetic"].mean()))


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
    *,
    spike: int | None,
    after: Mapping[str, int],
    interleaved: Mapping[str, int],
    n_layers: int,
    sinks: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """Join the layers that the paper names with those found here.

    Args:
        spike: The layer at which attention to video jumps; None if it was not measured.
        after: Group of tokens -> the layer after which it can be discarded, for questions about a clip.
        interleaved: The same for interleaved inputs.
        n_layers: Number of layers of the measured model.
        sinks: Kind of sinks, "language" or "vision" -> the first layer at which there are such.

    Returns:
        One row per quantity and group, with the columns quantity, group, where, reported, reported_depth, measured,
        measured_depth. A group that was never needed has layer -1 and no depth; one that was not measured has neither.
    """
    table = paper("flow_layers").fillna({"group": ""})
    found = {("spike of attention to video", ""): spike}
    found |= {("first layer with sinks", kind): layer for kind, layer in (sinks or {}).items()}
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


def first_sinks(rows: pd.DataFrame) -> dict[str, int]:
    """Find the first layer with a sink, as the median over samples (of two in the middle, the lower one).

    Args:
        rows: Rows of `avsink.instruments.sink_kinds.by_group` over many samples; may be empty.

    Returns:
        Kind of sinks, "language" or "vision" -> layer. A kind of which there is none is left out.
    """
    groups = {"language": sink_kinds.LANGUAGE, "vision": sink_kinds.VISION}
    first = {kind: sink_kinds.begins(rows, group=group).dropna() for kind, group in groups.items()} if len(rows) else {}
    return {kind: int(own.quantile(0.5, interpolation="lower")) for kind, own in first.items() if len(own)}


def largest_grid(model, samples: Sequence[Sample]) -> int | None:
    """Count the visual tokens of the largest frame or image in the first prompt that has one; None without any."""
    for sample in samples:
        if frames := model.prepare(sample).layout.frames:
            return max(map(len, frames))
    return None


def numbers(
    card,
    *,
    window: int,
    first_layer: int | None,
    n_layers: int,
    frame: int | None = None,
    image: int | None = None,
) -> pd.DataFrame:
    """Join numbers from the paper's text with those used here.

    Args:
        card: The card of the model.
        window: Number of layers of a blocked window.
        first_layer: The first layer in which media were hidden; None if they were not.
        n_layers: Number of layers of the model.
        frame: How many tokens a frame has, as of `largest_grid`. The card's own limit need not be reached.
        image: The same of an image.

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
        "visual tokens of a frame at most": frame,
        "visual tokens of an image at most": image,
        "layers of the 3B models": n_layers,
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
