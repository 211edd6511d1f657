"""The self-check: it passes where interventions work, and every seeded fault fails the check meant for it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import transformers

import avsink
from avsink.engine import attention, foreign, listeners, observers, partial_softmax, self_check
from avsink.engine.attention import AttentionInterface, AttentionMaskInterface, sdpa_attention_forward, sdpa_mask
from avsink.engine.interventions import Block, Restore
from avsink.engine.self_check import SelfCheckFailed, check
from avsink.engine.self_check_case import Case
from avsink.testing.random_decoder import FAMILIES, bare_inputs, bare_model

CALLS = pytest.mark.parametrize("way", ["registered", "called"])


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def model(request, untrained):
    """Every fault must be caught in half precision, too."""
    return avsink.load(untrained, device="cpu", dtype=request.param, check=False)


def failure(model) -> str:
    with pytest.raises(SelfCheckFailed) as caught:
        check(model)
    return str(caught.value)


def test_it_passes_on_what_was_trained_and_on_what_was_not(model):
    check(model)
    check(avsink.load("tiny-omni", device="cpu", check=False))


@pytest.mark.parametrize("family", FAMILIES)
def test_it_passes_on_the_decoders_of_all_families(family):
    bare = bare_model(family, layers=3, width=64, heads=4, kv_heads=2, mlp=96)
    check(bare, (bare_inputs(bare, n=100), bare_inputs(bare, n=100, seed=1)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["tiny-omni", "tiny-omni-plain"])
def test_it_passes_on_what_was_trained_in_half_precision(name, dtype):
    check(avsink.load(name, device="cpu", dtype=dtype, check=False))


@pytest.mark.parametrize("family", FAMILIES)
def test_it_passes_in_half_precision_at_depth(family):
    bare = bare_model(family, layers=12, width=64, heads=4, kv_heads=2, mlp=96, dtype=torch.bfloat16)
    check(bare, (bare_inputs(bare, n=100), bare_inputs(bare, n=100, seed=1)))


def test_a_model_that_rounding_moves_as_far_as_its_media_is_named(untrained, monkeypatch):
    """No tolerance would tell one from the other."""
    half = avsink.load(untrained, device="cpu", dtype="bfloat16", check=False)
    monkeypatch.setattr(Case, "tolerance", 5.0)
    said = failure(half)
    assert '"a block cuts its edges": with all media blocked, the logits change by' in said
    assert "5 may be rounding; load the model in float32" in said


def test_what_is_allowed_is_what_rounding_does(untrained):
    """In float32 it is fixed; in half precision it grows with what rounding does to a plain pass."""
    found = {}
    for dtype in ("float32", "float16", "bfloat16"):
        case = Case(avsink.load(untrained, device="cpu", dtype=dtype, check=False), None)
        case.prepare()
        found[dtype] = case.tolerance
    assert found["float32"] == 1e-3 <= found["float16"] < found["bfloat16"] < 0.1


def test_media_are_encoded_once(model, monkeypatch):
    """One pass of the towers and at most 14 of the decoder for two prompts: what `avsink.load` promises to be short."""
    towers, rows = [], []
    kind = type(model.decoder.layers[0])
    own = kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, x, **kw: (rows.append(x.shape[1]), own(self, x, **kw))[1])
    hook = model.hf.model.visual.register_forward_hook(lambda *_: towers.append(1))
    try:
        check(model)
    finally:
        hook.remove()
    case = Case(model, None)
    case.prepare()
    assert len(towers) == 2 and sum(rows) <= 14 * case.n * model.n_layers


def test_the_message_names_check_versions_and_remedy(model, monkeypatch):
    monkeypatch.setattr(Block, "edges", lambda self, layer: ())
    said = failure(model)
    assert (
        f'self-check of untrained ({model.dtype}, cpu) failed at "a block cuts its edges": with all media blocked'
        in said
    )
    for version in (f"transformers {transformers.__version__}", f"torch {torch.__version__}", "avsink 0."):
        assert version in said
    assert "pip install -c constraints.txt transformers torch" in said and "avsink.load(..., check=False)" in said
    assert "\n" not in said


# (a) causality and padding


def without_causality(module, query, key, value, mask, **kwargs):
    return sdpa_attention_forward(module, query, key, value, mask, is_causal=False, **kwargs)


def eager(module, query, key, value, mask, *, scaling, **kwargs):
    from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import eager_attention_forward

    return eager_attention_forward(module, query, key, value, mask, scaling=scaling)


def without_masks(module, query, key, value, mask, **kwargs):
    return sdpa_attention_forward(module, query, key, value, None, **kwargs)


def replace_attention(monkeypatch, function, way: str) -> str:
    """As another library would register it, or as a change of ours would go wrong; the check that must notice."""
    if way == "registered":
        monkeypatch.setitem(AttentionInterface._global_mapping, attention.NAME, function)
        return '"the attention function is in use"'
    monkeypatch.setattr(attention, "plain", lambda *args, **kwargs: function(*args, **kwargs)[0])
    return '"attention is causal"'


@pytest.mark.parametrize("layer", range(3))
def test_one_layer_that_ignores_causality_is_caught(model, monkeypatch, layer):
    """In half precision, too, where it would be taken for rounding if it were not exact."""
    own = attention.plain

    def sees(module, query, key, value, mask, **kwargs):
        if module.layer_idx != layer or mask is not None:
            return own(module, query, key, value, mask, **kwargs)
        n = query.shape[2]
        one_more = torch.ones(n, n, dtype=torch.bool).tril(1)[None, None]
        return own(module, query, key, value, one_more, **kwargs)

    monkeypatch.setattr(attention, "plain", sees)
    assert '"attention is causal": with other tokens after token ' in failure(model)


def test_a_missing_mask_function_is_caught(model, monkeypatch):
    monkeypatch.delitem(AttentionMaskInterface._global_mapping, attention.NAME)
    assert "\"padding is masked\": transformers has no mask function 'avsink'" in failure(model)


def test_masks_that_are_dropped_are_caught(model, monkeypatch):
    replace_attention(monkeypatch, without_masks, "called")
    assert '"padding is masked": a prompt padded on the left and the prompt itself differ' in failure(model)


@CALLS
def test_attention_that_ignores_causality_is_caught(model, monkeypatch, way):
    named = replace_attention(monkeypatch, without_causality, way)
    assert named in failure(model)


# (b) a boolean mask under eager attention, which adds it to the scores


@CALLS
@pytest.mark.parametrize("always", [True, False])
def test_a_boolean_mask_under_eager_attention_is_caught(model, monkeypatch, way, always):
    def mask(*args, **kwargs):
        return sdpa_mask(*args, **kwargs | {"allow_is_causal_skip": not always})

    monkeypatch.setitem(AttentionMaskInterface._global_mapping, attention.NAME, mask)
    named = replace_attention(monkeypatch, eager, way)
    assert named in failure(model)


# (c) positions


def test_positions_that_are_not_interleaved_are_caught(model, monkeypatch):
    def plain(tensors, media, *, hf, processor):
        return torch.arange(tensors["input_ids"].shape[1]).expand(3, 1, -1)

    monkeypatch.setattr(model.adapter, "position_ids", plain)
    assert '"positions are the interleaved ones": tokens of a temporal grid must share one time' in failure(model)


def test_sound_later_than_the_picture_is_caught(model, monkeypatch):
    own = model.adapter.position_ids

    def late(tensors, media, *, hf, processor):
        positions = own(tensors, media, hf=hf, processor=processor)
        return positions + 100 * (tensors["input_ids"] == hf.config.audio_token_id)

    monkeypatch.setattr(model.adapter, "position_ids", late)
    assert '"positions are the interleaved ones": ' in failure(model)


def test_a_model_that_forgets_its_positions_is_caught(model, monkeypatch):
    forward = model.hf.forward
    monkeypatch.setattr(model.hf.model, "rope_deltas", None)  # which it would go on remembering
    monkeypatch.setattr(model.hf, "forward", lambda *args, position_ids, **kwargs: forward(*args, **kwargs))
    assert '"positions are the interleaved ones": the decoder receives other positions' in failure(model)


def test_a_position_rule_that_has_changed_is_caught(model, monkeypatch):
    """By the adapter's own look at them, before any pass."""
    own = type(model.hf).get_rope_index

    def forgetful(self, *args, use_audio_in_video=False, **kwargs):
        return own(self, *args, use_audio_in_video=False, **kwargs)

    monkeypatch.setattr(type(model.hf), "get_rope_index", forgetful)
    assert '"a clip of noise becomes a prompt": RuntimeError: transformers' in failure(model)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda at: torch.arange(at.shape[-1]).expand_as(at).to(at), "tokens are not turned by their positions"),
        (lambda at: at[[1, 0, 2]] + at.shape[-1], "tokens are not turned by their positions"),
        (lambda at: torch.zeros_like(at), "words at different positions are turned alike"),
        (lambda at: at // 2, "words at different positions are turned alike"),
        (lambda at: at[:1].expand_as(at), "no dimension is turned by axis 1 of the positions"),
        (lambda at: at[[0, 1, 1]], "no dimension is turned by axis 2 of the positions"),
    ],
    ids=["place in the prompt", "shifted", "none", "rounded", "time alone", "no width"],
)
def test_a_rotary_module_that_ignores_its_positions_is_caught(model, monkeypatch, wrong, said):
    """What the decoder is given is right: the module itself must be looked at."""
    kind = type(model.decoder.rotary_emb)
    own = kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, x, position_ids: own(self, x, wrong(position_ids)))
    assert f'"tokens are turned by their positions": {said}' in failure(model)


