"""Rules that look at a part of the rows, or have a condition before all others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import pandas as pd

from avsink.results.rules.shared import if_measured
from avsink.results.verdicts import Found, Outcome, Rule, every_of

__all__ = ["among", "in_each_category", "reading", "unless"]


def reading(prepare: Callable[[pd.DataFrame], pd.DataFrame], rule: Rule) -> Rule:
    """The rule, applied to rows that `prepare` makes of the run's."""

    @if_measured
    def test(rows: pd.DataFrame) -> Found:
        return rule.test(prepare(rows))

    return replace(rule, test=test)


def among(categories: Callable[[], Collection[str]], rule: Rule, *, kind: str) -> Rule:
    """The rule, applied to these categories alone.

    Args:
        categories: Gives their names, when rows are judged.
        rule: The rule.
        kind: What they have in common, in words, such as "that sight can solve".
    """

    @if_measured
    def test(rows: pd.DataFrame) -> Found:
        own = rows[rows["category"].isin(list(categories()))]
        if own.empty:
            return Found("not measured", f"no category {kind} in this run")
        return rule.test(own)

    return replace(rule, condition=f"of categories {kind}: {rule.condition}", test=test)


def unless(said: Callable[[pd.DataFrame], str], rule: Rule, *, outcome: Outcome) -> Rule:
    """The rule, or `outcome` where `said` finds a reason why the rule cannot be asked; "" is no reason."""

    @if_measured
    def test(rows: pd.DataFrame) -> Found:
        reason = said(rows)
        return Found(outcome, reason) if reason else rule.test(rows)

    return replace(rule, test=test)


def in_each_category(rules: Sequence[Rule], *, claim: str, where: str) -> Rule:
    """Rule: all of these rules hold in each category for itself."""

    @if_measured
    def test(rows: pd.DataFrame) -> Found:
        groups = [own for _, own in rows.groupby("category", sort=False)]
        found = {rule.claim: [rule.test(own).outcome for own in groups] for rule in rules}
        outcomes = [word for words in found.values() for word in words]
        overall = every_of(outcomes)
        counts = ", ".join(f"{outcomes.count(word)} {word}" for word in dict.fromkeys(outcomes))
        text = f"{len(rules)} statements in {len(groups)} categories: {counts}"
        named = [f"{claim} ({words.count(overall)})" for claim, words in found.items() if overall in words]
        if overall != "supported":
            text += f"; {overall}, and in how many categories: {'; '.join(named)}"
        return Found(overall, text)

    condition = f"each of the {len(rules)} statements on {_figures(rules)} holds in every category for itself"
    return Rule(claim=claim, where=where, condition=condition, test=test)


def _figures(rules: Sequence[Rule]) -> str:
    return ", ".join(dict.fromkeys(rule.where for rule in rules))
