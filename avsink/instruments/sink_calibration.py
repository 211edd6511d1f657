"""The sink dimensions D and the threshold τ of a model that nobody has calibrated (Hubs section 3.3; Sun et al. 2024).

Massive activations are few features that hold a large part of a token's whole energy, at few tokens, the same features
everywhere. Nothing here depends on the width or the scale of a model:

1. of each sample and layer, every feature's share of its token's energy, x_d² / Σ x², is taken at the entry;
2. a feature is *massive* at a token if it holds at least `SHARE` of the energy there, and is by itself `LARGE` times as
   large as the layer's median token; and if that is so at no more than `COMMON` of the layer's tokens, for a feature
   that is large everywhere is a bias, and marks nobody;
3. it must also be where attention goes: at that layer the token receives at least `DRAWN` times what it would receive
   if all later tokens shared out their attention evenly;
4. D are the features that are massive in at least half of the samples; none, if there is no such feature;
5. φ = max over D of |x_d| / rms(x) of all tokens and samples is sorted, at the layers at which D are massive in at
   least half of the samples, at some media token if there are such layers: before them sinks are still growing, and φ
   passes through all sizes. τ lies in the emptiest stretch from some φ to `GAP` times that, from half the size on that
   makes a feature massive: the stretch with the smallest share of the tokens from its lower end on, of equals the one
   in the widest gap. If that share is above `LEAK`, large and small φ pass into one another, and no τ is found. The τ
   of Qwen2.5-Omni-7B, as a share of a token's energy, may then be taken over (`Calibration.fallback`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from avsink.engine.observers import ColumnMeans, Norms, Observer, observe
from avsink.sample import SampleError

__all__ = ["Calibration", "calibrate"]

SHARE = 0.1  # of a token's energy; Qwen2.5-Omni-7B's τ = 25 at width 3,584 is 0.17
LARGE = 2.0  # times the median L2 norm of the layer's tokens; in published models it is tens to hundreds
COMMON = 0.25  # of a layer's tokens
DRAWN = 3.0  # times the attention of an even share
GAP = 1.3  # ratio of the two ends of a stretch of φ that is nearly empty
LEAK = 0.02  # of the tokens from its lower end on, at most
TAKEN_OVER = 25**2 / 3584  # of a token's energy: τ² / width of Qwen2.5-Omni-7B, from the code of Hubs' authors
TOP = 8  # features of each token that are looked at; more cannot hold SHARE of the energy
BORROWED = f"Qwen2.5-Omni-7B's share of a token's energy, {TAKEN_OVER:.0%}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """What was found. dims: D, the most frequent first; () for none. tau: τ, or None.

    leak: the share of tokens in the stretch around τ, of those from its lower end on; 0 in a gap.
    fallback: what may be taken for τ where none was found.
    seen: feature -> share of samples in which it is massive (all features that ever were). layers: those of step 5.
    phi: φ of tokens over D at these layers, with columns sample, layer, position, phi; empty without D.
    energy: of each token, at the layer where that is most, the share of its energy that its largest feature holds;
    columns sample, position, share.
    """

    dims: tuple[int, ...]
    tau: float | None
    leak: float | None
    fallback: float
    seen: pd.DataFrame
    layers: tuple[int, ...]
    phi: pd.DataFrame
    energy: pd.DataFrame

    @property
    def found(self) -> bool:
        """Whether both D and τ were."""
        return bool(self.dims) and self.tau is not None

    @property
    def facts(self) -> str:
        """The same for the ``card.json`` of a folder."""
        return json.dumps({"sink_dims": list(self.dims), "sink_tau": self.tau and round(self.tau, 3)})

    def __str__(self) -> str:
        """The lines for the model card."""
        if not self.dims:
            return "No sinks found: no feature is massive."
        tau = f"{self.tau:.3g}," if self.found else f"{self.fallback:.3g},  # not found, φ has no gap: {BORROWED}"
        return f"sink_dims={self.dims},\nsink_tau={tau}"


class _Massive(Observer):
    """Features that hold much of a token's energy where attention goes, layer by layer."""

    def __init__(self):
        self.found: dict[int, tuple[Tensor, Tensor]] = {}

    def begin(self):
        self.found.clear()
        self.largest = torch.zeros(())

    def enter(self, layer, states, arguments):
        energy = states.float() ** 2
        whole = energy.sum(dim=-1, keepdim=True).clamp_min(1e-30)  # (N, 1)
        top = energy.topk(min(TOP, energy.shape[-1]), dim=-1)  # (N, TOP)
        self.largest = torch.maximum(self.largest, (top.values[:, 0] / whole[:, 0]).cpu())
        massive = (top.values >= SHARE * whole) & (top.values >= LARGE**2 * whole.median())
        self.found[layer] = massive.cpu(), top.indices.cpu()

    def result(self) -> tuple[dict[int, tuple[Tensor, Tensor]], Tensor]:
        """Layer -> what is massive and which features these are, (N, TOP) each; the largest share, (N,)."""
        return dict(self.found), self.largest


