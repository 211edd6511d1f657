"""Decoders that do other things than the usual ones: what they do is replayed exactly, or refused by name.

The oracle is a full pass of a copy in transformers' eager attention, with the masks of a plan put in by hand.
"""

from __future__ import annotations

import copy

import pytest
import torch
from tiny import TinyModel, prompt
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GptOssConfig,
    GptOssForCausalLM,
)
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import (
    Qwen2_5OmniAttention,
    Qwen2_5OmniDecoderLayer,
    Qwen2_5OmniThinkerTextModel,
)
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeThinkerTextModel

from avsink.engine.foreign import forget
from avsink.engine.interventions import Block, Restore
from avsink.engine.run import clean_run
from avsink.testing.random_decoder import BareModel, bare_inputs, bare_model

SMALL = dict(
    vocab_size=64,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    pad_token_id=0,
    bos_token_id=None,
    eos_token_id=None,
)


@pytest.fixture
def model():
    return TinyModel()


def bare(config, kind) -> BareModel:
    torch.manual_seed(0)
    hf = kind(config).eval().requires_grad_(False)
    for parameter in hf.parameters():  # transformers' default is so small that layers would hardly act
        if parameter.ndim > 1:
            parameter.normal_(std=parameter.shape[-1] ** -0.5)
    return BareModel(hf, name=kind.__name__)


def text(model, *, n: int):
    """A prompt of words for a decoder without media; a block needs positions and no layout."""
    inputs = prompt(TinyModel(layers=1))
    ids = torch.randint(1, 64, (1, n), generator=torch.Generator().manual_seed(0))
    inputs.tensors = {"inputs_embeds": model.hf.get_input_embeddings()(ids), "attention_mask": torch.ones_like(ids)}
    inputs.tensors["position_ids"] = torch.arange(n)[None]
    return inputs


@torch.no_grad()
def full_pass(model, inputs, blocks=()):
    """Logits of all positions, (N, vocabulary)."""
    eager = copy.deepcopy(model)
    nested = getattr(eager.hf.config, "text_config", None) is not None
    eager.hf.set_attn_implementation({"text_config": "eager"} if nested else "eager")
    n = inputs.tensors.get("input_ids", inputs.tensors.get("inputs_embeds")).shape[1]
    for index, layer in enumerate(eager.decoder.layers):
        mask = torch.full((1, 1, n, n), float("-inf")).triu(1)
        for block in blocks:
            if index in block.layers:
                mask[0, 0, block.target[:, None], block.source[None, :]] = float("-inf")
        layer.self_attn.register_forward_pre_hook(
            lambda module, args, kwargs, mask=mask: (args, kwargs | {"attention_mask": mask}), with_kwargs=True
        )
    return eager.forward(inputs).logits[0]


