"""Causal tracing: which tokens of one modality hold what the other one said (Hubs sections 3.2 and 4; tables 1 and 2).

For a sample that one modality dominates:

1. *clean* run, with both modalities; its prediction is o_clean. The sinks are those of this run;
2. *corrupted* run, the dominant modality zeroed; its prediction is o_corrupt;
3. *restored* runs: the corrupted one, with the clean states put back at a set S of tokens of the *other* modality, at
   the entry of every layer (or of a window of layers);
4. IE_clean(S) = P_restored[o_clean] - P_corrupted[o_clean], and IE_corrupt(S) = P_corrupted[o_corrupt] -
   P_restored[o_corrupt]. Both from one replay.

All sets of one sample are restored in a single `replay`. A token that is restored at every layer costs nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from avsink.engine.interventions import Restore
from avsink.engine.run import Run, clean_run
from avsink.instruments.dominance import DOMINATED, MUTED, dominant
from avsink.instruments.knockout import window
from avsink.instruments.sinks import ONE_IN, SinkObserver, Sinks, global_sinks, split
from avsink.sample import Unmeasured

__all__ = ["Traced", "corrupt", "effects", "trace_by_layer", "trace", "token_sets"]

DRAWS = 5  # random sets of each size


@dataclass(frozen=True, kw_only=True, eq=False)
class Traced:
    """A dominated sample's two runs. dominance: the modality that decides; the other one's tokens are restored."""

    dominance: str
    clean: Run
    corrupted: Run
    sinks: Sinks

    @property
    def restorable(self) -> Tensor:
        """Positions of the dominated modality."""
        return getattr(self.clean.inputs.layout, DOMINATED[self.dominance])


def corrupt(model, sample, *, dominance: str | None = None, between: bool = True) -> Traced:
    """Steps 1 and 2. dominance: if it is known already; else it is found with a third pass.

    between: of `clean_run`, needed to restore within windows of layers.

    Raises `Unmeasured` for a sample that no modality dominates, or whose answer does not depend on the dominant one.
    """
    passes = {"av": (), **{name: MUTED[name] for name in _needed(dominance)}}
    inputs, *others = model.prepare_muted(sample, list(passes.values()))
    observer = SinkObserver(model.card, inputs.layout)
    clean = clean_run(model, inputs, observers=[observer], between=between)
    muted = {name: clean_run(model, own, between=between) for name, own in zip(list(passes)[1:], others, strict=True)}
    if dominance is None:
        dominance = dominant(clean.predicted, muted["a"].predicted, muted["v"].predicted)
    if dominance not in DOMINATED:
        raise Unmeasured(sample.id, "is dominated by no modality")
    corrupted = muted[{"audio": "v", "video": "a"}[dominance]]  # the pass that the dominant modality is zeroed in
    if corrupted.predicted == clean.predicted:
        raise Unmeasured(sample.id, "is answered alike without the sense that is said to dominate")
    return Traced(dominance=dominance, clean=clean, corrupted=corrupted, sinks=observer.result())


def _needed(dominance: str | None) -> tuple[str, ...]:
    return {"audio": ("v",), "video": ("a",), None: ("a", "v")}.get(dominance, ())


def token_sets(
    traced: Traced, *, objects: Tensor | None = None, one_in: Sequence[int] = ONE_IN, draws: int = DRAWS, seed: int = 0
) -> pd.DataFrame:
    """What is restored: All, Object, and for each N the sinks, their halves, and random tokens, as many as sinks.

    objects: positions of object tokens, if they are known. Columns: token_set, one_in (N, 0 where it has no meaning),
    draw, positions. A set may be empty; its effect is nothing, and counts as such in a mean over samples.
    """
    among, modality = traced.restorable, DOMINATED[traced.dominance]
    own = zlib.crc32(traced.clean.inputs.sample_id.encode())  # each sample has sets of its own, or all share their luck
    rng, rows = np.random.default_rng([seed, own]), [("All", 0, 0, among)]
    if objects is not None:
        rows.append(("Object", 0, 0, objects[torch.isin(objects, among)]))
    for n in one_in:
        found = global_sinks(traced.sinks, one_in=n, among=among)
        halves = split(found, traced.sinks, modality=modality)
        rows += [
            ("Sink", n, 0, found),
            ("Unimodal", n, 0, halves.unimodal),
            ("Cross-modal", n, 0, halves.crossmodal),
        ]
        for draw in range(draws):
            drawn = among[torch.from_numpy(rng.permutation(len(among))[: len(found)])]
            rows.append(("Random", n, draw, drawn.sort().values))
    return pd.DataFrame(rows, columns=["token_set", "one_in", "draw", "positions"])


def effects(traced: Traced, sets: Sequence[Tensor], *, layers: Sequence[range] | None = None) -> pd.DataFrame:
    """Steps 3 and 4: one row a set. layers: of each set, where its states are put back; by default everywhere.

    Columns: ie_clean, ie_corrupt (as fractions; the paper prints percent), p_clean, p_corrupt (of o_clean and of
    o_corrupt in the restored run), tokens.
    """
    everywhere = range(traced.clean.states.n_layers)
    layers = [everywhere] * len(sets) if layers is None else layers
    plans = [Restore(positions, where, traced.clean.states) for positions, where in zip(sets, layers, strict=True)]
    restored = traced.corrupted.replay(plans)
    o_clean, o_corrupt = traced.clean.predicted, traced.corrupted.predicted
    base = traced.corrupted.letter_probabilities
    p_clean, p_corrupt = (
        traced.corrupted.probability_of(letter, restored).cpu().numpy() for letter in (o_clean, o_corrupt)
    )
    return pd.DataFrame(
        {
            "ie_clean": p_clean - base[o_clean],
            "ie_corrupt": base[o_corrupt] - p_corrupt,
            "p_clean": p_clean,
            "p_corrupt": p_corrupt,
            "tokens": [len(positions) for positions in sets],
        }
    )


def trace(
    model,
    sample,
    *,
    dominance: str | None = None,
    objects: Callable[[object, object, object], Mapping[str, Tensor] | None] | None = None,
    one_in: Sequence[int] = ONE_IN,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """The tables' conditions for one sample: `token_sets` with their `effects`.

    objects: (model, sample, inputs) -> modality -> positions of its object tokens, or None where nothing is known of
        them; such as an `avsink.instruments.object_tokens.ObjectFinder`.

    Columns: sample, task, category, dominance, token_set, one_in, draw, o_clean, o_corrupt, and those of `effects`.
    """
    traced = corrupt(model, sample, dominance=dominance, between=False)
    found = None if objects is None else objects(model, sample, traced.clean.inputs)
    own = None if found is None else found.get(DOMINATED[traced.dominance])
    sets = token_sets(traced, objects=own, one_in=one_in, draws=draws, seed=seed)
    table = pd.concat([sets.drop(columns="positions"), effects(traced, list(sets["positions"]))], axis=1)
    return _of_sample(table, sample, traced)


def trace_by_layer(model, sample, *, k: int, one_in: int, dominance: str | None = None) -> pd.DataFrame:
    """At which depth restoring brings the answer back: All, Sink, Unimodal and Cross-modal in windows of k layers.

    Not in the paper. Columns as in `trace`, and layer, the centre of the window.
    """
    traced = corrupt(model, sample, dominance=dominance)
    sets = token_sets(traced, one_in=[one_in], draws=0)
    n_layers = traced.clean.states.n_layers
    cells = [(row, layer) for row in range(len(sets)) for layer in range(n_layers)]
    found = effects(
        traced,
        [sets["positions"][row] for row, _ in cells],
        layers=[window(layer, k=k, n_layers=n_layers) for _, layer in cells],
    )
    table = sets.drop(columns="positions").iloc[[row for row, _ in cells]].reset_index(drop=True)
    return _of_sample(pd.concat([table.assign(layer=[layer for _, layer in cells]), found], axis=1), sample, traced)


def _of_sample(table: pd.DataFrame, sample, traced: Traced) -> pd.DataFrame:
    facts = {
        "sample": sample.id,
        "task": sample.task,
        "category": sample.category,
        "dominance": traced.dominance,
        "o_clean": traced.clean.predicted,
        "o_corrupt": traced.corrupted.predicted,
    }
    for at, (name, value) in enumerate(facts.items()):
        table.insert(at, name, value)
    return table
