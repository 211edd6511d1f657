"""Clean runs and replays, compared with transformers' own eager attention and additive 4-D masks."""

import copy
from dataclasses import replace

import pytest
import torch
from tiny import TinyModel, prompt

from avsink.engine.interventions import Block, Discard, Restore, Reweight
from avsink.engine.listeners import Listener
from avsink.engine.record import decoder_inputs
from avsink.engine.run import clean_run
from avsink.sample import SampleError


@pytest.fixture(scope="module")
def model():
    return TinyModel()


@pytest.fixture(scope="module")
def inputs(model):
    return prompt(model)


@pytest.fixture(scope="module")
def run(model, inputs):
    return clean_run(model, inputs)


@torch.inference_mode()
def oracle(model, inputs, blocks):
    """Distribution and attention weights (layers, heads, N, N) of a full eager forward with additive masks."""
    eager = copy.deepcopy(model)
    eager.hf.set_attn_implementation({"text_config": "eager"})
    n = inputs.layout.n
    for index, layer in enumerate(eager.decoder.layers):
        mask = torch.full((1, 1, n, n), float("-inf")).triu(1)
        for block in blocks:
            if index in block.layers:
                mask[0, 0, block.target[:, None], block.source[None, :]] = float("-inf")

        def give(module, args, kwargs, mask=mask):
            return args, kwargs | {"attention_mask": mask}

        layer.self_attn.register_forward_pre_hook(give, with_kwargs=True)
    out = eager.hf(**inputs.tensors, output_attentions=True)
    return out.logits[0, -1].softmax(-1), torch.stack(out.attentions)[:, 0]


def test_the_clean_run_is_the_models_own_forward(model, inputs, run):
    with torch.inference_mode():
        torch.testing.assert_close(run.logits, model.forward(inputs).logits[0, -1], atol=1e-5, rtol=0)
    torch.testing.assert_close(run.probabilities, oracle(model, inputs, [])[0], atol=1e-5, rtol=0)


def test_an_empty_plan_changes_no_bit(model, inputs, run):
    sdpa = copy.deepcopy(model)
    sdpa.hf.set_attn_implementation({"text_config": "sdpa"})
    with torch.inference_mode():
        states = sdpa.decoder(**decoder_inputs(sdpa, inputs)).last_hidden_state
        assert torch.equal(sdpa.hf.lm_head(states[:, -1:])[0, 0], run.logits)
    assert torch.equal(run.replay([()])[0], run.probabilities)
    nothing = Block(inputs.layout.video, inputs.layout.question, layers=())
    assert torch.equal(run.replay([nothing])[0], run.probabilities)


def test_plans_that_have_nothing_to_act_on_change_no_bit(model, inputs, run):
    """No layers, no positions, targets before all sources."""
    layout, states = inputs.layout, clean_run(model, prompt(model, seed=1)).states
    plans = [
        Restore(layout.video, [], states),
        Restore([], range(4), states),
        Reweight(layout.video, layout.audio, 0.5, [], target=layout.question),
        Discard([], after_layer=1),
        Discard(layout.video, after_layer=model.n_layers - 1),
        Block(layout.question, layout.video, range(4)),
    ]
    for plan in plans:
        assert torch.equal(run.replay([plan])[0], run.probabilities)
        assert run.cost([plan]).rows == 0


def test_plans_that_act_and_change_nothing_are_computed(model, inputs, run):
    """Their numbers are the run's own but for rounding."""
    layout, everywhere = inputs.layout, range(model.n_layers)
    plans = [
        Reweight(layout.video, layout.audio, 0.0, everywhere, target=layout.question),
        Restore(layout.video, everywhere, run.states),
        Restore(range(layout.n), [2], run.states),
    ]
    for plan, row in zip(plans, run.replay(plans), strict=True):
        assert run.cost([plan]).rows > 0
        torch.testing.assert_close(row, run.probabilities, atol=1e-6, rtol=0)


def test_logits_that_are_not_numbers_are_an_error_of_the_sample(model, inputs):
    broken = copy.deepcopy(model)
    broken.decoder.layers[1].mlp.down_proj.weight.data[0, 0] = float("nan")
    with pytest.raises(SampleError, match="sample tiny: the model's logits are not numbers in float32; load the model"):
        clean_run(broken, inputs)


