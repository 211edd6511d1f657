"""Observers: statistics of a run, reduced layer by layer while it goes by.

    allocation, means = observe(model, inputs, [LastRow(groups), ColumnMeans(video=layout.video, audio=layout.audio)])

1. `LastRow`: how the last token shares out its attention among groups of tokens (Flow figure 1);
2. `ColumnMeans`: the mean attention that each token receives from the later queries of a group, from which the Modality
   Dominance Score is made (Hubs section 4.2);
3. `Norms`: the L2 norm of every token at the entry of each layer, and φ, which tells sinks (Flow figures 2 and 7; Hubs
   section 3.3);
4. `Maps`: whole attention maps of a few layers, made coarse, to be looked at (Flow figure 1);
5. `Readers`: who attends to a few tokens.

Attention weights are formed for some queries at a time, within a few megabytes, and are gone before the next: an
observed run needs hardly more memory than a plain one, where `output_attentions=True` keeps layers x heads x N x N.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from avsink.engine.interventions import as_positions
from avsink.engine.record import Listener, decoder_inputs, run_decoder

__all__ = ["ColumnMeans", "LastRow", "Maps", "Norms", "Observer", "Readers", "observe"]

SCORES = 2**22  # bytes of attention weights at a time


class Observer(Listener):
    """A listener with a result."""

    def result(self):
        raise NotImplementedError


def observe(model, inputs, observers: Sequence[Observer]) -> list:
    """Run the prompt as it is, keep nothing of it, and return each observer's result.

    To observe the same pass that replays start from, use `clean_run(model, inputs, observers=…)`.
    """
    run_decoder(model, decoder_inputs(model, inputs.to(model.device)), observers)
    return [observer.result() for observer in observers]


class LastRow(Observer):
    """The last token's attention by group. groups: name -> positions.

    result: name -> share of the attention, mean over heads, float32 (layers,). Shares of groups that cover the prompt
    once sum to 1. rows: the attention itself, mean over heads, one (N,) a layer.
    """

    def __init__(self, groups: Mapping[str, Tensor]):
        self.groups = _checked("LastRow", groups)

    def begin(self):
        self.rows: list[Tensor] = []

    def attend(self, layer, query, key, value, *, scaling):
        _require_inside("LastRow", self.groups, query.shape[1])
        weights = _weights(query, key, torch.tensor([query.shape[1] - 1]), scaling=scaling)  # (heads, 1, N)
        self.rows.append(weights.mean(dim=0)[0].cpu())

    def result(self) -> dict[str, Tensor]:
        rows = torch.stack(self.rows)  # (layers, N)
        return {name: rows[:, positions].sum(dim=1) for name, positions in self.groups.items()}


class ColumnMeans(Observer):
    """What each token receives from the later queries of each group. groups: name -> positions of the queries.

    result: name -> Ā, mean over heads and over those of the queries that stand behind the token, float32 (layers, N);
    NaN for a token that has none behind it.
    """

    def __init__(self, **groups: Tensor):
        self.groups = _checked("ColumnMeans", groups)

    def begin(self):
        self.means: dict[str, list[Tensor]] = {name: [] for name in self.groups}

    def attend(self, layer, query, key, value, *, scaling):
        heads, n, _ = query.shape
        _require_inside("ColumnMeans", self.groups, n)
        for name, positions in self.groups.items():
            total = torch.zeros(n, device=query.device)
            for rows in _blocks(positions, bytes_each=4 * heads * n):
                weights = _weights(query, key, rows, scaling=scaling).sum(dim=0)  # (rows, N)
                weights[torch.arange(len(rows)), rows] = 0.0  # a query is not behind itself
                total += weights.sum(dim=0)
            behind = len(positions) - torch.searchsorted(positions, torch.arange(n), right=True)
            self.means[name].append(total.cpu() / (heads * behind))  # 0 / 0 is NaN

    def result(self) -> dict[str, Tensor]:
        return {name: torch.stack(means) for name, means in self.means.items()}


class Norms(Observer):
    """How large tokens are at the entry of each layer. dims: the sink dimensions D of the model card, if φ is wanted.

    result: `l2` and, with dims, `phi`: max over D of |x_d| / rms(x). float32 (layers, N).
    """

    def __init__(self, dims: Sequence[int] = ()):
        self.dims = list(dims)

    def begin(self):
        self.found: dict[str, list[Tensor]] = {"l2": [], "phi": []} if self.dims else {"l2": []}

    def enter(self, layer, states, arguments):
        if wrong := [dim for dim in self.dims if not 0 <= dim < states.shape[-1]]:
            raise ValueError(f"Norms: there is no dimension {wrong[0]}; this model's are 0 to {states.shape[-1] - 1}")
        norm = torch.linalg.vector_norm(states, dim=-1, dtype=torch.float32)  # (N,)
        self.found["l2"].append(norm.cpu())
        if self.dims:
            largest = states[:, self.dims].float().abs().amax(dim=-1)
            self.found["phi"].append((largest / (norm / states.shape[-1] ** 0.5)).cpu())

    def result(self) -> dict[str, Tensor]:
        return {name: torch.stack(rows) for name, rows in self.found.items()}


class Maps(Observer):
    """Attention maps of `layers`, at most `bins` squares a side; each square keeps its strongest weight.

    The maximum, and not the mean, because a sink is one column. result: itself, with `size` (tokens a square's side)
    and `weights`: layer -> mean over heads, then maximum over the square, float32 (squares, squares).
    """

    def __init__(self, layers: Sequence[int], *, bins: int = 120):
        if bins < 1:
            raise ValueError(f"Maps, bins: {bins}; at least one square a side is needed")
        self.layers, self.bins = set(layers), bins

    def begin(self):
        self.weights: dict[int, Tensor] = {}
        self.size = 1

    def attend(self, layer, query, key, value, *, scaling):
        if layer not in self.layers:
            return
        heads, n, _ = query.shape
        self.size = -(-n // self.bins)
        squares = -(-n // self.size)
        found = torch.zeros(squares, squares)
        for rows in _blocks(torch.arange(n), bytes_each=4 * heads * n):
            weights = _weights(query, key, rows, scaling=scaling).mean(dim=0).cpu()  # (rows, N)
            padded = torch.nn.functional.pad(weights, (0, squares * self.size - n)).view(len(rows), squares, -1)
            at = (rows // self.size)[:, None].expand(-1, squares)
            found.scatter_reduce_(0, at, padded.amax(dim=-1), reduce="amax")
        self.weights[layer] = found

    def result(self) -> Maps:
        if missing := sorted(self.layers - set(self.weights)):
            raise ValueError(f"Maps: there is no layer {missing[0]}")
        return self


class Readers(Observer):
    """Who attends to each of the tokens `keys`. result: mean over heads, float32 (layers, N, keys)."""

    def __init__(self, keys: Tensor):
        self.keys = as_positions(keys, field="Readers, keys")

    def begin(self):
        self.found: list[Tensor] = []

    def attend(self, layer, query, key, value, *, scaling):
        heads, n, _ = query.shape
        _require_inside("Readers", {"keys": self.keys}, n)
        blocks = _blocks(torch.arange(n), bytes_each=4 * heads * n)
        rows = [_weights(query, key, rows, scaling=scaling)[:, :, self.keys].mean(dim=0).cpu() for rows in blocks]
        self.found.append(torch.cat(rows))

    def result(self) -> Tensor:
        return torch.stack(self.found)


def _checked(observer: str, groups: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: as_positions(positions, field=f"{observer}, {name}") for name, positions in groups.items()}


def _require_inside(observer: str, groups: Mapping[str, Tensor], n: int) -> None:
    for name, positions in groups.items():
        if len(positions) and int(positions[-1]) >= n:
            raise ValueError(f"{observer}, {name}: position {int(positions[-1])} is outside of the prompt's {n} tokens")


def _weights(query: Tensor, key: Tensor, rows: Tensor, *, scaling: float) -> Tensor:
    """Attention weights of these queries, float32 (heads, rows, N)."""
    heads, n, width = query.shape
    grouped = query[:, rows].float().view(key.shape[0], -1, len(rows), width)  # (key heads, heads a key head, rows, D)
    scores = (grouped @ key.float()[:, None].transpose(-1, -2)).view(heads, len(rows), n).mul_(scaling)
    later = torch.arange(n, device=query.device) > rows.to(query.device)[:, None]
    return scores.masked_fill_(later, float("-inf")).softmax(dim=-1)


def _blocks(positions: Tensor, *, bytes_each: int) -> Iterator[Tensor]:
    yield from positions.split(max(1, SCORES // bytes_each)) if len(positions) else ()
