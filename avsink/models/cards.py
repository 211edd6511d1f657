"""The models, one frozen card each: what no file of a checkpoint says, and the source of each fact.

Sizes (layers, width, heads) and token ids are read from the checkpoint's own config and tokenizer, never from here.

1. a published or embedded model is looked up by name in `CARDS`;
2. a local folder with a known model's name is that model;
3. any other local folder gets the card of its family, by the `model_type` in its config.json. Its sinks are
   uncalibrated, because sink dimensions are a property of weights;
4. a ``card.json`` in the folder, if there is one, overrides some of these facts: teaching models bring theirs, and what
   `avsink.instruments.sink_calibration` finds can be put there. `RULES` says what each of them may be;
5. a card must fit the sizes that the folder's config.json states: sink dimensions lie within the model's width, tau
   below its square root, which φ cannot exceed, and a window within its layers.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from avsink import resources
from avsink.models import json_files
from avsink.models.json_files import DamagedModel, flag, number, one_of, optional, row, some, text, whole
from avsink.toyworld.routes import ROUTES

__all__ = ["CARDS", "DTYPES", "Hub", "ModelCard", "Taught", "card", "layers_of", "write_facts"]

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Hub:
    """A token of a clip that was taught to be a sink: the `offset`-th of the `part`-th grid, or chunk of audio tokens.

    Attributes:
        modality: `video` or `audio`.
        kind: `unimodal` or `cross-modal`.
        part: Index of the grid or chunk.
        offset: Index of the token in it.
    """

    modality: str
    kind: str
    part: int
    offset: int


@dataclass(frozen=True)
class Taught:
    """A way of information that a model was taught.

    Attributes:
        task: The task in which it was taught.
        pathway: A key of `avsink.instruments.pathways.PATHWAYS`.
        layer: The layer at which it is open, from 0.
    """

    task: str
    pathway: str
    layer: int


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """One model.

    Attributes:
        name: As `avsink.load` takes it.
        family: Its adapter, a key of `avsink.models.families.FAMILIES`.
        source: A folder (embedded models) or a repository of the Hugging Face hub.
        system: The system prompt.
        known_from: Where the facts on this card come from.
        letter_variants: How an answer's letter may be written; the tokenizer knows the ids.
        fps: Frames taken per second of a clip.
        max_frames: Upper limit of frames of a clip.
        sampling: Which frames of a clip are taken, and how its sound: `even` or `published` (`avsink.media.published`).
        frame_tokens: Fewest and most visual tokens (28 x 28 pixels) of a frame. A processor made for smaller pictures
            keeps its own limits.
        image_tokens: The same of an image.
        max_seconds: Longest sound, if the limit is lower than the audio encoder's own.
        audio_rate: Audio tokens a second.
        sink_dims: Hubs' D; None if nobody has calibrated it.
        sink_tau: Hubs' tau; None if nobody has calibrated it.
        window: Layers of a knockout window.
        dtype: Precision on an accelerator; it is `float32` elsewhere.
        taught: Whether its pathways were taught, so that figures from it are calibration, not evidence.
        hubs: Tokens of a clip that were taught to be sinks, if any.
        routes: The pathways that were taught, each with its layer, if any.
    """

    name: str
    family: str
    source: Path | str
    system: str
    known_from: str
    letter_variants: tuple[str, ...] = ("{}", " {}")
    fps: float = 2.0
    max_frames: int = 128
    sampling: str = "even"
    frame_tokens: tuple[int, int] = (128, 144)
    image_tokens: tuple[int, int] = (4, 576)
    max_seconds: float | None = None
    audio_rate: float = 25.0
    sink_dims: tuple[int, ...] | None = None
    sink_tau: float | None = None
    window: int = 7
    dtype: str = "bfloat16"
    taught: bool = False
    hubs: tuple[Hub, ...] = ()
    routes: tuple[Taught, ...] = ()

    @property
    def caveat(self) -> str:
        """What every figure from this model must say beside it, or ''."""
        if not self.taught:
            return ""
        return f"{self.name} was taught along which ways to send information: this is calibration, not evidence."


_QWEN25_OMNI = ModelCard(
    name="a Qwen2.5-Omni folder",
    family="qwen25_omni",
    source="",
    system=(
        "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of perceiving auditory and "
        "visual inputs, as well as generating text and speech."
    ),
    known_from=(
        "system prompt: the checkpoint's chat template; 2 fps, 128 frames, 12 x 12 tokens a frame, 24 x 24 an image, "
        "window 7: Flow appendices C and E; at least 128 tokens a frame: transformers' processor"
    ),
)

# The first token of each grid, the two kinds in turn (positions within a grid differ too little to single out another),
# and the first two of each chunk of audio except the last: no video comes after that one to read its tokens.
_HUBS = (
    *(Hub("video", kind, part, 0) for part, kind in enumerate(("unimodal", "cross-modal") * 2)),
    *(Hub("audio", kind, part, offset) for part in range(3) for offset, kind in enumerate(("cross-modal", "unimodal"))),
)
_TINY_OMNI = ModelCard(
    name="tiny-omni",
    family="qwen25_omni",
    source=resources.data("models", "tiny-omni"),
    system="You are a helpful assistant.",
    audio_rate=5.0,
    sink_dims=(37, 101),
    sink_tau=4.0,
    window=3,
    dtype="float32",
    taught=True,
    hubs=_HUBS,
    routes=tuple(Taught(task, name, r.layer) for r in ROUTES for task in r.tasks for name in r.pathways),
    known_from="made here: avsink.toyworld; sinks: taught, and found by avsink.instruments.sink_calibration",
)

RULES = {
    "system": text(without="<|"),  # begins the control tokens of every family
    "window": whole(1, odd=True),
    "dtype": one_of(*DTYPES),
    "taught": flag,
    "known_from": text(),
    "audio_rate": number(above=0),
    "sink_dims": optional(some(whole(0), allowed="a list of different whole numbers from 0 on")),
    "sink_tau": optional(number(above=0)),
    "hubs": some(
        row(one_of("video", "audio"), one_of("unimodal", "cross-modal"), whole(0), whole(0), allowed=""),
        allowed='a list such as [["video", "cross-modal", 1, 0]]: modality, unimodal or cross-modal, part, offset',
        none=True,
    ),
    "routes": some(
        row(text(), text(), whole(0), allowed=""),
        allowed='a list such as [["match the reference", "Reference↛Last", 5]]: task, pathway, layer',
        none=True,
    ),
}
"""What a folder's ``card.json`` may say."""

