"""Finding 1: attention allocation does not tell where information flows (section 3; figure 1, table 1).

`FINDING_1` reads two measurements: "allocation" and "masking" of `avsink.instruments.attention_shares`.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from avsink.instruments import attention_shares
from avsink.results.rules import is_most_of, lies_above, unharmed, unless
from avsink.results.verdicts import Rule

__all__ = ["FINDING_1"]


def _share(group: str, rows: pd.DataFrame) -> pd.DataFrame:
    """The group's share of attention, (samples, layers)."""
    return rows[rows["group"] == group].pivot(index="sample", columns="layer", values="share")


def _language(rows: pd.DataFrame) -> pd.Series:
    """Of each sample, the share of layers at which text has more than half of the last token's attention."""
    text = _share("system", rows).add(_share("user instruction", rows))
    return (text > 0.5).mean(axis=1)


def _rises(rows: pd.DataFrame) -> pd.DataFrame:
    """How much video's share rises over the layer before, at each layer of the upper half: (samples, layers)."""
    video = _share("video", rows)
    return video.diff(axis=1)[attention_shares.upper_half(video.shape[1])]


def _rise(group: str, rows: pd.DataFrame) -> pd.Series:
    """Of each sample, how much a group's share rises at the spike, a layer that all samples have in common."""
    layer = attention_shares.spike(rows)
    return _share(group, rows).diff(axis=1)[layer]


def _rise_of_sinks(rows: pd.DataFrame) -> pd.Series:
    """Of each sample, how much the share of the tokens that are sinks at the spike rises there."""
    layer = attention_shares.spike(rows)
    return _share(attention_shares.SINKS, rows)[layer] - _share(attention_shares.SINKS_BEFORE, rows)[layer]


def _left(rows: pd.DataFrame) -> pd.Series:
    """Of each sample, by how much video's share at the last layer is above that before the spike."""
    video = _share("video", rows)
    return video[video.columns[-1]] - video[attention_shares.spike(rows) - 1]


def _ends_at_spike(rows: pd.DataFrame) -> str:
    last = attention_shares.spike(rows) == rows["layer"].max()
    return "the spike is at the last layer, so nothing comes after it" if last else ""


def _hidden_at_one_layer(rows: pd.DataFrame) -> str:
    """At the last layer, what text before the last token reads changes nothing any more."""
    if rows["layers"].max() > 1:
        return ""
    return "media are hidden at the last layer alone, where only the last token counts: the masks are one"


def _masked(mask: str, claim: str) -> Rule:
    baseline = next(iter(attention_shares.MASKS))
    return unharmed(mask, column="mask", baseline=baseline, claim=claim, where="§3, table 1")


VIDEO, TEXT, MEDIA = list(attention_shares.MASKS)[1:]
MAPS = (
    lies_above(
        0.5,
        value=_language,
        what="share of the layers in which text has more than half of the last token's attention",
        claim="Through most of the network the last token attends mainly to text",
        where="§3, fig. 1",
    ),
    lies_above(
        0.1,
        value=_rises,
        what="rise of video's share over the layer before, at some layer of the upper half",
        claim="Attention to video jumps at one layer of the upper half",
        where="§3, fig. 1",
    ),
    unless(
        _ends_at_spike,
        lies_above(
            0.0,
            value=_left,
            what="video's share at the last layer, minus that at the layer before the spike",
            claim="It stays raised to the last layer",
            where="§3, fig. 1",
        ),
        outcome="one layer",
    ),
    is_most_of(
        _rise_of_sinks,
        lambda rows: _rise("video", rows),
        what="of the rise of video's share at the spike, the part of the tokens that are sinks there",
        claim="The jump is made by sinks",
        where="§3, figs. 1 and 2",
        empty="not supported",
    ),
    is_most_of(
        lambda rows: _rise(attention_shares.FIRST, rows),
        lambda rows: _rise("video", rows),
        what="of the rise of video's share at the spike, the part of the first tokens of frames",
        claim="It falls on few tokens, generally the first of a frame",
        where="§3, fig. 1",
        empty="not supported",
    ),
)
MASKS = (
    _masked(VIDEO, "From that layer on, hiding video from the last token costs no accuracy"),
    unless(_hidden_at_one_layer, _masked(TEXT, "Nor does hiding video from all text"), outcome="one layer"),
    _masked(MEDIA, "Nor does hiding video and audio from all text"),
)
FINDING_1 = (
    *(replace(rule, reads="allocation") for rule in MAPS),
    *(replace(rule, reads="masking") for rule in MASKS),
)