def calibrate(model, samples: Sequence) -> Calibration:
    """Steps 1 to 5 on these samples; a few dozen are enough. Samples that cannot be used are left out."""
    marks: list[pd.DataFrame] = []
    energies: list[pd.DataFrame] = []
    prepared = []
    for sample in tqdm(samples, desc="calibration", unit="sample"):
        try:
            inputs = model.prepare(sample)
        except SampleError:
            continue
        own, largest = _marks(model, inputs)
        marks.append(own.assign(sample=inputs.sample_id))
        energy = {"sample": inputs.sample_id, "position": range(len(largest)), "share": largest.tolist()}
        energies.append(pd.DataFrame(energy))
        prepared.append(inputs)
    if not prepared:
        raise ValueError("no sample could be used, so there is nothing to calibrate on")
    table, energy = pd.concat(marks, ignore_index=True), pd.concat(energies, ignore_index=True)
    seen = Counter()
    for _, own in table.groupby("sample"):
        seen.update(own["dimension"].unique().tolist())
    shares = pd.DataFrame(
        [(dim, count / len(prepared)) for dim, count in sorted(seen.items(), key=lambda item: (-item[1], item[0]))],
        columns=["dimension", "samples"],
    )
    dims = tuple(int(dim) for dim in shares.loc[shares["samples"] >= 0.5, "dimension"])
    own = table[table["dimension"].isin(dims)]
    layers = _layers(own[own["media"]], len(prepared)) or _layers(own, len(prepared))
    width = model.decoder.config.hidden_size
    known = {"dims": dims, "fallback": (TAKEN_OVER * width) ** 0.5, "seen": shares, "layers": layers, "energy": energy}
    if not layers:
        return Calibration(tau=None, leak=None, phi=pd.DataFrame(), **known)
    phi = pd.concat(
        [_phi(model, inputs, dims).assign(sample=inputs.sample_id) for inputs in prepared], ignore_index=True
    )
    phi = phi[phi["layer"].isin(layers)].reset_index(drop=True)
    tau, leak = _threshold(phi["phi"].to_numpy(), width=width)
    return Calibration(tau=tau, leak=leak, phi=phi, **known)


def _layers(marks: pd.DataFrame, n: int) -> tuple[int, ...]:
    """Those with marks in at least half of n samples."""
    share = marks.groupby("layer")["sample"].nunique() / n
    return tuple(int(layer) for layer in share.index[share >= 0.5])


def _marks(model, inputs) -> tuple[pd.DataFrame, Tensor]:
    """Steps 1 to 3 for one prompt: layer, position, dimension, media (bool); the largest shares of energy, (N,)."""
    n, media = inputs.layout.n, {*inputs.layout.video.tolist(), *inputs.layout.audio.tolist()}
    (top, largest), means = observe(model, inputs, [_Massive(), ColumnMeans(all=torch.arange(n))])
    rows = []
    even = 1 / torch.arange(1, n + 1)  # of each query
    even = (even.sum() - even.cumsum(0)) / (n - torch.arange(1, n + 1)).clamp_min(1)  # (N,), mean over later queries
    for layer, (massive, dims) in top.items():
        drawn = means["all"][layer] >= DRAWN * even  # (N,); the last token, which nobody reads, has NaN: no
        for dim in dims[massive & drawn[:, None]].unique().tolist():
            at = ((dims == dim) & massive).any(dim=-1)  # (N,), read or not
            if at.float().mean() <= COMMON:
                drawing = (at & drawn).nonzero()[:, 0].tolist()
                rows += [(layer, position, dim, position in media) for position in drawing]
    table = pd.DataFrame(rows, columns=["layer", "position", "dimension", "media"])
    return table.astype({"media": bool}), largest


def _phi(model, inputs, dims: Sequence[int]) -> pd.DataFrame:
    (found,) = observe(model, inputs, [Norms(dims)])
    layers, n = found["phi"].shape
    return pd.DataFrame(
        {
            "layer": torch.arange(layers).repeat_interleave(n).tolist(),
            "position": torch.arange(n).repeat(layers).tolist(),
            "phi": found["phi"].flatten().tolist(),
        }
    )


def _threshold(phi, *, width: int) -> tuple[float | None, float | None]:
    """Step 5: τ and the leak. A feature that holds `SHARE` of a token's energy has φ = sqrt(SHARE x width)."""
    least = (SHARE * width) ** 0.5 / 2
    values = np.sort(np.asarray(phi, dtype=float))
    low, high = np.maximum(values[:-1], 1e-9), values[1:]  # neighbours; a stretch begins at or behind `low`
    start = np.maximum(low, least / GAP)
    behind = np.arange(len(values) - 1, 0, -1)  # tokens from `high` on
    beyond = len(values) - np.searchsorted(values, start * GAP, side="left")  # tokens behind the stretch
    share = 1 - beyond / behind
    fits = (high > start) & (beyond > 0) & (share <= LEAK)
    if not fits.any():
        return None, None
    best = min(np.flatnonzero(fits), key=lambda at: (share[at], -high[at] / low[at]))
    end = high[best] if share[best] == 0 else start[best] * GAP
    return float((low[best] * end) ** 0.5), float(share[best])
