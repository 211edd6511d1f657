"""Sink tokens: which they are, how they drift, and to whom they belong (Hubs sections 3.3 and 4).

1. φ(x) = max over the sink dimensions D of |x_d| / rms(x), at the entry of each layer; where φ > τ, a token is a
   *sink* (`SinkObserver`);
2. sinks drift from layer to layer. *Global sinks* are those of the ⌊|T| / N⌋ tokens that are sinks at the most layers,
   of all |T| tokens of the prompt, that belong to one modality (`global_sinks`);
3. the Modality Dominance Score of a token says who reads it: MDS = (Ā_video - Ā_audio) / (Ā_video + Ā_audio), with the
   mean attention that it receives from later video and later audio tokens; its mean over layers counts;
4. of one modality's global sinks, the half that leans to its own modality is *unimodal*, the other half *cross-modal*
   (`split`). With an odd number the one in the middle is neither, which the paper's rounded counts allow (603 and 301);
   its authors' code counts it as cross-modal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import pandas as pd
import torch
from torch import Tensor

from avsink.engine.observers import ColumnMeans, Norms, Observer, observe
from avsink.sample import Unmeasured

__all__ = [
    *("ONE_IN", "Sinks", "SinkObserver", "Split", "drift", "field"),
    *("global_sinks", "modality_dominance", "of_prompt", "require", "split", "by_layer"),
]

ONE_IN = (2, 3, 4)  # N: one token in so many is a global sink


@dataclass(frozen=True, kw_only=True, eq=False)
class Sinks:
    """One prompt's sinks. phi: (layers, N). flags: φ > τ, bool (layers, N). mds: (layers, N), NaN where nobody reads.

    Ā is a mean over heads and over the later tokens of a modality, so a token behind all video has no Ā_video; as there
    is nothing to compare then, its MDS is NaN.
    """

    phi: Tensor
    flags: Tensor
    mds: Tensor

    @property
    def score(self) -> Tensor:
        """Mean MDS over the layers in which it is known, (N,)."""
        return self.mds.nanmean(dim=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Positions of one modality's global sinks. neither: the middle one of an odd number, and those without an MDS."""

    unimodal: Tensor
    crossmodal: Tensor
    neither: Tensor


def require(card) -> None:
    """Raise ValueError unless it is known which tokens are this model's sinks."""
    if card.sink_dims is None or card.sink_tau is None:
        raise ValueError(
            f"the card of {card.name} has no sink dimensions or no threshold; find them with avsink.instruments.sink_calibration "
            "(the notebook hubs_calibration) and put them on the card"
        )


class SinkObserver(Observer):
    """Measures `Sinks` in a run that goes by: `clean_run(model, inputs, observers=[SinkObserver(card, layout)])`."""

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
        return Sinks(phi=phi, flags=phi > self.tau, mds=modality_dominance(means["video"], means["audio"]))


def modality_dominance(video: Tensor, audio: Tensor) -> Tensor:
    """MDS from mean attention received, same shapes: 1, read by video only; -1, by audio only; NaN if by nobody."""
    return (video - audio) / (video + audio)


def global_sinks(sinks: Sinks, *, one_in: int, among: Tensor | None = None) -> Tensor:
    """The ⌊|T| / one_in⌋ tokens that are sinks at the most layers, and of these the ones in `among`; sorted positions.

    Ties go to the higher mean φ, then to the lower position. A token that is never a sink is never taken, so there may
    be fewer.
    """
    if one_in < 1:
        raise ValueError(f"one_in: {one_in}; the paper takes one token in 2, 3 or 4")
    count, phi = sinks.flags.sum(dim=0).tolist(), sinks.phi.mean(dim=0).tolist()
    ranked = sorted((p for p in range(len(count)) if count[p]), key=lambda p: (-count[p], -phi[p], p))
    taken = torch.tensor(sorted(ranked[: len(count) // one_in]), dtype=torch.long)
    return taken if among is None else taken[torch.isin(taken, among)]


def split(positions: Tensor, sinks: Sinks, *, modality: str) -> Split:
    """Step 4 for global sinks of one modality, `video` or `audio`. Ties in the score go by position."""
    if modality not in ("video", "audio"):
        raise ValueError(f"modality: {modality!r}; allowed: video, audio")
    score = sinks.score[positions] * (1 if modality == "video" else -1)  # high: read by its own modality
    known = positions[~score.isnan()]
    order = known[torch.argsort(score[~score.isnan()], descending=True, stable=True)]
    half = len(order) // 2
    unimodal, crossmodal = order[:half].sort().values, order[len(order) - half :].sort().values
    taken = torch.cat([unimodal, crossmodal])
    return Split(unimodal=unimodal, crossmodal=crossmodal, neither=positions[~torch.isin(positions, taken)])


def of_prompt(model, inputs) -> Sinks:
    """The sinks of one prompt, run as it is."""
    (found,) = observe(model, inputs, [SinkObserver(model.card, inputs.layout)])
    return found


def by_layer(model, sample, *, one_in: Sequence[int] = ONE_IN) -> pd.DataFrame:
    """Every media token that is a sink at some layer, layer by layer; one row a token and layer.

    Columns: sample, task, category, modality, position, part (its grid, or chunk of audio tokens), offset (in it),
    n_modality (tokens of the modality), layer, phi, sink, mds, score (mean MDS over layers), and for each N of `one_in`
    `global_N`: unimodal, cross-modal, neither, or nothing, if it is no global sink.

    Raises `Unmeasured` if no token ever is.
    """
    inputs = model.prepare(sample)
    layout, found = inputs.layout, of_prompt(model, inputs)
    tables = []
    for modality, runs in (("video", layout.frames), ("audio", layout.audio_chunks)):
        among = getattr(layout, modality)
        ever = among[found.flags[:, among].any(dim=0)].tolist()
        place = {int(position): (run, offset) for run, own in enumerate(runs) for offset, position in enumerate(own)}
        halves = {n: split(global_sinks(found, one_in=n, among=among), found, modality=modality) for n in one_in}
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
    """φ of every token of a prompt.

    Columns: layer, position, group (video, audio or text), place (in its grid or run), phi, sink.
    """
    inputs = model.prepare(sample)
    layout, found = inputs.layout, of_prompt(model, inputs)
    group, place = ["text"] * layout.n, [""] * layout.n
    for modality, runs in (("video", layout.frames), ("audio", layout.audio_chunks)):
        for run, own in enumerate(runs):
            for offset, position in enumerate(own.tolist()):
                group[position] = modality
                place[position] = f"token {offset} of {'grid' if modality == 'video' else 'run'} {run}"
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
    """How sinks move over layers: of each two layers, the tokens that are sinks at both, of those that are at either.

    rows: of `by_layer`. Columns: sample, modality, layer, other (a layer), sinks (at `layer`), share (of the modality's
    tokens), overlap (Jaccard; NaN where neither layer has any).
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
                    "one_in": (count / own["n_modality"].iloc[0]).repeat_interleave(n).tolist(),
                    "overlap": (both / either).flatten().tolist(),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def _kind(halves: Split, position: int) -> str:
    for name, own in (("unimodal", halves.unimodal), ("cross-modal", halves.crossmodal), ("neither", halves.neither)):
        if position in own:
            return name
    return ""
