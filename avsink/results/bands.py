"""Bands that hold for many means at once, such as those of all layers of all categories.

Of intervals of 95 %, one in twenty misses its mean. Who asks at 28 layers of nine categories and takes the deepest of
252 intervals will find something anywhere. A band holds at all of these places together:

1. samples are resampled with replacement, all that was measured on one sample together; tables of different samples
   (categories) each on their own;
2. in each resample, each mean's distance from that of all samples is taken in units of its spread over resamples; the
   largest distance over all columns of all tables is kept. z is what 95 % of these stay below;
3. the standard error is an estimate, too, which matters with few samples: z of the normal distribution becomes t of
   Student's with n - 1 degrees of freedom, t = √((n - 1) (exp(z² c² / (n - 1)) - 1)) with c = (8n - 5) / (8n - 7)
   (Wallace 1959);
4. the band of a column is mean ± t · s / √n, s the standard deviation over samples.

Resampling is seeded: the same rows give the same bands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from avsink.results.bootstrap import LEVEL, cells, resampled_means

__all__ = ["bands", "simultaneous"]

STILL = 1e-9  # of a mean: a spread below that is rounding


def simultaneous(tables: Sequence[np.ndarray], *, level: float = LEVEL, seed: int = 0) -> list[np.ndarray]:
    """Find the band of all columns of all tables together.

    Args:
        tables: (samples, columns) each; the samples of two tables are different ones.
        level: The probability that all bands hold their means.
        seed: Seed of the resampling.

    Returns:
        For each table (3, columns): mean, low, high. Of a single sample, low and high are NaN; a column without spread
        has a band of no width.
    """
    largest = [np.zeros(1)]
    spreads = []
    for number, values in enumerate(tables):
        mean, n = values.mean(axis=0), len(values)
        se = values.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.full(len(mean), np.nan)
        moving = se > STILL * np.abs(mean)
        spreads.append((mean, np.where(moving | np.isnan(se), se, 0.0), n))
        if moving.any():
            drawn = resampled_means(values[:, moving], seed=[seed, number])  # (draws, columns)
            exact = values[:, moving].std(axis=0) / np.sqrt(n)  # the spread of means of resamples
            largest.append((np.abs(drawn - mean[moving]) / exact).max(axis=1))
    z = np.quantile(np.maximum.reduce(np.broadcast_arrays(*largest)), level)
    return [np.stack([mean, mean - _student(z, n) * se, mean + _student(z, n) * se]) for mean, se, n in spreads]


def bands(
    rows: pd.DataFrame, *, by: Sequence[str], value: str = "delta_p", level: float = LEVEL, seed: int = 0
) -> pd.DataFrame:
    """Average over the samples of each group, with bands that hold for all groups together.

    Args:
        rows: One or more rows per (sample, group). Several, such as random draws, are averaged first.
        by: The columns that tell groups apart.
        value: The column to average.
        level: The probability that all bands hold their means.
        seed: Seed of the resampling.

    Returns:
        One row per group, in the order in which groups first appear, with the columns `by`, mean, low, high and n.
    """
    table = cells(rows, by=by, value=value)  # (groups, samples)
    measured = table.notna().to_numpy()
    kinds: dict[bytes, list[int]] = {}  # groups that were measured on the same samples
    for number, row in enumerate(measured):
        kinds.setdefault(row.tobytes(), []).append(number)
    parts = [table.to_numpy()[own][:, measured[own[0]]].T for own in kinds.values()]
    out = np.empty((len(table), 3))
    for own, found in zip(kinds.values(), simultaneous(parts, level=level, seed=seed), strict=True):
        out[own] = found.T
    result = pd.DataFrame(out, columns=["mean", "low", "high"], index=table.index).reset_index()
    return result.assign(n=measured.sum(axis=1))


def _student(z: float, n: int) -> float:
    """The quantile of Student's t with n - 1 degrees of freedom that has the level of z (Wallace 1959)."""
    if n < 2:
        return np.nan
    return float(np.sqrt((n - 1) * np.expm1((z * (8 * n - 5) / (8 * n - 7)) ** 2 / (n - 1))))
