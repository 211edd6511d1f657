"""Hubs (arXiv 2605.10815): dominance, indirect effects, sinks, the Modality Dominance Score and its halves."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from formulas.decoder import Pass

__all__ = [
    *("counted", "dominance", "global_sinks", "halves", "ie_clean", "ie_corrupt", "jaccard", "mds", "mean", "phi"),
    "received",
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
    """(Ā_video - Ā_audio) / (Ā_video + Ā_audio), where a modality that does not read pays 0; 0 if nobody reads."""
    paid = {name: 0.0 if math.isnan(value) else value for name, value in (("video", video), ("audio", audio))}
    if not any(paid.values()):
        return 0.0
    return (paid["video"] - paid["audio"]) / sum(paid.values())


def counted(flags: Sequence[Sequence[bool]], *, one_in: int) -> list[int]:
    """As the authors take global sinks: a dictionary of counts that is filled layer by layer, each by position, and of
    its entries, which keep the order in which they were made, always the first one with the highest count."""
    count: dict[int, int] = {}
    for layer in flags:
        for token, flagged in enumerate(layer):
            if flagged:
                count[token] = count.get(token, 0) + 1
    taken: list[int] = []
    while count and len(taken) < len(flags[0]) // one_in:
        most = max(count.values())
        taken.append(next(token for token, times in count.items() if times == most))
        del count[taken[-1]]
    return sorted(taken)


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


def halves(
    scores: dict[int, float], *, modality: str, by: str = "halves", unread: Collection[int] | None = None
) -> tuple[list[int], list[int], list[int]]:
    """Global sinks of a modality and their scores -> (unimodal, cross-modal, neither).

    Unimodal is the half that leans most to its own modality: to +1 of video, to -1 of audio. The middle one of an odd
    number is cross-modal. By the sign, unimodal leans to its own modality, and cross-modal to the other one.

    Args:
        scores: Global sink -> score; NaN for none. Such a sink is neither.
        modality: That of the sinks.
        by: "halves" or "sign".
        unread: In the stricter reading, the tokens after which no video or no audio comes: these are neither, and so is
            the middle one. None in the default reading.
    """
    strict = unread is not None
    lean = {t: score if modality == "video" else -score for t, score in scores.items() if score == score}
    lean = {t: score for t, score in lean.items() if not (strict and t in unread)}
    unimodal, crossmodal = [], []
    if by == "sign":
        unimodal, crossmodal = [t for t in lean if lean[t] > 0], [t for t in lean if lean[t] < 0]
    else:
        left = sorted(lean)
        while len(left) > (1 if strict else 0):  # the one that leans most, then the one that leans least, and so on
            if len(left) > 1:
                most = max(lean[t] for t in left)
                unimodal.append(next(t for t in left if lean[t] == most))
                left.remove(unimodal[-1])
            least = min(lean[t] for t in left)
            crossmodal.append([t for t in left if lean[t] == least][-1])
            left.remove(crossmodal[-1])
    neither = [t for t in scores if t not in unimodal and t not in crossmodal]
    return sorted(unimodal), sorted(crossmodal), sorted(neither)


def jaccard(one: set[int], other: set[int]) -> float:
    """How alike two sets are: common members among all members; NaN if both are empty."""
    return len(one & other) / len(one | other) if one | other else NAN
