"""The models, one frozen card each: what no file of a checkpoint says, and the source of each fact.

Sizes (layers, width, heads) and token ids are read from the checkpoint's own config and tokenizer, never from here.

1. a published or embedded model is looked up by name in `CARDS`;
2. a local folder with a known model's name is that model;
3. any other local folder gets the card of its family, by the `model_type` in its config.json. Its sinks are
   uncalibrated, because sink dimensions are a property of weights;
4. a ``card.json`` in the folder, if there is one, overrides some of these facts: teaching models bring theirs, and what
   `avsink.instruments.sink_calibration` finds can be put there.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from avsink import resources

__all__ = ["CARDS", "Hub", "ModelCard", "card", "write_facts"]


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
    known_from="made here: avsink.toyworld; sinks: taught, and found by avsink.instruments.sink_calibration",
)

OWN_FACTS = ("system", "window", "dtype", "taught", "known_from", "audio_rate")
OWN_FACTS += ("sink_dims", "sink_tau", "hubs")
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
    """The card for a model's name or folder. Raises ValueError, with the known names, for any other."""
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
    """Write a card's facts into a folder's ``card.json``, so that they hold under whatever name it is loaded."""
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
