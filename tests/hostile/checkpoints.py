"""Checkpoints that something happened to: a folder is saved, damaged, and loaded as a user would.

A small untrained `tiny-omni` is saved in three layouts: one weight file, shards, and as the published checkpoints are
(shards, `thinker.` before each name, a talker, a nested config). The truth is the logits of the model in memory on one
clip. A damaged folder must give these, bit for bit, or be refused by a sentence that names its file. Damage that no
reader can see (a flipped bit in a weight, another number in a config) is not done.
"""

from __future__ import annotations

import json
import random
import shutil
import string
import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from hostile.trial import Suite, Verdict, refused
from safetensors.torch import load_file, save_file
from samples import clip_sample, write_clip

import avsink
from avsink.testing.untrained_omni import build_model, build_processor, build_tokenizer

LAYOUTS = ("single", "sharded", "published")
INDEX = "model.safetensors.index.json"
CARD = {
    "system": avsink.card("Qwen/Qwen2.5-Omni-7B").system,  # as a folder of this family without a card has it
    "window": 1,
    "dtype": "float32",
    "taught": False,
    "known_from": "made for a trial",
    "audio_rate": 5.0,
    "sink_dims": [3, 7],
    "sink_tau": 4.0,
    "hubs": [["video", "cross-modal", 0, 0]],
    "routes": [["a task", "Question↛Last", 1]],
}
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 1234\n"
HTML = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>404</body></html>\n"
JUNK = (LFS, HTML, b"", b"\0" * 4096, b"Access denied", b"\x89PNG\r\n\x1a\n")


@dataclass(frozen=True)
class Shared:
    """The three folders, the sample that is asked, and its logits."""

    folder: Path
    sample: avsink.Sample
    logits: torch.Tensor


@dataclass(frozen=True)
class Damage:
    """What was done to a folder.

    what: in a few words.
    names: what an error must name.
    fatal: whether only an error is right, since the folder cannot mean what the whole one meant.
    """

    what: str
    names: tuple[str, ...] = ()
    fatal: bool = True


def setup(folder: Path) -> Shared:
    """Save the model in all layouts, each with a card.json."""
    tokenizer = build_tokenizer()
    hf, processor = build_model(tokenizer, layers=2, width=64), build_processor(tokenizer)
    for layout in LAYOUTS:
        home = folder / layout
        processor.save_pretrained(home)
        hf.save_pretrained(home, max_shard_size="10GB" if layout == "single" else "300KB")
        (home / "card.json").write_text(json.dumps(CARD, indent=2))
    _publish(folder / "published")
    sample = clip_sample(write_clip(folder / "clip.mp4", seconds=1.0))
    inputs = avsink.load(folder / "single", device="cpu", check=False).prepare(sample)
    with torch.no_grad():
        return Shared(folder, sample, hf(**inputs.tensors).logits)


def trial(shared: Shared, rng: random.Random, folder: Path) -> Verdict:
    """Damage one folder, load it, and compare."""
    number = int(folder.name)
    kind = DAMAGES[number % len(DAMAGES)]
    home = folder / f"model-{rng.randrange(10**6)}"
    layout = rng.choice(LAYOUTS)
    shutil.copytree(shared.folder / layout, home)
    damage = kind(home, rng)
    what = f"{layout}: {damage.what}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = avsink.load(home, device="cpu", check=rng.random() < 0.1)
    except (ValueError, FileNotFoundError) as error:
        return refused(error, what, names=[home.name, *damage.names])
    if damage.fatal:
        return Verdict(outcome="silently wrong", what=what, said="it was loaded")
    with torch.no_grad():
        logits = model.forward(model.prepare(shared.sample)).logits
    same = torch.equal(logits, shared.logits)
    return Verdict(outcome="right" if same else "silently wrong", what=what)


def prefixed(home: Path, rng: random.Random) -> Damage:
    """Names as DDP, or another wrapper, writes them: in one file, or in all."""
    prefix = rng.choice(["module.", "module.", "_orig_mod.", "base_model.model.", "model.model.", "thinker.thinker."])
    files = _weights(home) if rng.random() < 0.3 else [_pick(home, rng)]
    for file in files:
        _rewrite(file, lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()})
    _reindex(home)
    what, known = f"{prefix} before the names in {len(files)} files", prefix.startswith("thinker.")  # which is stripped
    return Damage(what, ("module.",) if prefix == "module." else (), fatal=not known)


