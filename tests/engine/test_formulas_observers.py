"""Observers against the attention weights and states of a plain decoder in float64, token by token."""

from __future__ import annotations

import math

import pytest
import torch
from formulas import decoder as plain
from formulas import hubs
from formulas.prompts import CLIP, decoder, inputs_of

from avsink.engine.observers import ColumnMeans, LastRow, Maps, Norms, Readers, observe

N, LAYERS, HEADS = len(CLIP), 4, 6
GROUPS = {"video": [p for p in range(N) if CLIP[p].kind == "video"], "some": [3, 12, 13, 30], "last": [N - 1], "no": []}


@pytest.fixture(scope="module")
def model():
    return decoder()


@pytest.fixture(scope="module")
def inputs(model):
    return inputs_of(model, CLIP)


@pytest.fixture(scope="module")
def right(model, inputs):
    return plain.run(model, inputs)


def mean_over_heads(right, layer: int, query: int, key: int) -> float:
    return sum(float(right.weights[layer][head, query, key]) for head in range(HEADS)) / HEADS


def test_the_share_of_a_group_is_the_sum_of_its_tokens_weights(model, inputs, right):
    [found] = observe(model, inputs, [LastRow(GROUPS)])
    for name, positions in GROUPS.items():
        for layer in range(LAYERS):
            share = sum(mean_over_heads(right, layer, N - 1, key) for key in positions)
            assert float(found[name][layer]) == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize("budget", [2**22, 1], ids=["at once", "query by query"])
def test_what_a_token_receives_is_the_mean_over_later_queries_and_heads(model, inputs, right, monkeypatch, budget):
    monkeypatch.setattr("avsink.engine.observers.WEIGHTS", budget)
    [found] = observe(model, inputs, [ColumnMeans(**GROUPS)])
    for name, positions in GROUPS.items():
        for layer in range(LAYERS):
            for key in range(N):
                given = [mean_over_heads(right, layer, query, key) for query in positions if query > key]
                mean = sum(given) / len(given) if given else math.nan
                assert float(found[name][layer, key]) == pytest.approx(mean, abs=1e-6, nan_ok=True)


def test_norms_and_phi_of_each_token(model, inputs, right):
    dims = (7, 40, 3)
    [found] = observe(model, inputs, [Norms(dims)])
    signs = set()
    for layer in range(LAYERS):
        for position in range(N):
            x = right.inputs[layer][position].tolist()
            size = math.sqrt(sum(value**2 for value in x))
            largest = max((abs(x[d]), x[d]) for d in dims)
            signs.add(largest[1] > 0)
            assert float(found["l2"][layer, position]) == pytest.approx(size, rel=1e-5)
            rms = math.sqrt(sum(value**2 for value in x) / len(x))
            assert float(found["phi"][layer, position]) == pytest.approx(largest[0] / rms, rel=1e-5)
    assert signs == {True, False}


@pytest.mark.parametrize("size", [1e-30, 1e-15, 1e-3, 1e15, 1e30])
def test_phi_does_not_depend_on_the_size_of_a_row(size):
    """Its squares are none that float32 holds, its values are."""
    rows = torch.randn(5, 24, generator=torch.Generator().manual_seed(0))
    rows[:4] *= size
    observer = Norms((2, 7))
    observer.begin()
    observer.enter(0, torch.cat([rows, torch.zeros(1, 24)]), {})
    expected = [hubs.phi(x, (2, 7)) for x in rows.double().tolist()]
    assert observer.result()["phi"][0].tolist() == pytest.approx([*expected, 0.0], rel=1e-5)


@pytest.mark.parametrize("bins", [100, 5])
def test_a_square_of_a_map_holds_its_largest_weight(model, inputs, right, bins):
    [found] = observe(model, inputs, [Maps([0, 2], bins=bins)])
    size = math.ceil(N / bins)
    assert found.size == size and set(found.weights) == {0, 2}
    for layer, squares in found.weights.items():
        for a, row in enumerate(squares.tolist()):
            for b, weight in enumerate(row):
                queries, keys = (range(at * size, min((at + 1) * size, N)) for at in (a, b))
                largest = max(mean_over_heads(right, layer, query, key) for query in queries for key in keys)
                assert weight == pytest.approx(largest, abs=1e-6)


def test_the_readers_of_a_token_are_its_column(model, inputs, right):
    keys = [0, 8, 30]
    [found] = observe(model, inputs, [Readers(keys)])
    assert found.shape == (LAYERS, N, len(keys))
    for layer in range(LAYERS):
        for query in range(N):
            for at, key in enumerate(keys):
                weight = mean_over_heads(right, layer, query, key)
                assert float(found[layer, query, at]) == pytest.approx(weight, abs=1e-6)
