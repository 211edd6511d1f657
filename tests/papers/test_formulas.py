"""The papers' tables of effects: means over samples in points, and shares of the effect of restoring all tokens."""

from __future__ import annotations

import csv
import random

import pandas as pd
import pytest
from formulas.hubs import mean
from formulas.statistics import interval, quantile, resampled

from avsink.papers.hubs import reported
from avsink.resources import data

SETS = {"All": ("All", 0), "Sink (N=2)": ("Sink", 2), "Random (N=2)": ("Random", 2), "Sink (N=3)": ("Sink", 3)}


@pytest.fixture(scope="module")
def measured() -> dict[tuple[str, str], list[list[float]]]:
    """(dominance, set) -> for each sample, IE_clean of each draw."""
    draw = random.Random(3)
    return {
        (kind, name): [[draw.gauss(0.2, 0.1) for _ in range(3 if "Random" in name else 1)] for _ in range(8)]
        for kind in ("audio", "video")
        for name in SETS
    }


@pytest.fixture(scope="module")
def rows(measured) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sample": f"{kind}{sample}",
            "dominance": kind,
            "token_set": SETS[name][0],
            "one_in": SETS[name][1],
            "draw": draw,
            "ie_clean": effect,
            "ie_corrupt": -effect / 2,
            "tokens": sample,
        }
        for (kind, name), samples in measured.items()
        for sample, draws in enumerate(samples)
        for draw, effect in enumerate(draws)
    )


def points(share: float) -> str:
    return f"{share * 100:.1f}".replace("-", "−")


def test_effects_are_means_over_samples_in_points(measured, rows):
    table = reported.effects(rows, tuple(SETS))
    shown = reported.readable(table)
    paper = list(csv.DictReader(data("papers", "hubs_indirect_effect_by_token_set.csv").open()))
    assert len(table) == len(shown) == len(measured)
    for row, cells in zip(table.itertuples(), shown.itertuples(index=False), strict=True):
        own = [mean(draws) for draws in measured[row.dominance, row.restored]]
        middle, low, high = interval(own)
        assert (row.ie_clean, row.ie_clean_low, row.ie_clean_high) == pytest.approx((middle, low, high))
        assert (row.ie_corrupt, row.ie_corrupt_low) == pytest.approx((-middle / 2, -high / 2))
        assert (row.tokens, row.n) == (3.5, 8)
        [printed] = [
            one
            for one in paper
            if (one["model"], one["dominance"], one["token_set"]) == ("Qwen2.5-Omni-7B", row.dominance, row.restored)
        ] or [None]
        whose = {"audio": "video", "video": "audio"}[row.dominance]
        assert cells[0] == f"{row.dominance}-dominant"
        assert cells[1] == f"{whose} tokens: {row.restored}".replace(" ", "\N{NO-BREAK SPACE}")
        assert cells[2] == (points(float(printed["ie_clean"]) / 100) if printed else "")
        assert cells[3] == f"{points(middle)} [{points(low)}, {points(high)}]".replace(" ", "\N{NO-BREAK SPACE}")


def test_shares_of_the_effect_of_all_tokens(measured, rows):
    table = reported.shares(rows, tuple(SETS))
    own = table[table["group"] == "this run"].set_index("label")
    assert len(own) == 2 * (len(SETS) - 1)
    for (kind, name), samples in measured.items():
        if name == "All":
            continue
        one, whole = ([mean(draws) for draws in own_set] for own_set in (samples, measured[kind, "All"]))
        ratios = [mean([one[at] for at in draw]) / mean([whole[at] for at in draw]) for draw in resampled(8)]
        expected = mean(one) / mean(whole), quantile(ratios, 0.025), quantile(ratios, 0.975), 8
        whose = {"audio": "video", "video": "audio"}[kind]
        found = own.loc[f"{kind}-dominant, {whose} tokens: {name}", ["value", "low", "high", "n"]]
        assert tuple(found) == pytest.approx(expected)