def test_replays_equal_the_oracle(model, inputs, run):
    layout = inputs.layout
    plans = [
        Block(layout.video, layout.question, layers=range(0, 3)),
        Block(layout.audio, layout.question, layers=range(1, 4)),
        (Block(layout.video, layout.audio, [2]), Block(layout.audio, layout.video, [0, 2])),
        Block(layout.question, layout.last, layers=range(4)),
        (),
    ]
    found = run.replay(plans)
    assert found.shape == (5, model.hf.config.text_config.vocab_size)
    for plan, row in zip(plans, found, strict=True):
        blocks = [plan] if isinstance(plan, Block) else list(plan)
        expected, weights = oracle(model, inputs, blocks)
        torch.testing.assert_close(row, expected, atol=1e-5, rtol=0)
        for block in blocks:
            for layer in block.layers:
                assert (weights[layer][:, block.target][:, :, block.source] == 0).all()
        if blocks:
            assert (row - run.probabilities).abs().max() > 1e-4, "the knockout moved nothing"


def test_blocking_all_edges_out_of_the_media_removes_them(model, inputs):
    """Another clip, same prompt: with the media cut off at every layer the answer cannot tell them apart."""
    other, layout = prompt(model, seed=1), inputs.layout
    media = torch.cat([layout.video, layout.audio])
    cut = Block(media, torch.arange(media.max() + 1, layout.n), layers=range(model.n_layers))
    one, two = clean_run(model, inputs), clean_run(model, other)
    assert (one.probabilities - two.probabilities).abs().max() > 1e-3
    torch.testing.assert_close(one.replay([cut]), two.replay([cut]), atol=1e-7, rtol=0)


def test_a_last_token_that_reads_nothing_knows_only_itself(model, inputs, run):
    alone = Block(torch.arange(inputs.layout.n), inputs.layout.last, layers=range(model.n_layers))
    other = clean_run(model, prompt(model, letters="ABC"))
    also_alone = Block(torch.arange(other.inputs.layout.n), other.inputs.layout.last, layers=range(model.n_layers))
    torch.testing.assert_close(run.replay([alone]), other.replay([also_alone]), atol=1e-7, rtol=0)


def test_letters_are_measured_in_the_whole_vocabulary(run):
    assert set(run.letter_probabilities) == {"A", "B"}
    assert sum(run.letter_probabilities.values()) < 1
    assert run.predicted == max("AB", key=run.letter_probabilities.get)


def test_a_letter_counts_in_its_more_probable_spelling(run):
    spaced = copy.copy(run.inputs)
    spaced.letters = {"A": (0, 1, 2)}
    found = replace(run, inputs=spaced).letter_probabilities
    assert found["A"] == pytest.approx(float(run.probabilities[:3].max()))


def test_a_decoder_that_would_ignore_the_plan_is_an_error(inputs):
    sdpa = TinyModel(layers=2, implementation="sdpa")
    with pytest.raises(RuntimeError, match="set_attn_implementation"):
        clean_run(sdpa, inputs).replay([Block(inputs.layout.video, inputs.layout.last, layers=[0])])


def test_padded_and_batched_prompts_are_refused(model):
    for name, wrong in [("padded", lambda n: torch.tensor([[0, *[1] * (n - 1)]])), ("batch", None)]:
        inputs = prompt(model)
        if wrong:
            inputs.tensors["attention_mask"] = wrong(inputs.layout.n)
        else:
            text = {"input_ids": inputs.tensors["input_ids"][:, :3]}
            inputs.tensors = {key: value.repeat(2, 1) for key, value in text.items()}
        with pytest.raises(ValueError, match=name):
            clean_run(model, inputs)


def test_a_mask_that_is_more_than_causal_is_refused(model, inputs):
    packed = copy.copy(inputs)
    n = inputs.layout.n
    text = torch.arange(n) % 20  # two prompts and a part of a third one, as packing would number them
    packed.tensors = inputs.tensors | {"position_ids": torch.stack([text, *[torch.arange(n)] * 3])[:, None]}
    del packed.tensors["attention_mask"]
    with pytest.raises(ValueError, match="more than causal"):
        clean_run(model, packed)


def test_all_hooks_are_removed(model, inputs):
    modules = [model.decoder, model.decoder.norm, *model.decoder.layers]
    clean_run(model, inputs)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in modules)
    with pytest.raises(ZeroDivisionError):
        clean_run(model, inputs, observers=[Fails()])
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in modules)


class Fails(Listener):
    def leave(self, layer, states):
        raise ZeroDivisionError
