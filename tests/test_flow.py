"""Measurements over many samples: what is kept is read again, by whoever asks; layers come from the curves."""

import pandas as pd
import pytest

import avsink
from avsink import discard, flow, reported, words
from avsink.allocation import GROUPS, MASKS


@pytest.fixture(scope="module")
def model():
    return avsink.load("tiny-omni", check=False)


def samples(task, n):
    return avsink.load_samples("toyworld", tasks=[task], n_samples=n)


def test_what_one_page_has_measured_the_next_one_reads(model, tmp_path):
    keep = {"data": "toyworld", "root": str(tmp_path)}
    few = samples("match the reference", 2)
    first = flow.pathways(model, few, k=3, pathways=flow.INTERLEAVED, **keep)
    again = flow.pathways(model, few, k=3, pathways=flow.INTERLEAVED, **keep)
    assert (first.computed, again.computed) == (2, 0)
    pd.testing.assert_frame_equal(first.rows, again.rows)
    assert set(first.rows["pathway"]) == set(flow.INTERLEAVED)
    assert set(first.rows["structure"]) == {"candidates, question, reference"}
    assert flow.pathways(model, few, k=1, pathways=flow.INTERLEAVED, **keep).computed == 2


def test_discarding_agrees_with_replays_on_the_real_model(model, tmp_path):
    (sample,) = samples("anchor and target", 1)
    after = {"Video": 2, "Audio": 3, "NonOptQ": 5}
    rows = flow.discarding(model, [sample], after=after, data="toyworld", root=str(tmp_path)).rows.set_index("config")
    inputs = model.prepare(sample)
    run = avsink.clean_run(model, inputs)
    plans = discard.configurations(inputs.layout, after=after)
    assert list(rows.index) == list(plans)
    for name, probabilities in zip(plans, run.replay(list(plans.values())), strict=True):
        letters = {letter: float(run.read(letter, probabilities)) for letter in inputs.letters}
        assert rows.loc[name, "predicted"] == max(letters, key=letters.get)
    assert rows.loc["Baseline", "arithmetic"] == 1 and rows["arithmetic"].idxmin() == "Discard All"


def curve(pathway, lows):
    """Rows of `flow.pathways`: 20 samples, a category, the same Δp for all."""
    rows = [(f"s{i}", "c", pathway, layer, low) for i in range(20) for layer, low in enumerate(lows)]
    return pd.DataFrame(rows, columns=["sample", "category", "pathway", "layer", "delta_p"])


def test_layers_come_from_all_ways_out_and_from_no_other_curve():
    rows = pd.concat([curve("Video↛Others", [-1, -1, 0, 0]), curve("Video↛Last", [0, 0, 0, -1])])
    assert flow.layers_to_discard(rows, k=1, n_layers=4) == {"Video": 1}


def test_table_1_stands_beside_the_papers():
    rows = pd.DataFrame(
        [(f"s{i}", mask, float(i < 8 + (at == 3))) for i in range(10) for at, mask in enumerate(MASKS)],
        columns=["sample", "mask", "correct"],
    )
    table = reported.table_1(rows).set_index("mask")
    assert table["reported"].tolist() == pytest.approx([0.4224, 0.4224, 0.4231, 0.4252])
    assert table["measured"].tolist() == pytest.approx([0.8, 0.8, 0.8, 0.9])
    assert table["change"].tolist()[1:] == pytest.approx([0.0, 0.0, 0.1]) and table["n"].eq(10).all()
    page = reported.readable(table.reset_index(), first="mask")
    assert page["reported"].tolist() == ["42.2%", "42.2%", "42.3%", "42.5%"]
    assert page["change [95 %]"][0] == "" and page["change [95 %]"][3].startswith("+10.0 [")


@pytest.mark.parametrize("interleaved", [False, True])
def test_table_4_holds_every_number_of_the_paper(interleaved):
    kinds = discard.INTERLEAVED if interleaved else discard.CLIP
    configs = [discard.BASELINE, *kinds, discard.ALL]
    rows = pd.DataFrame(
        [
            (f"s{i}", "t", "c", config, 1.0, 10.0 - at, 1 - at / 10)
            for i in range(4)
            for at, config in enumerate(configs)
        ],
        columns=["sample", "task", "category", "config", "correct", "prefill_ms", "arithmetic"],
    )
    tasks = reported.tasks_of_table_4(rows, interleaved=interleaved)
    paper = reported.paper("flow_table4_discarding")
    own = paper[paper["input"] == ("multi-input" if interleaved else "video")]
    assert sorted(tasks[tasks["side"] == "reported"]["accuracy"] * 100) == pytest.approx(sorted(own["accuracy"]))
    table = reported.table_4(rows, interleaved=interleaved).set_index("config")
    assert list(table.index) == configs
    assert table["reported"].iloc[0] == pytest.approx(own[own["config"] == "Baseline"]["accuracy"].mean() / 100)
    speed = reported.latencies(rows, interleaved=interleaved).set_index("config")
    assert speed["measured"].tolist() == pytest.approx([1.0, 0.9, 0.8, 0.7, 0.6])
    assert speed.loc["Discard All", "reported_ms"] == (530.62 if interleaved else 2089.47)
    assert "Discard All" in reported.readable_latencies(speed.reset_index())["config"].tolist()
    assert words.accuracies(tasks).startswith("Within a task")


def test_depths_and_counts():
    table = reported.depths(spike=6, after={"Video": 2, "Audio": -1}, interleaved={}, n_layers=8)
    measured = table.set_index(["quantity", "group"])["measured"]
    assert measured["spike of attention to video", ""] == 6 and measured["discard after layer", "Audio"] == -1
    assert pd.isna(measured["discard after layer (interleaved)", "Reference"])
    assert table["reported_depth"][0] == pytest.approx(31 / 35)
    counts = reported.counts("toyworld", samples("anchor and target", 3))
    assert counts["here"].isna().all()
    sums = counts.groupby(["benchmark", "use"])["reported"].sum()
    assert sums["av-odyssey", "knockout"] == 1304 and sums["worldsense", "knockout"] == 418
    assert sums["av-speakerbench", "knockout"] == 2081  # the paper prints 2,281, which its own rows do not add up to


def test_results_in_words():
    shares = pd.DataFrame(
        [(g, layer, 0.25 + 0.5 * (g == "video") * layer) for g in GROUPS for layer in (0, 1)],
        columns=["group", "layer", "mean"],
    )
    assert "from 25% to 75% at layer 1" in words.shares(shares, spike=1)
    assert words.layers({"Video": 2, "Audio": -1, "NonOptQ": 7}, n_layers=8) == (
        "Can be discarded: Video after layer 2, Audio never needed. Needed to the end: NonOptQ."
    )
    assert words.layers({"NonOptQ": 7}, n_layers=8).startswith("Can be discarded: nothing.")
