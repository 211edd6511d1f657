"""Amounts of effect: shares of what sets of tokens bring back in causal tracing, added up.

amount("Sink", 2)                                     # what the sinks bring back, N = 2
amount("All", share=0.5)                              # half of what all tokens do
amount("Cross-modal", 2, 3, 4)                        # the mean over three values of N
amount("Random", 2) + amount("All", share=0.1)        # a sum
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

__all__ = ["ALL", "NOTHING", "Amount", "Term", "amount"]

SHARES = {1.0: "", 0.75: "three quarters of ", 0.5: "half of ", 0.1: "a tenth of "}
WHOLE = "All"


class Term(NamedTuple):
    """A share of what a set of tokens brings back, on average over several values of N."""

    share: float
    token_set: str
    one_in: tuple[int, ...]

    @property
    def set(self) -> str:
        """The set in words."""
        many = ", ".join(map(str, self.one_in))
        n = "" if self.one_in == (0,) else f" (N = {many})" if len(self.one_in) == 1 else f" (mean of N = {many})"
        return f"{self.token_set}{n}"

    def __str__(self) -> str:
        return f"{SHARES.get(self.share, f'{self.share:.0%} of ')}{self.set}"

    def columns(self, table: pd.DataFrame) -> list[tuple[str, int]]:
        """Those of its columns (token_set, one_in) that a table has."""
        return [key for key in ((self.token_set, n) for n in self.one_in) if key in table.columns]


@dataclass(frozen=True)
class Amount:
    """Shares of what sets of tokens bring back, added up.

    Attributes:
        terms: What is added.
    """

    terms: tuple[Term, ...]

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.terms + other.terms)

    def __str__(self) -> str:
        return " plus ".join(map(str, self.terms)) or "nothing"

    @property
    def shares(self) -> float:
        """The sum of all shares."""
        return sum(term.share for term in self.terms)

    @property
    def places(self) -> tuple[Term, ...]:
        """The sets that are a place among others: all but `WHOLE`."""
        return tuple(term for term in self.terms if term.token_set != WHOLE)

    def of(self, table: pd.DataFrame) -> pd.Series:
        """Add up: columns (token_set, one_in), one row per sample -> one number per sample."""
        total = pd.Series(0.0, index=table.index)
        for term in self.terms:
            total += term.share * table[term.columns(table)].mean(axis=1)
        return total


def amount(token_set: str, *one_in: int, share: float = 1.0) -> Amount:
    """Make the amount that a share of a set brings back.

    Args:
        token_set: The set, as in the rows of `avsink.instruments.tracing.trace`.
        *one_in: The values of N; of several, the mean. None for sets without N.
        share: The share.
    """
    return Amount((Term(float(share), token_set, one_in or (0,)),))


ALL = amount(WHOLE)
NOTHING = Amount(())
