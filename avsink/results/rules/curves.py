"""Rules on Δp of one pathway, layer by layer: it drops, it rises, it stays flat.

1. each category has a curve, the mean Δp over its samples at each layer, in a band that holds at all layers of all
   categories together (`avsink.results.bands`);
2. each curve has an outcome: "too few" with fewer than `FEWEST` samples;
3. outcomes of categories are composed by the rule's scope, and the curve that decides is quoted where it decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import pandas as pd

from avsink.results.bands import bands
from avsink.results.rules.overlap import share_edges
from avsink.results.rules.shared import FEWEST, Test, if_measured
from avsink.results.rules.words import share, told
from avsink.results.verdicts import (
    MARGIN,
    Found,
    Outcome,
    Rule,
    almost_every_of,
    any_of,
    every_of,
    most_of,
    outcome,
)

__all__ = ["COMPOSE", "TOGETHER", "Scope", "delta_p", "drops", "in_words", "put_together", "rises", "stays_flat"]

Scope = Literal["every", "almost every", "most", "any", "together"]
COMPOSE = {  # outcomes of categories -> outcome
    "every": every_of,
    "almost every": almost_every_of,
    "most": most_of,
    "any": any_of,
    "together": every_of,
}
TOGETHER = "all categories together"
Judged = tuple[Outcome, pd.Series, str]  # outcome of a curve, the row of its band that is quoted, an addition


def drops(pathway: str, *, claim: str, where: str, margin: float = MARGIN, scope: Scope = "every") -> Rule:
    """Rule: blocking the pathway makes the answer clearly less probable."""

    def judged(curve: pd.DataFrame, rows: pd.DataFrame) -> Judged:
        found = outcome((curve["high"] < -margin).any(), (curve["low"] > -margin).all())
        return found, curve.loc[curve["high" if found == "supported" else "low"].idxmin()], ""

    return Rule(
        claim=claim,
        where=where,
        condition=f"{pathway}: {in_words(scope)}, the band lies below {share(-margin)} at some layer",
        test=_by_category(pathway, judged, scope=scope, bars=(-margin,), held=f"below {share(-margin)}", worst="high"),
    )


def rises(pathway: str, *, claim: str, where: str, margin: float = MARGIN, scope: Scope = "every") -> Rule:
    """Rule: blocking the pathway makes the answer clearly *more* probable; what it carries competes with the answer.

    An answer that is nearly certain cannot become more probable: a category in which the probability cannot rise by the
    margin has no room.
    """

    def judged(curve: pd.DataFrame, rows: pd.DataFrame) -> Judged:
        found = outcome((curve["low"] > margin).any(), (curve["high"] < margin).all())
        quoted = curve.loc[curve["low" if found == "supported" else "high"].idxmax()]
        base = rows.groupby("sample")["p_base"].first()
        room = ((1 - base) / base).mean()
        if room < margin:
            return "no room", quoted, f"the unblocked answer can gain {room:.1%} at most"
        return found, quoted, ""

    held = f"above {share(margin, signed=True)}"
    return Rule(
        claim=claim,
        where=where,
        condition=f"{pathway}: {in_words(scope)}, the band lies {held} at some layer",
        test=_by_category(pathway, judged, scope=scope, bars=(margin,), held=held, worst="low"),
    )


def stays_flat(pathway: str, *, claim: str, where: str, margin: float = MARGIN, scope: Scope = "every") -> Rule:
    """Rule: blocking the pathway changes the answer's probability by less than the margin at every layer.

    A flat curve is evidence only where a drop could have been seen. The control is another pathway of the category,
    measured on the same samples, whose band lies below the margin at some layer; the band holds for all that are tried.
    A control has another target, or a source that has no tokens in common: a part of what is said to be flat, or what
    it is a part of, is no control (`avsink.results.rules.overlap`).
    """

    def judged(curve: pd.DataFrame, rows: pd.DataFrame) -> Judged:
        low, high = curve["low"], curve["high"]
        found = outcome((low.gt(-margin) & high.lt(margin)).all(), (high.lt(-margin) | low.gt(margin)).any())
        far = (-high).combine(low, max) if found == "not supported" else (-low).combine(high, max)
        quoted = curve.loc[far.idxmax()]
        if found != "supported":
            return found, quoted, ""
        control = _control(rows, pathway, margin=margin)
        return (found, quoted, control) if control else ("no control", quoted, "no pathway apart from it drops here")

    return Rule(
        claim=claim,
        where=where,
        condition=f"{pathway}: {in_words(scope)}, the band lies within ±{share(margin)} at every layer, while another "
        f"pathway's band, which shares no edges with it, lies below {share(-margin)} on the same samples",
        test=_by_category(
            pathway, judged, scope=scope, bars=(-margin, margin), held=f"within ±{share(margin)}", worst="far"
        ),
    )


def delta_p(rows: pd.DataFrame, *, by: Sequence[str]) -> pd.DataFrame:
    """The bands of mean Δp, which cannot be below -1."""
    return bands(rows, by=by).assign(low=lambda table: table["low"].clip(lower=-1.0))


def in_words(scope: Scope) -> str:
    """How a scope is told: ``in most categories``."""
    return {
        "every": "in every category",
        "almost every": "in at least three quarters of the categories",
        "most": "in most categories",
        "any": "in some category",
        "together": "over all samples together",
    }[scope]


def put_together(rows: pd.DataFrame, scope: Scope) -> pd.DataFrame:
    """Give all rows one category if the scope asks for that."""
    return rows.assign(category=TOGETHER) if scope == "together" else rows


def _control(rows: pd.DataFrame, pathway: str, *, margin: float) -> str:
    """Of one category's rows: what costs most on the samples of this pathway, apart from it, in words; or ""."""
    own = rows.loc[rows["pathway"] == pathway, "sample"]
    items = "structure" in rows and bool(rows["structure"].any())
    apart = [name for name in rows["pathway"].unique() if not share_edges(name, pathway, interleaved=items)]
    others = rows[rows["pathway"].isin(apart) & rows["sample"].isin(own)]
    counts = others.groupby("pathway")["sample"].nunique()
    others = others[others["pathway"].isin(counts.index[counts >= FEWEST])]
    if others.empty:
        return ""
    curves = delta_p(others, by=["pathway", "layer"])
    row = curves.loc[curves["high"].idxmin()]
    if not row["high"] < -margin:
        return ""
    return f"control: {row['pathway']} {told(row, bars=(-margin,))} at layer {row['layer']}"


