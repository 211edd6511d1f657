"""The sink dimensions D and the threshold τ of a model that nobody has calibrated (Hubs, table 1; Sun et al. 2024).

Massive activations are a few dimensions that hold a large share of the energy of a few tokens, and are the same in all
prompts. No step depends on a model's width or scale:

1. at the entry of each layer, dimension d of a token x holds the share x_d² / Σ x² of the token's energy;
2. d is *massive* at a token if this share is at least `SHARE`, and |x_d| at least `LARGE` times the median L2 norm of
   the layer's tokens. A dimension that is massive at more than `COMMON` of the layer's tokens is a bias, and does not
   count;
3. the token must also attract attention: at this layer it receives at least `DRAWN` times the attention that it would
   receive if all later tokens divided theirs evenly;
4. D are the dimensions for which 2 and 3 hold in at least half of the samples, at any token and layer. There may be
   none;
5. φ(x) = max over D of |x_d| / rms(x) is collected from all tokens of some layers: those at which 2 and 3 hold for D at
   media tokens of at least half of the samples. If there is no such layer, tokens of any kind count. Earlier layers are
   left out: sinks are still growing there, and φ takes all values;
6. τ lies where φ has the clearest gap between small and large values. Of every interval from a to `GAP` · a, the *leak*
   is the fraction of the tokens with φ above a that lie inside it. `GAP` · a must be at least half the φ of a dimension
   that holds `SHARE` of the energy. The interval with the smallest leak is chosen; among equals, the one between the
   two neighbouring values of φ with the largest ratio. τ is the geometric mean of the interval's ends, or of these two
   values if the leak is 0. If the smallest leak exceeds `LEAK`, small and large φ are not separate, and there is no τ;
7. for that case `Calibration.fallback` offers the τ at which a dimension holds the same share of a token's energy as at
   the τ of Qwen2.5-Omni-7B.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from avsink.engine.observers import ColumnMeans, Norms, Observer, observe
from avsink.sample import SampleError

__all__ = ["Calibration", "Massive", "calibrate", "drawing", "marks"]

SHARE = 0.1  # of a token's energy; Qwen2.5-Omni-7B's τ = 25 at width 3,584 is 0.17
LARGE = 2.0  # times the median L2 norm of the layer's tokens; massive dimensions of published models: tens to hundreds
COMMON = 0.25  # of a layer's tokens
DRAWN = 3.0  # times the attention of an even division
GAP = 1.3  # ratio of the ends of the interval around τ
LEAK = 0.02  # of the tokens above the interval's lower end
TAKEN_OVER = 25**2 / 3584  # of a token's energy: τ² / width of Qwen2.5-Omni-7B, from the code of Hubs' authors
TOP = 8  # largest dimensions of each token that are looked at
BORROWED = f"Qwen2.5-Omni-7B's share of a token's energy, {TAKEN_OVER:.0%}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """The sink dimensions and the threshold of a model, and the numbers that they follow from.

    Attributes:
        dims: D, the most frequent dimension first; () if there are none.
        tau: τ; None if there is none.
        leak: The leak of the interval around τ (step 6); None without τ.
        fallback: What may be used as τ if none was found (step 7).
        seen: One row per dimension that was massive in any sample, with the columns dimension and samples (fraction of
            the samples).
        layers: The layers of step 5.
        phi: One row per token at these layers, with the columns sample, layer, position, phi; empty without D.
        energy: One row per token, with the columns sample, position and share (the largest fraction of the token's
            energy that one dimension holds at any layer).
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
        """Whether both D and τ were found."""
        return bool(self.dims) and self.tau is not None

    @property
    def facts(self) -> str:
        """D and τ as JSON, for the ``card.json`` of a model's folder."""
        return json.dumps({"sink_dims": list(self.dims), "sink_tau": self.tau and round(self.tau, 3)})

    def __str__(self) -> str:
        """D and τ as lines of a model card."""
        if not self.dims:
            return "No sinks found: no dimension is massive in at least half of the samples."
        tau = f"{self.tau:.3g}," if self.found else f"{self.fallback:.3g},  # not found, φ has no gap: {BORROWED}"
        return f"sink_dims={self.dims},\nsink_tau={tau}"


class Massive(Observer):
    """Dimensions that are massive (step 2, without `COMMON`), layer by layer."""

    def __init__(self):
        self.found: dict[int, tuple[Tensor, Tensor]] = {}

    def begin(self):
        """Forget earlier runs."""
        self.found.clear()
        self.largest = torch.zeros(())

    def enter(self, layer, states, arguments):
        """Look at the layer's input."""
        energy = states.float() ** 2
        whole = energy.sum(dim=-1, keepdim=True).clamp_min(1e-30)  # (N, 1)
        top = energy.topk(min(TOP, energy.shape[-1]), dim=-1)  # (N, TOP)
        self.largest = torch.maximum(self.largest, (top.values[:, 0] / whole[:, 0]).cpu())
        massive = (top.values >= SHARE * whole) & (top.values >= LARGE**2 * whole.median())
        self.found[layer] = massive.cpu(), top.indices.cpu()

    def result(self) -> tuple[dict[int, tuple[Tensor, Tensor]], Tensor]:
        """Return the massive dimensions, and the largest share of each token's energy.

        Returns:
            Layer -> (whether each of a token's `TOP` largest dimensions is massive, which dimensions these are), each
            (N, TOP); and the largest share of the energy that one dimension holds at any layer, (N,).
        """
        return dict(self.found), self.largest


