"""Random decoders: what is built is what was asked for."""

import dataclasses

import pytest
import torch

from avsink.instruments.pathways import CLIP
from avsink.testing.random_decoder import FAMILIES, LETTERS, SIZES, BareModel, bare_inputs, bare_model

SIZE = dict(layers=4, width=64, heads=4, kv_heads=2, mlp=96)
N = 96


@pytest.fixture(scope="module", params=FAMILIES)
def model(request):
    return bare_model(request.param, **SIZE)


@pytest.fixture(scope="module")
def inputs(model):
    return bare_inputs(model, n=N)


@torch.inference_mode()
def logits(model, inputs, **kwargs):
    return model.forward(inputs, **kwargs).logits


def test_the_decoder_is_the_familys_own(model):
    family = model.name.split(",")[0].replace(".", "_").replace("-", "_")
    assert family.removesuffix("_moe") in type(model.decoder).__module__
    assert len(model.decoder.layers) == model.n_layers == 4
    assert model.decoder.config.num_key_value_heads == 2
    assert model.decoder.layers[0].self_attn.k_proj.weight.shape == (32, 64)
    assert model.hf.get_output_embeddings().weight.shape == (160, 64)


def test_attention_is_the_one_asked_for(model, inputs):
    assert model.decoder.config._attn_implementation == "avsink"
    expected = logits(model, inputs)
    for name in ("sdpa", "eager", "avsink"):
        model.hf.set_attn_implementation(name)
        assert model.decoder.config._attn_implementation == name
        torch.testing.assert_close(logits(model, inputs), expected, atol=1e-4, rtol=0)


def test_two_models_share_no_configuration():
    one, other = bare_model("qwen2", **SIZE), bare_model("qwen2", **SIZE)
    one.hf.set_attn_implementation("eager")
    assert other.decoder.config._attn_implementation == "avsink"


def test_a_wrapped_model_keeps_its_towers_attention():
    from avsink.testing.untrained_omni import build_model

    hf = build_model(layers=2)
    model = BareModel(hf, name="thinker")
    assert model.decoder is hf.get_decoder() and model.n_layers == 2
    assert (hf.config.text_config._attn_implementation, hf.config.vision_config._attn_implementation) == (
        "avsink",
        "sdpa",
    )


def test_every_pathway_has_both_ends(inputs):
    layout = inputs.layout
    layout.check()
    assert layout.n == N and len(layout.question) == 60 and len(layout.option_letters) == len(LETTERS) == 4
    assert all(pathway.plan(layout, layers=range(2)) for pathway in CLIP.values())
    ratio = len(layout.video) / len(layout.audio)
    assert 2 < ratio < 4 and len(layout.frames) == len(layout.audio_chunks) == 3


@pytest.mark.parametrize("n, question, frames", [(96, 10, None), (500, 60, 7), (2000, 60, None)])
def test_prompts_of_any_length(model, n, question, frames):
    layout = bare_inputs(model, n=n, question=question, frames=frames).layout
    assert layout.n == n and len(layout.question) == question
    assert len(layout.frames) == frames or frames is None


def test_a_prompt_without_room_is_an_error(model):
    with pytest.raises(ValueError, match="n=80 leaves no room"):
        bare_inputs(model, n=80)
    with pytest.raises(ValueError, match="10 or more"):
        bare_inputs(model, n=200, question=8)


def test_positions_are_interleaved(model, inputs):
    layout, positions = inputs.layout, inputs.tensors["position_ids"]
    if "qwen2," in model.name:
        assert torch.equal(positions, torch.arange(N)[None])
        return
    assert positions.shape == (3, 1, N)
    assert positions.is_floating_point() == ("qwen3" in model.name)
    time, height, width = positions[:, 0].long()
    assert torch.equal(time[layout.audio].diff(), torch.ones(len(layout.audio) - 1, dtype=torch.long))
    for frame, chunk in zip(layout.frames, layout.audio_chunks, strict=True):
        assert (time[frame] == time[chunk[0]]).all()  # a grid is at the time of the sound after it
        assert len({*zip(height[frame].tolist(), width[frame].tolist(), strict=True)}) == len(frame)
    text = torch.cat([layout.question, layout.header, layout.last])
    assert (positions[:, 0, text].diff() == 1).all()
    assert time[text[0]] > positions[:, 0, : text[0]].max()


def test_answers_depend_on_every_medium(model, inputs):
    clean = logits(model, inputs)
    other = logits(model, bare_inputs(model, n=N, seed=1))
    start = int(torch.cat([inputs.layout.video, inputs.layout.audio]).min())
    assert torch.equal(other[:, :start], clean[:, :start])
    assert (other[:, -1] - clean[:, -1]).abs().max() > 1e-2
    for group in (inputs.layout.video, inputs.layout.audio):
        embeds = inputs.tensors["inputs_embeds"].clone()
        embeds[:, group] += 1.0
        moved = dataclasses.replace(inputs, tensors=inputs.tensors | {"inputs_embeds": embeds})
        assert (logits(model, moved)[:, -1] - clean[:, -1]).abs().max() > 1e-3


def test_visual_features_enter_between_layers(model, inputs):
    if "deepstack_visual_embeds" not in inputs.tensors:
        assert "qwen3" not in model.name
        return
    features = inputs.tensors["deepstack_visual_embeds"]
    assert features.shape == (3, len(inputs.layout.video), 64)
    clean = logits(model, inputs)
    for level in range(3):
        other = features.clone()
        other[level] += 1.0
        moved = dataclasses.replace(inputs, tensors=inputs.tensors | {"deepstack_visual_embeds": other})
        assert (logits(model, moved)[:, -1] - clean[:, -1]).abs().max() > 1e-4


def test_logits_of_some_positions(model, inputs):
    everything = logits(model, inputs)
    assert everything.shape == (1, N, 160)
    torch.testing.assert_close(logits(model, inputs, logits_to_keep=2), everything[:, -2:])
    torch.testing.assert_close(logits(model, inputs, logits_to_keep=torch.tensor([3, 5])), everything[:, [3, 5]])


def test_the_seed_and_the_precision():
    one, same, other = (bare_model("qwen2.5-omni", **SIZE, seed=seed) for seed in (0, 0, 1))
    weights = [model.decoder.layers[0].self_attn.q_proj.bias for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    half = bare_model("qwen2.5-omni", **SIZE, dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16 and half.decoder.rotary_emb.inv_freq.dtype == torch.float32
    assert logits(half, bare_inputs(half, n=N)).dtype == torch.bfloat16


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    bare_inputs(bare_model("qwen2", **SIZE), n=N)
    assert torch.equal(torch.rand(1), expected)


def test_published_sizes_are_heads_of_128():
    assert {size["width"] // size["heads"] for size in SIZES.values()} == {128}
    with pytest.raises(ValueError, match="unknown family 'qwen4'"):
        bare_model("qwen4", **SIZE)
