"""Sinks by hand and on the decoder whose sink is known; the MDS against full attention maps."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tiny import TinyModel, prompt

from avsink.engine.run import clean_run
from avsink.instruments.sinks import SinkObserver, Sinks, global_sinks, modality_dominance, split
from avsink.testing.planted_decoder import planted

NAN = float("nan")


def sinks(flags, *, phi=None, mds=None) -> Sinks:
    flags = torch.tensor(flags, dtype=torch.bool)
    phi = torch.tensor(phi, dtype=torch.float32) if phi else flags.float()
    mds = torch.tensor(mds, dtype=torch.float32) if mds else torch.zeros(flags.shape)
    return Sinks(phi=phi, flags=flags, mds=mds)


def test_the_mds_is_that_of_the_full_maps():
    model = TinyModel()
    inputs = prompt(model)
    layout, n = inputs.layout, inputs.layout.n
    observer = SinkObserver(SimpleNamespace(name="tiny", sink_dims=(3, 7), sink_tau=2.0), layout)
    run = clean_run(model, inputs, observers=[observer])
    found = observer.result()

    plain = TinyModel(implementation="eager")
    plain.hf.load_state_dict(model.hf.state_dict())
    with torch.inference_mode():
        maps = torch.stack(plain.hf(**inputs.tensors, output_attentions=True).attentions)[:, 0].mean(dim=1)  # (L, N, N)
    expected = torch.zeros(model.n_layers, n)
    for layer in range(model.n_layers):
        for i in range(n):
            means = []
            for group in (layout.video, layout.audio):
                later = group[group > i]
                means.append(maps[layer, later, i].mean() if len(later) else torch.tensor(0.0))
            both = means[0] + means[1]
            expected[layer, i] = (means[0] - means[1]) / both if both else 0.0
    torch.testing.assert_close(found.mds, expected, atol=1e-5, rtol=0)
    last = min(int(layout.video.max()), int(layout.audio.max()))
    assert torch.equal(found.unread, torch.arange(n) >= last) and found.mds[:, last:].abs().unique().tolist() == [0, 1]

    states = torch.stack(run.states.inputs)  # (L, N, width)
    phi = states[..., [3, 7]].abs().amax(-1) / states.pow(2).mean(-1).sqrt()
    torch.testing.assert_close(found.phi, phi, atol=1e-5, rtol=1e-5)
    assert torch.equal(found.flags, found.phi > 2.0)


def test_the_planted_sink_is_found_and_nothing_else():
    truth = planted()
    inputs = truth.inputs("B")
    card = SimpleNamespace(name="planted", sink_dims=truth.sink_dims, sink_tau=truth.tau)
    observer = SinkObserver(card, inputs.layout)
    clean_run(truth.model, inputs, observers=[observer])
    found = observer.result()
    assert found.flags[truth.sink_from :, truth.hub].all()
    assert int(found.flags.sum()) == found.flags.shape[0] - truth.sink_from
    for n in (2, 3, 4):
        assert global_sinks(found, one_in=n).tolist() == [truth.hub]
        assert global_sinks(found, one_in=n, among=inputs.layout.audio).tolist() == []


def test_a_model_without_thresholds_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match="avsink.instruments.sink_calibration"):
        SinkObserver(SimpleNamespace(name="new", sink_dims=(1,), sink_tau=None), None)


def test_global_sinks_by_hand():
    # of 6 tokens, ⌊6 / 2⌋ = 3 are taken: 4 is a sink twice, then 1 before 5 by its φ; 0 and 2 lose by φ, 3 never is one
    flags = [[1, 1, 1, 0, 1, 0], [0, 0, 0, 0, 1, 1]]
    phi = [[5, 9, 5, 1, 6, 1], [1, 1, 1, 1, 6, 8]]
    found = sinks(flags, phi=phi)
    assert global_sinks(found, one_in=2).tolist() == [1, 4, 5]
    assert global_sinks(found, one_in=2, among=torch.tensor([0, 4, 5])).tolist() == [4, 5]
    assert global_sinks(found, one_in=6).tolist() == [4]
    assert global_sinks(found, one_in=1).tolist() == [0, 1, 2, 4, 5]  # 0 and 2 tie; 3 is never taken
    tie = sinks([[1, 1, 1, 1]])
    assert global_sinks(tie, one_in=2).tolist() == [0, 1]
    with pytest.raises(ValueError, match="one_in"):
        global_sinks(found, one_in=0)


def test_the_half_that_leans_to_its_own_modality_is_unimodal():
    found = sinks([[1] * 6], mds=[[0.9, -0.8, 0.1, 0.2, NAN, -0.1]])
    halves = split(torch.tensor([0, 1, 2, 3]), found, modality="video")
    assert (halves.unimodal.tolist(), halves.crossmodal.tolist(), halves.neither.tolist()) == ([0, 3], [1, 2], [])
    halves = split(torch.tensor([0, 1, 2, 3]), found, modality="audio")
    assert (halves.unimodal.tolist(), halves.crossmodal.tolist()) == ([1, 2], [0, 3])
    halves = split(torch.tensor([0, 1, 3, 4]), found, modality="video")  # 4 has no score, 3 is the middle one
    assert (halves.unimodal.tolist(), halves.crossmodal.tolist(), halves.neither.tolist()) == ([0], [1, 3], [4])
    nothing = split(torch.tensor([], dtype=torch.long), found, modality="video")
    assert len(nothing.unimodal) == len(nothing.crossmodal) == 0
    with pytest.raises(ValueError, match="video, audio"):
        split(torch.tensor([0]), found, modality="text")


def test_tokens_that_one_modality_no_longer_reads_lean_to_the_other():
    """The last chunk of sound is read by sound alone: of six audio sinks, three are in it."""
    unread = torch.tensor([False] * 3 + [True] * 3)
    found = replace(sinks([[1] * 6], mds=[[0.4, -0.2, 0.1, -1.0, -1.0, 0.0]]), unread=unread)
    positions = torch.arange(6)
    halves = split(positions, found, modality="audio")
    assert (halves.unimodal.tolist(), halves.crossmodal.tolist(), halves.neither.tolist()) == ([1, 3, 4], [0, 2, 5], [])
    halves = split(positions, found, modality="audio", unread="neither")
    assert (halves.unimodal.tolist(), halves.crossmodal.tolist()) == ([1], [0])
    assert halves.neither.tolist() == [2, 3, 4, 5]
    halves = split(positions, found, modality="audio", by="sign")
    assert (halves.unimodal.tolist(), halves.crossmodal.tolist(), halves.neither.tolist()) == ([1, 3, 4], [0, 2], [5])
    for choice in ({"by": "half"}, {"unread": "one"}):
        with pytest.raises(ValueError, match="allowed: "):
            split(positions, found, modality="audio", **choice)


def test_ties_of_global_sinks_by_hand():
    # all are sinks at one layer: 0 and 3 at the first one, 1 and 2 at the second one
    found = sinks([[1, 0, 0, 1], [0, 1, 1, 0]], phi=[[1, 1, 3, 2], [1, 4, 1, 1]])
    assert global_sinks(found, one_in=2).tolist() == [1, 2]  # by mean φ: 1.0, 2.5, 2.0, 1.5
    assert global_sinks(found, one_in=2, ties="authors").tolist() == [0, 3]
    assert global_sinks(found, one_in=4, ties="authors").tolist() == [0]
    with pytest.raises(ValueError, match="ties: 'position'; allowed: phi, authors"):
        global_sinks(found, one_in=2, ties="position")


def test_the_score_is_the_mean_over_the_layers_in_which_it_is_known():
    found = sinks([[1, 1], [1, 1]], mds=[[0.5, NAN], [NAN, NAN]])
    assert found.score[0] == 0.5 and found.score[1].isnan()
    assert modality_dominance(torch.tensor([3.0]), torch.tensor([1.0])) == 0.5


def test_without_one_of_the_modalities_nothing_has_a_score():
    layout = SimpleNamespace(video=torch.tensor([0, 1]), audio=torch.tensor([], dtype=torch.long))
    observer = SinkObserver(SimpleNamespace(name="m", sink_dims=(0,), sink_tau=1.0), layout)
    observer.begin()
    observer.enter(0, torch.eye(3), {})
    heads = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
    observer.attend(0, heads, heads, heads, scaling=0.5)
    assert observer.result().mds.isnan().all()
