"""Means over samples, with bootstrap intervals.

1. Samples are what is drawn: all that was measured on one sample (every pathway, every layer) is drawn together.
2. A mean's 95 % interval goes from the 2.5th to the 97.5th percentile of the means of `draws` resamples.
3. One sample alone says nothing about the spread: its interval is missing (NaN), never a point.

Everything is seeded, so the same rows give the same intervals.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

__all__ = [
    "DRAWS",
    "LEVEL",
    "changes",
    "changes_by",
    "differences",
    "in_words",
    "joined",
    "lag",
    "orders",
    "panels",
    "percent",
    "resampled_means",
    "summarise",
    "widths",
]

DRAWS = 2000
LEVEL = 0.95


def resampled_means(values: np.ndarray, *, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Means of bootstrap resamples of the rows: (samples, cells) -> (draws, cells)."""
    n = len(values)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)  # (draws, samples)
    return counts @ values / n


def summarise(
    rows: pd.DataFrame, *, by: Sequence[str], value: str = "delta_p", level: float = LEVEL, seed: int = 0
) -> pd.DataFrame:
    """Mean, interval and number of samples of `value` in each group: columns `by`, mean, low, high, n.

    rows: one or more rows per (sample, group); several, such as random draws, are averaged first. Groups keep the order
        in which they first appear.
    """
    if rows.empty:
        raise ValueError("nothing to average: no sample was measured; the run's list of left-out samples says why")
    by = list(by)
    cells = rows.groupby([*by, "sample"], sort=False, observed=True)[value].mean().unstack("sample")  # groups x samples
    table = cells.notna().to_numpy()
    out = np.full((len(cells), 3), np.nan)
    # Groups that were measured on the same samples are resampled together.
    for members in pd.RangeIndex(len(cells)).groupby([row.tobytes() for row in table]).values():
        values = cells.to_numpy()[members][:, table[members[0]]].T  # (samples, groups)
        out[members, 0] = values.mean(axis=0)
        if len(values) > 1:
            out[members, 1:] = _interval(resampled_means(values, seed=seed), level=level).T
    result = pd.DataFrame(out, columns=["mean", "low", "high"], index=cells.index).reset_index()
    return result.assign(n=table.sum(axis=1))


def differences(rows: pd.DataFrame, *, column: str, baseline: str, value: str = "correct") -> pd.DataFrame:
    """Each sample's `value` under every other name in `column`, less that under `baseline`, as `change`."""
    table = rows.pivot_table(index="sample", columns=column, values=value, sort=False)
    if baseline not in table:
        raise ValueError(f"there is no {baseline!r} to compare with; {column} holds {', '.join(map(str, table))}")
    change = table.drop(columns=baseline).sub(table[baseline], axis=0)
    return change.stack().rename("change").reset_index()


def percent(row: pd.Series) -> str:
    """A mean with its interval, for readers: ``−43% [−51%, −35%]``."""
    interval = "" if np.isnan(row["low"]) else f" [{row['low']:+.0%}, {row['high']:+.0%}]"
    return f"{row['mean']:+.0%}{interval}".replace("-", "−")


def in_words(curves: pd.DataFrame, *, pathways: Sequence[str]) -> str:
    """What `summarise`d knockout curves show, for readers who hear the page: each pathway's deepest point."""
    lowest = [curves.loc[curves.loc[curves["pathway"] == name, "mean"].idxmin()] for name in pathways]
    points = [f"{row['pathway']} {percent(row)} at layer {row['layer']} ({row['category']})" for row in lowest]
    return f"Mean change of the answer's probability where it is lowest: {'; '.join(points)}."


