"""Measurements over many samples: what is kept is read again, by whoever asks; layers come from the curves."""

import pandas as pd
import pytest

import avsink
from avsink.charts import descriptions
from avsink.instruments import discarding, knockout
from avsink.instruments.attention_shares import GROUPS, MASKS
from avsink.papers import flow
from avsink.papers.flow import questions, reported
from avsink.papers.tables import paper


@pytest.fixture(scope="module")
def model(tiny_omni):
    return tiny_omni


def samples(task, n):
    return avsink.load_samples("toyworld", tasks=[task], n_samples=n)


def test_what_one_page_has_measured_the_next_one_reads(model, tmp_path):
    few = samples("match the reference", 2)
    first = avsink.measure(knockout.sweep, model, few, k=3, pathways=flow.INTERLEAVED, root=tmp_path)
    again = avsink.measure(knockout.sweep, model, few, k=3, pathways=flow.INTERLEAVED, root=tmp_path)
    assert (first.computed, again.computed) == (2, 0)
    pd.testing.assert_frame_equal(first.rows, again.rows)
    assert set(first.rows["pathway"]) == set(flow.INTERLEAVED)
    assert set(first.rows["structure"]) == {"candidates, question, reference"}
    assert avsink.measure(knockout.sweep, model, few, k=1, pathways=flow.INTERLEAVED, root=tmp_path).computed == 2


def test_discarding_agrees_with_replays_on_the_real_model(model, tmp_path):
    (sample,) = samples("anchor and target", 1)
    after = {"Video": 2, "Audio": 3, "NonOptQ": 5}
    rows = avsink.measure(discarding.compare, model, [sample], after=after, root=tmp_path).rows.set_index("config")
    inputs = model.prepare(sample)
    run = avsink.clean_run(model, inputs)
    plans = discarding.configurations(inputs.layout, after=after)
    assert list(rows.index) == list(plans)
    for name, probabilities in zip(plans, run.replay(list(plans.values())), strict=True):
        letters = {letter: float(run.probability_of(letter, probabilities)) for letter in inputs.letters}
        assert rows.loc[name, "predicted"] == max(letters, key=letters.get)
    assert rows.loc["Baseline", "arithmetic"] == 1 and rows["arithmetic"].idxmin() == "Discard All"


def curve(pathway, lows):
    """Rows of `knockout.onward`: 20 samples, a category, the same Δp for all."""
    rows = [(f"s{i}", "c", pathway, layer, low) for i in range(20) for layer, low in enumerate(lows, start=-1)]
    return pd.DataFrame(rows, columns=["sample", "category", "pathway", "layer", "delta_p"])


def test_layers_come_from_closing_all_ways_out_behind_them():
    rows = pd.concat([curve("Video↛Others", [-1, -1, 0, 0]), curve("Audio↛Others", [0, 0, 0, 0])])
    assert flow.layers_to_discard(rows, n_layers=4) == {"Video": 1, "Audio": -1}
    assert flow.layers_to_discard(pd.DataFrame(), n_layers=4) == {}


def test_onward_is_a_full_pass_with_the_ways_closed_to_the_end(model, tmp_path):
    (sample,) = samples("anchor and target", 1)
    rows = avsink.measure(knockout.onward, model, [sample], pathways=flow.OUT["clip"], root=tmp_path).rows
    inputs = model.prepare(sample)
    run = avsink.clean_run(model, inputs)
    others = [p for p in range(inputs.layout.n) if p not in set(inputs.layout.video.tolist())]
    own = rows[rows["pathway"] == "Video↛Others"].set_index("layer")
    assert list(own.index) == list(range(-1, model.n_layers - 1))
    for layer, row in own.iterrows():
        plan = avsink.Block(inputs.layout.video, others, range(layer + 1, model.n_layers))
        p = float(run.probability_of(run.predicted, run.replay([plan]))[0])
        assert row["p_knockout"] == pytest.approx(p, abs=1e-6)


def test_a_page_refuses_what_it_is_not_about():
    clips, matches = samples("anchor and target", 2), samples("match the reference", 2)
    with pytest.raises(ValueError, match="several kinds, clip and interleaved"):
        flow.kind_of([*clips, *matches])
    assert (flow.kind_of(matches), flow.kind_of([])) == ("interleaved", "clip")
    assert avsink.load_samples("toyworld", tasks="anchor and target", kind="clip", n_samples=2) == clips
    with pytest.raises(ValueError, match="questions about one clip are needed; 2 of 2 samples are not such"):
        avsink.load_samples("toyworld", tasks="match the reference", kind="clip", n_samples=2)


def test_nothing_measured_leaves_the_papers_numbers_alone(model, tmp_path):
    done = avsink.measure(discarding.compare, model, [], after={}, root=tmp_path)
    assert done.rows.empty and done.computed == 0
    assert reported.readable(reported.table_4(done.rows), first="config")["reported"].notna().all()
    assert reported.readable_latencies(reported.latencies(done.rows))["reported, ms"].iloc[0] == "2,289"
    assert set(reported.tasks_of_table_4(done.rows)["side"]) == {"reported"}
    assert reported.depths(spike=None, after={}, interleaved={}, n_layers=8)["measured"].isna().all()


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
    still = 100 * (1 - 0.05 ** (1 / 10))  # what ten samples without a change allow
    assert page["change [95 %]"][1] == f"+0.0 [−{still:.1f}, +{still:.1f}]"