def without_a_tensor(home: Path, rng: random.Random) -> Damage:
    """A tensor, or a layer's, is left out, in the file or in both file and index."""
    file = _pick(home, rng)
    names = [name for name in load_file(file) if not name.startswith("talker.")]
    gone = set(rng.sample(names, rng.randint(1, min(3, len(names)))))
    _rewrite(file, lambda tensors: {name: tensor for name, tensor in tensors.items() if name not in gone})
    if rng.random() < 0.5:
        _reindex(home)
    return Damage(f"without {', '.join(sorted(gone))}")


def renamed_tensor(home: Path, rng: random.Random) -> Damage:
    """One letter of a tensor's name is another one."""
    file = _pick(home, rng)
    name = rng.choice([name for name in load_file(file) if not name.startswith("talker.")])
    at = rng.choice([k for k, letter in enumerate(name) if letter in string.ascii_letters])
    other = name[:at] + rng.choice([letter for letter in string.ascii_lowercase if letter != name[at]]) + name[at + 1 :]
    _rewrite(file, lambda tensors: {other if own == name else own: tensor for own, tensor in tensors.items()})
    _reindex(home)
    return Damage(f"{name} is called {other}")


def reshaped_tensor(home: Path, rng: random.Random) -> Damage:
    """A tensor of another shape."""
    file = _pick(home, rng)
    name = rng.choice([name for name in load_file(file) if not name.startswith("talker.")])

    def change(tensor: torch.Tensor) -> torch.Tensor:
        ways = [lambda: torch.cat([tensor, tensor[:1]]), lambda: tensor[None], lambda: tensor[:-1]]
        ways += [lambda: tensor.flatten()] if tensor.dim() > 1 else []
        return rng.choice(ways)().contiguous()

    _rewrite(file, lambda tensors: tensors | {name: change(tensors[name])})
    return Damage(f"{name} has another shape")


def retyped_tensor(home: Path, rng: random.Random) -> Damage:
    """Whole numbers in place of weights; or a precision that holds the same values, which is right."""
    file = _pick(home, rng)
    name = rng.choice([name for name in load_file(file) if not name.startswith("talker.")])
    dtype = rng.choice([torch.int8, torch.int32, torch.int64, torch.uint8, torch.bool, torch.float64])
    _rewrite(file, lambda tensors: tensors | {name: tensors[name].to(dtype)})
    exact = dtype == torch.float64
    return Damage(f"{name} in {dtype}", () if exact else (file.name,), fatal=not exact)


def not_finite(home: Path, rng: random.Random) -> Damage:
    """One value is NaN or infinite."""
    file = _pick(home, rng)
    name = rng.choice([name for name in load_file(file) if not name.startswith("talker.")])
    value = rng.choice([float("nan"), float("inf"), -float("inf")])

    def change(tensors: dict) -> dict:
        tensors[name].view(-1)[rng.randrange(tensors[name].numel())] = value
        return tensors

    _rewrite(file, change)
    return Damage(f"{value} in {name}", (file.name, name))


def another_content(home: Path, rng: random.Random) -> Damage:
    """A weight file that ends early, has more after its end, or is something else: a pointer, a web page, nothing."""
    file = _pick(home, rng)
    whole = file.read_bytes()
    if rng.random() < 0.4:
        content = rng.choice([*JUNK, bytes(rng.randrange(256) for _ in range(500))])
        file.write_bytes(content)
        return Damage(f"{file.name} is {content[:16]!r}", (file.name,))
    if rng.random() < 0.2:
        file.write_bytes(whole + bytes(rng.randrange(1, 100)))
        return Damage(f"{file.name} is longer", (file.name,))
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    length = rng.choice([rng.randrange(9), rng.randrange(header), rng.randrange(len(whole)), len(whole) - 1])
    file.write_bytes(whole[:length])
    return Damage(f"{file.name} ends after {length} of {len(whole)} bytes", (file.name,))


def flipped_header(home: Path, rng: random.Random) -> Damage:
    """One bit of the header of a weight file is another one."""
    file = _pick(home, rng)
    data = bytearray(file.read_bytes())
    header = 8 + struct.unpack("<Q", data[:8])[0]
    before = bytes(data[:header])
    at, bit = rng.randrange(8 if rng.random() < 0.2 else header), rng.randrange(8)
    data[at] ^= 1 << bit
    file.write_bytes(data)
    what = f"bit {bit} of byte {at} in the header of {file.name}"
    inert = b"talker" in before[max(0, at - 60) : at + 200] or b"__metadata__" in before[max(0, at - 40) : at + 40]
    return Damage(what, fatal=not inert)


