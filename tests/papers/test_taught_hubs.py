"""What `tiny-omni` was taught about hubs is found in it by the instruments, and not in the control."""

from dataclasses import replace

import pytest

import avsink
from avsink.instruments.sink_calibration import calibrate
from avsink.papers.hubs import claims, measure
from avsink.results.verdicts import conclude, judge
from avsink.toyworld.held_out import read_manifest

SIZES = {"tiny-omni": (150, 60), "tiny-omni-plain": (50, 15)}  # samples asked; dominated ones of each kind, at most


def _uneven():
    """Where senses are unequal one often decides alone."""
    return [s for s in read_manifest(part="mixed") if abs(s.truth["fog"] - s.truth["noise"]) > 0.3]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """model's name -> its rows of sinks and of tracing, on samples that one sense dominates."""
    root, found = str(tmp_path_factory.mktemp("results")), {}
    for name, (n, each) in SIZES.items():
        model, samples = avsink.load(name, check=False), _uneven()[:n]
        keep = {"data": "toyworld", "root": root}
        table = measure.chosen(model, samples, each=each, seed=0, **keep)
        chosen = measure.of_manifest(table, samples)
        found[name] = {
            "model": model,
            "dominance": table["dominance"].value_counts(),
            "sinks": measure.sinks(model, chosen, **keep).rows,
            "effects": measure.tracing(model, chosen, table, objects=measure.object_finder(model), **keep).rows,
        }
    return found


def test_global_sinks_are_the_taught_hubs_and_the_mds_tells_their_kind(measured):
    own = measured["tiny-omni"]
    table = measure.recovered(own["sinks"], own["model"].card, one_in=4, n=own["dominance"].sum())
    assert table["modality"].tolist() == ["video", "audio"]
    assert (table["precision"] >= 0.95).all() and (table["recall"] >= 0.95).all()
    assert (table["right_kind"] >= 0.95).all()


def test_both_findings_hold_where_they_were_taught(measured):
    own = measured["tiny-omni"]
    assert (own["dominance"] >= 40).all() and len(own["dominance"]) == 2
    verdicts = judge((*claims.FINDING_1, *claims.FINDING_2), own["effects"])
    assert [str(verdict) for verdict in verdicts if verdict.verdict != "supported"] == []


def test_neither_holds_in_the_control(measured):
    own = measured["tiny-omni-plain"]
    restored = own["effects"].groupby("token_set")["tokens"].max()
    assert own["sinks"].empty and set(restored.index[restored > 0]) == {"All", "Object"}
    assert own["effects"].query("tokens == 0")[["ie_clean", "ie_corrupt"]].abs().max(axis=None) < 1e-6
    for finding in (claims.FINDING_1, claims.FINDING_1_OBJECT, claims.FINDING_2):
        assert "supported" not in [verdict.verdict for verdict in judge(finding, own["effects"])]


def test_nor_where_its_largest_tokens_are_called_sinks(tmp_path):
    """With a threshold so low that there are sinks, both findings can be asked, and do not hold."""
    model = avsink.load("tiny-omni-plain", check=False)
    model.card = replace(model.card, sink_tau=1.6)
    samples, keep = _uneven()[:60], {"data": "toyworld", "root": str(tmp_path)}
    table = measure.chosen(model, samples, each=12, seed=0, **keep)
    rows = measure.tracing(model, measure.of_manifest(table, samples), table, **keep).rows
    assert {"Sink", "Random", "Unimodal", "Cross-modal"} <= set(rows["token_set"])
    assert rows[rows["token_set"] == "Sink"]["tokens"].min() > 0
    for finding in (claims.FINDING_1, claims.FINDING_1_OBJECT, claims.FINDING_2):
        assert conclude("all of it", judge(finding, rows), where="here").verdict != "supported"


def test_calibration_finds_what_was_taught_and_nothing_in_the_control():
    samples = [sample for part in ("mixed", "anchor", "caption") for sample in read_manifest(part=part)[:6]]
    model = avsink.load("tiny-omni", check=False)
    found = calibrate(model, samples)
    assert set(found.dims) == set(model.card.sink_dims) and found.found
    assert found.tau == pytest.approx(model.card.sink_tau, rel=0.2)
    assert calibrate(avsink.load("tiny-omni-plain", check=False), samples).dims == ()
