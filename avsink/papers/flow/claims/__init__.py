"""What *From Senses to Decisions* reports, finding by finding: each statement with the rule by which a run is judged.

The paper prints curves and describes them in words, so its statements are paraphrased. "Almost every task" is read as
at least three quarters of the categories. Depths have no numbers in the paper; how they are read here is in
`avsink.papers.flow.claims.depths`. Kinds of rules are in `avsink.results.rules`, margins in `avsink.results.verdicts`.
"""

from avsink.papers.flow.claims.attention import FINDING_1
from avsink.papers.flow.claims.discarding import FINDING_4_BESIDE, FINDING_4_CLIP, FINDING_4_INTERLEAVED
from avsink.papers.flow.claims.interleaved import (
    FINDING_3,
    FINDING_3_FIGURE_5,
    FINDING_3_FIGURE_6,
    FINDING_3_FIGURE_13,
    FINDING_3_FIGURE_14,
)
from avsink.papers.flow.claims.pathways import (
    FINDING_2,
    FINDING_2_APPENDIX,
    FINDING_2_FIGURE_3,
    FINDING_2_FIGURE_4,
    FINDING_2_FIGURE_9,
    FINDING_2_FIGURE_10,
)
from avsink.papers.flow.claims.windows import FINDING_2_FIGURE_8

__all__ = [
    "FINDING_1",
    "FINDING_2",
    "FINDING_2_APPENDIX",
    "FINDING_2_FIGURE_3",
    "FINDING_2_FIGURE_4",
    "FINDING_2_FIGURE_8",
    "FINDING_2_FIGURE_9",
    "FINDING_2_FIGURE_10",
    "FINDING_3",
    "FINDING_3_FIGURE_5",
    "FINDING_3_FIGURE_6",
    "FINDING_3_FIGURE_13",
    "FINDING_3_FIGURE_14",
    "FINDING_4_BESIDE",
    "FINDING_4_CLIP",
    "FINDING_4_INTERLEAVED",
]
