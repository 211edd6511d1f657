"""Means, intervals and verdicts against loops over lists (tests/formulas/statistics.py)."""

from __future__ import annotations

import math
import random
from functools import cache

import numpy as np
import pandas as pd
import pytest
from formulas.hubs import mean
from formulas.statistics import (
    bands,
    composed,
    deepest,
    gap,
    interval,
    lag,
    quantile,
    resampled,
    rule,
    student,
    verdict,
)

from avsink.results import bands as simultaneous
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


def test_bands_of_tables_with_samples_of_their_own():
    tables = [*drawn(3, 3).values(), [[0.2, 0.1 * k] for k in range(5)]]
    found = simultaneous.simultaneous([np.array(table) for table in tables])
    for own, expected in zip(found, bands(tables), strict=True):
        assert own.T.tolist() == pytest.approx(np.array(expected))
    assert found[-1][:, 0].tolist() == [0.2] * 3  # a column without spread


def test_bands_of_groups_are_those_of_their_tables():
    frame = pd.concat([table(drawn(5, 2)), table(drawn(6, 2), "q")])
    frame = frame[(frame["pathway"] == "p") | (frame["category"] == "a")]
    found = simultaneous.bands(frame, by=["pathway", "category", "layer"])
    first = [[*p, *q] for p, q in zip(drawn(5, 2)["a"], drawn(6, 2)["a"], strict=True)]
    (a, b) = bands([first, drawn(5, 2)["b"]])
    expected = [*a[:4], *b, *a[4:]]  # in the order of the rows
    assert found[["mean", "low", "high"]].to_numpy() == pytest.approx(np.array(expected))
    assert found["n"].eq(SAMPLES).all() and found["category"].tolist() == [*"aaaa", *"bbbb", *"aaaa"]


@pytest.mark.parametrize("freedom", [9, 20, 100])
def test_the_quantile_of_students_t(freedom):
    """Against its density, added up in small steps."""
    step = 1e-3
    scale = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2) / math.sqrt(freedom * math.pi)
    for z in (1.96, 3.0, 4.0):
        inside, t = 0.0, 0.0
        while inside < 0.5 * math.erf(z / math.sqrt(2)):
            inside += step * scale * (1 + (t + step / 2) ** 2 / freedom) ** (-(freedom + 1) / 2)
            t += step
        assert student(z, freedom) == pytest.approx(t, rel=0.01)


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
CONTROL = [[-0.9, 0.0, 0.0, 0.0]] * SAMPLES


@pytest.mark.parametrize("name", RULES)
def test_rules_on_one_curve(name):
    outcomes = []
    for seed in range(30):
        (curve,) = bands([drawn(seed)["a"]])
        expected = rule(name, curve)
        frame = pd.concat([table(drawn(seed)), table({"a": CONTROL}, "q")]).assign(p_base=0.3)
        found, _ = RULES[name]("p", **SAID).test(frame)
        assert found == expected, f"seed {seed}"
        outcomes.append(expected)
    assert min(outcomes.count(kind) for kind in ("supported", "not supported", "too wide")) >= 3


@pytest.mark.parametrize("scope", ["every", "most", "any"])
def test_rules_on_several_categories(scope):
    outcomes = set()
    for seed in range(100, 112):
        curves = drawn(seed, 3)
        expected = composed([rule("drops", own) for own in bands(list(curves.values()))], scope)
        assert rules.drops("p", scope=scope, **SAID).test(table(curves))[0] == expected, f"seed {seed}"
        outcomes.add(expected)
    assert len(outcomes) >= 2


def test_all_samples_together_are_one_category():
    for seed in range(100, 106):
        curves = drawn(seed, 3)
        (curve,) = bands([[sample for own in curves.values() for sample in own]])
        assert rules.drops("p", scope="together", **SAID).test(table(curves))[0] == rule("drops", curve)


@pytest.mark.parametrize("p_base", [0.5, 0.9, 0.905, 0.92, 0.99])
def test_an_answer_can_gain_what_is_left_of_its_own_probability(p_base):
    room = (1 - p_base) / p_base
    found, _ = rules.rises("p", **SAID).test(table({"a": [[0.5] * 4] * 12}).assign(p_base=p_base))
    assert found == ("supported" if room >= MARGIN else "no room")


def without_layer(*pathways) -> str | None:
    """The word for pathways of which one has no clear drop; None if all have one."""
    (curves,) = bands([[sum(parts, []) for parts in zip(*pathways, strict=True)]])
    for at in range(len(pathways)):
        curve = curves[4 * at : 4 * at + 4]
        if not any(high < -MARGIN for *_, high in curve):
            return "no control" if all(low > -MARGIN for _, low, _ in curve) else "too wide"
    return None


def test_what_comes_first():
    outcomes = set()
    for seed in range(20):
        one, two = drawn(seed)["a"], drawn(seed + 20)["a"]
        both = pd.concat([table({"a": one}, "one"), table({"a": two}, "two")])
        _, low, high = lag(one, two, LAYERS)
        missing = without_layer(one, two)
        expected = missing or verdict(low > 0, high <= 0)
        assert rules.comes_first("one", "two", **SAID).test(both)[0] == expected, f"seed {seed}"
        outcomes.add((expected, missing))
    assert len(outcomes) >= 3
    same = table({"a": [[0.0, -0.5, 0.0, 0.0]] * SAMPLES}, "one")
    both = pd.concat([same, same.assign(pathway="two")])
    assert rules.comes_first("one", "two", **SAID).test(both)[0] == "not supported"


def test_at_what_depth():
    outcomes = set()
    for seed in range(12):
        own = drawn(seed)["a"]
        layers = [deepest(own, LAYERS, draw) / 9 for draw in resampled(SAMPLES)]
        low, high = quantile(layers, 0.025), quantile(layers, 0.975)
        expected = without_layer(own) or verdict(1 / 3 <= low and high <= 2 / 3, high < 1 / 3 or low > 2 / 3)
        made = rules.lies_at_depth(["p"], least=1 / 3, most=2 / 3, **SAID)
        assert made.test(table({"a": own}))[0] == expected, f"seed {seed}"
        outcomes.add(expected)
    assert len(outcomes) >= 3


def test_what_costs_more():
    outcomes = set()
    for seed in range(20):
        own = [drawn(seed + shift)["a"] for shift in (0, 20)]
        both = pd.concat([table({"a": curves}, name) for curves, name in zip(own, ("one", "two"), strict=True)])
        (pairs,) = bands([gap(*own)])
        ends = [[pairs[4 * at + other] for other in range(4)] for at in range(4)]
        _, low, high = (max(min(pair[end] for pair in row) for row in ends) for end in range(3))
        expected = verdict(low > MARGIN, high < MARGIN)
        assert rules.costs_more("one", "two", **SAID).test(both)[0] == expected, f"seed {seed}"
        outcomes.add((expected, low > 0))
    assert len(outcomes) >= 3


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
    assert len(outcomes) == 4  # too wide with a mean above the margin and below it
