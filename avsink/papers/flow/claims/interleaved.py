"""Finding 3: interleaved inputs take two parallel pathways (section 5; figures 5 and 6).

The paper averages over tasks, so all samples are judged together; that the same holds for each task and direction is a
statement of its own (appendix F.3, figures 13 and 14). To be judged on the most common order of segments.
"""

from __future__ import annotations

from functools import partial

from avsink.papers.flow.claims.depths import LATE, MIDDLE
from avsink.results import rules
from avsink.results.rules import comes_first, every_part, in_each_category, lies_at_depth

__all__ = ["FINDING_3", "FINDING_3_FIGURE_5", "FINDING_3_FIGURE_6", "FINDING_3_FIGURE_13", "FINDING_3_FIGURE_14"]

drops, rises, stays_flat, costs_more = (
    partial(rule, scope="together") for rule in (rules.drops, rules.rises, rules.stays_flat, rules.costs_more)
)
FIGURE_5, FIGURE_6A, FIGURE_6B = "§5.2, fig. 5", "§5.3, fig. 6a", "§5.3, fig. 6b"
FIGURE_6C, FIGURE_6D = "§5.3, fig. 6c", "§5.3, fig. 6d"

FINDING_3_FIGURE_5 = (
    drops("Cross-candidate", claim="Candidates exchange information among themselves", where=FIGURE_5),
    drops("Candidates↛Reference", claim="Candidates pass into the reference", where=FIGURE_5),
    drops("Question↛Reference", claim="So does the question", where=FIGURE_5),
    lies_at_depth(
        ("Cross-candidate", "Candidates↛Reference", "Question↛Reference"),
        **MIDDLE,
        claim="All this lies at middle layers",
        where=FIGURE_5,
    ),
    stays_flat("Candidates↛Question", claim="Nothing passes from candidates to the question", where=FIGURE_5),
    drops("Reference↛Last", claim="The reference passes on to the last token", where=FIGURE_5),
    lies_at_depth(("Reference↛Last",), **LATE, claim="It does so at late layers", where=FIGURE_5),
    stays_flat("Candidates↛Last", claim="Candidates do not reach the last token directly", where=FIGURE_5),
    stays_flat("Question↛Last", claim="Nor does the question", where=FIGURE_5),
    comes_first(
        "Cross-candidate",
        "Candidates↛Reference",
        claim="First among the candidates, then into the reference",
        where=FIGURE_5,
    ),
    comes_first(
        "Candidates↛Reference",
        "Reference↛Last",
        claim="First into the reference, then to the last token",
        where=FIGURE_5,
    ),
)
FINDING_3_FIGURE_6 = (
    drops("CorrectCand↛CorrectOpt", claim="The right option's letter draws on the right candidate", where=FIGURE_6A),
    costs_more(
        "CorrectCand↛CorrectOpt",
        "IncorrectCand↛CorrectOpt",
        claim="It draws less on the wrong candidates",
        where=FIGURE_6A,
    ),
    costs_more("CorrectCand↛CorrectOpt", "Reference↛CorrectOpt", claim="… and less on the reference", where=FIGURE_6B),
    every_part(
        (
            drops("IncorrectCand↛CorrectOpt", claim="the wrong candidates", where=FIGURE_6A),
            drops("Reference↛CorrectOpt", claim="the reference", where=FIGURE_6B),
        ),
        claim="Wrong candidates and the reference contribute, too",
        where=f"{FIGURE_6A}-b",
    ),
    lies_at_depth(
        ("CorrectCand↛CorrectOpt", "IncorrectCand↛CorrectOpt", "Reference↛CorrectOpt"),
        **MIDDLE,
        claim="All this lies at middle layers",
        where=f"{FIGURE_6A}-b",
    ),
    every_part(
        (
            stays_flat("CorrectCand↛Last", claim="the right one", where=FIGURE_6C),
            stays_flat("IncorrectCand↛Last", claim="the wrong ones", where=FIGURE_6C),
        ),
        claim="No candidate reaches the last token directly",
        where=FIGURE_6C,
    ),
    stays_flat("Question↛CorrectOpt", claim="It draws nothing from the question", where=FIGURE_6B),
    drops("CorrectOpt↛Last", claim="The last token reads the right option's letter", where=FIGURE_6D),
    rises("IncorrectOpt↛Last", claim="The other letters compete with it", where=FIGURE_6D),
    lies_at_depth(
        ("CorrectOpt↛Last",), **LATE, claim="The last token reads the letters at late layers", where=FIGURE_6D
    ),
)
FINDING_3 = (*FINDING_3_FIGURE_5, *FINDING_3_FIGURE_6)
FINDING_3_FIGURE_13, FINDING_3_FIGURE_14 = (
    (in_each_category(own, claim=f"What figure {one} shows holds for each task and direction", where=where),)
    for own, one, where in (
        (FINDING_3_FIGURE_5, 5, "App. F.3, fig. 13"),
        (FINDING_3_FIGURE_6, 6, "App. F.3, fig. 14"),
    )
)