def twice(home: Path, rng: random.Random) -> Damage:
    """A tensor in two files, or under two names; or two sets of weights."""
    if (home / "model.safetensors").is_file():
        first = rng.choice([name for name in load_file(home / "model.safetensors") if name.startswith("model.layers")])
        other = first.replace("model.", "model.language_model.", 1)
        _rewrite(home / "model.safetensors", lambda tensors: tensors | {other: tensors[first] + 1})
        return Damage(f"{first}, and {other}")
    file, target = rng.sample(_weights(home), 2)
    name = rng.choice([name for name in load_file(file) if not name.startswith("talker.")])
    if rng.random() < 0.3:
        save_file({name: load_file(file)[name]}, home / "model.safetensors", metadata={"format": "pt"})
        return Damage(f"{name} alone in model.safetensors, beside the shards")
    _rewrite(target, lambda tensors: tensors | {name: load_file(file)[name] + 1})
    return Damage(f"{name} in two shards", (name,))


def bad_index(home: Path, rng: random.Random) -> Damage:
    """The index names another file, or none, or is no index."""
    if not (home / INDEX).is_file():
        (home / "model.safetensors").rename(home / "weights.safetensors")
        return Damage("weights under another name, without an index", ("weights.safetensors",))
    said = json.loads((home / INDEX).read_text())
    names = [name for name in said["weight_map"] if not name.startswith("talker.")]
    name = rng.choice(names)
    shards = sorted(set(said["weight_map"].values()))
    kind = rng.randrange(6)
    if kind == 0:
        said["weight_map"][name] = rng.choice([shard for shard in shards if shard != said["weight_map"][name]])
    elif kind == 1:
        said["weight_map"][name] = rng.choice(["../other.safetensors", "/etc/passwd", "", "x.bin", 5, None])
    elif kind == 2:
        said["weight_map"][name] = "model-00077-of-00077.safetensors"
    elif kind == 3:
        said["weight_map"] = rng.choice([[], {}, None, "all", [name]])
    elif kind == 4:
        gone = rng.choice(shards)
        said["weight_map"] = {name: shard for name, shard in said["weight_map"].items() if shard != gone}
    else:
        said["weight_map"][name + "_of_another"] = said["weight_map"][name]
    (home / INDEX).write_text(json.dumps(said))
    return Damage(f"an index changed in way {kind}")


def deleted(home: Path, rng: random.Random) -> Damage:
    """A file is gone. Some are not needed."""
    file = rng.choice(sorted(home.iterdir()))
    file.unlink()
    spare = ("generation_config.json", "card.json", INDEX)
    return Damage(f"without {file.name}", fatal=file.name not in spare or file.name == INDEX)


def no_file(home: Path, rng: random.Random) -> Damage:
    """A folder, a link to nothing, or a link to itself in place of a file."""
    file = rng.choice(sorted(home.iterdir()))
    file.unlink()
    kind = rng.randrange(3)
    if kind == 0:
        file.mkdir()
    else:
        file.symlink_to(home / ("nowhere" if kind == 1 else file.name))
    return Damage(f"{file.name} is {('a folder', 'a link to nothing', 'a link to itself')[kind]}", (file.name,))


def bad_json(home: Path, rng: random.Random) -> Damage:
    """A JSON file that is cut off, something else, no object, or no UTF-8."""
    file = _json(home, rng)
    whole = file.read_bytes()
    contents = [whole[: rng.randrange(len(whole) - 2)], rng.choice(JUNK), b"\xef\xbb\xbf" + whole, whole + b"}"]
    contents += [rng.choice([b"[]", b"null", b'"text"', b"5", b"true", b"[{}]"]), whole.decode().encode("utf-16")]
    contents += [b"\xfc" + whole, whole.replace(b'"', b"'"), b"[" * 100_000]
    kind = rng.randrange(len(contents))
    file.write_bytes(contents[kind])
    return Damage(f"{file.name} in way {kind}", (file.name,))


def flipped_json(home: Path, rng: random.Random) -> Damage:
    """One bit of a JSON file is another one, such that it is no JSON, or has another name in it."""
    file = rng.choice([home / name for name in ("config.json", "processor_config.json", "card.json")])
    whole = file.read_bytes()
    names = _names(json.loads(whole))
    while True:
        data = bytearray(whole)
        at, bit = rng.randrange(len(data)), rng.randrange(8)
        data[at] ^= 1 << bit
        try:
            if _names(json.loads(data.decode())) != names:
                break
        except ValueError:
            break
    file.write_bytes(data)
    return Damage(f"bit {bit} of byte {at} in {file.name}, after {bytes(whole[max(0, at - 30) : at])!r}", fatal=False)


