"""Loading: names and folders, what is refused, and the one message that says what to do."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from samples import clip_sample

import avsink
from avsink.models import CARDS, MissingModel, check_attention
from avsink.models.cards import Hub, write_facts
from avsink.models.checkpoint import folder_of


@pytest.fixture
def copy(untrained, tmp_path):
    """A copy of the untrained model that a test may damage."""
    return shutil.copytree(untrained, tmp_path / "copy")


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """No network, and an empty cache."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def test_a_folder_becomes_a_model(model):
    assert (model.n_layers, model.dtype, model.device.type) == (3, torch.float32, "cpu")
    assert model.card.family == "qwen25_omni" and model.card.sink_dims is None and not model.card.taught
    assert model.decoder is model.hf.get_decoder() and not model.hf.training


def test_a_folder_may_say_what_its_maker_knows(copy):
    write_facts(CARDS["tiny-omni"], copy)
    told = avsink.card(copy)
    assert (told.system, told.window, told.taught) == ("You are a helpful assistant.", 3, True)
    assert told.name == copy.name and told.source == copy
    (copy / "card.json").write_text(
        json.dumps({"sink_dims": [3, 7], "sink_tau": 5.0, "hubs": [["video", "unimodal", 0, 0]]})
    )
    own = avsink.card(copy)
    assert (own.sink_dims, own.sink_tau, own.hubs) == ((3, 7), 5.0, (Hub("video", "unimodal", 0, 0),))
    (copy / "card.json").write_text(json.dumps({"sytem": "typo"}))
    with pytest.raises(
        ValueError, match=r"card.json says sytem \(did you mean system\?\); a card.json may say system, window"
    ):
        avsink.card(copy)


def test_a_published_models_folder_may_say_what_was_found_in_it(copy):
    """Of Qwen2.5-Omni-3B no threshold is published."""
    known = copy.parent / "Qwen2.5-Omni-3B"
    copy.rename(known)
    config = json.loads((known / "config.json").read_text())
    config["text_config"] |= {"hidden_size": 2048, "num_hidden_layers": 36}
    (known / "config.json").write_text(json.dumps(config))
    assert avsink.card(known).sink_tau is None and avsink.card(known).sink_dims == (318, 1874, 1819)
    (known / "card.json").write_text(json.dumps({"sink_tau": 20}))
    assert avsink.card(known).sink_tau == 20 and avsink.card(known).sink_dims == (318, 1874, 1819)


def test_attention_is_ours_in_the_text_decoder_alone(model):
    config = model.hf.config
    assert config.text_config._attn_implementation == "avsink"
    assert config.audio_config._attn_implementation == config.vision_config._attn_implementation == "sdpa"


@torch.no_grad()
def test_attention_of_transformers_gives_the_same_logits(model, untrained, clips):
    plain = avsink.load(untrained, device="cpu", attention="sdpa")
    assert plain.hf.config.text_config._attn_implementation == "sdpa"
    inputs = model.prepare(clip_sample(clips / "clip.mp4"))
    assert torch.equal(model.forward(inputs).logits, plain.forward(inputs).logits)


@torch.no_grad()
def test_precision_reaches_weights_and_features(untrained, clips):
    half = avsink.load(untrained, dtype="bfloat16")
    inputs = half.prepare(clip_sample(clips / "clip.mp4"))
    assert inputs.tensors["input_features"].dtype == torch.bfloat16
    assert inputs.tensors["video_second_per_grid"].dtype == torch.float32
    assert torch.isfinite(half.forward(inputs).logits).all()


