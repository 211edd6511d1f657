"""Rows that are really gone: against replays, against a masked run by hand, in the cache, and in decoding."""

import pandas as pd
import pytest
import torch
from tiny import TinyModel, prompt

from avsink.engine.interventions import Discard
from avsink.engine.run import clean_run
from avsink.instruments import discarding
from avsink.instruments.pathways import PATHWAYS
from avsink.results.bootstrap import summarise
from avsink.testing.planted_decoder import LETTERS, planted
from avsink.testing.random_decoder import FAMILIES, bare_inputs, bare_model


@pytest.fixture(scope="module")
def model():
    return TinyModel()


@pytest.fixture(scope="module")
def inputs(model):
    return prompt(model)


def plans(layout) -> list[tuple[Discard, ...]]:
    video, audio = Discard(layout.video, 0), Discard(layout.audio, 2)
    return [(), (video,), (audio,), (video, audio), (video, audio, Discard(layout.non_option_question, 1))]


def test_the_answer_is_that_of_a_replay(model, inputs):
    replayed = clean_run(model, inputs).replay(plans(inputs.layout))
    for plan, expected in zip(plans(inputs.layout), replayed, strict=True):
        found, _ = discarding.prefill(model, inputs, plan)
        assert torch.allclose(found.softmax(dim=-1), expected, atol=1e-6)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "qwen3-omni-moe"])
def test_every_family_of_decoders(family):
    bare = bare_model(family, layers=4, width=64, heads=4, kv_heads=2, mlp=96, vocabulary=50)
    given = bare_inputs(bare, n=60, question=10)
    plan = (Discard(given.layout.video, 1), Discard(given.layout.audio, 0))
    found, _ = discarding.prefill(bare, given, plan)
    assert torch.allclose(found.softmax(dim=-1), clean_run(bare, given).replay([plan])[0], atol=1e-6)


def test_nothing_discarded_changes_no_bit(model, inputs):
    found, _ = discarding.prefill(model, inputs, ())
    assert torch.equal(found, clean_run(model, inputs).logits)


def test_later_layers_and_their_cache_are_shorter(model, inputs):
    layout = inputs.layout
    plan = (Discard(layout.video, 0), Discard(layout.audio, 2))
    _, cache = discarding.prefill(model, inputs, plan)
    lengths = [cache.layers[layer].keys.shape[-2] for layer in range(4)]
    n, video, audio = layout.n, len(layout.video), len(layout.audio)
    assert lengths == [n, n - video, n - video, n - video - audio]


def test_hooks_are_gone_afterwards_even_after_an_error(model, inputs):
    before = clean_run(model, inputs).logits
    with pytest.raises(KeyError), discarding.discarding(model, [Discard(inputs.layout.video, 1)], n=inputs.layout.n):
        raise KeyError
    assert torch.equal(clean_run(model, inputs).logits, before)
    assert not any(layer._forward_pre_hooks for layer in model.decoder.layers)


def masked_greedy(model, inputs, plan, *, steps: int) -> list[int]:
    """The same without any cache and without removing anything: a full pass a token, with masks made by hand."""
    tensors, said = dict(inputs.tensors), []
    n = inputs.layout.n
    for _ in range(steps):
        length = tensors["input_ids"].shape[1]
        masks = []
        for layer in range(model.n_layers):
            mask = torch.ones(length, length, dtype=torch.bool).tril()
            for one in plan:
                if layer > one.after_layer:
                    mask[:, one.positions] = False
                    mask[one.positions, one.positions] = True  # what a removed row reads is nobody's business
            masks.append(torch.zeros(length, length).masked_fill(~mask, float("-inf"))[None, None])
        hooks = [
            layer.register_forward_pre_hook(
                lambda module, args, kwargs, mask=mask: (args, kwargs | {"attention_mask": mask}), with_kwargs=True
            )
            for layer, mask in zip(model.decoder.layers, masks, strict=True)
        ]
        try:
            token = int(model.hf(**tensors, use_cache=False).logits[0, -1].argmax())
        finally:
            for hook in hooks:
                hook.remove()
        said.append(token)
        tensors["input_ids"] = torch.cat([tensors["input_ids"], torch.tensor([[token]])], dim=1)
        tensors["attention_mask"] = torch.ones_like(tensors["input_ids"])
        positions = tensors["position_ids"]
        tensors["position_ids"] = torch.cat([positions, positions.amax() + torch.ones(3, 1, 1, dtype=torch.long)], -1)
    assert length == n + steps - 1
    return said


