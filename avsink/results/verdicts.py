"""Does a run show what the paper reports? Rules on intervals, written down before there are numbers.

1. A *rule* states a claim of the paper, where it is made, and a condition on this run's 95 % intervals;
2. `judge` applies rules to the rows of a run: **supported**, **not supported**, or **inconclusive** if the intervals
   are too wide to tell;
3. `conclude` composes verdicts: supported if every part is, not supported if one part is not, else inconclusive.

The kinds of rules are in `avsink.results.rules`, the papers' statements in `avsink.papers.flow.claims` and
`avsink.papers.hubs.claims`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

__all__ = [
    *("MARGIN", "Outcome", "Rule", "Verdict", "any_of", "conclude", "every_of", "judge", "most_of"),
    *("outcome", "rules_table", "verdicts_table"),
]

Outcome = Literal["supported", "not supported", "inconclusive"]
MARGIN = 0.1  # of the answer's probability: smaller changes count as none


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A statement of the paper, and when a run supports it.

    Attributes:
        claim: The statement.
        where: Its place in the paper.
        condition: When it is supported, in words.
        test: Rows of a run -> the outcome, and what was measured, in words.
    """

    claim: str
    where: str
    condition: str
    test: Callable[[pd.DataFrame], tuple[Outcome, str]]


@dataclass(frozen=True)
class Verdict:
    """The outcome for one claim, and the numbers that it follows from (`because`)."""

    claim: str
    where: str
    verdict: Outcome
    because: str

    def __str__(self) -> str:
        return f"{self.verdict.capitalize()}: {self.claim} ({self.where}). {self.because}"

    def _repr_markdown_(self) -> str:
        return f"**{self.verdict.capitalize()}**: {self.claim} ({self.where}). {self.because}"


def judge(rules: Sequence[Rule], rows: pd.DataFrame) -> list[Verdict]:
    """Apply each rule to the rows of a run. A rule uses the rows that it is about and ignores the others."""
    return [Verdict(rule.claim, rule.where, *rule.test(rows)) for rule in rules]


def conclude(claim: str, verdicts: Sequence[Verdict], *, where: str, note: str = "") -> Verdict:
    """Compose the verdict on a claim of which every part must hold. `note`, such as a caveat, is added for readers."""
    outcomes = [verdict.verdict for verdict in verdicts]
    counts = ", ".join(f"{outcomes.count(name)} {name}" for name in dict.fromkeys(outcomes))
    return Verdict(claim, where, every_of(outcomes), f"Of {len(outcomes)} parts: {counts}. {note}".strip())


def rules_table(rules: Sequence[Rule]) -> pd.DataFrame:
    """What will be judged, and how, to be shown before there are numbers: reported, where, supported if."""
    return pd.DataFrame([(r.claim, r.where, r.condition) for r in rules], columns=["reported", "where", "supported if"])


def verdicts_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Reported beside measured: reported, where, measured here, verdict."""
    rows = [(v.claim, v.where, v.because, v.verdict) for v in verdicts]
    return pd.DataFrame(rows, columns=["reported", "where", "measured here", "verdict"])


def outcome(supported: bool, contradicted: bool) -> Outcome:
    """The outcome by two conditions; inconclusive if neither holds."""
    return "supported" if supported else "not supported" if contradicted else "inconclusive"


def every_of(outcomes: Sequence[Outcome]) -> Outcome:
    """Supported if all are, not supported if at least one is not."""
    return outcome(all(o == "supported" for o in outcomes), any(o == "not supported" for o in outcomes))


def most_of(outcomes: Sequence[Outcome]) -> Outcome:
    """Supported if more than half are, not supported if at least half are not."""
    half = len(outcomes) / 2
    return outcome(outcomes.count("supported") > half, outcomes.count("not supported") >= half)


def any_of(outcomes: Sequence[Outcome]) -> Outcome:
    """Supported if at least one is, not supported if none could be."""
    return outcome(any(o == "supported" for o in outcomes), all(o == "not supported" for o in outcomes))
