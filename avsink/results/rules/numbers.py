"""Rules on one number of each sample, or on one at each layer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from avsink.results.bands import simultaneous
from avsink.results.bootstrap import LEVEL, resampled_means, summarise
from avsink.results.rules.shared import FEWEST, if_measured
from avsink.results.rules.words import told
from avsink.results.verdicts import Found, Outcome, Rule, outcome

__all__ = ["is_most_of", "lies_above"]


def lies_above(
    bar: float,
    *,
    value: Callable[[pd.DataFrame], pd.Series | pd.DataFrame],
    what: str,
    claim: str,
    where: str,
    unit: str = ".1%",
) -> Rule:
    """Rule: a number of each sample is on average above a bar.

    Args:
        bar: What the interval must lie above.
        value: Rows of a run -> one number per sample, indexed by sample; or a table of samples x layers, for a number
            that must lie above the bar at *some* layer: its bands hold at all layers together. Samples with a NaN are
            left out.
        what: The number in words, for readers.
        claim: The paper's statement.
        where: Its place in the paper.
        unit: Format of the number, with its fewest decimals.
    """
    # A bar of 0 has no sign, and no hyphen of `what` becomes a minus.
    above = f"above {format(bar, unit).replace('-', '−') if bar else 0}"

    @if_measured
    def test(rows: pd.DataFrame) -> Found:
        numbers = value(rows).dropna()
        if numbers.empty:
            return Found("not measured", f"{what}: not measured")
        row, place = _one(numbers) if numbers.ndim == 1 else _best(numbers, bar)
        measured = f"{what}: {told(row, bars=(bar,), form=unit)} against {above} ({place}n = {len(numbers)})"
        if len(numbers) < FEWEST:
            return Found("too few", f"{measured}; {FEWEST} are needed")
        return Found(outcome(row["low"] > bar, row["high"] <= bar), measured)

    return Rule(
        claim=claim,
        where=where,
        condition=f"{what}: the interval lies {above}",
        test=test,
    )


def is_most_of(
    part: Callable[[pd.DataFrame], pd.Series],
    whole: Callable[[pd.DataFrame], pd.Series],
    *,
    what: str,
    claim: str,
    where: str,
    empty: Outcome,
    bar: float = 0.5,
) -> Rule:
    """Rule: of a sum over samples, a part is more than half. Both sums are taken anew in each resample.

    Args:
        part: Rows of a run -> the part of each sample, indexed by sample.
        whole: The same of the whole.
        what: The part of what, in words.
        claim: The paper's statement.
        where: Its place in the paper.
        empty: The outcome if the whole is not clearly above 0, so that nothing can be most of it.
        bar: What the interval of the part's share must lie above.
    """

    @if_measured
    def test(rows: pd.DataFrame) -> Found:
        table = pd.DataFrame({"part": part(rows), "whole": whole(rows)}).dropna()
        n = len(table)
        if n < FEWEST:
            return Found("too few" if n else "not measured", f"{what}: n = {n}, where {FEWEST} are needed")
        means, drawn = table.to_numpy().mean(axis=0), resampled_means(table.to_numpy())  # (2,), (draws, 2)
        ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
        low, high = np.quantile(drawn[:, 1], ends)
        if not low > 0:
            own = told({"mean": means[1], "low": low, "high": high}, bars=(0,), form="+.1%")
            return Found(empty, f"{what}: there is nothing to be most of, {own} against above 0% (n = {n})")
        low, high = np.quantile(drawn[:, 0] / drawn[:, 1], ends)
        row = {"mean": means[0] / means[1], "low": low, "high": high}
        measured = f"{what}: {told(row, bars=(bar,), form='.1%')} against above {bar:.0%} (n = {n})"
        return Found(outcome(low > bar, high <= bar), measured)

    return Rule(claim=claim, where=where, condition=f"{what}: the interval lies above {bar:.0%}", test=test)


def _one(numbers: pd.Series) -> tuple[pd.Series, str]:
    rows = pd.DataFrame({"sample": numbers.index, "x": numbers.to_numpy(), "all": 0})
    return summarise(rows, by=["all"], value="x").iloc[0], ""


def _best(numbers: pd.DataFrame, bar: float) -> tuple[dict[str, float], str]:
    """The layer whose band decides: one that lies above the bar, else the one that reaches highest."""
    ((mean, low, high),) = simultaneous([numbers.to_numpy()])
    at = int(np.where((low > bar).any(), low, high).argmax())
    return {"mean": mean[at], "low": low[at], "high": high[at]}, f"layer {numbers.columns[at]}, "
