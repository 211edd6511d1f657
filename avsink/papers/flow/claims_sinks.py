"""What Flow reports of language sinks and vision sinks (figures 2 and 7, on Qwen2.5-Omni-3B): statements and rules.

All rules take rows of `avsink.instruments.sink_kinds.by_group`. The *spike* is, in the upper half of the network, the
layer at which the last token's attention to video rises most, as on the page of Flow's finding 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from avsink.instruments.attention_shares import OUTLIER, spike
from avsink.instruments.sink_kinds import LANGUAGE, VISION, begins, shared
from avsink.results.rules import lies_above
from avsink.results.verdicts import Found, Rule

__all__ = ["FIGURE_2", "FIGURE_7"]

LATE = 0.5  # of the network's layers; the paper's vision sinks begin at layer 31 of 36
MIDDLE = 15 / 36  # of the network's layers: where the paper sees the language sink


def _spike(rows: pd.DataFrame) -> int | None:
    """The layer of the spike; None if no sample has video."""
    return spike(rows) if rows.loc[rows["group"] == VISION, "tokens"].any() else None


def _norms(rows: pd.DataFrame) -> pd.Series:
    """The norm of the video tokens that the last token reads at the spike, over the median norm of that layer."""
    own = rows[(rows["group"] == VISION) & (rows["layer"] == _spike(rows))].set_index("sample")
    return own["l2_read"] / own["l2_all"]


def _shared(rows: pd.DataFrame) -> pd.Series:
    """Of the dimensions that are massive in vision or language sinks at the spike, the fraction that is in both."""
    return shared(rows, layer=_spike(rows))


def _present(rows: pd.DataFrame) -> pd.Series:
    """Whether a language sink has begun by the depth at which the paper sees it."""
    n_layers = rows["n_layers"].max()
    return (begins(rows, group=LANGUAGE) <= MIDDLE * n_layers).astype(float)


def _persists(rows: pd.DataFrame) -> pd.Series:
    """Of the layers from the language sink's first one up to the spike, the fraction that has one."""
    last = _spike(rows)
    first = rows["sample"].map(begins(rows, group=LANGUAGE))
    reached = (rows["layer"] >= first) & (rows["layer"] <= (-1 if last is None else last))
    own = rows[reached & (rows["group"] == LANGUAGE)]
    return (own["sinks"] > 0).groupby(own["sample"], sort=False).mean()


def _later(rows: pd.DataFrame) -> pd.Series:
    """By how many layers vision sinks begin after language sinks."""
    return begins(rows, group=VISION) - begins(rows, group=LANGUAGE)


def _depth(rows: pd.DataFrame) -> pd.Series:
    """The depth at which vision sinks begin, as a fraction of the network."""
    return begins(rows, group=VISION) / rows["n_layers"].max()


def _loud(rows: pd.DataFrame) -> pd.Series:
    """The median norm of video tokens at layer 0, over that of language tokens."""
    own = rows[rows["layer"] == 0].pivot(index="sample", columns="group", values="l2")
    own = own.reindex(columns=[VISION, LANGUAGE])
    return own[VISION] / own[LANGUAGE]


def _rule(bar: float, *, value: Callable[[pd.DataFrame], pd.Series], lacking: str, **words: str) -> Rule:
    """`lies_above`, which says what is lacking where no sample has the number."""
    rule = lies_above(bar, value=value, **words)

    def test(rows: pd.DataFrame) -> Found:
        if len(rows) and value(rows).dropna().empty:
            return Found("not measured", f"no sample has {lacking} (n = {rows['sample'].nunique()})")
        return rule.test(rows)

    return replace(rule, test=test)


FIGURE_2 = (
    _rule(
        OUTLIER,
        value=_norms,
        lacking="video",
        what="norm of the video tokens that the last token reads at the spike, over the layer's median norm",
        claim="Vision sinks, on which the spike of attention falls, have much larger norms than other tokens",
        where="figure 2, left",
        unit=".1f",
    ),
    _rule(
        0.5,
        value=_shared,
        lacking="a vision sink and a language sink at the spike",
        what="at the spike, dimensions that are massive in both vision and language sinks, of those massive in either",
        claim="Vision sinks are massive in the same dimensions as language sinks",
        where="figure 2, right",
    ),
)
FIGURE_7 = (
    _rule(
        1.0,
        value=_loud,
        lacking="video",
        what="median norm of video tokens at layer 0, over that of the system prompt's",
        claim="Before the first layer, tokens of the media have larger norms than those of language",
        where="figure 7, layer 0",
        unit=".2f",
    ),
    _rule(
        0.5,
        value=_present,
        lacking="tokens before its media",
        what=f"samples with a language sink within the first {MIDDLE:.0%} of the layers",
        claim="By layer 15 of 36 a language sink is there",
        where="figure 7, layer 15",
    ),
    _rule(
        0.5,
        value=_persists,
        lacking="a language sink before the spike",
        what="layers with a language sink, of those from its first one to the spike",
        claim="The language sink persists",
        where="figure 7, layers 15 to 30",
    ),
    _rule(
        0.0,
        value=_later,
        lacking="a vision sink and a language sink",
        what="layers from the first language sink to the first vision sink",
        claim="Vision sinks emerge later than the language sink",
        where="figure 7, layers 15 and 31",
        unit="+.1f",
    ),
    _rule(
        LATE,
        value=_depth,
        lacking="a vision sink",
        what="depth at which vision sinks begin, as a fraction of the layers",
        claim="Vision sinks emerge late, at layer 31 of 36",
        where="figure 7, layer 31",
    ),
)
