"""What a number depends on, as hashes: if none of them has changed, an old number is still valid.

1. `weights`: the model's parameters;
2. `processing`: how a sample becomes tensors;
3. `card`: the facts of the model card that the code reads;
4. `sample`: what is asked, and the bytes of its media;
5. `content`: an instrument's settings, files and folders by what they hold and never by where they are;
6. `identity`: all of these but the sample, with the code itself (`avsink.results.sources`) and the libraries' versions.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from avsink.results import provenance, sources
from avsink.sample import Media, Sample

__all__ = ["arguments", "card", "content", "identity", "processing", "sample", "weights"]

PROBES = 64  # values read from each weight tensor
# Facts of a card that say what it is called, where it comes from and what to think of it; dtype is the model's own.
ABOUT = ("name", "source", "known_from", "taught", "dtype")
CARDS = "avsink.models.cards"  # defines a card's facts, and so names them all


def identity(instrument: Callable, model, settings: Mapping[str, object]) -> dict[str, object]:
    """All that decides what `instrument` finds on a sample, as JSON.

    Args:
        instrument: a function of a module, ``(model, sample, **settings)`` -> rows.
        model: an `avsink.models.model.Model`.
        settings: the instrument's keyword arguments; defaults that were not given count, too.

    Raises:
        TypeError: an instrument whose source cannot be found, or a setting that cannot be told from another.
        ValueError: a setting that names a file which is not there, or by text.
    """
    given = arguments(instrument, settings)
    modules = sorted(_modules(instrument, model, given.values()))
    return {
        "instrument": f"{instrument.__module__}.{instrument.__qualname__}",
        "settings": {name: content(value, of=name) for name, value in sorted(given.items())},
        "model": model.name,
        "weights": weights(model.hf),
        "processing": processing(model),
        "card": card(model.card, modules=modules),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
        "attention": model.decoder.config._attn_implementation,
        "versions": provenance.versions(),
        "source": sources.fingerprint(modules),
    }


def arguments(instrument: Callable, settings: Mapping[str, object]) -> dict[str, object]:
    """The settings of a call, defaults included. Raises TypeError for ones that the instrument does not have."""
    home = sys.modules.get(getattr(instrument, "__module__", None))
    name = getattr(instrument, "__qualname__", "")
    if getattr(home, name, None) is not instrument or not hasattr(home, "__file__"):
        raise TypeError(
            f"{instrument!r} is not a function of a module, so its source cannot be found; "
            "put it into a file, under a name of its own"
        )
    bound = inspect.signature(instrument).bind("model", "sample", **settings)
    bound.apply_defaults()
    given = dict(bound.arguments)
    for taken in list(inspect.signature(instrument).parameters)[:2]:
        del given[taken]
    return given


def weights(hf: torch.nn.Module) -> str:
    """Names, shapes, types and `PROBES` evenly spaced values of every weight: fast, and any training shows."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(hf.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        if tensor.numel() and not tensor.is_meta:
            at = torch.linspace(0, tensor.numel() - 1, min(PROBES, tensor.numel()), dtype=torch.float64).long()
            digest.update(tensor.flatten()[at.to(tensor.device)].double().cpu().numpy().tobytes())
    return digest.hexdigest()


def processing(model) -> str:
    """How a sample becomes tensors: the processor's settings and the tokenizer."""
    parts = {name: part.to_dict() for name, part in vars(model.processor).items() if hasattr(part, "to_dict")}
    words = model.tokenizer.backend_tokenizer.to_str()
    return hashlib.blake2b(repr((parts, words)).encode(), digest_size=8).hexdigest()


def card(model_card, *, modules: Sequence[str]) -> dict[str, object]:
    """The facts of a model card that the code of these modules reads: any whose name occurs there as an attribute."""
    read = sources.attributes(modules, without=CARDS)
    return {
        name: content(value, of=f"card.{name}")
        for name, value in asdict(model_card).items()
        if name in read and name not in ABOUT
    }


def sample(asked: Sample) -> str:
    """Its id, what is asked in which words, and the bytes of its media; not where they are."""

    def of(part):
        return (part.kind, part.role, part.sound, _file(part.path)) if isinstance(part, Media) else part

    parts, options = [of(part) for part in asked.parts], tuple(of(option) for option in asked.options)
    named = asked.truth.get("correct_candidate")
    facts = (asked.id, asked.task, asked.category, parts, options, asked.suffix, asked.answer, named)
    return hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest()


def content(value: object, *, of: str) -> object:
    """A setting as JSON, by what it holds.

    Args:
        value: numbers, text, None, paths, sequences, mappings, dataclasses, tensors, arrays or tables.
        of: the setting's name, for errors.
    """
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            if os.sep in value and Path(value).expanduser().exists():
                raise ValueError(
                    f"{of}: {value!r} is a file or folder; give it as a pathlib.Path, so its content counts"
                )
            return value
        case Path():
            return _path(value.expanduser(), of=of)
        case Mapping():
            return {str(key): content(item, of=f"{of}[{key!r}]") for key, item in sorted(value.items(), key=str)}
        case torch.Tensor():
            return _bytes(value.detach().cpu().numpy())
        case np.ndarray():
            return _bytes(value)
        case pd.DataFrame():
            return hashlib.blake2b(value.to_csv(index=False).encode(), digest_size=8).hexdigest()
        case Set():
            return sorted((content(item, of=of) for item in value), key=repr)
        case Sequence():  # a range, too
            return [content(item, of=of) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        facts = {field.name: content(getattr(value, field.name), of=f"{of}.{field.name}") for field in fields(value)}
        return {"type": type(value).__qualname__, **facts}
    raise TypeError(
        f"{of}: a {type(value).__name__} cannot be told from another one of its kind, so results could not be kept; "
        "give numbers, text, paths, lists, mappings, tables or frozen dataclasses of these"
    )


def _modules(instrument: Callable, model, settings) -> Iterator[str]:
    """Where the code is that acts on a number: the instrument's, the model's, and that of settings that can act."""
    yield instrument.__module__
    yield type(model).__module__
    yield "avsink.models"
    family = getattr(model, "adapter", None)
    yield getattr(family, "__name__", type(family).__module__)
    for value in settings:
        if is_dataclass(value):
            yield type(value).__module__


def _path(path: Path, *, of: str) -> object:
    if path.is_file():
        return {"file": _file(path)}
    if path.is_dir():
        return {"folder": {str(p.relative_to(path)): _file(p) for p in sorted(path.rglob("*")) if p.is_file()}}
    raise ValueError(f"{of}: there is no file or folder {path}")


def _bytes(array: np.ndarray) -> str:
    facts = f"{array.shape} {array.dtype}".encode()
    return hashlib.blake2b(facts + np.ascontiguousarray(array).tobytes(), digest_size=8).hexdigest()


def _file(path: Path) -> str:
    if not path.is_file():
        return "missing"
    stat = path.stat()
    return _digest_of(path, stat.st_size, stat.st_mtime_ns)


@cache
def _digest_of(path: Path, size: int, mtime_ns: int) -> str:
    """SHA-256 of a file; size and time of change are there to tell when to look again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
