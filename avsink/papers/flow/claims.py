"""What *From Senses to Decisions* reports, finding by finding: each statement with the rule by which a run is judged.

The paper prints curves and describes them in words, so its statements are paraphrased. "Almost every task" is read as
every category. Kinds of rules are in `avsink.results.rules`, margins in `avsink.results.verdicts`.
"""

from __future__ import annotations

import pandas as pd

from avsink.instruments import attention_shares, discarding
from avsink.results.rules import comes_first, costs_more, drops, lies_above, rises, stays_flat, unharmed

__all__ = [
    *("FINDING_1_MAPS", "FINDING_1_MASKS"),
    *("FINDING_2", "FINDING_2_FIGURE_3", "FINDING_2_FIGURE_4", "FINDING_2_FIGURE_8"),
    *("FINDING_2_FIGURE_9", "FINDING_2_FIGURE_10", "FINDING_3_FIGURE_5", "FINDING_3_FIGURE_6"),
    *("FINDING_4_CLIP", "FINDING_4_ELSEWHERE", "FINDING_4_INTERLEAVED"),
]


def _share(group: str, rows: pd.DataFrame) -> pd.DataFrame:
    """The group's share of attention, (samples, layers)."""
    return rows[rows["group"] == group].pivot(index="sample", columns="layer", values="share")


def _language(rows: pd.DataFrame) -> pd.Series:
    """Of each sample, the share of layers at which text has more than half of the last token's attention."""
    text = _share("system", rows).add(_share("user instruction", rows))
    return (text > 0.5).mean(axis=1)


def _rise(rows: pd.DataFrame) -> pd.Series:
    """Of each sample, how much video's share rises at the spike (a layer that all samples have in common)."""
    layer = attention_shares.spike(rows)
    video = _share("video", rows)
    return video[layer] - video[layer - 1]


def _at_first_tokens(rows: pd.DataFrame) -> pd.Series:
    """Of each sample, the part of the attention to video that goes to the first tokens of frames at the spike."""
    layer = attention_shares.spike(rows)
    return _share(attention_shares.FIRST, rows)[layer] / _share("video", rows)[layer]


# Finding 1: attention allocation does not tell where information flows.
FINDING_1_MAPS = (
    lies_above(
        0.75,
        value=_language,
        what="share of the layers in which text has more than half of the last token's attention",
        claim="Through most of the network the last token attends mainly to text",
        where="§3, fig. 1",
    ),
    lies_above(
        0.1,
        value=_rise,
        what="rise of video's share at the spike, over the layer before",
        claim="Attention to video jumps at one layer of the upper half",
        where="§3, fig. 1",
    ),
    lies_above(
        0.5,
        value=_at_first_tokens,
        what="part of video's share at the spike that goes to the first tokens of frames",
        claim="The jump is made by a few tokens, generally the first of a frame",
        where="§3, fig. 1",
    ),
)
FINDING_1_MASKS = tuple(
    unharmed(mask, column="mask", baseline=next(iter(attention_shares.MASKS)), claim=claim, where="§3, table 1")
    for mask, claim in zip(
        list(attention_shares.MASKS)[1:],
        (
            "From that layer on, hiding video from the last token costs no accuracy",
            "Nor does hiding video from all text",
            "Nor does hiding video and audio from all text",
        ),
        strict=True,
    )
)

# Finding 2: a single sequential pathway.
FINDING_2_FIGURE_3 = (
    drops("Cross-frame", claim="Attention across frames contributes to almost every task", where="§4.2, fig. 3"),
    stays_flat("Cross-audio", claim="Attention across audio chunks matters little in any task", where="§4.2, fig. 3"),
    drops(
        "Audio↮Video",
        claim="Video and audio exchange information directly in the tasks that need them aligned",
        where="§4.2, fig. 3",
        scope="any",
    ),
    comes_first(
        "Cross-frame",
        "Question↛Last",
        claim="These interactions lie in early to middle layers, before the prediction is read out",
        where="§4.2, figs. 3 and 4",
    ),
)
FINDING_2_FIGURE_4 = (
    drops("V+A↛Question", claim="Video and audio pass into the question in every task", where="§4.3, figs. 4 and 9"),
    drops("Question↛Last", claim="The question carries what they brought to the last token", where="§4.3, fig. 4"),
    stays_flat("V+A↛Last", claim="Nothing goes from the media to the last token directly", where="§4.3, figs. 4 and 9"),
    comes_first(
        "V+A↛Question", "Question↛Last", claim="First into the question, then to the last token", where="§4.3, fig. 4"
    ),
)
F12 = "App. F.1.2, fig. 10"
FINDING_2_FIGURE_10 = (
    drops("V+A↛TrueOpt", claim="Video and audio pass straight into the right option's letter", where=F12),
    drops(
        "V+A↛NonOptQ", claim="In most tasks they also pass into the question's other words …", where=F12, scope="most"
    ),
    drops("NonOptQ↛TrueOpt", claim="… and from there into that letter", where=F12, scope="most"),
    drops("TrueOpt↛Last", claim="The last token reads the right option's letter", where=F12),
    stays_flat("FalseOpt↛Last", claim="It reads nothing from the letters of wrong options", where=F12),
    stays_flat("NonOptQ↛Last", claim="Nor from the question's other words", where=F12),
)
FINDING_2_FIGURE_9 = (
    costs_more(
        "Video↛Audio",
        "Audio↛Video",
        claim="Where sound and sight must be aligned, video passes into audio more than the other way round",
        where="App. F.1.1, fig. 9",
        scope="any",
    ),
)
FINDING_2 = (*FINDING_2_FIGURE_3, *FINDING_2_FIGURE_4)