# (d) the attention function is not in use


def test_a_decoder_on_another_attention_is_caught(model, monkeypatch):
    monkeypatch.setattr(model.decoder.config, "_attn_implementation_internal", "sdpa")
    assert "\"the attention function is in use\": the decoder's attention is 'sdpa'; load the model with" in failure(
        model
    )


def test_one_layer_on_another_attention_is_caught(model, monkeypatch):
    config = copy.deepcopy(model.decoder.config)
    config._attn_implementation = "sdpa"
    monkeypatch.setattr(model.decoder.layers[1].self_attn, "config", config)
    assert '"the attention function is in use": each of the 3 layers must call it once' in failure(model)


def test_a_tower_on_our_attention_is_caught(model, monkeypatch):
    monkeypatch.setattr(model.hf.config.audio_config, "_attn_implementation_internal", attention.NAME)
    assert "AudioAttention" in failure(model)


# (e) a decoder at the wrong path


@pytest.mark.parametrize(
    "other",
    [
        lambda model: copy.deepcopy(model.decoder),
        lambda model: model.hf.model,
        lambda model: model.hf.model.audio_tower,
        lambda model: model.decoder.layers[0],
    ],
    ids=["a copy", "one that holds it", "a tower", "a layer"],
)
def test_a_decoder_at_the_wrong_path_is_caught(model, monkeypatch, other):
    monkeypatch.setattr(model, "decoder", other(model))
    assert '"the answer comes from the decoder": model.decoder must have layers and a norm' in failure(model)


