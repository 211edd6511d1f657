"""The explorer of one clip: tokens lie where they come from, and their readers are those of full attention maps."""

import numpy as np
import pytest
import torch

import avsink
from avsink import charts
from avsink.charts import descriptions
from avsink.engine.observers import Maps, observe
from avsink.instruments import clip_explorer
from avsink.instruments.clip_explorer import FEWEST, explore, nth


@pytest.fixture(scope="module")
def model(tiny_omni):
    return tiny_omni


@pytest.fixture(scope="module")
def sample():
    return avsink.load_samples("toyworld", tasks=["sounding object"], n_samples=1)[0]


@pytest.fixture(scope="module")
def found(model, sample):
    return explore(model, sample)


def test_tokens_tile_their_frames_and_the_sound(model, sample, found):
    layout = model.prepare(sample).layout
    here = found.tokens[found.tokens["layer"] == 0]
    assert sorted(here["position"]) == sorted([*layout.video.tolist(), *layout.audio.tolist()])
    for frame, own in zip(found.frames.itertuples(), layout.frames, strict=True):
        cells = here[here["position"].isin(own.tolist())]
        area = ((cells["x2"] - cells["x"]) * (cells["y2"] - cells["y"])).sum()
        assert area == pytest.approx(frame.width * frame.height) and frame.url.startswith("data:image/")
        assert cells["x"].min() == pytest.approx(frame.x) and cells["y2"].max() == pytest.approx(frame.y + frame.height)
    sound = here[here["modality"] == "audio"].sort_values("position")
    assert sound["x"].iloc[0] == 0 and sound["x2"].iloc[-1] == pytest.approx(1)
    assert sound["x2"].to_numpy()[:-1] == pytest.approx(sound["x"].to_numpy()[1:])
    assert found.wave["x2"].max() <= 1 and found.tokens["y2"].max() == pytest.approx(found.height)
    chunk = {int(position): k for k, own in enumerate(layout.audio_chunks) for position in own}
    assert sound["place"].tolist() == [f"sound token {at}, chunk {chunk[p]}" for at, p in enumerate(sound["position"])]


def test_readers_are_those_of_the_full_attention_maps(model, sample, found):
    inputs = model.prepare(sample)
    (maps,) = observe(model, inputs, [Maps([2, 5], bins=inputs.layout.n)])
    assert maps.size == 1
    media = torch.cat([inputs.layout.video, inputs.layout.audio]).tolist()
    for layer in (2, 5):
        own = found.readers[found.readers["layer"] == layer]
        told = {(row.key, row.position): row.weight for row in own.itertuples()}
        for key in sorted(set(found.readers["key"])):
            for reader in media:
                weight = float(maps.weights[layer][reader, key])
                if reader > key and weight > FEWEST * 1.01:
                    assert told[key, reader] == pytest.approx(weight, rel=1e-3, abs=1e-6)
                elif weight < FEWEST * 0.99 or reader <= key:
                    assert (key, reader) not in told


def test_the_chart_shows_one_layer_and_asks_about_a_token(model, found):
    spec = charts.explorer(
        found, tau=model.card.sink_tau, caption="c", description=descriptions.explored(found)
    ).body.to_dict()
    names = {param["name"] for param in spec["params"]}
    assert {"at_layer", "asked"} <= names and spec["usermeta"]["ratio"] > found.height
    assert found.first in set(found.readers["key"])


def test_in_a_long_clip_it_is_said_whose_readers_are_not_known(model, sample, monkeypatch):
    monkeypatch.setattr(clip_explorer, "MOST", 3)
    found = explore(model, sample)
    here = found.tokens[found.tokens["layer"] == 3]
    assert here.groupby("modality")["asked"].sum().to_dict() == {"audio": 3, "video": 3}
    assert set(found.readers["key"]) <= set(here[here["asked"]]["position"])
    last = here.sort_values("position").iloc[-1]  # a sound after all video
    assert np.isnan(last["video"]) and last["text"] >= 0


def test_a_number_beyond_the_samples_is_refused(sample):
    assert nth([sample], 0) is sample
    with pytest.raises(ValueError, match="number: 5; there are 1 samples, so the last one is 0"):
        nth([sample], 5)


def test_what_is_not_one_clip_is_refused(model):
    match = avsink.load_samples("toyworld", tasks=["match the reference"], n_samples=1)[0]
    with pytest.raises(ValueError, match="is not one clip with picture and sound"):
        explore(model, match)


@pytest.mark.parametrize("layer", [-1, 8])
def test_layers_that_the_model_lacks_are_refused(model, sample, layer):
    with pytest.raises(ValueError, match=f"layers: there is no layer {layer}; this model's are 0 to 7"):
        explore(model, sample, layers=[0, layer])
