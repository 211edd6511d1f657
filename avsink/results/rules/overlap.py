"""Which pathways share attention edges, by their names.

`Source↛Target` blocks the edges from one group of tokens to another, `A↮B` those in both directions, and the `Cross-…`
pathways edges within one group. Two pathways share edges if their sources have tokens in common and their targets do.
"""

from __future__ import annotations

__all__ = ["share_edges"]

PARTS = {
    "V+A": {"Video", "Audio"},
    "Question": {"NonOptQ", "TrueOpt", "FalseOpt"},
    "Candidates": {"CorrectCand", "IncorrectCand"},
}
"""Group -> the groups that it consists of."""
WITHIN = {"Cross-frame": "Video", "Cross-audio": "Audio", "Cross-candidate": "Candidates"}


def share_edges(one: str, other: str) -> bool:
    """Whether closing one pathway closes edges of the other, too.

    Names that are no pathways of the paper share edges with themselves alone.
    """
    pairs = [(a, b) for a in _edges(one) for b in _edges(other)]
    return one == other or any(_meet(a[0], b[0]) and _meet(a[1], b[1]) for a, b in pairs)


def _edges(pathway: str) -> list[tuple[str, str]]:
    """The (source, target) pairs of a pathway."""
    if pathway in WITHIN:
        return [(WITHIN[pathway], WITHIN[pathway])]
    source, arrow, target = pathway.replace("↮", "↛").partition("↛")
    ways = [(source, target)] if arrow else []
    return [*ways, (target, source)] if "↮" in pathway else ways


def _meet(one: str, other: str) -> bool:
    """Whether two groups have tokens in common."""
    return not PARTS.get(one, {one}).isdisjoint(PARTS.get(other, {other}))
