"""Patches: every edge that may be read is in exactly one of them, and none that may not."""

import pytest
import torch

from avsink.engine import patches as module
from avsink.engine.patches import patches

N = 40


def covered(groups, n_rows, suffix, rows):
    """How often each edge is read, (R, S)."""
    count = torch.zeros(n_rows, len(suffix), dtype=torch.long)
    for group in groups:
        seen = torch.cat([patch.queries.flatten() for patch in group])
        assert len(seen) == len(seen.unique()), "a query twice in one group"
        for patch in group:
            assert len(patch.queries) == len(patch.keys)
            for queries, keys in zip(patch.queries, patch.keys, strict=True):
                readable = suffix[keys] <= rows[queries][:, None]
                if patch.how == "open":
                    assert readable.all()
                elif patch.how == "masked":
                    readable = patch.readable
                elif patch.how == "causal":
                    assert torch.equal(suffix[keys], rows[queries])
                else:
                    assert torch.equal(suffix[keys][patch.places], rows[queries])
                count[queries[:, None], keys] += readable.long()
    return count


def allowed(rows, suffix, edges):
    readable = suffix <= rows[:, None]
    for queries, keys in edges:
        readable[queries[:, None], keys] = False
    return readable.long()


@pytest.fixture(params=[0, 2**16], ids=["patches", "mask"])
def worth(request, monkeypatch):
    monkeypatch.setattr(module, "WORTH", request.param)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("kinds", [1, 4])
def test_random_cuts(seed, kinds, worth, monkeypatch):
    monkeypatch.setattr(module, "KINDS", kinds)
    noise = torch.Generator().manual_seed(seed)

    def some(n, chance):
        return (torch.rand(n, generator=noise) < chance).nonzero()[:, 0]

    suffix = some(N, 0.9)
    rows = suffix[some(len(suffix), 0.7)]
    edges = [(some(len(rows), 0.3), some(len(suffix), 0.3)) for _ in range(seed % 6)]
    edges = [(queries, keys) for queries, keys in edges if len(queries) and len(keys)]
    found = patches(rows, suffix, edges)
    assert torch.equal(covered(found, len(rows), suffix, rows), allowed(rows, suffix, edges))


def test_rows_that_have_lost_the_same_keys_by_different_edges_are_one_kind(worth):
    rows = suffix = torch.arange(N)
    edges = [(torch.arange(20, 30), torch.arange(5)), (torch.arange(30, N), torch.arange(5))]
    found = patches(rows, suffix, edges)
    assert torch.equal(covered(found, N, suffix, rows), allowed(rows, suffix, edges))


def test_nothing_left_to_read_is_no_patch(worth):
    rows = suffix = torch.arange(N)
    found = patches(rows, suffix, [(rows, suffix)])
    assert found == () or not found[0][0].readable.any()


def test_frames_cut_from_each_other_are_a_batch_of_causal_patches(monkeypatch):
    """Eight frames of four tokens, then text: no mask is left but the text's, and the frames' for the text before."""
    monkeypatch.setattr(module, "WORTH", 0)
    suffix = torch.arange(N)
    frames = torch.arange(4, 36).view(8, 4)
    edges = [(frame, frames.flatten()[~torch.isin(frames.flatten(), frame)]) for frame in frames]
    found = patches(suffix, suffix, edges)
    assert torch.equal(covered(found, N, suffix, suffix), allowed(suffix, suffix, edges))
    [batch] = found[1]
    order = batch.keys[:, 0].argsort()
    assert batch.how == "causal" and torch.equal(batch.keys[order], frames) and torch.equal(batch.queries, batch.keys)


def test_two_interleaved_modalities_cut_from_each_other_need_no_mask_of_their_own(monkeypatch):
    monkeypatch.setattr(module, "WORTH", 0)
    suffix = torch.arange(N)
    video, audio = suffix[4:36][suffix[4:36] % 4 != 0], suffix[4:36][suffix[4:36] % 4 == 0]
    [group] = patches(suffix, suffix, [(video, audio), (audio, video)])
    assert torch.equal(covered([group], N, suffix, suffix), allowed(suffix, suffix, [(video, audio), (audio, video)]))
    kinds = {tuple(patch.queries[0].tolist()): patch.how for patch in group}
    assert kinds[tuple(video.tolist())] == "filled" and kinds[tuple(audio.tolist())] == "filled"


def test_without_cuts_a_tail_is_causal_and_a_single_row_open():
    rows = torch.arange(10, N)
    [[patch]] = patches(rows, rows, [])
    assert patch.how == "causal"
    [[patch]] = patches(rows[-1:], rows, [])
    assert patch.how == "open"
