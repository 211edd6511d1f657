"""The released histories (`released.histories`) as objects and rows that this project's measures of sinks take.

The files name tokens by their positions in the prompt, and do not say what lies there. It follows from their order:

1. after 16 tokens of text, the prompts of Qwen2.5-Omni hold chunks of two seconds: two temporal grids of video tokens,
   then 50 audio tokens. Only the size of a grid depends on the clip;
2. a history lists video tokens before audio tokens. `layout` takes the one size of a grid for which that is so, and
   refuses a history for which there is none, or several;
3. `clips`: each history as `Sinks`, with the released MDS. φ was not released, nor at which layers a token is a sink;
4. `tokens`: which media tokens are global sinks. `rows`: these, layer by layer, as those of
   `avsink.instruments.sinks.by_layer`, for `avsink.papers.hubs.sink_tables`;
5. `halves`: how the halves come out under each of `RULES`, and by the authors' own procedure: tokens in the order of
   the file, sorted by mean MDS; a half, rounded down; the rest;
6. `ties`: tokens that are sinks at the same number of layers, from the same layer on, are listed by position. The last
   such block was cut off somewhere, and another rule for ties would have taken other tokens of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from avsink.datasets.loaded import Problem
from avsink.instruments.sink_halves import Sinks, Split, modality_dominance, split
from avsink.papers.hubs.released_names import DOMINANCE

__all__ = [
    *("AUDIO", "CHUNK", "MODALITIES", "RULES", "Clip", "Layout", "by_their_code", "clips", "halves", "layout", "rows"),
    *("stability", "ties", "tokens"),
]

BEFORE = 16  # tokens before the first medium
GRIDS, AUDIO = 2, 50  # in a chunk: temporal grids, and audio tokens
CHUNK = 2  # seconds
LARGEST = 768  # tokens of a grid, by the limits of qwen-omni-utils
RULES: dict[str, dict[str, str]] = {
    "default": {},
    'unread="neither"': {"unread": "neither"},
    'by="sign"': {"by": "sign"},
}
"""Rule -> its arguments of `avsink.instruments.sink_halves.split`."""
MODALITIES = ("video", "audio")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the media of a prompt are.

    Attributes:
        grid: Tokens of a temporal grid.
    """

    grid: int

    def of(self, positions: np.ndarray) -> pd.DataFrame:
        """One row per position, with the columns position, modality, part (its grid or chunk), offset, size (of it)."""
        chunk, inside = np.divmod(positions - BEFORE, GRIDS * self.grid + AUDIO)
        video = inside < GRIDS * self.grid
        return pd.DataFrame(
            {
                "position": positions,
                "modality": np.where(video, *MODALITIES),
                "part": np.where(video, chunk * GRIDS + inside // self.grid, chunk),
                "offset": np.where(video, inside % self.grid, inside - GRIDS * self.grid),
                "size": np.where(video, self.grid, AUDIO),
            }
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """One history.

    Attributes:
        sample: The id of its sample.
        case: The case of its folder.
        one_in: N.
        grid: Tokens of a temporal grid.
        places: One row per global sink in the file's order, with the columns of `Layout.of`.
        sinks: Their MDS and who no longer reads them. φ is NaN and no flag is set, since neither was released.
        read_by: The mean attention that later video and later audio pay, (layers, N) each; NaN but for global sinks.
    """

    sample: str
    case: str
    one_in: int
    grid: int
    places: pd.DataFrame
    sinks: Sinks
    read_by: dict[str, Tensor]

    @property
    def end(self) -> int:
        """The first position after the last chunk that holds a sink, as if that chunk had all its audio tokens."""
        chunks = self.places["part"].where(self.places["modality"] == "audio", self.places["part"] // GRIDS)
        return BEFORE + (int(chunks.max()) + 1) * (GRIDS * self.grid + AUDIO)

    def positions(self, modality: str) -> Tensor:
        """The global sinks of a modality, sorted."""
        return torch.tensor(sorted(self.listed(modality)), dtype=torch.long)

    def listed(self, modality: str) -> list[int]:
        """The global sinks of a modality, in the file's order."""
        return self.places.loc[self.places["modality"] == modality, "position"].tolist()


def layout(positions: Sequence[int]) -> Layout:
    """Find where the media are (step 2).

    Args:
        positions: The tokens of a history, in its order.

    Raises:
        ValueError: No size of a grid puts all video tokens before all audio tokens, or more than one does.
    """
    positions = np.asarray(positions)
    sizes = []
    for grid in range(1, LARGEST + 1):
        video = (positions - BEFORE) % (GRIDS * grid + AUDIO) < GRIDS * grid
        if 0 < video.sum() < len(video) and video[: video.sum()].all():
            sizes.append(grid)
    if len(sizes) != 1 or positions.min() < BEFORE:
        found = f"several do: {', '.join(map(str, sizes[:6]))}" if sizes else "none does"
        raise ValueError(f"one size of a grid should put its video tokens before its audio tokens; {found}")
    return Layout(grid=sizes[0])


def clips(histories: pd.DataFrame) -> tuple[list[Clip], list[Problem]]:
    """Make the objects of step 3 of the table of `released.histories`, and list histories that cannot be used."""
    found, problems = [], []
    for (sample, one_in), own in histories.groupby(["sample", "one_in"], observed=True, sort=False):
        try:
            found.append(_clip(str(sample), int(one_in), own))
        except ValueError as error:
            problems.append(Problem(id=str(sample), reason=str(error)))
    return found, problems


def _clip(sample: str, one_in: int, own: pd.DataFrame) -> Clip:
    order = own.drop_duplicates("token").sort_values("rank")["token"].to_numpy()
    if own.groupby("token")["layer"].size().nunique() != 1:
        raise ValueError("its tokens have scores of different numbers of layers")
    media = layout(order)
    wide = {name: own.pivot(index="layer", columns="token", values=name) for name in ("mds", "v_score", "a_score")}
    mds, video, audio = (
        torch.full((len(table), int(order.max()) + 1), torch.nan, dtype=torch.double) for table in wide.values()
    )
    for tensor, table in zip((mds, video, audio), wide.values(), strict=True):
        tensor[:, table.columns.to_list()] = torch.tensor(table.to_numpy().copy())
    unread = (video == 0).all(dim=0) | (audio == 0).all(dim=0)
    nothing = torch.full_like(mds, torch.nan)
    return Clip(
        sample=sample,
        case=str(own["case"].iloc[0]),
        one_in=one_in,
        grid=media.grid,
        places=media.of(order),
        sinks=Sinks(phi=nothing, flags=torch.zeros_like(mds, dtype=torch.bool), mds=mds, unread=unread),
        read_by={"video": video, "audio": audio},
    )


def tokens(clip: Clip) -> pd.DataFrame:
    """List all media tokens of a clip.

    Returns:
        One row per token, with the columns sample, those of `Layout.of`, sink (whether it is a global sink).
    """
    table = Layout(grid=clip.grid).of(np.arange(BEFORE, clip.end))
    table.insert(0, "sample", clip.sample)
    return table.assign(sink=table["position"].isin(clip.places["position"]))


def rows(clip: Clip) -> pd.DataFrame:
    """Make the rows of step 4.

    Returns:
        One row per (global sink, layer), with the columns sample, case, modality, position, part, offset, size, layer,
        mds, score (mean MDS), global_<N> (unimodal or cross-modal, by the default rule), read_by_video and
        read_by_audio (mean attention; NaN where nothing of that modality comes later).
    """
    kinds = pd.Series("", index=clip.places["position"])
    for modality in MODALITIES:
        parted = split(clip.positions(modality), clip.sinks, modality=modality)
        for name, own in (("unimodal", parted.unimodal), ("cross-modal", parted.crossmodal)):
            kinds.loc[own.tolist()] = name
    at, n_layers = clip.places["position"].to_list(), len(clip.sinks.mds)
    table = clip.places.assign(score=clip.sinks.score[at].numpy(), kind=kinds.to_numpy())
    table = table.rename(columns={"kind": f"global_{clip.one_in}"})
    table = table.loc[np.repeat(table.index, n_layers)].reset_index(drop=True)
    table["layer"] = np.tile(np.arange(n_layers), len(at))
    table["mds"] = clip.sinks.mds[:, at].T.flatten().numpy()
    for reader, paid in clip.read_by.items():
        known = torch.where((paid == 0).all(dim=0), torch.nan, paid)
        table[f"read_by_{reader}"] = known[:, at].T.flatten().numpy()
    table.insert(0, "sample", clip.sample)
    table.insert(1, "case", clip.case)
    return table


def by_their_code(clip: Clip, modality: str) -> Split:
    """Split as the authors' procedure does (step 5)."""
    listed = clip.listed(modality)
    mean = dict(zip(listed, np.nanmean(clip.sinks.mds[:, listed].numpy(), axis=0), strict=True))
    listed = sorted(listed, key=mean.__getitem__, reverse=modality == "video")
    half = len(listed) // 2
    unimodal, crossmodal = (torch.tensor(sorted(own), dtype=torch.long) for own in (listed[:half], listed[half:]))
    return Split(unimodal=unimodal, crossmodal=crossmodal, neither=torch.zeros(0, dtype=torch.long))


def halves(clip: Clip) -> pd.DataFrame:
    """Split the global sinks of a clip by each rule.

    Returns:
        One row per (modality, rule), with the columns sample, dominance (None if it is unknown), modality, rule (of
        `RULES`; "authors"; "own MDS": the default, with the MDS computed here from the released attention), sinks,
        unimodal, cross-modal and neither (numbers of tokens), moved (tokens that are of another kind by the default
        rule), mds_unimodal and mds_crossmodal (mean score of each kind; NaN of none).
    """
    own = replace(clip.sinks, mds=modality_dominance(clip.read_by["video"], clip.read_by["audio"]))
    table = []
    for modality in MODALITIES:
        at = clip.positions(modality)
        found = {rule: split(at, clip.sinks, modality=modality, **given) for rule, given in RULES.items()}
        found |= {"authors": by_their_code(clip, modality), "own MDS": split(at, own, modality=modality)}
        for rule, parted in found.items():
            kinds = (parted.unimodal, parted.crossmodal, parted.neither)
            same = sum(torch.isin(a, b).sum().item() for a, b in zip(kinds, _kinds(found["default"]), strict=True))
            facts = (clip.sample, DOMINANCE.get(clip.case), modality, rule, len(at), *map(len, kinds), len(at) - same)
            table.append((*facts, *(clip.sinks.score[kind].mean().item() for kind in kinds[:2])))
    names = ["sample", "dominance", "modality", "rule", "sinks", "unimodal", "cross-modal", "neither", "moved"]
    return pd.DataFrame(table, columns=[*names, "mds_unimodal", "mds_crossmodal"])


def stability(clip: Clip) -> pd.DataFrame:
    """Split the global sinks of a clip by the MDS of one layer, and compare the layers.

    Returns:
        One row per (modality, layer, later layer), with the columns sample, modality, layer, other, overlap: of the
        cross-modal sinks by one layer, the share that is cross-modal by the other. Where `other` is -1, the other is
        the split by the mean over all layers.
    """
    table = []
    for modality in MODALITIES:
        at = clip.positions(modality)
        by_mean = split(at, clip.sinks, modality=modality).crossmodal
        layers = [replace(clip.sinks, mds=one[None]) for one in clip.sinks.mds]
        chosen = [torch.isin(at, split(at, one, modality=modality).crossmodal) for one in layers]
        chosen = torch.stack([*chosen, torch.isin(at, by_mean)]).double()  # (layers + 1, sinks)
        shared = chosen @ chosen.T / chosen.sum(dim=1, keepdim=True)
        n = len(layers)
        pairs = [(layer, other) for layer in range(n) for other in range(layer, n)]
        pairs += [(layer, -1) for layer in range(n)]
        table += [(clip.sample, modality, layer, other, shared[layer, other].item()) for layer, other in pairs]
    return pd.DataFrame(table, columns=["sample", "modality", "layer", "other", "overlap"])


def ties(clip: Clip) -> dict[str, float]:
    """Estimate how much depends on the rule for ties (step 6).

    Within a block, positions ascend. So a modality's last block begins where its positions last descend; the two last
    blocks are one, cut at their last position. Tokens of the block that were left out lie after the cut.

    Returns:
        sinks (global sinks of both modalities), tied (of these, tokens of the last block), left_out (tokens after the
        cut that are no global sinks, which the block's others are among), moved (tokens that another rule for ties is
        expected to exchange: the block is as dense after the cut as before it, and the rule as good as random).
    """
    last = []
    for modality in MODALITIES:
        listed = np.array(clip.listed(modality))
        start = np.flatnonzero(np.diff(listed) < 0)
        last += listed[start[-1] + 1 if len(start) else 0 :].tolist()
    cut, taken = max(last), set(clip.places["position"])
    before, after = ([p for p in span if p not in taken] for span in (range(BEFORE, cut), range(cut + 1, clip.end)))
    others = len(after) * len(last) / (len(last) + len(before))
    moved = len(last) * others / (len(last) + others)
    return {"sinks": len(taken), "tied": len(last), "left_out": len(after), "moved": moved}


def _kinds(parted: Split) -> tuple[Tensor, Tensor, Tensor]:
    return parted.unimodal, parted.crossmodal, parted.neither
