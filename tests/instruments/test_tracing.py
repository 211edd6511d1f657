"""Causal tracing: on the decoder whose hub is known, and against runs with states put back by hand."""

from types import SimpleNamespace

import pytest
import torch

import avsink
from avsink.engine.run import clean_run
from avsink.instruments import dominance, tracing
from avsink.instruments.sinks import SinkObserver
from avsink.sample import Unmeasured
from avsink.testing.planted_decoder import LETTERS, planted


def traced(truth, letter) -> tracing.Traced:
    inputs = truth.inputs(letter)
    card = SimpleNamespace(name="planted", sink_dims=truth.sink_dims, sink_tau=truth.tau)
    observer = SinkObserver(card, inputs.layout)
    clean = clean_run(truth.model, inputs, observers=[observer])
    muted = clean_run(truth.model, truth.inputs(letter, muted=True))
    return tracing.Traced(dominance="audio", clean=clean, corrupted=muted, sinks=observer.result())


@pytest.mark.parametrize("letter", LETTERS[1:])  # A is what the muted decoder prefers among equals
def test_restoring_the_planted_hub_alone_recovers_everything(letter):
    truth = planted()
    found = traced(truth, letter)
    video = found.restorable
    hub = torch.tensor([truth.hub])
    singles = [torch.tensor([p]) for p in video.tolist() if p != truth.hub]
    table = tracing.effects(found, [video, hub, *singles])
    everything = table["ie_clean"][0]
    assert everything > 0.7
    assert table["ie_clean"][1] >= 0.99 * everything
    assert table["ie_clean"][2:].abs().max() <= 0.01 * everything
    assert table["ie_corrupt"][1] >= 0.99 * table["ie_corrupt"][0] > 0
    rest = video[video != truth.hub]
    assert abs(tracing.effects(found, [rest])["ie_clean"][0]) <= 0.01 * everything


def test_the_sinks_of_the_planted_decoder_are_its_hub_and_random_sets_miss_it():
    truth = planted()
    found = traced(truth, "B")
    sets = tracing.token_sets(found, draws=20)
    sinks = sets[sets["token_set"] == "Sink"]
    assert sinks["one_in"].tolist() == [2, 3, 4]
    assert all(positions.tolist() == [truth.hub] for positions in sinks["positions"])
    sizes = sets["positions"].map(len).groupby(sets["token_set"]).agg(["min", "max"])
    assert sizes.loc["Unimodal"].eq(0).all() and sizes.loc["Cross-modal"].eq(1).all()  # the middle one of one
    strict = tracing.token_sets(found, draws=0, unread="neither").set_index("token_set")["positions"].map(len)
    assert strict[["Unimodal", "Cross-modal"]].eq(0).all()
    random = sets[sets["token_set"] == "Random"]
    assert len(random) == 60 and all(len(p) == 1 and p.item() in found.restorable for p in random["positions"])
    assert len({p.item() for p in random["positions"]}) > 5
    again = tracing.token_sets(found, draws=20)
    assert all(torch.equal(a, b) for a, b in zip(sets["positions"], again["positions"], strict=True))


def test_a_set_without_tokens_changes_nothing_and_is_counted():
    found = traced(planted(), "B")
    table = tracing.effects(found, [torch.tensor([], dtype=torch.long)])
    assert table["tokens"][0] == 0 and abs(table["ie_clean"][0]) < 1e-7 and abs(table["ie_corrupt"][0]) < 1e-7


def test_each_sample_has_random_sets_of_its_own():
    truth = planted()
    drawn = []
    for letter in ("B", "C"):
        sets = tracing.token_sets(traced(truth, letter), draws=20)
        drawn.append([p.tolist() for p in sets[sets["token_set"] == "Random"]["positions"]])
    assert drawn[0] != drawn[1]


def test_restoring_helps_until_the_question_has_read_the_hub():
    """In windows of one layer: where the hub holds it and nobody has read it yet, after hop a and up to hop b."""
    truth = planted(hops=(1, 4, 6))
    found = traced(truth, "C")
    layers = [range(layer, layer + 1) for layer in range(8)]
    table = tracing.effects(found, [torch.tensor([truth.hub])] * 8, layers=layers)
    assert [round(x, 2) > 0.7 for x in table["ie_clean"]] == [False, False, True, True, True, False, False, False]


