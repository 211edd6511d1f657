"""Every intervention against a plain decoder in float64 that does the same row by row (tests/formulas/decoder.py)."""

from __future__ import annotations

import random

import pytest
import torch
from formulas import decoder as plain
from formulas.prompts import CLIP, decoder, inputs_of

from avsink.engine import live
from avsink.engine.interventions import Block, Discard, Restore, Reweight
from avsink.engine.run import clean_run

N, LAYERS = len(CLIP), 4
ASKED = [20, N - 1, 12]
TOLERANCE = 1e-4  # of logits whose size is about 1
RANDOM = 24  # plans

VIDEO, QUESTION, LAST = list(range(4, 8)), list(range(23, 33)), [N - 1]
PLANS = {
    "keys are not read in a window": [("block", VIDEO, QUESTION, [1, 2])],
    "layers need not be neighbours": [("block", VIDEO, QUESTION, [0, 3])],
    "a target between its sources": [("block", range(4, 30), [12, 18, 25], [1])],
    "no key but itself": [("block", range(N - 1), LAST, [2, 3])],
    "no key at all": [("block", range(N), [20, 21, *LAST], [1, 2, 3])],
    "not itself": [("block", [20], [20], [1])],
    "no token reads itself": [("block", [p], [p], [0]) for p in range(N)],
    "frames do not read each other": [("block", [p for q in (4, 10, 16) if q != at for p in range(q, q + 4)],
                                       range(at, at + 4), [0, 1]) for at in (4, 10, 16)],
    "scores are raised": [("reweight", [0, 5, 9], [], QUESTION, [1, 2], 0.8)],
    "scores are lowered": [("reweight", [], [0, 5, 9], QUESTION, [1, 2], 0.8)],
    "the same, more strongly": [("reweight", [], [0, 5, 9], QUESTION, [1, 2], 2.0)],
    "the same, for other tokens": [("reweight", [], [0, 5, 9], [26, 27], [1, 2], 2.0)],
    "raised and lowered, also its own": [("reweight", range(0, N, 2), range(1, N, 2), range(5, N), [0, 3], 0.5)],
    "cut and lowered": [("reweight", range(4, 12), range(12, 20), QUESTION, [1], 0.9),
                        ("block", range(8, 16), range(25, N), [1])],
    "some are as in the other run": [("restore", [4, 9, 14], range(LAYERS), 0)],
    "in a window of layers": [("restore", [4, 9, 14], [1, 2], 0)],
    "in another window": [("restore", [4, 9, 14], [2, 3], 0)],
    "others in the same layers": [("restore", [9, 10], [1, 2], 0)],
    "the answering token itself": [("restore", LAST, [2], 0)],
    "restored, and not read": [("restore", VIDEO, range(LAYERS), 0), ("block", [5, 6], QUESTION, [1, 2])],
    "rows are gone": [("discard", VIDEO, 0)],
    "more rows are gone later": [("discard", VIDEO, 0), ("discard", range(8, 12), 2)],
    "nearly all rows are gone": [("discard", [p for p in range(N - 1) if p not in ASKED], 1)],
    "gone after the last layer": [("discard", VIDEO, LAYERS - 1)],
    "what is gone is not restored": [("discard", [4, 5, 6], 0), ("restore", [5, 9], [1, 2], 0)],
    "nor in the place of another": [("discard", [4, 5], 0), ("restore", [5], [1], 0), ("restore", [6], [2], 0)],
    "what is gone is not lowered": [("discard", [4, 5], 0), ("reweight", [4, 8], [5, 9], QUESTION, [1, 2], 0.9)],
}  # fmt: skip


def drawn(number: int) -> list[tuple]:
    """A random plan of one to four interventions; none gives a row two states, or an edge two scores."""
    draw = random.Random(number)
    restored, rescored, plan = set(), set(), []

    def positions(most: int = 12) -> list[int]:
        some = draw.sample(range(N), draw.randint(1, most))
        start = draw.randrange(N - most)
        return some if draw.random() < 0.5 else list(range(start, start + most))

    def layers() -> list[int]:
        return sorted(draw.sample(range(LAYERS), draw.randint(1, LAYERS)))

    for kind in draw.choices(["block", "reweight", "restore", "discard"], k=draw.randint(1, 4)):
        if kind == "block":
            plan.append((kind, positions(), positions(), layers()))
        elif kind == "reweight":
            boost, targets = positions(), [p for p in positions() if p not in rescored]
            rescored |= set(targets)
            damp = [p for p in positions() if p not in boost]
            plan.append((kind, boost, damp, targets, layers(), draw.choice([0.3, 0.9, 1.7])))
        elif kind == "restore":
            rows = [p for p in positions() if p not in restored]
            restored |= set(rows)
            plan.append((kind, rows, layers(), 0))
        else:
            plan.append((kind, [p for p in positions() if p not in ASKED], draw.randrange(LAYERS)))
    return plan


ALL = [*PLANS.values(), *(drawn(number) for number in range(RANDOM))]


