"""Many samples through the measurements of Hubs: manifests, the tables of sinks and their drift."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import avsink
from avsink.instruments import dominance, tracing
from avsink.instruments import sinks as sink_tokens
from avsink.instruments.object_tokens import ObjectFinder
from avsink.papers import hubs
from avsink.papers.hubs import reported
from avsink.papers.hubs.claims import FINDING_1
from avsink.papers.hubs.measure import COLUMNS
from avsink.results.verdicts import judge


@pytest.fixture(scope="module")
def model(tiny_omni):
    return tiny_omni


@pytest.fixture(scope="module")
def samples():
    return [s for s in avsink.load_samples("toyworld", tasks=["sounding object"]) if s.category == "degraded"][:10]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return str(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def done(model, samples, results):
    return avsink.measure(dominance.classify, model, samples, root=results)


def test_a_manifest_holds_dominated_samples_only_and_survives_its_file(model, done, samples, results):
    assert len(done.rows) == 10
    chosen = hubs.dominated(model, samples, each=2, seed=0, root=results)
    table = chosen.table
    kinds = dict(zip(done.rows["sample"], done.rows["dominance"], strict=True))
    assert list(table) == list(COLUMNS) and len(table) <= 4 and len(table) == table["sample"].nunique()
    assert all(kinds[id] == kind for id, kind in zip(table["sample"], table["dominance"], strict=True))
    again = hubs.dominated(model, samples, path=chosen.path, each=None, seed=7)
    pd.testing.assert_frame_equal(again.table, table.astype(str), check_dtype=False)
    assert [s.id for s in chosen.samples] == [s.id for s in again.samples] == table["sample"].tolist()
    assert str(chosen).startswith(f"{len(table)} dominated samples (") and str(chosen).endswith(".csv")
    every, _ = hubs.manifest(done, each=None, seed=0)
    dominated = done.rows[done.rows["dominance"].isin(["audio", "video"])]
    assert sorted(every["sample"]) == sorted(dominated["sample"])
    with pytest.raises(ValueError, match="1 samples of the manifest are not among the 9 at hand, such as"):
        others = [s for s in samples if s.id != table["sample"][0]]
        hubs.dominated(model, others, path=chosen.path, each=None, seed=0)


def test_what_is_no_manifest_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read as a manifest"):
        hubs.read_manifest(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("sample,answer\na,B\n")
    with pytest.raises(ValueError, match="no manifest of dominated samples: it has no column dominance, predicted_av"):
        hubs.read_manifest(tmp_path / "other.csv")
    (tmp_path / "both.csv").write_text(",".join(COLUMNS) + "\na,both,A,A,A,A\n")
    with pytest.raises(ValueError, match="dominated by 'both'; audio or video is expected"):
        hubs.read_manifest(tmp_path / "both.csv")


def test_effects_and_layers_of_a_manifest_are_those_of_single_samples(model, samples, results):
    chosen, keep = hubs.dominated(model, samples, each=1, seed=0, root=results), {"root": results}
    rows = hubs.measure_dominated(tracing.trace, model, chosen, **keep).rows
    alone = tracing.trace(model, chosen.samples[0], dominance=chosen.table["dominance"][0])
    own = rows[rows["sample"] == chosen.samples[0].id].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, alone, check_dtype=False, atol=1e-6)
    assert hubs.measure_dominated(tracing.trace, model, chosen, **keep).computed == 0
    other = replace(model.card, sink_tau=1.5)  # which tokens are sinks is in no weights, so it must be in the key
    before, model.card = model.card, other
    try:
        assert hubs.measure_dominated(tracing.trace, model, chosen, **keep).computed == len(chosen.samples)
    finally:
        model.card = before
    curves = hubs.measure_dominated(tracing.trace_by_layer, model, chosen, k=3, one_in=2, **keep).rows
    assert set(curves["layer"]) == set(range(8)) and set(curves["sample"]) == set(chosen.table["sample"])


def test_a_manifest_of_another_model_is_told_and_leaves_no_trace(model, samples, results, tmp_path):
    chosen = hubs.dominated(model, samples, each=1, seed=0, root=results)
    swapped = chosen.table["dominance"].map({"audio": "video", "video": "audio"})
    other = replace(chosen, table=chosen.table.assign(predicted_av="T", dominance=swapped))
    left = hubs.measure_dominated(tracing.trace, model, other, root=tmp_path)
    assert left.rows.empty and left.left_out["reason"].str.contains("is it another model's").all()
    assert len(hubs.measure_dominated(tracing.trace, model, chosen, root=tmp_path).rows)
    with pytest.raises(ValueError, match="none of the 0 samples is dominated by one sense"):
        hubs.dominated(model, [], each=1, seed=0, root=tmp_path)


def test_objects_reach_the_tracing(model, samples, results):
    chosen = hubs.dominated(model, samples, each=1, seed=0, root=results)
    rows = hubs.measure_dominated(tracing.trace, model, chosen, objects=ObjectFinder(), root=results).rows
    for sample, kind in zip(chosen.samples, chosen.table["dominance"], strict=True):
        found = ObjectFinder()(model, sample, model.prepare(sample))[{"audio": "video", "video": "audio"}[kind]]
        own = rows[(rows["sample"] == sample.id) & (rows["token_set"] == "Object")]
        assert own["tokens"].tolist() == [len(found)] and len(found)


def test_the_table_of_sinks_says_what_the_observer_saw(model, samples):
    sample = samples[0]
    found = sink_tokens.of_prompt(model, inputs := model.prepare(sample))
    rows = sink_tokens.by_layer(model, sample)
    layout = inputs.layout
    media = torch.cat([layout.video, layout.audio])
    ever = sorted(media[found.flags[:, media].any(dim=0)].tolist())
    assert sorted(rows["position"].unique()) == ever and len(rows) == 8 * len(ever)
    for row in rows.sample(40, random_state=0).itertuples():
        assert row.phi == pytest.approx(float(found.phi[row.layer, row.position]))
        assert row.sink == bool(found.flags[row.layer, row.position])
        runs = layout.frames if row.modality == "video" else layout.audio_chunks
        assert int(runs[row.part][row.offset]) == row.position
    for n in (2, 3, 4):
        kept = rows[rows[f"global_{n}"] != ""]["position"].unique()
        assert sorted(kept) == sorted(set(sink_tokens.global_sinks(found, one_in=n, among=media).tolist()))


def test_drift_by_hand():
    flags = {10: [True, True, False], 11: [False, True, False], 12: [False, True, True]}
    rows = pd.DataFrame(
        {"sample": "s", "modality": "video", "n_modality": 6, "position": p, "layer": layer, "sink": flag}
        for p, own in flags.items()
        for layer, flag in enumerate(own)
    )
    table = sink_tokens.drift(rows).set_index(["layer", "other"])
    assert table["sinks"].unstack()[0].tolist() == [1, 3, 1]
    assert table.loc[(1, 0), "share"] == 0.5
    overlap = {(0, 0): 1.0, (0, 1): 1 / 3, (0, 2): 0.0, (1, 2): 1 / 3, (2, 1): 1 / 3}
    assert all(table.loc[pair, "overlap"] == pytest.approx(value) for pair, value in overlap.items())


def test_few_samples_with_sinks_do_not_speak_for_all():
    """12 of 80 samples have sinks, which hold nearly all; in the others restoring them restores nothing."""
    rng = np.random.default_rng(1)
    rows = []
    for i in range(80):
        held = {"All": 0.5, "Sink": 0.45 * (i < 12), "Random": 0.02 * (i < 12)}
        for name, mean in held.items():
            effect = mean + (0.02 * rng.normal() if mean else 0.0)
            facts = {"sample": f"s{i}", "dominance": "audio", "token_set": name, "one_in": 2 * (name != "All")}
            rows.append({**facts, "ie_clean": effect, "ie_corrupt": effect, "tokens": 4 if mean else 0})
    rows = pd.DataFrame(rows)
    _, random, most = judge(FINDING_1, pd.concat([rows, rows.assign(dominance="video")]))
    assert (random.verdict, most.verdict) == ("nothing to restore", "not supported")
    assert "15% of the samples have tokens in Sink (N = 2)" in random.because
    shares = reported.shares(rows, reported.TABLE_1)
    sink = shares[
        (shares["group"] == "this run") & (shares["label"] == "audio-dominant, video tokens: Sink (N=2)")
    ].iloc[0]
    assert sink["n"] == 80 and sink["value"] == pytest.approx(0.135, abs=0.01)


def test_hubs_that_were_not_found_in_clips_without_any_sink_are_missed(model, samples):
    rows = pd.concat([sink_tokens.by_layer(model, sample) for sample in samples[:2]], ignore_index=True)
    of_two = hubs.sink_tables.recovered(rows, model.card, one_in=4, n=2).set_index("modality")
    of_ten = hubs.sink_tables.recovered(rows, model.card, one_in=4, n=10).set_index("modality")
    assert (of_ten["recall"] == of_two["recall"] / 5).all() and (of_ten["precision"] == of_two["precision"]).all()


def test_places_in_long_grids_are_parts_in_order():
    rows = pd.DataFrame({"offset": [140, 3, 12, 3], "modality": ["video"] * 3 + ["audio"], "score": 0.1, "part": 0})
    rows = rows.assign(sample="s", position=range(4), global_2="unimodal")
    table = hubs.sink_tables.scores(rows, one_in=2)
    assert table["place"].tolist() == [
        *("tokens 0–11 of its grid", "tokens 12–23 of its grid", "tokens 132–143 of its grid", "token 3 of its chunk")
    ]


def test_manifests_of_other_samples_lie_beside_each_other(model, samples, results):
    whole = hubs.dominated(model, samples, each=2, seed=0, root=results)
    part = hubs.dominated(model, samples[:5], each=2, seed=0, root=results)
    assert whole.path != part.path
    assert hubs.dominated(model, samples, each=2, seed=0, root=results).path == whole.path
