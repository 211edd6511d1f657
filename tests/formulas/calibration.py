"""How sink dimensions D and the threshold τ are found, step by step (avsink/instruments/sink_calibration.py)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from formulas import hubs
from formulas.decoder import Pass

__all__ = ["Limits", "dimensions", "energy_share", "layers_of", "marks", "median", "threshold"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """share: of a token's energy; large: times the median norm; common: of a layer's tokens; drawn: times an even part
    of the attention."""

    share: float
    large: float
    common: float
    drawn: float


Mark = tuple[int, int, int]  # layer, token, dimension


def median(numbers: Sequence[float]) -> float:
    """The number in the middle; of an even count, the lower one of two."""
    return sorted(numbers)[(len(numbers) - 1) // 2]


def marks(found: Pass, limits: Limits) -> set[Mark]:
    """Where a dimension is massive at a token that attracts attention (steps 1 to 3)."""
    result: set[Mark] = set()
    for layer, rows in enumerate(found.inputs):
        states = rows.tolist()
        n, width = len(states), len(states[0])
        middle = median([math.sqrt(sum(value**2 for value in x)) for x in states])
        for d in range(width):
            massive = [
                token
                for token, x in enumerate(states)
                if x[d] ** 2 >= limits.share * sum(value**2 for value in x) and abs(x[d]) >= limits.large * middle
            ]
            if len(massive) > limits.common * n:
                continue
            for token in massive:
                later = range(token + 1, n)
                even = hubs.mean([1 / (query + 1) for query in later])
                if later and hubs.received(found, layer, token, later) >= limits.drawn * even:
                    result.add((layer, token, d))
    return result


def energy_share(found: Pass, token: int) -> float:
    """The largest fraction of the token's energy that one dimension holds at any layer."""
    rows = [states[token].tolist() for states in found.inputs]
    return max(max(value**2 for value in x) / sum(value**2 for value in x) for x in rows)


def dimensions(samples: Sequence[set[Mark]]) -> tuple[dict[int, float], tuple[int, ...]]:
    """In which fraction of the samples each dimension is marked, and D: those of at least half (step 4)."""
    marked = {d for sample in samples for _, _, d in sample}
    seen = {d: sum(any(mark[2] == d for mark in sample) for sample in samples) / len(samples) for d in marked}
    order = sorted(seen, key=lambda d: (-seen[d], d))
    return {d: seen[d] for d in order}, tuple(d for d in order if 2 * seen[d] >= 1)


def layers_of(samples: Sequence[set[Mark]], dims: Sequence[int], *, media: Sequence[int]) -> tuple[int, ...]:
    """The layers with marks of D at media tokens of at least half of the samples, else at any tokens (step 5)."""

    def half(tokens) -> tuple[int, ...]:
        own = [{layer for layer, token, d in sample if d in dims and tokens(token)} for sample in samples]
        return tuple(
            layer for layer in sorted(set().union(*own)) if 2 * sum(layer in found for found in own) >= len(own)
        )

    return half(lambda token: token in media) or half(lambda token: True)


def threshold(phis: Sequence[float], *, width: int, share: float, gap: float, leak: float) -> tuple | None:
    """τ and its leak (step 6); None if small and large φ are not separate.

    Of all intervals from a to gap · a, where gap · a is at least half the φ of a dimension with `share` of the energy.
    A smaller leak is better; then a larger ratio of the two values of φ between which the interval begins.
    """
    values = sorted(phis)
    least, best = math.sqrt(share * width) / 2, None
    for low, high in zip(values, values[1:], strict=False):
        a = max(low, least / gap)
        if a >= high:
            continue
        above = [phi for phi in values if phi > a]
        inside = [phi for phi in above if phi < gap * a]
        if len(inside) == len(above) or len(inside) > leak * len(above):
            continue
        rank = len(inside) / len(above), -high / low
        if best is None or rank < best[0]:
            best = rank, math.sqrt(a * gap * a if inside else low * high)
    return None if best is None else (best[1], best[0][0])
