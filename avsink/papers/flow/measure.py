"""What *From Senses to Decisions* measures: which pathways, in which windows, on which kind of input.

Each measurement is an instrument and its settings, for `avsink.measure`:

================================  =======================================================  ========================
instrument                        settings                                                 Flow
================================  =======================================================  ========================
`attention_shares.allocation`                                                              figure 1
`attention_shares.masking`        ``first_layer``                                          table 1
`knockout.sweep`                  ``k``, ``pathways=CLIP`` or ``INTERLEAVED``              figures 3 to 6, 8 to 14
`knockout.onward`                 ``pathways=OUT[kind]``                                   the layers of table 4
`discarding.compare`              ``after=layers_to_discard(...)``                         table 4
================================  =======================================================  ========================

Pages that ask for the same settings read the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from avsink.instruments import discarding
from avsink.instruments.pathways import FIGURE_3, FIGURE_4, FIGURE_5, FIGURE_6, FIGURE_9, FIGURE_10
from avsink.results.bootstrap import summarise
from avsink.results.verdicts import MARGIN
from avsink.sample import Sample

__all__ = ["ABLATED", "CLIP", "INTERLEAVED", "OUT", "WINDOWS", "kind_of", "layers_to_discard"]

OUT = {
    "clip": ("Video↛Others", "Audio↛Others", "NonOptQ↛Others"),
    "interleaved": ("Candidates↛Others", "Reference↛Others", "NonOptQ↛Others"),
}
"""Kind of input -> the pathways with all edges out of each group that table 4 discards."""
CLIP = (*FIGURE_3, *FIGURE_4, *FIGURE_9, *FIGURE_10, *OUT["clip"], "TrueLine↛Last", "Within the stem")
INTERLEAVED = (
    *(*FIGURE_5, *FIGURE_6, *OUT["interleaved"]),
    *("TrueLine↛Last", "Labels↛Candidates", "Within the reference"),
)
ABLATED = ("Video↛Question", "Audio↛Question", "Question↛Last")
"""Pathways of figure 8, blocked in windows of `WINDOWS` layers."""
WINDOWS = (1, 3, 5, 7, 9, 11)


def layers_to_discard(rows: pd.DataFrame, *, n_layers: int, margin: float = MARGIN) -> dict[str, int]:
    """Find the layer after which each group of tokens can be discarded, by the rule of `discarding.last_needed`.

    Args:
        rows: Rows of `knockout.onward` over many samples; may be empty.
        n_layers: Number of layers of the model.
        margin: The largest change of the answer's probability, as a fraction, that counts as none.

    Returns:
        Group of tokens -> layer.
    """
    if rows.empty:
        return {}
    curves = summarise(rows, by=["pathway", "layer", "category"])
    rule = {"n_layers": n_layers, "margin": margin}
    return {
        name.partition("↛")[0]: discarding.last_needed(curves, pathway=name, **rule)
        for name in rows["pathway"].unique()
    }


def kind_of(samples: Sequence[Sample]) -> str:
    """Find the kind of these samples, `clip` or `interleaved`; `clip` if there are none.

    Raises:
        ValueError: They are of several kinds.
    """
    kinds = {sample.kind for sample in samples}
    if len(kinds) > 1:
        raise ValueError(
            f"these samples are of several kinds, {' and '.join(sorted(kinds))}; choose one task with `task`"
        )
    return kinds.pop() if kinds else "clip"
