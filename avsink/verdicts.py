"""Does a run show what the paper reports? Rules on intervals, written down before there are numbers.

1. A *rule* states a claim of the paper, where it is made, and a condition on this run's 95 % intervals.
2. `judge` applies it to the rows of a run: **supported**, **not supported**, or **inconclusive** where the intervals
   are too wide to tell.
3. `conclude` composes: supported if every part is, not supported if one part is not, else inconclusive.

A change of less than `margin` (0.1: a tenth of the answer's probability) counts as none. With the margin m and mean Δp
over samples, layer by layer:

=============  ==============================================  =============================================
rule           supported if                                    not supported if
=============  ==============================================  =============================================
`drops`        at some layer the interval lies below -m        at every layer the interval lies above -m
`rises`        at some layer the interval lies above +m        at every layer the interval lies below +m
`stays_flat`   at every layer the interval lies within ±m      at some layer the interval lies outside of ±m
`comes_first`  the lag's interval lies above 0                 the lag's interval does not reach above 0
=============  ==============================================  =============================================

`drops`, `rises` and `stays_flat` are asked of each task category, and hold if they hold in every one (or in one, with
`scope="any"`). The lag is the number of layers from the first pathway's deepest mean Δp to the second's. Where one of
the two has no clear drop there is nothing to put in order, and `comes_first` is inconclusive.

Other rules compare one number of each sample with a bar (`lies_above`), or a configuration's accuracy with that of the
baseline on the same samples (`unharmed`): supported if the interval of the difference lies above -m, not supported if
it lies below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from avsink.metrics import differences, lag, percent, summarise

__all__ = [
    *("MARGIN", "Rule", "Verdict", "caveat", "comes_first", "conclude", "drops", "judge", "lies_above", "rises"),
    *("rules_table", "stays_flat", "unharmed", "verdicts_table"),
]

Scope = Literal["every", "any"]
Outcome = Literal["supported", "not supported", "inconclusive"]
MARGIN = 0.1


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What the paper reports, and when a run agrees.

    claim, where: the paper's statement and its place there. condition: the rule in words.
    test: rows of a run -> the outcome and what was measured, in words.
    """

    claim: str
    where: str
    condition: str
    test: Callable[[pd.DataFrame], tuple[Outcome, str]]


@dataclass(frozen=True)
class Verdict:
    """The outcome for one claim, and because of what."""

    claim: str
    where: str
    verdict: Outcome
    because: str

    def __str__(self) -> str:
        return f"{self.verdict.capitalize()}: {self.claim} ({self.where}). {self.because}"

    def _repr_markdown_(self) -> str:
        return f"**{self.verdict.capitalize()}**: {self.claim} ({self.where}). {self.because}"


def drops(pathway: str, *, claim: str, where: str, margin: float = MARGIN, scope: Scope = "every") -> Rule:
    """Closing the pathway makes the answer clearly less probable."""

    def category(curve: pd.DataFrame) -> tuple[Outcome, pd.Series]:
        outcome = _outcome((curve["high"] < -margin).any(), (curve["low"] > -margin).all())
        return outcome, curve.loc[curve["mean"].idxmin()]

    hardest = {"every": lambda row: row["mean"], "any": lambda row: -row["mean"]}[scope]
    return Rule(
        claim=claim,
        where=where,
        condition=f"{pathway}: in {scope} category, the interval lies below −{margin:.0%} at some layer",
        test=_by_category(pathway, category, compose={"every": _every, "any": _any}[scope], telling=hardest),
    )


def rises(pathway: str, *, claim: str, where: str, margin: float = MARGIN, scope: Scope = "every") -> Rule:
    """Closing the pathway makes the answer clearly *more* probable: what it carries competes with the answer."""

    def category(curve: pd.DataFrame) -> tuple[Outcome, pd.Series]:
        outcome = _outcome((curve["low"] > margin).any(), (curve["high"] < margin).all())
        return outcome, curve.loc[curve["mean"].idxmax()]

    hardest = {"every": lambda row: -row["mean"], "any": lambda row: row["mean"]}[scope]
    return Rule(
        claim=claim,
        where=where,
        condition=f"{pathway}: in {scope} category, the interval lies above +{margin:.0%} at some layer",
        test=_by_category(pathway, category, compose={"every": _every, "any": _any}[scope], telling=hardest),
    )


def stays_flat(pathway: str, *, claim: str, where: str, margin: float = MARGIN) -> Rule:
    """Closing the pathway changes nothing worth the name."""

    def category(curve: pd.DataFrame) -> tuple[Outcome, pd.Series]:
        within = ((curve["low"] > -margin) & (curve["high"] < margin)).all()
        beyond = ((curve["high"] < -margin) | (curve["low"] > margin)).any()
        return _outcome(within, beyond), curve.loc[curve["mean"].abs().idxmax()]

    return Rule(
        claim=claim,
        where=where,
        condition=f"{pathway}: in every category, the interval lies within ±{margin:.0%} at every layer",
        test=_by_category(pathway, category, compose=_every, telling=lambda row: abs(row["mean"])),
    )


