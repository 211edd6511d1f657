"""What *Probing Cross-modal Information Hubs* reports on tracing and sinks: each statement once, with its rule.

Kinds of rules are in `avsink.results.rules`. The rules of `OF_EFFECTS` read "effects": rows of
`avsink.instruments.tracing.trace` and `avsink.instruments.layerwise_sinks.trace`. Those of `OF_SINKS` read "sinks":
rows of `avsink.instruments.sinks.by_layer`.

- The paper gives both effects and both dominances for every set, and calls its findings common to all models. A
  statement must therefore hold for each of the four, wherever there is something to restore.
- Random tokens are printed for N = 2 only, so statements on "sinks" without an N are about N = 2, the most tokens. The
  two halves of the sinks are printed for N = 2, 3 and 4, and no statement singles one out: the mean over them counts.
- Some statements are not the paper's own, but stand in a public summary of it; `where` says so.
- "Primarily", "mainly", "most" and "vast majority" are more than half. "Slightly" better is by less than a tenth of the
  effect of all tokens. Half of the tokens bring back "only slightly" less if that is nearer to all than to half of it,
  that is, over three quarters.

No rule has: what the paper defines (dominance, φ, global sinks, MDS) or does (restoring, halving), since a definition
cannot fail; and that models of images alone keep objects in object tokens, which needs such a model. Who reads the two
halves is no definition: they are made by rank, and the poster says of either which sense it is mainly read by.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from avsink.instruments import layerwise_sinks
from avsink.results.rules import lies_above
from avsink.results.rules.amounts import ALL, NOTHING, amount
from avsink.results.rules.effects import ALIKE, FEWER, holds_more
from avsink.results.rules.parts import every_part
from avsink.results.verdicts import Rule

__all__ = ["FINDING_1", "FINDING_1_BESIDE", "FINDING_2", "FINDING_2_BESIDE", "OF_EFFECTS", "OF_SINKS", "drifted"]

SUMMARY = "a summary of the paper"
SENSES = {"video": 1, "audio": -1}  # modality -> sign of the MDS of a token that its own modality reads
OBJECT, RANDOM, SINK, FEWER_SINKS = amount("Object"), amount("Random", 2), amount("Sink", 2), amount("Sink", 4)

# Hubs 1: what the dominant sense told the other one lies in sinks.
FINDING_1 = (
    holds_more(ALL, NOTHING, claim="The tokens of either sense hold what the other one showed", where="table 1"),
    holds_more(SINK, RANDOM, claim="Sinks hold more of it than as many random tokens", where="table 1"),
    holds_more(SINK, amount("All", share=0.5), claim="Sinks hold most of it", where="Hubs 1, table 1"),
)

# What is said beside Hubs 1: not where objects are, and in few tokens.
FINDING_1_BESIDE = (
    holds_more(
        SINK, OBJECT, sizes=ALIKE, claim="Sinks hold more than as many object tokens", where=f"table 1; {SUMMARY}"
    ),
    holds_more(
        RANDOM + amount("All", share=0.1),
        OBJECT,
        sizes=ALIKE,
        claim="Object tokens hold at most slightly more than random ones",
        where=SUMMARY,
    ),
    holds_more(
        FEWER_SINKS,
        amount("Sink", 2, share=0.75),
        whole=SINK,
        sizes=FEWER,
        claim="Half as many sinks (N = 4) hold only slightly less than those of N = 2",
        where=SUMMARY,
    ),
    holds_more(
        SINK,
        amount(layerwise_sinks.TOKEN_SET),
        claim="Global sinks hold more than the sinks of each layer",
        where=SUMMARY,
    ),
)

# Hubs 2: of the sinks, it lies in those that the other sense reads.
FINDING_2 = (
    holds_more(
        amount("Cross-modal", 2, 3, 4),
        amount("Unimodal", 2, 3, 4),
        whole=SINK,
        claim="Cross-modal sinks hold more than unimodal ones",
        where="table 2",
    ),
    holds_more(
        amount("Cross-modal", 2),
        amount("Sink", 2, share=0.5),
        whole=SINK,
        claim="Cross-modal sinks are the primary carriers of what sinks hold",
        where="Hubs 2, table 2",
    ),
)

# What is said beside Hubs 2.
FINDING_2_BESIDE = (
    holds_more(
        amount("Cross-modal", 2),
        amount("All", share=0.5),
        claim="Cross-modal sinks hold the vast majority of all cross-modal information",
        where=SUMMARY,
    ),
)

OF_EFFECTS = (*FINDING_1, *FINDING_1_BESIDE, *FINDING_2, *FINDING_2_BESIDE)


def drifted(rows: pd.DataFrame) -> pd.Series:
    """Of each sample, the share of sinks that two layers do not have in common; mean over all pairs with sinks.

    It is a share of the smaller one of the two sets, so a set that grows from layer to layer has not drifted.
    """
    found = {}
    for sample, own in rows.groupby("sample", sort=False):
        flags = own.pivot(index="layer", columns="position", values="sink").to_numpy(dtype=float)  # (layers, tokens)
        flags = flags[flags.any(axis=1)]
        count = flags.sum(axis=1)
        pairs = [(a, b) for a in range(len(flags)) for b in range(a)]
        shared = [flags[a] @ flags[b] / min(count[a], count[b]) for a, b in pairs]
        found[sample] = 1 - sum(shared) / len(shared) if shared else float("nan")
    return pd.Series(found, dtype=float)


def leaning(rows: pd.DataFrame, kind: str, modality: str, *, to_own: bool) -> pd.Series:
    """Of each sample, the mean MDS of one half of a modality's sinks (N = 2), positive if the sense asked for reads."""
    own = rows[(rows["global_2"] == kind) & (rows["modality"] == modality)].drop_duplicates(["sample", "position"])
    return own.groupby("sample")["score"].mean() * SENSES[modality] * (1 if to_own else -1)


def _read_by(kind: str, *, to_own: bool, claim: str) -> Rule:
    """The rule that the half of this kind is read mainly by its own sense, or by the other one, in both modalities."""
    parts = [
        lies_above(
            0.0,
            value=lambda rows, modality=modality: leaning(rows, kind, modality, to_own=to_own),
            what=f"MDS of {kind} {modality} sinks (N = 2) towards {modality if to_own else other}",
            claim=f"{modality} sinks",
            where="",
            unit="+.2f",
        )
        for modality, other in (("video", "audio"), ("audio", "video"))
    ]
    return every_part(parts, claim=claim, where="the poster, on the two kinds of sinks")


OF_SINKS = tuple(
    replace(rule, reads="sinks")
    for rule in (
        lies_above(
            0.1,
            value=drifted,
            what="share of sinks that two layers do not have in common",
            claim="Sinks drift: which tokens are sinks changes from layer to layer",
            where=SUMMARY,
        ),
        _read_by("unimodal", to_own=True, claim="Unimodal sinks are read mainly by their own sense"),
        _read_by("cross-modal", to_own=False, claim="Cross-modal sinks are read mainly by the other sense"),
    )
)
