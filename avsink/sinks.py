"""Sink tokens: which they are, how they drift, and to whom they belong (Hubs sections 3.3 and 4).

1. φ(x) = max over the sink dimensions D of |x_d| / rms(x), at the entry of each layer; where φ > τ, a token is a
   *sink* (`SinkObserver`);
2. sinks drift from layer to layer. *Global sinks* are those of the ⌊|T| / N⌋ tokens that are sinks in most layers, of
   all |T| tokens of the prompt, that belong to one modality (`global_sinks`);
3. the Modality Dominance Score of a token says who reads it: MDS = (Ā_video - Ā_audio) / (Ā_video + Ā_audio), with the
   mean attention that it receives from later video and later audio tokens; its mean over layers counts;
4. of one modality's global sinks, the half that leans to its own modality is *unimodal*, the other half *cross-modal*
   (`split`). With an odd number the one in the middle is neither: the paper's counts say so (603 = 301 + 301 + 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from avsink.observe import ColumnMeans, Norms, Observer

__all__ = ["Sinks", "SinkObserver", "Split", "global_sinks", "modality_dominance", "split"]


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


class SinkObserver(Observer):
    """Measures `Sinks` in a run that goes by: `clean_run(model, inputs, observers=[SinkObserver(card, layout)])`."""

    def __init__(self, card, layout):
        if card.sink_dims is None or card.sink_tau is None:
            raise ValueError(
                f"the card of {card.name} has no sink dimensions or no threshold; find them with avsink.calibration "
                "and put them on the card"
            )
        self.tau = card.sink_tau
        self.norms, self.means = Norms(card.sink_dims), ColumnMeans(video=layout.video, audio=layout.audio)

    def begin(self):
        self.norms.begin()
        self.means.begin()

    def enter(self, layer, states, arguments):
        self.norms.enter(layer, states, arguments)

    def read(self, layer, query, key, value, *, scaling):
        self.means.read(layer, query, key, value, scaling=scaling)

    def result(self) -> Sinks:
        phi, means = self.norms.result()["phi"], self.means.result()
        return Sinks(phi=phi, flags=phi > self.tau, mds=modality_dominance(means["video"], means["audio"]))


def modality_dominance(video: Tensor, audio: Tensor) -> Tensor:
    """MDS from mean attention received, same shapes: 1, read by video only; -1, by audio only; NaN if by nobody."""
    return (video - audio) / (video + audio)


def global_sinks(sinks: Sinks, *, share: int, among: Tensor | None = None) -> Tensor:
    """The ⌊|T| / share⌋ tokens that are sinks in most layers, and of these the ones in `among`; sorted positions.

    Ties go to the higher mean φ, then to the lower position. A token that is never a sink is never taken, so there may
    be fewer.
    """
    if share < 1:
        raise ValueError(f"share: {share}; the paper takes one token in 2, 3 or 4")
    count, phi = sinks.flags.sum(dim=0).tolist(), sinks.phi.mean(dim=0).tolist()
    ranked = sorted((p for p in range(len(count)) if count[p]), key=lambda p: (-count[p], -phi[p], p))
    taken = torch.tensor(sorted(ranked[: len(count) // share]), dtype=torch.long)
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
