"""Kinds of rules: conditions on 95 % intervals, one for each kind of statement (used by `avsink.papers.*.claims`).

A change of less than `margin` (0.1: a tenth of the answer's probability) counts as none. With the margin m, and the
mean Δp over samples at each layer:

=============  ==============================================  =============================================
rule           supported if                                    not supported if
=============  ==============================================  =============================================
`drops`        at some layer the interval lies below -m        at every layer the interval lies above -m
`rises`        at some layer the interval lies above +m        at every layer the interval lies below +m
`stays_flat`   at every layer the interval lies within ±m      at some layer the interval lies outside of ±m
`comes_first`  the lag's interval lies above 0                 the lag's interval does not reach above 0
=============  ==============================================  =============================================

`drops`, `rises` and `stays_flat` are applied to each task category, and supported if every category supports them
(`drops` with `scope="any"`: one category; with `scope="most"`: more than half). The lag is the number of layers from
the first pathway's deepest mean Δp to the second's. If one of the two has no clear drop, there are no two layers to put
in order, and `comes_first` is inconclusive.

`costs_more` compares what two pathways cost, each at the layer where it costs most. `lies_above` compares the mean of
one number per sample with a bar. `unharmed` compares a configuration's accuracy with the baseline's on the same
samples: supported if the interval of the difference lies above -m, not supported if it lies below. A result that could
not have failed is no support: with fewer than `FEWEST` samples, with a baseline no better than guessing, or with
nothing discarded, `unharmed` is inconclusive.

`holds_more` compares the effects of restoring two sets of tokens in causal tracing. It is supported if the interval of
the first lies wholly above that of the second, and not supported if it does not reach above the second's mean. It is
inconclusive with fewer than `FEWEST` samples; if one of the sets has tokens in fewer than half of the samples (where a
set is empty, its effect counts as 0); or if the second set holds nearly all tokens, since then it is not one of several
places.

Where nothing was measured, every rule is inconclusive.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Literal

import pandas as pd

from avsink.results.bootstrap import changes, lag, percent, summarise
from avsink.results.verdicts import MARGIN, Outcome, Rule, any_of, every_of, most_of, outcome

__all__ = [
    *("FEWEST", "comes_first", "costs_more", "drops", "holds_more", "lies_above", "rises", "stays_flat", "unharmed"),
]

Test = Callable[[pd.DataFrame], tuple[Outcome, str]]
Scope = Literal["every", "most", "any"]
COMPOSE = {"every": every_of, "most": most_of, "any": any_of}  # scope -> how outcomes of categories are composed
FEWEST = 10  # samples that `lies_above`, `unharmed` and `holds_more` need
EVERYWHERE = 0.8  # of all tokens that can be restored: a set of so many is not compared with


def _if_measured(test: Test) -> Test:
    """Decorate a rule's test: rows of a run in which nothing was measured, which may lack columns, are inconclusive."""

    @wraps(test)
    def tested(rows: pd.DataFrame) -> tuple[Outcome, str]:
        return test(rows) if len(rows) else ("inconclusive", "nothing was measured")

    return tested


def drops(pathway: str, *, claim: str, where: str, margin: float = MARGIN, scope: Scope = "every") -> Rule:
    """Rule: blocking the pathway makes the answer clearly less probable."""

    def category(curve: pd.DataFrame) -> tuple[Outcome, pd.Series]:
        found = outcome((curve["high"] < -margin).any(), (curve["low"] > -margin).all())
        return found, curve.loc[curve["mean"].idxmin()]

    hardest = {"every": lambda row: row["mean"]}.get(scope, lambda row: -row["mean"])
    return Rule(
        claim=claim,
        where=where,
        condition=f"{pathway}: in {scope} category, the interval lies below −{margin:.0%} at some layer",
        test=_by_category(pathway, category, compose=COMPOSE[scope], telling=hardest),
    )


