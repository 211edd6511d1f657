"""Windows and Δp of sweeps, against a plain decoder in float64 whose edges are cut one by one."""

from __future__ import annotations

import pytest
from formulas import decoder as plain
from formulas.flow import change, edges, letters, window
from formulas.prompts import CLIP, LETTERS, MATCH, asked, decoder, sample_of

from avsink.instruments import knockout

LAYERS = 5
CASES = {  # the prompt, the seed of one that is answered B, and pathways
    "clip": (CLIP, 15, ("Cross-frame", "Audio↮Video", "V+A↛Question", "Question↛Last", "NonOptQ↛TrueOpt")),
    "several items": (
        *(MATCH, 1),
        ("Candidates↛Reference", "IncorrectOpt↛Last", "Reference↛Last", "CorrectCand↛CorrectOpt"),
    ),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """The decoder that is asked, its prompt, the names of pathways, and the probability of B."""
    tokens, seed, names = CASES[request.param]
    model = asked(decoder(layers=LAYERS), tokens, seed=seed)
    said = letters(plain.run(model, model.prepare(sample_of("B"))).logits[-1].tolist(), LETTERS)
    assert max(said, key=said.get) == "B", "take another seed"
    return model, tokens, names, said["B"]


def knocked_out(model, tokens, name: str, layers: list[int]) -> float:
    """The probability of B without the pathway's edges in these layers."""
    plan = [("block", [key], [query], layers) for key, query in edges(name, tokens)]
    logits = plain.run(model, model.prepare(sample_of("B")), plan).logits[-1].tolist()
    return letters(logits, LETTERS)["B"]


@pytest.mark.parametrize("n_layers", [1, 4, 9])
def test_a_window_holds_the_layers_that_are_near_its_centre(n_layers):
    for k in (1, 3, 5, 7, 11, 15, 17):
        windows = [window(center, k=k, n_layers=n_layers) for center in range(n_layers)]
        for center, layers in enumerate(windows):
            if k == 1 or any(len(other) < n_layers for other in windows):
                assert list(knockout.window(center, k=k, n_layers=n_layers)) == layers
            else:
                with pytest.raises(ValueError, match=f"a window of {k} layers holds all {n_layers} layers"):
                    knockout.window(center, k=k, n_layers=n_layers)


def test_a_sweep(case):
    model, tokens, names, p_base = case
    rows = knockout.sweep(model, sample_of("B"), k=3, pathways=names)
    assert list(zip(rows["pathway"], rows["layer"], strict=True)) == [(n, at) for n in names for at in range(LAYERS)]
    for row in rows.itertuples():
        layers = window(row.layer, k=3, n_layers=LAYERS)
        assert list(range(row.window_start, row.window_stop)) == layers
        p = knocked_out(model, tokens, row.pathway, layers)
        assert row.p_base == pytest.approx(p_base, rel=1e-4) and row.p_knockout == pytest.approx(p, rel=1e-4)
        assert row.delta_p == pytest.approx(change(p, p_base), abs=3e-4)
    assert rows["delta_p"].max() > 0.01 and rows["delta_p"].min() < -0.01  # both signs are seen


def test_blocking_onward(case):
    model, tokens, names, p_base = case
    rows = knockout.onward(model, sample_of("B"), pathways=names[:2])
    last_open = range(-1, LAYERS - 1)
    assert list(zip(rows["pathway"], rows["layer"], strict=True)) == [(n, at) for n in names[:2] for at in last_open]
    for row in rows.itertuples():
        p = knocked_out(model, tokens, row.pathway, [layer for layer in range(LAYERS) if layer > row.layer])
        assert row.delta_p == pytest.approx(change(p, p_base), abs=3e-4)