@pytest.mark.parametrize(
    ("accelerator", "chosen", "expected"),
    [
        (True, {}, ("auto", torch.bfloat16)),
        (False, {}, (None, torch.float32)),
        (True, {"device": "cpu"}, ({"": torch.device("cpu")}, torch.float32)),
        (True, {"device": "auto", "dtype": "float16"}, ("auto", torch.float16)),
    ],
)
def test_accelerators_are_taken_with_the_precision_of_the_card(untrained, monkeypatch, accelerator, chosen, expected):
    from avsink.models.families.qwen25_omni import Qwen25Omni

    def asked(folder, *, dtype, device_map):
        raise InterruptedError((device_map, dtype))

    monkeypatch.setattr(torch.accelerator, "is_available", lambda: accelerator)
    monkeypatch.setattr(Qwen25Omni, "load", staticmethod(asked))
    with pytest.raises(InterruptedError) as caught:
        avsink.load(untrained, **chosen)
    assert caught.value.args[0] == expected


@torch.no_grad()
def test_a_published_folder_loads_its_thinker_and_leaves_the_rest(model, untrained, clips, tmp_path):
    """Published checkpoints hold thinker, talker and vocoder, in shards, under the names of older versions."""
    folder = shutil.copytree(untrained, tmp_path / "my-7b")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    shards = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for shard, held in shards.items():
        extra = {"talker.codec_head.weight": torch.zeros(2, 2)} if shard == "model-1.safetensors" else {}
        held_weights = {f"thinker.{name}": weights[name] for name in held}
        save_file(held_weights | extra, folder / shard, metadata={"format": "pt"})
    index = {f"thinker.{name}": shard for shard, held in shards.items() for name in held}
    index["talker.codec_head.weight"] = "model-1.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    thinker = json.loads((folder / "config.json").read_text())
    rope = thinker["text_config"].pop("rope_parameters")
    thinker["text_config"] |= {
        "rope_theta": rope["rope_theta"],
        "rope_scaling": {"mrope_section": rope["mrope_section"], "rope_type": "default", "type": "default"},
    }
    full = {"model_type": "qwen2_5_omni", "architectures": ["Qwen2_5OmniModel"], "thinker_config": thinker}
    (folder / "config.json").write_text(json.dumps(full))

    published = avsink.load(folder, device="cpu")
    assert type(published.hf).__name__ == "Qwen2_5OmniThinkerForConditionalGeneration"
    assert published.hf.config.text_config.rope_parameters["rope_theta"] == rope["rope_theta"]
    inputs = published.prepare(clip_sample(clips / "clip.mp4"))
    assert torch.equal(published.forward(inputs).logits, model.forward(inputs).logits)


def test_unknown_names_list_what_is_allowed():
    with pytest.raises(ValueError, match="unknown model 'tiny-onmi'") as caught:
        avsink.load("tiny-onmi")
    assert all(name in str(caught.value) for name in CARDS)
    with pytest.raises(ValueError, match="known names are tiny-omni"):
        avsink.card("gpt")


def test_cards_say_what_is_calibrated_and_what_was_taught():
    assert avsink.card("tiny-omni").taught and not avsink.card("Qwen/Qwen2.5-Omni-3B").taught
    assert avsink.card("Qwen/Qwen2.5-Omni-7B").sink_tau == 25.0
    assert avsink.card("Qwen/Qwen2.5-Omni-3B").sink_tau is None
    for card in CARDS.values():
        assert card.known_from
        with pytest.raises(AttributeError):
            card.window = 1


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-Omni-3B", "Qwen/Qwen2.5-Omni-7B"])
def test_published_weights_without_a_network_are_one_message(offline, name):
    with pytest.raises(MissingModel) as caught:
        avsink.load(name)
    said = str(caught.value)
    assert f"hf download {name}" in said and f'avsink.load("/path/to/{name.split("/")[1]}")' in said
    assert caught.value.__cause__ is None and "\n" not in said


def test_missing_teaching_model_says_how_to_make_it(tmp_path, monkeypatch):
    from dataclasses import replace

    monkeypatch.setitem(CARDS, "tiny-omni", replace(CARDS["tiny-omni"], source=tmp_path / "tiny-omni"))
    with pytest.raises(MissingModel, match="python -m training.train"):
        avsink.load("tiny-omni")


