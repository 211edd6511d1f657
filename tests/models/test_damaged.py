"""Folders that something happened to: one sentence with the file, the reason and the remedy, never other numbers."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from samples import clip_sample

import avsink
from avsink.models import DamagedModel, MissingModel

Q_PROJ = "model.layers.1.self_attn.q_proj.weight"
EMBEDDINGS = "model.embed_tokens.weight"
INDEX = "model.safetensors.index.json"


@pytest.fixture
def copy(untrained, tmp_path):
    """A copy of the untrained model that a test may damage."""
    return shutil.copytree(untrained, tmp_path / "copy")


@pytest.fixture
def shards(copy):
    """The same in two shards."""
    weights = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    where = {name: f"model-{1 + k % 2}.safetensors" for k, name in enumerate(sorted(weights))}
    for shard in set(where.values()):
        rewrite(copy / shard, {name: weights[name] for name in weights if where[name] == shard})
    (copy / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return copy


def rewrite(file, tensors) -> None:
    save_file(tensors, file, metadata={"format": "pt"})


def changed(copy, change) -> None:
    """Change the tensors of the model's one file."""
    rewrite(copy / "model.safetensors", change(load_file(copy / "model.safetensors")))


def refusal(folder, **arguments) -> str:
    """The sentence with which a folder is refused."""
    with pytest.raises((DamagedModel, MissingModel)) as caught:
        avsink.load(folder, device="cpu", check=False, **arguments)
    said = str(caught.value)
    assert str(folder) in said and "\n" not in said
    return said


# Weights


def test_a_shard_saved_by_ddp_is_named_with_its_remedy(shards):
    file = shards / "model-2.safetensors"
    rewrite(file, {f"module.{name}": tensor for name, tensor in load_file(file).items()})
    said = json.loads((shards / INDEX).read_text())
    where = {(f"module.{k}" if shard == file.name else k): shard for k, shard in said["weight_map"].items()}
    (shards / INDEX).write_text(json.dumps({"weight_map": where}))
    said = refusal(shards)
    count = len(load_file(file))
    assert f"weights are missing: {count + 1} (lm_head.weight, model.audio_tower" in said  # the embeddings are tied
    assert f"weights are not of this model: {count} (module." in said and f"the names of {count} begin" in said
    assert "begin with 'module.'" in said and "strip it" in said and "save_pretrained" in said


@pytest.mark.parametrize("names", [[Q_PROJ], [Q_PROJ, "visual.merger.mlp.0.weight"]])
def test_missing_weights_are_named(copy, names):
    changed(copy, lambda weights: {name: weights[name] for name in weights if name not in names})
    said = refusal(copy)
    assert f"weights are missing: {len(names)} (" in said
    assert all(name.split("model.")[-1].split("visual.")[-1] in said for name in names)


def test_weights_of_no_part_are_named_but_for_those_left_out_on_purpose(copy):
    changed(copy, lambda weights: weights | {"talker.x": torch.zeros(2), "token2wav.y": torch.zeros(2)})
    avsink.load(copy, device="cpu", check=False)
    changed(copy, lambda weights: weights | {"talkers": torch.zeros(2), "value_head.weight": torch.zeros(2)})
    assert "weights are not of this model: 2 (talkers, value_head.weight)" in refusal(copy)


def test_weights_of_another_shape_are_named(copy):
    changed(copy, lambda weights: weights | {Q_PROJ: weights[Q_PROJ][:, :64].contiguous()})
    assert f"weights have another shape than config.json says: 1 ({Q_PROJ}: [128, 64], not [128, 128])" in refusal(copy)


def test_a_config_of_another_size_is_named_before_a_model_of_that_size_is_made(copy):
    said = json.loads((copy / "config.json").read_text())
    for name, value in (("hidden_size", 2**20), ("num_hidden_layers", 10**9), ("vocab_size", 2**40)):
        other = said | {"text_config": said["text_config"] | {name: value}}
        (copy / "config.json").write_text(json.dumps(other))
        assert "config.json" in refusal(copy)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_named_with_its_file(shards, value):
    file = shards / "model-1.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if "layers.2.mlp" in name)
    weights[name].view(-1)[5] = value
    rewrite(file, weights)
    assert f"model-1.safetensors: {name} holds values that are not finite" in refusal(shards)


def test_a_weight_that_a_precision_cannot_hold_is_named(copy):
    changed(copy, lambda weights: weights | {Q_PROJ: weights[Q_PROJ] + 1e6})
    with pytest.raises(DamagedModel, match="q_proj.weight is not finite in float16, though it is in its file"):
        avsink.load(copy, device="cpu", dtype="float16", check=False)
    avsink.load(copy, device="cpu", dtype="bfloat16", check=False)


