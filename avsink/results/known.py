"""Did an instrument find what is known to be there? The counterpart of `avsink.results.verdicts` for taught models.

A model that was taught which way to send information, or which tokens to make massive, is a calibration weight: the
truth about it is on its card. What is written there and what an instrument finds are set side by side, apart from the
question whether a run shows what a paper reports. An instrument that misses what was taught is broken, whatever the
paper says; one that finds exactly that works, even where the taught model contradicts the paper.

- **found**: where it was taught, and nowhere else;
- **elsewhere too**: where it was taught, and at places where nothing was taught. A model may learn more than it was
  taught, so this is a reason to look, not a fault by itself;
- **missed**: not where it was taught;
- **uncertain**: the intervals are too wide to tell one from the other; more samples settle it;
- **not tested**: not measured, or nothing is known of this model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

__all__ = ["Finding", "Known", "compared", "known_table", "told", "unknown"]

Finding = Literal["found", "elsewhere too", "missed", "uncertain", "not tested"]


@dataclass(frozen=True)
class Known:
    """One fact about a taught model, and what was found of it.

    Attributes:
        taught: What was taught.
        where: Where: layers, tokens.
        found: What was found, in words.
        outcome: Whether that is it.
    """

    taught: str
    where: str
    found: str
    outcome: Finding


def compared(*, there: bool, absent: bool, elsewhere: bool) -> Finding:
    """Choose the outcome.

    Args:
        there: Whether it was found where it was taught.
        absent: Whether it is certain that it is not there.
        elsewhere: Whether it was found anywhere else.
    """
    if not there:
        return "missed" if absent else "uncertain"
    return "elsewhere too" if elsewhere else "found"


def unknown(card) -> list[Known]:
    """Return the only row of the table of a model that was taught nothing of the kind."""
    return [Known("nothing", "–", f"{card.name} was taught none of what this page measures", "not tested")]


def told(found: Sequence[Known], card) -> str:
    """Say how many facts were found, and what figures of this model are: the note of `verdicts.conclude`."""
    tested = [fact.outcome for fact in found if fact.outcome != "not tested"]
    counts = ", ".join(f"{tested.count(name)} {name}" for name in dict.fromkeys(tested))
    known = f"Taught or to be absent: {counts}. " if tested else ""
    return known + card.caveat


def known_table(found: Sequence[Known]) -> pd.DataFrame:
    """List what is known, with what was found of it.

    Returns:
        One row per fact, with the columns taught, where, found here, outcome.
    """
    rows = [(fact.taught, fact.where, fact.found, fact.outcome) for fact in found]
    return pd.DataFrame(rows, columns=["taught", "where", "found here", "outcome"])
