"""The engine against its claims: exact whatever the memory and the order, cut edges at exactly 0."""

import pytest
import torch
from tiny import TinyModel, prompt

from avsink.engine import attention, partial_softmax, replay, replay_attention
from avsink.engine import run as runs
from avsink.engine.foreign import forget
from avsink.engine.interventions import Block, Discard, Restore, Reweight
from avsink.engine.key_partition import KeyPartition
from avsink.engine.run import clean_run
from avsink.engine.schedule import Schedule
from avsink.engine.states import States
from avsink.instruments.pathways import PATHWAYS

N, HEADS, KEY_HEADS = 24, 4, 2


@pytest.fixture(scope="module")
def model():
    return TinyModel()


@pytest.fixture(scope="module")
def run(model):
    return clean_run(model, prompt(model))


@pytest.fixture(scope="module")
def other(model):
    return clean_run(model, prompt(model, seed=1))


def some_plans(run, other):
    layout, last = run.inputs.layout, [run.states.n - 1]
    return [
        Block(layout.video, layout.question, [0, 1]),
        (Block(layout.audio, layout.video, [1]), Block(layout.video, layout.audio, [1, 2])),
        Restore(layout.video[:3], range(4), other.states),
        (),
        (Restore(layout.audio, [1, 2], other.states), Block(layout.question, last, [3])),
        Discard(layout.video, after_layer=1),
        (
            Reweight(layout.video[2:4], layout.audio, 0.7, range(1, 4), target=layout.question),
            Discard([9], after_layer=2),
        ),
    ]


def test_memory_and_order_change_no_number(run, other):
    plans = some_plans(run, other)
    found = run.replay(plans)
    for most in (1, 50_000, 300_000):
        torch.testing.assert_close(run.replay(plans, max_bytes=most), found, atol=1e-6, rtol=0)
    torch.testing.assert_close(run.replay(plans[::-1]).flip(0), found, atol=1e-6, rtol=0)
    for plan, row in zip(plans, found, strict=True):
        torch.testing.assert_close(run.replay([plan])[0], row, atol=1e-6, rtol=0)
    assert run.replay([]).shape == (0, len(run.probabilities))


def test_less_memory_means_fewer_rows_at_a_time(model, run, other, monkeypatch):
    """Counted at the layers themselves: the longest sequence that any of them is given."""
    plans = [Block([3], run.inputs.layout.question, [layer]) for layer in range(4)] * 3

    def longest(**kwargs):
        seen = []
        with monkeypatch.context() as patch:  # of the class, since hooks are refused
            kind = type(model.decoder.layers[0])
            own = kind.forward
            patch.setattr(kind, "forward", lambda self, x, **kw: (seen.append(x.shape[1]), own(self, x, **kw))[1])
            forget(model)  # an exchanged class would be refused, too
            run.replay(plans, **kwargs)
        forget(model)
        return max(seen), sum(seen)

    (many, work), (few, more) = longest(), longest(max_bytes=1)
    assert few == len(run.inputs.layout.question) + 2 < many  # one plan's rows: the question and what follows
    assert work < more


def test_everything_restored_is_the_other_run(run, other):
    everything = Restore(range(run.states.n), range(4), other.states)
    torch.testing.assert_close(run.replay([everything])[0], other.probabilities, atol=1e-6, rtol=0)
    media = torch.cat([run.inputs.layout.video, run.inputs.layout.audio])
    torch.testing.assert_close(
        run.replay([Restore(media, [0], other.states)])[0], other.probabilities, atol=1e-6, rtol=0
    )
    itself = Restore([5], range(4), run.states)  # computes all later rows again
    assert run.cost([itself]).rows > 0
    torch.testing.assert_close(run.replay([itself])[0], run.probabilities, atol=1e-6, rtol=0)


