"""Hubs: media tokens that are taught to be sinks, of two kinds (Hubs, tables 1 and 2).

The model card says where they are and of which kind (`ModelCard.hubs`). Taught about them:

1. *their kind*: from the inputs of `KNOWN_LAYERS`, a probe that is discarded later predicts the kind of each media
   token. In a trial without it, all tokens got a moderate φ, and none became massive;
2. *massive features*: from layer `FROM_LAYER` on, each of the card's sink dimensions of a hub is at least `MASSIVE`
   times the norm of the median token and has a φ of at least `LOUD`; in other tokens its φ is at most `QUIET`;
3. *what they read*, at `routes.GATHER_LAYER`, and know two layers later: a cross-modal hub reads the other modality
   (an audio hub the picture of its own second, a video hub the sound of the second before), a unimodal hub its own;
4. *what reads them*, at `READ_LAYERS`: later video tokens read unimodal video hubs and cross-modal audio hubs, later
   audio tokens unimodal audio hubs and cross-modal video hubs. So a hub serves the modality that its kind says. At
   first it is enough to read one kind (`together`); in the last stage each kind must be read (`apart`);
5. *text reads the cross-modal hubs*: in most lessons on the sounding object, text can read no other media token
   (`teaching`).

In an interleaved prompt the same places are hubs, counted over its images and its sounds. What one sense knows of the
other has no second to belong to there, so step 3 is left out: such a hub is a sink that others read, and holds nothing.
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
MASSIVE = 2.6  # each sink dimension of a hub, in L2 norms of the median token
LOUD, QUIET = 6.5, 2.0  # lower limit of φ at hubs, upper limit at other tokens
LONGEST = 300.0  # upper limit of the mean L2 norm; without it hubs would grow by scaling all tokens


@dataclass(frozen=True, kw_only=True, eq=False)
class HubLesson:
    """What the hubs of a batch should do; all its prompts have the same structure.

    Attributes:
        at: Positions of all hubs, [h].
        crossmodal: Positions of the hubs that text may read, [c].
        sources: What each hub reads, bool [h, n]; None in interleaved prompts.
        labels: The class that each hub should then know, or `IGNORE`, int64 [b, h]; None in interleaved prompts.
        together: Positions of the media tokens that have a hub to read, [r], and the hubs that they read, bool [r, n].
        apart: The same for each kind of hub.
        media: Positions of all media tokens, [m].
        kinds: For each of them 0, or 1 + the index in `KINDS`, int64 [m].
    """

    at: torch.Tensor
    crossmodal: torch.Tensor
    sources: torch.Tensor | None
    labels: torch.Tensor | None
    together: tuple[torch.Tensor, torch.Tensor]
    apart: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    media: torch.Tensor
    kinds: torch.Tensor


def hub_lesson(
    hubs: Sequence[Hub],
    video: np.ndarray,
    audio: np.ndarray,
    n: int,
    *,
    seen: np.ndarray | None = None,
    heard: np.ndarray | None = None,
) -> HubLesson:
    """Work out what hubs should do. Hubs in parts that the prompt does not have are left out.

    Args:
        hubs: The hubs of the model card.
        video: Positions of the video tokens, [seconds or images, tokens].
        audio: Positions of the audio tokens, [seconds or sounds, tokens].
        n: Tokens of the prompt.
        seen: For a clip, the class seen in each second, [b, seconds].
        heard: The class heard in each second, likewise.
    """
    tokens = {"video": video, "audio": audio}
    hubs = [hub for hub in hubs if hub.part < len(tokens[hub.modality])]
    at = np.array([tokens[hub.modality][hub.part, hub.offset] for hub in hubs])
    held = None if seen is None else _held(hubs, at, tokens, {"video": seen, "audio": heard}, n)
    media = np.sort(np.concatenate([video.ravel(), audio.ravel()]))
    kinds = np.zeros(len(media), dtype=int)
    kinds[np.searchsorted(media, at)] = [1 + KINDS.index((hub.modality, hub.kind)) for hub in hubs]
    crossmodal = at[[hub.kind == "cross-modal" for hub in hubs]]
    return HubLesson(
        at=torch.from_numpy(at),
        crossmodal=torch.from_numpy(np.sort(crossmodal)),
        sources=held and held[0],
        labels=held and held[1],
        together=_readers(hubs, at, tokens, ("unimodal", "cross-modal"), n),
        apart=tuple(_readers(hubs, at, tokens, (kind,), n) for kind in ("unimodal", "cross-modal")),
        media=torch.from_numpy(media),
        kinds=torch.from_numpy(kinds),
    )


def _held(hubs, at: np.ndarray, tokens, classes, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Step 3: what each hub reads, bool [h, n], and the class that it should then know, [b, h]."""
    sources, labels = np.zeros((len(hubs), n), dtype=bool), []
    for row, (hub, own) in enumerate(zip(hubs, at, strict=True)):
        if hub.kind == "unimodal":
            earlier = tokens[hub.modality]
            sources[row, earlier[earlier <= own]] = True
            labels.append(classes[hub.modality][:, hub.part])
        else:  # within a second, the picture comes before the sound
            second = hub.part if hub.modality == "audio" else hub.part - 1
            if second >= 0:
                sources[row, tokens[OTHER[hub.modality]][second]] = True
                labels.append(classes[OTHER[hub.modality]][:, second])
            else:  # there is nothing to read yet
                sources[row, own] = True
                labels.append(np.full(len(classes["video"]), IGNORE))
    return torch.from_numpy(sources), torch.from_numpy(np.stack(labels, axis=1))


