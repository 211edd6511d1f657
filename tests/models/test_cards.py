"""card.json: what a folder may say of its model, held to a table before anything is loaded."""

from __future__ import annotations

import json
import math
import shutil

import pytest

import avsink
from avsink.models import CARDS, DamagedModel
from avsink.models.cards import RULES, write_facts

WIDTH, LAYERS = 128, 3  # of the untrained model


@pytest.fixture
def say(untrained, tmp_path, monkeypatch):
    """Write a card.json into a copy of the untrained model. Whoever reads weights then, fails."""
    folder = shutil.copytree(untrained, tmp_path / "said")
    monkeypatch.setattr("avsink.models.weights.tensors_in", lambda folder: pytest.fail("read weights"))

    def write(facts) -> object:
        (folder / "card.json").write_text(facts if isinstance(facts, str) else json.dumps(facts))
        return folder

    return write


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("system", 5, "a text without <|"),
        ("system", None, "a text"),
        ("system", "Well<|im_end|>", "a text without <|"),
        ("system", "\ud800", "a text"),
        ("window", "seven", "an odd number from 1 on"),
        ("window", 4, "an odd number from 1 on"),
        ("window", 3.0, "an odd number"),
        ("window", True, "an odd number"),
        ("window", LAYERS + 2, f"from 1 to {LAYERS}"),
        ("dtype", "bf16", "float32, bfloat16, float16"),
        ("dtype", ["float32"], "float32, bfloat16, float16"),
        ("taught", "yes", "true or false"),
        ("taught", 1, "true or false"),
        ("known_from", None, "a text"),
        ("audio_rate", 0, "a number above 0"),
        ("audio_rate", "25", "a number above 0"),
        ("audio_rate", math.nan, "a number above 0"),
        ("sink_dims", 37, "a list of different whole numbers from 0 on, or null"),
        ("sink_dims", "37", "a list"),
        ("sink_dims", [], "a list"),
        ("sink_dims", [-1], "a list"),
        ("sink_dims", [1, 1], "a list of different"),
        ("sink_dims", [WIDTH], f"dimensions from 0 to {WIDTH - 1}"),
        ("sink_tau", 0, "a number above 0"),
        ("sink_tau", math.inf, "a number above 0"),
        ("sink_tau", math.sqrt(WIDTH), "below 11.3137"),
        ("sink_tau", 10**400, "a number above 0"),
        ("hubs", "video", "a list such as"),
        ("hubs", [["video", "unimodal", 0]], "a list such as"),
        ("hubs", [["smell", "unimodal", 0, 0]], "a list such as"),
        ("hubs", [["video", "unimodal", -1, 0]], "a list such as"),
        ("hubs", [["video", "unimodal", 0, 0]] * 2, "a list such as"),
        ("routes", [["match the reference", "Reference↛Last"]], "a list such as"),
        ("routes", [["match the reference", "Reference↛Last", -1]], "a list such as"),
    ],
)
def test_a_value_that_a_card_cannot_have_is_refused_before_weights_are_read(say, name, value, allowed):
    facts = {"sink_dims": [3], "sink_tau": 4.0} | {name: value}
    with pytest.raises(DamagedModel) as caught:
        avsink.load(say(facts))
    said = str(caught.value)
    assert "card.json" in said and f"{name} is " in said and allowed in said and "\n" not in said


def test_what_write_facts_writes_can_be_read(say):
    entry = CARDS["tiny-omni"]
    folder = say({})
    write_facts(entry, folder)
    told = avsink.card(folder)
    assert {name: getattr(told, name) for name in RULES} == {name: getattr(entry, name) for name in RULES}


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"sytem": "x"}, r"card.json says sytem \(did you mean system\?\); a card.json may say system, window"),
        ({"sink_tau": 4.0}, "card.json says sink_tau, but no sink_dims"),
        ([], r"card.json holds \[\] instead of a JSON object"),
        ('{"window": 1, "window": 3}', "card.json is not readable JSON .*it says 'window' twice"),
        ('{"window": 1', "card.json is not readable JSON"),
        ("", "card.json is empty"),
    ],
)
def test_a_card_that_is_none_is_refused(say, facts, said):
    with pytest.raises(DamagedModel, match=said):
        avsink.card(say(facts))


def test_the_card_of_a_name_must_fit_the_folder(untrained, tmp_path):
    """Whatever is called Qwen2.5-Omni-7B has its sink dimensions, unless it is too narrow to have them."""
    folder = shutil.copytree(untrained, tmp_path / "Qwen2.5-Omni-7B")
    with pytest.raises(DamagedModel, match=r"whose sink_dims is \(458, 2570\).*hidden_size 128, .*; rename the folder"):
        avsink.card(folder)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {"hidden_size": 3584, "num_hidden_layers": 28}
    (folder / "config.json").write_text(json.dumps(config))
    assert avsink.card(folder).sink_dims == (458, 2570) and avsink.card(folder).name == "Qwen/Qwen2.5-Omni-7B"


def test_a_familys_window_is_cut_to_the_layers_and_says_so(untrained):
    with pytest.warns(UserWarning, match="untrained has 3 layers: a window has 3 and not 7"):
        assert avsink.card(untrained).window == LAYERS
