"""Weights, all of them and nothing else: a model of transformers from a folder, or one sentence that says why not.

A weight that a checkpoint lacks would be drawn at random, and one under an unknown name left out. So, before any weight
is read,

1. the header of each file tells which tensors are in it (`tensors_in`): an index must agree, and no tensor may be there
   twice, or hold anything but floating-point numbers;
2. a model without storage is built as the config says, and transformers' own renaming (the names of older versions)
   brings the tensors to its names. What is missing, left over or of another shape is an error, but for tied weights and
   the parts that the family leaves out. Where transformers does more than rename, step 3 alone tells;

and afterwards

3. transformers must have found the same, and each weight must be finite.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from avsink.models.checkpoint import INDEX, shard_of, weight_files
from avsink.models.json_files import COPY_AGAIN, DamagedModel, start_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

__all__ = ["SAFE", "Stored", "config_of", "from_folder", "made_by_transformers", "tensors_in"]

T = TypeVar("T")
FLOATS = ("F64", "F32", "F16", "BF16")
DDP = "module."  # what torch's DistributedDataParallel puts before each name
SAVE_AGAIN = "save model and processor again with save_pretrained"
SAFE = {"trust_remote_code": False, "local_files_only": True}
CONFIG, MODEL = "config (config.json)", "model (config.json and the weight files)"
MOST = 3  # names in a message


@dataclass(frozen=True)
class Stored:
    """A tensor in a file: its type, as safetensors calls it, and its shape."""

    file: Path
    dtype: str
    shape: tuple[int, ...]


def config_of(model_class: type[PreTrainedModel], folder: Path) -> PreTrainedConfig:
    """The config of a folder's model, as its class reads it. Raises `DamagedModel`."""
    return made_by_transformers(lambda: model_class.config_class.from_pretrained(folder, **SAFE), folder, CONFIG)


def from_folder(
    model_class: type[PreTrainedModel],
    folder: Path,
    *,
    config: PreTrainedConfig,
    left_out: Collection[str],
    dtype: torch.dtype,
    device_map: str | dict | None,
) -> PreTrainedModel:
    """Load a model from a complete folder: safetensors only, and no code of the folder is run.

    Args:
        model_class: Its class in transformers.
        folder: Where it is.
        config: Its config, from `config_of`.
        left_out: What the names of weights begin with that this class has no part for.
        dtype: The precision to load it in.
        device_map: As transformers takes it.

    Raises:
        DamagedModel: If the weights are not exactly those of the model.
    """
    stored = {name: tensor for name, tensor in tensors_in(folder).items() if not _begins(name, left_out)}
    tied = _compare(model_class, config, folder, stored)
    if (index := shard_of(folder)) and (extra := [name for name in stored if name not in index]):
        raise DamagedModel(f"{folder}: {INDEX} does not name {extra[0]}, which is in a weight file; {COPY_AGAIN}")
    hf, info = made_by_transformers(
        lambda: model_class.from_pretrained(
            folder, dtype=dtype, device_map=device_map, use_safetensors=True, output_loading_info=True, **SAFE
        ),
        folder,
        MODEL,
    )
    _refuse(
        folder,
        missing=info["missing_keys"],
        unexpected=[name for name in info["unexpected_keys"] if not _begins(name, left_out)],
        shapes={name: (tuple(own), tuple(due)) for name, own, due in info["mismatched_keys"]},
    )
    if apart := tied - set(hf.all_tied_weights_keys):
        raise DamagedModel(
            f"{folder}: config.json says that {apart.pop()} is tied to the embeddings, and the weight files hold "
            f"another one; set tie_word_embeddings to what is meant, or {COPY_AGAIN}"
        )
    _check_finite(hf, folder, stored)
    return hf


def made_by_transformers(make: Callable[[], T], folder: Path, what: str) -> T:
    """Call `make`. What transformers cannot make of the folder's files is a `DamagedModel`, but for lack of memory."""
    try:
        return make()
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of any kind: transformers checks little of what it reads
        reason = " ".join(str(error).split())[:300] or "no reason given"
        raise DamagedModel(
            f"{folder}: transformers cannot make the {what}: {type(error).__name__}: {reason}; correct what it "
            f"says, or {COPY_AGAIN}"
        ) from error


def tensors_in(folder: Path) -> dict[str, Stored]:
    """What the headers of a folder's weight files say (step 1). Raises `DamagedModel`."""
    stored: dict[str, Stored] = {}
    for file in weight_files(folder):
        for name, tensor in _header(file).items():
            if name in stored:
                raise DamagedModel(
                    f"{folder}: {name} is both in {stored[name].file.name} and in {file.name}; remove the file that "
                    f"is not meant, or {SAVE_AGAIN}"
                )
            if tensor.dtype not in FLOATS:
                raise DamagedModel(
                    f"{file}: {name} holds {tensor.dtype} numbers, and weights must be floating-point; save the model "
                    "unquantized"
                )
            stored[name] = tensor
    for name, shard in shard_of(folder).items():
        if name not in stored or stored[name].file.name != shard:
            raise DamagedModel(f"{folder}: {INDEX} says that {name} is in {shard}, but it is not; {COPY_AGAIN}")
    return stored


