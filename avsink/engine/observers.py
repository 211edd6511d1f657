"""Observers: statistics of a run, computed layer by layer while the model runs.

    shares, means = observe(model, inputs, [LastRow(groups), ColumnMeans(video=layout.video, audio=layout.audio)])

1. `LastRow`: how the last token's attention is divided among groups of tokens (Flow figure 1);
2. `ColumnMeans`: the mean attention that each token receives from the later queries of a group, from which the Modality
   Dominance Score is computed (Hubs);
3. `Norms`: the L2 norm of every token at the input of each layer, and φ, by which sinks are recognised (Flow figures 2
   and 7; Hubs, table 1);
4. `Maps`: whole attention maps of a few layers, coarse enough to be drawn (Flow figure 1);
5. `Readers`: which tokens attend to a few given ones.

Attention weights are computed for a few queries at a time, in a few megabytes that are freed before the next ones. An
observed run needs hardly more memory than a plain one, while `output_attentions=True` keeps layers x heads x N x N.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from avsink.engine.interventions import as_positions
from avsink.engine.listeners import Listener
from avsink.engine.record import decoder_inputs, run_decoder
from avsink.sample import SampleError

__all__ = ["ColumnMeans", "LastRow", "Maps", "Norms", "NotFinite", "Observer", "Readers", "observe", "of_sample"]

WEIGHTS = 2**22  # bytes of attention weights at a time
SMALLEST, LARGEST = 1e-12, 1e18  # norms between which float32 holds the squares


class Observer(Listener):
    """A listener with a result. It may observe several runs, one after another; the result is that of the latest."""

    def result(self):
        """Return what has been observed, in a form that each kind of observer defines."""
        raise NotImplementedError


def observe(model, inputs, observers: Sequence[Observer]) -> list:
    """Run the prompt once, without interventions, and return each observer's result. Nothing else is kept.

    To observe the same pass that replays start from, use `clean_run(model, inputs, observers=…)`.

    Args:
        model: What `avsink.load` returns.
        inputs: What `model.prepare` returns.
        observers: What to measure.

    Returns:
        The result of each observer, in the same order.

    Raises:
        ValueError: The inputs are padded or are not one prompt, or an observer does not fit the prompt or the model.
        SampleError: A state that an observer needs is not finite.
    """
    with of_sample(inputs):
        run_decoder(model, decoder_inputs(model, inputs.to(model.device)), observers)
    return [observer.result() for observer in observers]


class NotFinite(ValueError):
    """States that are not numbers, on which no statistic can be taken."""


@contextmanager
def of_sample(inputs) -> Iterator[None]:
    """Turn a `NotFinite` into a `SampleError`, so that the sample is left out and a measurement goes on."""
    try:
        yield
    except NotFinite as error:
        raise SampleError(inputs.sample_id, str(error)) from None


class LastRow(Observer):
    """The share of the last token's attention that goes to each group of tokens.

    Args:
        groups: Name -> positions.

    Attributes:
        rows: The last token's attention weights in each layer, mean over heads, float32 (N,).
    """

    def __init__(self, groups: Mapping[str, Tensor]):
        self.groups = _checked("LastRow", groups)

    def begin(self):
        """Forget earlier runs."""
        self.rows: list[Tensor] = []

    def attend(self, layer, query, key, value, *, scaling):
        """Keep the last row of the attention."""
        _require_inside("LastRow", self.groups, query.shape[1])
        weights = _weights(query, key, torch.tensor([query.shape[1] - 1]), scaling=scaling)  # (heads, 1, N)
        self.rows.append(weights.mean(dim=0)[0].cpu())

    def result(self) -> dict[str, Tensor]:
        """Return name -> share, mean over heads, float32 (layers,). Groups that cover the prompt once sum to 1."""
        rows = torch.stack(self.rows)  # (layers, N)
        return {name: rows[:, positions].sum(dim=1) for name, positions in self.groups.items()}


class ColumnMeans(Observer):
    """The mean attention that each token receives from the later queries of each group: Hubs' Ā.

    Args:
        **groups: Name -> positions of the queries.
    """

    def __init__(self, **groups: Tensor):
        self.groups = _checked("ColumnMeans", groups)

    def begin(self):
        """Forget earlier runs."""
        self.means: dict[str, list[Tensor]] = {name: [] for name in self.groups}

    def attend(self, layer, query, key, value, *, scaling):
        """Sum the attention over heads and queries, and divide by their number."""
        heads, n, _ = query.shape
        _require_inside("ColumnMeans", self.groups, n)
        for name, positions in self.groups.items():
            total = torch.zeros(n, device=query.device)
            for rows in _blocks(positions, bytes_each=4 * heads * n):
                weights = _weights(query, key, rows, scaling=scaling).sum(dim=0)  # (rows, N)
                weights[torch.arange(len(rows)), rows] = 0.0  # a query is not later than itself
                total += weights.sum(dim=0)
            later = len(positions) - torch.searchsorted(positions, torch.arange(n), right=True)  # queries, (N,)
            self.means[name].append(total.cpu() / (heads * later))  # 0 / 0 is NaN

    def result(self) -> dict[str, Tensor]:
        """Return name -> mean over heads and later queries, float32 (layers, N); NaN where the group has none later."""
        return {name: torch.stack(means) for name, means in self.means.items()}


class Norms(Observer):
    """The L2 norm of every token at the input of each layer, and φ = max over d in D of |x_d| / rms(x).

    Both are computed in float32. Rows whose squares float32 would lose (norms below 1e-12 or above 1e18) are first
    divided by their largest value, so that φ is right for them, too; an L2 norm that float32 cannot hold is infinite.
    φ of a row of zeros is 0. A row with a value that is not finite is an error.

    Args:
        dims: The sink dimensions D of the model card; φ is computed if there are any.
    """

    def __init__(self, dims: Sequence[int] = ()):
        self.dims = list(dims)

    def begin(self):
        """Forget earlier runs."""
        self.found: dict[str, list[Tensor]] = {"l2": [], "phi": []} if self.dims else {"l2": []}

    def enter(self, layer, states, arguments):
        """Measure the layer's input."""
        if wrong := [dim for dim in self.dims if not 0 <= dim < states.shape[-1]]:
            raise ValueError(f"Norms: there is no dimension {wrong[0]}; this model's are 0 to {states.shape[-1] - 1}")
        kind = torch.promote_types(states.dtype, torch.float32)
        norm = torch.linalg.vector_norm(states, dim=-1, dtype=kind).float()  # (N,)
        found = {"l2": norm}
        if self.dims:
            largest = states[:, self.dims].float().abs().amax(dim=-1)
            found["phi"] = largest / (norm / states.shape[-1] ** 0.5)
        found = {name: values.cpu() for name, values in found.items()}
        lost = (~((found["l2"] > SMALLEST) & (found["l2"] < LARGEST))).nonzero()[:, 0]
        if len(lost):
            self._compute_again(found, lost, states[lost.to(states.device)].cpu().double(), layer=layer)
        for name, values in found.items():
            self.found[name].append(values)

    def _compute_again(self, found: dict[str, Tensor], lost: Tensor, rows: Tensor, *, layer: int) -> None:
        """Put the numbers of the rows `lost`, whose states are `rows`, into `found`."""
        finite = rows.isfinite().all(dim=-1)
        if not bool(finite.all()):
            raise NotFinite(
                f"Norms: the state of token {int(lost[~finite][0])} at the input of layer {layer} is not finite; load "
                "the model in bfloat16 or float32"
            )
        scale = rows.abs().amax(dim=-1)
        rows = rows / scale.masked_fill(scale == 0, 1.0)[:, None]  # φ is the same at any size
        norm = torch.linalg.vector_norm(rows, dim=-1)
        found["l2"][lost] = (norm * scale).float()
        if self.dims:
            phi = rows[:, self.dims].abs().amax(dim=-1) / (norm / rows.shape[-1] ** 0.5)
            found["phi"][lost] = phi.nan_to_num(nan=0.0).float()  # 0 / 0 in a row of zeros

    def result(self) -> dict[str, Tensor]:
        """Return `l2` and, if there are `dims`, `phi`: each float32 (layers, N)."""
        return {name: torch.stack(rows) for name, rows in self.found.items()}