@pytest.fixture(scope="module")
def model():
    return decoder()


@pytest.fixture(scope="module")
def run(model):
    return clean_run(model, inputs_of(model, CLIP))


@pytest.fixture(scope="module")
def other(model):
    """Another clip in the same prompt, from which both sides restore."""
    inputs = inputs_of(model, CLIP, seed=1)
    return clean_run(model, inputs), plain.run(model, inputs)


@pytest.fixture(scope="module")
def expected(model, run, other):
    """Logits at `ASKED` under each plan, (plans, asked, vocabulary)."""
    return torch.stack([by_hand(model, run.inputs, plan, other[1]).logits[ASKED] for plan in ALL])


def by_hand(model, inputs, plan, donor) -> plain.Pass:
    return plain.run(model, inputs, [(*one[:3], donor) if one[0] == "restore" else one for one in plan])


def engine_plan(plan, donor) -> tuple:
    made = []
    for kind, *fields in plan:
        if kind == "restore":
            made.append(Restore(fields[0], fields[1], donor.states))
        elif kind == "reweight":
            boost, damp, targets, layers, alpha = fields
            made.append(Reweight(boost, damp, alpha, layers, target=targets))
        else:
            made.append({"block": Block, "discard": Discard}[kind](*fields))
    return tuple(made)


def test_a_clean_run_is_that_of_the_plain_decoder(model, run):
    found = plain.run(model, run.inputs)
    torch.testing.assert_close(run.logits.double(), found.logits[-1], atol=TOLERANCE, rtol=0)
    for layer, states in enumerate(found.inputs):
        torch.testing.assert_close(run.states.inputs[layer].double(), states, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("worth", [2**16, 0], ids=["masks", "patches"])
def test_replays_are_those_of_the_plain_decoder(run, other, expected, monkeypatch, worth):
    """Each plan by itself, and all together; edges cut by masks, and by patches that need none."""
    monkeypatch.setattr("avsink.engine.patches.WORTH", worth)
    plans = [engine_plan(plan, other[0]) for plan in ALL]
    together = run.replay_logits(plans, ASKED).double()
    apart = torch.cat([run.replay_logits([plan], ASKED) for plan in plans]).double()
    names = [*PLANS, *(f"random plan {number}" for number in range(RANDOM))]
    for name, one, alone, right in zip(names, together, apart, expected, strict=True):
        torch.testing.assert_close(one, right, atol=TOLERANCE, rtol=0, msg=lambda said, name=name: f"{name}: {said}")
        torch.testing.assert_close(alone, right, atol=TOLERANCE, rtol=0, msg=lambda said, name=name: f"{name}: {said}")


def test_a_few_queries_of_different_places_at_once(model, run):
    """So few that masks are cheaper than copies: each step's keys end where its own first change is."""
    plans = [[("block", [3, 5], [at], layers)] for at, layers in ((12, [3]), (20, [3]), (N - 1, [2, 3]))]
    found = run.replay_logits([engine_plan(plan, None) for plan in plans], ASKED).double()
    for one, plan in zip(found, plans, strict=True):
        right = by_hand(model, run.inputs, plan, None).logits[ASKED]
        torch.testing.assert_close(one, right, atol=TOLERANCE, rtol=0)


def test_the_plans_move_the_logits_far_more_than_that(run, expected):
    clean = run.replay_logits([()], ASKED)[0].double()
    moved = (expected - clean).abs().amax(dim=(1, 2))
    still = [name for name, far in zip(PLANS, moved, strict=False) if far < 30 * TOLERANCE]
    assert still == ["gone after the last layer"]
    assert (moved[len(PLANS) :] > 30 * TOLERANCE).float().mean() > 0.9


@pytest.mark.parametrize("family", ["qwen2", "qwen2.5-vl"])
def test_other_families_of_decoders(family):
    model = decoder(family)
    inputs, other = inputs_of(model, CLIP), inputs_of(model, CLIP, seed=1)
    run, donor, found = clean_run(model, inputs), clean_run(model, other), plain.run(model, other)
    plans = list(PLANS.values())[::3]
    together = run.replay_logits([engine_plan(plan, donor) for plan in plans], ASKED).double()
    for one, plan in zip(together, plans, strict=True):
        torch.testing.assert_close(one, by_hand(model, inputs, plan, found).logits[ASKED], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", [name for name, plan in PLANS.items() if {one[0] for one in plan} == {"discard"}])
def test_rows_that_the_model_itself_loses(model, run, name):
    """The model's own layers, shortened by hooks: the rows that stay keep their positions."""
    found, cache = live.prefill(model, run.inputs, engine_plan(PLANS[name], None))
    right = plain.run(model, run.inputs, PLANS[name])
    torch.testing.assert_close(found.double(), right.logits[-1], atol=TOLERANCE, rtol=0)
    lengths = [int((~rows.isnan()).all(-1).sum()) for rows in right.inputs]
    assert [cache.layers[layer].keys.shape[-2] for layer in range(LAYERS)] == lengths
