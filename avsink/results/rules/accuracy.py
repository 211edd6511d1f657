"""Rules on accuracy, sample by sample against a baseline on the same samples."""

from __future__ import annotations

import pandas as pd

from avsink.results.bands import simultaneous
from avsink.results.bootstrap import changes, differences, summarise, unseen
from avsink.results.rules.shared import FEWEST, if_measured
from avsink.results.rules.words import told
from avsink.results.verdicts import Found, Outcome, Rule, outcome

__all__ = ["harmless", "improves", "unharmed"]

MARGIN = 0.05  # of accuracy: a smaller loss counts as none
GAIN = 0.02  # of accuracy: a gain that could be no larger than that counts as none
EXACT = 1e-9  # rounding of a share


def harmless(low: float, high: float, *, margin: float = MARGIN) -> Outcome:
    """Judge a change of accuracy by its interval: no loss that counts, or a loss."""
    return outcome(low > -margin, high < -margin)


def unharmed(name: str, *, column: str, baseline: str, claim: str, where: str, margin: float = MARGIN) -> Rule:
    """Rule: accuracy is not lower than the baseline's on the same samples.

    It is applied to rows with the columns sample, `column`, correct (0 or 1) and chance. A result that could not have
    failed says nothing: that is so if the baseline is no better than guessing.

    Args:
        name: The configuration, a value of `column`.
        column: The column that tells configurations apart.
        baseline: The value of `column` to compare with.
        claim: The paper's statement.
        where: Its place in the paper.
        margin: The largest loss of accuracy (0.05: five points) that counts as none.
    """
    points = f"{100 * margin:g} points"

    @if_measured
    def test(rows: pd.DataFrame) -> Found:
        own, before = rows[rows[column] == name], rows[rows[column] == baseline]
        if own.empty or before.empty:
            return Found("not measured", f"{name} was not measured")
        row = changes(rows, column=column, baseline=baseline).set_index(column).loc[name]
        change = told(100 * row[["mean", "low", "high"]], bars=(-100 * margin,), form="+.1f", unit="points")
        accuracy = summarise(before.assign(all=0), by=["all"], value="correct").iloc[0]
        base = told(accuracy, bars=(before["chance"].mean(),), form=".1%")
        measured = f"change of accuracy: {change} against above −{points} (n = {row['n']:.0f}; baseline {base})"
        if row["n"] < FEWEST:
            return Found("too few", f"{measured}; {FEWEST} samples are needed")
        if not accuracy["low"] > before["chance"].mean():
            return Found(
                "no room", f"{measured}; the baseline is not better than guessing, {before['chance'].mean():.1%}"
            )
        return Found(harmless(row["low"], row["high"], margin=margin), measured)

    condition = (
        f"{name}: the interval of the change of accuracy against “{baseline}”, sample by sample, lies above −{points}, "
        "and the baseline is better than guessing"
    )
    return Rule(claim=claim, where=where, condition=condition, test=test)


def improves(column: str, *, baseline: str, claim: str, where: str, margin: float = GAIN) -> Rule:
    """Rule: some configuration is right more often than the baseline in some category, on the same samples.

    Bands hold for all configurations and categories together. It is not so if no band reaches above the margin. A
    category in which the baseline is wrong no more often than the margin has no room.

    Args:
        column: The column that tells configurations apart.
        baseline: The value of `column` to compare with.
        claim: The paper's statement.
        where: Its place in the paper.
        margin: The largest gain of accuracy (0.02: two points) that counts as none.
    """
    points = f"{100 * margin:g} points"

    @if_measured
    def test(rows: pd.DataFrame) -> Found:
        if rows[column].nunique() < 2:
            return Found("not measured", f"{baseline} is all that was measured")
        tables = {
            name: differences(own, column=column, baseline=baseline).pivot(
                index="sample", columns=column, values="change"
            )
            for name, own in rows.groupby("category", sort=False)
        }
        tables = {name: table for name, table in tables.items() if len(table) >= FEWEST}
        if not tables:
            return Found("too few", f"n = {rows['sample'].nunique()} in all, where {FEWEST} are needed in a category")
        cells = []
        for (name, table), found in zip(
            tables.items(), simultaneous([table.to_numpy() for table in tables.values()]), strict=True
        ):
            for config, mean, low, high in zip(table, *found, strict=True):
                allowed = unseen(len(table)) * (low == high)
                cells.append((low - allowed, high + allowed, mean, config, name, len(table)))
        wrong = 1 - rows[rows[column] == baseline].groupby("category")["correct"].mean()
        with_room = [cell for cell in cells if wrong[cell[4]] > margin + EXACT]
        better = [cell for cell in cells if cell[0] > 0]
        quoted = max(better, key=lambda cell: cell[2]) if better else max(with_room or cells, key=lambda cell: cell[1])
        low, high, mean, config, name, n = quoted
        percent = {"mean": 100 * mean, "low": 100 * low, "high": 100 * high}
        change = told(percent, bars=(0, 100 * margin), form="+.1f", unit="points")
        measured = f"{config}, {name}: change of accuracy {change} against above 0 points (n = {n})"
        if better:
            return Found("supported", measured)
        if not with_room:
            return Found(
                "no room", f"{measured}; the baseline can gain {100 * wrong[list(tables)].max():.1f} points at most"
            )
        word = outcome(False, all(cell[1] < margin for cell in with_room))
        return Found(word, f"{measured}; no band reaches above {points}" if word == "not supported" else measured)

    condition = (
        f"the change of accuracy against “{baseline}”, sample by sample: for some configuration in some category, the "
        f"band lies above 0 points (not so: no band reaches above {points})"
    )
    return Rule(claim=claim, where=where, condition=condition, test=test)
