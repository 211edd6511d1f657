"""Rows that are really gone: against replays, against a masked run by hand, in the cache, and in decoding."""

import pytest
import torch
from tiny import TinyModel, prompt

from avsink.engine import live
from avsink.engine.interventions import Discard
from avsink.engine.run import clean_run
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
        found, _ = live.prefill(model, inputs, plan)
        assert torch.allclose(found.softmax(dim=-1), expected, atol=1e-6)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "qwen3-omni-moe"])
def test_every_family_of_decoders(family):
    bare = bare_model(family, layers=4, width=64, heads=4, kv_heads=2, mlp=96, vocabulary=50)
    given = bare_inputs(bare, n=60, question=10)
    plan = (Discard(given.layout.video, 1), Discard(given.layout.audio, 0))
    found, _ = live.prefill(bare, given, plan)
    assert torch.allclose(found.softmax(dim=-1), clean_run(bare, given).replay([plan])[0], atol=1e-6)


def test_nothing_discarded_changes_no_bit(model, inputs):
    found, _ = live.prefill(model, inputs, ())
    assert torch.equal(found, clean_run(model, inputs).logits)


def test_later_layers_and_their_cache_are_shorter(model, inputs):
    layout = inputs.layout
    plan = (Discard(layout.video, 0), Discard(layout.audio, 2))
    _, cache = live.prefill(model, inputs, plan)
    lengths = [cache.layers[layer].keys.shape[-2] for layer in range(4)]
    n, video, audio = layout.n, len(layout.video), len(layout.audio)
    assert lengths == [n, n - video, n - video, n - video - audio]


def test_hooks_are_gone_afterwards_even_after_an_error(model, inputs):
    before = clean_run(model, inputs).logits
    with pytest.raises(KeyError), live.discarding(model, [Discard(inputs.layout.video, 1)], n=inputs.layout.n):
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
                    mask[one.positions, one.positions] = True  # what a removed row reads does not matter
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
        with live.discarding(model, plan, n=inputs.layout.n):
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
        (Discard([n + 3], 0), "outside the prompt"),
        (Discard([1], 4), "there is no layer 4"),
    ]:
        with pytest.raises(ValueError, match=match):
            live.prefill(model, inputs, [one])
    with pytest.raises(ValueError, match="prepared for a prompt of 99 tokens"):
        with live.discarding(model, [Discard([1], 0)], n=99):
            model.forward(inputs)


def test_all_but_the_last_row_can_go(model, inputs):
    plan = [Discard(range(inputs.layout.n - 1), 0)]
    found, cache = live.prefill(model, inputs, plan)
    assert torch.allclose(found.softmax(dim=-1), clean_run(model, inputs).replay([plan])[0], atol=1e-6)
    assert cache.layers[1].keys.shape[-2] == 1


def test_deepstack_keeps_its_rows_until_features_are_added():
    bare = bare_model("qwen3-omni-moe", layers=5, width=64, heads=4, kv_heads=2, mlp=96, vocabulary=50)
    given = bare_inputs(bare, n=60, question=10)
    with pytest.raises(ValueError, match="DeepStack"):
        live.prefill(bare, given, [Discard(given.layout.video, 0)])
    plan = (Discard(given.layout.video, 3),)
    found, _ = live.prefill(bare, given, plan)
    assert torch.allclose(found.softmax(dim=-1), clean_run(bare, given).replay([plan])[0], atol=1e-6)
