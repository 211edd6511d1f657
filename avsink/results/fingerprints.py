"""What a number depends on, as hashes: if none of them has changed, an old number is still valid.

1. `weights`: the model's parameters;
2. `processing`: how a sample becomes tensors, and the model's config;
3. `card`: the facts of the model card that the code reads;
4. `sample`: what is asked, what is known of it, and the bytes of its media;
5. `content`: an instrument's settings, files and folders by what they hold and never by where they are;
6. `identity`: all of these but the sample, with the code itself (`avsink.results.sources`) and the libraries' versions.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import torch

from avsink import resources
from avsink.engine.foreign import foreign_code
from avsink.results import provenance, sources
from avsink.sample import Media, Sample, SampleError

__all__ = ["arguments", "card", "content", "identity", "processing", "sample", "weights"]

CHUNK = 2**22  # elements of a weight that are summed at once
ODD = 0x9E3779B97F4A7C15 - 2**64  # spreads small factors over 64 bits
NOTES = ("architectures", "dtype", "torch_dtype", "transformers_version")  # of a config
RESERVED = ("instrument", "root", "samples")  # arguments of `measure` itself
_KNOWN: WeakKeyDictionary[torch.nn.Module, tuple] = WeakKeyDictionary()  # model -> its tensors' versions, their hash
# Facts of a card that say what it is called, where it comes from and what to think of it; dtype is the model's own.
ABOUT = ("name", "source", "known_from", "taught", "routes", "dtype")
CARDS = "avsink.models.cards"  # defines a card's facts, and so names them all


def identity(instrument: Callable, model, settings: Mapping[str, object]) -> dict[str, object]:
    """All that decides what `instrument` finds on a sample, as JSON.

    Args:
        instrument: A function of a module, ``(model, sample, **settings)`` -> rows.
        model: An `avsink.models.model.Model`.
        settings: The instrument's keyword arguments; defaults that were not given count, too.

    Raises:
        TypeError: An instrument whose source cannot be found, or a setting that cannot be told from another.
        ValueError: A setting names a file that is not there, or names one as text; or the model has a hook that is not
            ours.
    """
    given = arguments(instrument, settings)
    for part, has in foreign_code(model.hf):
        raise ValueError(f"{part} {has}, and what that does cannot be told from its absence; remove it first")
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
    if clash := [name for name in RESERVED if name in given]:
        raise TypeError(f"{name} has a setting called {clash[0]!r}, which `measure` takes for itself; rename it")
    return given


def weights(hf: torch.nn.Module) -> str:
    """Names, shapes, types and every bit of all weights and buffers."""
    tensors = [*hf.named_parameters(remove_duplicate=False), *hf.named_buffers(remove_duplicate=False)]
    state = tuple((name, tensor.data_ptr(), tensor._version) for name, tensor in tensors)
    if (known := _KNOWN.get(hf)) is None or known[0] != state:
        digest = hashlib.blake2b(digest_size=8)
        for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            for part in tensor.detach().contiguous().flatten().split(CHUNK) if not tensor.is_meta else ():
                digest.update(str(_checksum(part)).encode())
        _KNOWN[hf] = known = state, digest.hexdigest()
    return known[1]


def processing(model) -> str:
    """How a sample becomes tensors, and tensors an answer: settings of processor and model, and the tokenizer."""
    parts = {name: part.to_dict() for name, part in vars(model.processor).items() if hasattr(part, "to_dict")}
    words = model.tokenizer.backend_tokenizer.to_str()
    config = json.dumps(_without_notes(model.hf.config.to_dict()), sort_keys=True, default=str)
    return hashlib.blake2b(repr((parts, words, config)).encode(), digest_size=8).hexdigest()


def card(model_card, *, modules: Sequence[str]) -> dict[str, object]:
    """The facts of a model card that the code of these modules reads: any whose name occurs there as an attribute."""
    read = sources.attributes(modules, without=CARDS)
    return {
        name: content(value, of=f"card.{name}")
        for name, value in asdict(model_card).items()
        if name in read and name not in ABOUT
    }


def sample(asked: Sample) -> str:
    """Its id, what is asked in which words, what is known of it, and the bytes of its media; not where they are.

    Raises:
        SampleError: What is known of it cannot be told from other knowledge.
    """

    def of(part):
        return (part.kind, part.role, part.sound, _medium(part.path)) if isinstance(part, Media) else part

    parts, options = [of(part) for part in asked.parts], tuple(of(option) for option in asked.options)
    try:
        truth = json.dumps(dict(asked.truth), sort_keys=True, default=lambda value: content(value, of="truth"))
    except (TypeError, ValueError) as error:
        raise SampleError(asked.id, f"its ground truth cannot be told from another ({error})") from None
    words = (asked.suffix, asked.prompt.option_line, asked.prompt.system)  # not the name of a template with the same
    facts = (asked.id, asked.task, asked.category, parts, options, words, asked.answer, truth)
    return hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest()


def content(value: object, *, of: str) -> object:
    """A setting as JSON, by what it holds.

    Args:
        value: Numbers, text, None, paths, sequences, mappings, dataclasses, tensors, arrays or tables.
        of: The setting's name, for errors.
    """
    match value:
        case np.generic():
            return content(value.item(), of=of)
        case None | bool() | int() | float():
            return value
        case str():
            if (os.sep in value or Path(value).suffix) and os.path.exists(os.path.expanduser(value)):
                raise ValueError(
                    f"{of}: {value!r} is a file or folder; give it as a pathlib.Path, so its content counts"
                )
            return value
        case Path():
            return _path(value, of=of)
        case Mapping():
            named = {key if isinstance(key, str) else f"{type(key).__name__} {key!r}": key for key in value}
            return {name: content(value[key], of=f"{of}[{key!r}]") for name, key in sorted(named.items())}
        case torch.Tensor():
            bits = value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
            return f"{tuple(value.shape)} {value.dtype} {_bytes(bits)}"
        case np.ndarray() if value.dtype != object:
            return f"{value.shape} {value.dtype} {_bytes(value)}"
        case pd.DataFrame() | pd.Series():
            table = value.to_frame() if isinstance(value, pd.Series) else value
            kinds = [(str(column), str(kind)) for column, kind in table.dtypes.items()]
            return f"{kinds} {_bytes(pd.util.hash_pandas_object(table, index=True).to_numpy())}"
        case Set():
            return sorted((content(item, of=of) for item in value), key=repr)
        case Sequence():  # a range, too
            return [content(item, of=of) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        facts = {field.name: content(getattr(value, field.name), of=f"{of}.{field.name}") for field in fields(value)}
        return {"type": f"{type(value).__module__}.{type(value).__qualname__}", **facts}
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
        yield from _modules_of(value)


def _modules_of(value: object) -> Iterator[str]:
    """The modules of all dataclasses in a setting, at any depth."""
    if is_dataclass(value) and not isinstance(value, type):
        yield type(value).__module__
        value = [getattr(value, field.name) for field in fields(value)]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, Sequence | Set) and not isinstance(value, str | bytes | range):
        for item in value:
            yield from _modules_of(item)


def _path(given: Path, *, of: str) -> object:
    path = resources.expanded(given)
    try:
        if path.is_file():
            return {"file": _file(path)}
        if path.is_dir():
            return {"folder": {str(file.relative_to(path)): _file(file) for file in sorted(_files_below(path))}}
    except OSError as error:
        raise ValueError(f"{of}: {error.filename or path} cannot be read ({error.strerror or error})") from None
    raise ValueError(f"{of}: there is no file or folder {path}")


def _files_below(folder: Path) -> Iterator[Path]:
    """All files, those in linked folders too, each folder once."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(place) / name for name in names)


def _without_notes(config: Mapping[str, object]) -> dict[str, object]:
    """A config without what says where it is from, by which version it was written, and how it is attended."""
    named = {str(name): value for name, value in config.items()}
    kept = {name: value for name, value in named.items() if not name.startswith("_") and name not in NOTES}
    return {name: _without_notes(value) if isinstance(value, Mapping) else value for name, value in kept.items()}


def _checksum(part: torch.Tensor) -> int:
    """A sum of all elements as whole numbers, each times an odd number of its own, modulo 2^64, on the part's device.

    An odd factor can be undone, so the change of a single bit always shows.
    """
    bits = part.view({1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[part.element_size()]).long()
    odd = torch.arange(1, 2 * len(bits), 2, device=part.device) * ODD
    return int((bits * odd).sum())


def _bytes(array: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=8).hexdigest()


def _medium(path: Path) -> str:
    try:
        return _file(path)
    except OSError:  # which the decoder will say, too
        return "unreadable"


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
