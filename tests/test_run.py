"""Clean runs and replays, held against transformers' own eager attention with additive 4-D masks."""

import copy

import pytest
import torch
from tiny import TinyModel, prompt

from avsink.run import Block, clean_run


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
    assert torch.equal(clean_run(sdpa, inputs).logits, run.logits)
    assert torch.equal(run.replay([()])[0], run.probabilities)
    nothing = Block(inputs.layout.video, inputs.layout.question, layers=())
    assert torch.equal(run.replay([nothing])[0], run.probabilities)


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


def test_the_batch_size_does_not_matter(inputs, run):
    layout = inputs.layout
    plans = [Block(layout.video, layout.question, layers=[layer]) for layer in range(4)]
    torch.testing.assert_close(run.replay(plans, max_batch=1), run.replay(plans, max_batch=3), atol=1e-6, rtol=0)
    assert run.replay([]).shape == (0, len(run.probabilities))


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


def test_letters_are_read_from_the_whole_vocabulary(run):
    assert set(run.letter_probabilities) == {"A", "B"}
    assert sum(run.letter_probabilities.values()) < 1
    assert run.predicted == max("AB", key=run.letter_probabilities.get)


def test_a_letter_counts_in_its_more_probable_spelling(run):
    spaced = copy.copy(run.inputs)
    spaced.letters = {"A": (0, 1, 2)}
    read = type(run)(model=run.model, inputs=spaced, decoder_inputs={}, logits=run.logits).letter_probabilities
    assert read["A"] == pytest.approx(float(run.probabilities[:3].max()))


def test_a_decoder_that_would_ignore_the_plan_is_an_error(inputs):
    sdpa = TinyModel(layers=2, implementation="sdpa")
    with pytest.raises(RuntimeError, match='attention="avsink"'):
        clean_run(sdpa, inputs).replay([Block(inputs.layout.video, inputs.layout.last, layers=[0])])


def test_no_hook_is_left_behind(model, inputs):
    before = len(model.decoder._forward_pre_hooks)
    clean_run(model, inputs)
    assert len(model.decoder._forward_pre_hooks) == before
