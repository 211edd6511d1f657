"""Means over samples, with bootstrap intervals.

1. Samples are resampled with replacement: everything measured on one sample (all pathways, all layers) stays together;
2. a mean's 95 % interval goes from the 2.5th to the 97.5th percentile of the means of `DRAWS` resamples;
3. a single sample says nothing about the spread, so its interval is missing (NaN).

Resampling is seeded: the same rows give the same intervals.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

__all__ = [
    "DRAWS",
    "LEVEL",
    "cells",
    "changes",
    "changes_by",
    "deepest",
    "differences",
    "in_order",
    "joined",
    "lag",
    "orders",
    "panels",
    "percent",
    "resampled_means",
    "summarise",
    "unseen",
    "widths",
]

DRAWS = 2000  # resamples
LEVEL = 0.95  # of intervals


def cells(rows: pd.DataFrame, *, by: Sequence[str], value: str) -> pd.DataFrame:
    """Arrange a value as groups x samples, the mean of several rows of one cell; NaN where there is none."""
    return rows.groupby([*by, "sample"], sort=False, observed=True)[value].mean().unstack("sample")


def resampled_means(values: np.ndarray, *, draws: int = DRAWS, seed: int | Sequence[int] = 0) -> np.ndarray:
    """Mean of each column over each of `draws` bootstrap resamples of the rows: (samples, cells) -> (draws, cells)."""
    n = len(values)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)  # (draws, samples)
    return counts @ values / n


def summarise(
    rows: pd.DataFrame, *, by: Sequence[str], value: str = "delta_p", level: float = LEVEL, seed: int = 0
) -> pd.DataFrame:
    """Average over the samples of each group.

    Args:
        rows: One or more rows per (sample, group). Several, such as random draws, are averaged first.
        by: The columns that tell groups apart.
        value: The column to average.
        level: Level of the intervals.
        seed: Seed of the resampling.

    Returns:
        One row per group, in the order in which groups first appear, with the columns `by`, mean, low, high (interval
        of the mean) and n (samples). Where nothing was measured, there is no row.
    """
    by = list(by)
    if rows.empty:
        numbers = {"mean": float, "low": float, "high": float, "n": int}
        return pd.DataFrame(columns=[*by, *numbers]).astype(numbers)
    grid = cells(rows, by=by, value=value)  # groups x samples
    table = grid.notna().to_numpy()
    out = np.full((len(grid), 3), np.nan)
    # Groups that were measured on the same samples are resampled together.
    for members in pd.RangeIndex(len(grid)).groupby([row.tobytes() for row in table]).values():
        values = grid.to_numpy()[members][:, table[members[0]]].T  # (samples, groups)
        out[members, 0] = values.mean(axis=0)
        if len(values) > 1:
            out[members, 1:] = _interval(resampled_means(values, seed=seed), level=level).T
    result = pd.DataFrame(out, columns=["mean", "low", "high"], index=grid.index).reset_index()
    return result.assign(n=table.sum(axis=1))


def differences(rows: pd.DataFrame, *, column: str, baseline: str, value: str = "correct") -> pd.DataFrame:
    """Subtract, sample by sample, the value under `baseline` from the value under every other name in `column`.

    Returns:
        One row per (sample, name), with the columns sample, `column`, change.

    Raises:
        ValueError: No row has the name `baseline`.
    """
    table = rows.pivot_table(index="sample", columns=column, values=value, sort=False)
    if baseline not in table:
        raise ValueError(
            f"there is no {baseline!r} to compare with; the column {column} has {', '.join(map(str, table))}"
        )
    change = table.drop(columns=baseline).sub(table[baseline], axis=0)
    return change.stack().rename("change").reset_index()


def percent(row: pd.Series) -> str:
    """Format a mean with its interval: ``−43% [−51%, −35%]``."""
    interval = "" if np.isnan(row["low"]) else f" [{row['low']:+.0%}, {row['high']:+.0%}]"
    return f"{row['mean']:+.0%}{interval}".replace("-", "−")


def changes(rows: pd.DataFrame, *, column: str, baseline: str, level: float = LEVEL) -> pd.DataFrame:
    """Average the change of `correct` (0 or 1) against the baseline, sample by sample.

    If all samples change alike, resampling sees no spread. The interval then reaches as far as `unseen` in either
    direction.

    Returns:
        One row per name in `column` other than `baseline`, with the columns `column`, mean, low, high, n.
    """
    if rows.empty:
        return summarise(rows, by=[column])
    table = summarise(differences(rows, column=column, baseline=baseline), by=[column], value="change", level=level)
    still = (table["low"] == table["mean"]) & (table["high"] == table["mean"])
    allowed = unseen(table["n"], level=level)
    table.loc[still, "low"] -= allowed[still]
    table.loc[still, "high"] += allowed[still]
    return table


def unseen(n, *, level: float = LEVEL):
    """The largest share of deviating samples that n samples without one allow for: 1 - (1 - level)^(1/n), or 3 / n."""
    return 1 - (1 - level) ** (1 / n)


def changes_by(rows: pd.DataFrame, *, by: Sequence[str], column: str, baseline: str) -> pd.DataFrame:
    """Compute `changes` within each group of `by`, whose columns are added."""
    if rows.empty:
        return changes(rows, column=column, baseline=baseline).assign(**dict.fromkeys(by, pd.Series(dtype=object)))
    parts = []
    for key, own in rows.groupby(list(by), sort=False):
        table = changes(own, column=column, baseline=baseline)
        parts.append(table.assign(**dict(zip(by, key, strict=True))))
    return pd.concat(parts, ignore_index=True)


def orders(rows: pd.DataFrame) -> pd.DataFrame:
    """Count the prompts of each task by the order of their parts: task, structure, prompts."""
    if rows.empty:
        return pd.DataFrame(columns=["task", "structure", "prompts"])
    prompts = rows.drop_duplicates("sample").groupby(["task", "structure"], sort=False)
    return prompts.size().rename("prompts").reset_index()


def in_order(rows: pd.DataFrame, structure: str | None = None) -> pd.DataFrame:
    """Keep the prompts whose parts are in one order; None: the most common order."""
    if rows.empty:
        return rows
    common = rows.drop_duplicates("sample")["structure"].value_counts(sort=False).sort_index().idxmax
    return rows[rows["structure"] == (structure or common())]


def joined(*tables: pd.DataFrame) -> pd.DataFrame:
    """Put summaries into one table, one below the other."""
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def panels(rows: pd.DataFrame) -> pd.DataFrame:
    """Put the task into the category's name if there are several tasks, for a panel each (Flow figures 11 to 14)."""
    if rows.empty or rows["task"].nunique() < 2:
        return rows
    named = rows["task"].where(rows["task"] == rows["category"], rows["task"] + ": " + rows["category"])
    return rows.assign(category=named)