@pytest.mark.parametrize("interleaved", [False, True])
def test_table_4_holds_every_number_of_the_paper(interleaved):
    kinds = discarding.INTERLEAVED if interleaved else discarding.CLIP
    configs = [discarding.BASELINE, *kinds, discarding.ALL]
    rows = pd.DataFrame(
        [
            (f"s{i}", "t", "c", config, 1.0, 10.0 - at, 1 - at / 10)
            for i in range(4)
            for at, config in enumerate(configs)
        ],
        columns=["sample", "task", "category", "config", "correct", "prefill_ms", "arithmetic"],
    )
    tasks = reported.tasks_of_table_4(rows, interleaved=interleaved)
    printed = paper("flow_table4_discarding")
    own = printed[printed["input"] == ("multi-input" if interleaved else "video")]
    assert sorted(tasks[tasks["side"] == "reported"]["accuracy"] * 100) == pytest.approx(sorted(own["accuracy"]))
    table = reported.table_4(rows, interleaved=interleaved).set_index("config")
    assert list(table.index) == configs
    assert table["reported"].iloc[0] == pytest.approx(own[own["config"] == "Baseline"]["accuracy"].mean() / 100)
    speed = reported.latencies(rows, interleaved=interleaved).set_index("config")
    assert speed["measured"].tolist() == pytest.approx([1.0, 0.9, 0.8, 0.7, 0.6])
    assert speed.loc["Discard All", "reported_ms"] == (530.62 if interleaved else 2089.47)
    assert "Discard All" in reported.readable_latencies(speed.reset_index())["config"].tolist()
    assert descriptions.accuracies(tasks).startswith("Within a task")
    page = reported.readable_tasks(tasks)
    assert list(page) == ["side", "task", *configs, "n"] and len(page) == tasks["task"].nunique()
    mine = page[page["side"] == "measured"].iloc[0]
    assert (mine["task"], mine["Discard All"], mine["n"]) == ("t: c", "100.0 [100.0, 100.0]", 4)
    theirs = page[page["side"] == "reported"]
    assert not theirs["Baseline"].str.contains(r"\[").any() and theirs["n"].isna().all()


def test_depths_and_counts():
    table = reported.depths(spike=6, after={"Video": 2, "Audio": -1}, interleaved={}, n_layers=8)
    measured = table.set_index(["quantity", "group"])["measured"]
    assert measured["spike of attention to video", ""] == 6 and measured["discard after layer", "Audio"] == -1
    assert pd.isna(measured["discard after layer (interleaved)", "Reference"])
    assert table["reported_depth"][0] == pytest.approx(31 / 35)
    counts = questions.counts(("toyworld", questions.selected("toyworld")))
    assert counts["here"].isna().all()
    sums = counts.groupby(["benchmark", "use"])["reported"].sum()
    assert sums["av-odyssey", "knockout"] == 1304 and sums["worldsense", "knockout"] == 418
    assert sums["av-speakerbench", "knockout"] == 2081  # the paper prints 2,281, which its own rows do not add up to
    assert questions.structures({})["here"].isna().all()
    orders = questions.structures({})
    every = orders[orders["task"] == "all"].set_index("structure")["reported"]
    assert every.to_dict() == {
        "candidates, question, reference": 1001,
        "question, reference, candidates": 161,
        "reference, candidates, question": 124,
        "reference, question, candidates": 18,
    }
    percent = orders[orders["task"] == "all"].set_index("structure")["reported_pct"]
    assert {order: round(100 * count / 1304) for order, count in every.items()} == percent.to_dict()  # table 10
    sinks = reported.depths(spike=6, after={}, interleaved={}, n_layers=8, sinks={"language": 2}).set_index("group")
    assert (sinks.loc["language", "reported"], sinks.loc["language", "measured"]) == (15, 2)
    assert sinks.loc["vision", "reported"] == 31 and pd.isna(sinks.loc["vision", "measured"])
    assert questions.directions({})["audio_reference"].tolist()[:2] == [49, 50]


def test_results_in_words():
    shares = pd.DataFrame(
        [(g, layer, 0.25 + 0.5 * (g == "video") * layer) for g in GROUPS for layer in (0, 1)],
        columns=["group", "layer", "mean"],
    )
    assert "from 25% to 75% at layer 1" in descriptions.shares(shares, spike=1)
    assert descriptions.layers({"Video": 2, "Audio": -1, "NonOptQ": 7}, n_layers=8) == (
        "Can be discarded: Video after layer 2, Audio never needed. Needed to the end: NonOptQ."
    )
    assert descriptions.layers({"NonOptQ": 7}, n_layers=8).startswith("Can be discarded: nothing.")
