"""From a card to a complete folder on this machine, or to one sentence that says what is missing and how to get it.

1. an embedded or local model is in the folder its card names; a published one is looked for in the cache of the Hugging
   Face hub, and downloaded if there is a network;
2. the folder must hold a config, a processor, a tokenizer and all of its weights, in safetensors. Pickled weights are
   refused: unpickling runs code.
"""

from __future__ import annotations

import json
from pathlib import Path

from avsink import resources
from avsink.models.cards import ModelCard

__all__ = ["MissingModel", "folder_of", "lacking"]

FILES = ("*.json", "*.txt", "*.safetensors")


class MissingModel(FileNotFoundError):
    """A model that is not on this machine, or not complete."""


def folder_of(card: ModelCard) -> Path:
    """Find or download a folder with everything that loading needs. Raises `MissingModel`."""
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
    if not (folder / "config.json").is_file():
        return f"there is no config.json in {folder}"
    needed = {"preprocessor_config.json": "processor_config.json", "tokenizer.json": "vocab.json"}
    for name, alternative in needed.items():
        if not (folder / name).is_file() and not (folder / alternative).is_file():
            return f"there is no {name} in {folder}"
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        absent = [shard for shard in shards if not (folder / shard).is_file()]
        if not absent:
            return ""
        return f"{len(absent)} of {len(shards)} weight files are absent from {folder} ({absent[0]}, ...)"
    if any(folder.glob("*.safetensors")):
        return ""
    if pickled := [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")]:
        return f"{pickled[0].name} is a pickle, which can run code, and only safetensors are read"
    return f"there are no weights (*.safetensors) in {folder}"


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
