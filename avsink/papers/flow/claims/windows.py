"""How wide should a window be? (appendix E; figure 8)

Rows are of sweeps with several k, and their category says which: "k = 7".
"""

from __future__ import annotations

import pandas as pd

from avsink.results.rules import costs_more, lies_above, reading

__all__ = ["FINDING_2_FIGURE_8"]

PATHWAY = "Question↛Last"


def _by_width(rows: pd.DataFrame) -> pd.DataFrame:
    """The pathway's rows, with the width in its name and no other category."""
    own = rows[rows["pathway"] == PATHWAY]
    return own.assign(pathway=PATHWAY + ", " + own["category"], category="all samples")


def _below_half(k: int, rows: pd.DataFrame) -> pd.Series:
    """Of each sample, the share of layers at which Δp is below half of the sample's lowest."""
    own = rows[(rows["pathway"] == PATHWAY) & (rows["category"] == f"k = {k}")]
    curve = own.pivot(index="sample", columns="layer", values="delta_p")
    return curve.le(curve.min(axis=1) / 2, axis=0).mean(axis=1)


FINDING_2_FIGURE_8 = (
    reading(
        _by_width,
        costs_more(
            f"{PATHWAY}, k = 7",
            f"{PATHWAY}, k = 1",
            claim="A narrow window is bypassed: its drops are shallow",
            where="App. E, fig. 8",
        ),
    ),
    lies_above(
        0.1,
        value=lambda rows: _below_half(11, rows) - _below_half(7, rows),
        what=f"{PATHWAY}: share of layers below half of its depth, k = 11 minus k = 7",
        claim="A wide window blurs where a pathway is",
        where="App. E, fig. 8",
    ),
)
