"""Does a run show what the paper reports? Rules on intervals, written down before there are numbers.

1. A *rule* states a claim of the paper, where it is made, and a condition on this run's 95 % intervals.
2. `judge` applies it to the rows of a run: **supported**, **not supported**, or **inconclusive** where the intervals
   are too wide to tell.
3. `conclude` composes: supported if every part is, not supported if one part is not, else inconclusive.

The kinds of rules are in `avsink.results.rules`, the paper's statements in `avsink.papers.flow.claims`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

__all__ = [
    *(
        "MARGIN",
        "Outcome",
        "Rule",
        "Verdict",
        "any_of",
        "caveat",
        "conclude",
        "every_of",
        "judge",
        "most_of",
        "outcome",
    ),
    *("rules_table", "verdicts_table"),
]

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


def judge(rules: Sequence[Rule], rows: pd.DataFrame) -> list[Verdict]:
    """Apply each rule to the rows that it is about."""
    return [Verdict(rule.claim, rule.where, *rule.test(rows)) for rule in rules]


def conclude(claim: str, verdicts: Sequence[Verdict], *, where: str, note: str = "") -> Verdict:
    """The verdict on a claim that needs all of its parts. note: what else a reader must know, such as `caveat`."""
    outcomes = [verdict.verdict for verdict in verdicts]
    counts = ", ".join(f"{outcomes.count(name)} {name}" for name in dict.fromkeys(outcomes))
    return Verdict(claim, where, every_of(outcomes), f"Of {len(outcomes)} parts: {counts}. {note}".strip())


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


def outcome(supported: bool, contradicted: bool) -> Outcome:
    return "supported" if supported else "not supported" if contradicted else "inconclusive"


def every_of(outcomes: Sequence[Outcome]) -> Outcome:
    return outcome(all(o == "supported" for o in outcomes), any(o == "not supported" for o in outcomes))


def most_of(outcomes: Sequence[Outcome]) -> Outcome:
    half = len(outcomes) / 2
    return outcome(outcomes.count("supported") > half, outcomes.count("not supported") >= half)


def any_of(outcomes: Sequence[Outcome]) -> Outcome:
    return outcome(any(o == "supported" for o in outcomes), all(o == "not supported" for o in outcomes))
