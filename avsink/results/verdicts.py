"""Does a measurement show what the paper reports? Rules on intervals, written down before there are numbers.

1. A *rule* states a claim of the paper, where it is made, and a condition on the 95 % intervals of the measured rows;
2. `judge` applies rules to rows. The outcome is **supported**, **not supported**, or a word that says why nothing can
   be said, such as **too wide**; `SETTLES` says of each such word what would settle the question;
3. `conclude` joins the verdicts on the parts of a claim: supported if all parts are supported, not supported if at
   least one part is not supported, else the most frequent of the other words;
4. what is announced is judged: `rules_table` and `judge` take the same rules. A rule whose rows are not there has the
   outcome "not measured".

The kinds of rules are in `avsink.results.rules`, the papers' statements in `avsink.papers.flow.claims` and
`avsink.papers.hubs.claims`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pandas as pd

__all__ = [
    *("MARGIN", "SETTLES", "Found", "Outcome", "Rule", "Verdict", "almost_every_of", "any_of", "conclude", "every_of"),
    *("judge", "most_of", "outcome", "rules_table", "verdicts_table"),
]

Outcome = Literal[
    "supported",
    "not supported",
    "too wide",
    "too few",
    "no control",
    "nothing to restore",
    "no room",
    "nothing discarded",
    "one layer",
    "plateau",
    "sizes do not fit",
    "not measured",
]
SETTLES: dict[str, str] = {
    "too wide": "more samples: the interval lies on both sides of the bar",
    "too few": "more samples",
    "no control": "a pathway on the same samples whose blocking is seen to cost something",
    "nothing to restore": "samples, or a threshold τ, with tokens of this kind whose restoring can matter",
    "no room": "samples whose answer is less certain, or a baseline that is better than guessing",
    "nothing discarded": "a model that stops needing these tokens before its last layer",
    "one layer": "a deeper model, in which the layers of this statement differ",
    "plateau": "a narrower window or a deeper model: layers on both sides of the bar are equally deep",
    "sizes do not fit": "samples in which these sets of tokens have the sizes of which the statement speaks",
    "not measured": "a run that measures it",
}
"""Word for why nothing can be said -> what would settle it."""
MARGIN = 0.1  # of the answer's probability: smaller changes count as none


class Found(NamedTuple):
    """What a rule finds in measured rows.

    Attributes:
        outcome: The outcome.
        measured: The number that it follows from, to be read alone: measure, unit, interval, bar, n.
    """

    outcome: Outcome
    measured: str


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A statement of the paper, and when measured rows support it.

    Attributes:
        claim: The statement.
        where: Its place in the paper.
        condition: When it is supported, in words.
        test: Measured rows -> what is found in them.
        reads: Which measurement it reads, on a page that has several; "" if there is one.
    """

    claim: str
    where: str
    condition: str
    test: Callable[[pd.DataFrame], Found]
    reads: str = ""


@dataclass(frozen=True)
class Verdict:
    """The outcome for one claim.

    Attributes:
        claim: The statement.
        where: Its place in the paper.
        verdict: The outcome.
        because: The numbers that it follows from, in words.
    """

    claim: str
    where: str
    verdict: Outcome
    because: str

    @property
    def settle(self) -> str:
        """What would settle the question; "" for a verdict that does."""
        return SETTLES.get(self.verdict, "")

    def __str__(self) -> str:
        settle = f" What would settle it: {self.settle}." if self.settle else ""
        return f"{self.verdict.capitalize()}: {self.claim} ({self.where}). {self.because}{settle}"


def judge(rules: Sequence[Rule], rows: pd.DataFrame | Mapping[str, pd.DataFrame]) -> list[Verdict]:
    """Apply each rule to the rows that it reads.

    Args:
        rules: The rules. A rule uses the rows that it is about and ignores the others.
        rows: The rows of one measurement, which all rules read; or name -> rows, where each rule reads its own. A rule
            whose rows are not there finds nothing measured.
    """
    nothing = pd.DataFrame()
    read = [rows if isinstance(rows, pd.DataFrame) else rows.get(rule.reads, nothing) for rule in rules]
    return [Verdict(rule.claim, rule.where, *rule.test(own)) for rule, own in zip(rules, read, strict=True)]


def conclude(claim: str, verdicts: Sequence[Verdict], *, where: str, note: str = "") -> Verdict:
    """Join the verdicts on the parts of a claim, all of which must hold.

    Args:
        claim: The whole claim.
        verdicts: The verdicts on its parts.
        where: Its place in the paper.
        note: A sentence for readers, such as a caveat, added to `because`.

    Returns:
        The verdict on the whole claim, by `every_of`.
    """
    outcomes = [verdict.verdict for verdict in verdicts]
    counts = ", ".join(f"{outcomes.count(name)} {name}" for name in dict.fromkeys(outcomes))
    return Verdict(claim, where, every_of(outcomes), f"Of {len(outcomes)} parts: {counts}. {note}".strip())


def rules_table(rules: Sequence[Rule]) -> pd.DataFrame:
    """List what will be judged, and how, to be shown before there are numbers.

    Returns:
        One row per rule, with the columns reported, where, supported if.
    """
    return pd.DataFrame([(r.claim, r.where, r.condition) for r in rules], columns=["reported", "where", "supported if"])


def verdicts_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """List verdicts, with what was reported beside what was measured.

    Returns:
        One row per verdict, with the columns reported, where, measured here, verdict; and "what would settle it" if
        there is a verdict that leaves a question open.
    """
    rows = [(v.claim, v.where, v.because, v.verdict, v.settle) for v in verdicts]
    table = pd.DataFrame(rows, columns=["reported", "where", "measured here", "verdict", "what would settle it"])
    return table if any(v.settle for v in verdicts) else table.drop(columns="what would settle it")


def outcome(supported: bool, contradicted: bool) -> Outcome:
    """Choose the outcome by two conditions, the first of which takes precedence; "too wide" if neither holds."""
    return "supported" if supported else "not supported" if contradicted else "too wide"


def every_of(outcomes: Sequence[Outcome]) -> Outcome:
    """Return "supported" if all outcomes are that; "not supported" if any is; else the most frequent other word."""
    return _settled(outcomes, all(o == "supported" for o in outcomes), any(o == "not supported" for o in outcomes))


def most_of(outcomes: Sequence[Outcome]) -> Outcome:
    """Return "supported" if more than half are that; "not supported" if half or more are; else as `every_of`."""
    half = len(outcomes) / 2
    return _settled(outcomes, outcomes.count("supported") > half, outcomes.count("not supported") >= half)


def almost_every_of(outcomes: Sequence[Outcome]) -> Outcome:
    """Return "supported" if three quarters are that; "not supported" if over a quarter is; else as `every_of`."""
    quarter = len(outcomes) / 4
    return _settled(outcomes, outcomes.count("supported") >= 3 * quarter, outcomes.count("not supported") > quarter)


def any_of(outcomes: Sequence[Outcome]) -> Outcome:
    """Return "supported" if any outcome is that; "not supported" if all are; else as `every_of`."""
    return _settled(outcomes, any(o == "supported" for o in outcomes), all(o == "not supported" for o in outcomes))


def _settled(outcomes: Sequence[Outcome], supported: bool, contradicted: bool) -> Outcome:
    """Choose the outcome by two conditions, else the most frequent word that settles nothing, the first of equals."""
    if not outcomes:
        return "not measured"
    if supported or contradicted:
        return outcome(supported, contradicted)
    return max((o for o in outcomes if o in SETTLES), key=[*outcomes].count)