@pytest.fixture(scope="module")
def model(tiny_omni):
    return tiny_omni


@pytest.fixture(scope="module")
def samples():
    return avsink.load_samples("toyworld", tasks=["sounding object"], n_samples=24, seed=3)


def test_a_sweep_of_a_real_sample_against_states_put_back_by_hand(model, samples):
    rows = {sample.id: dominance.classify(model, sample).iloc[0] for sample in samples}
    sample = next(s for s in samples if rows[s.id]["dominance"] in ("audio", "video"))
    who = rows[sample.id]["dominance"]
    table = tracing.trace(model, sample, draws=2)
    assert set(table["dominance"]) == {who} and len(table) == 1 + 3 * (3 + 2)

    clean_inputs = model.prepare(sample)
    corrupted = model.prepare(sample, mute=[who])
    positions = getattr(clean_inputs.layout, "video" if who == "audio" else "audio")
    clean = clean_run(model, clean_inputs)

    def put_back(layer):
        def enter(module, args, kwargs):
            states = args[0].clone()
            states[0, positions] = clean.states.inputs[layer][positions]
            return (states, *args[1:]), kwargs

        return enter

    with torch.inference_mode():
        plain = model.forward(corrupted).logits[0, -1].float().softmax(-1)
        hooks = [
            layer.register_forward_pre_hook(put_back(i), with_kwargs=True)
            for i, layer in enumerate(model.decoder.layers)
        ]
        restored = model.forward(corrupted).logits[0, -1].float().softmax(-1)
        for hook in hooks:
            hook.remove()
    o_clean, o_corrupt = table["o_clean"][0], table["o_corrupt"][0]
    assert o_clean == clean.predicted and o_corrupt == clean_run(model, corrupted).predicted

    def p(distribution, letter):
        return float(distribution[list(clean_inputs.letters[letter])].max())

    row = table[table["token_set"] == "All"].iloc[0]
    assert row["ie_clean"] == pytest.approx(p(restored, o_clean) - p(plain, o_clean), abs=1e-5)
    assert row["ie_corrupt"] == pytest.approx(p(plain, o_corrupt) - p(restored, o_corrupt), abs=1e-5)
    assert row["tokens"] == len(positions)

    depth = tracing.trace_by_layer(model, sample, k=3, one_in=2, dominance=who)
    assert len(depth) == depth["token_set"].nunique() * model.n_layers


def test_what_cannot_be_traced_is_said(model, samples):
    rows = {sample.id: dominance.classify(model, sample).iloc[0] for sample in samples}
    sample = next(s for s in samples if rows[s.id]["dominance"] == "both")
    with pytest.raises(Unmeasured, match="dominated by no modality"):
        tracing.trace(model, sample)
    (caption,) = avsink.load_samples("toyworld", tasks=["caption"], n_samples=1)
    with pytest.raises(Unmeasured, match="has no options"):
        dominance.classify(model, caption)
    with pytest.raises(Unmeasured, match="has no options"):
        tracing.trace(model, caption)


def test_who_dominates():
    assert dominance.dominant("A", "A", "B") == "audio"
    assert dominance.dominant("A", "B", "A") == "video"
    assert dominance.dominant("A", "A", "A") == "both"
    assert dominance.dominant("A", "B", "C") == dominance.dominant("A", "B", "B") == "neither"


def test_dominance_is_that_of_three_plain_passes(model, samples):
    for sample in samples[:3]:
        row = dominance.classify(model, sample).iloc[0]
        for name, mute in dominance.MUTED.items():
            inputs = model.prepare(sample, mute=mute)
            with torch.inference_mode():
                p = model.forward(inputs).logits[0, -1].float().softmax(-1)
            letters = {letter: float(p[list(ids)].max()) for letter, ids in inputs.letters.items()}
            best = max(letters, key=letters.get)
            assert row[f"predicted_{name}"] == best and row[f"p_{name}"] == pytest.approx(letters[best], abs=1e-5)
            assert row[f"correct_{name}"] == (best == sample.answer)