def rises(pathway: str, *, claim: str, where: str, margin: float = MARGIN) -> Rule:
    """Rule: blocking the pathway makes the answer clearly *more* probable; what it carries competes with the answer.

    An answer that is nearly certain cannot become more probable: the rule is inconclusive if, in any category, the
    probability cannot rise by the margin.
    """

    def category(curve: pd.DataFrame) -> tuple[Outcome, pd.Series]:
        found = outcome((curve["low"] > margin).any(), (curve["high"] < margin).all())
        return found, curve.loc[curve["mean"].idxmax()]

    judged = _by_category(pathway, category, compose=every_of, telling=lambda row: -row["mean"])

    @_if_measured
    def test(rows: pd.DataFrame) -> tuple[Outcome, str]:
        own = rows[rows["pathway"] == pathway]
        room = ((1 - own["p_base"]) / own["p_base"]).groupby(own["category"]).mean()
        if not own.empty and room.min() < margin:
            return "inconclusive", f"no room: the unblocked answer can gain {room.min():.1%} at most"
        return judged(rows)

    condition = f"{pathway}: in every category, the interval lies above +{margin:.0%} at some layer"
    return Rule(claim=claim, where=where, condition=condition, test=test)


def stays_flat(pathway: str, *, claim: str, where: str, margin: float = MARGIN) -> Rule:
    """Rule: blocking the pathway changes the answer's probability by less than the margin at every layer."""

    def category(curve: pd.DataFrame) -> tuple[Outcome, pd.Series]:
        within = ((curve["low"] > -margin) & (curve["high"] < margin)).all()
        beyond = ((curve["high"] < -margin) | (curve["low"] > margin)).any()
        return outcome(within, beyond), curve.loc[curve["mean"].abs().idxmax()]

    return Rule(
        claim=claim,
        where=where,
        condition=f"{pathway}: in every category, the interval lies within ±{margin:.0%} at every layer",
        test=_by_category(pathway, category, compose=every_of, telling=lambda row: abs(row["mean"])),
    )


def comes_first(first: str, second: str, *, claim: str, where: str, margin: float = MARGIN) -> Rule:
    """Rule: the first pathway is needed at earlier layers than the second."""

    @_if_measured
    def test(rows: pd.DataFrame) -> tuple[Outcome, str]:
        for pathway in (first, second):
            curve = rows[rows["pathway"] == pathway]
            if curve.empty or not (summarise(curve, by=["layer"])["high"] < -margin).any():
                return "inconclusive", f"{pathway} has no clear drop, so it has no layer to compare"
        gap = lag(rows, first, second)
        measured = f"{gap['mean']:+.0f} layers [{gap['low']:+.0f}, {gap['high']:+.0f}] (n = {gap['n']})"
        return outcome(gap["low"] > 0, gap["high"] <= 0), measured.replace("-", "−")

    condition = f"from the deepest point of {first} to that of {second}: an interval of layers above 0"
    return Rule(claim=claim, where=where, condition=condition, test=test)


def lies_above(
    bar: float, *, value: Callable[[pd.DataFrame], pd.Series], what: str, claim: str, where: str, unit: str = ".0%"
) -> Rule:
    """Rule: a number of each sample is on average above a bar.

    Args:
        bar: What the interval must lie above.
        value: Rows of a run -> one number per sample, indexed by sample. NaN is left out.
        what: The number in words, for readers.
        claim: The paper's statement.
        where: Its place in the paper.
        unit: Format of the number.
    """

    @_if_measured
    def test(rows: pd.DataFrame) -> tuple[Outcome, str]:
        numbers = value(rows).dropna()
        if numbers.empty:
            return "inconclusive", "not measured"
        mean = summarise(
            pd.DataFrame({"sample": numbers.index, "x": numbers.to_numpy()}).assign(all=0), by=["all"], value="x"
        )
        row = mean.iloc[0]
        measured = f"{row['mean']:{unit}} [{row['low']:{unit}}, {row['high']:{unit}}] (n = {len(numbers)})"
        if len(numbers) < FEWEST:
            return "inconclusive", f"{measured}; fewer than {FEWEST} samples".replace("-", "−")
        return outcome(row["low"] > bar, row["high"] <= bar), measured.replace("-", "−")

    return Rule(claim=claim, where=where, condition=f"{what}: the interval lies above {bar:{unit}}", test=test)


