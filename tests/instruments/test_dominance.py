"""Tables of dominance where nothing was measured, and where degradations are known."""

from __future__ import annotations

import pandas as pd

from avsink.charts import descriptions
from avsink.instruments import dominance
from avsink.results.bootstrap import summarise


def test_where_nothing_was_measured_tables_are_empty():
    nothing = pd.DataFrame()
    shares = summarise(dominance.shares(nothing), by=["category", "dominance"], value="share")
    levels = summarise(dominance.by_level(nothing), by=["series", "category", "level"], value="value")
    assert shares.empty and levels.empty and dominance.degraded(nothing).empty
    assert descriptions.by_level(levels) == descriptions.shares_of(shares, name="dominance") == descriptions.NOTHING


def test_degraded_clips_have_fog_and_noise():
    rows = pd.DataFrame({"sample": list("abc"), "fog": [0.5, 0.0, 0.5], "noise": [0.5, 0.5, float("nan")]})
    assert dominance.degraded(rows)["sample"].tolist() == ["a"]
