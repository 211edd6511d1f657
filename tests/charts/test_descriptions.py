"""Descriptions: what they say of small tables, and of tables without rows."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from avsink.charts import descriptions
from avsink.charts.descriptions import NOTHING

EXTRA = {  # what functions need beside their table
    "pathways": {"pathways": ["Video↛Last"]},
    "shares": {"spike": 3},
    "layers": {"n_layers": 8},
    "shares_of": {"name": "dominance"},
}
OF_OBJECTS = {
    "calibration": SimpleNamespace(dims=(), phi=pd.DataFrame()),
    "energy": SimpleNamespace(energy=pd.DataFrame()),
    "explored": SimpleNamespace(tokens=pd.DataFrame()),
}


@pytest.mark.parametrize("name", sorted(set(descriptions.__all__) - {"NOTHING", *OF_OBJECTS}))
def test_of_a_table_without_rows_nothing_was_measured(name):
    assert getattr(descriptions, name)(pd.DataFrame(), **EXTRA.get(name, {})) == NOTHING == "Nothing was measured."


@pytest.mark.parametrize("name", ["energy", "explored"])
def test_of_an_object_with_an_empty_table_nothing_was_measured(name):
    assert getattr(descriptions, name)(OF_OBJECTS[name]) == NOTHING


def test_a_calibration_without_dimensions_speaks_for_itself():
    class Found(SimpleNamespace):
        def __str__(self):
            return "No sinks found."

    assert descriptions.calibration(Found(dims=(), phi=pd.DataFrame())) == "No sinks found."


def test_no_group_of_tokens_at_all():
    assert descriptions.layers({}, n_layers=8) == NOTHING


def test_pathways_are_told_where_they_cost_most():
    rows = [
        ("Video↛Last", "mixed", 1, -0.1, -0.2, 0.0),
        ("Video↛Last", "speech", 4, -0.4, -0.5, -0.3),
        ("Audio↛Last", "mixed", 2, 0.05, np.nan, np.nan),
    ]
    curves = pd.DataFrame(rows, columns=["pathway", "category", "layer", "mean", "low", "high"])
    said = descriptions.pathways(curves, pathways=["Audio↛Last", "Cross-frame", "Video↛Last"])
    assert said == (
        "Mean change of the answer's probability where it is lowest: Audio↛Last +5% at layer 2 (mixed); "
        "Video↛Last −40% [−50%, −30%] at layer 4 (speech)."
    )
    assert descriptions.pathways(curves, pathways=["Cross-frame"]) == NOTHING


def test_the_largest_dimensions_of_two_tokens_and_what_they_share():
    magnitudes = {"largest system token": [1, 9, 2, 8, 7], "largest media token": [6, 5, 0, 9, 1]}
    sizes = pd.concat(
        pd.DataFrame({"token": token, "dimension": range(5), "magnitude": own}) for token, own in magnitudes.items()
    )
    said = descriptions.dimensions(sizes)
    assert "largest system token: 1, 3, 4; largest media token: 3, 0, 1" in said or (
        "largest media token: 3, 0, 1; largest system token: 1, 3, 4" in said
    )
    assert said.endswith("both share 1, 3.")


def test_curves_without_numbers_are_left_out():
    curves = pd.DataFrame({"pathway": "Video↛Last", "category": "c", "layer": [0, 1], "mean": np.nan, "low": np.nan})
    assert descriptions.pathways(curves, pathways=["Video↛Last"]) == NOTHING
    assert descriptions.peaks(curves.assign(token_set="Sink")) == NOTHING
    assert descriptions.changes(curves.assign(config="Discard All")) == NOTHING
    assert descriptions.mds(curves.assign(kind="Sink")) == NOTHING


def test_effects_say_whose_tokens_were_restored():
    rows = [
        ("audio", "Sink (N=2)", 0.211),
        ("audio", "Unimodal (N=2)", -0.001),
        ("audio", "Object", -1e-6),
        ("video", "Sink (N=2)", np.nan),
    ]
    table = pd.DataFrame(rows, columns=["dominance", "restored", "ie_clean"])
    assert descriptions.effects(table) == (
        "IE_clean in points. audio-dominant, video tokens: Sink (N=2) 21.1, Unimodal (N=2) −0.1, Object 0.0; "
        "video-dominant, audio tokens: nothing measured."
    )


def test_a_cross_modal_half_that_its_own_modality_reads_more_is_named():
    rows = [("video", "unimodal", 0.6), ("video", "cross-modal", 0.1), ("audio", "unimodal", -0.4)]
    rows += [("audio", "cross-modal", 0.3)]
    table = pd.DataFrame(rows, columns=["modality", "kind", "score"])
    assert descriptions.leanings(table) == (
        "Mean MDS of global sinks. video, unimodal: +0.60 (n = 1); video, cross-modal: +0.10 (n = 1), still read more "
        "by video; audio, unimodal: −0.40 (n = 1); audio, cross-modal: +0.30 (n = 1)."
    )
    less = table.assign(score=[0.6, -0.1, -0.4, -0.2])
    assert "cross-modal: −0.10 (n = 1); audio" in descriptions.leanings(less)
    assert "cross-modal: −0.20 (n = 1), still read more by audio." in descriptions.leanings(less)


def test_negative_numbers_have_a_minus_sign_and_names_keep_their_hyphens():
    curves = pd.DataFrame({"category": "audio", "kind": "cross-modal", "layer": [0, 1], "mean": [-0.5, 0.5]})
    assert descriptions.mds(curves) == ("Mean MDS. audio, cross-modal: from −0.50 at layer 0 to +0.50 at layer 1.")
    low = {"config": "Discard All", "category": "mixed", "mean": -0.031}
    high = {"config": "Discard Ques", "category": "mixed", "mean": -1e-9}
    assert descriptions.changes(pd.DataFrame([low, high])).endswith(
        "the change goes from −3.1% (Discard All, mixed) to +0.0% (Discard Ques, mixed)."
    )