def test_another_head_is_caught(model, monkeypatch):
    other = copy.deepcopy(model.hf.get_output_embeddings())
    other.weight.data = other.weight.data.flip(0)
    monkeypatch.setattr(model.hf, "get_output_embeddings", lambda: other)
    assert '"the answer comes from the decoder": logits from' in failure(model)


# (f) somebody else's code on the layers


def test_hooks_that_are_not_refused_are_caught(model, monkeypatch):
    monkeypatch.setattr(foreign, "foreign_code", lambda root, name: iter(()))
    said = failure(model)
    assert "\"other people's hooks are refused\": somebody else's hook on a Qwen2_5OmniDecoderLayer is not" in said


def test_rows_that_are_addressed_by_place_are_caught(model, monkeypatch):
    """By whatever means: of one plan the last row is the prompt's own, of several it is that of the last plan."""
    kind = type(model.decoder.layers[0])
    own = kind.forward

    def steered(self, *args, **kwargs):
        states = own(self, *args, **kwargs)
        states[:, -1] += 3 * states[:, -1].norm() / states.shape[-1] ** 0.5
        return states

    monkeypatch.setattr(kind, "forward", steered)
    assert '"layers treat rows alike": layer 0 makes other rows of its rows in another order' in failure(model)
    if model.dtype == torch.float32:  # in half precision, one position that differs may be one that rounding moved
        monkeypatch.delitem(self_check.CHECKS, "layers treat rows alike")
        assert '"replays are exact": ' in failure(model)


