"""Named pathways: sets of attention edges that information may take, and that can be blocked (Flow sections 4 and 5).

1. `GROUPS`: the paper's name of a group of tokens -> its positions in a prompt's layout;
2. `Pathway`: the paper's label -> edges between groups, as pairs of (source positions, target positions);
3. tables of pathways for questions about one clip (`CLIP`), for interleaved inputs (`INTERLEAVED`), and two that are
   not in the paper: out of one group (`OUT`), and between tokens that the paper's groups leave out or do not tell apart
   (`BESIDE`). All of them are `PATHWAYS`;
4. `FIGURE_…`: the labels of the pathways that a figure of the paper shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from avsink.engine.interventions import Block

__all__ = [
    *("FIGURE_3", "FIGURE_4", "FIGURE_5", "FIGURE_6", "FIGURE_9", "FIGURE_10"),
    *("BESIDE", "CLIP", "GROUPS", "INTERLEAVED", "OUT", "PATHWAYS", "Pathway"),
]

# An option's tokens are its letter (appendix F.1.2). The paper calls options true and false in questions about a clip,
# correct and incorrect in interleaved inputs.
GROUPS: dict[str, Callable[[object], Tensor]] = {
    "Video": lambda layout: layout.video,
    "Audio": lambda layout: layout.audio,
    "V+A": lambda layout: torch.cat([layout.video, layout.audio]),
    "Question": lambda layout: layout.question,
    "NonOptQ": lambda layout: layout.non_option_question,
    "TrueOpt": lambda layout: layout.true_option,
    "FalseOpt": lambda layout: layout.false_options,
    "Last": lambda layout: layout.last,
    "Candidates": lambda layout: torch.cat([*layout.candidates, layout.reference[:0]]),
    "Reference": lambda layout: layout.reference,
    "CorrectCand": lambda layout: layout.true_candidate,
    "IncorrectCand": lambda layout: layout.false_candidates,
    "CorrectOpt": lambda layout: layout.true_option,
    "IncorrectOpt": lambda layout: layout.false_options,
    # Not in the paper, and no part of its groups in an interleaved input.
    "TrueLine": lambda layout: layout.true_line,
    "Labels": lambda layout: layout.labels,
}


@dataclass(frozen=True)
class Pathway:
    """A set of attention edges that can be blocked.

    Attributes:
        name: The paper's label. In Source↛Target, the target's queries cannot read the source's keys; in ↮, neither
            can read the other.
        edges: `TokenLayout` -> pairs of (source positions, target positions).
    """

    name: str
    edges: Callable[[object], Iterable[tuple[Tensor, Tensor]]]

    def plan(self, layout, *, layers: range) -> tuple[Block, ...]:
        """List the interventions that block this pathway in `layers`; () if the prompt lacks its source or target."""
        ends = [(source, target) for source, target in self.edges(layout) if len(source) and len(target)]
        return tuple(Block(source, target, layers) for source, target in ends)


def _from_to(source: str, target: str) -> Pathway:
    """Make the pathway from one group to another."""
    return Pathway(f"{source}↛{target}", lambda layout: [(GROUPS[source](layout), GROUPS[target](layout))])


def _out_of(source: str) -> Pathway:
    """Make the pathway from a group to all later tokens outside it."""

    def edges(layout):
        inside, everything = GROUPS[source](layout), torch.arange(layout.n)
        return [(inside, everything[~torch.isin(everything, inside)])]

    return Pathway(f"{source}↛Others", edges)


def _across(name: str, pieces: Callable[[object], Sequence[Tensor]]) -> Pathway:
    """Make the pathway from all other pieces to each piece. The causal mask hides the keys of later pieces anyway."""

    def edges(layout):
        parts = pieces(layout)
        return [(torch.cat([*parts[:i], *parts[i + 1 :]]), part) for i, part in enumerate(parts) if len(parts) > 1]

    return Pathway(name, edges)


def _both(one: str, other: str) -> Pathway:
    """Make the pathway between two groups, in both directions."""
    ways = (_from_to(one, other), _from_to(other, one))
    return Pathway(f"{one}↮{other}", lambda layout: [pair for way in ways for pair in way.edges(layout)])


def _table(*pathways: Pathway) -> dict[str, Pathway]:
    return {pathway.name: pathway for pathway in pathways}


CLIP = _table(
    _across("Cross-frame", lambda layout: layout.frames),
    _across("Cross-audio", lambda layout: layout.audio_chunks),
    _both("Audio", "Video"),
    _from_to("Audio", "Video"),
    _from_to("Video", "Audio"),
    *(_from_to(a, b) for b in ("Question", "Last", "TrueOpt", "NonOptQ") for a in ("Video", "Audio", "V+A")),
    _from_to("NonOptQ", "TrueOpt"),
    *(_from_to(a, "Last") for a in ("Question", "TrueOpt", "FalseOpt", "NonOptQ")),
)
"""Pathways of a question about one clip."""

INTERLEAVED = _table(
    _across("Cross-candidate", lambda layout: layout.candidates),
    *(_from_to("Candidates", b) for b in ("Reference", "Question", "Last")),
    *(_from_to("Question", b) for b in ("Reference", "Last")),
    _from_to("Reference", "Last"),
    *(_from_to(a, "CorrectOpt") for a in ("CorrectCand", "IncorrectCand", "Reference", "Question")),
    *(_from_to(a, "Last") for a in ("CorrectCand", "IncorrectCand", "CorrectOpt", "IncorrectOpt")),
)
"""Pathways of an interleaved input: several media items between text."""

OUT = _table(*(_out_of(a) for a in ("Video", "Audio", "Question", "NonOptQ", "Candidates", "Reference")))
"""Not in the paper: all edges out of a group at once, to tokens of any kind."""

BESIDE = _table(
    _from_to("Labels", "Candidates"),
    _from_to("TrueLine", "Last"),
    _across("Within the stem", lambda layout: layout.stem.split(1)),
    _across("Within the reference", lambda layout: layout.reference.split(1)),
)
"""Not in the paper: ways between tokens that its groups leave out, or between the tokens of one group."""

PATHWAYS: dict[str, Pathway] = CLIP | INTERLEAVED | OUT | BESIDE

FIGURE_3 = ("Cross-frame", "Cross-audio", "Audio↮Video")
FIGURE_4 = ("Video↛Question", "Audio↛Question", "Video↛Last", "Audio↛Last", "Question↛Last")
FIGURE_5 = (
    *("Cross-candidate", "Candidates↛Reference", "Question↛Reference", "Candidates↛Question"),
    *("Reference↛Last", "Candidates↛Last", "Question↛Last"),
)
FIGURE_6 = (
    *("CorrectCand↛CorrectOpt", "IncorrectCand↛CorrectOpt", "Reference↛CorrectOpt", "Question↛CorrectOpt"),
    *("CorrectCand↛Last", "IncorrectCand↛Last", "CorrectOpt↛Last", "IncorrectOpt↛Last"),
)
FIGURE_9 = ("Video↛Audio", "Audio↛Video", "V+A↛Question", "V+A↛Last")
FIGURE_10 = (
    *("Video↛NonOptQ", "Audio↛NonOptQ", "V+A↛NonOptQ"),
    *("Video↛TrueOpt", "Audio↛TrueOpt", "V+A↛TrueOpt", "NonOptQ↛TrueOpt"),
    *("TrueOpt↛Last", "FalseOpt↛Last", "NonOptQ↛Last"),
)
