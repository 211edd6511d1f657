"""Rules on what restoring brings back, against a bootstrap of paired differences in plain numpy."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from avsink.results.rules.amounts import ALL, NOTHING, amount
from avsink.results.rules.effects import ALIKE, FEWER, holds_more
from avsink.results.rules.parts import every_part
from avsink.results.verdicts import Found, Rule, judge

SAID = {"claim": "c", "where": "w"}
EFFECTS = ("ie_clean", "ie_corrupt")
SINK, HALF = amount("Sink", 2), amount("All", share=0.5)


def table(
    effects: dict[tuple[str, int], np.ndarray], *, sizes: dict[str, float] | None = None, kinds=("audio", "video")
) -> pd.DataFrame:
    """Rows of causal tracing: (token_set, one_in) -> a number per sample, or per draw and sample, for both effects."""
    sizes = {"All": 20, **(sizes or {})}
    return pd.DataFrame(
        {
            "sample": f"{kind}{sample}",
            "dominance": kind,
            "token_set": name,
            "one_in": one_in,
            "draw": draw,
            "ie_clean": x,
            "ie_corrupt": x,
            "tokens": sizes.get(name, sizes.get((name, one_in), 4)),
        }
        for kind in kinds
        for (name, one_in), numbers in effects.items()
        for draw, own in enumerate(np.atleast_2d(numbers))
        for sample, x in enumerate(own)
    )


def interval(differences: np.ndarray) -> tuple[float, float, float]:
    """The mean and the 2.5th and 97.5th percentile of the means of resamples."""
    rng, n = np.random.default_rng(1), len(differences)
    means = differences[rng.integers(n, size=(5_000, n))].mean(axis=1)
    return differences.mean(), *np.percentile(means, [2.5, 97.5])


def outcome(rule: Rule, rows: pd.DataFrame) -> str:
    return judge([rule], rows)[0].verdict


def test_differences_are_paired_by_sample():
    """Samples differ by far more than the two sets do within each sample."""
    rng = np.random.default_rng(0)
    rule = holds_more(("Sink", 2), ("Random", 2), **SAID)
    seen = set()
    for seed in range(16):
        rng = np.random.default_rng(seed)
        n, shift = 20, rng.choice([-0.03, 0.0, 0.01, 0.03])
        base = rng.uniform(0.05, 0.9, n)
        draws = base + rng.normal(0, 0.03, (5, n))
        sink = base + shift + rng.normal(0, 0.02, n)
        rows = table({("All", 0): base + 0.1, ("Sink", 2): sink, ("Random", 2): draws})
        _, low, high = interval(sink - draws.mean(axis=0))
        if min(abs(low), abs(high)) < 0.0005:
            continue  # two bootstraps need not agree on a hair
        expected = "supported" if low > 0 else "not supported" if high <= 0 else "too wide"
        assert outcome(rule, rows) == expected, seed
        seen.add(expected)
        assert interval(sink)[1] < interval(draws.mean(axis=0))[2]  # unpaired, no interval lies above another
    assert seen == {"supported", "not supported", "too wide"}


def test_both_effects_of_both_dominances_must_bear_the_statement_out():
    n = np.linspace(0.2, 0.4, 20)
    rows = table({("All", 0): n + 0.3, ("Sink", 2): n, ("Random", 2): n - 0.1})
    rule = holds_more(("Sink", 2), ("Random", 2), **SAID)
    assert outcome(rule, rows) == "supported"
    worse = (rows["token_set"] == "Sink") & (rows["dominance"] == "video")
    for effect in EFFECTS:
        turned = rows.assign(**{effect: rows[effect].where(~worse, rows[effect] - 0.2)})
        [found] = judge([rule], turned)
        assert found.verdict == "not supported"
        assert re.search(r"video-dominant.*not supported, IE_" + effect[3:], found.because)
        assert len(re.findall(r"supported, IE", found.because)) == 4
    assert outcome(holds_more(("Sink", 2), ("Random", 2), dominance="audio", **SAID), turned) == "supported"
    only = holds_more(("Sink", 2), ("Random", 2), dominance="video", value="ie_clean", **SAID)
    assert outcome(only, turned) == "supported" and "IE_corrupt" not in only.condition


@pytest.mark.parametrize("everything", [0.0, -0.05])
def test_where_all_tokens_bring_nothing_back_there_is_nothing_to_hold(everything):
    """Sinks that bring back nothing are still above half of a negative effect of all tokens."""
    rng = np.random.default_rng(0)
    rows = table({("All", 0): everything + 0.01 * rng.normal(size=30), ("Sink", 2): 0.01 * rng.normal(size=30)})
    [found] = judge([holds_more(SINK, HALF, **SAID)], rows)
    assert found.verdict == "nothing to restore" and "of All is" in found.because
    assert outcome(holds_more(ALL, NOTHING, **SAID), rows) in ("not supported", "too wide")


def test_a_dominance_without_anything_to_restore_does_not_speak_for_the_other():
    n = np.linspace(0.2, 0.4, 20)
    rows = table({("All", 0): n + 0.1, ("Sink", 2): n})
    void = rows["dominance"] == "video"
    rows[list(EFFECTS)] = rows[list(EFFECTS)].where(~void, -0.01)
    [found] = judge([holds_more(SINK, HALF, **SAID)], rows)
    assert found.verdict == "supported" and "video-dominant, n = 20: nothing to restore, IE_clean" in found.because
    assert outcome(holds_more(ALL, NOTHING, **SAID), rows) == "not supported"  # this is what it says itself


def one_kind(kind: str, everything: np.ndarray, sink: np.ndarray, random: np.ndarray) -> pd.DataFrame:
    return table({("All", 0): everything, ("Sink", 2): sink, ("Random", 2): random}, kinds=(kind,))


def test_only_what_is_certain_to_be_nothing_is_left_out():
    """A noisy effect of all tokens leaves the statement open, and there a contradiction counts."""
    rng = np.random.default_rng(0)
    n, few = np.linspace(0.2, 0.4, 20), rng.normal(0, 0.6, 12)
    few -= few.mean()
    rule = holds_more(SINK, ("Random", 2), **SAID)
    clear = one_kind("audio", n + 0.3, n, n - 0.1)
    noisy = 0.07 + few  # the interval of its mean lies on both sides of 0
    assert interval(noisy)[1] < 0 and interval(noisy)[2] > 0.1
    cases = (
        (noisy, -0.4 + 0.1 * few, 0.3 - 0.1 * few, "not supported"),
        (noisy, 0.1 + few, 0.1 - few, "too wide"),
        (noisy, few + 0.3, few, "too wide"),
        (0.001 * few, 0.005 + 0.1 * few, few * 0.1, "supported"),  # nothing there, and left out
    )
    for everything, sink, random, expected in cases:
        [found] = judge([rule], pd.concat([clear, one_kind("video", everything, sink, random)]))
        assert found.verdict == expected, found
        assert ("nothing to restore" in found.because) == (expected == "supported"), found
        turned = pd.concat([clear.assign(dominance="video"), one_kind("audio", everything, sink, random)])
        assert outcome(rule, turned.assign(sample=turned["dominance"] + turned["sample"])) == expected
    [found] = judge(
        [rule],
        one_kind("audio", noisy, few + 0.3, few).pipe(lambda own: pd.concat([own, own.assign(dominance="video")])),
    )
    assert found.verdict == "too wide" and "IE_clean of All is +7.0 [" in found.because


def test_a_verdict_is_read_alone():
    """Measure, unit, bar, n, both means and the paired difference with its interval."""
    rng = np.random.default_rng(3)
    everything = rng.uniform(0.4, 0.6, 30)
    sink = 0.62 * everything + rng.normal(0, 0.05, 30)
    [found] = judge([holds_more(SINK, HALF, **SAID)], table({("All", 0): everything, ("Sink", 2): sink}))
    assert found.because.startswith("Sink (N = 2) against half of All, and the difference, in points; bar 0. ")
    for kind in ("audio", "video"):
        shown = re.search(
            rf"{kind}-dominant, n = 30: IE_clean ([\d.]+) against ([\d.]+), \+([\d.]+) \[\+([\d.]+), \+([\d.]+)\];",
            found.because,
        )
        mean, low, high = interval(sink - everything / 2)
        expected = [sink.mean(), everything.mean() / 2, mean, low, high]
        assert [float(x) for x in shown.groups()] == pytest.approx([100 * x for x in expected], abs=0.15)


def test_few_samples_and_missing_sets_are_told():
    n = np.linspace(0.2, 0.4, 20)
    rows = table({("All", 0): n + 0.3, ("Sink", 2): n, ("Random", 2): n - 0.1})
    rule = holds_more(("Sink", 2), ("Random", 2), **SAID)
    nine = rows[rows["sample"].str.extract(r"(\d+)")[0].astype(int).to_numpy() < 9]
    ten = rows[rows["sample"].str.extract(r"(\d+)")[0].astype(int).to_numpy() < 10]
    assert outcome(rule, nine) == "too few" and outcome(rule, ten) == "supported"
    for missing in ("Sink", "Random", "All"):
        [found] = judge([rule], rows[rows["token_set"] != missing])
        assert found.verdict == "not measured" and f"{missing}" in found.because
    [found] = judge([rule], rows[rows["dominance"] == "audio"])
    assert found.verdict == "not measured" or "no such sample" in found.because
    assert judge([rule], pd.DataFrame())[0].verdict == "not measured"


def test_sets_without_tokens():
    """A comparison of nothing says nothing; but what does not exist does not hold most."""
    n = np.linspace(0.2, 0.4, 20)
    rows = table({("All", 0): n, ("Sink", 2): 0 * n, ("Random", 2): 0 * n}, sizes={"Sink": 0, "Random": 0})
    [found] = judge([holds_more(("Sink", 2), ("Random", 2), **SAID)], rows)
    assert found.verdict == "nothing to restore" and "0% of the samples have tokens in Sink (N = 2)" in found.because
    assert outcome(holds_more(SINK, HALF, **SAID), rows) == "not supported"
    some = rows["sample"].str.extract(r"(\d+)")[0].astype(int).to_numpy() < 9  # in 9 of 20
    some = rows.assign(tokens=rows["tokens"].where(~some | (rows["token_set"] == "All"), 3))
    [found] = judge([holds_more(("Sink", 2), ("Random", 2), **SAID)], some)
    assert found.verdict == "nothing to restore" and "45% of the samples" in found.because


def test_what_is_nearly_everywhere_is_no_place():
    n = np.linspace(0.2, 0.4, 20)
    effects = {("All", 0): n, ("Sink", 2): 0.9 * n, ("Object", 0): 0.1 * n}
    most, more = holds_more(SINK, HALF, **SAID), holds_more(("Sink", 2), ("Object", 0), **SAID)
    assert outcome(most, table(effects, sizes={"Sink": 15})) == "supported"
    [found] = judge([most], table(effects, sizes={"Sink": 16}))
    assert found.verdict == "sizes do not fit" and "Sink (N = 2) is nearly everywhere, 16.0 of 20.0" in found.because
    [found] = judge([more], table(effects, sizes={"Object": 17}))
    assert found.verdict == "sizes do not fit" and "Object is nearly everywhere" in found.because


def test_sizes_must_fit_the_statement():
    n = np.linspace(0.2, 0.4, 20)
    effects = {("All", 0): n, ("Sink", 2): 0.5 * n, ("Sink", 4): 0.45 * n, ("Object", 0): 0.1 * n}
    alike = holds_more(("Sink", 2), ("Object", 0), sizes=ALIKE, **SAID)
    for size, expected in ((3, "supported"), (6, "supported"), (7, "sizes do not fit"), (2, "sizes do not fit")):
        assert outcome(alike, table(effects, sizes={"Object": size})) == expected, size
    fewer = holds_more(("Sink", 4), amount("Sink", 2, share=0.75), whole=SINK, sizes=FEWER, **SAID)
    for size, expected in ((2, "supported"), (3, "supported"), (4, "sizes do not fit")):
        assert outcome(fewer, table(effects, sizes={("Sink", 4): size})) == expected, size


def test_a_mean_over_n_is_one_number_per_sample_and_equal_sets_are_one():
    rng = np.random.default_rng(5)
    base = rng.uniform(0.3, 0.6, 25)
    cross = {n: base + shift + rng.normal(0, 0.02, 25) for n, shift in ((2, 0.05), (3, 0.02), (4, -0.01))}
    uni = {n: base + rng.normal(0, 0.02, 25) for n in (2, 3, 4)}
    effects = {("All", 0): base + 0.2, ("Sink", 2): base + 0.1}
    effects |= {("Cross-modal", n): x for n, x in cross.items()} | {("Unimodal", n): x for n, x in uni.items()}
    rule = holds_more(amount("Cross-modal", 2, 3, 4), amount("Unimodal", 2, 3, 4), **SAID)
    difference = np.mean([cross[n] - uni[n] for n in (2, 3, 4)], axis=0)
    assert interval(difference)[1] > 0 > interval(cross[4] - uni[4])[0]  # not for each N by itself
    sizes = {(name, n): 9 - n for name in ("Cross-modal", "Unimodal") for n in (2, 3, 4)}
    [found] = judge([rule], table(effects, sizes=sizes))
    assert found.verdict == "supported" and "the same tokens" not in found.because
    assert f"+{100 * difference.mean():.1f} [" in found.because
    [found] = judge([rule], table(effects))
    assert found.because.endswith("N = 2, 3, 4 take the same tokens here, and count as one")
    without = table({key: x for key, x in effects.items() if key != ("Unimodal", 4)}, sizes=sizes)
    difference = np.mean([cross[n] - uni[n] for n in (2, 3)], axis=0)  # N = 4 has only one of the two
    [found] = judge([rule], without)
    assert f"+{100 * difference.mean():.1f} [" in found.because and "audio-dominant, N = 2, 3, n = 25:" in found.because


def test_printed_means_are_held_to_the_same_bar_up_to_their_rounding():
    means = table({("All", 0): [0.0961], ("Sink", 2): [0.0624], ("Random", 2): [0.0424]})
    rule = holds_more(("Sink", 2), ("Random", 2), **SAID)
    assert rule.of_means(means)[0] == "supported" and "IE_clean 6.24 against 4.24, +2.00" in rule.of_means(means)[1]
    for sink, expected in (
        (0.0424, "too wide"),
        (0.0425, "too wide"),
        (0.0426, "supported"),
        (0.0422, "not supported"),
    ):
        own = means.assign(**{e: means[e].where(means["token_set"] != "Sink", sink) for e in EFFECTS})
        assert rule.of_means(own)[0] == expected, sink
    nothing = means.assign(**{e: means[e].where(means["token_set"] != "All", -0.0005) for e in EFFECTS})
    assert rule.of_means(nothing)[0] == "nothing to restore"
    assert holds_more(ALL, NOTHING, **SAID).of_means(nothing)[0] == "not supported"


def part(claim: str, outcome: str, measured: str = "1 of 2") -> Rule:
    return Rule(claim=claim, where="", condition=f"if {claim}", test=lambda rows: Found(outcome, measured))


def test_a_statement_of_several_parts_has_one_verdict_that_names_them():
    yes, no, wide = part("video", "supported"), part("audio", "not supported", "3 of 4"), part("text", "too wide")
    rows = pd.DataFrame({"x": [1]})
    both = every_part([yes, no], claim="both", where="w")
    assert both.test(rows) == Found("not supported", "video: supported: 1 of 2; audio: not supported: 3 of 4")
    assert both.condition == "if video; if audio"
    assert every_part([yes, yes], **SAID).test(rows)[0] == "supported"
    assert every_part([yes, wide], **SAID).test(rows)[0] == "too wide"
