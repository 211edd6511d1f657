"""Adapters of families: each satisfies the protocol to the letter, and says of a prompt what is true of it."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest
import torch
from samples import clip_sample, matching_sample

import avsink
from avsink.models import CARDS, load
from avsink.models.families import FAMILIES
from avsink.models.families.base import Family, text_decoder

FUNCTIONS = [name for name, value in inspect.getmembers(Family, inspect.isfunction) if not name.startswith("_")]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_satisfies_the_protocol(name):
    adapter = FAMILIES[name]()
    assert {"load", "prompt", "encode", "grids", "position_ids", "added"} <= set(FUNCTIONS)
    for function in FUNCTIONS:
        stated, own = getattr(Family, function), getattr(type(adapter), function)
        assert inspect.signature(own) == inspect.signature(stated), function
        assert inspect.getdoc(own)
    attributes = [attribute for base in Family.__mro__ for attribute in getattr(base, "__annotations__", {})]
    assert set(attributes) >= {"features", "per_token"}
    for attribute in attributes:
        assert all(isinstance(value, str) for value in getattr(adapter, attribute)), attribute


def test_every_card_names_a_family():
    assert {card.family for card in CARDS.values()} <= set(FAMILIES)


def test_an_adapter_that_leaves_a_function_out_cannot_be_made():
    class Half(Family):
        features = ()

    with pytest.raises(TypeError, match="abstract.*encode"):
        Half()


def test_a_checkpoint_is_loaded_as_it_is(untrained):
    """`avsink.load` prepares it for interventions; `models.load` knows nothing of them."""
    plain = load(untrained, device="cpu")
    assert plain.hf.config.text_config._attn_implementation == "sdpa"
    assert plain.sampling_rate == 16_000 and plain.max_seconds == 30.0


def test_grids_are_the_processors_in_tokens(model, clips):
    inputs = model.prepare(clip_sample(clips / "clip.mp4"))
    t, h, w = inputs.tensors["video_grid_thw"][0].tolist()
    assert inputs.grids == ((t, h // 2, w // 2),) and inputs.grid == inputs.grids[0]
    assert [len(frame) for frame in inputs.layout.frames] == [h // 2 * (w // 2)] * t
    rows = inputs.tensors["position_ids"][1:, 0, inputs.layout.frames[1]]  # [2, n], height and width
    cells = torch.arange(rows.shape[1])
    assert torch.equal(rows - rows[:, :1], torch.stack([cells // (w // 2), cells % (w // 2)]))


def test_a_prompt_without_one_size_of_picture_has_no_grid(model, clips):
    parts = (avsink.Media(path=clips / "sound.mp4", kind="audio"), avsink.Text(text="Which object makes the sound?"))
    with pytest.raises(ValueError, match="clip-1 shows no video, so it has no grid"):
        _ = model.prepare(clip_sample(parts=parts)).grid
    pictures = model.prepare(matching_sample(clips, reference="audio"))
    assert len(pictures.grids) == 4 and pictures.grid[0] == 4
    two = SimpleNamespace(grids=((1, 2, 2), (1, 2, 3)), sample_id="x")
    with pytest.raises(ValueError, match="x shows pictures of different sizes"):
        type(pictures).grid.fget(two)


def test_tokens_that_do_not_lie_row_by_row_are_refused(model, clips, monkeypatch):
    own = type(model.hf).get_rope_index

    def turned(self, ids, *args, **kwargs):
        positions, deltas = own(self, ids, *args, **kwargs)
        return positions[[0, 2, 1]], deltas  # height and width exchanged

    monkeypatch.setattr(type(model.hf), "get_rope_index", turned)
    with pytest.raises(RuntimeError, match="interleaved positions; install"):
        model.prepare(clip_sample(clips / "clip.mp4"))


def test_a_decoder_without_a_family_follows_the_conventions_of_transformers():
    made_in_code = text_decoder(SimpleNamespace())
    assert made_in_code.added({"inputs_embeds": None}) == {}
    seen, features = torch.tensor([[False, True, False, True]]), list(torch.randn(2, 2, 8))
    added = made_in_code.added({"visual_pos_masks": seen, "deepstack_visual_embeds": features})
    assert list(added) == [0, 1] and added[1][0].tolist() == [1, 3] and torch.equal(added[1][1], features[1])
    assert made_in_code.per_token == ("visual_pos_masks",)


def test_the_adapter_of_a_loaded_model_speaks_for_its_decoder(model):
    assert text_decoder(model) is model.adapter


@pytest.mark.parametrize("name", CARDS)
def test_a_taught_model_comes_with_a_caveat(name):
    card = CARDS[name]
    if card.taught:
        assert card.caveat == (
            f"{name} was taught along which ways to send information: this is calibration, not evidence."
        )
    else:
        assert card.caveat == ""