def _by_category(
    pathway: str,
    judged: Callable[[pd.DataFrame, pd.DataFrame], Judged],
    *,
    scope: Scope,
    bars: tuple[float, ...],
    held: str,
    worst: Literal["high", "low", "far"],
) -> Test:
    """Judge the curve of each task category, and compose the outcomes.

    Args:
        pathway: The pathway.
        judged: (band of a category, all rows of the category) -> what is found.
        scope: How outcomes are composed.
        bars: What the band is held against.
        held: The same in words.
        worst: Which end of a band tells how well a category does: of the categories with the composed outcome, the
            worst is quoted, and the best if one is enough.
    """

    @if_measured
    def test(rows: pd.DataFrame) -> Found:
        rows = put_together(rows, scope)
        own = rows[rows["pathway"] == pathway]
        if own.empty:
            return Found("not measured", f"{pathway} was not measured")
        counts = own.groupby("category", sort=False)["sample"].nunique()
        enough = counts.index[counts >= FEWEST]
        if enough.empty:
            return Found("too few", f"{pathway}: n = {counts.max()} in {counts.idxmax()}, where {FEWEST} are needed")
        curves = delta_p(own[own["category"].isin(enough)], by=["category", "layer"])
        found = [
            judged(curve, rows[rows["category"] == name]) for name, curve in curves.groupby("category", sort=False)
        ]
        every = [outcome for outcome, *_ in found] + ["too few"] * (len(counts) - len(enough))
        overall = COMPOSE[scope](every)
        if overall == "too few":
            few = counts.drop(enough)
            return Found(overall, f"{pathway}: n = {few.min()} in {few.idxmin()}, where {FEWEST} are needed")
        failing = {"high": lambda r: r["high"], "low": lambda r: -r["low"], "far": lambda r: max(-r["low"], r["high"])}
        choose = min if scope == "any" else max
        _, row, addition = choose(
            (part for part in found if part[0] == overall), key=lambda part: failing[worst](part[1])
        )
        text = (
            f"Δp of {pathway} at layer {row['layer']}: {told(row, bars=bars)} against {held} ({row['category']}, n = "
        )
        text += f"{row['n']})"
        if len(every) > 1:
            text += f"; {overall} in {every.count(overall)} of {len(every)} categories"
        return Found(overall, f"{text}; {addition}" if addition else text)

    return test