def comes_first(first: str, second: str, *, claim: str, where: str, margin: float = MARGIN) -> Rule:
    """The first pathway is needed at earlier layers than the second. Only drops can be put in order."""

    def test(rows: pd.DataFrame) -> tuple[Outcome, str]:
        for pathway in (first, second):
            curve = rows[rows["pathway"] == pathway]
            if curve.empty or not (summarise(curve, by=["layer"])["high"] < -margin).any():
                return "inconclusive", f"{pathway} has no clear drop whose layer could be named"
        gap = lag(rows, first, second)
        measured = f"{gap['mean']:+.0f} layers [{gap['low']:+.0f}, {gap['high']:+.0f}] (n = {gap['n']})"
        return _outcome(gap["low"] > 0, gap["high"] <= 0), measured.replace("-", "−")

    condition = f"from the deepest point of {first} to that of {second}: an interval of layers above 0"
    return Rule(claim=claim, where=where, condition=condition, test=test)


def lies_above(
    bar: float, *, value: Callable[[pd.DataFrame], pd.Series], what: str, claim: str, where: str, unit: str = ".0%"
) -> Rule:
    """A number of each sample is on average above a bar. value: rows -> one number a sample; NaN is left out."""

    def test(rows: pd.DataFrame) -> tuple[Outcome, str]:
        numbers = value(rows).dropna()
        if numbers.empty:
            return "inconclusive", "not measured"
        mean = summarise(
            pd.DataFrame({"sample": numbers.index, "x": numbers.to_numpy()}).assign(all=0), by=["all"], value="x"
        )
        row = mean.iloc[0]
        measured = f"{row['mean']:{unit}} [{row['low']:{unit}}, {row['high']:{unit}}] (n = {len(numbers)})"
        return _outcome(row["low"] > bar, row["high"] <= bar), measured.replace("-", "−")

    return Rule(claim=claim, where=where, condition=f"{what}: the interval lies above {bar:{unit}}", test=test)


def unharmed(name: str, *, column: str, baseline: str, claim: str, where: str, margin: float = 0.05) -> Rule:
    """Accuracy is not lower than the baseline's on the same samples. rows: sample, `column`, correct (0 or 1)."""

    def test(rows: pd.DataFrame) -> tuple[Outcome, str]:
        change = differences(rows, column=column, baseline=baseline)
        change = change[change[column] == name]
        if change.empty:
            return "inconclusive", "not measured"
        row = summarise(change, by=[column], value="change").iloc[0]
        measured = (
            f"{100 * row['mean']:+.1f} points [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}] (n = {row['n']})"
        )
        return _outcome(row["low"] > -margin, row["high"] < -margin), measured.replace("-", "−")

    condition = (
        f"{name}: the change of accuracy against “{baseline}”, sample by sample, lies above −{100 * margin:.0f} points"
    )
    return Rule(claim=claim, where=where, condition=condition, test=test)


def judge(rules: Sequence[Rule], rows: pd.DataFrame) -> list[Verdict]:
    """Apply each rule to the rows that it is about."""
    return [Verdict(rule.claim, rule.where, *rule.test(rows)) for rule in rules]


def conclude(claim: str, verdicts: Sequence[Verdict], *, where: str, note: str = "") -> Verdict:
    """The verdict on a claim that needs all of its parts. note: what else a reader must know, such as `caveat`."""
    outcomes = [verdict.verdict for verdict in verdicts]
    counts = ", ".join(f"{outcomes.count(name)} {name}" for name in dict.fromkeys(outcomes))
    return Verdict(claim, where, _every(outcomes), f"Of {len(outcomes)} parts: {counts}. {note}".strip())


def caveat(card) -> str:
    """What every figure from this model has to say about itself."""
    if not card.taught:
        return ""
    return f"{card.name} was taught along which ways to send information: this is calibration, not evidence."


def rules_table(rules: Sequence[Rule]) -> pd.DataFrame:
    """What will be judged, and how: to be shown before there are numbers."""
    return pd.DataFrame([(r.claim, r.where, r.condition) for r in rules], columns=["reported", "where", "supported if"])


def verdicts_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Reported beside measured."""
    rows = [(v.claim, v.where, v.because, v.verdict) for v in verdicts]
    return pd.DataFrame(rows, columns=["reported", "where", "measured here", "verdict"])


def _by_category(pathway: str, category, *, compose, telling) -> Callable[[pd.DataFrame], tuple[Outcome, str]]:
    """Ask `category(curve)` of each task category, and quote the one that decides (the highest in `telling`)."""

    def test(rows: pd.DataFrame) -> tuple[Outcome, str]:
        rows = rows[rows["pathway"] == pathway]
        if rows.empty:
            return "inconclusive", "not measured"
        curves = summarise(rows, by=["category", "layer"])
        found = [category(curve) for _, curve in curves.groupby("category", sort=False)]
        overall = compose([outcome for outcome, _ in found])
        row = max((row for outcome, row in found if outcome == overall), key=telling)
        return overall, f"{percent(row)} at layer {row['layer']} ({row['category']}, n = {row['n']})"

    return test


def _outcome(supported: bool, contradicted: bool) -> Outcome:
    return "supported" if supported else "not supported" if contradicted else "inconclusive"


def _every(outcomes: Sequence[Outcome]) -> Outcome:
    return _outcome(all(o == "supported" for o in outcomes), any(o == "not supported" for o in outcomes))


def _any(outcomes: Sequence[Outcome]) -> Outcome:
    return _outcome(any(o == "supported" for o in outcomes), all(o == "not supported" for o in outcomes))
