"""What is computed: no row too few (a slow search says which rows change), and the work of sweeps counted by hand."""

import pytest
import torch
from tiny import TinyModel, prompt

from avsink.engine.interventions import Block, Discard, Restore
from avsink.engine.run import clean_run
from avsink.engine.schedule import Schedule

N, L = 40, 6


def schedule(plans, *, wanted=(N - 1,)):
    plans = [plan if isinstance(plan, tuple) else (plan,) for plan in plans]
    return Schedule(plans, n=N, n_layers=L, wanted=torch.tensor(wanted))


def rows(plan, **kwargs):
    """Rows computed by layer, for one plan."""
    return [sum((node.step.rows.tolist() for node in nodes), []) for nodes in schedule([plan], **kwargs).layers]


def test_a_window_needs_rows_from_its_first_target_and_layers_from_its_first():
    late, last = list(range(30, N)), [N - 1]
    assert rows(Block([3], [30, 33], [1, 2])) == [[], [30, 33], late, late, late, last]
    assert rows(Block([3], [30, 33], [4])) == [[], [], [], [], [30, 33], last]
    assert rows(Block([3], last, [0, 3])) == [last] * L
    assert rows(Block([32], [30, 35], [5]), wanted=[35]) == [[]] * 5 + [[35]]
    assert rows(Block([3], [30], [1]), wanted=[10, 33]) == [[], [30], *[[30, 31, 32, 33]] * 3, [33]]


def test_restored_rows_are_not_computed():
    everything, last, states = range(L), [N - 1], object()
    later = [i for i in range(11, N) if i not in (20, 30)]
    assert rows(Restore([10, 20, 30], everything, states)) == [later] * (L - 1) + [last]
    found = rows(Restore([10, 20], [2, 3], states))  # their own outputs matter only after layer 3
    assert found[:2] == [[], []] and found[2] == [i for i in range(11, N) if i != 20] and found[3] == list(range(10, N))


def test_discarded_rows_are_not_computed():
    assert rows(Discard([10, 20], after_layer=2)) == [[], [], [], *[[i for i in range(11, N) if i != 20]] * 2, [N - 1]]


def test_windows_share_what_they_have_in_common():
    """Windows of 3 around 6 layers: [0, 2) and [0, 3) are one for two layers; the others open one by one."""
    windows = [range(max(0, c - 1), min(L, c + 2)) for c in range(L)]
    plans = [Block([3], [30], window) for window in windows]
    assert [len(nodes) for nodes in schedule(plans).layers] == [1, 2, 4, 5, 6, 6]
    assert [len(nodes) for nodes in schedule([plans[2]] * 5).layers] == [0, 1, 1, 1, 1, 1]


@torch.inference_mode()
def test_no_row_that_changes_is_left_out():
    """Random plans on a random model: whatever a full forward pass changes is computed, given, or does not matter."""
    model = TinyModel(layers=4)
    run, other = clean_run(model, prompt(model)), clean_run(model, prompt(model, seed=1))
    n, noise = run.states.n, torch.Generator().manual_seed(0)

    def pick(most):
        return torch.randperm(n, generator=noise)[: int(torch.randint(1, most, (), generator=noise))]

    for _ in range(20):
        start = int(torch.randint(0, 3, (), generator=noise))
        restored = pick(4)
        plan = (Block(pick(20), pick(20), [start]), Restore(restored, [start + 1], other.states))
        wanted = torch.arange(n)
        found = Schedule([plan], n=n, n_layers=4, wanted=wanted)
        inputs = _layer_inputs(model, run, plan)
        for layer in range(1, 4):
            computed = {int(i) for node in found.layers[layer - 1] for i in node.step.rows}
            moved = (inputs[layer] - run.states.inputs[layer]).abs().amax(-1) > 1e-5
            given = set(restored.tolist()) if layer == start + 1 else set()
            assert set(moved.nonzero()[:, 0].tolist()) <= computed | given


def _layer_inputs(model, run, plan):
    """Of every layer under the plan, by a full pass in which masks and states are put in by hooks."""
    block, restore = plan
    seen, hooks = [], []
    mask = torch.ones(run.states.n, run.states.n, dtype=torch.bool).tril()
    mask[block.target[:, None], block.source] = False

    def enter(layer):
        def hook(module, args, kwargs):
            states = args[0].clone()
            if layer in restore.layers:
                states[0, restore.positions] = restore.states.inputs[layer][restore.positions]
            seen.append(states[0])
            return (states,), kwargs | ({"attention_mask": mask[None, None]} if layer in block.layers else {})

        return hook

    from avsink.engine.record import decoder_inputs

    arguments = decoder_inputs(model, run.inputs)
    for index, layer in enumerate(model.decoder.layers):
        hooks.append(layer.register_forward_pre_hook(enter(index), with_kwargs=True))
    try:
        model.decoder(**arguments)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def test_a_run_counts_the_work_of_its_replays():
    model = TinyModel(layers=4)
    run = clean_run(model, prompt(model))
    cost = run.cost([Block([3], [run.states.n - 1], [layer]) for layer in range(4)])
    assert (cost.rows, cost.full) == (4 + 3 + 2 + 1, 4 * 4 * run.states.n)
    assert cost.limit == pytest.approx(cost.full / cost.rows) and run.cost([()]).limit == float("inf")