def test_a_run_without_states_between_layers_gives_the_same_at_every_layer_and_else_an_error(model, run, other):
    slim, other_slim = (clean_run(model, one.inputs, between=False) for one in (run, other))
    assert slim.states.n_layers == 4 and len(slim.states.inputs) == 1
    assert torch.equal(slim.logits, run.logits)
    layout, everywhere = run.inputs.layout, range(4)

    def plans(states):
        ends = Restore(layout.audio, everywhere, states), Block(layout.video, layout.question, everywhere)
        return [Restore(layout.video, everywhere, states), Restore(layout.video[2:5], everywhere, states), ends]

    assert torch.equal(slim.replay(plans(other_slim.states)), run.replay(plans(other.states)))
    to_the_end = range(int(layout.question[3]), layout.n)
    for every_row_from_layer_0 in (
        Block(layout.video, to_the_end, everywhere),
        Reweight(layout.video, layout.audio, 0.5, everywhere, target=to_the_end),
        Restore(layout.video, [0], other_slim.states),
    ):
        assert torch.equal(slim.replay([every_row_from_layer_0]), run.replay([every_row_from_layer_0]))
    for needs_an_input in (
        Restore(layout.video, [2, 3], other.states),
        Restore(layout.video, [0, 1], other_slim.states),
        Block(layout.video, layout.question, [1]),
        Block(layout.video, layout.question, everywhere),  # the template's tokens, from layer 1 on
        Reweight(layout.video, [], 0.5, everywhere, target=layout.question[:1]),
        Discard(layout.video, after_layer=0),
    ):
        with pytest.raises(ValueError, match="between=True"):
            slim.replay([needs_an_input])
    with pytest.raises(ValueError, match="between=True"):
        run.replay([Restore(layout.video, [0, 1], other_slim.states)])


def test_logits_of_any_positions_in_the_order_asked(run, other):
    n, plans = run.states.n, some_plans(run, other)
    asked = [n - 1, 12, 30, 12]
    found = run.replay_logits(plans[:3], asked)
    assert found.shape == (3, 4, len(run.logits))
    torch.testing.assert_close(found[:, 0].softmax(-1), run.replay(plans[:3]), atol=1e-6, rtol=0)
    assert torch.equal(found[:, 1], found[:, 3])
    for position in asked:
        alone = run.replay_logits(plans[:3], [position])[:, 0]
        torch.testing.assert_close(alone, found[:, asked.index(position)], atol=1e-5, rtol=0)
    for wrong in ([], [-1], [n]):
        with pytest.raises(ValueError, match="positions"):
            run.replay_logits(plans, wrong)


def test_a_bar_counts_layer_rows(run, monkeypatch):
    bars = []

    class Bar(replay.tqdm):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            bars.append((self, self.disable))  # closing a bar disables it

    monkeypatch.setattr(replay, "tqdm", Bar)
    plans = [Block([3], run.inputs.layout.question, [layer]) for layer in range(4)]
    run.replay(plans, progress=True)
    run.replay(plans, progress=False)
    [(bar, hidden), (_, also_hidden)] = bars
    assert bar.total == bar.n == run.cost(plans).rows > 0
    assert not hidden and also_hidden


def test_a_quarter_of_the_free_memory_is_used(run, monkeypatch):
    asked = []
    monkeypatch.setattr(runs, "_free", lambda device: 4_000)
    monkeypatch.setattr(
        runs,
        "replay",
        lambda *args, max_bytes, **kw: asked.append(max_bytes) or replay.replay(*args, max_bytes=max_bytes, **kw),
    )
    run.replay([Block([3], [40], [0])])
    run.replay([Block([3], [40], [0])], max_bytes=77)
    assert asked == [1_000, 77]


def test_an_error_inside_leaves_the_model_as_it_was(model, run, monkeypatch):
    monkeypatch.setattr(partial_softmax, "merge", lambda *parts: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run.replay([Block([3], run.inputs.layout.last, [0])])
    assert attention._substitute.get() is None
    assert not any(layer._forward_pre_hooks or layer._forward_hooks for layer in model.decoder.layers)


@pytest.mark.parametrize("worth", [0, 2**16])
def test_queries_that_have_lost_everything_read_nothing(run, monkeypatch, worth):
    monkeypatch.setattr("avsink.engine.patches.WORTH", worth)
    n = run.states.n
    cut = run.replay_logits(
        [Block(range(n), range(n), range(4)), Reweight(range(n), [], 0.3, [1], target=range(n))], [n - 1]
    )
    assert cut.isfinite().all() and (cut[0] - run.logits).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["Cross-frame", "Cross-audio", "Audio↮Video", "Video↛Audio", "V+A↛NonOptQ"])
def test_patches_and_one_mask_give_the_same(run, monkeypatch, name):
    plans = [PATHWAYS[name].plan(run.inputs.layout, layers=[layer]) for layer in range(4)]
    masked = run.replay_logits(plans, range(run.states.n))
    monkeypatch.setattr("avsink.engine.patches.WORTH", 0)
    for kinds in (4, 1):
        monkeypatch.setattr("avsink.engine.patches.KINDS", kinds)
        torch.testing.assert_close(run.replay_logits(plans, range(run.states.n)), masked, atol=2e-5, rtol=0)


# One layer's attention, seen through its own weights: identity values give them back.


