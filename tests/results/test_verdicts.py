"""Rules on intervals, on curves whose verdict is plain to see."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from avsink.papers.flow.claims import FINDING_2_FIGURE_3, FINDING_2_FIGURE_4
from avsink.results import rules
from avsink.results.rules import comes_first, costs_more, drops, lies_above, rises, stays_flat, unharmed
from avsink.results.verdicts import (
    SETTLES,
    Verdict,
    any_of,
    conclude,
    every_of,
    judge,
    most_of,
    rules_table,
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


CONTROL = [curve("control", -0.9, category=category) for category in ("c", "deep", "shallow")]
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
        (-0.1, 0.3, "too wide", "too wide"),
    ],
)
def test_drops_and_flat_curves(depth, noise, drop, flat):
    rows = curve("p", depth, noise=noise)
    assert verdict(DROPS, rows) == drop and verdict(FLAT, rows, *CONTROL) == flat


def test_every_category_must_agree_unless_one_is_enough():
    deep, shallow = curve("p", -0.5, category="deep"), curve("p", 0, category="shallow")
    assert verdict(DROPS, deep, shallow) == "not supported"
    assert verdict(DROPS_SOMEWHERE, deep, shallow) == "supported"
    assert verdict(DROPS_SOMEWHERE, shallow) == "not supported"


def test_the_category_that_decides_is_quoted():
    rows = pd.concat([curve("p", -0.8, category="deep"), curve("p", -0.4, category="less deep")])
    [every] = judge([DROPS], rows)
    [some] = judge([DROPS_SOMEWHERE], rows)
    assert "(less deep, n = 30)" in every.because and "Δp of p at layer 3: −40" in every.because
    assert "against below −10%" in every.because and "supported in 2 of 2 categories" in every.because
    assert "(deep, n = 30)" in some.because


def test_order():
    assert verdict(ORDER, curve("p", -0.5, at=2), curve("q", -0.5, at=5)) == "supported"
    assert verdict(ORDER, curve("p", -0.5, at=5), curve("q", -0.5, at=2)) == "not supported"
    assert verdict(ORDER, curve("p", -0.5, at=4), curve("q", -0.5, at=4)) == "not supported"
    assert verdict(ORDER, curve("p", 0, at=2), curve("q", -0.5, at=5)) == "no control"


def test_missing_pathways_were_not_measured():
    other = curve("other", -0.9)
    assert [verdict(rule, other) for rule in (DROPS, FLAT, ORDER)] == ["not measured"] * 3


def test_parts_compose():
    good, bad = curve("p", -0.5), curve("p", 0)
    unclear = curve("p", -0.1, noise=0.3)
    for rows, expected in [((good,), "supported"), ((good, bad), "not supported"), ((good, unclear), "too wide")]:
        parts = [judge([DROPS], part)[0] for part in rows]
        assert conclude("all of it", parts, where="§4").verdict == expected


def test_the_whole_of_a_claim_has_the_most_frequent_word_of_what_is_open():
    parts = [Verdict("c", "w", word, "") for word in ("supported", "too few", "one layer", "one layer", "supported")]
    assert conclude("all of it", parts, where="w").verdict == "one layer"
    assert conclude("all of it", [*parts, Verdict("c", "w", "not supported", "")], where="w").verdict == "not supported"
    for compose in (every_of, most_of, any_of):  # nothing is no support: of no part, every one would be supported
        assert compose([]) == "not measured"
    assert conclude("all of it", [], where="w").verdict == "not measured"


def test_tables_show_rules_before_and_verdicts_after():
    rules = (*FINDING_2_FIGURE_3, *FINDING_2_FIGURE_4)
    before = rules_table(rules)
    assert list(before.columns) == ["reported", "where", "supported if"]
    assert before["supported if"][0].startswith(
        "Cross-frame: in at least three quarters of the categories, the band lies below −10%"
    )
    found = judge(rules, curve("Cross-frame", -0.5))
    after = verdicts_table(found)
    assert list(after["verdict"][:2]) == ["supported", "not measured"] and len(after) == len(before)
    assert after["measured here"][1] == "Cross-audio was not measured"
    assert list(after["what would settle it"][:2]) == ["", SETTLES["not measured"]]
    settled = verdicts_table(found[:1])  # nothing is open: no column for it
    assert list(settled.columns) == ["reported", "where", "measured here", "verdict"]
    assert str(found[1]).endswith(f"What would settle it: {SETTLES['not measured']}.")


def test_a_rule_reads_its_own_measurement_and_says_when_it_is_not_there():
    one, two = (drops("p", claim=name, where="w") for name in ("here", "there"))
    rules = [replace(one, reads="first"), replace(two, reads="second")]
    assert [v.verdict for v in judge(rules, {"first": curve("p", -0.5)})] == ["supported", "not measured"]
    both = {"first": curve("p", -0.5), "second": curve("p", 0.0)}
    assert [v.verdict for v in judge(rules, both)] == ["supported", "not supported"]


def test_a_sequential_pathway_is_recognised():
    """In a task of the paper that sight alone can solve, and in one that needs both modalities."""
    parts = [curve("V+A↛Question", -0.8, at=3), curve("Question↛Last", -0.9, at=6), curve("V+A↛Last", 0.0)]
    parts += [curve("Video↛Question", -0.7, at=3), curve("Cross-frame", -0.5, at=1), curve("Audio↮Video", 0.0)]
    parts += [curve(f"{medium}↛Last", 0.0) for medium in ("Video", "Audio")]
    seen = [part.assign(category="Visual Recognition") for part in [*parts, curve("Audio↛Question", 0.0)]]
    heard = [part.assign(category="Speech Recognition") for part in [*parts, curve("Audio↛Question", -0.5)]]
    heard = [part.assign(sample="h" + part["sample"]) for part in heard]
    found = judge(FINDING_2_FIGURE_4, pd.concat([*seen, *heard]))
    assert conclude("one path", found, where="Finding 2").verdict == "supported"


def answers(before, after, *, chance=0.25):
    """Rows of a baseline and of a configuration: shares of right answers among 100 samples, the first ones right."""
    rows = [
        (f"s{i}", config, float(i < 100 * share), chance)
        for config, share in (("Baseline", before), ("Discard All", after))
        for i in range(100)
    ]
    return pd.DataFrame(rows, columns=["sample", "config", "correct", "chance"])


UNHARMED = unharmed("Discard All", column="config", baseline="Baseline", claim="c", where="w")


def test_what_costs_no_accuracy_is_told_from_what_does():
    assert UNHARMED.test(answers(0.9, 0.9))[0] == "supported"
    assert UNHARMED.test(answers(0.9, 0.95))[0] == "supported"
    assert UNHARMED.test(answers(0.9, 0.5))[0] == "not supported"
    assert UNHARMED.test(answers(0.9, 0.86))[0] == "too wide"


def test_what_cannot_fail_is_no_support():
    few = answers(0.9, 0.9)
    found = [
        UNHARMED.test(rows)
        for rows in (
            answers(0.25, 0.25),
            few[few["sample"].isin([f"s{i}" for i in range(5)])],
            few[few["sample"].isin([f"s{i}" for i in range(30)])],  # 30 samples without a change allow for 9.5 points
            few.query("config == 'Baseline'"),
        )
    ]
    words = ["no room", "too few", "too wide", "not measured"]
    assert [word for word, _ in found] == words
    for part, (_, said) in zip(("better than guessing", "10 samples"), found, strict=False):
        assert part in said


def test_a_rise_needs_room():
    rule = rises("IncorrectOpt↛Last", claim="c", where="w")
    rows = curve("IncorrectOpt↛Last", 0.4)
    assert rule.test(rows.assign(p_base=0.6))[0] == "supported"
    assert rule.test(curve("IncorrectOpt↛Last", -0.4).assign(p_base=0.6))[0] == "not supported"
    outcome, because = rule.test(curve("IncorrectOpt↛Last", 0.0).assign(p_base=0.99))
    assert outcome == "no room" and "can gain 1.0% at most" in because


def test_one_pathway_costs_more_than_another_wherever_each_is_deepest():
    deep, shallow = curve("Video↛Audio", -0.8, at=2), curve("Audio↛Video", -0.2, at=5)
    rule = costs_more("Video↛Audio", "Audio↛Video", claim="c", where="w")
    assert rule.test(pd.concat([deep, shallow]))[0] == "supported"
    turned = costs_more("Audio↛Video", "Video↛Audio", claim="c", where="w")
    assert turned.test(pd.concat([deep, shallow]))[0] == "not supported"
    assert rule.test(deep)[0] == "not measured"
    other = [curve(name, -0.3, category="d") for name in ("Video↛Audio", "Audio↛Video")]
    both = pd.concat([deep, shallow, *other])
    assert rule.test(both)[0] == "not supported"
    anywhere = costs_more("Video↛Audio", "Audio↛Video", claim="c", where="w", scope="any")
    assert anywhere.test(both)[0] == "supported"


def test_most_is_more_than_half():
    rows = pd.concat([curve("A↛B", depth, category=name) for name, depth in (("x", -0.5), ("y", -0.5), ("z", 0.0))])
    assert drops("A↛B", claim="c", where="w", scope="most").test(rows)[0] == "supported"
    assert drops("A↛B", claim="c", where="w", scope="every").test(rows)[0] == "not supported"
    half = rows[rows["category"] != "y"]
    assert drops("A↛B", claim="c", where="w", scope="most").test(half)[0] == "not supported"


@pytest.mark.parametrize(
    ("without", "of", "word"),
    [(1, 4, "supported"), (1, 5, "supported"), (2, 5, "not supported"), (1, 3, "not supported")],
)
def test_almost_every_is_three_quarters(without, of, word):
    rows = pd.concat([curve("A↛B", -0.5 * (at >= without), category=f"c{at}") for at in range(of)])
    assert drops("A↛B", claim="c", where="w", scope="almost every").test(rows)[0] == word
    assert drops("A↛B", claim="c", where="w", scope="most").test(rows)[0] == "supported"


def test_a_number_against_a_bar():
    rule = lies_above(0.5, value=lambda rows: rows.set_index("sample")["x"], what="x", claim="c", where="w")
    rng = np.random.default_rng(0)

    def rows(mean):
        return pd.DataFrame({"sample": [f"s{i}" for i in range(40)], "x": mean + 0.05 * rng.standard_normal(40)})

    assert [rule.test(rows(mean))[0] for mean in (0.7, 0.3, 0.5)] == ["supported", "not supported", "too wide"]
    assert rule.test(rows(float("nan")))[0] == "not measured"


def test_a_number_of_too_few_samples_is_no_verdict():
    rule = lies_above(0.1, value=lambda rows: rows.set_index("sample")["x"], what="x", claim="c", where="w")
    rows = pd.DataFrame({"sample": [f"s{i}" for i in range(12)], "x": 0.4 + 0.01 * np.arange(12)})
    assert judge([rule], rows)[0].verdict == "supported"
    few = judge([rule], rows[:9])[0]
    assert few.verdict == "too few" and "n = 9" in few.because and "10 are needed" in few.because


@pytest.mark.parametrize("rows", [pd.DataFrame(), curve("p", 0).iloc[:0]])
def test_where_nothing_was_measured_every_kind_of_rule_says_so(rows):
    said = {"claim": "", "where": ""}
    kinds = [
        *(kind("p", **said) for kind in (drops, rises, stays_flat)),
        *(kind("p", "q", **said) for kind in (comes_first, costs_more)),
        rules.lies_at_depth(["p"], **said),
        lies_above(0.5, value=lambda rows: rows["x"], what="x", **said),
        rules.is_most_of(lambda rows: rows["x"], lambda rows: rows["y"], what="x", empty="too wide", **said),
        unharmed("few", column="config", baseline="all", **said),
        rules.improves("config", baseline="all", **said),
        rules.among(lambda: ["c"], DROPS, kind="that matter"),
        rules.reading(lambda rows: rows["x"], DROPS),
        rules.unless(lambda rows: rows["x"], DROPS, outcome="one layer"),
        rules.in_each_category([DROPS], **said),
    ]
    found = {(verdict.verdict, verdict.because) for verdict in judge(kinds, rows)}
    assert found == {("not measured", "nothing was measured")}
