"""Taught and found: are the tokens that a model was taught to be hubs the ones that are found as global sinks?

The card of a teaching model lists its hubs (`ModelCard.hubs`), by their place in a clip. A control was taught none, so
nothing should be found in it.
"""

from __future__ import annotations

import pandas as pd

from avsink.papers.hubs import sink_tables
from avsink.results.known import Known, compared, unknown

__all__ = ["hubs"]

NEARLY_ALL = 0.95  # share from which on hubs count as found, and sinks as hubs


def hubs(rows: pd.DataFrame, card, *, one_in: int, n: int) -> list[Known]:
    """Compare what was taught with what was found.

    Args:
        rows: Rows of `avsink.instruments.sinks.by_layer` over many clips; may be empty.
        card: The model's card.
        one_in: The paper's N, one of those in `rows`.
        n: Number of clips asked for, including those without sinks, which have no rows.

    Returns:
        Two facts for each modality: that the hubs are global sinks and no other tokens are, and that the halves of the
        sinks are the kinds that were taught. One fact for a teaching model without hubs.
    """
    if not card.taught:
        return unknown(card)
    if not card.hubs:
        tokens = rows.drop_duplicates(["sample", "position"]) if len(rows) else rows
        found = int((tokens[f"global_{one_in}"] != "").sum()) if len(tokens) else 0
        text = f"{found} global sinks (N = {one_in}) in {n} clips"
        return [Known("no hubs", "no media token is a sink", text, "elsewhere too" if found else "found")]
    facts = []
    for row in sink_tables.recovered(rows, card, one_in=one_in, n=n).itertuples():
        where = f"{row.taught / n:.0f} {row.modality} tokens of a clip"
        text = (
            f"{row.recall:.1%} of {row.taught} hubs are global sinks (N = {one_in}); "
            f"{row.precision:.1%} of {row.found} sinks are hubs"
        )
        there, only = row.recall >= NEARLY_ALL, row.precision >= NEARLY_ALL
        facts.append(
            Known(
                f"hubs of the {row.modality}", where, text, compared(there=there, absent=not there, elsewhere=not only)
            )
        )
        text = f"{row.right_kind:.1%} of {row.taught} hubs are found as the kind that they were taught to be"
        kinds = "found" if row.right_kind >= NEARLY_ALL else "missed"
        facts.append(Known(f"their kinds ({row.modality})", "unimodal or cross-modal", text, kinds))
    missed = {hub.modality for hub in card.hubs} - {fact.taught.split()[-1] for fact in facts}
    return facts + [Known(f"hubs of the {name}", "–", "no sinks in any clip", "missed") for name in sorted(missed)]