def widths(curves: pd.DataFrame, *, least: float = 0.1) -> pd.DataFrame:
    """Measure how sharp curves are: the deepest mean, and at how many layers the curve lies below half of it.

    Args:
        curves: Summarised knockout curves: category (the width of the window), pathway, layer, mean, n.
        least: A curve whose deepest mean is not below -least counts as lying below half at 0 layers.

    Returns:
        One row per curve, with the columns window (the category), pathway, deepest, at_layer, layers_below_half, n.
    """
    rows = []
    curves = curves if len(curves) else pd.DataFrame(columns=["category", "pathway"])
    for (category, pathway), curve in curves.groupby(["category", "pathway"], sort=False):
        lowest = curve.loc[curve["mean"].idxmin()]
        below = int((curve["mean"] <= lowest["mean"] / 2).sum()) if lowest["mean"] < -least else 0
        rows.append((category, pathway, lowest["mean"], lowest["layer"], below, lowest["n"]))
    return pd.DataFrame(rows, columns=["window", "pathway", "deepest", "at_layer", "layers_below_half", "n"])


def deepest(rows: pd.DataFrame, pathway: str, *, level: float = LEVEL, seed: int = 0) -> dict[str, float]:
    """Find the layer at which the mean Δp of a pathway is deepest. It is chosen anew in each resample.

    Args:
        rows: Rows of `knockout.sweep`.
        pathway: A pathway.
        level: Level of the interval.
        seed: Seed of the resampling.

    Returns:
        A dict of mean (the layer), low and high (its interval over resamples) and n (samples). Of equally deep layers,
        the earliest counts. With fewer than two samples, all but n are NaN.
    """
    return _between([pathway], rows, level=level, seed=seed)


def lag(rows: pd.DataFrame, first: str, second: str, *, level: float = LEVEL, seed: int = 0) -> dict[str, float]:
    """Measure by how many layers the deepest mean Δp of one pathway comes after that of another.

    Args:
        rows: Rows of `knockout.sweep`. Samples without one of the pathways are left out.
        first: A pathway.
        second: Another pathway.
        level: Level of the interval.
        seed: Seed of the resampling.

    Returns:
        A dict as of `deepest`; its mean is the layer of `second` minus the layer of `first`. Both layers are chosen
        anew in each resample.
    """
    return _between([second, first], rows, level=level, seed=seed)


def _between(pathways: Sequence[str], rows: pd.DataFrame, *, level: float, seed: int) -> dict[str, float]:
    """The first pathway's deepest layer, minus that of the second if there is one: of all samples, and its interval."""
    table = rows.pivot_table(index="sample", columns=["pathway", "layer"], values="delta_p")[list(pathways)].dropna()
    if len(table) < 2:
        return {"mean": np.nan, "low": np.nan, "high": np.nan, "n": len(table)}
    whole, layer = table.to_numpy().mean(axis=0), 0
    drawn, layers = resampled_means(table.to_numpy(), seed=seed), np.zeros(DRAWS, dtype=int)
    for sign, pathway in zip((1, -1), pathways, strict=False):
        own, names = table.columns.get_loc(pathway), table[pathway].columns.to_numpy()
        layer += sign * int(names[whole[own].argmin()])
        layers = layers + sign * names[drawn[:, own].argmin(axis=1)]
    low, high = _interval(layers, level=level)
    return {"mean": float(layer), "low": float(low), "high": float(high), "n": len(table)}


def _interval(means: np.ndarray, *, level: float) -> np.ndarray:
    """Percentile interval along the draws: (draws, …) -> (2, …)."""
    return np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