def changes(rows: pd.DataFrame, *, column: str, baseline: str, level: float = LEVEL) -> pd.DataFrame:
    """Mean change of `correct` (0 or 1) against the baseline, sample by sample: `column`, mean, low, high, n.

    Where no sample has changed, resampling sees no spread. Then the interval is what n samples without a change allow:
    a share of 1 - (1 - level)^(1/n) in either direction, about 3 / n.
    """
    table = summarise(differences(rows, column=column, baseline=baseline), by=[column], value="change", level=level)
    still = (table["low"] == table["mean"]) & (table["high"] == table["mean"])
    allowed = 1 - (1 - level) ** (1 / table["n"])
    table.loc[still, "low"] -= allowed[still]
    table.loc[still, "high"] += allowed[still]
    return table


def changes_by(rows: pd.DataFrame, *, by: Sequence[str], column: str, baseline: str) -> pd.DataFrame:
    """`changes` within each group of `by`: its columns, and these."""
    parts = []
    for key, own in rows.groupby(list(by), sort=False):
        table = changes(own, column=column, baseline=baseline)
        parts.append(table.assign(**dict(zip(by, key, strict=True))))
    return pd.concat(parts, ignore_index=True)


def orders(rows: pd.DataFrame) -> pd.DataFrame:
    """How many prompts of each task have their parts in which order: task, structure, prompts."""
    if rows.empty:
        return pd.DataFrame(columns=["task", "structure", "prompts"])
    prompts = rows.drop_duplicates("sample").groupby(["task", "structure"], sort=False)
    return prompts.size().rename("prompts").reset_index()


def joined(*tables: pd.DataFrame) -> pd.DataFrame:
    """Summaries one below the other."""
    return pd.concat(tables, ignore_index=True)


def panels(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with the task in the category's name, if there are several: a panel for each (Flow figures 11 to 14)."""
    if rows["task"].nunique() < 2:
        return rows
    named = rows["task"].where(rows["task"] == rows["category"], rows["task"] + ": " + rows["category"])
    return rows.assign(category=named)


def widths(curves: pd.DataFrame, *, least: float = 0.1) -> pd.DataFrame:
    """How sharp curves are: the deepest mean, its layer, and for how many layers the curve lies below half of that.

    least: a curve that falls less lies below nothing.

    Columns: window (the category), pathway, deepest, at_layer, layers_below_half, n.
    """
    rows = []
    for (category, pathway), curve in curves.groupby(["category", "pathway"], sort=False):
        lowest = curve.loc[curve["mean"].idxmin()]
        below = int((curve["mean"] <= lowest["mean"] / 2).sum()) if lowest["mean"] < -least else 0
        rows.append((category, pathway, lowest["mean"], lowest["layer"], below, lowest["n"]))
    return pd.DataFrame(rows, columns=["window", "pathway", "deepest", "at_layer", "layers_below_half", "n"])


def lag(rows: pd.DataFrame, first: str, second: str, *, level: float = LEVEL, seed: int = 0) -> dict[str, float]:
    """By how many layers `second`'s deepest mean Δp comes after `first`'s: mean, low, high and n, over resamples.

    rows: of a knockout sweep. Only samples that have both pathways count. Ties go to the earlier layer.
    """
    table = rows.pivot_table(index="sample", columns=["pathway", "layer"], values="delta_p")[[first, second]].dropna()
    one, two = table[first], table[second]  # (samples, layers) each
    if len(table) < 2:
        return {"mean": np.nan, "low": np.nan, "high": np.nan, "n": len(table)}

    def deepest(means: np.ndarray) -> np.ndarray:
        """Layer of the lowest mean: (draws, layers of both) -> second's less first's."""
        a, b = np.split(means, [one.shape[1]], axis=-1)
        return two.columns.to_numpy()[b.argmin(axis=-1)] - one.columns.to_numpy()[a.argmin(axis=-1)]

    values = np.hstack([one.to_numpy(), two.to_numpy()])
    low, high = _interval(deepest(resampled_means(values, seed=seed)), level=level)
    return {"mean": float(deepest(values.mean(axis=0))), "low": float(low), "high": float(high), "n": len(table)}


def _interval(means: np.ndarray, *, level: float) -> np.ndarray:
    """Percentile interval along the draws: (draws, …) -> (2, …)."""
    return np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
