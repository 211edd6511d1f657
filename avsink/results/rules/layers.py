"""Rules on where along the layers a pathway is needed: which comes first, at what depth, and which costs more.

A pathway's layer is the one at which its mean Δp over all samples is deepest. It is chosen by the data, so it is chosen
anew in each resample. A pathway without a clear drop has no such layer. Of several pathways, those that are clearly
without a drop are left out and named.

A window that slides over a layer is as deep wherever it holds the layer, so layers can be equally deep, by less than
the margin, however many samples there are. Where such layers are on both sides of a bar, the outcome is "plateau".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from avsink.results.bands import simultaneous
from avsink.results.bootstrap import LEVEL, deepest, lag, resampled_means
from avsink.results.rules.curves import COMPOSE, Scope, delta_p, in_words, put_together
from avsink.results.rules.shared import FEWEST, if_measured
from avsink.results.rules.words import share, told
from avsink.results.verdicts import MARGIN, Found, Outcome, Rule, every_of, outcome

__all__ = ["comes_first", "costs_more", "lies_at_depth"]


def comes_first(first: str | Sequence[str], second: str, *, claim: str, where: str, margin: float = MARGIN) -> Rule:
    """Rule: the first pathway, or each of several that drops, is needed at earlier layers than the second."""
    several = [first] if isinstance(first, str) else list(first)

    @if_measured
    def test(rows: pd.DataFrame) -> Found:
        def after(name: str) -> Found:
            gap = lag(rows, name, second)
            if gap["n"] < FEWEST:
                return Found("too few", f"{name} and {second}: n = {gap['n']}, where {FEWEST} are needed")
            measured = told(gap, bars=(0,), form="+.0f", unit="layers")
            text = f"from the deepest layer of {name} to that of {second}: {measured} against above 0 (n = {gap['n']})"
            word = outcome(gap["low"] > 0, gap["high"] <= 0)
            if word == "too wide":
                one, two = (_plateau(rows, pathway, margin=margin) for pathway in (name, second))
                word = "plateau" if len({b > a for a in one for b in two}) == 2 else word
            return Found(word, text)

        return _each({name: _without_layer(rows, (name, second), margin=margin) for name in several}, after)

    condition = (
        f"from the deepest layer of {' and of '.join(several)} to that of {second}: the interval lies above 0 layers"
    )
    return Rule(claim=claim, where=where, condition=condition, test=test)


def lies_at_depth(
    pathways: Sequence[str],
    *,
    least: float = 0.0,
    most: float = 1.0,
    beyond: float | None = None,
    claim: str,
    where: str,
    margin: float = MARGIN,
) -> Rule:
    """Rule: each of these pathways that drops clearly does so at a depth between two bounds.

    Args:
        pathways: Names of pathways. One that is clearly without a drop has no depth and is left out.
        least: The smallest depth: 0 is the first layer, 1 the last.
        most: The largest depth.
        beyond: A depth that must be exceeded, in place of `least`; None: `least` counts.
        claim: The paper's statement.
        where: Its place in the paper.
        margin: What counts as a drop.
    """
    bounds = f"between {least:.2f} and {most:.2f}" if beyond is None else f"beyond {beyond:.2f}"
    bars = (least if beyond is None else beyond, most)

    def below(depth: float) -> bool:
        return depth < least if beyond is None else depth <= beyond

    def inside(depth: float) -> bool:
        return not below(depth) and depth <= most

    @if_measured
    def test(rows: pd.DataFrame) -> Found:
        if rows["layer"].nunique() < 3:
            return Found("one layer", f"this model has {rows['layer'].nunique()} layers")
        last = rows["layer"].max()

        def at(name: str) -> Found:
            found = deepest(rows, name)
            depth = {key: found[key] / last for key in ("mean", "low", "high")}
            outside = depth["low"] > most or below(depth["high"])
            word = outcome(inside(depth["low"]) and inside(depth["high"]), outside)
            if word == "too wide" and len({inside(layer / last) for layer in _plateau(rows, name, margin=margin)}) == 2:
                word = "plateau"
            where = f"layer {found['mean']:.0f}, n = {found['n']}"
            text = f"{name} is deepest at depth {told(depth, bars=bars, form='.2f')} ({where}) against {bounds}"
            return Found(word, text)

        return _each({name: _without_layer(rows, [name], margin=margin) for name in pathways}, at)

    condition = f"{', '.join(pathways)}: the depth of the deepest layer lies {bounds} (0: first layer, 1: last)"
    return Rule(claim=claim, where=where, condition=condition, test=test)


def costs_more(
    first: str, second: str, *, claim: str, where: str, margin: float = MARGIN, scope: Scope = "every"
) -> Rule:
    """Rule: blocking the first pathway costs more than blocking the second, each at the layer where it costs most.

    The two layers are not chosen first and compared then, since the choice flatters both. For every layer of the first
    and every layer of the second, the difference is taken sample by sample, with bands that hold for all these pairs in
    all categories together. What the first costs more is the largest, over its own layers, of the smallest difference
    over the layers of the second. So are the ends of its interval, from the ends of the bands.
    """

    @if_measured
    def test(rows: pd.DataFrame) -> Found:
        rows = put_together(rows[rows["pathway"].isin([first, second])], scope)
        if rows["pathway"].nunique() < 2:
            return Found("not measured", f"{first} and {second} were not both measured")
        tables = {name: _pairs(own, first, second) for name, own in rows.groupby("category", sort=False)}
        enough = {name: table for name, table in tables.items() if len(table) >= FEWEST}
        if not enough:
            name, table = max(tables.items(), key=lambda item: len(item[1]))
            return Found("too few", f"{first} and {second}: n = {len(table)} in {name}, where {FEWEST} are needed")
        parts: list[tuple[Outcome, dict]] = []
        flat = [table.reshape(len(table), -1) for table in enough.values()]
        for (name, table), found in zip(enough.items(), simultaneous(flat), strict=True):
            mean, low, high = (part.reshape(table.shape[1:]).min(axis=1).max() for part in found)
            row = {"mean": mean, "low": low, "high": high, "category": name, "n": len(table)}
            parts.append((outcome(low > margin, high < margin), row))
        every = [found for found, _ in parts] + ["too few"] * (len(tables) - len(enough))
        overall = COMPOSE[scope](every)
        if overall == "too few":
            name, table = min(tables.items(), key=lambda item: len(item[1]))
            return Found(overall, f"{first} and {second}: n = {len(table)} in {name}, where {FEWEST} are needed")
        choose = max if scope == "any" else min
        _, row = choose((part for part in parts if part[0] == overall), key=lambda part: part[1]["low"])
        text = (
            f"cost of {first} minus cost of {second}: {told(row, bars=(margin,))} of the answer's probability against "
        )
        text += f"above {share(margin, signed=True)} ({row['category']}, n = {row['n']})"
        if len(every) > 1:
            text += f"; {overall} in {every.count(overall)} of {len(every)} categories"
        return Found(overall, text)

    condition = (
        f"{in_words(scope)}, {first} costs over {share(margin)} of the answer's probability more than {second}, each "
        "at the layer where it costs most"
    )
    return Rule(claim=claim, where=where, condition=condition, test=test)


def _pairs(rows: pd.DataFrame, first: str, second: str) -> np.ndarray:
    """Δp of the second pathway at one layer minus Δp of the first at another: (samples, layers, layers of the second).

    Samples without one of the pathways are left out.
    """
    table = rows.pivot_table(index="sample", columns=["pathway", "layer"], values="delta_p")
    if not {first, second} <= set(table.columns.get_level_values(0)):
        return np.empty((0, 1, 1))
    table = table[[first, second]].dropna()
    return table[second].to_numpy()[:, None, :] - table[first].to_numpy()[:, :, None]


def _each(problems: Mapping[str, Found | None], judged: Callable[[str], Found]) -> Found:
    """Judge each of several pathways, all of which must hold.

    Args:
        problems: Pathway -> why it has no layer to speak of, or None. One that is clearly without a drop ("no control")
            is left out and named, if another has a drop; all other problems count.
        judged: Pathway -> what is found.
    """
    found = {name: problem or judged(name) for name, problem in problems.items()}
    left_out = [name for name, problem in problems.items() if problem and problem.outcome == "no control"]
    if len(left_out) == len(found):
        return next(iter(found.values()))
    asked = {name: part for name, part in found.items() if name not in left_out}
    text = "; ".join(part.measured for part in asked.values())
    if left_out:
        text = f"of {', '.join(asked)} alone (clearly without a drop: {', '.join(left_out)}): {text}"
    return Found(every_of([part.outcome for part in asked.values()]), text)


def _plateau(rows: pd.DataFrame, pathway: str, *, margin: float) -> list[int]:
    """Layers at which a pathway is as deep as at its deepest, but for less than the margin in nearly all resamples."""
    table = rows[rows["pathway"] == pathway].pivot_table(index="sample", columns="layer", values="delta_p").dropna()
    drawn = resampled_means(table.to_numpy())
    above = np.quantile(drawn - drawn.min(axis=1, keepdims=True), (1 + LEVEL) / 2, axis=0)
    return table.columns[above < margin].tolist()


def _without_layer(rows: pd.DataFrame, pathways: Sequence[str], *, margin: float) -> Found | None:
    """Say why one of these pathways has no layer to speak of; None if each has a clear drop."""
    rows = rows[rows["pathway"].isin(pathways)]
    counts = rows.groupby("pathway")["sample"].nunique()
    for name in pathways:
        if name not in counts:
            return Found("not measured", f"{name} was not measured")
        if counts[name] < FEWEST:
            return Found("too few", f"{name}: n = {counts[name]}, where {FEWEST} are needed")
    curves = delta_p(rows, by=["pathway", "layer"])
    for name in pathways:
        curve = curves[curves["pathway"] == name]
        if not (curve["high"] < -margin).any():
            row = curve.loc[curve["low"].idxmin()]
            word = "no control" if (curve["low"] > -margin).all() else "too wide"
            measured = f"{told(row, bars=(-margin,))} at layer {row['layer']} against below {share(-margin)}"
            return Found(word, f"{name} has no clear drop, so it has no layer: Δp {measured} (n = {row['n']})")
    return None
