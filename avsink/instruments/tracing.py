"""Causal tracing: which tokens of one modality carry what the other one shows (Hubs, tables 1 and 2).

For a sample that one modality dominates:

1. *clean* run: both modalities are present. Its prediction is o_clean, and the sinks are those of this run;
2. *corrupted* run: the dominant modality is zeroed. Its prediction is o_corrupt;
3. *restored* runs: the corrupted run is replayed with clean states at a set S of tokens of the *other* modality, at the
   entry of every layer or of a window of layers;
4. IE_clean(S) = P_restored[o_clean] - P_corrupted[o_clean], and IE_corrupt(S) = P_corrupted[o_corrupt] -
   P_restored[o_corrupt]. One replay gives both.

P[letter] is the probability of the letter at the prompt's last token, where the answer is predicted. The code of Hubs'
authors takes the largest one over all tokens that the model generates. Theirs is never smaller, and it is larger where
the model writes something else before the letter.

All sets of one sample are restored in a single `replay`. A token that is restored at every layer is never computed.
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
from avsink.instruments.sink_halves import By, Sinks, Ties, Unread, global_sinks, split
from avsink.instruments.sinks import ONE_IN, SinkObserver
from avsink.sample import Unmeasured

__all__ = ["Traced", "corrupt", "effects", "of_sample", "trace_by_layer", "trace", "token_sets"]

DRAWS = 5  # random sets of each size


@dataclass(frozen=True, kw_only=True, eq=False)
class Traced:
    """The two runs of a dominated sample.

    Attributes:
        dominance: The modality that decides, `audio` or `video`; tokens of the other one are restored.
        clean: The clean run.
        corrupted: The run with the dominant modality zeroed.
        sinks: The sinks of the clean run.
    """

    dominance: str
    clean: Run
    corrupted: Run
    sinks: Sinks

    @property
    def restorable(self) -> Tensor:
        """Positions of the dominated modality."""
        return getattr(self.clean.inputs.layout, DOMINATED[self.dominance])


def corrupt(model, sample, *, dominance: str | None = None, between: bool = True) -> Traced:
    """Make the clean and the corrupted run of a sample (steps 1 and 2).

    Args:
        model: A loaded model whose card has sink dimensions and a threshold.
        sample: The sample.
        dominance: The dominant modality, `audio` or `video`; None to find it, which takes a third run.
        between: Whether the runs keep the states between layers, as in `clean_run`. Restoring in windows of layers
            needs them; restoring at every layer does not.

    Raises:
        Unmeasured: No modality dominates the sample, or the corrupted run has the same prediction as the clean one.
        SampleError: The sample cannot be used.
        ValueError: The model's sinks are not calibrated.
    """
    if not sample.options:
        raise Unmeasured(sample.id, "has no options")
    passes = {"av": (), **{name: MUTED[name] for name in _needed(dominance)}}
    inputs, *others = model.prepare_muted(sample, list(passes.values()))
    observer = SinkObserver(model.card, inputs.layout)
    clean = clean_run(model, inputs, observers=[observer], between=between)
    muted = {name: clean_run(model, own, between=between) for name, own in zip(list(passes)[1:], others, strict=True)}
    if dominance is None:
        dominance = dominant(clean.predicted, muted["a"].predicted, muted["v"].predicted)
    if dominance not in DOMINATED:
        raise Unmeasured(sample.id, "is dominated by no modality")
    corrupted = muted[{"audio": "v", "video": "a"}[dominance]]  # without the dominant modality
    if corrupted.predicted == clean.predicted:
        raise Unmeasured(sample.id, "is answered alike without the sense that is said to dominate")
    return Traced(dominance=dominance, clean=clean, corrupted=corrupted, sinks=observer.result())


def _needed(dominance: str | None) -> tuple[str, ...]:
    """List the runs with one modality that are needed: `a` (sound alone), `v` (picture alone)."""
    return {"audio": ("v",), "video": ("a",), None: ("a", "v")}.get(dominance, ())


def token_sets(
    traced: Traced,
    *,
    objects: Tensor | None = None,
    one_in: Sequence[int] = ONE_IN,
    draws: int = DRAWS,
    seed: int = 0,
    ties: Ties = "phi",
    by: By = "halves",
    unread: Unread = "zero",
) -> pd.DataFrame:
    """List the sets of tokens to restore, all of the dominated modality (rows of Hubs tables 1 and 2).

    The sets are All, Object, and for each N: Sink, its halves Unimodal and Cross-modal, and Random, with as many tokens
    as Sink. A set may be empty; its effect is then 0 and counts in means over samples.

    Args:
        traced: The two runs of the sample.
        objects: Positions of object tokens; None if they are not known, and then there is no set Object.
        one_in: The values of N.
        draws: How many random sets to draw for each N.
        seed: The seed of the draws; each sample has draws of its own.
        ties: How ties among global sinks are decided, as in `sink_halves.global_sinks`.
        by: How they are split, as in `sink_halves.split`.
        unread: What counts where a modality no longer reads, as in `sink_halves.split`.

    Returns:
        One row per set, with the columns token_set, one_in (N; 0 for All and Object), draw (number of the random set,
        else 0), positions (LongTensor).
    """
    among, modality = traced.restorable, DOMINATED[traced.dominance]
    own = zlib.crc32(traced.clean.inputs.sample_id.encode())  # else all samples would share one draw
    rng, rows = np.random.default_rng([seed, own]), [("All", 0, 0, among)]
    if objects is not None:
        rows.append(("Object", 0, 0, objects[torch.isin(objects, among)]))
    for n in one_in:
        found = global_sinks(traced.sinks, one_in=n, among=among, ties=ties)
        halves = split(found, traced.sinks, modality=modality, by=by, unread=unread)
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
    """Measure the indirect effects of restoring each set (steps 3 and 4).

    Args:
        traced: The two runs of the sample; with the states between layers, unless all sets are restored at every layer.
        sets: Positions of each set.
        layers: For each set, the layers at whose entry it is restored; by default every layer.

    Returns:
        One row per set, with the columns ie_clean and ie_corrupt (differences of probabilities, as fractions; the paper
        prints percent), p_clean and p_corrupt (probabilities of o_clean and o_corrupt in the restored run), tokens
        (size of the set).
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
    ties: Ties = "phi",
    by: By = "halves",
    unread: Unread = "zero",
) -> pd.DataFrame:
    """Measure the effect of every set of `token_sets` for one sample (Hubs tables 1 and 2).

    Args:
        model: A loaded model whose card has sink dimensions and a threshold.
        sample: The sample.
        dominance: The dominant modality, `audio` or `video`; None to find it, which takes a third run.
        objects: (model, sample, inputs) -> {modality: positions of its object tokens}, or None if they are not known.
            An example is `avsink.instruments.object_tokens.ObjectFinder`.
        one_in: The values of N.
        draws: How many random sets to draw for each N.
        seed: The seed of the draws.
        ties: How ties among global sinks are decided, as in `sink_halves.global_sinks`.
        by: How they are split, as in `sink_halves.split`.
        unread: What counts where a modality no longer reads, as in `sink_halves.split`.

    Returns:
        One row per set, with the columns sample, task, category, dominance, o_clean, o_corrupt, token_set, one_in,
        draw, and those of `effects`.

    Raises:
        Unmeasured: No modality dominates the sample, or the corrupted run has the same prediction as the clean one.
        SampleError: The sample cannot be used.
        ValueError: The model's sinks are not calibrated, or a choice is none of those allowed.
    """
    traced = corrupt(model, sample, dominance=dominance, between=False)
    found = None if objects is None else objects(model, sample, traced.clean.inputs)
    own = None if found is None else found.get(DOMINATED[traced.dominance])
    choices = {"ties": ties, "by": by, "unread": unread}
    sets = token_sets(traced, objects=own, one_in=one_in, draws=draws, seed=seed, **choices)
    table = pd.concat([sets.drop(columns="positions"), effects(traced, list(sets["positions"]))], axis=1)
    return of_sample(table, sample, traced)


