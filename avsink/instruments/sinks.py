"""Sink tokens: which tokens are sinks, how they drift over layers, and who reads them (Hubs, tables 1 and 2).

1. A token is a *sink* at a layer if φ(x) = max over the sink dimensions D of |x_d| / rms(x) exceeds τ at the layer's
   entry (`SinkObserver`). The code of Hubs' authors adds 1e-6 under the root of rms, as RMSNorm does, and this project
   adds nothing: φ depends on the direction of a state alone. Theirs is smaller by 0.02 % at an rms of 0.05, by 0.5 % at
   0.01 and by 29 % at 0.001; from an rms of 0.05 on it is the same φ for all purposes;
2. the tokens of a prompt that are sinks at the most layers are its *global sinks*. Those of one modality are split by
   their Modality Dominance Score (MDS) into *unimodal* and *cross-modal* ones. `avsink.instruments.sink_halves` defines
   both, and names the choices in these definitions: `ties`, `by` and `unread`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pandas as pd
import torch

from avsink.engine.observers import ColumnMeans, Norms, Observer, observe
from avsink.instruments.sink_halves import (
    By,
    Sinks,
    Split,
    Ties,
    Unread,
    global_sinks,
    modality_dominance,
    scored,
    split,
)
from avsink.sample import Unmeasured

__all__ = [
    *("ONE_IN", "Sinks", "SinkObserver", "Split", "drift", "field"),
    *("global_sinks", "modality_dominance", "of_prompt", "require", "split", "by_layer"),
]

ONE_IN = (2, 3, 4)  # the paper's values of N


def require(card) -> None:
    """Raise ValueError unless the card says which tokens are this model's sinks."""
    if card.sink_dims is None or card.sink_tau is None:
        raise ValueError(
            f"the card of {card.name} has no sink dimensions or no threshold; find them with "
            "avsink.instruments.sink_calibration (the notebook hubs_calibration) and put them on the card"
        )


class SinkObserver(Observer):
    """Measures `Sinks` during a run: `clean_run(model, inputs, observers=[SinkObserver(card, layout)])`."""

    def __init__(self, card, layout):
        require(card)
        self.tau = card.sink_tau
        self.norms, self.means = Norms(card.sink_dims), ColumnMeans(video=layout.video, audio=layout.audio)

    def begin(self):
        self.norms.begin()
        self.means.begin()

    def enter(self, layer, states, arguments):
        self.norms.enter(layer, states, arguments)

    def attend(self, layer, query, key, value, *, scaling):
        self.means.attend(layer, query, key, value, scaling=scaling)

    def result(self) -> Sinks:
        phi, means = self.norms.result()["phi"], self.means.result()
        unread = (means["video"].isnan() | means["audio"].isnan()).any(dim=0)  # the same tokens at all layers
        mds = modality_dominance(means["video"], means["audio"])
        if not all(len(group) for group in self.means.groups.values()):
            mds = torch.full_like(mds, float("nan"))  # with one modality alone there is nothing to compare
        return Sinks(phi=phi, flags=phi > self.tau, mds=mds, unread=unread)


def of_prompt(model, inputs) -> Sinks:
    """Find the sinks of one prompt, in a run without interventions."""
    (found,) = observe(model, inputs, [SinkObserver(model.card, inputs.layout)])
    return found


