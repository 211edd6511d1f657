"""Global sinks and their halves: the choices in Hubs' definition, each with a name (Hubs, tables 1 and 2).

φ and the attention that tokens receive are measured elsewhere (`avsink.instruments.sinks`). From these numbers:

1. sinks change from layer to layer. Of all |T| tokens of the prompt, take the ⌊|T| / N⌋ that are sinks at the most
   layers. Those of them that belong to a modality are its *global sinks* (`global_sinks`). Ties, by `ties`:

   - "phi" (default): the token with the higher mean φ over layers, then the lower position;
   - "authors": as in the code of Hubs' authors, the token that is a sink at an earlier layer, then the lower position;

2. the Modality Dominance Score of a token says who reads it: MDS = (Ā_video - Ā_audio) / (Ā_video + Ā_audio), where
   Ā is the mean attention that the token receives from later video or audio tokens (`modality_dominance`). Its score
   is the mean over layers. After a clip's last video token no video is left to read anything. What then counts, by
   `unread`:

   - "zero" (default): a modality with no later token pays 0. The MDS is then -1 or 1, and 0 after the last token of
     both. Where the prompt lacks a modality altogether, no token has a score;
   - "neither": a token after which no video or no audio comes has no score;

3. the global sinks of a modality are *unimodal* or *cross-modal* (`split`), by `by`:

   - "halves" (default): the half that its own modality reads most is unimodal, the other half is cross-modal. The
     middle one of an odd number is cross-modal; with `unread="neither"` it is in neither half, so that both have the
     same size;
   - "sign": a sink that its own modality reads more is unimodal, one that the other modality reads more is cross-modal.
     A score of exactly 0 is neither. One of the two kinds may be empty.

   A sink without a score is neither. Equal scores go by position, so ties in 3 do not depend on `ties`.

The defaults of 2 and 3 are those by which the paper's table 2 was made: its halves are of equal size, and those of the
authors' released files come out token for token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

__all__ = ["By", "Sinks", "Split", "Ties", "Unread", "global_sinks", "modality_dominance", "scored", "split"]

Ties = Literal["phi", "authors"]
By = Literal["halves", "sign"]
Unread = Literal["zero", "neither"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sinks:
    """The sinks of one prompt of N tokens.

    Attributes:
        phi: φ at the entry of each layer, (layers, N).
        flags: Whether φ > τ, bool (layers, N).
        mds: Modality Dominance Score, (layers, N), where a modality with no later token pays 0. NaN if it is unknown.
        unread: Whether no video or no audio comes after the token, bool (N,); None if both come after every token.
    """

    phi: Tensor
    flags: Tensor
    mds: Tensor
    unread: Tensor | None = None

    @property
    def score(self) -> Tensor:
        """Mean MDS over the layers in which it is known, (N,)."""
        return self.mds.nanmean(dim=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """The halves of one modality's global sinks, as positions.

    Attributes:
        unimodal: Those that their own modality reads.
        crossmodal: Those that the other modality reads.
        neither: The others.
    """

    unimodal: Tensor
    crossmodal: Tensor
    neither: Tensor


def modality_dominance(video: Tensor, audio: Tensor) -> Tensor:
    """MDS from the mean attention received from later video and later audio tokens, elementwise.

    It is 1 for a token that only video reads, -1 for one that only audio reads, 0 for one that nobody reads.

    Args:
        video: Mean attention received from later video tokens; NaN, which counts as 0, where there are none.
        audio: The same of audio.
    """
    video, audio = torch.where(video.isnan(), 0.0, video), torch.where(audio.isnan(), 0.0, audio)
    both = video + audio
    return torch.where(both == 0, 0.0, (video - audio) / both)


def scored(sinks: Sinks, *, unread: Unread = "zero") -> Sinks:
    """Copy the sinks with the MDS that counts by `unread`: with "neither", NaN for the tokens of `Sinks.unread`.

    Raises:
        ValueError: `unread` is not one of `Unread`.
    """
    _allowed("unread", unread, Unread)
    if unread == "zero" or sinks.unread is None:
        return sinks
    mds = sinks.mds.masked_fill(sinks.unread, float("nan"))
    return Sinks(phi=sinks.phi, flags=sinks.flags, mds=mds, unread=sinks.unread)


def global_sinks(sinks: Sinks, *, one_in: int, among: Tensor | None = None, ties: Ties = "phi") -> Tensor:
    """Find the global sinks (step 1).

    A token that is a sink at no layer is never taken, so there may be fewer than ⌊|T| / one_in⌋.

    Args:
        sinks: The sinks of one prompt.
        one_in: The paper's N: one token in so many is taken.
        among: Positions to choose from, such as those of one modality; the others are dropped after the ranking.
        ties: Which of two tokens comes first that are sinks at the same number of layers.

    Returns:
        Sorted positions.

    Raises:
        ValueError: `one_in` is less than 1, or `ties` is not one of `Ties`.
    """
    if one_in < 1:
        raise ValueError(f"one_in: {one_in}; give a number from 1 on, such as the paper's 2, 3 or 4")
    _allowed("ties", ties, Ties)
    earliest, highest = sinks.flags.int().argmax(dim=0), -sinks.phi.mean(dim=0)
    count, first = sinks.flags.sum(dim=0).tolist(), (earliest if ties == "authors" else highest).tolist()
    ranked = sorted((p for p in range(len(count)) if count[p]), key=lambda p: (-count[p], first[p], p))
    taken = torch.tensor(sorted(ranked[: len(count) // one_in]), dtype=torch.long)
    return taken if among is None else taken[torch.isin(taken, among)]


def split(positions: Tensor, sinks: Sinks, *, modality: str, by: By = "halves", unread: Unread = "zero") -> Split:
    """Split the global sinks of one modality into unimodal and cross-modal ones (step 3).

    Args:
        positions: The global sinks of the modality, sorted.
        sinks: The sinks of the prompt.
        modality: Their modality, `video` or `audio`.
        by: Into two halves, or by the sign of the score.
        unread: What counts where a modality no longer reads (step 2).

    Raises:
        ValueError: The modality is neither `video` nor `audio`, or `by` or `unread` is not one of those allowed.
    """
    _allowed("modality", modality, Literal["video", "audio"])
    _allowed("by", by, By)
    own = scored(sinks, unread=unread).score[positions] * (1 if modality == "video" else -1)  # high: its own reads it
    if by == "sign":
        unimodal, crossmodal = positions[own > 0], positions[own < 0]
    else:
        known = positions[~own.isnan()]
        order = known[torch.argsort(own[~own.isnan()], descending=True, stable=True)]
        half = len(order) // 2
        rest = half if unread == "zero" else len(order) - half
        unimodal, crossmodal = order[:half].sort().values, order[rest:].sort().values
    taken = torch.cat([unimodal, crossmodal])
    return Split(unimodal=unimodal, crossmodal=crossmodal, neither=positions[~torch.isin(positions, taken)])


def _allowed(name: str, value: str, among) -> None:
    if value not in get_args(among):
        raise ValueError(f"{name}: {value!r}; allowed: {', '.join(get_args(among))}")