def test_whole_numbers_are_no_weights(copy):
    changed(copy, lambda weights: weights | {Q_PROJ: weights[Q_PROJ].to(torch.int8)})
    assert f"model.safetensors: {Q_PROJ} holds I8 numbers" in refusal(copy)


def test_one_tensor_in_two_shards_or_under_two_names_is_named(shards):
    first, second = shards / "model-1.safetensors", shards / "model-2.safetensors"
    weights, others = load_file(first), load_file(second)
    name = next(iter(weights))
    rewrite(second, others | {name: weights[name] + 1})
    assert f"{name} is both in model-1.safetensors and in model-2.safetensors" in refusal(shards)
    weight = "model.layers.0.self_attn.q_proj.weight"
    newer = "model.language_model.layers.0.self_attn.q_proj.weight"
    rewrite(second, others | {newer: (weights | others)[weight] + 1})
    said = refusal(shards)
    assert weight in said and newer in said and "are two names of one weight" in said


def test_an_index_that_is_wrong_of_a_tensor_is_named(shards):
    said = json.loads((shards / INDEX).read_text())
    name = next(name for name, shard in said["weight_map"].items() if shard == "model-1.safetensors")
    for where in ({name: "model-2.safetensors"}, {"nothing": "model-1.safetensors"}):
        (shards / INDEX).write_text(json.dumps({"weight_map": said["weight_map"] | where}))
        assert f"{INDEX} says that {next(iter(where))} is in {next(iter(where.values()))}, but it is not" in refusal(
            shards
        )
    fewer = {other: shard for other, shard in said["weight_map"].items() if other != name}
    (shards / INDEX).write_text(json.dumps({"weight_map": fewer}))
    assert f"{INDEX} does not name {name}, which is in a weight file" in refusal(shards)
    for where in (None, [], {}, {name: 5}, {name: "../copy/model-1.safetensors"}):
        (shards / INDEX).write_text(json.dumps({"weight_map": where}))
        assert f"{INDEX} has no weight_map" in refusal(shards)


def test_two_sets_of_weights_are_refused(shards, untrained):
    shutil.copy(untrained / "model.safetensors", shards)
    assert "two sets of weights, model.safetensors and those of" in refusal(shards)


@torch.no_grad()
def test_tied_weights(copy, model, clips):
    inputs = model.prepare(clip_sample(clips / "clip.mp4"))
    due = model.forward(inputs).logits
    weights = load_file(copy / "model.safetensors")
    assert "lm_head.weight" not in weights
    head = weights[EMBEDDINGS].clone()
    for held in (
        weights | {"lm_head.weight": head},
        {k: v for k, v in weights.items() if k != EMBEDDINGS} | {"lm_head.weight": head},
    ):
        rewrite(copy / "model.safetensors", held)
        assert torch.equal(avsink.load(copy, device="cpu", check=False).forward(inputs).logits, due)
    rewrite(copy / "model.safetensors", weights | {"lm_head.weight": head + 1})
    assert "lm_head.weight is tied to the embeddings, and the weight files hold another one" in refusal(copy)
    rewrite(copy / "model.safetensors", {name: weights[name] for name in weights if name != EMBEDDINGS})
    assert "weights are missing: 2 (lm_head.weight, model.language_model.embed_tokens.weight)" in refusal(copy)


# Files


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "pointer of Git LFS.*git lfs pull"),
        (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page, saved under this name"),
        (b"", "is empty"),
        (b"\0" * 100, "is empty"),
    ],
)
@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "card.json", "tokenizer.json", "processor_config.json"]
)
def test_what_was_saved_under_the_name_of_a_file_is_named(copy, name, content, reason):
    (copy / name).write_bytes(content)
    with pytest.raises(DamagedModel, match=f"{name} {reason}" if reason.startswith("is") else f"{name} is a {reason}"):
        avsink.load(copy, device="cpu", check=False)


@pytest.mark.parametrize("kept", [4, 8, 200, -1])
def test_weights_that_are_cut_off_are_named(copy, kept):
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    assert "model.safetensors is cut off or damaged (" in refusal(copy)


