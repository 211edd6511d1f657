"""The papers' own numbers: CSV files in ``data/papers``, described in its README."""

from __future__ import annotations

import pandas as pd

from avsink import resources

__all__ = ["paper"]


def paper(name: str) -> pd.DataFrame:
    """Load one of the tables by its file's name without ".csv", such as `flow_table1_late_layer_masking`."""
    return pd.read_csv(resources.existing("papers", f"{name}.csv"))
