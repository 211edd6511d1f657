"""From a card to a complete folder on this machine, or to one sentence that says what is missing and how to get it.

1. an embedded or local model is in the folder its card names; a published one is looked for in the cache of the Hugging
   Face hub, and downloaded if there is a network;
2. the folder must hold a config, a processor, a tokenizer and all of its weights, in safetensors. Pickled weights are
   refused: unpickling runs code;
3. each of its JSON files must be one, and the config must not ask for what is not done here.

What the weights themselves hold is checked when they are read (`avsink.models.weights`).
"""

from __future__ import annotations

import os
from pathlib import Path

from avsink import resources
from avsink.models import json_files
from avsink.models.cards import ModelCard
from avsink.models.json_files import COPY_AGAIN, DamagedModel

__all__ = ["INDEX", "MissingModel", "folder_of", "lacking", "shard_of", "weight_files"]

FILES = ("*.json", "*.txt", "*.safetensors")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
NEEDED = (  # one file of each row
    ("config.json",),
    ("preprocessor_config.json", "processor_config.json"),
    ("tokenizer.json", "vocab.json"),
    ("tokenizer_config.json",),
)
READ = (*(name for row in NEEDED for name in row), "video_preprocessor_config.json", "generation_config.json")
READ += ("added_tokens.json", "special_tokens_map.json", "chat_template.json")
"""The JSON files that transformers reads, where they are there."""
NOT_DONE = {
    "quantization_config": "quantized weights are not read: save it unquantized, in float32, bfloat16 or float16",
    "transformers_weights": f"weights are read from {WEIGHTS} or {INDEX}: save model and processor again",
}
"""What a config may not ask for, and what to do."""


class MissingModel(FileNotFoundError):
    """A model that is not on this machine, or not complete."""


def folder_of(card: ModelCard) -> Path:
    """Find or download a folder with everything that loading needs.

    Raises:
        MissingModel: If there is none.
        DamagedModel: If one of its JSON files cannot be used.
    """
    folder = _found(card)
    for name in READ:
        if os.path.lexists(folder / name):
            json_files.read(folder / name)
    config = json_files.read(folder / "config.json")
    for name, remedy in NOT_DONE.items():
        if config.get(name) is not None:
            raise DamagedModel(f"{folder / 'config.json'} says {name}, but {remedy}")
    if os.path.lexists(folder / "adapter_config.json"):
        raise DamagedModel(
            f"{folder} holds an adapter (adapter_config.json), which is not applied; merge it into the model "
            "(merge_and_unload), and save that with save_pretrained into a folder of its own"
        )
    return folder


def _found(card: ModelCard) -> Path:
    if isinstance(card.source, Path):
        if lack := lacking(card.source):
            raise MissingModel(f"cannot load {card.name}: {lack}; {_remedy(card)}")
        return card.source

    from huggingface_hub import snapshot_download

    try:
        cached = Path(snapshot_download(card.source, allow_patterns=list(FILES), local_files_only=True))
        if not lacking(cached):
            return cached
    except OSError:  # not in the cache at all
        pass
    try:
        fetched = Path(snapshot_download(card.source, allow_patterns=list(FILES)))
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        raise MissingModel(
            f"cannot load {card.name}: its weights are not on this machine, and they could not be downloaded "
            f"({reason}); {_remedy(card)}"
        ) from None
    if lack := lacking(fetched):
        raise MissingModel(f"cannot load {card.name}: {lack}; {_remedy(card)}")
    return fetched


def lacking(folder: Path) -> str:
    """What a folder lacks for loading, in words; '' if nothing."""
    for names in NEEDED:
        if not any(os.path.lexists(folder / name) for name in names):
            return f"there is no {names[0]} in {folder}"
    if not os.path.lexists(folder / "tokenizer.json") and not (folder / "merges.txt").is_file():
        return f"there is no merges.txt in {folder}, which vocab.json needs"
    files = weight_files(folder)
    if absent := [file.name for file in files if not os.path.lexists(file)]:
        return f"{len(absent)} of {len(files)} weight files are absent from {folder} ({absent[0]}, ...)"
    if files:
        return ""
    if pickled := [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")]:
        return f"{pickled[0].name} is a pickle, which can run code, and only safetensors are read"
    if others := sorted(folder.glob("*.safetensors")):
        return f"{others[0].name} is in {folder}, but neither {WEIGHTS} nor {INDEX}, which would name it"
    return f"there are no weights (*.safetensors) in {folder}"


def weight_files(folder: Path) -> list[Path]:
    """The files that a folder's weights are in, there or not. Raises `DamagedModel` if that cannot be told."""
    whole, shards = folder / WEIGHTS, set(shard_of(folder).values())
    if not os.path.lexists(whole):
        return [folder / shard for shard in sorted(shards)]
    if other := sorted(shards - {WEIGHTS}):
        raise DamagedModel(
            f"{folder} holds two sets of weights, {WEIGHTS} and those of {INDEX} ({other[0]}, ...); remove the one "
            "that is not meant"
        )
    return [whole]


def shard_of(folder: Path) -> dict[str, str]:
    """The name of each tensor -> the file that a folder's index says it is in; empty without an index."""
    path = folder / INDEX
    if not os.path.lexists(path):
        return {}
    shards = json_files.read(path).get("weight_map")
    plain = isinstance(shards, dict) and all(
        isinstance(shard, str) and shard.endswith(".safetensors") and Path(shard).name == shard
        for shard in shards.values()
    )
    if not plain or not shards:
        raise DamagedModel(f"{path} has no weight_map of names to safetensors files beside it; {COPY_AGAIN}")
    return shards


def _remedy(card: ModelCard) -> str:
    if isinstance(card.source, str):
        name = card.source.split("/")[-1]
        return (
            f"where there is a network, run `hf download {card.source}`; elsewhere, copy that folder over and use "
            f'avsink.load("/path/to/{name}")'
        )
    if card.taught:
        try:
            checkout = resources.checkout()
        except resources.MissingResource as error:
            return str(error)
        if checkout is None:
            return resources.REMEDY
        git = (checkout / ".git").exists()  # a file in linked worktrees
        restore = "restore it with `git checkout -- data/models`" if git else "copy data/models from a checkout"
        return f"it is part of the repository: {restore}, or train it again with `python -m training.train`"
    return (
        "save model and processor into the same folder with save_pretrained(folder); a pickle must first be loaded "
        "where it is trusted, and saved again"
    )
