"""Means, intervals and verdicts against loops over lists (tests/formulas/statistics.py)."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
import pandas as pd
import pytest
from formulas.hubs import mean
from formulas.statistics import composed, interval, lag, rule, verdict

from avsink.results import bootstrap, rules

SAID = {"claim": "c", "where": "w"}
LAYERS, SAMPLES, MARGIN = (2, 3, 5, 9), 12, 0.1
Curves = dict[str, list[list[float]]]  # category -> for each sample, Δp of each of `LAYERS`


def table(curves: Curves, pathway: str = "p") -> pd.DataFrame:
    rows = [
        (f"{category}{sample:02}", category, pathway, layer, delta)
        for category, own in curves.items()
        for sample, curve in enumerate(own)
        for layer, delta in zip(LAYERS, curve, strict=True)
    ]
    return pd.DataFrame(rows, columns=["sample", "category", "pathway", "layer", "delta_p"])


@cache
def drawn(seed: int, categories: int = 1) -> Curves:
    """Random curves, many of which come near the margin."""
    draw = random.Random(seed)
    found = {}
    for category in "abc"[:categories]:
        flat = draw.random() < 0.25
        depth = [0.0 if flat else draw.choice([-0.5, -0.16, -0.1, -0.05, 0.0, 0.0, 0.05, 0.16, 0.4]) for _ in LAYERS]
        noise = draw.choice([0.01, 0.08, 0.3])
        found[category] = [[at + draw.gauss(0, noise) for at in depth] for _ in range(SAMPLES)]
    return found


def intervals(own: list[list[float]]) -> list[tuple[float, float, float]]:
    return [_interval(values) for values in zip(*own, strict=True)]


_interval = cache(interval)  # the same curves are judged by several rules


def test_means_and_intervals_of_groups_with_samples_of_their_own():
    draw = random.Random(0)
    cells = {(group, layer): {} for group in "ab" for layer in (1, 4)}
    rows = []
    for (group, layer), own in cells.items():
        for sample in range(9):
            if draw.random() < 0.8 or group == "a":
                own[sample] = [draw.gauss(0, 1) for _ in range(draw.choice([1, 1, 3]))]  # several draws of a sample
                rows += [(f"s{sample}", group, layer, value) for value in own[sample]]
    rows.append(("s0", "single", 1, 0.3))
    frame = pd.DataFrame(rows, columns=["sample", "group", "layer", "delta_p"])
    found = bootstrap.summarise(frame, by=["group", "layer"]).set_index(["group", "layer"])
    for level in (0.95, 0.5):
        found = bootstrap.summarise(frame, by=["group", "layer"], level=level).set_index(["group", "layer"])
        for key, own in cells.items():
            expected = interval([mean(values) for _, values in sorted(own.items())], level=level)
            assert list(found.loc[key, ["mean", "low", "high"]]) == pytest.approx(expected)
            assert found.loc[key, "n"] == len(own)
    assert found.loc[("single", 1), "mean"] == 0.3 and np.isnan(found.loc[("single", 1), "low"])


def test_an_interval_is_that_of_resamples_drawn_one_by_one():
    """With other random numbers, so the ends agree but for what 2,000 draws leave open."""
    draw = random.Random(7)
    values = [draw.expovariate(1) for _ in range(25)]
    means = sorted(mean(draw.choices(values, k=len(values))) for _ in range(4000))
    frame = pd.DataFrame({"sample": range(25), "all": 0, "delta_p": values})
    row = bootstrap.summarise(frame, by=["all"]).iloc[0]
    error = np.std(values) / 5
    assert row["low"] == pytest.approx(means[100], abs=0.1 * error)
    assert row["high"] == pytest.approx(means[3900], abs=0.1 * error)


def test_changes_sample_by_sample():
    right = {"base": [1, 1, 0, 1, 0, 1], "same": [1, 1, 0, 1, 0, 1], "lost": [0] * 6, "some": [1, 0, 0, 1, 1, 1]}
    right["less"] = [0, 1, 0, 0, 0, 1]
    rows = [(f"s{i}", name, value) for name, values in right.items() for i, value in enumerate(values)]
    frame = pd.DataFrame(rows, columns=["sample", "config", "correct"])
    found = bootstrap.changes(frame, column="config", baseline="base").set_index("config")
    allowed = 1 - 0.05 ** (1 / 6)  # a share of deviating samples of which six show none in one of twenty cases
    for name in ("same", "lost", "some", "less"):
        change = [x - y for x, y in zip(right[name], right["base"], strict=True)]
        middle, low, high = interval(change)
        spread = allowed if len(set(change)) == 1 else 0
        expected = middle, low - spread, high + spread
        assert tuple(found.loc[name, ["mean", "low", "high"]]) == pytest.approx(expected) and found.loc[name, "n"] == 6


@pytest.mark.parametrize("seed", range(6))
def test_the_lag_from_one_deepest_layer_to_another(seed):
    one, two = drawn(seed)["a"], drawn(seed + 50)["a"]
    both = pd.concat([table({"a": one}, "one"), table({"a": two}, "two")])
    found = bootstrap.lag(both, "one", "two")
    assert (found["mean"], found["low"], found["high"]) == pytest.approx(lag(one, two, LAYERS)) and found[
        "n"
    ] == SAMPLES


def test_how_wide_a_curve_is():
    for means in ([0.0, -0.2, -0.4, -0.1], [-0.21, -0.19, -0.4, -0.2], [0.0, -0.05, -0.1, 0.0], [0.3, 0.1, -0.11, 0.2]):
        curves = pd.DataFrame({"category": "3", "pathway": "p", "layer": LAYERS, "mean": means, "n": 5})
        [row] = bootstrap.widths(curves).itertuples()
        below = [layer for layer, x in zip(LAYERS, means, strict=True) if x <= min(means) / 2]
        assert row.deepest == min(means) and row.at_layer == LAYERS[means.index(min(means))]
        assert row.layers_below_half == (len(below) if min(means) < -0.1 else 0)


RULES = {"drops": rules.drops, "rises": rules.rises, "stays_flat": rules.stays_flat}


@pytest.mark.parametrize("name", RULES)
def test_rules_on_one_curve(name):
    outcomes = []
    for seed in range(30):
        expected = rule(name, intervals(drawn(seed)["a"]))
        found, _ = RULES[name]("p", **SAID).test(table(drawn(seed)).assign(p_base=0.3))
        assert found == expected, f"seed {seed}"
        outcomes.append(expected)
    assert min(outcomes.count(kind) for kind in ("supported", "not supported", "inconclusive")) >= 3


@pytest.mark.parametrize("scope", ["every", "most", "any"])
def test_rules_on_several_categories(scope):
    outcomes = set()
    for seed in range(100, 114):
        curves = drawn(seed, 3)
        expected = composed([rule("drops", intervals(own)) for own in curves.values()], scope)
        assert rules.drops("p", scope=scope, **SAID).test(table(curves))[0] == expected, f"seed {seed}"
        outcomes.add(expected)
    assert len(outcomes) >= 2


@pytest.mark.parametrize("p_base", [0.5, 0.9, 0.905, 0.92, 0.99])
def test_an_answer_can_gain_what_is_left_of_its_own_probability(p_base):
    room = (1 - p_base) / p_base
    found, _ = rules.rises("p", **SAID).test(table({"a": [[0.5] * 4] * 12}).assign(p_base=p_base))
    assert found == ("supported" if room >= MARGIN else "inconclusive")


def test_what_comes_first():
    outcomes = set()
    for seed in range(20):
        one, two = drawn(seed)["a"], drawn(seed + 20)["a"]
        both = pd.concat([table({"a": one}, "one"), table({"a": two}, "two")])
        clear = all(any(high < -MARGIN for *_, high in intervals(own)) for own in (one, two))
        _, low, high = lag(one, two, LAYERS)
        expected = verdict(clear and low > 0, clear and high <= 0)
        assert rules.comes_first("one", "two", **SAID).test(both)[0] == expected, f"seed {seed}"
        outcomes.add((expected, clear))
    assert len(outcomes) >= 3
    same = table({"a": [[0.0, -0.5, 0.0, 0.0]] * 5}, "one")
    both = pd.concat([same, same.assign(pathway="two")])
    assert rules.comes_first("one", "two", **SAID).test(both)[0] == "not supported"


def test_what_costs_more():
    outcomes = set()
    for seed in range(20):
        own = [drawn(seed + shift)["a"] for shift in (0, 20)]
        both = pd.concat([table({"a": curves}, name) for curves, name in zip(own, ("one", "two"), strict=True)])
        deepest = []
        for curves in own:
            means = [mean(values) for values in zip(*curves, strict=True)]
            deepest.append([curve[means.index(min(means))] for curve in curves])
        _, low, high = interval([two - one for one, two in zip(*deepest, strict=True)])
        expected = verdict(low > MARGIN, high < MARGIN)
        assert rules.costs_more("one", "two", **SAID).test(both)[0] == expected, f"seed {seed}"
        outcomes.add((expected, low > 0))
    assert len(outcomes) >= 4  # also more, but by less than the margin


def test_a_number_above_a_bar():
    outcomes = set()
    for seed in range(30):
        draw = random.Random(seed)
        values = [draw.gauss(draw.choice([0.3, 0.5, 0.7]), 0.2) for _ in range(12)]
        middle, low, high = interval(values)
        made = rules.lies_above(0.5, value=lambda rows: rows.set_index("sample")["x"], what="x", **SAID)
        expected = verdict(low > 0.5, high <= 0.5)
        frame = pd.DataFrame({"sample": [f"s{i:02}" for i in range(12)], "x": values})
        assert made.test(frame)[0] == expected, f"seed {seed}"
        outcomes.add((expected, middle > 0.5))
    assert len(outcomes) >= 3


def test_no_harm():
    made = rules.unharmed("Discard All", column="config", baseline="Baseline", **SAID)
    outcomes = set()
    for seed in range(16):
        draw = random.Random(seed)
        before = [float(draw.random() < 0.9) for _ in range(60)]
        change = draw.choice([0.0, 0.02, 0.1, 0.4])
        after = [1 - x if draw.random() < change else x for x in before]
        rows = [
            (f"s{i:02}", name, x, 0.25, tokens)
            for name, values, tokens in (("Baseline", before, 10), ("Discard All", after, 8))
            for i, x in enumerate(values)
        ]
        frame = pd.DataFrame(rows, columns=["sample", "config", "correct", "chance", "tokens"])
        differences = [x - y for x, y in zip(after, before, strict=True)]
        middle, low, high = interval(differences)
        if len(set(differences)) == 1:
            low, high = (end + sign * (1 - 0.05 ** (1 / 60)) for end, sign in ((low, -1), (high, 1)))
        expected = verdict(low > -0.05, high < -0.05)
        assert made.test(frame)[0] == expected, f"seed {seed}"
        outcomes.add((expected, middle > -0.05))
    assert len(outcomes) == 4  # inconclusive with a mean above the margin and below it


def test_what_holds_more():
    made = rules.holds_more(("Sink", 2), ("Random", 2), dominance="audio", value="ie_clean", **SAID)
    outcomes = set()
    for seed in range(30):
        draw = random.Random(seed)
        shift = draw.choice([-0.3, -0.1, 0.0, 0.1, 0.3])
        one = [draw.gauss(0.3 + shift, 0.2) for _ in range(12)]
        two = [[draw.gauss(0.3, 0.2) for _ in range(3)] for _ in range(12)]  # three draws
        names = [f"s{i:02}" for i in range(12)]
        rows = [(name, "Sink", 2, x, 4) for name, x in zip(names, one, strict=True)]
        rows += [(name, "Random", 2, x, 4) for name, xs in zip(names, two, strict=True) for x in xs]
        rows += [(name, "All", 0, 0.9, 20) for name in names]
        frame = pd.DataFrame(rows, columns=["sample", "token_set", "one_in", "ie_clean", "tokens"])
        first, second = interval(one), interval([mean(xs) for xs in two])
        expected = verdict(first[1] > second[2], first[2] <= second[0])
        assert made.test(frame.assign(dominance="audio"))[0] == expected, f"seed {seed}"
        outcomes.add((expected, first[0] > second[0], first[1] > second[0]))
    assert len(outcomes) >= 5