def one_layer(noise):
    """Clean keys, and identity values, of one layer."""
    keys = torch.randn(KEY_HEADS, N, N, generator=noise)
    values = torch.eye(N).expand(KEY_HEADS, N, N)
    empty = torch.zeros(N, 1)
    return States(
        inputs=(empty,), keys=(keys,), values=(values,), output=empty, added={}, rotary=((empty, empty),), tokens=None
    )


@pytest.mark.parametrize("seed", range(48))
def test_every_partition_gives_the_weights_of_one_softmax(seed, monkeypatch):
    """Random rows that are computed, key-only, given and gone, cut and rescored edges, several steps at once."""
    # with and without a prefix
    monkeypatch.setattr("avsink.engine.key_partition.FEW", [4, 10**9, 0.5][seed % 3])
    monkeypatch.setattr("avsink.engine.patches.WORTH", [2**16, 0][seed % 2])  # with and without patches
    monkeypatch.setattr("avsink.engine.patches.KINDS", [4, 1][seed // 2 % 2])
    noise = torch.Generator().manual_seed(seed)
    clean, donor = one_layer(noise), one_layer(noise)
    steps = [_random_step(noise, donor) for _ in range(3)]
    steps += steps[-1:]  # two plans with one step are attended as a batch
    partitions = [KeyPartition(step, n=N) for step in steps[:3]]
    partitions += partitions[-1:]
    sizes = [len(step.rows) for step in steps]
    query, key = (torch.randn(1, heads, sum(sizes), N, generator=noise) for heads in (HEADS, KEY_HEADS))
    only_keys = torch.randn(KEY_HEADS, sum(len(step.key_only) for step in steps), N, generator=noise)

    own = torch.cat([torch.eye(N)[step.rows] for step in steps]).expand(1, KEY_HEADS, -1, -1)  # values of own rows
    only_values = torch.cat([torch.eye(N)[step.key_only] for step in steps]).expand(KEY_HEADS, -1, -1)
    attend = replay_attention.ReplayAttention(
        clean, 0, partitions, replay_attention.Masks(10**6), key_only=(only_keys, only_values)
    )
    found = attend(None, query, key, own, None, scaling=N**-0.5)[0].transpose(0, 1)  # (heads, rows, N)

    start = only_start = 0
    for step in steps:
        stop, only_stop = start + len(step.rows), only_start + len(step.key_only)
        keys = clean.keys[0].clone()
        for positions, states in step.given:
            keys[:, positions] = states.keys[0][:, positions]
        keys[:, step.key_only] = only_keys[:, only_start:only_stop]
        keys[:, step.rows] = key[0, :, start:stop]
        expected, cut = _by_hand(query[0, :, start:stop], keys, step)
        torch.testing.assert_close(found[:, start:stop], expected, atol=2e-6, rtol=0)
        assert (found[:, start:stop][:, cut] == 0).all(), "a cut edge is read"
        start, only_start = stop, only_stop


def _random_step(noise, donor):
    def pick(most):
        return torch.randperm(N, generator=noise)[: int(torch.randint(0, most, (), generator=noise))]

    first = Block(pick(6), pick(12), [0])
    plan = (
        Block(pick(10), pick(12), [1]),
        Block(pick(6), pick(6), [1]),
        Reweight((some := pick(6))[:3], some[3:], 0.9, [1], target=pick(12)),
        Restore(pick(5), [1], donor),
        Discard([p for p in pick(4).tolist() if p < N - 1], after_layer=0),
    )
    wanted = torch.tensor([N - 1]) if torch.rand((), generator=noise) < 0.5 else torch.arange(N)
    built = Schedule([(first, *plan)], n=N, n_layers=2, wanted=wanted).layers[1]
    return built[0].step if built else _random_step(noise, donor)


def _by_hand(query, keys, step):
    """Weights (heads, rows, N), and which edges are cut, bool (rows, N)."""
    scores = query.double() @ keys.double().repeat_interleave(HEADS // KEY_HEADS, dim=0).transpose(1, 2) * N**-0.5
    cut = torch.arange(N)[None, :] > step.rows[:, None]
    cut[:, step.gone] = True
    for edge in step.edges:
        for row, position in enumerate(step.rows.tolist()):
            if position in edge.target:
                if edge.score is None:
                    cut[row, edge.source] = True
                else:
                    scores[:, row, edge.source] = edge.score(scores[:, row, edge.source])
    return scores.masked_fill(cut, float("-inf")).softmax(-1).nan_to_num(0.0).float(), cut