@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "tokenizer_config.json", "processor_config.json"]
)
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"model_type": ', "is not readable JSON"),
        ("[]", "holds [] instead of a JSON object"),
        ('"text"', "holds 'text' instead of a JSON object"),
        ("\ufeff{}", "is not readable JSON"),
        ("[" * 100_000, "is not readable JSON"),
    ],
)
def test_json_that_is_none_is_named(copy, name, content, reason):
    (copy / name).write_text(content)
    assert f"{name} {reason}" in refusal(copy)


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer_config.json", "generation_config.json"]
)
def test_what_is_no_file_is_named(copy, name):
    (copy / name).unlink()
    (copy / name).mkdir()
    assert f"{name} cannot be read (Is a directory)" in refusal(copy)
    (copy / name).rmdir()
    (copy / name).symlink_to(copy / "nowhere")
    assert f"{name} cannot be read (No such file or directory)" in refusal(copy)


@pytest.mark.skipif(os.geteuid() == 0, reason="everything may be read by root")
def test_a_file_that_may_not_be_read_is_named(copy):
    (copy / "model.safetensors").chmod(0)
    assert "model.safetensors cannot be read (Permission denied)" in refusal(copy)


def test_a_folder_without_tokenizer_config_or_index_says_so(copy):
    (copy / "tokenizer_config.json").rename(copy / "kept")
    assert "there is no tokenizer_config.json in" in refusal(copy)
    (copy / "kept").rename(copy / "tokenizer_config.json")
    (copy / "model.safetensors").rename(copy / "weights.safetensors")
    assert f"weights.safetensors is in {copy}, but neither model.safetensors nor {INDEX}" in refusal(copy)


@pytest.mark.parametrize(
    ("name", "said"),
    [("quantization_config", "quantized weights are not read"), ("transformers_weights", "weights are read from")],
)
def test_what_would_be_ignored_is_refused(copy, name, said):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {name: {"quant_method": "awq"}}))
    assert said in refusal(copy)


def test_an_adapter_beside_the_weights_is_refused(copy):
    (copy / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    assert "holds an adapter (adapter_config.json), which is not applied; merge it" in refusal(copy)


# What the JSON files say


def say(copy, file, *path, value) -> None:
    """Set one value in a JSON file."""
    said = part = json.loads((copy / file).read_text())
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    (copy / file).write_text(json.dumps(said))


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("text_config", "rms_norm_eps"), 2.5, "of its text_config, rms_norm_eps is 2.5; allowed: a number above 0"),
        (("text_config", "rope_parameters", "rope_theta"), -1, "rope_theta is -1; allowed: a number above 1"),
        (("text_config", "rope_parameters", "mrope_section"), 5, "mrope_section is 5; allowed: three whole numbers"),
        (
            ("text_config", "rope_parameters", "mrope_section"),
            [8, 4, 3],
            "of mrope_section and of an attention head: 30 and 32",
        ),
        (("seconds_per_chunk",), 0, "seconds_per_chunk is 0; allowed: a number above 0"),
        (("audio_token_index",), 5, r"the id of <\|AUDIO\|> in config.json and in the tokenizer: 5 and"),
        (
            ("position_id_per_seconds",),
            7,
            "position_id_per_seconds in config.json and the audio tokens of a second: 7 and 5.0",
        ),
        (("audio_config", "n_window"), 0, "n_window is 0"),
        (("audio_config", "encoder_layers"), -1, "num_hidden_layers is -1"),
        (("vision_config", "spatial_merge_size"), 1, "merge_size"),
        (("text_config",), "x", "its text_config is no object"),
        (("vision_config",), "x", "transformers cannot make the config .config.json.: Strict"),
        (("text_config", "max_position_embeddings"), 0, "max_position_embeddings is 0"),
    ],
)
def test_a_config_that_cannot_be_is_named(copy, path, value, reason):
    say(copy, "config.json", *path, value=value)
    with pytest.raises(DamagedModel, match=reason):
        avsink.load(copy, device="cpu", check=False)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("feature_extractor", "hop_length"), 160, "contradict each other: .* audio tokens of a second: 5 and 25.0"),
        (
            ("feature_extractor", "n_samples"),
            5,
            "n_samples in processor_config.json, and as it follows from the rest: 5 and",
        ),
        (("feature_extractor", "dither"), 0.5, "dither is 0.5; allowed: 0"),
        (
            ("feature_extractor", "feature_size"),
            80,
            "num_mel_bins in config.json and the feature extractor's: 64 and 80",
        ),
        (("video_processor", "image_mean"), 5, "of its video_processor, image_mean is 5; allowed: three numbers"),
        (("video_processor", "do_normalize"), 0, "do_normalize is 0; allowed: true or false"),
        (
            ("video_processor", "size", "longest_edge"),
            5,
            "size, longest_edge is 5; allowed: a whole number from 784 on",
        ),
        (
            ("image_processor", "patch_size"),
            16,
            "patch_size in config.json and patch_size of the image_processor: 14 and 16",
        ),
        (("feature_extractor",), 5, "transformers cannot make the processor .preprocessor_config.json or"),
    ],
)
def test_a_processor_that_cannot_be_is_named(copy, path, value, reason):
    say(copy, "processor_config.json", *path, value=value)
    with pytest.raises(DamagedModel, match=reason):
        avsink.load(copy, device="cpu", check=False)