def test_records_of_what_lies_in_a_place_later_are_caught(model, monkeypatch):
    """A layer changes its input where it lies: that does no harm, unless what was recorded lies there, too."""
    kind = type(model.decoder.layers[0])
    own = kind.forward

    def forward(self, hidden_states, **kwargs):
        hidden_states.mul_(1.2)
        return own(self, hidden_states, **kwargs)

    monkeypatch.setattr(kind, "forward", forward)
    check(model)
    keep = listeners.Keeper.enter
    monkeypatch.setattr(
        listeners.Keeper, "enter", lambda self, layer, states, kw: (keep(self, layer, states, kw), late(self, states))
    )

    def late(self, states):
        self.inputs[-1] = states

    assert '"replays are exact": ' in failure(model)


# (g) faults of the engine


def test_attention_merged_wrongly_is_caught(model, monkeypatch):
    monkeypatch.setattr(partial_softmax, "merge", lambda one, other: one)
    assert '"replays are exact": a replay that restores one token to what it was and the run' in failure(model)


def test_a_restore_that_is_ignored_is_caught(model, monkeypatch):
    monkeypatch.setattr(Restore, "given", lambda self, layer: None)
    assert '"replays are exact": a replay that restores the media from another run and that run' in failure(model)


def test_a_block_of_half_the_edges_is_caught(model, monkeypatch):
    edges = Block.edges
    monkeypatch.setattr(Block, "edges", lambda self, layer: edges(self, layer) if layer else ())
    assert '"a block cuts its edges": two clips with all media blocked differ' in failure(model)


def test_attention_weights_with_another_sum_are_caught(model, monkeypatch):
    weights = observers._weights
    monkeypatch.setattr(observers, "_weights", lambda *args, **kwargs: 2 * weights(*args, **kwargs))
    assert '"attention weights sum to one": ' in failure(model)


# What it leaves behind, and what it is not for


def state(model) -> tuple:
    hf = model.hf
    hooks = [len(m._forward_pre_hooks) + len(m._forward_hooks) for m in hf.modules()]
    attributes = [sorted(vars(m)) for m in hf.modules()]
    configs = [hf.config, *(getattr(hf.config, name) for name in hf.config.sub_configs), model.decoder.config]
    used = [config._attn_implementation for config in configs]
    registered = [dict(mapping._global_mapping) for mapping in (AttentionInterface, AttentionMaskInterface)]
    drawn = torch.get_rng_state().tolist(), str(np.random.get_state())
    return (
        hooks,
        attributes,
        used,
        registered,
        drawn,
        hf.config.to_dict(),
        hf.model.rope_deltas,
        attention._substitute.get(),
    )


def test_it_leaves_everything_as_it_was(model):
    before = state(model)
    check(model)
    assert state(model) == before


def test_it_leaves_everything_as_it_was_also_when_it_fails(model, monkeypatch):
    def broken(module, *args, **kwargs):
        if getattr(module, "config", None) is model.decoder.config:
            raise OSError("no such kernel")
        return sdpa_attention_forward(module, *args, **kwargs)

    monkeypatch.setitem(AttentionInterface._global_mapping, "sdpa", broken)
    before = state(model)
    assert '": OSError: no such kernel' in failure(model)
    assert state(model) == before


def test_memory_that_runs_out_says_so_itself(model, monkeypatch):
    def greedy(case):
        raise torch.OutOfMemoryError("too large")

    monkeypatch.setitem(self_check.CHECKS, "attention is causal", greedy)
    with pytest.raises(torch.OutOfMemoryError, match="too large"):
        check(model)


def test_loading_checks_unless_told_otherwise(untrained, monkeypatch):
    def refuse(model):
        raise SelfCheckFailed(model, "attention is causal", ValueError("seeded"))

    monkeypatch.setattr(self_check, "check", refuse)
    with pytest.raises(SelfCheckFailed, match='failed at "attention is causal": ValueError: seeded'):
        avsink.load(untrained, device="cpu")
    avsink.load(untrained, device="cpu", check=False)
    plain = avsink.load(untrained, device="cpu", attention="sdpa")  # no instrument runs on it
    monkeypatch.undo()
    assert '"the attention function is in use"' in failure(plain)
