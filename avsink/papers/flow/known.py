"""Taught and found: does attention knockout find the pathways that a model was taught, and no others?

The card of a teaching model lists pathways, each with its layer and its task (`ModelCard.routes`). Rows of
`avsink.instruments.knockout.sweep` say what blocking each pathway costs in a window around each layer:

1. a window *finds* a pathway if the band of Δp lies below -margin, and rules it out if the band lies above. The bands
   of a pathway hold for all its layers and categories together, and those of the pathways that were not taught for all
   of these (`avsink.results.bands`);
2. the window should find it if it holds a taught layer of the pathway, and must not if it holds none;
3. a pathway that was not taught in a task must be found in no window, unless a taught one is part of it, as the way
   from the audio is of the way from video and audio together. Since what is taught to a group is lost, too, when a
   part of the group is cut off, such a window must hold a taught layer of the task.
"""

from __future__ import annotations

import pandas as pd

from avsink.instruments.pathways import FIGURE_3, FIGURE_4, FIGURE_5, FIGURE_6, PATHWAYS
from avsink.results.bands import bands
from avsink.results.known import Known, compared
from avsink.results.known import unknown as nothing
from avsink.results.verdicts import MARGIN

__all__ = ["pathways", "routes", "tasks"]


def tasks(card) -> tuple[str, ...]:
    """The tasks in which a model was taught a pathway."""
    return tuple(dict.fromkeys(route.task for route in card.routes))


def pathways(card) -> tuple[str, ...]:
    """The pathways of the paper's main figures, and those that a model was taught.

    Raises:
        ValueError: The card names a pathway that there is not.
    """
    taught = [route.pathway for route in card.routes]
    if unknown := sorted(set(taught) - set(PATHWAYS)):
        raise ValueError(f"the card of {card.name} was taught {unknown[0]!r}; pathways are {', '.join(PATHWAYS)}")
    return tuple(dict.fromkeys([*FIGURE_3, *FIGURE_4, *FIGURE_5, *FIGURE_6, *taught]))


def routes(rows: pd.DataFrame, card, *, margin: float = MARGIN) -> list[Known]:
    """Compare what was taught with what was found.

    Args:
        rows: Rows of `knockout.sweep` over many samples, of one or several tasks; may be empty.
        card: The model's card.
        margin: The smallest relative change of the answer's probability that counts.

    Returns:
        One fact for each pathway that was taught in a task of these rows, in each category, and one for all the others
        of that task.
    """
    tasks = dict.fromkeys(rows["task"]) if len(rows) else {}
    taught = [route for route in card.routes if route.task in tasks]
    if not taught:
        return nothing(card)
    return [fact for task in tasks for fact in _of_task(rows[rows["task"] == task], taught, task, margin)]


def _of_task(rows: pd.DataFrame, taught, task: str, margin: float) -> list[Known]:
    layers: dict[str, set[int]] = {}
    for route in taught:
        if route.task == task:
            layers.setdefault(route.pathway, set()).add(route.layer)
    facts = []
    for pathway, own in layers.items():
        curves = _curves(rows[rows["pathway"] == pathway], margin)
        for category in dict.fromkeys(rows["category"]):
            facts.append(_of_curve(curves[curves["category"] == category], f"{pathway} ({category})", own, margin))
    anywhere = set().union(*layers.values())
    others = _curves(rows[~rows["pathway"].isin(layers)], margin)
    others = others[others["found"] & ~_holds(others, anywhere)]
    named = [f"{row.pathway} ({row.category}), layer {row.layer}: {row.mean:+.0%}" for row in others.itertuples()]
    facts.append(
        Known(
            f"no other pathway ({task})",
            f"windows without the layers {_listed(anywhere)}",
            "; ".join(named).replace("-", "−") or "none",
            "elsewhere too" if named else "found",
        )
    )
    return facts


def _curves(rows: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Average over samples, with bands and the column `found` (step 1)."""
    curves = bands(rows, by=["category", "pathway", "layer", "window_start", "window_stop"])
    return curves.assign(found=curves["high"] < -margin)


def _of_curve(curve: pd.DataFrame, name: str, layers: set[int], margin: float) -> Known:
    where = f"layer {_listed(layers)}"
    if curve.empty:
        return Known(name, where, "not measured", "not tested")
    found, right = curve[curve["found"]], _holds(curve, layers)
    there = all(_holds(found, {layer}).any() for layer in layers)
    absent = any((curve[_holds(curve, {layer})]["low"] > -margin).all() for layer in layers)
    deepest = curve.loc[curve["mean"].idxmin()]
    measured = f"Δp {deepest['mean']:+.0%} [{deepest['low']:+.0%}, {deepest['high']:+.0%}] at layer {deepest['layer']}"
    seen = f"; windows around {_listed(set(found['layer']))} of {_listed(set(curve[right]['layer']))}"
    text = (measured + (seen if len(found) else "; no window") + f" (n = {deepest['n']})").replace("-", "−")
    return Known(
        name, where, text, compared(there=there, absent=absent, elsewhere=not found[~_holds(found, layers)].empty)
    )


def _holds(curves: pd.DataFrame, layers: set[int]) -> pd.Series:
    """Whether each window holds one of these layers."""
    inside = [(curves["window_start"] <= layer) & (layer < curves["window_stop"]) for layer in sorted(layers)]
    return pd.concat(inside, axis=1).any(axis=1) if len(curves) else pd.Series(dtype=bool)


def _listed(layers: set[int]) -> str:
    return ", ".join(map(str, sorted(int(layer) for layer in layers)))