def test_pickled_weights_are_refused(copy):
    torch.save({}, copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(MissingModel, match="pytorch_model.bin is a pickle.*only safetensors.*save_pretrained"):
        avsink.load(copy)


@pytest.mark.parametrize(
    ("name", "lack"),
    [
        ("model.safetensors", "no weights"),
        ("tokenizer.json", "no tokenizer.json"),
        ("processor_config.json", "no preprocessor_config.json"),
    ],
)
def test_incomplete_folders_say_what_is_missing(copy, name, lack):
    (copy / name).unlink()
    with pytest.raises(MissingModel, match=lack):
        avsink.load(copy)


def test_half_a_download_says_which_shards_are_missing(copy):
    (copy / "model.safetensors").rename(copy / "model-1.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(MissingModel, match=r"1 of 2 weight files are absent .*model-2.safetensors"):
        avsink.load(copy)


def test_folders_of_other_models_are_refused(copy, tmp_path):
    (copy / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(ValueError, match="holds a 'llama'; the model types that can be loaded are qwen2_5_omni"):
        avsink.load(copy)
    with pytest.raises(ValueError, match="not a model's folder"):
        avsink.load(tmp_path)


def test_code_in_a_folder_is_never_run(copy):
    for name in ("config.json", "processor_config.json", "tokenizer_config.json"):
        said = json.loads((copy / name).read_text())
        classes = ("AutoConfig", "AutoModel", "AutoProcessor", "AutoTokenizer", "AutoVideoProcessor")
        said["auto_map"] = {kind: "evil.Evil" for kind in classes}
        (copy / name).write_text(json.dumps(said))
    (copy / "evil.py").write_text(f"open({str(copy / 'was_here')!r}, 'w')\nclass Evil: pass\n")
    avsink.load(copy, device="cpu")
    assert not (copy / "was_here").exists()


def test_mistyped_device_and_dtype(untrained):
    with pytest.raises(ValueError, match="unknown dtype 'bf16'; allowed are float32, bfloat16, float16"):
        avsink.load(untrained, dtype="bf16")
    with pytest.raises(ValueError, match="try device='cpu'"):
        avsink.load(untrained, device="gpu")


def test_importing_and_refusing_need_no_large_library():
    code = (
        "import sys, avsink\n"
        "try: avsink.load('nobody')\n"
        "except ValueError: pass\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="it offers"):
        _ = avsink.laod


def test_arguments_that_cannot_be_used_are_refused_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr("avsink.models.folder_of", lambda card: pytest.fail("looked for weights"))
    for nothing in ("", " "):
        with pytest.raises(ValueError, match="the model's name is empty; the known names are tiny-omni"):
            avsink.load(nothing)
    for name in ("max_frames", "max_tokens_per_frame"):
        for value in (0, -1, 2.5, True):
            with pytest.raises(ValueError, match=f"{name} is {value}; allowed: a whole number from 1 on"):
                avsink.load("tiny-omni", **{name: value})


def test_a_mistyped_attention_is_refused_with_what_is_allowed():
    with pytest.raises(ValueError, match="unknown attention 'nope'; allowed: avsink, eager, .*sdpa"):
        check_attention("nope")
    for name in ("avsink", "eager", "sdpa"):
        check_attention(name)


def test_the_remedy_fits_the_installation(tmp_path, monkeypatch):
    from dataclasses import replace

    from avsink import resources

    card = replace(CARDS["tiny-omni"], source=tmp_path / "tiny-omni")
    monkeypatch.setattr(resources, "PACKAGE", tmp_path / "avsink")
    monkeypatch.setattr(resources, "INSTALLED", tmp_path / "avsink" / "_data")
    for home, remedy in (("", "set AVSINK_HOME"), (str(tmp_path), "AVSINK_HOME is .* which has no data/")):
        monkeypatch.setenv("AVSINK_HOME", home)
        with pytest.raises(MissingModel, match=remedy) as caught:
            folder_of(card)
        assert "git checkout" not in str(caught.value)
    (tmp_path / "data").mkdir()  # an unpacked copy of the repository, without git
    with pytest.raises(MissingModel) as caught:
        folder_of(card)
    assert "git checkout" not in str(caught.value) and "copy data/models" in str(caught.value)