CARDS: dict[str, ModelCard] = {
    entry.name: entry
    for entry in (
        _TINY_OMNI,
        replace(
            _TINY_OMNI,
            name="tiny-omni-plain",
            source=resources.data("models", "tiny-omni-plain"),
            hubs=(),
            known_from="made here: avsink.toyworld; it was taught no hubs: sinks are looked for as in tiny-omni",
        ),
        replace(
            _QWEN25_OMNI,
            name="Qwen/Qwen2.5-Omni-3B",
            source="Qwen/Qwen2.5-Omni-3B",
            sink_dims=(318, 1874, 1819),
            known_from=f"{_QWEN25_OMNI.known_from}; sink dimensions: Flow figure 2, which gives no threshold",
        ),
        replace(
            _QWEN25_OMNI,
            name="Qwen/Qwen2.5-Omni-7B",
            source="Qwen/Qwen2.5-Omni-7B",
            sink_dims=(458, 2570),
            sink_tau=25.0,
            known_from=f"{_QWEN25_OMNI.known_from}; sinks: the code of Hubs' authors",
        ),
    )
}

_BY_MODEL_TYPE = {"qwen2_5_omni": _QWEN25_OMNI, "qwen2_5_omni_thinker": _QWEN25_OMNI}


def card(name: str | Path) -> ModelCard:
    """The card for a model's name or folder.

    Raises:
        ValueError: For any other name, with the known ones.
        DamagedModel: For a folder whose card.json or config.json cannot be used.
    """
    if str(name) in CARDS:
        return CARDS[str(name)]
    folder = Path(os.path.expanduser(str(name)))
    if not os.path.isdir(folder):
        known = ", ".join(CARDS)
        if os.path.isfile(folder):
            raise ValueError(f"{str(name)!r} is a file; give the folder that it is in, or one of {known}")
        raise ValueError(f"unknown model {str(name)!r}: there is no such folder, and the known names are {known}")
    name, facts = folder.resolve().name, _own_facts(folder)
    for entry in CARDS.values():
        if name == entry.name.split("/")[-1]:
            return _fitted(replace(entry, **facts, source=folder), facts, folder)
    return _fitted(replace(_of_family(folder), **facts, name=name, source=folder), facts, folder)


