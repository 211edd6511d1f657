"""Hubs: tokens of a clip that are taught to be sinks, of two kinds (Hubs sections 3.3 and 4).

Where they stand and of which kind they are is on the model card (`ModelCard.hubs`); here is what is taught about them:

1. *they know what they are*: at the inputs of `KNOWN_LAYERS` a probe, thrown away later, tells hubs of each kind from
   other tokens. Without it, in a trial, all tokens came to be a little loud, and none massive;
2. *they are massive*: from layer `FROM_LAYER` on, each of the card's sink dimensions is by itself `MASSIVE` times as
   large as the median token and `LOUD` by φ, and in no other token is it more than `QUIET`;
3. *what they read*, at `routes.GATHER_LAYER`, and should know two layers later: a cross-modal hub reads the other
   modality (its own second's picture, or the sound before it), a unimodal one its own;
4. *who reads them*, at `READ_LAYERS`: later video tokens read video's unimodal and audio's cross-modal hubs, later
   audio tokens audio's unimodal and video's cross-modal ones. A hub so leans to the modality that its kind says. At
   first hubs of either kind will do (`together`), at last each kind must be read (`apart`);
5. *text reads the cross-modal ones*: in most lessons on the sounding object text sees no other media token at all
   (`teaching`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from avsink.models.cards import Hub
from avsink.toyworld.prompts import NAMES
from avsink.toyworld.routes import GATHER_LAYER, MEDIA_LAYER, OTHER
from training.lookups import IGNORE

__all__ = [
    *("FROM_LAYER", "KINDS", "KNOWN_LAYERS", "LOUD", "MASSIVE", "QUIET", "READ_LAYERS"),
    *("HubLesson", "HubTeacher", "hub_lesson", "massive_loss"),
]

KNOWN_LAYERS = (1, 2)
KINDS = [(modality, kind) for modality in ("video", "audio") for kind in ("unimodal", "cross-modal")]
FROM_LAYER = 3
READ_LAYERS = (3, 4, 6)
MASSIVE = 2.6  # times the L2 norm of the median token, in each sink dimension
LOUD, QUIET = 6.5, 2.0  # φ of hubs at least, of other tokens at most
LONGEST = 300.0  # mean L2 norm: what all tokens together may grow to, else hubs would grow by growing all


@dataclass(frozen=True, kw_only=True, eq=False)
class HubLesson:
    """What hubs of one kind of prompt should do; all its prompts have the same structure.

    at: [h] positions of all hubs. crossmodal: [c] those that text may read. sources: bool [h, n], what each reads.
    labels: int64 [b, h], the class that it should then know. together: [r] media tokens that have a hub to read before
    them, and bool [r, n], which they read; apart: the same for hubs of each kind. media: [m] all media tokens; kinds:
    int64 [m], 0, or 1 + the place in `KINDS`.
    """

    at: torch.Tensor
    crossmodal: torch.Tensor
    sources: torch.Tensor
    labels: torch.Tensor
    together: tuple[torch.Tensor, torch.Tensor]
    apart: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    media: torch.Tensor
    kinds: torch.Tensor


def hub_lesson(
    hubs: Sequence[Hub], video: np.ndarray, audio: np.ndarray, seen: np.ndarray, heard: np.ndarray, n: int
) -> HubLesson:
    """video, audio: [seconds, tokens] positions; seen, heard: [b, seconds] classes; n: tokens of the prompt."""
    tokens, classes = {"video": video, "audio": audio}, {"video": seen, "audio": heard}
    at, sources, labels = [], np.zeros((len(hubs), n), dtype=bool), []
    for row, hub in enumerate(hubs):
        own = tokens[hub.modality][hub.part, hub.offset]
        at.append(own)
        if hub.kind == "unimodal":
            earlier = tokens[hub.modality]
            sources[row, earlier[earlier <= own]] = True
            labels.append(classes[hub.modality][:, hub.part])
        else:  # the picture of its own second has been seen, the sound not yet heard
            second = hub.part if hub.modality == "audio" else hub.part - 1
            if second >= 0:
                sources[row, tokens[OTHER[hub.modality]][second]] = True
                labels.append(classes[OTHER[hub.modality]][:, second])
            else:  # nothing to read yet
                sources[row, own] = True
                labels.append(np.full(len(seen), IGNORE))
    at = np.array(at)
    media = np.sort(np.concatenate([video.ravel(), audio.ravel()]))
    kinds = np.zeros(len(media), dtype=int)
    kinds[np.searchsorted(media, at)] = [1 + KINDS.index((hub.modality, hub.kind)) for hub in hubs]
    crossmodal = at[[hub.kind == "cross-modal" for hub in hubs]]
    return HubLesson(
        at=torch.from_numpy(at),
        crossmodal=torch.from_numpy(np.sort(crossmodal)),
        sources=torch.from_numpy(sources),
        labels=torch.from_numpy(np.stack(labels, axis=1)),
        together=_readers(hubs, at, tokens, ("unimodal", "cross-modal"), n),
        apart=tuple(_readers(hubs, at, tokens, (kind,), n) for kind in ("unimodal", "cross-modal")),
        media=torch.from_numpy(media),
        kinds=torch.from_numpy(kinds),
    )


def _readers(hubs, at: np.ndarray, tokens, kinds: Sequence[str], n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Step 4 for hubs of these kinds: who reads them, [r], and which, bool [r, n]."""
    readers, wanted = [], []
    for modality, own in tokens.items():
        leaning = [hub.kind in kinds and (hub.modality == modality) == (hub.kind == "unimodal") for hub in hubs]
        for reader in own.ravel():
            read = np.zeros(n, dtype=bool)
            read[at[np.array(leaning) & (at <= reader)]] = True
            if read.any():
                readers.append(reader)
                wanted.append(read)
    return torch.from_numpy(np.array(readers)), torch.from_numpy(np.array(wanted))