def wrong_config(home: Path, rng: random.Random) -> Damage:
    """A value of the config has another type, or a size that the weights do not have."""
    said = json.loads((home / "config.json").read_text())
    thinker = said.get("thinker_config", said)
    sizes = [
        *(("text_config", name) for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size")),
        *(("text_config", name) for name in ("num_attention_heads", "num_key_value_heads", "rms_norm_eps")),
        *(("vision_config", name) for name in ("hidden_size", "depth", "patch_size", "out_hidden_size", "num_heads")),
        *(("audio_config", name) for name in ("d_model", "encoder_layers", "num_mel_bins", "output_dim", "n_window")),
    ]
    part, name = rng.choice(sizes)
    value = rng.choice(["seven", None, [], {}, -1, 0, "DIFFERENT", "HUGE"])
    sized = isinstance(thinker[part][name], int) and name not in ("num_heads", "n_window")
    if value in ("DIFFERENT", "HUGE"):
        value = (thinker[part][name] + rng.choice([-1, 1, 2]) if value == "DIFFERENT" else 10**9) if sized else "ten"
    if value is None and part == "vision_config" and rng.random() < 0.5:
        thinker[part] = value = rng.choice([[], 5, "x"])
    else:
        thinker[part][name] = value
    (home / "config.json").write_text(json.dumps(said))
    return Damage(f"{part}.{name} is {value!r}")


def wrong_processor(home: Path, rng: random.Random) -> Damage:
    """A value of the processor has another type, or contradicts the config; or a token has another name."""
    if rng.random() < 0.3:
        path = home / "tokenizer_config.json"
        said = json.loads(path.read_text())
        name = rng.choice(["video_token", "image_token", "audio_token", "vision_bos_token", "audio_eos_token"])
        said[name] = value = rng.choice(["<|other|>", "<|im_end|>", 5, [], None])
        path.write_text(json.dumps(said))
        return Damage(f"{name} is {value!r}")
    path = home / "processor_config.json"
    said = json.loads(path.read_text())
    part = rng.choice(["feature_extractor", "video_processor", "image_processor"])
    names = {
        "feature_extractor": ("sampling_rate", "hop_length", "n_fft", "feature_size", "chunk_length"),
    }.get(part, ("patch_size", "merge_size", "temporal_patch_size", "image_mean", "image_std", "rescale_factor"))
    name = rng.choice(names)
    value = rng.choice(["seven", [], {}, -1, 0, True])
    said[part][name] = value
    path.write_text(json.dumps(said))
    return Damage(f"{part}.{name} is {value!r}")


def wrong_card(home: Path, rng: random.Random) -> Damage:
    """A card.json with a wrong type, a value out of range, or an unknown name."""
    said = dict(CARD)
    name = rng.choice(list(CARD))
    wrong = {
        "system": [5, None, ["a"], "<|im_end|>", "\ud800", True],
        "window": ["seven", 2, 0, -1, 3.0, None, True, 99, [3]],
        "dtype": ["bf16", "float64", 32, None, ["float32"]],
        "taught": ["yes", 1, None, []],
        "known_from": [5, None, {}],
        "audio_rate": ["25", 0, -1, None, float("nan"), True, float("inf")],
        "sink_dims": [[64], [-1], ["3"], 3, "3", [1.5], [True], [], [3, 3], {}, [[3]]],
        "sink_tau": ["4", 0, -1, 8, 1000, float("nan"), True, [4]],
        "hubs": [5, None, "video", [["video"]], [["smell", "unimodal", 0, 0]], [["video", "x", 0, 0]], {}]
        + [[["video", "unimodal", -1, 0]], [["video", "unimodal", 0.5, 0]], [["video", "unimodal", 0, 0]] * 2, [[]]],
        "routes": [5, None, "x", [["a task", "Question↛Last"]], [["a task", 5, 1]], [["a task", "Question↛Last", 0.5]]],
    }
    if rng.random() < 0.25:
        said[name[:-1] if rng.random() < 0.5 else rng.choice(["layers", "name", "fps", ""])] = said.pop(name)
    else:
        said[name] = rng.choice(wrong[name])
    (home / "card.json").write_text(json.dumps(said))
    return Damage(f"a card of {said}"[:200], ("card.json",))


def not_done_here(home: Path, rng: random.Random) -> Damage:
    """What a folder may ask for, and would be ignored: quantization, adapters, code, another format."""
    kind = rng.randrange(6)
    config = json.loads((home / "config.json").read_text())
    if kind == 0:
        config["quantization_config"] = {"quant_method": rng.choice(["bitsandbytes", "gptq", "awq", "fp8"])}
    elif kind == 1:
        (home / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    elif kind == 2:
        config["transformers_weights"] = "other.safetensors"
    elif kind == 3:
        (home / "evil.py").write_text("raise SystemExit('code of the folder was run')\nclass Evil: pass\n")
        config["auto_map"] = {name: "evil.Evil" for name in ("AutoConfig", "AutoModel", "AutoProcessor")}
    elif kind == 4:
        file = _pick(home, rng)
        save_file(load_file(file), file, metadata={"format": rng.choice(["tf", "mlx", "x"])})
    else:
        for file in _weights(home):
            file.rename(file.with_suffix(".bin"))
        (home / INDEX).unlink(missing_ok=True)
    (home / "config.json").write_text(json.dumps(config))
    return Damage(f"kind {kind} of what is not done", fatal=kind != 3)


def tied(home: Path, rng: random.Random) -> Damage:
    """The head is there beside the embeddings it is tied to: the same, another one, or instead of them."""
    prefix = "thinker." if "thinker_config" in json.loads((home / "config.json").read_text()) else ""
    name = f"{prefix}model.embed_tokens.weight"
    file = next(file for file in _weights(home) if name in load_file(file))
    kind = rng.randrange(4)
    head = load_file(file)[name].clone()
    if kind == 1:
        head += 1
    if kind == 3:
        _rewrite(file, lambda tensors: {own: tensor for own, tensor in tensors.items() if own != name})
    else:
        gone = {name} if kind == 2 else set()
        _rewrite(
            file,
            lambda tensors: (
                {own: tensors[own] for own in tensors if own not in gone} | {f"{prefix}lm_head.weight": head}
            ),
        )
    _reindex(home)
    return Damage(f"tied weights in way {kind}", fatal=kind in (1, 3))


def harmless(home: Path, rng: random.Random) -> Damage:
    """What changes nothing: other files, an older shard, a copy of the JSON with other spaces, no card."""
    kind = rng.randrange(6)
    if kind == 0:
        for k in range(3):
            (home / f"events.{k}.log").write_bytes(bytes(rng.randrange(256) for _ in range(99)))
    elif kind == 1 and (home / INDEX).is_file():
        shutil.copy(_pick(home, rng), home / "model-00099-of-00099.safetensors")
    elif kind == 2:
        for file in home.glob("*.json"):
            file.write_text(json.dumps(json.loads(file.read_text()), separators=(",", ":")))
    elif kind == 3:
        (home / "card.json").write_text("{}")
    elif kind == 4:
        _reindex(home)
    else:
        (home / "evaluation.json").write_text("not JSON, and not read")
    return Damage(f"harmless change {kind}", fatal=False)


DAMAGES: tuple[Callable[[Path, random.Random], Damage], ...] = (
    prefixed,
    without_a_tensor,
    renamed_tensor,
    reshaped_tensor,
    retyped_tensor,
    not_finite,
    another_content,
    flipped_header,
    twice,
    bad_index,
    deleted,
    no_file,
    bad_json,
    flipped_json,
    wrong_config,
    wrong_processor,
    wrong_card,
    not_done_here,
    tied,
    harmless,
)


def _weights(home: Path) -> list[Path]:
    return sorted(home.glob("*.safetensors"))


def _pick(home: Path, rng: random.Random) -> Path:
    return rng.choice(_weights(home))


def _json(home: Path, rng: random.Random) -> Path:
    return rng.choice(sorted(home.glob("*.json")))


def _rewrite(file: Path, change: Callable[[dict], dict]) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    save_file({name: tensor.contiguous() for name, tensor in change(tensors).items()}, file, metadata={"format": "pt"})


def _reindex(home: Path) -> None:
    """Write the index that fits the files."""
    if (home / INDEX).is_file():
        where = {name: file.name for file in _weights(home) for name in load_file(file)}
        (home / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": where}))


def _publish(home: Path) -> None:
    """Bring a folder into the layout of the published checkpoints."""
    for file in _weights(home):
        _rewrite(file, lambda tensors: {f"thinker.{name}": tensor for name, tensor in tensors.items()})
    _rewrite(_weights(home)[0], lambda tensors: tensors | {"talker.codec_head.weight": torch.zeros(2, 2)})
    _reindex(home)
    thinker = json.loads((home / "config.json").read_text())
    full = {"model_type": "qwen2_5_omni", "architectures": ["Qwen2_5OmniModel"], "thinker_config": thinker}
    (home / "config.json").write_text(json.dumps(full, indent=2))


def _names(said: object) -> list[str]:
    """All names in a JSON value, in their order."""

    def walk(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield name
                yield from walk(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from walk(inner)

    return list(walk(said))


SUITE = Suite(name="checkpoints", trials=400, setup=setup, trial=trial)
