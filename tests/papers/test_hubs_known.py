"""Taught hubs and found sinks, by made-up rows whose truth is known."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

import avsink
from avsink.instruments import sinks
from avsink.models.cards import Hub
from avsink.papers.hubs import known
from training.hubs import FROM_LAYER

CLIPS = 4


class Card:
    """Two hubs of each modality."""

    name, taught = "made-up", True
    hubs = tuple(
        Hub(modality, kind, part, 0)
        for modality in ("video", "audio")
        for part, kind in enumerate(("unimodal", "cross-modal"))
    )


class Control(Card):
    hubs = ()


class Published(Control):
    taught = False


def seen(found: dict[tuple[str, int, int], str]) -> pd.DataFrame:
    """Rows of sinks: (modality, part, offset) -> kind, at two layers of every clip."""
    rows = [
        {
            **{"sample": f"s{clip}", "layer": layer, "modality": modality, "part": part, "offset": offset},
            **{"position": 100 * part + offset + 1000 * (modality == "audio"), "global_4": kind},
        }
        for clip in range(CLIPS)
        for layer in range(2)
        for (modality, part, offset), kind in found.items()
    ]
    return pd.DataFrame(rows)


RIGHT = {(hub.modality, hub.part, hub.offset): hub.kind for hub in Card.hubs}
SWAPPED = RIGHT | {("audio", 0, 0): "cross-modal", ("audio", 1, 0): "unimodal"}


@pytest.mark.parametrize(
    ("found", "outcomes"),
    [
        (RIGHT, ["found"] * 4),
        (RIGHT | {("video", 0, 5): "unimodal"}, ["elsewhere too", "found", "found", "found"]),
        (SWAPPED, ["found", "found", "found", "missed"]),
        ({at: kind for at, kind in RIGHT.items() if at[:2] != ("video", 1)}, ["missed", "missed", "found", "found"]),
        ({at: kind for at, kind in RIGHT.items() if at[0] == "video"}, ["found", "found", "missed", "missed"]),
        ({}, ["missed", "missed"]),
    ],
)
def test_hubs_are_found_or_not(found, outcomes):
    assert [fact.outcome for fact in known.hubs(seen(found), Card(), one_in=4, n=CLIPS)] == outcomes


def test_a_control_must_have_none_and_a_published_model_is_not_tested():
    for found, outcome in (({}, "found"), (RIGHT, "elsewhere too")):
        assert [fact.outcome for fact in known.hubs(seen(found), Control(), one_in=4, n=CLIPS)] == [outcome]
    assert [fact.outcome for fact in known.hubs(seen(RIGHT), Published(), one_in=4, n=CLIPS)] == ["not tested"]


@pytest.mark.parametrize("task", ["sounding object", "match the reference"])
def test_the_taught_hubs_are_sinks_in_every_kind_of_prompt_and_no_other_media_tokens_are(task):
    """From the layer on at which they were taught to be massive, at the entry of every layer."""
    model, card = avsink.load("tiny-omni", check=False), avsink.card("tiny-omni")
    flags = {"hubs": [], "others": []}
    kinds = set()
    for sample in avsink.load_samples("toyworld", tasks=task, n_samples=30, seed=2):
        inputs = model.prepare(sample)
        layout, parts = inputs.layout, {"video": inputs.layout.frames, "audio": inputs.layout.audio_chunks}
        at = [
            int(parts[hub.modality][hub.part][hub.offset])
            for hub in card.hubs
            if hub.part < len(parts[hub.modality]) and hub.offset < len(parts[hub.modality][hub.part])
        ]
        found = sinks.of_prompt(model, inputs).flags[FROM_LAYER:].float().mean(0)  # (N,)
        media = torch.cat([layout.video, layout.audio])
        flags["hubs"] += found[at].tolist()
        flags["others"] += found[media[~torch.isin(media, torch.tensor(at))]].tolist()
        kinds.add((len(parts["video"]), len(parts["audio"])))
    assert kinds == ({(4, 4)} if task == "sounding object" else {(4, 1), (1, 4)})
    assert sum(flags["hubs"]) / len(flags["hubs"]) > 0.97
    assert sum(flags["others"]) / len(flags["others"]) < 0.005
