"""Rules say no more than their rows can bear: many layers, few samples, no control, layers that coincide."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from avsink.results import bootstrap, rules
from avsink.results.rules import share, told
from avsink.results.verdicts import judge

SAID = {"claim": "c", "where": "w"}


def noise(rng, *, mean=0.0, pathway="p", layers=28, categories=9, samples=12, spread=0.3):
    """Rows of a pathway that is the same at all layers of all categories, but for noise that layers share in part."""
    parts = []
    for category in range(categories):
        common = rng.standard_normal((samples, 1))
        values = mean + spread * (0.6 * common + 0.8 * rng.standard_normal((samples, layers)))
        parts.append(
            pd.DataFrame(
                {
                    "sample": np.repeat([f"{category}-{i}" for i in range(samples)], layers),
                    "category": f"c{category}",
                    "pathway": pathway,
                    "layer": np.tile(range(layers), samples),
                    "delta_p": values.ravel(),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def pointwise(rows, claimed) -> bool:
    """Whether someone who asks at each layer with an interval of its own would make the claim."""
    return bool(claimed(bootstrap.summarise(rows, by=["category", "layer"])).any())


RUNS = 12


def test_asking_at_28_layers_of_nine_categories_finds_no_drop_where_there_is_none():
    """The mean is the margin itself, everywhere: each drop that is claimed is a false one."""
    rng = np.random.default_rng(0)
    runs = [noise(rng, mean=-0.1) for _ in range(RUNS)]
    rule = rules.drops("p", scope="any", **SAID)
    assert sum(judge([rule], rows)[0].verdict == "supported" for rows in runs) <= 2
    assert sum(pointwise(rows, lambda curves: curves["high"] < -0.1) for rows in runs) >= RUNS - 2
    flat = rules.stays_flat("p", **SAID)  # and none that would contradict a flat curve
    assert sum(judge([flat], rows)[0].verdict == "not supported" for rows in runs) <= 2


def test_a_rise_is_not_found_among_layers_either():
    rng = np.random.default_rng(1)
    runs = [noise(rng, mean=0.1).assign(p_base=0.3) for _ in range(RUNS)]
    rule = rules.rises("p", scope="any", **SAID)
    assert sum(judge([rule], rows)[0].verdict == "supported" for rows in runs) <= 2
    assert sum(pointwise(rows, lambda curves: curves["low"] > 0.1) for rows in runs) >= RUNS - 2


def test_the_deepest_of_many_layers_does_not_cost_more_for_being_chosen():
    """One pathway costs the margin at each of 28 layers, the other nothing: it costs no more than the margin."""
    rng = np.random.default_rng(2)
    rule, false, chosen = rules.costs_more("p", "q", **SAID), 0, 0
    for _ in range(RUNS):
        p = noise(rng, mean=-0.1, categories=1, samples=20)
        q = noise(rng, pathway="q", categories=1, samples=20, spread=0.01)
        false += judge([rule], pd.concat([p, q]))[0].verdict == "supported"
        deepest = [own.pivot(index="sample", columns="layer", values="delta_p") for own in (p, q)]
        change = deepest[1][deepest[1].mean().idxmin()] - deepest[0][deepest[0].mean().idxmin()]
        low = np.quantile(bootstrap.resampled_means(change.to_numpy()[:, None]), 0.025)
        chosen += low > 0.1
    assert false <= 2 and chosen >= RUNS / 3


def test_the_highest_of_many_layers_is_not_above_the_bar_for_being_chosen():
    rng = np.random.default_rng(3)
    rule = rules.lies_above(0.1, value=lambda rows: rows, what="x", **SAID)
    tables = [pd.DataFrame(0.1 + 0.3 * rng.standard_normal((20, 28))) for _ in range(RUNS)]
    assert sum(rule.test(table)[0] == "supported" for table in tables) <= 2
    assert sum(rule.test(table[[table.mean().idxmax()]])[0] == "supported" for table in tables) >= RUNS / 2
    raised = pd.DataFrame(0.05 * rng.standard_normal((20, 28))).add([0.5 * (k == 9) for k in range(28)])
    assert rule.test(raised)[0] == "supported" and "layer 9, n = 20" in rule.test(raised)[1]


def clear(pathway, *, at=2, depth=-0.8, samples=30, category="c", first=0):
    """Rows of a pathway that is deep at one layer of eight, with hardly any noise."""
    rng = np.random.default_rng(at)
    rows = [
        (f"{category}{i}", category, pathway, layer, depth * (layer == at) + 0.01 * rng.standard_normal(), 0.5)
        for i in range(first, first + samples)
        for layer in range(8)
    ]
    return pd.DataFrame(rows, columns=["sample", "category", "pathway", "layer", "delta_p", "p_base"])


KINDS = {
    "drops": partial(rules.drops, "p"),
    "rises": partial(rules.rises, "up"),
    "stays_flat": partial(rules.stays_flat, "flat"),
    "comes_first": partial(rules.comes_first, "p", "q"),
    "lies_at_depth": partial(rules.lies_at_depth, ["p"], most=0.5),
    "costs_more": partial(rules.costs_more, "p", "flat"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_rule_speaks_from_fewer_than_ten_samples(kind):
    def rows(samples):
        deep = clear("p", samples=samples), clear("q", at=5, samples=samples)
        return pd.concat([*deep, clear("flat", depth=0, samples=samples), clear("up", depth=0.8, samples=samples)])

    (rule,) = (KINDS[kind](**SAID),)
    assert [rule.test(rows(n)).outcome for n in (2, 9, 10)] == ["too few", "too few", "supported"]
    assert "n = 9" in rule.test(rows(9)).measured and "10 are needed" in rule.test(rows(9)).measured


def test_a_flat_curve_is_evidence_only_where_a_drop_was_seen_on_the_same_samples():
    rule = rules.stays_flat("flat", **SAID)
    flat = clear("flat", depth=0)
    cases = {
        "nothing else": [],
        "another flat curve": [clear("q", depth=0)],
        "a rise": [clear("q", depth=0.8)],
        "a drop in another category": [clear("q", category="d")],
        "a drop on other samples": [clear("q", first=30)],
        "a drop on nine of the samples": [clear("q", samples=9)],
    }
    for name, others in cases.items():
        assert rule.test(pd.concat([flat, *others])).outcome == "no control", name
    found = rule.test(pd.concat([flat, clear("q", depth=0), clear("r", at=6)]))
    assert found.outcome == "supported" and "control: r −8" in found.measured and "at layer 6" in found.measured
    bent = clear("flat", depth=-0.3)
    assert rule.test(bent).outcome == "not supported"  # needs no control


@pytest.mark.parametrize(
    ("flat", "other", "apart"),
    [
        ("V+A↛Last", "Video↛Last", False),
        ("Video↛Last", "V+A↛Last", False),
        ("Question↛Last", "TrueOpt↛Last", False),
        ("Candidates↛Last", "IncorrectCand↛Last", False),
        ("Video↛Audio", "Audio↮Video", False),
        ("Cross-candidate", "Candidates↛Candidates", False),
        ("V+A↛Last", "V+A↛Question", True),
        ("V+A↛Last", "Question↛Last", True),
        ("Video↛Last", "Audio↛Last", True),
        ("Video↛Audio", "Audio↛Video", True),
        ("Cross-audio", "Cross-frame", True),
        ("Cross-audio", "Audio↮Video", True),
    ],
)
def test_a_control_is_no_part_of_what_is_flat(flat, other, apart):
    found = rules.stays_flat(flat, **SAID).test(pd.concat([clear(flat, depth=0), clear(other)]))
    assert found.outcome == ("supported" if apart else "no control")


def held(*layers, pathway="p", samples=30):
    """Rows of a pathway that is as deep at each of these layers, as windows are that hold one layer."""
    parts = [clear(pathway, at=layer, samples=samples) for layer in layers]
    own = parts[0].assign(delta_p=sum(part["delta_p"].to_numpy() for part in parts))
    return own.assign(
        delta_p=own["delta_p"].clip(lower=-0.8 + 0.01 * np.random.default_rng(9).standard_normal(len(own)))
    )


def test_a_plateau_across_a_bound_is_not_settled_by_more_samples():
    rule = rules.lies_at_depth(["p"], least=1 / 3, most=2 / 3, **SAID)
    for samples in (30, 300):
        [found] = judge([rule], held(2, 3, 4, samples=samples))
        assert found.verdict == "plateau" and "samples" not in found.settle and "window" in found.settle
    assert rule.test(held(3, 4)).outcome == "supported" and rule.test(held(0, 1, 2)).outcome == "not supported"
    rng = np.random.default_rng(5)  # noise, not a plateau: nobody knows which of two layers is the deeper one
    noisy = held(2, 3)
    noisy["delta_p"] += 0.8 * rng.standard_normal(len(noisy)) * noisy["layer"].isin([2, 3])
    assert rule.test(noisy).outcome == "too wide"


def test_an_order_of_plateaus_is_not_settled_by_more_samples():
    order = rules.comes_first("p", "q", **SAID)
    for samples in (30, 300):
        meet = pd.concat([held(1, 2, 3, samples=samples), held(3, 4, 5, pathway="q", samples=samples)])
        assert order.test(meet).outcome == "plateau"
    apart = pd.concat([held(1, 2), held(4, 5, pathway="q")])
    assert order.test(apart).outcome == "supported"
    noisy = pd.concat([held(2), held(1, 3, pathway="q")])
    noisy["delta_p"] += 0.8 * np.random.default_rng(6).standard_normal(len(noisy)) * noisy["layer"].isin([1, 3])
    assert order.test(noisy).outcome == "too wide"


def test_a_depth_beyond_a_bound_is_not_on_it():
    rows = {at: clear("p", at=at) for at in range(8)}
    rule = rules.lies_at_depth(["p"], beyond=4 / 7, **SAID)
    assert [rule.test(rows[at]).outcome for at in (3, 4, 5)] == ["not supported", "not supported", "supported"]
    assert "beyond 0.57" in rule.condition


def test_of_several_pathways_those_without_a_drop_are_named():
    rule = rules.lies_at_depth(["flat", "p", "q"], most=0.5, **SAID)
    found = rule.test(pd.concat([clear("p"), clear("q", at=1), clear("flat", depth=0)]))
    assert found.outcome == "supported"
    assert found.measured.startswith("of p, q alone (clearly without a drop: flat): p is deepest at depth")
    assert rule.test(pd.concat([clear("p"), clear("q", at=1)])) == (
        "not measured",
        "flat was not measured; p is deepest at depth 0.29 [0.29, 0.29] (layer 2, n = 30) against between 0.00 and 0.50"
        "; q is deepest at depth 0.14 [0.14, 0.14] (layer 1, n = 30) against between 0.00 and 0.50",
    )
    assert rule.test(pd.concat([clear(name, depth=0) for name in ("p", "q", "flat")])).outcome == "no control"
    late = rule.test(pd.concat([clear("p"), clear("q", at=7), clear("flat", depth=0)]))
    assert late.outcome == "not supported"


def test_a_part_is_most_of_a_whole_that_is_there():
    rng = np.random.default_rng(4)
    rows = pd.DataFrame({"sample": range(30), "whole": 0.4 + 0.1 * rng.standard_normal(30)}).set_index("sample")
    rule = rules.is_most_of(lambda t: t["part"], lambda t: t["whole"], what="x", empty="nothing to restore", **SAID)
    shares = {0.8: "supported", 0.2: "not supported", 0.5: "too wide"}
    for part, word in shares.items():
        off = 0.05 * rng.standard_normal(30)
        found = rule.test(rows.assign(part=part * rows["whole"] + off - off.mean()))
        assert found.outcome == word and f"{100 * part:.1f}% [" in found.measured
    nothing = rows.assign(whole=rows["whole"] - 0.4, part=rows["whole"])
    assert rule.test(nothing).outcome == "nothing to restore"
    assert rule.test(rows.assign(part=1.0)[:9]).outcome == "too few"


def test_an_improvement_is_one_that_could_have_been_missed():
    def rows(before, after):
        answers = {"base": before, "few": after}
        return pd.DataFrame(
            [(f"s{i}", "c", name, float(x)) for name, own in answers.items() for i, x in enumerate(own)],
            columns=["sample", "category", "config", "correct"],
        )

    rule = rules.improves("config", baseline="base", **SAID)
    half = [i % 2 for i in range(40)]
    better, worse = [1 if i % 3 else x for i, x in enumerate(half)], [0] * 40
    cases = {"supported": (half, better), "not supported": (half, worse), "too wide": (half, half)}
    for word, (before, after) in cases.items():
        assert rule.test(rows(before, after)).outcome == word
    assert rule.test(rows([1] * 40, [1] * 40)).outcome == "no room"
    nearly = [i > 0 for i in range(50)]  # 98 % are right: it cannot gain more than the two points that count as none
    assert rule.test(rows(nearly, nearly)).outcome == "no room"
    assert "can gain 2.0 points at most" in rule.test(rows(nearly, nearly)).measured
    many = half * 10  # more samples settle it: no band reaches above two points
    assert rule.test(rows(many, many)).outcome == "not supported"
    slightly = [1 if i < 12 else x for i, x in enumerate(half * 20)]  # 6 of 800 more are right: a small gain is one
    assert rule.test(rows(half * 20, slightly)).outcome == "supported"
    assert rule.test(rows(half[:9], better[:9])).outcome == "too few"
    allowed = 100 * (1 - 0.05 ** (1 / 40))  # 40 samples without a change do not rule one out
    assert f"+0.0 [−{allowed:.1f}, +{allowed:.1f}] points" in rule.test(rows(half, half)).measured


@pytest.mark.parametrize(
    ("ends", "bar", "text"),
    [
        ((0.13, 0.1004, 0.16), 0.1, "+13.00% [+10.04%, +16.00%]"),  # with one digit: 10.0 %, on the bar
        ((0.13, 0.0996, 0.16), 0.1, "+13.00% [+9.96%, +16.00%]"),
        ((-0.4321, -0.51, -0.354), -0.1, "−43.2% [−51.0%, −35.4%]"),
        ((0.2, 0.1, 0.3), 0.1, "+20.0% [+10.0%, +30.0%]"),  # exactly on the bar
        ((0.5, np.nan, np.nan), 0.1, "+50.0%"),
    ],
)
def test_rounding_never_moves_an_end_to_the_other_side_of_the_bar(ends, bar, text):
    assert told(dict(zip(("mean", "low", "high"), ends, strict=True)), bars=(bar,)) == text


def test_bars_are_told_as_they_are():
    assert [share(x) for x in (0.1, -0.1, 0.025)] == ["10%", "−10%", "2.5%"] and share(0.1, signed=True) == "+10%"


def test_what_was_measured_is_read_alone():
    """Measure, unit, value with interval, bar, n and place are all in the text of a verdict."""
    rows = pd.concat([clear("p", depth=-0.12), clear("q", at=5)])
    found = rules.drops("p", **SAID).test(rows).measured
    assert found.startswith("Δp of p at layer 2: −1") and "against below −10% (c, n = 30)" in found
    order = rules.comes_first("p", "q", **SAID).test(rows).measured
    assert order == "from the deepest layer of p to that of q: +3 [+3, +3] layers against above 0 (n = 30)"
    depth = rules.lies_at_depth(["p"], most=2 / 3, **SAID).test(rows).measured
    assert depth == "p is deepest at depth 0.29 [0.29, 0.29] (layer 2, n = 30) against between 0.00 and 0.67"


def test_layers_of_a_statement_must_differ():
    two = clear("p", at=1)[lambda t: t["layer"] < 2]
    assert rules.lies_at_depth(["p"], most=0.5, **SAID).test(two).outcome == "one layer"
    coincide = rules.unless(lambda rows: "they are one", rules.drops("p", **SAID), outcome="one layer")
    assert coincide.test(two) == ("one layer", "they are one")
    differ = rules.unless(lambda rows: "", rules.drops("p", **SAID), outcome="one layer")
    assert differ.test(two).outcome == "supported"
