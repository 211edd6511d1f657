"""The papers' own numbers: CSV files in ``data/papers``, whose README says which is what."""

from __future__ import annotations

import pandas as pd

from avsink import resources

__all__ = ["paper"]


def paper(name: str) -> pd.DataFrame:
    """One of the tables, `flow_table1_late_layer_masking` for example."""
    return pd.read_csv(resources.existing("papers", f"{name}.csv"))