def trace_by_layer(
    model,
    sample,
    *,
    k: int,
    one_in: int,
    dominance: str | None = None,
    ties: Ties = "phi",
    by: By = "halves",
    unread: Unread = "zero",
) -> pd.DataFrame:
    """Measure at which depth restoring brings the answer back, in windows of layers. Not in the paper.

    Args:
        model: A loaded model whose card has sink dimensions and a threshold.
        sample: The sample.
        k: How many layers a window has, an odd number.
        one_in: The value of N.
        dominance: The dominant modality, `audio` or `video`; None to find it, which takes a third run.
        ties: How ties among global sinks are decided, as in `sink_halves.global_sinks`.
        by: How they are split, as in `sink_halves.split`.
        unread: What counts where a modality no longer reads, as in `sink_halves.split`.

    Returns:
        One row per (set, layer), for the sets All, Sink, Unimodal and Cross-modal, with the columns of `trace` and
        layer (centre of the window).

    Raises:
        Unmeasured: No modality dominates the sample, or the corrupted run has the same prediction as the clean one.
        SampleError: The sample cannot be used.
        ValueError: `k` is not odd, or too wide for the model (`knockout.window`), or its sinks are not calibrated.
    """
    windows = [window(layer, k=k, n_layers=model.n_layers) for layer in range(model.n_layers)]
    traced = corrupt(model, sample, dominance=dominance)
    sets = token_sets(traced, one_in=[one_in], draws=0, ties=ties, by=by, unread=unread)
    cells = [(row, layer) for row in range(len(sets)) for layer in range(model.n_layers)]
    found = effects(
        traced,
        [sets["positions"][row] for row, _ in cells],
        layers=[windows[layer] for _, layer in cells],
    )
    table = sets.drop(columns="positions").iloc[[row for row, _ in cells]].reset_index(drop=True)
    return of_sample(pd.concat([table.assign(layer=[layer for _, layer in cells]), found], axis=1), sample, traced)


def of_sample(table: pd.DataFrame, sample, traced: Traced) -> pd.DataFrame:
    """Insert the columns that are the same in all rows of a sample."""
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
