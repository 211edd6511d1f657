"""Interventions as data: what they accept, what they refuse, and that they say which field is wrong."""

import pytest
import torch
from tiny import TinyModel, prompt

from avsink.engine.interventions import Block, Discard, Restore, Reweight, as_plan
from avsink.engine.run import clean_run


@pytest.fixture(scope="module")
def model():
    return TinyModel()


@pytest.fixture(scope="module")
def run(model):
    return clean_run(model, prompt(model))


def test_positions_may_come_in_any_form():
    for source in ([5, 3, 3], torch.tensor([5, 3, 5]), (p for p in (5, 3)), torch.tensor([3, 5], dtype=torch.int32)):
        assert torch.equal(Block(source, range(8, 10), layers=iter([2, 1])).source, torch.tensor([3, 5]))
    assert Block([1], [2], layers=(n for n in (4, 2, 4))).layers == (2, 4)


def test_what_does_the_same_is_known_as_the_same():
    assert Block([3, 1], [4], [0]).identity == Block(torch.tensor([1, 3]), [4], [5, 6]).identity
    assert Block([1], [4], [0]).identity != Block([1], [5], [0]).identity != Discard([1], 4).identity


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Block([-1], [2], [0]), "Block.source: position -1"),
        (lambda: Block([1], torch.tensor([0.5]), [0]), "Block.target: positions must be a list of whole numbers"),
        (lambda: Block(torch.ones(4, dtype=torch.bool), [2], [0]), "Block.source: positions must be a list of whole"),
        (lambda: Block(torch.zeros(2, 2, dtype=torch.long), [2], [0]), "Block.source"),
        (lambda: Block([1], [2], [-1]), "Block.layers: -1 is not a layer"),
        (lambda: Block([1], [2], [1.5]), "Block.layers: 1.5 is not a layer"),
        (lambda: Block([1], [2], 3), "Block.layers: 3 is not a list of layers"),
        (lambda: Block(1, [2], [3]), "Block.source: 1 is not a list of positions"),
        (lambda: Reweight([1, 2], [2], 0.2, [0], target=[5]), "Reweight.boost and damp share the position 2"),
        (lambda: Reweight([1], [2], -0.2, [0], target=[5]), "Reweight.alpha"),
        (lambda: Reweight([1], [2], float("nan"), [0], target=[5]), "Reweight.alpha"),
        (lambda: Block([[1, 2], [3]], [2], [0]), "Block.source: positions must be a list of whole numbers"),
        (lambda: Block("abc", [2], [0]), "Block.source: positions must be a list of whole numbers"),
        (lambda: Block([2**70], [2], [0]), "Block.source: positions must be a list of whole numbers"),
        (lambda: Reweight([1], [2], "x", [0], target=[5]), "Reweight.alpha"),
        (lambda: Discard([1], after_layer=-1), "Discard.after_layer: -1 is not a layer"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(make, says):
    with pytest.raises((ValueError, TypeError), match=says):
        make()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda run: Block([0], [run.states.n], [0]),
            "Block.target: position 47 is outside the prompt, which has 47",
        ),
        (lambda run: Block([99], [3], []), "Block.source: position 99"),
        (lambda run: Block([0], [1], [0, 4]), "Block.layers: there is no layer 4; this model's are 0 to 3"),
        (lambda run: Discard([50], after_layer=1), "Discard.positions: position 50"),
        (lambda run: Discard([5], after_layer=4), "Discard.after_layer: there is no layer 4"),
        (lambda run: Discard([run.states.n - 1], after_layer=1), "Discard.positions: .* logits are asked for"),
        (lambda run: Restore([60], [0], run.states), "Restore.positions: position 60"),
        (lambda run: Reweight([1], [], 0.1, [0], target=[77]), "Reweight.target: position 77"),
        (
            lambda run: (Restore([5], [0], run.states), Restore([5], [0, 1], run.states)),
            "Restore.positions: .* two states",
        ),
        (
            lambda run: (Reweight([1], [], 0.1, [0], target=[9]), Reweight([], [1], 0.2, [0], target=[8, 9])),
            "Reweight.target: .* same edges twice",
        ),
        (lambda run: Restore([1], [0], run), "Restore.states: .* not a Run"),
        (lambda run: Restore([1], [0], None), "Restore.states: .* not a NoneType"),
        (lambda run: "Block", "a plan is an intervention or a sequence"),
        (lambda run: [torch.tensor([1])], "a plan is an intervention or a sequence"),
    ],
)
def test_what_does_not_fit_the_run_is_refused_by_name(run, make, says):
    with pytest.raises((ValueError, TypeError), match=says):
        run.replay([make(run)])


def test_states_of_another_prompt_are_refused(model, run):
    longer = clean_run(model, prompt(model, letters="ABC"))
    with pytest.raises(ValueError, match="Restore.states: .* 48 tokens"):
        run.replay([Restore([5], [0], longer.states)])
    inputs = prompt(model)
    inputs.tensors["input_ids"] = inputs.tensors["input_ids"].clone()
    inputs.tensors["input_ids"][0, 30] += 1  # another word of the question
    other = clean_run(model, inputs)
    with pytest.raises(ValueError, match="Restore.states: .* token at position 30 is another"):
        run.replay([Restore([4, 30], [0], other.states)])
    run.replay([Restore([4, 29], [0], other.states)])
    inputs = prompt(model)
    inputs.tensors["position_ids"] = inputs.tensors["position_ids"] + 1
    with pytest.raises(ValueError, match="Restore.states: .* other positions"):
        run.replay([Restore([4], [0], clean_run(model, inputs).states)])
    deeper = TinyModel(layers=5)
    with pytest.raises(ValueError, match="Restore.states: .* 5 layers"):
        run.replay([Restore([4], [0], clean_run(deeper, prompt(deeper)).states)])


def test_what_changes_nothing_changes_nothing(run):
    last, n = run.states.n - 1, run.states.n
    plans = [
        (),
        Block([], [5], [0]),
        Block([5], [], [0]),
        Block([5], [8], []),
        Block([20, 30], [5, 10, 19], range(4)),  # every target comes before its sources
        Block([5], range(6, n - 1), [3]),  # in the last layer, and not for the last token
        Restore([], range(4), run.states),
        Restore(range(n), [], run.states),
        Discard([], after_layer=0),
        Discard(range(n), after_layer=3),  # after the last layer
        Reweight([], [], 0.5, range(4), target=[last]),
        Reweight([1], [2], 0.5, range(4), target=[]),
    ]
    assert run.cost(plans).rows == 0
    assert all(torch.equal(row, run.probabilities) for row in run.replay(plans))


def test_states_of_another_model_are_refused(run):
    other = TinyModel()
    with pytest.raises(ValueError, match="Restore.states: .* another model"):
        run.replay([Restore([4], [0], clean_run(other, prompt(other)).states)])


def test_arguments_of_a_replay_are_checked(run):
    block = Block([1], [2], [0])
    with pytest.raises(TypeError, match="plans"):
        run.replay(block)
    for wrong in ("1G", 0, -5):
        with pytest.raises(ValueError, match="max_bytes"):
            run.replay([block], max_bytes=wrong)
    for wrong in (5, [5.7]):
        with pytest.raises(TypeError, match="positions"):
            run.replay_logits([block], wrong)


def test_a_plan_is_one_or_several():
    block = Block([1], [2], [0])
    assert as_plan(block) == (block,) == as_plan([block]) and as_plan([]) == ()