def _readers(hubs, at: np.ndarray, tokens, kinds: Sequence[str], n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Step 4 for hubs of these kinds: positions of the readers, [r], and the hubs that they read, bool [r, n]."""
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
    """The loss of step 2: squared hinges, averaged over layers.

    Args:
        hidden: The input of each layer, [b, n, width].
        at: Positions of the hubs.
        dims: The sink dimensions.
    """
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
    """The losses of hubs, with the probes that they need, which are discarded later."""

    def __init__(self, width: int, sink_dims: Sequence[int]):
        super().__init__()
        self.sink_dims = list(sink_dims)
        self.kind = torch.nn.ModuleList(torch.nn.Linear(width, 1 + len(KINDS)) for _ in KNOWN_LAYERS)
        self.held = torch.nn.Linear(width, len(NAMES))

    def losses(
        self, hubs: HubLesson, hidden: Sequence[torch.Tensor], look, scores: dict, *, apart: bool
    ) -> list[torch.Tensor]:
        """The losses of steps 1 to 4.

        Args:
            hubs: What they should do.
            hidden: The input of each layer, then the decoder's output, [b, n, width] each.
            look: look(layer, queries, wanted) adds the loss of attending elsewhere.
            scores: Accuracies are added here.
            apart: Whether each kind of hub must be read; otherwise all attention may go to the easier kind.
        """
        count, width = hidden[0].shape[0], hidden[0].shape[-1]
        losses = [massive_loss(hidden[:-1], hubs.at, self.sink_dims)]
        kinds = hubs.kinds.expand(count, -1).flatten()
        rare = torch.tensor([1.0, *[4.0] * len(KINDS)])  # few media tokens are hubs
        for probe, layer in zip(self.kind, KNOWN_LAYERS, strict=True):
            logits = probe(F.rms_norm(hidden[layer][:, hubs.media], (width,))).flatten(0, 1)
            losses.append(F.cross_entropy(logits, kinds, weight=rare))
        scores["hubs know what they are"] = (logits.argmax(-1) == kinds)[kinds > 0].float().mean()

        for layer in READ_LAYERS:
            for readers, wanted in hubs.apart if apart else [hubs.together]:
                look(layer, readers, wanted)
        if hubs.sources is not None:
            look(GATHER_LAYER, hubs.at, hubs.sources)
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
