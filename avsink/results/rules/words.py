"""A number with its interval and the bar that it is held against, in as many digits as show on which side it lies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np

__all__ = ["share", "told"]

MOST = 6  # decimals


def told(row: Mapping[str, float], *, bars: Iterable[float], form: str = "+.1%", unit: str = "") -> str:
    """Format ``−43.2% [−51.0%, −35.4%]``.

    Args:
        row: mean, low and high. Without an interval (NaN) the mean stands alone.
        bars: What the ends are held against. Digits are added until no end looks to be on the other side of a bar, or
            on it.
        form: The format of a number, with its fewest decimals.
        unit: Stands after the numbers, such as "points".
    """
    numbers = [float(row[name]) for name in ("mean", "low", "high")]
    fewest = int(re.search(r"\.(\d)", form)[1])
    bars = list(bars)
    for digits in range(fewest, MOST + 1):
        own = re.sub(r"\.\d", f".{digits}", form)
        if all(_side(_rounded(x, own), bar) == _side(x, bar) for x in numbers[1:] for bar in bars):
            break
    mean, low, high = (format(x, own) for x in numbers)
    text = mean if np.isnan(numbers[1]) else f"{mean} [{low}, {high}]"
    return (f"{text} {unit}" if unit else text).replace("-", "−")


def share(x: float, *, signed: bool = False) -> str:
    """Format a bar: ``10%``, ``−2.5%``."""
    text = f"{100 * x:{'+' if signed else ''}.10g}%"
    return text.replace("-", "−")


def _rounded(x: float, form: str) -> float:
    text = format(x, form)
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def _side(x: float, bar: float) -> int:
    return 0 if np.isnan(x) else int(np.sign(round(x - bar, 9)))
