"""What the JSON files of a Qwen2.5-Omni folder may say, and where they must agree with one another.

transformers holds the config to its types; everything else it takes as it is, and what a file misspells it replaces by
a default. So this is checked before weights are read:

1. the names: none is one letter off a name that is missing;
2. the values, each by its rule: the config's, the feature extractor's, and those of the processors of pictures;
3. the agreement: placeholders have the ids that the tokenizer gives them, patches and mel bins are those that the
   towers take, a second has as many audio tokens as positions, and the rotary sections fill an attention head.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from avsink.models import json_files
from avsink.models.json_files import COPY_AGAIN, DamagedModel, Rule, flag, number, row, whole

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, ProcessorMixin

__all__ = ["check"]

NOISELESS = Rule("0, or no two runs would be alike", lambda value: type(value) in (int, float) and value == 0)
THINKER = {"position_id_per_seconds": whole(1), "seconds_per_chunk": number(above=0)}
TOWER = {"num_hidden_layers": whole(1), "num_attention_heads": whole(1)}
TEXT = TOWER | {
    "num_key_value_heads": whole(1),
    "max_position_embeddings": whole(1),
    "rms_norm_eps": number(above=0, below=1),
}
ROPE = {"rope_theta": number(above=1)}
TEXT_ROPE = ROPE | {"mrope_section": row(*(whole(1),) * 3, allowed="three whole numbers from 1 on")}
SOUND = {
    "sampling_rate": whole(1),
    "hop_length": whole(1),
    "n_fft": whole(1),
    "feature_size": whole(1),
    "chunk_length": whole(1),
    "dither": NOISELESS,
    "padding_value": number(),
}
PICTURE = {
    "do_resize": flag,
    "do_rescale": flag,
    "do_normalize": flag,
    "do_convert_rgb": flag,
    "rescale_factor": number(above=0),
    "image_mean": row(*(number(),) * 3, allowed="three numbers"),
    "image_std": row(*(number(above=0),) * 3, allowed="three numbers above 0"),
    "patch_size": whole(1),
    "merge_size": whole(1),
    "temporal_patch_size": whole(1),
}
FOLLOW = ("n_samples", "nb_max_frames")  # from other values of the feature extractor; files state them nevertheless
PROCESSORS = {"feature_extractor": SOUND, "image_processor": PICTURE, "video_processor": PICTURE}
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json")
PLACEHOLDERS = {  # in the config -> in the processor
    "audio_token_id": "audio_token",
    "image_token_id": "image_token",
    "video_token_id": "video_token",
    "audio_start_token_id": "audio_bos_token",
    "audio_end_token_id": "audio_eos_token",
    "vision_start_token_id": "vision_bos_token",
    "vision_end_token_id": "vision_eos_token",
}
PATCHES = {  # in the config -> in the processors of pictures
    "patch_size": "patch_size",
    "spatial_merge_size": "merge_size",
    "temporal_patch_size": "temporal_patch_size",
}


def check(folder: Path, config: PreTrainedConfig, processor: ProcessorMixin) -> None:
    """Raise `DamagedModel` if a file says what cannot be, or two files contradict each other."""
    for file, names, rules in _names(folder, config):
        if fault := json_files.misspelt(names, rules):
            raise DamagedModel(f"{folder / file}: {fault}; correct the name, or {COPY_AGAIN}")
    for part, values, rules in _values(config, processor):
        if fault := json_files.broken(values, rules):
            raise DamagedModel(f"{folder}: of its {part}, {fault}; correct it, or {COPY_AGAIN}")
    for what, own, due in _agreements(folder, config, processor):
        if own != due:
            raise DamagedModel(f"{folder}: its files contradict each other: {what}: {own} and {due}; {COPY_AGAIN}")


def _names(folder: Path, config: PreTrainedConfig) -> Iterator[tuple[str, Collection[str], Collection[str]]]:
    """Step 1: a file, the names in a part of it, and those that it might have."""
    thinker = _part(json_files.read(folder / "config.json"), "thinker_config")
    for part, said in (
        (config, thinker),
        *((getattr(config, name), _part(thinker, name)) for name in config.sub_configs),
    ):
        yield "config.json", said, {*type(part).__dataclass_fields__, *part.attribute_map}
        yield "config.json", said.get("rope_parameters") or {}, TEXT_ROPE
    for file in _processor_files(folder):
        said = json_files.read(folder / file)
        for name, rules in PROCESSORS.items():
            yield file, _part(said, name), {*rules, "size"}


def _values(
    config: PreTrainedConfig, processor: ProcessorMixin
) -> Iterator[tuple[str, Mapping[str, object], Mapping[str, Rule]]]:
    """Step 2: a part, its values as transformers understood them, and their rules."""
    text, sight = config.text_config, config.vision_config
    for name, part, rules in (
        ("config", config, THINKER),
        ("text_config", text, TEXT),
        ("audio_config", config.audio_config, TOWER | {"n_window": whole(1)}),
        ("vision_config", sight, TOWER),
        *((name, getattr(processor, name), rules) for name, rules in PROCESSORS.items()),
    ):
        yield name, {rule: getattr(part, rule, None) for rule in rules}, rules
    for name, part, rules in (("text_config", text, TEXT_ROPE), ("vision_config", sight, ROPE)):
        yield f"{name}, rope_parameters", {rule: (part.rope_parameters or {}).get(rule) for rule in rules}, rules
    for name in ("image_processor", "video_processor"):
        picture = getattr(processor, name)
        token = (picture.patch_size * picture.merge_size) ** 2  # pixels
        limits = {"shortest_edge": whole(1), "longest_edge": whole(token)}
        yield f"{name}, size", {edge: dict(picture.size).get(edge) for edge in limits}, limits


def _agreements(
    folder: Path, config: PreTrainedConfig, processor: ProcessorMixin
) -> Iterator[tuple[str, object, object]]:
    """Step 3: what must be equal, in words, and two values."""
    text, sound, heard = config.text_config, config.audio_config, processor.feature_extractor
    tokenizer = processor.tokenizer
    for name, token in PLACEHOLDERS.items():
        written = getattr(processor, token)
        if (own := getattr(config, name, None)) is not None:
            due = tokenizer.convert_tokens_to_ids(written)
            yield f"the id of {written} in config.json and in the tokenizer", own, due
    largest = max(tokenizer.get_vocab().values())
    yield "vocab_size in config.json and the ids of the tokenizer", max(largest + 1, text.vocab_size), text.vocab_size
    for own, due in PATCHES.items():
        for name in ("image_processor", "video_processor"):
            what = f"{own} in config.json and {due} of the {name}"
            yield what, getattr(config.vision_config, own), getattr(getattr(processor, name), due)
    yield "num_mel_bins in config.json and the feature extractor's", sound.num_mel_bins, heard.feature_size
    window = max(sound.n_window, sound.max_source_positions)
    yield "n_window and a smaller max_source_positions in config.json", window, sound.max_source_positions
    rate = heard.sampling_rate / heard.hop_length / 4  # the audio tower halves it twice
    yield (
        "position_id_per_seconds in config.json and the audio tokens of a second",
        config.position_id_per_seconds,
        rate,
    )
    pairs = sum(text.rope_parameters["mrope_section"])
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    yield "the dimensions in config.json of mrope_section and of an attention head", 2 * pairs, head
    for file in _processor_files(folder):
        said = _part(json_files.read(folder / file), "feature_extractor")
        for name in FOLLOW:
            due = getattr(heard, name)
            yield f"{name} in {file}, and as it follows from the rest", said.get(name, due), due


def _part(said: Mapping, name: str) -> Mapping:
    """The part of this name; where there is none, the whole."""
    part = said.get(name, said)
    return part if isinstance(part, Mapping) else {}


def _processor_files(folder: Path) -> list[str]:
    return [file for file in PROCESSOR_FILES if (folder / file).is_file()]
