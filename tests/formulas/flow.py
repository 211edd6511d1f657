"""Flow (arXiv 2606.10147): answers' probabilities, pathways, windows, Δp, shares of attention, discarding."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from formulas.prompts import CORRECT, RIGHT, Token

__all__ = ["CUT", "change", "edges", "letters", "needed", "softmax", "spike", "window"]


def softmax(logits: Sequence[float]) -> list[float]:
    largest = max(logits)
    powers = [math.exp(x - largest) for x in logits]
    return [power / sum(powers) for power in powers]


def letters(logits: Sequence[float], spellings: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """The probability of each letter, that of its most probable spelling."""
    p = softmax(logits)
    return {letter: max(p[token] for token in tokens) for letter, tokens in spellings.items()}


def window(center: int, *, k: int, n_layers: int) -> list[int]:
    """The layers at most ⌊k/2⌋ away from the centre, of those that there are."""
    return [layer for layer in range(n_layers) if abs(layer - center) <= k // 2]


def change(p_knockout: float, p_base: float) -> float:
    """Δp: by which fraction of p_base the probability has grown; negative if it has fallen."""
    return p_knockout / p_base - 1


# Which tokens a name of the paper stands for (sections 4 and 5, appendix F.1.2).

SEEN: Callable[[Token], bool] = lambda t: t.kind == "video"  # noqa: E731
KINDS: dict[str, Callable[[Token], bool]] = {
    "Video": SEEN,
    "Audio": lambda t: t.kind == "audio",
    "V+A": lambda t: t.kind in ("video", "audio"),
    "Question": lambda t: t.asked,
    "NonOptQ": lambda t: t.asked and t.kind != "letter",
    "TrueOpt": lambda t: t.kind == "letter" and t.item == RIGHT,
    "FalseOpt": lambda t: t.kind == "letter" and t.item != RIGHT,
    "Last": lambda t: t.kind == "last",
    "Candidates": lambda t: t.role == "candidate",
    "Reference": lambda t: t.role == "reference",
    "CorrectCand": lambda t: t.role == "candidate" and t.item == CORRECT,
    "IncorrectCand": lambda t: t.role == "candidate" and t.item != CORRECT,
    "CorrectOpt": lambda t: t.kind == "letter" and t.item == RIGHT,
    "IncorrectOpt": lambda t: t.kind == "letter" and t.item != RIGHT,
    "TrueLine": lambda t: t.kind in ("letter", "word", "text") and t.item == RIGHT,
    "Labels": lambda t: t.kind == "label",
}
WITHIN: dict[str, Callable[[Token], bool]] = {
    "Within the stem": lambda t: t.asked and t.item < 0,
    "Within the reference": lambda t: t.role == "reference",
}


def _cut(name: str) -> Callable[[Token, Token], bool]:
    """(key, query) -> whether the pathway of this name is made of the edge between them."""
    if name == "Cross-frame":
        return lambda key, query: key.kind == query.kind == "video" and key.part != query.part
    if name == "Cross-audio":
        return lambda key, query: key.kind == query.kind == "audio" and key.part != query.part
    if name == "Cross-candidate":
        return lambda key, query: key.role == query.role == "candidate" and key.item != query.item
    if "↮" in name:
        one, other = (KINDS[part] for part in name.split("↮"))
        return lambda key, query: one(key) and other(query) or other(key) and one(query)
    if name in WITHIN:
        return lambda key, query: WITHIN[name](key) and WITHIN[name](query)  # `edges` leaves each token to itself
    source, target = name.split("↛")
    if target == "Others":
        return lambda key, query: KINDS[source](key) and not KINDS[source](query)
    return lambda key, query: KINDS[source](key) and KINDS[target](query)


# The pathways of the figures that the paper prints.
CUT: dict[str, Callable[[Token, Token], bool]] = {
    name: _cut(name)
    for name in (
        *("Cross-frame", "Cross-audio", "Audio↮Video"),  # 3
        *("Video↛Question", "Audio↛Question", "Video↛Last", "Audio↛Last", "Question↛Last"),  # 4
        *("Video↛Audio", "Audio↛Video", "V+A↛Question", "V+A↛Last"),  # 9
        *("Video↛NonOptQ", "Audio↛NonOptQ", "V+A↛NonOptQ"),  # 10
        *("Video↛TrueOpt", "Audio↛TrueOpt", "V+A↛TrueOpt", "NonOptQ↛TrueOpt"),
        *("TrueOpt↛Last", "FalseOpt↛Last", "NonOptQ↛Last"),
        *("Cross-candidate", "Candidates↛Reference", "Question↛Reference", "Candidates↛Question"),  # 5
        *("Reference↛Last", "Candidates↛Last"),
        *("CorrectCand↛CorrectOpt", "IncorrectCand↛CorrectOpt", "Reference↛CorrectOpt", "Question↛CorrectOpt"),  # 6
        *("CorrectCand↛Last", "IncorrectCand↛Last", "CorrectOpt↛Last", "IncorrectOpt↛Last"),
        *("Video↛Others", "Audio↛Others", "Question↛Others", "NonOptQ↛Others"),  # ours
        *("Candidates↛Others", "Reference↛Others"),
        *("Labels↛Candidates", "TrueLine↛Last", *WITHIN),
    )
}


def edges(name: str, tokens: Sequence[Token]) -> set[tuple[int, int]]:
    """The pathway's edges (key, query) that a causal mask leaves, found by looking at every pair of tokens."""
    cut = CUT[name]
    itself = name not in WITHIN
    return {
        (j, i)
        for i, query in enumerate(tokens)
        for j, key in enumerate(tokens)
        if (j < i or j == i and itself) and cut(key, query)
    }


def spike(shares: Sequence[Sequence[float]]) -> int:
    """Of shares of attention to video, one list of layers per sample: the layer of the upper half at which their mean
    rises most over the layer before."""
    layers = len(shares[0])
    mean = [sum(sample[layer] for sample in shares) / len(shares) for layer in range(layers)]
    upper = [layer for layer in range(layers) if layer >= layers / 2]
    return max(upper, key=lambda layer: mean[layer] - mean[layer - 1])


def needed(lows: Mapping[str, Sequence[float]], *, margin: float) -> int:
    """The first layer L after which blocking does no harm, and neither does it after any deeper layer.

    lows: for each category, the lower ends of the intervals of Δp for L = -1, 0, 1, …; NaN where there is none.
    """
    count = len(next(iter(lows.values())))
    for first in range(count):
        if all(own[at] > -margin for own in lows.values() for at in range(first, count)):
            return first - 1
    return count - 1
