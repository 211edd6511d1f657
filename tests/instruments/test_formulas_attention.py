"""Shares of attention, their spike, masks in late layers and norms, against a plain decoder in float64."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pandas as pd
import pytest
from formulas import decoder as plain
from formulas import hubs
from formulas.flow import letters, spike
from formulas.prompts import CLIP, LETTERS, MATCH, asked, decoder, inputs_of, sample_of, where

from avsink.instruments import attention_shares

LAYERS = 4
TEXT = ("text", "letter", "word", "label", "delimiter", "other", "header", "last")
GROUPS = {
    "system": lambda t: t.kind == "system",
    "video": lambda t: t.kind == "video",
    "audio": lambda t: t.kind == "audio",
    "user instruction": lambda t: t.kind in TEXT,
}


@pytest.fixture(scope="module", params=["clip", "several items"])
def case(request):
    tokens = {"clip": CLIP, "several items": MATCH}[request.param]
    return asked(decoder(), tokens), tokens, plain.run(decoder(), inputs_of(decoder(), tokens))


def test_shares_of_the_last_tokens_attention(case):
    model, tokens, right = case
    rows = attention_shares.allocation(model, sample_of("B"))
    groups = {name: where(tokens, test) for name, test in GROUPS.items()}
    parts = sorted({t.part for t in tokens if t.kind == "video"})
    first = [min(where(tokens, lambda t, k=k: t.kind == "video" and t.part == k)) for k in parts]
    groups["first video token of each frame"] = first
    assert set(rows["group"]) == {*groups, "video's sinks", "video's sinks, a layer before"}
    rows = rows[rows["group"].isin(groups)]
    assert len(rows) == LAYERS * len(groups)
    for row in rows.itertuples():
        weights = right.weights[row.layer][:, -1]  # (heads, N)
        share = sum(hubs.mean(weights[:, key].tolist()) for key in groups[row.group])
        assert row.share == pytest.approx(share, abs=1e-6) and row.tokens == len(groups[row.group])


@pytest.mark.parametrize("calibrated", [False, True])
def test_shares_of_tokens_that_are_sinks_at_a_layer(case, calibrated, monkeypatch):
    model, tokens, right = case
    monkeypatch.setattr(attention_shares, "OUTLIER", 1.05)
    card = SimpleNamespace(sink_dims=(7, 3) if calibrated else None, sink_tau=1.5 if calibrated else None)
    monkeypatch.setattr(model, "card", card)
    rows = attention_shares.allocation(model, sample_of("B")).set_index(["group", "layer"])
    some = []
    for layer in range(LAYERS):
        states = right.inputs[layer].tolist()
        size = [math.sqrt(sum(value**2 for value in x)) for x in states]
        middle = sorted(size)[(len(size) - 1) // 2]
        large = [
            hubs.phi(x, (7, 3)) > 1.5 if calibrated else one > 1.05 * middle
            for x, one in zip(states, size, strict=True)
        ]
        sinks = [at for at in where(tokens, lambda t: t.kind == "video") if large[at]]
        some.append(len(sinks))
        for group, at in (("video's sinks", layer), ("video's sinks, a layer before", layer - 1)):
            if at >= 0:
                share = sum(hubs.mean(right.weights[at][:, -1, key].tolist()) for key in sinks)
                row = rows.loc[(group, layer)]
                assert row["share"] == pytest.approx(share, abs=1e-6) and row["tokens"] == len(sinks)
    assert ("video's sinks, a layer before", 0) not in rows.index
    assert 0 < max(some) < len(where(tokens, lambda t: t.kind == "video")) * 1.01


@pytest.mark.parametrize(
    "shares",
    [
        [[0.1, 0.9, 0.2, 0.3, 0.35, 0.9, 0.95, 0.1]],
        [[0.1, 0.2, 0.9, 0.95, 0.97]],  # five layers: the upper half begins at layer 3
        [[0.0, 0.1, 0.1, 0.6, 0.1, 0.5], [0.0, 0.1, 0.1, 0.2, 0.7, 0.8], [0.0, 0.1, 0.1, 0.2, 0.7, 0.9]],
        [[0.0, 0.0, 0.9, 0.8, 0.7, 0.75]],
    ],
)
def test_the_spike(shares):
    rows = [("video", layer, share) for sample in shares for layer, share in enumerate(sample)]
    rows += [("audio", layer, 1 - share) for _, layer, share in rows]
    assert attention_shares.spike(pd.DataFrame(rows, columns=["group", "layer", "share"])) == spike(shares)


def test_media_hidden_in_late_layers(case):
    model, tokens, _ = case
    first, text = 2, where(tokens, lambda t: t.kind == "system" or t.kind in TEXT)
    video, audio = (where(tokens, lambda t, kind=kind: t.kind == kind) for kind in ("video", "audio"))
    masks = {
        "Original causal mask": ([], []),
        "Mask video for last token": (video, [len(tokens) - 1]),
        "Mask video for all text": (video, text),
        "Mask video and audio for all text": ([*video, *audio], text),
    }
    expected = {}
    for name, (sources, targets) in masks.items():
        inputs = model.prepare(sample_of("B"))
        logits = plain.run(model, inputs, [("block", sources, targets, range(first, LAYERS))]).logits[-1].tolist()
        expected[name] = letters(logits, LETTERS)
    assert len({round(said["B"], 6) for said in expected.values()}) >= 3
    for answer in LETTERS:
        rows = attention_shares.masking(model, sample_of(answer), first_layer=first)
        assert rows["mask"].tolist() == list(masks) and rows["layers"].eq(LAYERS - first).all()
        for row in rows.itertuples():
            said = expected[row.mask]
            best = max(said, key=said.get)
            assert row.predicted == best and row.correct == (best == answer) and row.chance == pytest.approx(1 / 3)
            assert row.p == pytest.approx(said[answer], rel=1e-4)


@pytest.mark.parametrize("calibrated", [False, True])
def test_norms_and_their_outliers(case, calibrated, monkeypatch):
    model, tokens, right = case
    monkeypatch.setattr(attention_shares, "OUTLIER", 1.2)
    dims, tau = (7, 3), 1.5
    card = SimpleNamespace(sink_dims=dims if calibrated else None, sink_tau=tau if calibrated else None)
    monkeypatch.setattr(model, "card", card)
    rows = attention_shares.norms(model, sample_of("B"), layers=[0, 3])
    assert len(rows) == 2 * len(tokens)
    for layer, own in rows.groupby("layer"):
        states = right.inputs[layer].tolist()
        size = [math.sqrt(sum(value**2 for value in x)) for x in states]
        middle = sorted(size)[(len(size) - 1) // 2]  # the lower one of two in the middle
        assert own["position"].tolist() == list(range(len(tokens)))
        assert own["l2"].tolist() == pytest.approx(size, rel=1e-5)
        sinks = [hubs.phi(x, dims) > tau for x in states] if calibrated else [one > 1.2 * middle for one in size]
        assert own["sink"].tolist() == sinks and True in sinks and False in sinks
        assert own["group"].tolist() == [next(g for g, test in GROUPS.items() if test(t)) for t in tokens]