def plans(n: int) -> list[Block]:
    """They begin at all depths, and are replayed side by side."""
    third, half = range(n // 3), range(n // 2, n)
    return [
        Block(third, half, [0, 1]),
        Block(third, half, [1, 2]),
        Block(range(n // 4, n // 3), half, [2]),
        Block(range(1, n - 2), [n - 1], [3]),
        Block(third, range(n // 3, n // 2), [0]),
    ]


def check_replays(model, inputs):
    run = clean_run(model, inputs)
    torch.testing.assert_close(run.logits, full_pass(model, inputs)[-1], atol=2e-5, rtol=0)
    every = range(run.states.n)
    found = run.replay_logits(plans(run.states.n), every)
    for plan, rows in zip(plans(run.states.n), found, strict=True):
        torch.testing.assert_close(rows, full_pass(model, inputs, [plan]), atol=5e-5, rtol=0)
        assert (rows - full_pass(model, inputs)).abs().max() > 1e-3, "the plan moved nothing"


# What a layer does to its input, and a decoder between its layers


def test_a_layer_that_changes_its_input_where_it_lies(model, monkeypatch):
    """What entered the layer is recorded, and not what it made of it, which replays would change once more."""
    own = Qwen2_5OmniDecoderLayer.forward

    def forward(self, hidden_states, **kwargs):
        hidden_states.mul_(1.1)
        return own(self, hidden_states, **kwargs)

    monkeypatch.setattr(Qwen2_5OmniDecoderLayer, "forward", forward)
    check_replays(model, prompt(model))


def test_features_that_are_added_where_the_states_lie(monkeypatch):
    def in_place(self, hidden_states, visual_pos_masks, visual_embeds):
        hidden_states[visual_pos_masks] += visual_embeds
        return hidden_states

    monkeypatch.setattr(Qwen3OmniMoeThinkerTextModel, "_deepstack_process", in_place)
    deep = bare_model("qwen3-omni-moe", layers=5, width=64, heads=4, kv_heads=2, mlp=96)
    check_replays(deep, bare_inputs(deep, n=90, question=20))


@pytest.mark.parametrize("layers", [4, 3, 2])
def test_features_that_are_added_after_the_last_layer(layers):
    """DeepStack adds three features; the norm receives the last of them, and so must its rows."""
    deep = bare_model("qwen3-omni-moe", layers=layers, width=64, heads=4, kv_heads=2, mlp=96)
    inputs = bare_inputs(deep, n=90)
    run = clean_run(deep, inputs)
    expected = full_pass(deep, inputs)
    found = run.replay_logits([()], range(run.states.n))[0]
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
    block = Block(range(4), inputs.layout.video, [layers - 1])
    found = run.replay_logits([block], range(run.states.n))[0]
    torch.testing.assert_close(found, full_pass(deep, inputs, [block]), atol=2e-5, rtol=0)


@pytest.mark.parametrize(("layers", "after"), [(5, "layer 0 and layer 1"), (1, "layer 0 and the final norm")])
def test_what_nobody_announced_is_refused(monkeypatch, layers, after):
    monkeypatch.setattr(Qwen3OmniMoeThinkerTextModel, "_deepstack_process", lambda self, states, *_: states * 2)
    deep = bare_model("qwen3-omni-moe", layers=layers, width=64, heads=4, kv_heads=2, mlp=96)
    with pytest.raises(RuntimeError, match=f"between {after}"):
        clean_run(deep, bare_inputs(deep, n=90))


def test_what_a_decoder_does_after_its_norm_is_refused(model, monkeypatch):
    own = Qwen2_5OmniThinkerTextModel.forward

    def forward(self, *args, **kwargs):
        found = own(self, *args, **kwargs)
        found.last_hidden_state = found.last_hidden_state * 2
        return found

    monkeypatch.setattr(Qwen2_5OmniThinkerTextModel, "forward", forward)
    with pytest.raises(RuntimeError, match="does not end with one call of its norm"):
        clean_run(model, prompt(model))


# What a layer is given


def gemma3(window: int) -> BareModel:
    """Every other layer has another rotary table, and the factor of the scores is not width ** -0.5."""
    kinds = ["sliding_attention", "full_attention"] * 2
    facts = dict(layer_types=kinds, sliding_window=window, query_pre_attn_scalar=5, rope_theta=100.0)
    return bare(Gemma3TextConfig(**SMALL, **facts), Gemma3ForCausalLM)


def test_layers_with_different_rotary_tables():
    model = gemma3(512)
    tables = clean_run(model, text(model, n=40)).states.rotary
    assert torch.equal(tables[0][0], tables[2][0]) and not torch.equal(tables[0][0], tables[1][0])
    check_replays(model, text(model, n=40))


def test_a_window_narrower_than_the_prompt_is_refused():
    model = gemma3(16)
    with pytest.raises(ValueError, match="more than causal"):
        clean_run(model, text(model, n=40))


def test_an_argument_of_layers_that_is_not_known_is_refused():
    """A replay would not give it to them. Decoders hand on what they do not know, and so do models."""
    model = bare_model("qwen2", layers=2, width=64, heads=4, kv_heads=2, mlp=96)
    inputs = bare_inputs(model, n=90)
    inputs.tensors["steering"] = torch.ones(64)
    with pytest.raises(RuntimeError, match="layer 0 .* is given the argument steering, which replays do not know"):
        clean_run(model, inputs)


def test_a_layer_without_rotary_tables_is_refused(model, monkeypatch):
    own = Qwen2_5OmniDecoderLayer.__call__

    def call(self, *args, position_embeddings, **kwargs):
        self.self_attn.kept = position_embeddings
        return own(self, *args, **kwargs)

    def attend(self, *args, position_embeddings=None, **kwargs):
        return inner(self, *args, position_embeddings=self.kept, **kwargs)

    inner = Qwen2_5OmniAttention.forward
    monkeypatch.setattr(Qwen2_5OmniDecoderLayer, "__call__", call)
    monkeypatch.setattr(Qwen2_5OmniAttention, "forward", attend)
    with pytest.raises(RuntimeError, match="no position_embeddings"):
        clean_run(model, prompt(model))


# What a layer asks of attention


def gpt_oss() -> BareModel:
    facts = dict(layer_types=["full_attention"] * 4, num_local_experts=2, num_experts_per_tok=1)
    return bare(GptOssConfig(**SMALL, **facts), GptOssForCausalLM)


def gemma2() -> BareModel:
    return bare(Gemma2Config(**SMALL, layer_types=["full_attention"] * 4, sliding_window=512), Gemma2ForCausalLM)


@pytest.mark.parametrize(("build", "argument"), [(gpt_oss, "s_aux"), (gemma2, "softcap")])
def test_an_argument_of_attention_that_is_not_known_is_refused(build, argument):
    """In a run, and also where the model runs by itself: SDPA would leave it out without a word."""
    model = build()
    inputs = text(model, n=30)
    with pytest.raises(RuntimeError, match=rf"layer 0 of this decoder \(\w+Attention\) asks for .* {argument} "):
        clean_run(model, inputs)
    with pytest.raises(RuntimeError, match=argument), torch.no_grad():
        model.forward(inputs)


def test_any_factor_of_the_scores_is_honoured(model):
    for index, layer in enumerate(model.decoder.layers):
        layer.self_attn.scaling = 0.1 + 0.2 * index
    check_replays(model, prompt(model))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda attend: setattr(attend, "is_causal", False), "is_causal False"),
        (lambda attend: setattr(attend, "sliding_window", 20), "sliding_window 20"),
        (lambda attend: (setattr(attend, "attention_dropout", 0.1), attend.train()), "dropout 0.1"),
        (lambda attend: setattr(attend, "scaling", None), "scaling None"),
    ],
    ids=["not causal", "a window", "dropout", "no factor"],
)
@pytest.mark.parametrize("when", ["before the run", "before the replay"])
def test_attention_that_is_not_plain_is_refused(model, change, said, when):
    inputs = prompt(model)
    run = clean_run(model, inputs)
    change(model.decoder.layers[2].self_attn)
    with pytest.raises(RuntimeError, match=f"layer 2 of this decoder .* asks for attention with {said}"):
        clean_run(model, inputs) if when == "before the run" else run.replay([Block([3], [40], [0])])


def test_a_mask_that_a_layer_makes_itself_is_refused(model, monkeypatch):
    inputs = prompt(model)
    run, own, n = clean_run(model, inputs), Qwen2_5OmniAttention.forward, inputs.layout.n

    def forward(self, hidden_states, **kwargs):
        rows = hidden_states.shape[1]
        mask = torch.zeros(1, 1, rows, rows)
        return own(self, hidden_states, **kwargs | {"attention_mask": mask})

    monkeypatch.setattr(Qwen2_5OmniAttention, "forward", forward)
    forget(model)  # as if the class were like that
    with pytest.raises(ValueError, match="more than causal"):
        clean_run(model, inputs)
    with pytest.raises(RuntimeError, match="asks for attention with attention_mask of shape"):
        run.replay([Block([3], [n - 1], [0])])


# Attention that is another one by the time of the replay


@pytest.mark.parametrize("how", ["the model", "the decoder"])
def test_attention_that_is_set_back_is_refused(model, how):
    inputs = prompt(model)
    run = clean_run(model, inputs)
    if how == "the model":
        model.hf.set_attn_implementation("sdpa")
    else:
        model.decoder.config._attn_implementation = "eager"
    for attempt in (lambda: run.replay([()]), lambda: run.replay(plans(47)), lambda: clean_run(model, inputs)):
        with pytest.raises(RuntimeError, match="the decoder's attention is .* to set it back: model.hf.set_attn_impl"):
            attempt()
    model.hf.set_attn_implementation({"text_config": "avsink"})
    assert torch.equal(run.replay(plans(47)), clean_run(model, inputs).replay(plans(47)))


@pytest.mark.parametrize("layer", range(4))
def test_one_layer_whose_attention_is_set_back_is_refused(model, layer):
    """Layer by layer, also where rows only lend their keys, as all but one do in the last layer."""
    inputs = prompt(model)
    run = clean_run(model, inputs)
    config = copy.deepcopy(model.decoder.config)
    config._attn_implementation = "sdpa"
    model.decoder.layers[layer].self_attn.config = config
    for attempt in (lambda: run.replay([Block(range(9), range(20, 40), [0])]), lambda: clean_run(model, inputs)):
        with pytest.raises(RuntimeError, match=f"layer {layer} called the attention function 'avsink' 0 times"):
            attempt()


def test_a_layer_that_attends_twice_is_refused(model, monkeypatch):
    inputs = prompt(model)
    run, own = clean_run(model, inputs), Qwen2_5OmniAttention.forward
    monkeypatch.setattr(
        Qwen2_5OmniAttention, "forward", lambda self, *args, **kwargs: [own(self, *args, **kwargs) for _ in "12"][0]
    )
    forget(model)  # as if the class were like that
    for attempt in (lambda: run.replay([Block([3], [40], [0])]), lambda: clean_run(model, inputs)):
        with pytest.raises(RuntimeError, match="layer 0 called the attention function 'avsink' 2 times"):
            attempt()


# Weights that are others by the time of the replay


@pytest.mark.parametrize("where", ["a layer", "the norm", "the head", "another tensor"])
def test_weights_that_were_changed_are_refused(model, where):
    inputs = prompt(model)
    run, other = clean_run(model, inputs), clean_run(model, prompt(model, seed=1))
    layer = model.decoder.layers[2].mlp
    with torch.no_grad():
        if where == "another tensor":
            layer.up_proj.weight = torch.nn.Parameter(layer.up_proj.weight * 2)
        else:
            {"a layer": layer.up_proj, "the norm": model.decoder.norm, "the head": model.hf.lm_head}[where].weight.mul_(
                2
            )
    with pytest.raises(RuntimeError, match="weights were changed after this run; make the run again"):
        run.replay([()])
    again = clean_run(model, inputs)
    with pytest.raises(ValueError, match="they are of the same model with other weights"):
        again.replay([Restore([5], [0], other.states)])
    check_replays(model, inputs)