def unharmed(name: str, *, column: str, baseline: str, claim: str, where: str, margin: float = 0.05) -> Rule:
    """Rule: accuracy is not lower than the baseline's on the same samples.

    It is applied to rows with the columns sample, `column`, correct (0 or 1), chance, and optionally tokens.

    Args:
        name: The configuration, a value of `column`.
        column: The column that tells configurations apart.
        baseline: The value of `column` to compare with.
        claim: The paper's statement.
        where: Its place in the paper.
        margin: The largest loss of accuracy (0.05: five points) that counts as none.
    """

    @_if_measured
    def test(rows: pd.DataFrame) -> tuple[Outcome, str]:
        own = rows[rows[column] == name]
        if own.empty:
            return "inconclusive", "not measured"
        row = changes(rows, column=column, baseline=baseline).set_index(column).loc[name]
        low, high, n = 100 * row["low"], 100 * row["high"], int(row["n"])
        measured = f"{100 * row['mean']:+.1f} points [{low:+.1f}, {high:+.1f}] (n = {n})".replace("-", "−")
        before = rows[rows[column] == baseline]
        if n < FEWEST:
            return "inconclusive", f"{measured}; fewer than {FEWEST} samples"
        if "tokens" in rows and own["tokens"].sum() == before["tokens"].sum():
            return "inconclusive", f"{measured}; nothing is discarded, since the tokens are needed to the end"
        if not summarise(before.assign(all=0), by=["all"], value="correct")["low"][0] > before["chance"].mean():
            return "inconclusive", f"{measured}; the baseline is not better than guessing"
        return outcome(row["low"] > -margin, row["high"] < -margin), measured

    points = f"{100 * margin:.0f} points"
    condition = (
        f"{name}: the change of accuracy against “{baseline}”, sample by sample, lies above −{points}; something is "
        f"discarded, the baseline is better than guessing, and n ≥ {FEWEST}"
    )
    return Rule(claim=claim, where=where, condition=condition, test=test)


def costs_more(
    first: str, second: str, *, claim: str, where: str, margin: float = MARGIN, scope: Scope = "every"
) -> Rule:
    """Rule: blocking the first pathway costs more than blocking the second, each at the layer where it costs most."""

    def category(rows: pd.DataFrame) -> tuple[Outcome, pd.Series, str]:
        deepest = []
        for pathway in (first, second):
            curve = rows[rows["pathway"] == pathway].pivot(index="sample", columns="layer", values="delta_p")
            deepest.append(curve[curve.mean().idxmin()])
        change = (deepest[1] - deepest[0]).dropna()
        table = pd.DataFrame({"sample": change.index, "x": change.to_numpy()}).assign(all=0)
        row = summarise(table, by=["all"], value="x").iloc[0]
        return outcome(row["low"] > margin, row["high"] < margin), row, rows["category"].iloc[0]

    @_if_measured
    def test(rows: pd.DataFrame) -> tuple[Outcome, str]:
        rows = rows[rows["pathway"].isin([first, second])]
        if rows["pathway"].nunique() < 2:
            return "inconclusive", "not measured"
        found = [category(own) for _, own in rows.groupby("category", sort=False)]
        overall = COMPOSE[scope]([outcome for outcome, _, _ in found])
        hardest = min if scope == "every" else max
        _, row, name = hardest((part for part in found if part[0] == overall), key=lambda part: part[1]["mean"])
        return overall, f"by {percent(row)} ({name}, n = {row['n']:.0f})"

    condition = f"in {scope} category, {first} costs over {margin:.0%} of the answer's probability more than {second}"
    return Rule(claim=claim, where=where, condition=condition, test=test)