@pytest.mark.parametrize(
    ("file", "part", "name"),
    [
        ("config.json", "text_config", "rms_norm_eps"),
        ("config.json", "audio_config", "n_window"),
        ("processor_config.json", "video_processor", "size"),
        ("processor_config.json", "feature_extractor", "n_fft"),
    ],
)
def test_a_misspelt_name_is_not_replaced_by_a_default(copy, file, part, name):
    said = json.loads((copy / file).read_text())
    home = said[part]
    other = name[:-1] + chr(ord(name[-1]) ^ 1)
    home[other] = home.pop(name)
    (copy / file).write_text(json.dumps(said))
    assert f"{file}: it says {other!r}, but not {name!r}" in refusal(copy)


def test_code_in_a_folder_is_not_run_when_it_is_refused(copy):
    config = json.loads((copy / "config.json").read_text()) | {"auto_map": {"AutoModel": "evil.Evil"}}
    config["text_config"]["hidden_size"] = 64
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "evil.py").write_text(f"open({str(copy / 'was_here')!r}, 'w')\nclass Evil: pass\n")
    refusal(copy)
    assert not (copy / "was_here").exists()


# Names and arguments


def test_a_file_in_place_of_a_folder_is_a_sentence(copy):
    with pytest.raises(ValueError, match=r"model.safetensors' is a file; give the folder that it is in"):
        avsink.load(copy / "model.safetensors")


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, 5, None])
def test_a_name_that_no_file_can_have_is_unknown(name):
    with pytest.raises(ValueError, match="unknown model"):
        avsink.load(name)


@pytest.mark.parametrize("device", ["cuda", "meta", 7, [], "npu:x", "cuda:99"])
def test_a_device_that_is_not_there_is_a_sentence(untrained, device):
    if str(device) == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match="cannot be used here .*; try device='cpu'"):
        avsink.load(untrained, device=device)


@pytest.mark.parametrize("dtype", [5, "int8", torch.int8, "half", []])
def test_a_dtype_that_is_none_is_a_sentence(untrained, dtype):
    with pytest.raises(ValueError, match="unknown dtype .*; allowed are float32, bfloat16, float16"):
        avsink.load(untrained, device="cpu", dtype=dtype)


# Prompts


def test_a_prompt_beyond_the_models_positions_is_a_sample_error(model, clips, monkeypatch):
    sample = clip_sample(clips / "clip.mp4")
    inputs = model.prepare(sample)
    needed = max(inputs.tensors["input_ids"].shape[1], int(inputs.tensors["position_ids"].max()) + 1)
    for most, fits in ((needed, True), (needed - 1, False)):
        monkeypatch.setattr(model.decoder.config, "max_position_embeddings", most)
        monkeypatch.delitem(vars(model), "max_positions", raising=False)
        if fits:
            model.prepare(sample)
        else:
            with pytest.raises(avsink.SampleError, match=f"takes {needed} positions, and untrained has {needed - 1} "):
                model.prepare(sample)
    monkeypatch.undo()
    vars(model).pop("max_positions", None)


def test_positions_count_beside_tokens(model, clips, monkeypatch):
    """A long clip without sound has few tokens, and positions that follow the clock."""
    sample = clip_sample(clips / "five_minutes.mp4", sound=False)
    inputs = model.prepare(sample)
    tokens, positions = inputs.tensors["input_ids"].shape[1], int(inputs.tensors["position_ids"].max()) + 1
    assert positions > 1400 > tokens
    monkeypatch.setitem(vars(model), "max_positions", 1400)
    with pytest.raises(avsink.SampleError, match=f"takes {positions:,} positions, and untrained has 1,400"):
        model.prepare(sample)


@pytest.mark.parametrize(
    ("rope", "most"),
    [
        ({"rope_type": "default"}, 4096),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096}, 16384),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}, 4096),
        ({"rope_type": "linear", "factor": 2.0}, 8192),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 2048}, 4096),
    ],
)
def test_scaled_rotary_positions_make_room(model, rope, most):
    from types import SimpleNamespace

    config = SimpleNamespace(max_position_embeddings=4096, rope_parameters=rope)
    scaled = SimpleNamespace(decoder=SimpleNamespace(config=config))
    assert type(model).max_positions.func(scaled) == most
