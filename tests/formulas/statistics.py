"""Means over samples, their bootstrap intervals, and the rules on these intervals, in loops over lists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from formulas.hubs import mean

__all__ = [
    "bands",
    "composed",
    "deepest",
    "gap",
    "interval",
    "lag",
    "quantile",
    "resampled",
    "rule",
    "student",
    "verdict",
]

DRAWS, SEED = 2000, 0


def quantile(numbers: Sequence[float], share: float) -> float:
    """The number below which this share of the sorted numbers lies, in a straight line between its two neighbours."""
    ordered = sorted(numbers)
    at = share * (len(ordered) - 1)
    below = math.floor(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (at - below) * (ordered[above] - ordered[below])


@cache
def resampled(count: int) -> list[list[int]]:
    """Which samples each resample holds, as numbers: as many as there are, drawn with replacement."""
    draws = np.random.default_rng(SEED).multinomial(count, [1 / count] * count, size=DRAWS)
    return [[sample for sample, times in enumerate(draw) for _ in range(times)] for draw in draws]


def interval(values: Sequence[float], *, level: float = 0.95) -> tuple[float, float, float]:
    """The mean of a number of each sample, and the ends of its interval: NaN of a single sample."""
    if len(values) < 2:
        return mean(values), math.nan, math.nan
    means = [mean([values[sample] for sample in draw]) for draw in resampled(len(values))]
    return mean(values), quantile(means, (1 - level) / 2), quantile(means, 1 - (1 - level) / 2)


def bands(
    tables: Sequence[Sequence[Sequence[float]]], *, level: float = 0.95
) -> list[list[tuple[float, float, float]]]:
    """The mean of each column of each table, and the ends of bands that hold for all of them together.

    tables: for each table, the numbers of each sample: one for each column. Two tables have different samples.
    """
    largest, spreads = np.zeros(DRAWS), []
    for number, table in enumerate(tables):
        count, values = len(table), np.array(table)
        draws = np.random.default_rng([SEED, number]).multinomial(count, [1 / count] * count, size=DRAWS)
        spreads.append([])
        for column in values.T:
            middle = mean(column.tolist())
            variance = mean([(x - middle) ** 2 for x in column.tolist()])
            spreads[-1].append((middle, math.sqrt(variance / (count - 1)), count))
            if variance > 0:
                drawn = (draws * column).sum(axis=1) / count
                largest = np.maximum(largest, abs(drawn - middle) / math.sqrt(variance / count))
    z = quantile(largest.tolist(), level)
    return [
        [(m, m - student(z, count - 1) * error, m + student(z, count - 1) * error) for m, error, count in own]
        for own in spreads
    ]


def student(z: float, freedom: int) -> float:
    """Where Student's t leaves as much in its tail as the normal distribution does above z (Wallace 1959)."""
    return math.sqrt(freedom * (math.exp((z * (8 * freedom + 3) / (8 * freedom + 1)) ** 2 / freedom) - 1))


def gap(one: Sequence[Sequence[float]], two: Sequence[Sequence[float]]) -> list[list[float]]:
    """Of each sample, two[other] - one[layer] for every pair of layers, row by row."""
    return [[b - a for a in first for b in second] for first, second in zip(one, two, strict=True)]


def deepest(curves: Sequence[Sequence[float]], layers: Sequence[int], draw: Sequence[int]) -> int:
    """The layer at which the mean over these samples is lowest, the earliest of several."""
    means = [mean([curves[sample][at] for sample in draw]) for at in range(len(layers))]
    return layers[means.index(min(means))]


def lag(one: Sequence[Sequence[float]], two: Sequence[Sequence[float]], layers: Sequence[int], *, level: float = 0.95):
    """Layers from the deepest mean of one pathway to that of another: of all samples, and its interval.

    one, two: for each sample, Δp of each layer.
    """
    lags = [deepest(two, layers, draw) - deepest(one, layers, draw) for draw in resampled(len(one))]
    whole = range(len(one))
    ends = quantile(lags, (1 - level) / 2), quantile(lags, 1 - (1 - level) / 2)
    return deepest(two, layers, whole) - deepest(one, layers, whole), *ends


def verdict(supported: bool, contradicted: bool) -> str:
    return "supported" if supported else "not supported" if contradicted else "too wide"


def composed(verdicts: Sequence[str], scope: str) -> str:
    """The verdict on all categories, of which every, most (more than half) or any must support the claim.

    If they settle nothing, the most frequent of the words that say why, the first of several.
    """
    yes, no, count = verdicts.count("supported"), verdicts.count("not supported"), len(verdicts)
    supported, contradicted = {
        "every": (yes == count, no >= 1),
        "most": (2 * yes > count, 2 * no >= count),
        "any": (yes >= 1, no == count),
    }[scope]
    if supported or contradicted:
        return verdict(supported, contradicted)
    others = [word for word in verdicts if word not in ("supported", "not supported")]
    return max(others, key=others.count)


def rule(name: str, intervals: Sequence[tuple[float, float, float]], *, margin: float = 0.1) -> str:
    """The verdict of a rule on one curve: (mean, low, high) of each layer, as `avsink.results.rules` states it."""
    lows, highs = [low for _, low, _ in intervals], [high for _, _, high in intervals]
    somewhere, everywhere = any, all
    supported, contradicted = {
        "drops": (somewhere(high < -margin for high in highs), everywhere(low > -margin for low in lows)),
        "rises": (somewhere(low > margin for low in lows), everywhere(high < margin for high in highs)),
        "stays_flat": (
            everywhere(-margin < low and high < margin for low, high in zip(lows, highs, strict=True)),
            somewhere(high < -margin or low > margin for low, high in zip(lows, highs, strict=True)),
        ),
    }[name]
    return verdict(supported, contradicted)
