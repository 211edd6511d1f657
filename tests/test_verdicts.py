"""Rules on intervals, on curves whose verdict is plain to see."""

import numpy as np
import pandas as pd
import pytest

from avsink.claims import FLOW_2_FIGURE_3, FLOW_2_FIGURE_4
from avsink.verdicts import (
    comes_first,
    conclude,
    drops,
    judge,
    rules_table,
    stays_flat,
    verdicts_table,
)

LAYERS = 8


def curve(pathway, depth, *, at=3, category="c", samples=30, noise=0.02):
    """Rows of a pathway whose mean Δp is `depth` at one layer and 0 elsewhere."""
    rng = np.random.default_rng(at)
    return pd.DataFrame(
        {
            "sample": f"{category}{i}",
            "category": category,
            "pathway": pathway,
            "layer": layer,
            "delta_p": depth * (layer == at) + rng.normal() * noise,
        }
        for i in range(samples)
        for layer in range(LAYERS)
    )


def verdict(rule, *curves):
    return judge([rule], pd.concat(curves))[0].verdict


DROPS = drops("p", claim="it drops", where="§4")
DROPS_SOMEWHERE = drops("p", claim="it drops", where="§4", scope="any")
FLAT = stays_flat("p", claim="it is flat", where="§4")
ORDER = comes_first("p", "q", claim="p, then q", where="§4")


@pytest.mark.parametrize(
    ("depth", "noise", "drop", "flat"),
    [
        (-0.5, 0.02, "supported", "not supported"),
        (0.0, 0.02, "not supported", "supported"),
        (0.5, 0.02, "not supported", "not supported"),
        (-0.1, 0.3, "inconclusive", "inconclusive"),
    ],
)
def test_drops_and_flat_curves(depth, noise, drop, flat):
    rows = curve("p", depth, noise=noise)
    assert verdict(DROPS, rows) == drop and verdict(FLAT, rows) == flat


def test_every_category_must_agree_unless_one_is_enough():
    deep, shallow = curve("p", -0.5, category="deep"), curve("p", 0, category="shallow")
    assert verdict(DROPS, deep, shallow) == "not supported"
    assert verdict(DROPS_SOMEWHERE, deep, shallow) == "supported"
    assert verdict(DROPS_SOMEWHERE, shallow) == "not supported"


def test_the_category_that_decides_is_quoted():
    rows = pd.concat([curve("p", -0.8, category="deep"), curve("p", -0.4, category="less deep")])
    [every] = judge([DROPS], rows)
    [some] = judge([DROPS_SOMEWHERE], rows)
    assert "less deep, n = 30" in every.because and "at layer 3" in every.because
    assert "(deep, n = 30)" in some.because


def test_order():
    assert verdict(ORDER, curve("p", -0.5, at=2), curve("q", -0.5, at=5)) == "supported"
    assert verdict(ORDER, curve("p", -0.5, at=5), curve("q", -0.5, at=2)) == "not supported"
    assert verdict(ORDER, curve("p", -0.5, at=4), curve("q", -0.5, at=4)) == "not supported"
    assert verdict(ORDER, curve("p", 0, at=2), curve("q", -0.5, at=5)) == "inconclusive"


def test_too_few_samples_and_missing_pathways_are_inconclusive():
    one = curve("p", -0.9, samples=1)
    assert [verdict(rule, one) for rule in (DROPS, FLAT, ORDER)] == ["inconclusive"] * 3
    other = curve("other", -0.9)
    assert [verdict(rule, other) for rule in (DROPS, FLAT, ORDER)] == ["inconclusive"] * 3


def test_parts_compose():
    good, bad = curve("p", -0.5), curve("p", 0)
    unclear = curve("p", -0.1, noise=0.3)
    for rows, expected in [((good,), "supported"), ((good, bad), "not supported"), ((good, unclear), "inconclusive")]:
        parts = [judge([DROPS], part)[0] for part in rows]
        assert conclude("all of it", parts, where="§4").verdict == expected


def test_tables_show_rules_before_and_verdicts_after():
    rules = (*FLOW_2_FIGURE_3, *FLOW_2_FIGURE_4)
    before = rules_table(rules)
    assert list(before.columns) == ["reported", "where", "supported if"]
    assert before["supported if"][0] == "Cross-frame: in every category, the interval lies below −10% at some layer"
    after = verdicts_table(judge(rules, curve("Cross-frame", -0.5)))
    assert list(after["verdict"][:2]) == ["supported", "inconclusive"] and after["measured here"][1] == "not measured"


def test_a_sequential_pathway_is_recognised():
    rows = pd.concat(
        [
            curve("V+A↛Question", -0.8, at=3),
            curve("Question↛Last", -0.9, at=6),
            curve("V+A↛Last", 0.0),
        ]
    )
    assert conclude("one path", judge(FLOW_2_FIGURE_4, rows), where="Finding 2").verdict == "supported"
