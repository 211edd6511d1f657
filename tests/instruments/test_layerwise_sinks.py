"""The sinks of each layer, restored at that layer alone, against a plain decoder in float64."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from formulas import decoder as plain
from formulas import hubs
from formulas.flow import letters
from formulas.prompts import CLIP, LETTERS, LOUD, asked, decoder, inputs_of, sample_of, where

from avsink.instruments import layerwise_sinks, tracing

LAYERS, DIMS = 4, (LOUD, 40, 3)
TOKENS = {kind: where(CLIP, lambda t, kind=kind: t.kind == kind) for kind in ("video", "audio")}
OTHER = {"audio": "video", "video": "audio"}


@pytest.mark.parametrize(("kind", "seed"), [("audio", 4), ("video", 0)])
def test_each_layer_gets_its_own_sinks(kind, seed):
    passes = {
        muted: plain.run(decoder(), inputs_of(decoder(), CLIP, seed=seed, muted=muted))
        for muted in ("", "video", "audio")
    }
    said = {muted: letters(one.logits[-1].tolist(), LETTERS) for muted, one in passes.items()}
    o_clean, o_corrupt = (max(said[muted], key=said[muted].get) for muted in ("", kind))
    phis = [[hubs.phi(x, DIMS) for x in rows.tolist()] for rows in passes[""].inputs]
    ordered = sorted(phi for layer in phis for phi in layer)
    tau = sum(ordered[len(ordered) * 6 // 10 :][:2]) / 2
    model = asked(decoder(), CLIP, seed=seed)
    model.card = SimpleNamespace(name="m", sink_dims=DIMS, sink_tau=tau)
    found = layerwise_sinks.trace(model, sample_of("B")).iloc[0]

    own = [[p for p in TOKENS[OTHER[kind]] if phis[layer][p] > tau] for layer in range(LAYERS)]
    assert len({tuple(sinks) for sinks in own}) > 1 and any(own), "take another threshold"
    plan = [("restore", sinks, [layer], passes[""]) for layer, sinks in enumerate(own)]
    one = plain.run(model, inputs_of(model, CLIP, seed=seed, muted=kind), plan)
    restored = letters(one.logits[-1].tolist(), LETTERS)
    assert (found["dominance"], found["o_clean"], found["o_corrupt"]) == (kind, o_clean, o_corrupt)
    assert (found["token_set"], found["one_in"]) == (layerwise_sinks.TOKEN_SET, 0)
    assert found["ie_clean"] == pytest.approx(hubs.ie_clean(restored, said[kind], o_clean), abs=1e-6)
    assert found["ie_corrupt"] == pytest.approx(hubs.ie_corrupt(restored, said[kind], o_corrupt), abs=1e-6)
    assert found["p_clean"] == pytest.approx(restored[o_clean], rel=1e-4)
    assert found["p_corrupt"] == pytest.approx(restored[o_corrupt], rel=1e-4)
    assert found["tokens"] == sum(map(len, own)) / LAYERS
    whole = tracing.trace(model, sample_of("B"), one_in=[2], draws=1)
    assert set(whole.columns) == set(found.index)
