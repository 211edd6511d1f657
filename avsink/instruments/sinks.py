"""Sink tokens: which tokens are sinks, how they drift over layers, and who reads them (Hubs sections 3.3 and 4).

1. A token is a *sink* at a layer if φ(x) = max over the sink dimensions D of |x_d| / rms(x) exceeds τ at the layer's
   entry (`SinkObserver`);
2. sinks change from layer to layer. Of all |T| tokens of the prompt, take the ⌊|T| / N⌋ that are sinks at the most
   layers. Those of them that belong to a modality are its *global sinks* (`global_sinks`);
3. the Modality Dominance Score of a token says who reads it: MDS = (Ā_video - Ā_audio) / (Ā_video + Ā_audio), where
   Ā is the mean attention that the token receives from later video or audio tokens. Its score is the mean over layers;
4. of a modality's global sinks, the half that its own modality reads most is *unimodal*, the other half *cross-modal*
   (`split`). If their number is odd, the middle one is neither. The paper's rounded counts (603 and 301) allow that;
   its authors' code counts the middle one as cross-modal.
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

ONE_IN = (2, 3, 4)  # the paper's values of N


@dataclass(frozen=True, kw_only=True, eq=False)
class Sinks:
    """The sinks of one prompt of N tokens.

    Attributes:
        phi: φ at the entry of each layer, (layers, N).
        flags: Whether φ > τ, bool (layers, N).
        mds: Modality Dominance Score, (layers, N). NaN for a token after which no video or no audio comes, since one of
            the two means does not exist.
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
    """The halves of one modality's global sinks, as positions.

    Attributes:
        unimodal: The half that its own modality reads most.
        crossmodal: The half that the other modality reads most.
        neither: The middle one of an odd number, and sinks without an MDS.
    """

    unimodal: Tensor
    crossmodal: Tensor
    neither: Tensor


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
        return Sinks(phi=phi, flags=phi > self.tau, mds=modality_dominance(means["video"], means["audio"]))


def modality_dominance(video: Tensor, audio: Tensor) -> Tensor:
    """MDS from the mean attention received from later video and later audio tokens, elementwise.

    It is 1 for a token that only video reads, -1 for one that only audio reads. It is NaN if nobody reads the token, or
    if a mean is NaN.
    """
    return (video - audio) / (video + audio)


def global_sinks(sinks: Sinks, *, one_in: int, among: Tensor | None = None) -> Tensor:
    """Find the global sinks (step 2).

    Ties go to the token with the higher mean φ, then to the lower position. A token that is a sink at no layer is never
    taken, so there may be fewer than ⌊|T| / one_in⌋.

    Args:
        sinks: The sinks of one prompt.
        one_in: The paper's N: one token in so many is taken.
        among: Positions to choose from, such as those of one modality; the others are dropped after the ranking.

    Returns:
        Sorted positions.

    Raises:
        ValueError: `one_in` is less than 1.
    """
    if one_in < 1:
        raise ValueError(f"one_in: {one_in}; give a number from 1 on, such as the paper's 2, 3 or 4")
    count, phi = sinks.flags.sum(dim=0).tolist(), sinks.phi.mean(dim=0).tolist()
    ranked = sorted((p for p in range(len(count)) if count[p]), key=lambda p: (-count[p], -phi[p], p))
    taken = torch.tensor(sorted(ranked[: len(count) // one_in]), dtype=torch.long)
    return taken if among is None else taken[torch.isin(taken, among)]


def split(positions: Tensor, sinks: Sinks, *, modality: str) -> Split:
    """Split the global sinks of one modality into halves (step 4). Ties go by position.

    Args:
        positions: The global sinks of the modality, sorted.
        sinks: The sinks of the prompt.
        modality: Their modality, `video` or `audio`.

    Raises:
        ValueError: The modality is neither `video` nor `audio`.
    """
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
    """Find the sinks of one prompt, in a run without interventions."""
    (found,) = observe(model, inputs, [SinkObserver(model.card, inputs.layout)])
    return found


def by_layer(model, sample, *, one_in: Sequence[int] = ONE_IN) -> pd.DataFrame:
    """Measure every media token of a sample that is a sink at any layer, layer by layer.

    Args:
        model: A loaded model whose card has sink dimensions and a threshold.
        sample: The sample.
        one_in: The values of N.

    Returns:
        One row per (token, layer), with the columns sample, task, category, modality, position, part (index of its
        temporal grid or audio chunk), offset (in that part), n_modality (tokens of the modality), layer, phi, sink
        (bool, at this layer), mds, score (mean MDS over layers), and for each N of `one_in` the column `global_N`:
        "unimodal", "cross-modal", "neither", or "" for a token that is not a global sink.

    Raises:
        Unmeasured: No media token is a sink at any layer.
        SampleError: The sample cannot be used.
        ValueError: The model's sinks are not calibrated.
    """
    inputs = model.prepare(sample)
    layout, found = inputs.layout, of_prompt(model, inputs)
    tables = []
    for modality, parts in (("video", layout.frames), ("audio", layout.audio_chunks)):
        among = getattr(layout, modality)
        ever = among[found.flags[:, among].any(dim=0)].tolist()
        place = {int(position): (part, offset) for part, own in enumerate(parts) for offset, position in enumerate(own)}
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