def _header(file: Path) -> dict[str, Stored]:
    from safetensors import safe_open

    start_of(file)
    try:
        with safe_open(file, framework="pt") as opened:
            kind = (opened.metadata() or {}).get("format", "pt")
            parts = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            found = {name: Stored(file, part.get_dtype(), tuple(part.get_shape())) for name, part in parts.items()}
    except Exception as error:  # safetensors' own, or the system's
        reason = " ".join(str(error).split())[:200]
        raise DamagedModel(f"{file} is cut off or damaged ({reason}); {COPY_AGAIN}") from None
    if kind != "pt":
        raise DamagedModel(f"{file} was saved for {kind!r} instead of PyTorch ('pt'); {SAVE_AGAIN}")
    return found


def _compare(
    model_class: type[PreTrainedModel], config: PreTrainedConfig, folder: Path, stored: Mapping[str, Stored]
) -> set[str]:
    """Step 2; returns the tied weights that are there nevertheless. Raises `DamagedModel`."""
    deepest = max(getattr(part, "num_hidden_layers", 0) or 0 for part in _parts(config))
    if deepest > len(stored):  # a model of that many layers would take minutes to build
        raise DamagedModel(
            f"{folder}: config.json says {deepest} layers, and the weight files hold {len(stored)} tensors; one of "
            f"them is of another model: {COPY_AGAIN}"
        )

    def build() -> PreTrainedModel:
        with torch.device("meta"):
            return model_class(config)

    hf = made_by_transformers(build, folder, MODEL)
    renamed = made_by_transformers(lambda: _renamed(hf, stored), folder, MODEL)
    if renamed is None:
        return set()
    due = {name: tuple(tensor.shape) for name, tensor in hf.state_dict().items()}
    found: dict[str, str] = {}
    for name, own in renamed.items():
        if own in found:
            raise DamagedModel(
                f"{folder}: {found[own]} and {name} are two names of one weight; remove the one that is not meant, or "
                f"{SAVE_AGAIN}"
            )
        found[own] = name
    tied = hf.all_tied_weights_keys.items()  # of each pair, one is enough
    given = {name for pair in tied if set(pair) & set(found) for name in pair}
    _refuse(
        folder,
        missing=set(due) - set(found) - given,
        unexpected=[name for own, name in found.items() if own not in due],
        shapes={
            name: (stored[name].shape, due[own])
            for own, name in found.items()
            if own in due and stored[name].shape != due[own]
        },
    )
    return {target for target, source in tied if target in found and source in found}


def _renamed(hf: PreTrainedModel, names: Iterable[str]) -> dict[str, str] | None:
    """Each name -> the one that transformers gives it in the model; None if it splits or joins tensors as it loads."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming, rename_source_key

    changes, due, prefix = get_model_conversion_mapping(hf), hf.state_dict(), hf.base_model_prefix
    if not all(isinstance(change, WeightRenaming) for change in changes):
        return None
    renamed = {name: rename_source_key(name, changes, [], prefix, due)[0] for name in names}
    return {
        name: rename_source_key(name, [], [], prefix, due)[0] if own not in due and name in due else own
        for name, own in renamed.items()
    }


def _refuse(
    folder: Path,
    *,
    missing: Collection[str],
    unexpected: Collection[str],
    shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
) -> None:
    """Raise `DamagedModel` if there is anything."""
    if not (missing or unexpected or shapes):
        return
    faults, remedy = [], f"the config is of another model, or the checkpoint was saved incompletely: {SAVE_AGAIN}"
    if missing:
        faults.append(f"weights are missing: {len(missing)} ({_some(missing)})")
    if unexpected:
        faults.append(f"weights are not of this model: {len(unexpected)} ({_some(unexpected)})")
        if prefixed := [name for name in unexpected if name.startswith(DDP)]:
            faults.append(f"the names of {len(prefixed)} begin with {DDP!r}, as torch's DDP writes them")
            remedy = f"strip it (save `model.module` instead of `model`) and {SAVE_AGAIN}"
    if shapes:
        name, (own, wanted) = min(shapes.items())
        faults.append(
            f"weights have another shape than config.json says: {len(shapes)} ({name}: {list(own)}, not {list(wanted)})"
        )
    raise DamagedModel(f"{folder}: {'; '.join(faults)}; {remedy}")


def _check_finite(hf: PreTrainedModel, folder: Path, stored: Mapping[str, Stored]) -> None:
    """Step 3. The files are read again only where a weight is not finite, or is not in memory at all."""
    held = hf.state_dict()
    strange = [name for name, tensor in held.items() if tensor.is_meta or not _finite(tensor)]
    if not strange:
        return
    from safetensors import safe_open

    for name, tensor in stored.items():
        with safe_open(tensor.file, framework="pt") as opened:
            if not _finite(opened.get_tensor(name)):
                raise DamagedModel(f"{tensor.file}: {name} holds values that are not finite; {COPY_AGAIN}")
    if here := [name for name in strange if not held[name].is_meta]:
        kind = str(hf.dtype).removeprefix("torch.")
        raise DamagedModel(f"{folder}: {here[0]} is not finite in {kind}, though it is in its file; load another dtype")


def _finite(tensor: Tensor) -> bool:
    if not tensor.numel() or not tensor.is_floating_point():
        return True
    least, most = torch.aminmax(tensor.detach())  # both are NaN if one value is
    return bool(torch.isfinite(least) & torch.isfinite(most))


def _parts(config: PreTrainedConfig) -> list[PreTrainedConfig]:
    return [config, *(getattr(config, name) for name in config.sub_configs)]


def _begins(name: str, starts: Collection[str]) -> bool:
    return name.startswith(tuple(starts))


def _some(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:MOST]) + (", ..." if len(names) > MOST else "")
