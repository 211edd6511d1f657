"""The probability of a letter: a softmax over the whole vocabulary, at the letter's most probable spelling."""

from __future__ import annotations

import math

import pytest
from formulas import decoder as plain
from formulas.flow import letters, softmax
from formulas.prompts import CLIP, LETTERS, decoder, inputs_of

from avsink.engine.interventions import Block
from avsink.engine.run import clean_run, letter_probabilities

N = len(CLIP)


@pytest.fixture(scope="module")
def model():
    return decoder()


@pytest.fixture(scope="module")
def run(model):
    return clean_run(model, inputs_of(model, CLIP))


def test_letters_of_a_clean_run(model, run):
    logits = plain.run(model, run.inputs).logits[-1].tolist()
    everything = softmax(logits)
    assert sum(everything) == pytest.approx(1) and len(everything) == 60
    assert run.probabilities.tolist() == pytest.approx(everything, rel=1e-4)
    expected = letters(logits, LETTERS)
    assert run.letter_probabilities == pytest.approx(expected, rel=1e-4)
    assert letter_probabilities(run.inputs, run.probabilities) == pytest.approx(expected, rel=1e-4)
    assert run.predicted == max(expected, key=expected.get)
    assert sum(expected.values()) < 0.5  # of three letters among sixty tokens


def test_letters_under_interventions_may_be_spelt_otherwise(model, run):
    plans = [("block", range(first, first + 6), [N - 1], [layer]) for first in (0, 12, 20, 29) for layer in range(4)]
    found = run.replay([Block(*fields) for _, *fields in plans])
    spelt = set()
    for plan, probabilities in zip(plans, found, strict=True):
        logits = plain.run(model, run.inputs, [plan]).logits[-1].tolist()
        expected = letters(logits, LETTERS)
        for letter, ids in LETTERS.items():
            assert float(run.probability_of(letter, probabilities)) == pytest.approx(expected[letter], rel=1e-3)
            spelt.add((letter, max(ids, key=logits.__getitem__)))
    assert {letter for letter, _ in spelt} == set(LETTERS) and any((x, LETTERS[x][1]) in spelt for x in "AB")
    assert run.probability_of("A", found).shape == (len(plans),)


def test_logits_are_those_of_the_positions_asked_for(model, run):
    asked = [N - 1, 5, 28]
    [found] = run.replay_logits([Block([4, 5], [26, 30], [1])], asked)
    expected = plain.run(model, run.inputs, [("block", [4, 5], [26, 30], [1])]).logits
    for row, position in zip(found.tolist(), asked, strict=True):
        assert row == pytest.approx(expected[position].tolist(), abs=1e-4)
    assert math.isfinite(float(found.sum()))
