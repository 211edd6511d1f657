"""Sinks by kind of token: against the steps written out in loops, on the planted decoder, and by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from formulas import calibration as steps
from formulas import decoder as plain
from formulas import hubs
from formulas.prompts import CLIP, asked, decoder, inputs_of, sample_of, where

from avsink.instruments import sink_calibration, sink_kinds
from avsink.testing.planted_decoder import planted

LIMITS = steps.Limits(share=0.15, large=0.5, common=0.1, drawn=0.9)
TEXT = ("text", "letter", "word", "other", "header", "last")
GROUPS = {
    "system": where(CLIP, lambda t: t.kind == "system"),
    "video": where(CLIP, lambda t: t.kind == "video"),
    "audio": where(CLIP, lambda t: t.kind == "audio"),
    "user instruction": where(CLIP, lambda t: t.kind in TEXT),
}


def test_every_kind_of_token_at_every_layer(monkeypatch):
    for name in ("share", "large", "common", "drawn"):
        monkeypatch.setattr(sink_calibration, name.upper(), getattr(LIMITS, name))
    right = plain.run(decoder(), inputs_of(decoder(), CLIP))
    marks = steps.marks(right, LIMITS)
    rows = sink_kinds.by_group(asked(decoder(), CLIP), sample_of("B"))
    layers = len(right.inputs)
    assert list(zip(rows["layer"], rows["group"], strict=True)) == [(at, g) for at in range(layers) for g in GROUPS]
    assert set(rows["n_layers"]) == {layers} and (rows["sinks"] > 0).any() and (rows["sinks"] == 0).any()
    for row in rows.itertuples():
        own = GROUPS[row.group]
        found = [(token, dim) for at, token, dim in marks if at == row.layer and token in own]
        assert (row.tokens, row.sinks) == (len(own), len({token for token, _ in found}))
        assert row.dimensions == " ".join(map(str, sorted({dim for _, dim in found})))
        norms = [sum(x**2 for x in state) ** 0.5 for state in right.inputs[row.layer].tolist()]
        weights = [hubs.mean(right.weights[row.layer][:, -1, token].tolist()) for token in own]
        assert row.share == pytest.approx(sum(weights), abs=1e-6)
        read = sum(weight * norms[token] for weight, token in zip(weights, own, strict=True)) / sum(weights)
        assert row.l2_read == pytest.approx(read, rel=1e-4)
        assert row.l2 == pytest.approx(steps.median([norms[token] for token in own]), rel=1e-5)
        assert row.l2_all == pytest.approx(steps.median(norms), rel=1e-5)


def test_the_planted_hub_is_a_vision_sink_and_there_is_no_language_sink():
    truth = planted()
    truth.model.prepare = lambda sample: truth.inputs("B")
    rows = sink_kinds.by_group(truth.model, SimpleNamespace(id="s", task="t", category="c"))
    video = rows[rows["group"] == "video"].set_index("layer")
    assert video["sinks"].tolist() == [int(layer >= truth.sink_from) for layer in video.index]
    assert set(video.loc[video["sinks"] > 0, "dimensions"]) == {" ".join(map(str, sorted(truth.sink_dims)))}
    assert rows.loc[rows["group"] != "video", "sinks"].eq(0).all()
    assert sink_kinds.begins(rows, group="video").to_dict() == {"s": truth.sink_from}
    assert sink_kinds.begins(rows, group="system").isna().tolist() == [True]
    assert sink_kinds.shared(rows, layer=truth.sink_from).isna().tolist() == [True]


def test_where_sinks_begin_and_what_they_share_by_hand():
    seen = {  # sample -> group -> dimensions at each layer
        "a": {"system": ["", "3 7", "3 7", "3 7"], "video": ["", "", "", "3 7 9"]},
        "b": {"system": ["3", "", "3", "3"], "video": ["", "", "7", "7"]},
        "c": {"system": ["", "", "", ""], "video": ["3", "3", "3", "3"]},
    }
    rows = pd.DataFrame(
        {"sample": sample, "group": group, "layer": layer, "dimensions": text, "sinks": len(text.split())}
        for sample, groups in seen.items()
        for group, layers in groups.items()
        for layer, text in enumerate(layers)
    )
    assert sink_kinds.begins(rows, group="video").tolist() == [3, 2, 0]
    assert sink_kinds.begins(rows, group="system").tolist()[:2] == [1, 0]
    assert np.isnan(sink_kinds.begins(rows, group="system")["c"])
    assert sink_kinds.shared(rows, layer=3)[["a", "b"]].tolist() == pytest.approx([2 / 3, 0.0])
    assert sink_kinds.shared(rows, layer=3).isna().tolist() == [False, False, True]
    assert sink_kinds.shared(rows, layer=0).isna().all()