# Finding 3: interleaved inputs take two parallel pathways. To be judged on the most common order of segments.
FINDING_3_FIGURE_5 = (
    drops("Cross-candidate", claim="Candidates exchange information among themselves", where="§5.2, fig. 5"),
    drops("Candidates↛Reference", claim="Candidates pass into the reference", where="§5.2, fig. 5"),
    drops("Question↛Reference", claim="So does the question", where="§5.2, fig. 5"),
    stays_flat("Candidates↛Question", claim="Nothing passes from candidates to the question", where="§5.2, fig. 5"),
    drops("Reference↛Last", claim="The reference passes on to the last token", where="§5.2, fig. 5"),
    stays_flat("Candidates↛Last", claim="Candidates do not reach the last token directly", where="§5.2, fig. 5"),
    stays_flat("Question↛Last", claim="Nor does the question", where="§5.2, fig. 5"),
    comes_first(
        "Candidates↛Reference",
        "Reference↛Last",
        claim="First into the reference, then to the last token",
        where="§5.2, fig. 5",
    ),
)
FINDING_3_FIGURE_6 = (
    drops(
        "CorrectCand↛CorrectOpt",
        claim="The right option's letter draws on the right candidate",
        where="§5.3, fig. 6a",
    ),
    costs_more(
        "CorrectCand↛CorrectOpt",
        "IncorrectCand↛CorrectOpt",
        claim="It draws less on the wrong candidates",
        where="§5.3, fig. 6a",
    ),
    costs_more(
        "CorrectCand↛CorrectOpt",
        "Reference↛CorrectOpt",
        claim="… and less on the reference",
        where="§5.3, fig. 6b",
    ),
    stays_flat("CorrectCand↛Last", claim="No candidate reaches the last token directly", where="§5.3, fig. 6c"),
    stays_flat("Question↛CorrectOpt", claim="It draws nothing from the question", where="§5.3, fig. 6b"),
    drops("CorrectOpt↛Last", claim="The last token reads the right option's letter", where="§5.3, fig. 6d"),
    rises("IncorrectOpt↛Last", claim="The other letters compete with it", where="§5.3, fig. 6d"),
)


# Appendix E: how wide should a window be? Rows are of sweeps with several k, and their category says which: "k = 7".
def _curves(pathway: str, k: int, rows: pd.DataFrame) -> pd.DataFrame:
    """Δp of a pathway blocked in windows of k layers, (samples, layers)."""
    own = rows[(rows["pathway"] == pathway) & (rows["category"] == f"k = {k}")]
    return own.pivot(index="sample", columns="layer", values="delta_p")


def _deepest(pathway: str, k: int, rows: pd.DataFrame) -> pd.Series:
    """Of each sample, Δp at the layer where the mean is lowest."""
    curve = _curves(pathway, k, rows)
    return curve[curve.mean().idxmin()] if len(curve) else pd.Series(dtype=float)


def _below_half(pathway: str, k: int, rows: pd.DataFrame) -> pd.Series:
    """Of each sample, the share of layers at which Δp is below half of the sample's lowest."""
    curve = _curves(pathway, k, rows)
    return curve.le(curve.min(axis=1) / 2, axis=0).mean(axis=1)


FINDING_2_FIGURE_8 = (
    lies_above(
        0.1,
        value=lambda rows: _deepest("Question↛Last", 1, rows) - _deepest("Question↛Last", 7, rows),
        what="Question↛Last: how much deeper it falls with k = 7 than with k = 1",
        claim="A narrow window is bypassed: its drops are shallow",
        where="App. E, fig. 8",
    ),
    lies_above(
        0.1,
        value=lambda rows: _below_half("Question↛Last", 11, rows) - _below_half("Question↛Last", 7, rows),
        what="Question↛Last: share of layers below half of its depth, k = 11 minus k = 7",
        claim="A wide window blurs where a pathway is",
        where="App. E, fig. 8",
    ),
)

# Finding 4: tokens can be discarded once their information has been passed on.
FINDING_4_CLIP, FINDING_4_INTERLEAVED = (
    tuple(
        unharmed(
            config,
            column="config",
            baseline=discarding.BASELINE,
            claim=f"{config}: no accuracy is lost, or hardly any",
            where="§6, table 4",
        )
        for config in (*kinds, discarding.ALL)
    )
    for kinds in (discarding.CLIP, discarding.INTERLEAVED)
)
FINDING_4_ELSEWHERE = (
    unharmed(
        discarding.ALL,
        column="config",
        baseline=discarding.BASELINE,
        claim="That generalises to a task on which the layers were not chosen",
        where="§6, table 4",
    ),
)