def calibrate(model, samples: Sequence) -> Calibration:
    """Find D and τ on a few dozen samples. Samples that cannot be used are left out.

    Raises:
        ValueError: No sample can be used.
    """
    found: list[pd.DataFrame] = []
    energies: list[pd.DataFrame] = []
    prepared = []
    for sample in tqdm(samples, desc="calibration", unit="sample"):
        try:
            inputs = model.prepare(sample)
        except SampleError:
            continue
        own, largest = _marks(model, inputs)
        found.append(own.assign(sample=inputs.sample_id))
        energy = {"sample": inputs.sample_id, "position": range(len(largest)), "share": largest.tolist()}
        energies.append(pd.DataFrame(energy))
        prepared.append(inputs)
    if not prepared:
        raise ValueError("no sample could be used, so there is nothing to calibrate on; give other samples")
    table, energy = pd.concat(found, ignore_index=True), pd.concat(energies, ignore_index=True)
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
    """Find the layers with marks in at least half of n samples."""
    share = marks.groupby("layer")["sample"].nunique() / n
    return tuple(int(layer) for layer in share.index[share >= 0.5])


def drawing(means: Tensor) -> Tensor:
    """Find the tokens that attract attention (step 3).

    Args:
        means: The mean attention that each token receives from all later tokens, (layers, N); NaN for the last one.

    Returns:
        Whether a token attracts attention, bool (layers, N).
    """
    n = means.shape[1]
    even = 1 / torch.arange(1, n + 1)  # (N,), what each query gives to each of its keys
    even = (even.sum() - even.cumsum(0)) / (n - torch.arange(1, n + 1)).clamp_min(1)  # (N,), mean over later queries
    return means >= DRAWN * even


def marks(massive: Mapping[int, tuple[Tensor, Tensor]], drawn: Tensor) -> pd.DataFrame:
    """List the dimensions that are massive at tokens that attract attention (steps 2 and 3).

    Args:
        massive: Layer -> massive dimensions, the first result of `Massive`.
        drawn: What `drawing` returns.

    Returns:
        One row per (layer, dimension, token), with the columns layer, position, dimension.
    """
    rows = []
    for layer, (large, dims) in massive.items():
        for dim in dims[large & drawn[layer][:, None]].unique().tolist():
            at = ((dims == dim) & large).any(dim=-1)  # (N,), whether it attracts attention or not
            if at.float().mean() <= COMMON:
                rows += [(layer, position, dim) for position in (at & drawn[layer]).nonzero()[:, 0].tolist()]
    return pd.DataFrame(rows, columns=["layer", "position", "dimension"]).astype(int)


def _marks(model, inputs) -> tuple[pd.DataFrame, Tensor]:
    """Do steps 1 to 3 for one prompt.

    Returns:
        The marks, with the columns layer, position, dimension, media (whether it is a media token); and the largest
        share of each token's energy that one dimension holds at any layer, (N,).
    """
    media = [*inputs.layout.video.tolist(), *inputs.layout.audio.tolist()]
    (massive, largest), means = observe(model, inputs, [Massive(), ColumnMeans(all=torch.arange(inputs.layout.n))])
    table = marks(massive, drawing(means["all"]))
    return table.assign(media=table["position"].isin(media)), largest


def _phi(model, inputs, dims: Sequence[int]) -> pd.DataFrame:
    """Measure φ over these dimensions, one row per (layer, token): layer, position, phi."""
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
    """Find τ and its leak (step 6). A dimension that holds `SHARE` of a token's energy has φ = sqrt(SHARE x width)."""
    least = (SHARE * width) ** 0.5 / 2
    values = np.sort(np.asarray(phi, dtype=float))
    low, high = np.maximum(values[:-1], 1e-9), values[1:]  # neighbours
    start = np.maximum(low, least / GAP)  # lower end of the interval, between the two
    above = np.arange(len(values) - 1, 0, -1)  # tokens from `high` on
    beyond = len(values) - np.searchsorted(values, start * GAP, side="left")  # tokens from the interval's upper end on
    share = 1 - beyond / above
    fits = (high > start) & (beyond > 0) & (share <= LEAK)
    if not fits.any():
        return None, None
    best = min(np.flatnonzero(fits), key=lambda at: (share[at], -high[at] / low[at]))
    lower, end = (low[best], high[best]) if share[best] == 0 else (start[best], start[best] * GAP)
    return float((lower * end) ** 0.5), float(share[best])
