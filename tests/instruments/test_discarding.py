"""When tokens can be discarded, by the rule and on a decoder whose layers are known; and what that saves."""

import pandas as pd
import pytest
from tiny import TinyModel, prompt

from avsink.engine import live
from avsink.engine.interventions import Discard
from avsink.engine.run import clean_run
from avsink.instruments import discarding
from avsink.instruments.pathways import PATHWAYS
from avsink.results.bootstrap import summarise
from avsink.testing.planted_decoder import LETTERS, planted


@pytest.fixture(scope="module")
def model():
    return TinyModel()


@pytest.fixture(scope="module")
def inputs(model):
    return prompt(model)


def test_arithmetic_counts_what_is_left(model, inputs):
    """The part of the matrices, without attention, against torch's own counter of operations."""
    from torch.utils.flop_counter import FlopCounterMode

    def counted(plan) -> int:
        with FlopCounterMode(display=False) as counter:
            live.prefill(model, inputs, plan)
        counts = counter.get_flop_counts()["Global"]
        return sum(value for op, value in counts.items() if "mm" in str(op))

    layout = inputs.layout
    plan = (Discard(layout.video, 0), Discard(layout.audio, 1))
    config = model.decoder.config
    heads_width = config.num_attention_heads * (config.hidden_size // config.num_attention_heads)

    def linear(plan) -> float:
        rows = [len(p) for p in live.rows_left(plan, n=layout.n, n_layers=4)]
        return discarding.arithmetic(model, layout, plan) - sum(2 * r * (r + 1) * heads_width for r in rows)

    assert counted(()) - counted(plan) == pytest.approx(linear(()) - linear(plan), rel=1e-6)


WAYS = ("Audio↛Others", "Video↛Others", "Question↛Others")


def curves(truth) -> pd.DataFrame:
    """Of all letters' prompts on the planted decoder, all ways out blocked after every layer."""
    rows = []
    n_layers = truth.model.n_layers
    for letter in LETTERS:
        run = clean_run(truth.model, truth.inputs(letter))
        base = run.letter_probabilities[letter]
        for name in WAYS:
            layers = [range(layer + 1, n_layers) for layer in range(-1, n_layers - 1)]
            found = run.replay([PATHWAYS[name].plan(run.inputs.layout, layers=later) for later in layers])
            rows += [
                (letter, name, at - 1, float(p) / base - 1) for at, p in enumerate(run.probability_of(letter, found))
            ]
    table = pd.DataFrame(rows, columns=["sample", "pathway", "layer", "delta_p"])
    return summarise(table, by=["pathway", "layer"])


@pytest.mark.parametrize(
    ("layers", "hops"),
    [(8, (1, 3, 5)), (8, (2, 4, 6)), (8, (5, 6, 7)), (10, (2, 5, 8)), (10, (1, 2, 9)), (5, (1, 2, 3))],
)
def test_the_planted_layers_are_found_exactly(layers, hops):
    """Finding 4's rule on a decoder whose layers are known. Discarding there does no harm; a layer earlier it does."""
    truth = planted(layers=layers, hops=hops)
    table = curves(truth)
    find = {"n_layers": layers, "margin": 0.1}
    assert tuple(discarding.last_needed(table, pathway=name, **find) for name in WAYS) == hops

    inputs = truth.inputs("C")
    audio, video, question = inputs.layout.audio, inputs.layout.video, inputs.layout.question
    answer = inputs.letters["C"][0]

    def p(*discards):
        return float(live.prefill(truth.model, inputs, discards)[0].softmax(dim=-1)[answer])

    kept = Discard(audio, hops[0]), Discard(video, hops[1]), Discard(question, hops[2])
    assert p(*kept) == pytest.approx(p(), abs=1e-5)
    for early in (Discard(audio, hops[0] - 1), Discard(video, hops[1] - 1), Discard(question, hops[2] - 1)):
        assert p(early) < 0.3


def test_the_rule_by_hand():
    def table(lows, category="a"):
        rows = [("Video↛Others", layer, category, low) for layer, low in enumerate(lows, start=-1)]
        return pd.DataFrame(rows, columns=["pathway", "layer", "category", "low"])

    rule = {"pathway": "Video↛Others", "margin": 0.1, "n_layers": 4}
    assert discarding.last_needed(table([0, 0, 0, 0]), **rule) == -1
    assert discarding.last_needed(table([-1, -1, 0, 0]), **rule) == 1
    assert discarding.last_needed(table([-1, 0, -1, 0]), **rule) == 2  # no harm after layer 0, but after layer 1
    assert discarding.last_needed(table([-1, -1, -1, -1]), **rule) == 3  # to the end
    both = pd.concat([table([-1, 0, 0, 0]), table([-1, -1, 0, 0], "b")])
    assert discarding.last_needed(both, **rule) == 1  # one category needs it
    unknown = pd.concat([table([0, 0, 0, 0]), table([float("nan")] * 4, "single")])
    assert discarding.last_needed(unknown, **rule) == 3  # one sample has no interval, and counts as harmed
    with pytest.raises(ValueError, match="there is no curve of Audio↛Others; the table has Video↛Others"):
        discarding.last_needed(both, pathway="Audio↛Others", n_layers=4, margin=0.1)


def test_layers_that_are_not_there_are_refused_before_anything_runs(model):
    with pytest.raises(ValueError, match="after, Video: there is no layer 99"):
        discarding.check_layers({"Video": 99}, n_layers=4)
    discarding.check_layers({"Video": 3, "Audio": -1}, n_layers=4)


def test_the_prefill_is_timed_and_answered_in_every_configuration(model, inputs):
    """The clock runs in the decoder alone, once for each prefill, and is gone afterwards."""
    with discarding._stopwatch(model) as seconds:
        live.prefill(model, inputs, ())
        assert len(seconds) == 1 and seconds[0] > 0
        live.prefill(model, inputs, (Discard(inputs.layout.video, 0),))
    assert len(seconds) == 2
    live.prefill(model, inputs, ())
    assert len(seconds) == 2 and not model.decoder._forward_hooks and not model.decoder._forward_pre_hooks
