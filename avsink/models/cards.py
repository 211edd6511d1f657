"""The models, one frozen card each: what no file of a checkpoint says, and where we know it from.

Sizes (layers, width, heads) and token ids are read from the checkpoint's own config and tokenizer, never from here.

1. a published or embedded model is looked up by name in `CARDS`;
2. a local folder that bears a known model's name is that model;
3. any other local folder gets the card of its family, by the `model_type` in its config.json. Its sinks are
   uncalibrated, because sink dimensions are a property of weights;
4. a ``card.json`` in a folder, if there is one, says what somebody knew better: teaching models bring theirs, and what
   `avsink.instruments.sink_calibration` finds can be put there.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from avsink import resources

__all__ = ["CARDS", "Hub", "ModelCard", "card"]


@dataclass(frozen=True)
class Hub:
    """A token of a clip that was taught to be a sink: the `offset`-th of the `part`-th grid, or chunk of audio tokens.

    modality: `video` or `audio`. kind: `unimodal` or `cross-modal`.
    """

    modality: str
    kind: str
    part: int
    offset: int


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """One model.

    name: as `avsink.load` takes it. family: the adapter in `avsink.models` that speaks its language.
    source: a folder (embedded models) or a repository of the Hugging Face hub.
    system: the system prompt. letter_variants: how an answer's letter may be written; the tokenizer knows the ids.
    fps, max_frames: sampling of clips. frame_tokens, image_tokens: fewest and most visual tokens (28 x 28 pixels) of a
        frame and of an image; a processor made for smaller pictures has its way.
    max_seconds: longest sound, where the audio encoder's own limit is not enough.
    audio_rate: audio tokens a second.
    sink_dims, sink_tau: Hubs' D and tau; None where nobody has calibrated them.
    window: layers of a knockout window. dtype: on an accelerator; `float32` elsewhere.
    taught: its pathways were taught, so figures from it are calibration, not evidence.
    hubs: tokens of a clip that were taught to be sinks, where that is so.
    known_from: where the facts on this card come from.
    """

    name: str
    family: str
    source: Path | str
    system: str
    known_from: str
    letter_variants: tuple[str, ...] = ("{}", " {}")
    fps: float = 2.0
    max_frames: int = 128
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

# The first token of each grid, in turn of either kind (within a grid, positions differ too little to tell another), and
# the first two of each run of audio but the last: no video comes behind that, so its tokens could lean nowhere.
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
    known_from="made here: avsink.toyworld; sinks: taught, and found by avsink.instruments.sink_calibration",
)

OWN_FACTS = ("system", "window", "dtype", "taught", "known_from", "audio_rate")
OWN_FACTS += ("sink_dims", "sink_tau", "hubs")
"""What a folder's ``card.json`` may say of it."""

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
    """The card of a model's name or folder. An unknown name is a ValueError that lists what is allowed."""
    if str(name) in CARDS:
        return CARDS[str(name)]
    folder = Path(name).expanduser()
    if not folder.is_dir():
        known = ", ".join(CARDS)
        raise ValueError(f"unknown model {str(name)!r}: there is no such folder, and the known names are {known}")
    for entry in CARDS.values():
        if folder.resolve().name == entry.name.split("/")[-1]:
            return replace(entry, **_own_facts(folder), source=folder)
    return replace(_of_family(folder), **_own_facts(folder), name=folder.resolve().name, source=folder)


def write_facts(entry: ModelCard, folder: Path) -> None:
    """Leave a card's facts about prompt and window in a folder, for when it is loaded under another name."""
    facts = {name: getattr(entry, name) for name in OWN_FACTS} | {"hubs": [astuple(hub) for hub in entry.hubs]}
    (folder / "card.json").write_text(json.dumps(facts, indent=2) + "\n")


def _own_facts(folder: Path) -> dict:
    path = folder / "card.json"
    if not path.is_file():
        return {}
    facts = json.loads(path.read_text())
    if unknown := set(facts) - set(OWN_FACTS):
        raise ValueError(f"{path} says {', '.join(sorted(unknown))}; a card.json may say {', '.join(OWN_FACTS)}")
    if facts.get("sink_dims") is not None:
        facts["sink_dims"] = tuple(facts["sink_dims"])
    if "hubs" in facts:
        facts["hubs"] = tuple(Hub(*hub) for hub in facts["hubs"])
    return facts


def _of_family(folder: Path) -> ModelCard:
    config = folder / "config.json"
    if not config.is_file():
        raise ValueError(f"{folder} is not a model's folder: it has no config.json")
    model_type = json.loads(config.read_text()).get("model_type")
    if model_type not in _BY_MODEL_TYPE:
        raise ValueError(
            f"{folder} holds a {model_type!r}; the model types that can be loaded are {', '.join(_BY_MODEL_TYPE)}"
        )
    return _BY_MODEL_TYPE[model_type]
