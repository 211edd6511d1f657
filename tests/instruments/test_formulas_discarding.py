"""Which layer is the last that is needed, what is discarded under each configuration, and what that saves."""

from __future__ import annotations

import random

import pandas as pd
import pytest
from formulas import decoder as plain
from formulas.flow import letters, needed
from formulas.prompts import CLIP, LETTERS, MATCH, asked, decoder, sample_of, where

from avsink.instruments import discarding

LAYERS = 4
# Table 4: what each configuration discards
CLIP_CONFIGS = {
    "Discard Ques": ("NonOptQ", lambda t: t.asked and t.kind != "letter"),
    "Discard Audio": ("Audio", lambda t: t.kind == "audio"),
    "Discard Video": ("Video", lambda t: t.kind == "video"),
}
MATCH_CONFIGS = {
    "Discard Ques": ("NonOptQ", lambda t: t.asked and t.kind != "letter"),
    "Discard Ref": ("Reference", lambda t: t.role == "reference"),
    "Discard Cand": ("Candidates", lambda t: t.role == "candidate"),
}


@pytest.fixture(scope="module", params=["clip", "several items"])
def case(request):
    tokens, configs = {"clip": (CLIP, CLIP_CONFIGS), "several items": (MATCH, MATCH_CONFIGS)}[request.param]
    return asked(decoder(), tokens), tokens, configs


@pytest.mark.parametrize("seed", range(40))
def test_the_last_layer_that_is_needed(seed):
    draw = random.Random(seed)
    lows = {
        category: [draw.choice([0.0, -0.05, -0.09, -0.1, -0.11, -0.4]) for _ in range(6)]
        for category in "abc"[: draw.randint(1, 3)]
    }
    for own in lows.values():  # harm early, none late, as of curves
        late = draw.randint(0, 6)
        own[late:] = [draw.choice([0.0, -0.05, -0.1]) if draw.random() < 0.3 else 0.0 for _ in own[late:]]
    if draw.random() < 0.2:
        lows["single"] = [float("nan")] * 6
    rows = [("Video↛Others", at - 1, name, low) for name, own in lows.items() for at, low in enumerate(own)]
    rows += [("Audio↛Others", layer, name, -1.0) for _, layer, name, _ in rows]
    curves = pd.DataFrame(rows, columns=["pathway", "layer", "category", "low"]).sample(frac=1, random_state=seed)
    found = discarding.last_needed(curves, pathway="Video↛Others", n_layers=6, margin=0.1)
    assert found == needed(lows, margin=0.1)


def operations(config, rows: list[int]) -> float:
    """Multiplications and additions of all layers, of which each has so many rows."""
    width, mlp = config.hidden_size, config.intermediate_size
    size = width // config.num_attention_heads
    matrices = [
        (width, config.num_attention_heads * size),  # queries
        *[(width, config.num_key_value_heads * size)] * 2,  # keys, values
        (config.num_attention_heads * size, width),
        *[(width, mlp)] * 2,
        (mlp, width),
    ]
    total = 0
    for count in rows:
        for row in range(count):
            total += sum(2 * a * b for a, b in matrices)
            keys = row + 1
            total += config.num_attention_heads * (2 * size * keys + 2 * size * keys)  # scores, and sums of values
    return total


def test_every_configuration(case):
    model, tokens, configs = case
    after = dict(zip([group for group, _ in configs.values()], (2, 1, -1), strict=True))
    plans = {"Baseline": []}
    for name, (group, test) in configs.items():
        plans[name] = [("discard", where(tokens, test), max(0, after[group]))]
    plans["Discard All"] = [one for plan in list(plans.values()) for one in plan]
    for answer in LETTERS:
        rows = discarding.compare(model, sample_of(answer), after=after, rounds=1)
        assert rows["config"].tolist() == list(plans)
        for row in rows.itertuples():
            right = plain.run(model, model.prepare(sample_of(answer)), plans[row.config])
            said = letters(right.logits[-1].tolist(), LETTERS)
            assert row.predicted == max(said, key=said.get) and row.correct == (row.predicted == answer)
            left = [int((~states.isnan()).all(-1).sum()) for states in right.inputs]
            assert row.tokens == sum(left) and row.chance == pytest.approx(1 / 3)
            config, whole = model.decoder.config, [len(tokens)] * LAYERS
            assert row.arithmetic == pytest.approx(operations(config, left) / operations(config, whole))
    assert discarding.arithmetic(model, model.prepare(sample_of("A")).layout) == operations(config, whole)


def test_a_group_that_is_not_named_stays(case):
    model, tokens, configs = case
    (name, (group, test)), *_ = configs.items()
    found = discarding.configurations(model.prepare(sample_of("A")).layout, after={group: 1})
    assert list(found) == ["Baseline", name, "Discard All"] and found["Baseline"] == ()
    for only in (name, "Discard All"):
        [discard] = found[only]
        assert discard.positions.tolist() == where(tokens, test) and discard.after_layer == 1
