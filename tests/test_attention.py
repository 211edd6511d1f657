"""The attention function, seen through its own weights: a value matrix that is the identity gives them back."""

from types import SimpleNamespace

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from avsink.attention import Edges, attention, blocked

N = 12
LAYER = SimpleNamespace(layer_idx=2, is_causal=True, num_key_value_groups=2)


@pytest.fixture
def qkv():
    """query (2, 4 heads, N, N), key (2, 2 heads, N, N), and identity values: the output is the attention weights."""
    noise = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 4, N, N, generator=noise), torch.randn(2, 2, N, N, generator=noise)
    return query, key, torch.eye(N).expand(2, 2, N, N)


def weights(qkv, edges=(), *, layer=2, mask=None):
    """Attention weights (B, heads, Q, K)."""
    with blocked({layer: list(edges)}):
        return attention(LAYER, *qkv, mask, scaling=N**-0.5)[0].transpose(1, 2)


def oracle(qkv, edges):
    """The same by hand: softmax of QK' plus an additive mask of 0 and -inf."""
    query, key, _ = qkv
    scores = query @ key.repeat_interleave(2, dim=1).transpose(-1, -2) * N**-0.5
    mask = torch.full((2, 1, N, N), float("-inf")).triu(1)
    for element, source, target in edges:
        for i in target:
            for j in source:
                mask[element, 0, i, j] = float("-inf")
    return (scores + mask).softmax(-1).nan_to_num(0.0)


EDGES = [(0, [1, 2, 5], [4, 6, 11]), (1, [0], [3]), (1, [7, 9], [8, 10])]


def as_edges(rows):
    return [Edges(element, torch.tensor(source), torch.tensor(target)) for element, source, target in rows]


def test_without_edges_it_is_transformers_sdpa_to_the_last_bit(qkv):
    expected, _ = sdpa_attention_forward(LAYER, *qkv, None, scaling=N**-0.5)
    assert torch.equal(attention(LAYER, *qkv, None, scaling=N**-0.5)[0], expected)
    other_layer = weights(qkv, as_edges(EDGES), layer=1).transpose(1, 2)
    assert torch.equal(other_layer, expected)


def test_blocked_edges_are_exactly_zero_and_the_rest_is_renormalised(qkv):
    found = weights(qkv, as_edges(EDGES))
    for element, source, target in EDGES:
        assert (found[element][:, target][:, :, source] == 0).all()
    torch.testing.assert_close(found, oracle(qkv, EDGES), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 4, N), atol=1e-6, rtol=0)


def test_it_stays_causal(qkv):
    assert (weights(qkv, as_edges(EDGES)).triu(1) == 0).all()


def test_a_query_without_keys_reads_nothing(qkv):
    edges = [(0, list(range(N)), [0, 6])]
    found = weights(qkv, as_edges(edges))
    assert (found[0, :, [0, 6]] == 0).all()
    torch.testing.assert_close(found, oracle(qkv, edges), atol=1e-6, rtol=0)


def test_a_query_without_keys_reads_nothing_in_half_precision(qkv):
    half = tuple(tensor.to(torch.bfloat16) for tensor in qkv)
    assert (weights(half, as_edges([(1, list(range(N)), [5])]))[1, :, 5] == 0).all()


def test_the_mask_of_a_padded_batch_is_kept(qkv):
    mask = torch.ones(2, 1, N, N, dtype=torch.bool).tril()
    mask[0, :, :, :3] = False  # element 0 is padded on the left
    found = weights(qkv, as_edges([(0, [4], [8])]), mask=mask)
    assert (found[0, :, :, :3] == 0).all() and (found[0, :, 8, 4] == 0).all() and (found[1, :, 8, 4] > 0).all()


def test_the_mask_given_is_not_written_to(qkv):
    mask = torch.ones(1, 1, N, N, dtype=torch.bool).tril()
    weights(qkv, as_edges(EDGES), mask=mask)
    assert torch.equal(mask, torch.ones(1, 1, N, N, dtype=torch.bool).tril())


def test_edges_name_positions_also_while_decoding(qkv):
    """One query at the end, all keys before it: the case of a cache."""
    query, key, value = qkv
    whole = weights(qkv, as_edges([(0, [2, 3], [5, N - 1])]))
    step = weights((query[:, :, -1:], key, value), as_edges([(0, [2, 3], [5, N - 1])]))
    torch.testing.assert_close(step, whole[:, :, -1:], atol=1e-6, rtol=0)


def test_an_additive_mask_is_refused(qkv):
    with pytest.raises(TypeError, match="boolean"):
        weights(qkv, as_edges(EDGES), mask=torch.zeros(1, 1, N, N))


def test_the_context_ends_also_after_an_error(qkv):
    with pytest.raises(RuntimeError), blocked({2: as_edges(EDGES)}):
        raise RuntimeError
    expected, _ = sdpa_attention_forward(LAYER, *qkv, None, scaling=N**-0.5)
    assert torch.equal(attention(LAYER, *qkv, None, scaling=N**-0.5)[0], expected)
