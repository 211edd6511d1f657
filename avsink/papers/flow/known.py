"""Taught and found: does attention knockout find the pathways that a model was taught, and no others?

The card of a teaching model lists pathways, each with its layer and its task (`ModelCard.routes`). Rows of
`avsink.instruments.knockout.sweep` say what blocking each pathway costs in a window around each layer:

1. a window *finds* a pathway if the band of Δp lies below -margin, and rules it out if the band lies above. The bands
   of a pathway hold for all its layers and categories together, and those of the pathways that were not taught for all
   of these (`avsink.results.bands`);
2. the window should find it if it holds a taught layer of the pathway, and must not if it holds none;
3. a pathway that was not taught must be found in no window, except that it may share edges with a taught one: the way
   from video and audio together shares those from the audio. Such a pathway may be found where a taught one with
   which it shares edges is (`avsink.results.rules.overlap`);
4. a kind of tokens can be discarded after the last taught layer at which anything outside it reads it (`discarded`).
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from avsink.instruments.pathways import FIGURE_3, FIGURE_4, FIGURE_5, FIGURE_6, PATHWAYS
from avsink.results.known import Known, compared
from avsink.results.known import unknown as nothing
from avsink.results.rules.curves import delta_p
from avsink.results.rules.overlap import ends, parts, share_edges
from avsink.results.verdicts import MARGIN

__all__ = ["discarded", "pathways", "routes", "tasks"]


def tasks(card) -> tuple[str, ...]:
    """The tasks in which a model was taught a pathway."""
    return tuple(dict.fromkeys(route.task for route in card.routes))


def pathways(card) -> tuple[str, ...]:
    """The pathways of the paper's main figures, and those that a model was taught.

    Raises:
        ValueError: The card names a pathway that there is not.
    """
    _check(card)
    taught = (route.pathway for route in card.routes)
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

    Raises:
        ValueError: The card names a pathway, or a layer, that there is not.
    """
    _check(card, n_layers=int(rows["window_stop"].max()) if len(rows) else None)
    tasks = dict.fromkeys(rows["task"]) if len(rows) else {}
    taught = [route for route in card.routes if route.task in tasks]
    if not taught:
        return nothing(card)
    return [fact for task in tasks for fact in _of_task(rows[rows["task"] == task], taught, task, margin)]


def _check(card, *, n_layers: int | None = None) -> None:
    for route in card.routes:
        if route.pathway not in PATHWAYS:
            raise ValueError(
                f"the card of {card.name} names the pathway {route.pathway!r} among its routes; allowed: "
                f"{', '.join(PATHWAYS)}"
            )
        if n_layers is not None and route.layer >= n_layers:
            raise ValueError(
                f"the card of {card.name} says that {route.pathway} was taught at layer {route.layer}; its layers are "
                f"0 to {n_layers - 1}"
            )


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
    facts.append(_of_others(rows, layers, task, margin))
    return facts


def _of_others(rows: pd.DataFrame, layers: dict[str, set[int]], task: str, margin: float) -> Known:
    """Step 3: the pathways of a task that were not taught, all in one."""
    interleaved = bool(rows["structure"].any())
    curves = _curves(rows[~rows["pathway"].isin(layers)], margin)
    own = {
        name: set().union(*(at for way, at in layers.items() if share_edges(name, way, interleaved=interleaved)))
        for name in curves["pathway"].unique()
    }
    expected = [_holds(part, own[name]) for name, part in curves.groupby("pathway", sort=False)]
    asked = curves[~pd.concat(expected).reindex(curves.index)] if expected else curves
    if asked.empty:
        return Known(f"no other pathway ({task})", "–", "every window holds a taught layer", "not tested")
    found = asked[asked["found"]]
    named = [f"{row.pathway} ({row.category}), layer {row.layer}: {row.mean:+.0%}" for row in found.itertuples()]
    where = (
        f"{asked['pathway'].nunique()} pathways, {asked['layer'].nunique()} layers: wherever they share no taught edge"
    )
    text = "; ".join(named).replace("-", "−") or f"none of {len(asked)} windows"
    return Known(f"no other pathway ({task})", where, text, "elsewhere too" if named else "found")


def discarded(after: Mapping[str, int], card, *, task: str, interleaved: bool) -> list[Known]:
    """Compare the layers after which tokens can be discarded with those at which they are read for the last time.

    Args:
        after: Kind of tokens -> the layer, as of `avsink.papers.flow.layers_to_discard`.
        card: The model's card.
        task: The task of the run.
        interleaved: Whether its prompts hold several items.

    Returns:
        One fact for each kind of tokens.
    """
    taught = [route for route in card.routes if route.task == task]
    if not taught:
        return nothing(card)
    facts = []
    for kind, layer in after.items():
        own = parts(kind, interleaved=interleaved)
        ways = [(route, *way) for route in taught for way in ends(route.pathway, interleaved=interleaved)]
        last = max((route.layer for route, source, target in ways if source & own and target - own), default=-1)
        said = {-1: "never needed"}
        facts.append(
            Known(
                f"{kind} is read for the last time",
                said.get(last, f"layer {last}"),
                said.get(layer, f"can be discarded after layer {layer}"),
                "found" if layer == last else "missed" if layer < last else "elsewhere too",
            )
        )
    return facts


def _curves(rows: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Average over samples, with bands and the column `found` (step 1)."""
    curves = delta_p(rows, by=["category", "pathway", "layer", "window_start", "window_stop"])
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
    return pd.concat(inside, axis=1).any(axis=1) if inside and len(curves) else pd.Series(False, index=curves.index)


def _listed(layers: set[int]) -> str:
    return ", ".join(map(str, sorted(int(layer) for layer in layers)))