def by_layer(
    model,
    sample,
    *,
    one_in: Sequence[int] = ONE_IN,
    ties: Ties = "phi",
    by: By = "halves",
    unread: Unread = "zero",
) -> pd.DataFrame:
    """Measure every media token of a sample that is a sink at any layer, layer by layer.

    Args:
        model: A loaded model whose card has sink dimensions and a threshold.
        sample: The sample.
        one_in: The values of N.
        ties: How ties among global sinks are decided, as in `sink_halves.global_sinks`.
        by: How they are split, as in `sink_halves.split`.
        unread: What counts where a modality no longer reads; with "neither", such tokens have no mds and no score.

    Returns:
        One row per (token, layer), with the columns sample, task, category, modality, position, part (index of its
        temporal grid or audio chunk), offset (in that part), n_modality (tokens of the modality), layer, phi, sink
        (bool, at this layer), mds, score (mean MDS over layers), and for each N of `one_in` the column `global_N`:
        "unimodal", "cross-modal", "neither", or "" for a token that is not a global sink.

    Raises:
        Unmeasured: No media token is a sink at any layer.
        SampleError: The sample cannot be used.
        ValueError: The model's sinks are not calibrated, or a choice is none of those allowed.
    """
    inputs = model.prepare(sample)
    layout, found = inputs.layout, scored(of_prompt(model, inputs), unread=unread)
    tables = []
    for modality, parts in (("video", layout.frames), ("audio", layout.audio_chunks)):
        among = getattr(layout, modality)
        ever = among[found.flags[:, among].any(dim=0)].tolist()
        place = {int(position): (part, offset) for part, own in enumerate(parts) for offset, position in enumerate(own)}
        chosen = {n: global_sinks(found, one_in=n, among=among, ties=ties) for n in one_in}
        halves = {n: split(own, found, modality=modality, by=by, unread=unread) for n, own in chosen.items()}
        rows = []
        for position, layer in product(ever, range(len(found.phi))):
            numbers = (found.phi[layer, position], found.flags[layer, position], found.mds[layer, position])
            kinds = [_kind(halves[n], position) for n in one_in]
            facts = (modality, position, *place[position], len(among), layer)
            rows.append((*facts, *(x.item() for x in numbers), found.score[position].item(), *kinds))
        names = ["modality", "position", "part", "offset", "n_modality", "layer", "phi", "sink", "mds", "score"]
        tables.append(pd.DataFrame(rows, columns=[*names, *(f"global_{n}" for n in one_in)]))
    table = pd.concat(tables, ignore_index=True)
    if table.empty:
        raise Unmeasured(sample.id, "has no sink among its media tokens")
    for at, name in enumerate(("sample", "task", "category")):
        table.insert(at, name, getattr(sample, "id" if name == "sample" else name))
    return table


def field(model, sample) -> pd.DataFrame:
    """Measure φ of every token of a sample's prompt.

    Returns:
        One row per (layer, token), with the columns layer, position, group (video, audio or text), place (in its
        temporal grid or audio chunk, in words), phi, sink (bool).
    """
    inputs = model.prepare(sample)
    layout, found = inputs.layout, of_prompt(model, inputs)
    group, place = ["text"] * layout.n, [""] * layout.n
    for modality, name, parts in (("video", "grid", layout.frames), ("audio", "chunk", layout.audio_chunks)):
        for part, own in enumerate(parts):
            for offset, position in enumerate(own.tolist()):
                group[position] = modality
                place[position] = f"token {offset} of {name} {part}"
    layers, n = found.phi.shape
    return pd.DataFrame(
        {
            "layer": torch.arange(layers).repeat_interleave(n).tolist(),
            "position": torch.arange(n).repeat(layers).tolist(),
            "group": group * layers,
            "place": place * layers,
            "phi": found.phi.flatten().tolist(),
            "sink": found.flags.flatten().tolist(),
        }
    )


def drift(rows: pd.DataFrame) -> pd.DataFrame:
    """Compare the sinks of every two layers.

    Args:
        rows: Rows of `by_layer`.

    Returns:
        One row per (sample, modality, pair of layers), with the columns sample, modality, layer, other (the other
        layer), sinks (number of sinks at `layer`), share (of the modality's tokens that are sinks at `layer`), overlap
        (Jaccard index of the two layers' sinks; NaN if neither has any).
    """
    tables = []
    for (sample, modality), own in rows.groupby(["sample", "modality"], sort=False):
        flags = torch.tensor(own.pivot(index="layer", columns="position", values="sink").to_numpy(dtype=float))
        both = flags @ flags.T  # (layers, layers)
        count = flags.sum(dim=1)
        either = count[:, None] + count[None, :] - both
        n = len(count)
        tables.append(
            pd.DataFrame(
                {
                    "sample": sample,
                    "modality": modality,
                    "layer": torch.arange(n).repeat_interleave(n).tolist(),
                    "other": torch.arange(n).repeat(n).tolist(),
                    "sinks": count.repeat_interleave(n).tolist(),
                    "share": (count / own["n_modality"].iloc[0]).repeat_interleave(n).tolist(),
                    "overlap": (both / either).flatten().tolist(),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def _kind(halves: Split, position: int) -> str:
    """Which half of the global sinks a token belongs to; "" for none."""
    for name, own in (("unimodal", halves.unimodal), ("cross-modal", halves.crossmodal), ("neither", halves.neither)):
        if position in own:
            return name
    return ""
