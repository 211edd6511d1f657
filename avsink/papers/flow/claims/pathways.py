"""Finding 2: a single sequential pathway (section 4, appendix F.1; figures 3, 4, 9 and 10)."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from avsink.papers.flow.claims.depths import EARLY_TO_MIDDLE, LATE, MIDDLE
from avsink.papers.tables import paper
from avsink.results.rules import (
    among,
    comes_first,
    costs_more,
    drops,
    every_part,
    is_most_of,
    lies_at_depth,
    reading,
    stays_flat,
)

__all__ = [
    *("FINDING_2", "FINDING_2_APPENDIX", "FINDING_2_FIGURE_3", "FINDING_2_FIGURE_4"),
    *("FINDING_2_FIGURE_9", "FINDING_2_FIGURE_10"),
]

REQUIRED, OTHER = "required modality↛Question", "other modality↛Question"


def _categories(column: str, *values: str) -> Callable[[], list[str]]:
    """The categories of which `data/papers/flow_modalities.csv` says so, read when they are needed."""

    def named() -> list[str]:
        table = paper("flow_modalities")
        return table.loc[table[column].isin(values), "category"].tolist()

    return named


def _by_need(rows: pd.DataFrame) -> pd.DataFrame:
    """Name Video↛Question and Audio↛Question by the modality that a category requires."""
    into = rows[rows["pathway"].isin(["Video↛Question", "Audio↛Question"])]
    needs = paper("flow_modalities").set_index("category")["draws_on"]
    required = into["pathway"] == into["category"].map(needs).str.capitalize() + "↛Question"
    return into.assign(pathway=required.map({True: REQUIRED, False: OTHER}))


def _cost(pathway: str, rows: pd.DataFrame) -> pd.Series:
    """Of each sample, what closing the pathway costs, mean over all layers."""
    return -rows[rows["pathway"] == pathway].groupby("sample")["delta_p"].mean()


ALIGNED, UNALIGNED = _categories("aligned", "yes"), _categories("aligned", "no")

FINDING_2_FIGURE_3 = (
    drops(
        "Cross-frame",
        claim="Attention across frames contributes to almost every task",
        where="§4.2, fig. 3",
        scope="almost every",
    ),
    stays_flat("Cross-audio", claim="Attention across audio chunks matters little in any task", where="§4.2, fig. 3"),
    among(
        ALIGNED,
        drops(
            "Audio↮Video",
            claim="Video and audio exchange information directly in the tasks that need them aligned",
            where="§4.2, fig. 3",
        ),
        kind="that need sound and sight aligned",
    ),
    among(
        UNALIGNED,
        stays_flat(
            "Audio↮Video", claim="They do so little in the tasks that sight alone can solve", where="§4.2, fig. 3"
        ),
        kind="that sight alone can solve",
    ),
    lies_at_depth(
        ("Cross-frame", "Audio↮Video"),
        **EARLY_TO_MIDDLE,
        claim="These interactions lie in early to middle layers",
        where="§4.2, fig. 3",
    ),
)
FINDING_2_FIGURE_4 = (
    drops("V+A↛Question", claim="Video and audio pass into the question in every task", where="§4.3, figs. 4 and 9"),
    lies_at_depth(("V+A↛Question",), **MIDDLE, claim="They do so at middle layers", where="§4.3, fig. 4"),
    among(
        _categories("draws_on", "video", "audio"),
        reading(
            _by_need,
            costs_more(
                REQUIRED,
                OTHER,
                claim="Each task draws mainly on the modality that it requires, such as sight …",
                where="§4.3, fig. 4",
            ),
        ),
        kind="that one modality can solve",
    ),
    among(
        _categories("draws_on", "both"),
        every_part(
            (
                drops("Video↛Question", claim="from video", where="§4.3, fig. 4"),
                drops("Audio↛Question", claim="from audio", where="§4.3, fig. 4"),
            ),
            claim="… and on both at once where it requires both",
            where="§4.3, fig. 4",
        ),
        kind="that need both modalities",
    ),
    drops("Question↛Last", claim="The question carries what they brought to the last token", where="§4.3, fig. 4"),
    lies_at_depth(("Question↛Last",), **LATE, claim="It does so at late layers", where="§4.3, fig. 4"),
    every_part(
        (
            stays_flat("Video↛Last", claim="from video", where="§4.3, fig. 4"),
            stays_flat("Audio↛Last", claim="from audio", where="§4.3, fig. 4"),
            stays_flat("V+A↛Last", claim="from both at once", where="App. F.1.1, fig. 9"),
        ),
        claim="Nothing goes from the media to the last token directly",
        where="§4.3, figs. 4 and 9",
    ),
    comes_first(
        ("Cross-frame", "Audio↮Video"),
        "V+A↛Question",
        claim="First within and between the media, then into the question",
        where="§4.3, figs. 3 and 4",
    ),
    comes_first(
        "V+A↛Question", "Question↛Last", claim="First into the question, then to the last token", where="§4.3, fig. 4"
    ),
)
F11, F12 = "App. F.1.1, fig. 9", "App. F.1.2, fig. 10"
FINDING_2_FIGURE_9 = (
    among(
        ALIGNED,
        costs_more(
            "Video↛Audio",
            "Audio↛Video",
            claim="Where sound and sight must be aligned, video passes into audio more than the other way round",
            where=F11,
        ),
        kind="that need sound and sight aligned",
    ),
    among(
        ALIGNED,
        is_most_of(
            lambda rows: _cost("Video↛Audio", rows),
            lambda rows: _cost("Audio↮Video", rows),
            what="of what closing Audio↮Video costs, mean over layers, the part of Video↛Audio alone",
            claim="That is most of what they exchange",
            where=F11,
            empty="no control",
        ),
        kind="that need sound and sight aligned",
    ),
    among(
        UNALIGNED,
        every_part(
            (
                stays_flat("Video↛Audio", claim="into audio", where=F11),
                stays_flat("Audio↛Video", claim="into video", where=F11),
            ),
            claim="In the other tasks, both directions are near zero",
            where=F11,
        ),
        kind="that sight alone can solve",
    ),
)
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
FINDING_2 = (*FINDING_2_FIGURE_3, *FINDING_2_FIGURE_4)
FINDING_2_APPENDIX = (*FINDING_2_FIGURE_9, *FINDING_2_FIGURE_10)
