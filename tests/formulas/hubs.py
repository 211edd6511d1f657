"""Hubs (arXiv 2605.10815): dominance, indirect effects, sinks, the Modality Dominance Score and its halves."""

from __future__ import annotations

import math
from collections.abc import Sequence

from formulas.decoder import Pass

__all__ = [
    *("dominance", "global_sinks", "halves", "ie_clean", "ie_corrupt", "jaccard", "mds", "mean", "phi", "received"),
]

NAN = math.nan


def mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else NAN


def dominance(av: str, a: str, v: str) -> str:
    """Audio-dominant: ŷ_av = ŷ_a ≠ ŷ_v. Video-dominant: ŷ_av = ŷ_v ≠ ŷ_a."""
    if av == a and a != v:
        return "audio"
    if av == v and v != a:
        return "video"
    return "both" if len({av, a, v}) == 1 else "neither"


def ie_clean(restored: dict[str, float], corrupted: dict[str, float], o_clean: str) -> float:
    return restored[o_clean] - corrupted[o_clean]


def ie_corrupt(restored: dict[str, float], corrupted: dict[str, float], o_corrupt: str) -> float:
    return corrupted[o_corrupt] - restored[o_corrupt]


def phi(x: Sequence[float], dims: Sequence[int]) -> float:
    """φ = max over d in D of |x_d| / rms(x)."""
    return max(abs(x[d]) for d in dims) / math.sqrt(mean([value**2 for value in x]))


def received(found: Pass, layer: int, token: int, group: Sequence[int]) -> float:
    """Ā: the mean over heads and over the later queries of a group of the attention that they pay to a token."""
    weights = found.weights[layer]
    return mean(
        [float(weights[head, query, token]) for head in range(len(weights)) for query in group if query > token]
    )


def mds(video: float, audio: float) -> float:
    """(Ā_video - Ā_audio) / (Ā_video + Ā_audio); NaN where one of them does not exist, or nobody reads the token."""
    return (video - audio) / (video + audio) if video + audio > 0 else NAN


def global_sinks(flags: Sequence[Sequence[bool]], phis: Sequence[Sequence[float]], *, one_in: int) -> list[int]:
    """Of all |T| tokens, the ⌊|T|/N⌋ that are sinks at the most layers.

    Ties: the higher mean φ over layers, then the lower position. A token that is never a sink is not taken.
    """
    tokens = range(len(flags[0]))
    count = [sum(layer[token] for layer in flags) for token in tokens]
    size = [mean([layer[token] for layer in phis]) for token in tokens]
    taken: list[int] = []
    while len(taken) < len(flags[0]) // one_in:
        left = [token for token in tokens if count[token] and token not in taken]
        if not left:
            break
        most = max(count[token] for token in left)
        left = [token for token in left if count[token] == most]
        highest = max(size[token] for token in left)
        taken.append(min(token for token in left if size[token] == highest))
    return sorted(taken)


def halves(scores: dict[int, float], *, modality: str) -> tuple[list[int], list[int], list[int]]:
    """Global sinks of a modality and their scores -> (unimodal, cross-modal, neither).

    Unimodal is the half that leans most to its own modality: to +1 of video, to -1 of audio. The middle one of an odd
    number is neither, and so is a token without a score.
    """
    known = {token: score for token, score in scores.items() if not math.isnan(score)}
    own = sorted(known, key=lambda token: (-known[token] if modality == "video" else known[token], token))
    count = len(own) // 2
    unimodal, crossmodal = own[:count], own[-count:] if count else []
    neither = [token for token in scores if token not in unimodal and token not in crossmodal]
    return sorted(unimodal), sorted(crossmodal), sorted(neither)


def jaccard(one: set[int], other: set[int]) -> float:
    """How alike two sets are: common members among all members; NaN if both are empty."""
    return len(one & other) / len(one | other) if one | other else NAN