def layers_of(entry: ModelCard) -> int | None:
    """The number of layers that the config of a model's folder states; None for a model that is not in a folder."""
    return _sizes(entry.source).get("num_hidden_layers") if isinstance(entry.source, Path) else None


def write_facts(entry: ModelCard, folder: Path) -> None:
    """Write a card's facts into a folder's ``card.json``, so that they hold under whatever name it is loaded."""
    rows = {name: [astuple(row) for row in getattr(entry, name)] for name in ("hubs", "routes")}
    facts = {name: getattr(entry, name) for name in RULES} | rows
    (folder / "card.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _own_facts(folder: Path) -> dict:
    """What a ``card.json`` says, if it says what `RULES` allow."""
    path = folder / "card.json"
    if not os.path.lexists(path):
        return {}
    facts = json_files.read(path)
    if unknown := sorted(set(facts) - set(RULES)):
        hint = json_files.near(unknown[0], tuple(RULES))
        raise DamagedModel(f"{path} says {', '.join(unknown)}{hint}; a card.json may say {', '.join(RULES)}")
    if fault := json_files.broken(facts, RULES):
        raise DamagedModel(f"{path}: {fault}; correct it, or leave the name out")
    if facts.get("sink_dims") is not None:
        facts["sink_dims"] = tuple(facts["sink_dims"])
    if "hubs" in facts:
        facts["hubs"] = tuple(Hub(*hub) for hub in facts["hubs"])
    if "routes" in facts:
        facts["routes"] = tuple(Taught(*route) for route in facts["routes"])
    return facts


def _fitted(entry: ModelCard, own: Mapping[str, object], folder: Path) -> ModelCard:
    """The card, if it fits the model's sizes. A family's usual window is cut to the layers that there are."""
    sizes = _sizes(folder)
    width, layers = sizes.get("hidden_size", math.inf), sizes.get("num_hidden_layers", math.inf)
    rules = {
        "sink_dims": optional(some(whole(0, below=width), allowed=f"dimensions from 0 to {width - 1}")),
        "sink_tau": optional(number(above=0, below=math.sqrt(width))),
        "window": whole(1, below=layers + 1, odd=True) if "window" in own else whole(1),
    }
    if fault := json_files.broken(vars(entry), rules):
        stated = ", ".join(f"{name} {value}" for name, value in sizes.items())
        if fault.split()[0] in own:
            raise DamagedModel(f"{folder / 'card.json'}: {fault} (config.json says {stated}); correct it")
        raise DamagedModel(
            f"{folder} has the name of {entry.name}, whose {fault} (config.json says {stated}); rename the folder if "
            "it holds another model"
        )
    if entry.sink_tau is not None and entry.sink_dims is None:
        raise DamagedModel(f"{folder / 'card.json'} says sink_tau, but no sink_dims; add them, or leave both out")
    if entry.window > layers:
        widest = layers - (layers + 1) % 2
        warnings.warn(f"{entry.name} has {layers} layers: a window has {widest} and not {entry.window}", stacklevel=3)
        return replace(entry, window=widest)
    return entry


def _sizes(folder: Path) -> Mapping[str, int]:
    """Width and layers of the text decoder, as far as the folder's config.json states them."""
    path = folder / "config.json"
    said = json_files.read(path) if os.path.lexists(path) else {}
    for part in ("thinker_config", "text_config"):  # transformers' names for the parts of a model
        said = said.get(part, said)
        if not isinstance(said, dict):
            raise DamagedModel(f"{path}: its {part} is no object {{...}}; {json_files.COPY_AGAIN}")
    rules = {"hidden_size": whole(1), "num_hidden_layers": whole(1)}
    if fault := json_files.broken(said, rules):
        raise DamagedModel(f"{path}: {fault}; {json_files.COPY_AGAIN}")
    return {name: said[name] for name in rules if name in said}


def _of_family(folder: Path) -> ModelCard:
    config = folder / "config.json"
    if not os.path.lexists(config):
        raise ValueError(f"{folder} is not a model's folder: it has no config.json")
    model_type = json_files.read(config).get("model_type")
    if not isinstance(model_type, str) or model_type not in _BY_MODEL_TYPE:
        raise ValueError(
            f"{folder} holds a {model_type!r}; the model types that can be loaded are {', '.join(_BY_MODEL_TYPE)}"
        )
    return _BY_MODEL_TYPE[model_type]
