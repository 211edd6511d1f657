"""The attention function, and attention merged from parts, against softmaxes written out."""

from types import SimpleNamespace

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from avsink.engine import attention, partial_softmax
from avsink.engine.attention import substituted
from avsink.engine.partial_softmax import Mask, merge, part

N = 12
LAYER = SimpleNamespace(layer_idx=2, is_causal=True, num_key_value_groups=2)


@pytest.fixture
def qkv():
    """Make query (2, 4 heads, N, N), key (2, 2 heads, N, N), identity values: the output is the attention weights."""
    noise = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 4, N, N, generator=noise), torch.randn(2, 2, N, N, generator=noise)
    return query, key, torch.eye(N).expand(2, 2, N, N)


@pytest.fixture(params=["fused", "products"])
def kernel(request, monkeypatch):
    """Every way in which a part can be computed; the products in several blocks of queries."""
    if request.param == "products":
        fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        monkeypatch.setattr(partial_softmax, "FUSED", {})
        monkeypatch.setattr(partial_softmax, "SCORES", 4 * 2 * 4 * N * 5)
        return lambda *args, **kwargs: pytest.fail(f"{fused} was called")


def scores(qkv):
    query, key, _ = qkv
    return query.double() @ key.double().repeat_interleave(2, dim=1).transpose(-1, -2) * N**-0.5


def some(readable, qkv, keys=slice(None)):
    """A part of these keys, of which a bool (Q, K) may be read."""
    query, key, value = qkv
    mask = Mask.of(readable[:, keys], dtype=query.dtype)
    return part(query, key[:, :, keys], value[:, :, keys], scaling=N**-0.5, mask=mask)


def test_by_itself_it_is_transformers_sdpa_to_the_last_bit(qkv):
    expected, _ = sdpa_attention_forward(LAYER, *qkv, None, scaling=N**-0.5)
    assert torch.equal(attention.attention(LAYER, *qkv, None, scaling=N**-0.5)[0], expected)
    assert torch.equal(attention.plain(LAYER, *qkv, None, scaling=N**-0.5), expected)


def test_a_substitute_takes_its_place_and_leaves_also_after_an_error(qkv):
    with substituted(by=lambda module, query, key, value, mask, **kwargs: query * kwargs["scaling"]):
        assert torch.equal(attention.attention(LAYER, *qkv, None, scaling=2.0)[0], 2 * qkv[0])
    with pytest.raises(RuntimeError), substituted(by=lambda *args, **kwargs: None):
        raise RuntimeError
    expected, _ = sdpa_attention_forward(LAYER, *qkv, None, scaling=N**-0.5)
    assert torch.equal(attention.attention(LAYER, *qkv, None, scaling=N**-0.5)[0], expected)


def test_parts_of_the_keys_merge_into_the_whole(qkv, kernel):
    """Any partition, any mask: the weights are those of one softmax over all that may be read, and 0 elsewhere."""
    noise = torch.Generator().manual_seed(1)
    readable = torch.rand(N, N, generator=noise) < 0.6
    readable[3] = False  # reads nothing at all
    readable[5, :4] = False  # reads nothing of the first part
    first, second, third = (some(readable, qkv, keys) for keys in (slice(0, 4), slice(4, 9), slice(9, N)))
    found, total = merge(merge(first, second), third)
    expected = scores(qkv).masked_fill(~readable, float("-inf"))
    torch.testing.assert_close(found.double(), expected.softmax(-1).nan_to_num(0.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(total.double(), expected.logsumexp(-1), atol=1e-5, rtol=0)
    assert (found[:, :, ~readable] == 0).all()
    assert (found[:, :, 3] == 0).all() and total[:, :, 3].isneginf().all()


def test_causal_parts_need_no_mask(qkv, kernel):
    lower = torch.ones(N, N, dtype=torch.bool).tril()
    found, total = part(*qkv, scaling=N**-0.5, causal=True)
    expected, logs = some(lower, qkv)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(total, logs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_query_without_keys_reads_nothing_in_half_precision(qkv, kernel, dtype):
    readable = torch.ones(N, N, dtype=torch.bool)
    readable[5] = False
    found, total = some(readable, tuple(x.to(dtype) for x in qkv))
    assert (found[:, :, 5] == 0).all() and total[:, :, 5].isneginf().all() and total.dtype == torch.float32
    assert found.isfinite().all()


def test_merging_with_nothing_changes_nothing(qkv):
    readable = torch.ones(N, N, dtype=torch.bool)
    whole, nothing = some(readable, qkv), some(~readable, qkv)
    for merged in (merge(whole, nothing), merge(nothing, whole)):
        assert torch.equal(merged[0], whole[0]) and torch.equal(merged[1], whole[1])
