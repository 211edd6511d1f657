"""Sink dimensions and thresholds: those of a decoder whose sink is known, and none where there are none."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import TinyModel, prompt

from avsink.instruments import sink_calibration
from avsink.instruments.sink_calibration import calibrate
from avsink.sample import SampleError
from avsink.testing.planted_decoder import LETTERS, planted


def with_prompts(model, prompts):
    """The model, prepared to make these prompts of their names."""

    def prepare(name):
        if name not in prompts:
            raise SampleError(name, "is not there")
        return prompts[name]

    model.prepare = prepare
    return model


@pytest.mark.parametrize("hops", [(1, 3, 5), (2, 4, 6)])
def test_the_planted_dimensions_are_found_and_the_threshold_tells_the_hub_alone(hops):
    truth = planted(hops=hops)
    found = calibrate(
        with_prompts(truth.model, {letter: truth.inputs(letter) for letter in LETTERS}), [*LETTERS, "gone"]
    )
    assert set(found.dims) == set(truth.sink_dims) and found.found
    sinks = found.phi[found.phi["phi"] > found.tau]
    assert set(sinks["position"]) == {truth.hub} and sinks["layer"].min() == truth.sink_from
    assert len(sinks) == len(LETTERS) * (8 - truth.sink_from)
    assert f"sink_tau={found.tau:.3g}" in str(found) and str(found.dims) in str(found)


def test_a_model_with_random_weights_has_none():
    model = TinyModel()
    prompts = {seed: prompt(model, seed=seed) for seed in range(6)}
    for seed, inputs in prompts.items():
        inputs.sample_id = str(seed)
    found = calibrate(with_prompts(model, prompts), list(prompts))
    assert not found.found and str(found).startswith("No sinks found")


def test_a_feature_that_is_large_everywhere_is_a_bias_and_no_sink():
    truth = planted()
    embedding = truth.model.hf.get_input_embeddings().weight
    with torch.no_grad():
        embedding[:, 77] = 3.0  # most of every token's energy
    found = calibrate(with_prompts(truth.model, {letter: truth.inputs(letter) for letter in LETTERS}), LETTERS)
    assert 77 not in found.dims


def test_massive_where_nobody_looks_does_not_count(monkeypatch):
    truth = planted()
    monkeypatch.setattr(sink_calibration, "DRAWN", 1e9)
    found = calibrate(with_prompts(truth.model, {letter: truth.inputs(letter) for letter in LETTERS}), LETTERS)
    assert found.dims == () and not found.found


def test_thresholds_by_hand():
    low, high = np.linspace(0.5, 3.0, 200), np.linspace(9.0, 11.0, 20)
    tau, leak = sink_calibration._threshold(np.concatenate([low, high]), width=128)
    assert tau == pytest.approx((3.0 * 9.0) ** 0.5) and leak == 0
    assert sink_calibration._threshold(np.linspace(0.5, 11.0, 300), width=128) == (None, None)
    few = [4.0, 4.4, 4.9]  # between thousands of small and hundreds of large ones, a few on the way are no bridge
    many = np.concatenate([np.repeat(low, 20), few, np.repeat(high, 20)])
    tau, _ = sink_calibration._threshold(many, width=128)
    assert 4.9 < tau < 9.0
    crowd = np.concatenate([np.repeat(low, 20), np.linspace(3.1, 8.9, 200), np.repeat(high, 20)])
    assert sink_calibration._threshold(crowd, width=128) == (None, None)
    assert sink_calibration._threshold(np.concatenate([low / 10, low]), width=128) == (
        None,
        None,
    )  # a gap, but far too low


@pytest.mark.parametrize("share", [0.02, 0.1, 0.4])
def test_a_threshold_is_found_where_sinks_come_and_go_from_layer_to_layer(share):
    """As in a 7B model: one loud first token, and media tokens that are sinks at some layers, of very uneven size."""
    rng = np.random.default_rng(0)
    n = 20_000
    ordinary = rng.lognormal(np.log(2.5), 0.35, n)
    drifting = rng.lognormal(np.log(35), 0.35, round(share * n))
    tau, leak = sink_calibration._threshold(np.concatenate([ordinary, drifting, np.full(30, 55.0)]), width=3584)
    assert 6 < tau < 20 and leak <= sink_calibration.LEAK


def test_where_no_gap_is_found_the_dimensions_still_are_and_a_threshold_is_offered_as_borrowed(monkeypatch):
    truth = planted()
    monkeypatch.setattr(sink_calibration, "GAP", 1e6)
    found = calibrate(with_prompts(truth.model, {letter: truth.inputs(letter) for letter in LETTERS}), LETTERS)
    assert set(found.dims) == set(truth.sink_dims) and found.tau is None and not found.found
    width = truth.model.decoder.config.hidden_size
    assert found.fallback == pytest.approx(25 * (width / 3584) ** 0.5)
    assert str(found).startswith(f"sink_dims={found.dims}") and f"sink_tau={found.fallback:.3g},  # not found" in str(
        found
    )
    assert '"sink_tau": null' in found.facts


def test_layers_are_those_at_which_media_tokens_are_massive():
    marks = pd.DataFrame({"layer": [0, 1, 1, 2], "sample": ["a", "a", "b", "b"]})
    assert sink_calibration._layers(marks, 2) == (0, 1, 2) and sink_calibration._layers(marks, 3) == (1,)


def test_nothing_to_go_by():
    with pytest.raises(ValueError, match="no sample could be used"):
        calibrate(with_prompts(SimpleNamespace(), {}), ["gone"])
