"""What *Probing Cross-modal Information Hubs* reports, finding by finding: each statement with its rule.

Kinds of rules are in `avsink.results.rules`.
"""

from __future__ import annotations

import pandas as pd

from avsink.results.rules import holds_more, lies_above
from avsink.results.verdicts import Rule

__all__ = ["FINDING_1", "FINDING_1_OBJECT", "FINDING_2"]

DOMINANCES = ("audio", "video")


def _holds_more(
    first: tuple[str, int], second: tuple[str, int], *, dominance: str, claim: str, where: str
) -> tuple[Rule, ...]:
    """One claim on two sets of tokens (token_set, N), by each of the two effects."""
    claim = f"{claim} ({dominance}-dominant)"
    return tuple(
        holds_more(first, second, dominance=dominance, value=value, claim=claim, where=where)
        for value in ("ie_clean", "ie_corrupt")
    )


def _beyond(dominance: str, part: float, rows: pd.DataFrame) -> pd.Series:
    """Of each sample, IE_clean of its sinks (N = 2) minus `part` times that of all tokens."""
    if rows.empty:
        return pd.Series(dtype=float)
    own = rows[(rows["dominance"] == dominance) & rows["one_in"].isin((0, 2))]
    table = own.pivot_table(index="sample", columns="token_set", values="ie_clean").reindex(columns=["Sink", "All"])
    return table["Sink"] - part * table["All"]


# Finding 1: what the dominant modality said lies in the sinks of the other modality.
FINDING_1 = tuple(
    rule
    for dominance in DOMINANCES
    for rule in (
        *_holds_more(
            ("Sink", 2),
            ("Random", 2),
            dominance=dominance,
            claim="Sinks hold more than as many random tokens",
            where="§3.3, table 1",
        ),
        lies_above(
            0.0,
            value=lambda rows, dominance=dominance: _beyond(dominance, 0.5, rows),
            what=f"{dominance}-dominant: IE_clean of Sink (N = 2) minus half of that of All",
            claim=f"They hold most of what there is ({dominance}-dominant)",
            where="§3.3, table 1",
            unit=".1%",
        ),
    )
)

# In models of images alone, an object's identity was found in the object's own tokens.
FINDING_1_OBJECT = tuple(
    rule
    for dominance in DOMINANCES
    for rule in _holds_more(
        ("Sink", 2),
        ("Object", 0),
        dominance=dominance,
        claim="Sinks hold more than the object's own tokens",
        where="§3.3, table 1",
    )
)

# Finding 2: of these sinks, it lies in those that the other modality reads.
FINDING_2 = tuple(
    rule
    for dominance in DOMINANCES
    for n in (2, 3, 4)
    for rule in _holds_more(
        ("Cross-modal", n),
        ("Unimodal", n),
        dominance=dominance,
        claim=f"Cross-modal sinks hold more than unimodal ones, N = {n}",
        where="§4, table 2",
    )
)