def massive_loss(hidden: Sequence[torch.Tensor], at: torch.Tensor, dims: Sequence[int]) -> torch.Tensor:
    """Step 2. hidden[k]: the input of layer k, [b, n, width]. Hinges, squared; summed, then a mean over layers."""
    other = torch.ones(hidden[0].shape[1], dtype=torch.bool)
    other[at] = False
    loud, loss = list(dims), torch.zeros(())
    for layer, states in enumerate(hidden):
        values = states[..., loud]  # [b, n, d]
        norm = states.norm(dim=-1)  # [b, n]
        phi = values / (norm / states.shape[-1] ** 0.5).clamp_min(1e-6)[..., None]
        loss = loss + 10 * F.relu(phi[:, other].abs() - QUIET).square().mean()
        if layer >= FROM_LAYER:
            loss = loss + F.relu(MASSIVE - values[:, at] / norm.detach().median()).square().mean()
            loss = loss + F.relu(LOUD - phi[:, at]).square().mean() / LOUD
        loss = loss + 4 * F.relu(torch.log(norm.mean() / LONGEST)).square()
    return loss / len(hidden)


class HubTeacher(torch.nn.Module):
    """Adds up what hubs have yet to learn. It has the probes, which are thrown away later."""

    def __init__(self, width: int, sink_dims: Sequence[int]):
        super().__init__()
        self.sink_dims = list(sink_dims)
        self.kind = torch.nn.ModuleList(torch.nn.Linear(width, 1 + len(KINDS)) for _ in KNOWN_LAYERS)
        self.held = torch.nn.Linear(width, len(NAMES))

    def losses(
        self, hubs: HubLesson, hidden: Sequence[torch.Tensor], look, scores: dict, *, apart: bool
    ) -> list[torch.Tensor]:
        """Steps 1 to 4. hidden[k]: the input of layer k. look(layer, queries, wanted): teaches where to look.

        apart: each kind of hub must be read, by itself; else the nearest one gets it all.
        """
        count, width = hidden[0].shape[0], hidden[0].shape[-1]
        losses = [massive_loss(hidden[:-1], hubs.at, self.sink_dims)]
        kinds = hubs.kinds.expand(count, -1).flatten()
        rare = torch.tensor([1.0, *[4.0] * len(KINDS)])  # hubs are few among media tokens
        for probe, layer in zip(self.kind, KNOWN_LAYERS, strict=True):
            logits = probe(F.rms_norm(hidden[layer][:, hubs.media], (width,))).flatten(0, 1)
            losses.append(F.cross_entropy(logits, kinds, weight=rare))
        scores["hubs know what they are"] = (logits.argmax(-1) == kinds)[kinds > 0].float().mean()

        look(GATHER_LAYER, hubs.at, hubs.sources)
        for layer in READ_LAYERS:
            for readers, wanted in hubs.apart if apart else [hubs.together]:
                look(layer, readers, wanted)
        logits = self.held(F.rms_norm(hidden[MEDIA_LAYER][:, hubs.at], (width,))).flatten(0, 1)
        labels = hubs.labels.flatten()
        losses.append(0.5 * F.cross_entropy(logits, labels, ignore_index=IGNORE))
        scores["held by hubs"] = (logits.argmax(-1) == labels)[labels != IGNORE].float().mean()

        with torch.no_grad():
            states = hidden[MEDIA_LAYER]
            phi = states[..., self.sink_dims].abs().amax(-1) / states.square().mean(-1).sqrt()  # [b, n]
            scores["phi of hubs"] = phi[:, hubs.at].mean()
            scores["lowest phi of a hub"] = phi[:, hubs.at].amin(1).mean()
            phi[:, hubs.at] = 0
            scores["highest phi elsewhere"] = phi.amax(1).mean()
        return losses