@torch.no_grad()
def test_decoding_goes_on_as_in_a_masked_run(model, inputs):
    """By the model's own `generate`, which knows nothing of what is missing."""
    moved = False
    for plan in plans(inputs.layout):
        tensors = {name: value for name, value in inputs.tensors.items() if name != "position_ids"}
        with discarding.discarding(model, plan, n=inputs.layout.n):
            out = model.hf.generate(
                **inputs.tensors, max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0
            )
        found = out[0, inputs.layout.n :].tolist()
        assert found == masked_greedy(model, inputs, plan, steps=8)
        moved |= found != masked_greedy(model, inputs, (), steps=8)
        assert tensors
    assert moved, "no plan changed what is said, so the test sees nothing"


def test_what_cannot_be_discarded_is_refused(model, inputs):
    n = inputs.layout.n
    for one, match in [
        (Discard([n - 1], 0), "the last token"),
        (Discard([n + 3], 0), "outside of the prompt"),
        (Discard([1], 4), "there is no layer 4"),
    ]:
        with pytest.raises(ValueError, match=match):
            discarding.prefill(model, inputs, [one])
    with pytest.raises(ValueError, match="prepared for a prompt of 99 tokens"):
        with discarding.discarding(model, [Discard([1], 0)], n=99):
            model.forward(inputs)


