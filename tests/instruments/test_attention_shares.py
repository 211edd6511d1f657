"""Measurements of Flow's Finding 1, against full attention maps and full passes with masks made by hand."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from tiny import TinyModel, prompt

from avsink.engine.run import clean_run
from avsink.instruments import attention_shares
from avsink.sample import Media, Sample


@pytest.fixture(scope="module")
def model():
    tiny = TinyModel()
    full = prompt(tiny)
    inside = torch.cat([full.layout.video, full.layout.audio])
    full.layout.system = torch.arange(int(inside.min()))
    tiny.prepare = lambda sample: full
    tiny.card = SimpleNamespace(sink_dims=None, sink_tau=None)
    return tiny


@pytest.fixture(scope="module")
def sample():
    clip = Media(path=Path("clip.mp4"), kind="video")
    return Sample(id="s1", task="toy", category="mixed", parts=(clip,), options=("bell", "dog"), answer="A")


@pytest.fixture(scope="module")
def weights(model):
    """(layers, heads, N, N), by transformers' own eager attention."""
    plain = TinyModel(implementation="eager")
    plain.hf.load_state_dict(model.hf.state_dict())
    with torch.inference_mode():
        return torch.stack(plain.hf(**model.prepare(None).tensors, output_attentions=True).attentions)[:, 0]


def test_shares_are_those_of_the_full_maps_and_sum_to_one(model, sample, weights):
    rows = attention_shares.allocation(model, sample)
    table = rows.pivot(index="layer", columns="group", values="share")
    layout, last = model.prepare(sample).layout, weights[:, :, -1].mean(dim=1)  # (layers, N)
    assert table[list(attention_shares.GROUPS)].sum(axis=1).to_numpy() == pytest.approx(1)
    assert table["video"].to_numpy() == pytest.approx(last[:, layout.video].sum(-1).numpy(), abs=1e-6)
    first = [int(frame[0]) for frame in layout.frames]
    assert table[attention_shares.FIRST].to_numpy() == pytest.approx(last[:, first].sum(-1).numpy(), abs=1e-6)
    assert (table[attention_shares.FIRST] <= table["video"]).all()


def test_the_spike_is_the_greatest_rise_in_the_upper_half():
    def shares(video):
        rows = [
            ("s", layer, group, x) for layer, v in enumerate(video) for group, x in (("video", v), ("audio", 1 - v))
        ]
        return pd.DataFrame(rows, columns=["sample", "layer", "group", "share"])

    assert attention_shares.spike(shares([0.0, 0.9, 0.1, 0.1, 0.2, 0.5, 0.6, 0.6])) == 5
    assert attention_shares.spike(shares([0.0, 0.0, 0.0, 0.4])) == 3
    with pytest.raises(ValueError, match="no sample has video"):
        attention_shares.spike(shares([0.1, 0.2]).query("group != 'video'"))


def test_masking_is_a_full_pass_with_the_mask(model, sample):
    inputs = model.prepare(sample)
    layout, n, first_layer = inputs.layout, inputs.layout.n, 2
    rows = attention_shares.masking(model, sample, first_layer=first_layer).set_index("mask")
    assert list(rows.index) == list(attention_shares.MASKS)
    text = [i for i in range(n) if i not in set(layout.video.tolist()) | set(layout.audio.tolist())]
    hidden = {
        "Original causal mask": ([], []),
        "Mask video for last token": (layout.video, [n - 1]),
        "Mask video for all text": (layout.video, text),
        "Mask video and audio for all text": (torch.cat([layout.video, layout.audio]), text),
    }
    for name, (keys, queries) in hidden.items():
        readable = torch.ones(n, n, dtype=torch.bool).tril()
        if len(keys):
            readable[torch.as_tensor(queries)[:, None], torch.as_tensor(keys)[None]] = False
        bias = torch.zeros(n, n).masked_fill(~readable, float("-inf"))[None, None]
        hooks = [
            layer.register_forward_pre_hook(
                lambda module, args, kwargs, bias=bias: (args, kwargs | {"attention_mask": bias}), with_kwargs=True
            )
            for layer in model.decoder.layers[first_layer:]
        ]
        with torch.inference_mode():
            p = model.hf(**inputs.tensors).logits[0, -1].float().softmax(-1)
        for hook in hooks:
            hook.remove()
        assert rows.loc[name, "p"] == pytest.approx(float(p[inputs.letters["A"][0]]), rel=1e-4)


def test_norms_mark_tokens_that_are_far_larger_than_the_rest_and_say_where_they_are(model, sample, monkeypatch):
    rows = attention_shares.norms(model, sample, layers=[0, 2])
    n = model.prepare(sample).layout.n
    assert len(rows) == 2 * n and set(rows["layer"]) == {0, 2}
    for _, layer in rows.groupby("layer"):
        assert (layer["sink"] == (layer["l2"] > attention_shares.OUTLIER * layer["l2"].median())).all()
    frames = model.prepare(sample).layout.frames
    assert rows[rows["position"].isin([int(f[0]) for f in frames])]["at"].eq(0).all()
    monkeypatch.setattr(model.card, "sink_dims", (1,))
    monkeypatch.setattr(model.card, "sink_tau", 0.0)
    assert attention_shares.norms(model, sample, layers=[1])["sink"].all()


def test_dimensions_are_those_of_the_largest_tokens(model, sample):
    sizes = attention_shares.dimensions(model, sample, layer=1)
    inputs = model.prepare(sample)
    states, layout = clean_run(model, inputs).states.inputs[1], inputs.layout
    media = torch.cat([layout.video, layout.audio])
    for token, group in (("largest system token", layout.system), ("largest media token", media)):
        rows = sizes[sizes["token"] == token]
        (position,) = rows["position"].unique()
        assert position in group and states[position].norm() == states[group].norm(dim=-1).max()
        assert rows["dimension"].tolist() == list(range(model.decoder.config.hidden_size))
        assert rows["magnitude"].to_numpy() == pytest.approx(states[position].abs().numpy())


def test_maps_are_below_the_diagonal_and_named(model, sample):
    rows = attention_shares.maps(model, sample, layers=[1], bins=10)
    assert (rows["key"] <= rows["query"]).all() and rows["weight"].between(0, 1).all()
    assert set(rows["query_group"]) <= set(attention_shares.GROUPS)


@pytest.mark.parametrize("layer", [-1, 4, 99])
def test_layers_that_the_model_lacks_are_refused(model, sample, layer):
    """Not one of them is taken to be another one, or none."""
    for name, measure in {
        "first_layer": lambda: attention_shares.masking(model, sample, first_layer=layer),
        "layers": lambda: attention_shares.norms(model, sample, layers=[0, layer]),
        "layer": lambda: attention_shares.dimensions(model, sample, layer=layer),
    }.items():
        with pytest.raises(ValueError, match=f"^{name}: there is no layer {layer}; this model's are 0 to 3"):
            measure()