class Maps(Observer):
    """Attention maps of a few layers, reduced to the largest weight in each square of neighbouring tokens.

    The largest weight and not the mean, because a sink is a single column and would vanish in a mean.

    Args:
        layers: The layers whose maps are kept.
        bins: The largest number of squares along a side.

    Attributes:
        size: Width and height of a square, in tokens.
        weights: Layer -> mean over heads, then maximum over each square, float32 (squares, squares).
    """

    def __init__(self, layers: Sequence[int], *, bins: int = 120):
        if bins < 1:
            raise ValueError(f"Maps, bins: {bins}; a map needs at least one square along a side")
        self.layers, self.bins = set(layers), bins

    def begin(self):
        """Forget earlier runs."""
        self.weights: dict[int, Tensor] = {}
        self.size = 1

    def attend(self, layer, query, key, value, *, scaling):
        """Reduce the layer's attention map, if it is wanted."""
        if layer not in self.layers:
            return
        heads, n, _ = query.shape
        self.size = -(-n // self.bins)
        squares = -(-n // self.size)  # along a side
        found = torch.zeros(squares, squares)
        for rows in _blocks(torch.arange(n), bytes_each=4 * heads * n):
            weights = _weights(query, key, rows, scaling=scaling).mean(dim=0).cpu()  # (rows, N)
            padded = torch.nn.functional.pad(weights, (0, squares * self.size - n)).view(len(rows), squares, -1)
            at = (rows // self.size)[:, None].expand(-1, squares)
            found.scatter_reduce_(0, at, padded.amax(dim=-1), reduce="amax")
        self.weights[layer] = found

    def result(self) -> Maps:
        """Return this observer, whose `size` and `weights` hold the maps.

        Raises:
            ValueError: The model lacks one of the layers.
        """
        if missing := sorted(self.layers - set(self.weights)):
            raise ValueError(f"Maps, layers: there is no layer {missing[0]} in this model")
        return self


class Readers(Observer):
    """Which tokens attend to each of a few given ones, and how much.

    Args:
        keys: Positions of the given tokens.
    """

    def __init__(self, keys: Tensor):
        self.keys = as_positions(keys, field="Readers, keys")

    def begin(self):
        """Forget earlier runs."""
        self.found: list[Tensor] = []

    def attend(self, layer, query, key, value, *, scaling):
        """Keep the columns of the given tokens."""
        heads, n, _ = query.shape
        _require_inside("Readers", {"keys": self.keys}, n)
        blocks = _blocks(torch.arange(n), bytes_each=4 * heads * n)
        rows = [_weights(query, key, rows, scaling=scaling)[:, :, self.keys].mean(dim=0).cpu() for rows in blocks]
        self.found.append(torch.cat(rows))

    def result(self) -> Tensor:
        """Return the attention weights, mean over heads, float32 (layers, N, keys)."""
        return torch.stack(self.found)


def _checked(observer: str, groups: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: as_positions(positions, field=f"{observer}, {name}") for name, positions in groups.items()}


def _require_inside(observer: str, groups: Mapping[str, Tensor], n: int) -> None:
    for name, positions in groups.items():
        if len(positions) and int(positions[-1]) >= n:
            raise ValueError(f"{observer}, {name}: position {int(positions[-1])} is outside the prompt of {n} tokens")


def _weights(query: Tensor, key: Tensor, rows: Tensor, *, scaling: float) -> Tensor:
    """Compute the attention weights of the queries at `rows`, float32 (heads, rows, N)."""
    heads, n, width = query.shape
    grouped = query[:, rows].float().view(key.shape[0], -1, len(rows), width)  # (key heads, heads a key head, rows, D)
    scores = (grouped @ key.float()[:, None].transpose(-1, -2)).view(heads, len(rows), n).mul_(scaling)
    later = torch.arange(n, device=query.device) > rows.to(query.device)[:, None]
    return scores.masked_fill_(later, float("-inf")).softmax(dim=-1)


def _blocks(positions: Tensor, *, bytes_each: int) -> Iterator[Tensor]:
    """Split positions of queries, each of which needs `bytes_each` bytes of weights, into blocks of `WEIGHTS` bytes."""
    yield from positions.split(max(1, WEIGHTS // bytes_each)) if len(positions) else ()