def test_arithmetic_counts_what_is_left(model, inputs):
    """Against torch's own counter of operations, on a decoder without its attention scores' causal half."""
    from torch.utils.flop_counter import FlopCounterMode

    def counted(plan) -> int:
        with FlopCounterMode(display=False) as counter:
            discarding.prefill(model, inputs, plan)
        counts = counter.get_flop_counts()["Global"]
        return sum(value for op, value in counts.items() if "mm" in str(op))

    layout = inputs.layout
    plan = (Discard(layout.video, 0), Discard(layout.audio, 1))
    config = model.decoder.config
    heads_width = config.num_attention_heads * (config.hidden_size // config.num_attention_heads)

    def linear(plan) -> float:
        rows = [len(p) for p in discarding._left(plan, n=layout.n, n_layers=4)]
        return discarding.arithmetic(model, layout, plan) - sum(2 * r * (r + 1) * heads_width for r in rows)

    assert counted(()) - counted(plan) == pytest.approx(linear(()) - linear(plan), rel=1e-6)


WAYS = ("Audio↛Others", "Video↛Others", "Question↛Others")


def curves(truth) -> pd.DataFrame:
    """Of all letters' prompts on the planted decoder, all ways out closed behind every layer."""
    rows = []
    n_layers = truth.model.n_layers
    for letter in LETTERS:
        run = clean_run(truth.model, truth.inputs(letter))
        base = run.letter_probabilities[letter]
        for name in WAYS:
            layers = [range(layer + 1, n_layers) for layer in range(-1, n_layers - 1)]
            found = run.replay([PATHWAYS[name].plan(run.inputs.layout, layers=behind) for behind in layers])
            rows += [
                (letter, name, at - 1, float(p) / base - 1) for at, p in enumerate(run.probability_of(letter, found))
            ]
    table = pd.DataFrame(rows, columns=["sample", "pathway", "layer", "delta_p"])
    return summarise(table, by=["pathway", "layer"])


@pytest.mark.parametrize(
    ("layers", "hops"),
    [(8, (1, 3, 5)), (8, (2, 4, 6)), (8, (5, 6, 7)), (10, (2, 5, 8)), (10, (1, 2, 9)), (5, (1, 2, 3))],
)
def test_the_planted_layers_are_found_exactly(layers, hops):
    """Finding 4's rule on a decoder whose layers are known. Discarding there does no harm; a layer earlier it does."""
    truth = planted(layers=layers, hops=hops)
    table = curves(truth)
    find = {"n_layers": layers, "margin": 0.1}
    assert tuple(discarding.last_needed(table, pathway=name, **find) for name in WAYS) == hops

    inputs = truth.inputs("C")
    audio, video, question = inputs.layout.audio, inputs.layout.video, inputs.layout.question
    answer = inputs.letters["C"][0]

    def p(*discards):
        return float(discarding.prefill(truth.model, inputs, discards)[0].softmax(dim=-1)[answer])

    kept = Discard(audio, hops[0]), Discard(video, hops[1]), Discard(question, hops[2])
    assert p(*kept) == pytest.approx(p(), abs=1e-5)
    for early in (Discard(audio, hops[0] - 1), Discard(video, hops[1] - 1), Discard(question, hops[2] - 1)):
        assert p(early) < 0.3


def test_the_rule_by_hand():
    def table(lows, category="a"):
        rows = [("Video↛Others", layer, category, low) for layer, low in enumerate(lows, start=-1)]
        return pd.DataFrame(rows, columns=["pathway", "layer", "category", "low"])

    rule = {"pathway": "Video↛Others", "margin": 0.1, "n_layers": 4}
    assert discarding.last_needed(table([0, 0, 0, 0]), **rule) == -1
    assert discarding.last_needed(table([-1, -1, 0, 0]), **rule) == 1
    assert (
        discarding.last_needed(table([-1, 0, -1, 0]), **rule) == 2
    )  # harm behind layer 1 outweighs none behind layer 0
    assert discarding.last_needed(table([-1, -1, -1, -1]), **rule) == 3  # to the end
    both = pd.concat([table([-1, 0, 0, 0]), table([-1, -1, 0, 0], "b")])
    assert discarding.last_needed(both, **rule) == 1  # one category needs it
    unknown = pd.concat([table([0, 0, 0, 0]), table([float("nan")] * 4, "single")])
    assert discarding.last_needed(unknown, **rule) == 3  # one sample alone says nothing, and nothing is not harmless
    with pytest.raises(ValueError, match="no curve of Audio↛Others"):
        discarding.last_needed(both, pathway="Audio↛Others", n_layers=4, margin=0.1)


def test_all_but_the_last_row_can_go(model, inputs):
    plan = [Discard(range(inputs.layout.n - 1), 0)]
    found, cache = discarding.prefill(model, inputs, plan)
    assert torch.allclose(found.softmax(dim=-1), clean_run(model, inputs).replay([plan])[0], atol=1e-6)
    assert cache.layers[1].keys.shape[-2] == 1


def test_deepstack_keeps_its_rows_until_features_are_added():
    bare = bare_model("qwen3-omni-moe", layers=5, width=64, heads=4, kv_heads=2, mlp=96, vocabulary=50)
    given = bare_inputs(bare, n=60, question=10)
    with pytest.raises(ValueError, match="DeepStack"):
        discarding.prefill(bare, given, [Discard(given.layout.video, 0)])
    plan = (Discard(given.layout.video, 3),)
    found, _ = discarding.prefill(bare, given, plan)
    assert torch.allclose(found.softmax(dim=-1), clean_run(bare, given).replay([plan])[0], atol=1e-6)


def test_layers_that_are_not_there_are_refused_before_anything_runs(model):
    with pytest.raises(ValueError, match="after, Video: there is no layer 99"):
        discarding.check_layers({"Video": 99}, n_layers=4)
    discarding.check_layers({"Video": 3, "Audio": -1}, n_layers=4)