def holds_more(
    first: tuple[str, int], second: tuple[str, int], *, dominance: str, value: str, claim: str, where: str
) -> Rule:
    """Rule: restoring the first set of tokens brings back more than restoring the second.

    Args:
        first: (token_set, one_in), as in the rows of `avsink.instruments.tracing.trace`.
        second: The same of the set to compare with.
        dominance: Which samples count: "audio" or "video".
        value: The effect, "ie_clean" or "ie_corrupt".
        claim: The paper's statement.
        where: Its place in the paper.
    """

    @_if_measured
    def test(rows: pd.DataFrame) -> tuple[Outcome, str]:
        own = rows[rows["dominance"] == dominance]
        if not len(own):
            return "inconclusive", f"no {dominance}-dominant sample was measured"
        cells = []
        for name, one_in in (first, second):
            cells.append(own[(own["token_set"] == name) & (own["one_in"] == one_in)])
            if not len(cells[-1]):
                return "inconclusive", f"not measured: {_set(name, one_in)}"
        both = set(cells[0]["sample"]) & set(cells[1]["sample"])
        cells = [cell[cell["sample"].isin(both)].assign(all=0) for cell in cells]
        if not both:
            return "inconclusive", f"no sample has both: {_set(*first)}, {_set(*second)}"
        for cell, token_set in zip(cells, (first, second), strict=True):
            there = (cell.groupby("sample")["tokens"].max() > 0).mean()
            if there < 0.5:
                some = f"only {there:.0%} of samples have any" if there else "no tokens to restore"
                return "inconclusive", f"{some}: {_set(*token_set)}"
        whole = own[(own["token_set"] == "All") & own["sample"].isin(both)]["tokens"].mean()
        if cells[1]["tokens"].mean() >= EVERYWHERE * whole:
            part = f"{cells[1]['tokens'].mean():.0f} of {whole:.0f} tokens"
            return "inconclusive", f"{_set(*second)} is nearly everywhere: {part}"
        found = [summarise(cell, by=["all"], value=value).iloc[0] for cell in cells]
        one, two = found
        texts = [f"{100 * row['mean']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]" for row in found]
        n = len(both)
        measured = f"{texts[0]} against {texts[1]} points (n = {n})".replace("-", "−")
        if n < FEWEST:
            return "inconclusive", f"{measured}; fewer than {FEWEST} samples"
        return outcome(one["low"] > two["high"], one["high"] <= two["mean"]), measured

    label = {"ie_clean": "IE_clean", "ie_corrupt": "IE_corrupt"}[value]
    condition = f"{dominance}-dominant, {label}: the interval of {_set(*first)} lies above that of {_set(*second)}"
    return Rule(claim=claim, where=where, condition=condition, test=test)


def _set(name: str, one_in: int) -> str:
    return f"{name} (N = {one_in})" if one_in else name


def _by_category(pathway: str, category, *, compose, telling) -> Test:
    """Apply `category` to the curve of each task category, and compose the outcomes.

    Of the categories with the composed outcome, the one with the highest `telling(row)` is quoted.
    """

    @_if_measured
    def test(rows: pd.DataFrame) -> tuple[Outcome, str]:
        rows = rows[rows["pathway"] == pathway]
        if rows.empty:
            return "inconclusive", "not measured"
        curves = summarise(rows, by=["category", "layer"])
        found = [category(curve) for _, curve in curves.groupby("category", sort=False)]
        overall = compose([outcome for outcome, _ in found])
        row = max((row for outcome, row in found if outcome == overall), key=telling)
        return overall, f"{percent(row)} at layer {row['layer']} ({row['category']}, n = {row['n']})"

    return test
