"""Intervals: right on known distributions, the same on every run, and honest about few samples."""

import numpy as np
import pandas as pd
import pytest

from avsink.results.bootstrap import (
    changes,
    changes_by,
    in_order,
    joined,
    lag,
    orders,
    panels,
    resampled_means,
    summarise,
    widths,
)


def rows(values, **columns):
    """One row per (sample, value)."""
    return pd.DataFrame({"sample": [f"s{i}" for i in range(len(values))], "delta_p": values, **columns})


def test_an_interval_is_as_wide_as_theory_says():
    values = np.random.default_rng(1).normal(loc=-0.3, scale=0.2, size=400)
    [row] = summarise(rows(values, pathway="p"), by=["pathway"]).itertuples()
    error = values.std() / 20
    assert row.mean == pytest.approx(values.mean()) and row.n == 400
    assert row.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert row.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_the_same_rows_give_the_same_intervals():
    table = rows(np.linspace(-1, 0, 9), pathway="p")
    pd.testing.assert_frame_equal(summarise(table, by=["pathway"]), summarise(table, by=["pathway"]))


def test_groups_keep_their_order_and_their_own_samples():
    table = pd.concat([rows([0.0, 1.0], pathway="z", layer=1), rows([3.0, 3.0, 3.0], pathway="a", layer=0)])
    result = summarise(table, by=["pathway", "layer"])
    assert list(result.columns) == ["pathway", "layer", "mean", "low", "high", "n"]
    assert list(result["pathway"]) == ["z", "a"] and list(result["n"]) == [2, 3]
    assert list(result.loc[1, ["mean", "low", "high"]]) == pytest.approx([3.0, 3.0, 3.0])


def test_repeated_draws_of_a_sample_are_averaged_and_not_counted():
    table = pd.concat([rows([0.0, 1.0], pathway="p"), rows([1.0, 1.0], pathway="p")])
    [row] = summarise(table, by=["pathway"]).itertuples()
    assert row.n == 2 and row.mean == pytest.approx(0.75)


def test_one_sample_has_no_interval():
    [row] = summarise(rows([-0.5], pathway="p"), by=["pathway"]).itertuples()
    assert row.mean == -0.5 and np.isnan(row.low) and np.isnan(row.high)


@pytest.mark.parametrize("empty", [pd.DataFrame(), rows([], pathway=[])])
def test_where_nothing_was_measured_tables_have_columns_and_no_rows(empty):
    curves = summarise(empty, by=["category", "pathway", "layer"])
    assert list(curves.columns) == ["category", "pathway", "layer", "mean", "low", "high", "n"] and curves.empty
    assert list(joined(curves.assign(category="all together"), curves).columns) == list(curves.columns)
    assert list(widths(curves).columns)[:3] == ["window", "pathway", "deepest"] and widths(curves).empty
    assert widths(pd.DataFrame()).empty and panels(empty).empty and orders(empty).empty and joined().empty
    assert list(changes(empty, column="config", baseline="all").columns) == ["config", "mean", "low", "high", "n"]
    moved = changes_by(empty, by=["task"], column="config", baseline="all")
    assert set(moved.columns) == {"task", "config", "mean", "low", "high", "n"} and moved.empty


def test_resampled_means_keep_what_was_measured_together():
    values = np.random.default_rng(0).normal(size=(30, 1))
    means = resampled_means(np.hstack([values, -values]))
    assert np.allclose(means[:, 0], -means[:, 1])


def curve(pathway, deepest, *, noise=0.0, samples=40, layers=8):
    """Rows of a pathway whose Δp is deepest at one layer."""
    rng = np.random.default_rng(deepest)
    return pd.DataFrame(
        {
            "sample": f"s{i}",
            "pathway": pathway,
            "layer": layer,
            "delta_p": -0.5 * (layer == deepest) + rng.normal() * noise,
        }
        for i in range(samples)
        for layer in range(layers)
    )


def test_the_lag_between_two_clear_drops():
    found = lag(pd.concat([curve("in", 2, noise=0.05), curve("out", 5, noise=0.05)]), "in", "out")
    assert found == {"mean": 3, "low": 3, "high": 3, "n": 40}


def test_the_lag_between_unclear_drops_is_uncertain():
    found = lag(pd.concat([curve("in", 2, noise=3), curve("out", 5, noise=3)]), "in", "out")
    assert found["low"] < found["high"]


def test_prompts_of_one_order():
    table = pd.concat([rows([0.0], structure="b"), rows([0.0, 0.0], structure="a").assign(sample=["x", "y"])])
    assert set(in_order(table)["structure"]) == {"a"} and set(in_order(table, "b")["structure"]) == {"b"}
    assert in_order(table, "c").empty and in_order(pd.DataFrame()).empty
