"""Statements that several numbers must bear out: one rule, one verdict."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from avsink.results.verdicts import Found, Rule, every_of

__all__ = ["every_part"]


def every_part(rules: Sequence[Rule], *, claim: str, where: str) -> Rule:
    """Rule: all of these rules hold. What each of them finds is in the verdict, in their order.

    Args:
        rules: The rules on the parts of the statement, whose claims name the parts.
        claim: The paper's statement.
        where: Its place in the paper.
    """

    def test(rows: pd.DataFrame) -> Found:
        found = [Found(*rule.test(rows)) for rule in rules]
        alike = len({part.outcome for part in found}) == 1
        texts = [
            f"{rule.claim}: {'' if alike else f'{part.outcome}: '}{part.measured}"
            for rule, part in zip(rules, found, strict=True)
        ]
        return Found(every_of([part.outcome for part in found]), "; ".join(dict.fromkeys(texts)))

    return Rule(claim=claim, where=where, condition="; ".join(rule.condition for rule in rules), test=test)
