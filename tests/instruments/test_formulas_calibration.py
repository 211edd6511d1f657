"""Calibration against its steps written out in loops, on a decoder with random weights and a few loud tokens."""

from __future__ import annotations

import math
import random

import pytest
from formulas import calibration as steps
from formulas import decoder as plain
from formulas import hubs
from formulas.prompts import CLIP, decoder, inputs_of, where

from avsink.instruments import sink_calibration

N, LAYERS, SEEDS = len(CLIP), 4, (0, 1, 2, 3)
LIMITS = {
    "loud dimensions": steps.Limits(share=0.15, large=0.5, common=0.1, drawn=0.9),
    "many dimensions": steps.Limits(share=0.1, large=0.4, common=0.25, drawn=1.15),
    "common dimensions": steps.Limits(share=0.2, large=0.4, common=0.1, drawn=0.6),
}


@pytest.fixture(scope="module")
def model():
    made = decoder()
    made.prepare = lambda seed: inputs_of(made, CLIP, seed=seed)
    return made


@pytest.fixture(scope="module")
def passes(model):
    return [plain.run(model, model.prepare(seed)) for seed in SEEDS]


@pytest.fixture(params=LIMITS)
def limits(request, monkeypatch):
    chosen = LIMITS[request.param]
    for name in ("share", "large", "common", "drawn"):
        monkeypatch.setattr(sink_calibration, name.upper(), getattr(chosen, name))
    return chosen


def test_dimensions_layers_and_thresholds_of_some_prompts(model, passes, limits):
    found = sink_calibration.calibrate(model, SEEDS)
    marks = [steps.marks(one, limits) for one in passes]
    seen, dims = steps.dimensions(marks)
    assert dict(zip(found.seen["dimension"], found.seen["samples"], strict=True)) == seen and found.dims == dims
    assert dims and any(share == 0.5 for share in seen.values()) and any(share < 0.5 for share in seen.values())
    media = where(CLIP, lambda t: t.kind in ("video", "audio"))
    assert found.layers == steps.layers_of(marks, dims, media=media) != ()

    phis = [
        (f"formulas-{seed}", layer, token, hubs.phi(one.inputs[layer][token].tolist(), dims))
        for seed, one in zip(SEEDS, passes, strict=True)
        for layer in found.layers
        for token in range(N)
    ]
    table = found.phi[["sample", "layer", "position"]]
    assert list(table.itertuples(index=False, name=None)) == [one[:3] for one in phis]
    assert found.phi["phi"].tolist() == pytest.approx([one[3] for one in phis], rel=1e-5)
    right = threshold(found.phi["phi"].tolist(), 48, limits.share)
    assert (found.tau, found.leak) == (pytest.approx(right) if right else (None, None))
    shares = [steps.energy_share(one, token) for one in passes for token in range(N)]
    assert found.energy["share"].tolist() == pytest.approx(shares, rel=1e-4)
    assert found.fallback == pytest.approx(math.sqrt(48 * 25**2 / 3584))


# The last three of 1,500 were those with a gap that leaks, and whose lower end is the least that φ may be.
HEAPS = (*range(90), 801, 1111, 1295)


@pytest.mark.parametrize("seed", HEAPS)
def test_the_threshold_lies_in_the_clearest_gap(seed):
    """Random heaps of φ with gaps between them, some bridged by a few tokens."""
    phis, width = heaps(seed)
    right = threshold(phis, width)
    found = sink_calibration._threshold(phis, width=width)
    assert found == (pytest.approx(right) if right else (None, None))


def heaps(seed: int) -> tuple[list[float], int]:
    """Values of φ, and the width of a decoder."""
    draw = random.Random(seed)
    phis, at = [], draw.uniform(0.3, 1.5)
    for _ in range(draw.randint(1, 4)):
        phis += [draw.uniform(at, at * draw.uniform(1.05, 1.6)) for _ in range(draw.choice([20, 100, 300]))]
        at = max(phis) * draw.choice([1.05, 1.25, 1.4, 2.0, 3.0])
    phis += [draw.uniform(min(phis), max(phis)) for _ in range(draw.choice([0, 1, 2, 4]))]
    return phis, draw.choice([16, 48, 128])


def threshold(phis, width: int, share: float = 0.1):
    return steps.threshold(phis, width=width, share=share, gap=1.3, leak=0.02)


def test_heaps_of_all_kinds_are_among_them():
    found = [threshold(*heaps(seed)) for seed in HEAPS]
    leaks = [one[1] for one in found if one]
    assert found.count(None) > 20 and leaks.count(0) > 20 and sum(leak > 0 for leak in leaks) >= 5


def test_the_limits_are_those_that_are_documented():
    found = {name: getattr(sink_calibration, name) for name in ("SHARE", "LARGE", "COMMON", "DRAWN", "GAP", "LEAK")}
    assert found == {"SHARE": 0.1, "LARGE": 2.0, "COMMON": 0.25, "DRAWN": 3.0, "GAP": 1.3, "LEAK": 0.02}
