"""Pathways, windows and the rows of a sweep."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import TinyModel, prompt

from avsink.engine.interventions import Block
from avsink.engine.run import clean_run
from avsink.instruments import tracing
from avsink.instruments.knockout import sweep, window
from avsink.instruments.pathways import (
    FIGURE_3,
    FIGURE_4,
    FIGURE_5,
    FIGURE_6,
    FIGURE_9,
    FIGURE_10,
    INTERLEAVED,
    PATHWAYS,
)
from avsink.sample import Media, Sample, Unmeasured


@pytest.fixture(scope="module")
def model():
    return TinyModel()


@pytest.fixture(scope="module")
def layout(model):
    return prompt(model).layout


def sample(answer="A"):
    clip = Media(path=Path("clip.mp4"), kind="video")
    return Sample(id="s1", task="toy", category="mixed", parts=(clip,), options=("bell", "dog"), answer=answer)


@pytest.fixture(scope="module")
def answer(model):
    """The letter that the random model happens to prefer."""
    return clean_run(model, model.prepare(sample())).predicted


def edges(layout, name):
    """The pathway's edges within reach of a causal mask, as a set of (key, query)."""
    pairs = PATHWAYS[name].edges(layout)
    return {(j, i) for source, target in pairs for j in source.tolist() for i in target.tolist() if j <= i}


def test_windows_are_those_of_the_paper():
    assert [window(center, k=7, n_layers=36) for center in (0, 3, 18, 35)] == [
        range(0, 4),
        range(0, 7),
        range(15, 22),
        range(32, 36),
    ]
    assert window(4, k=1, n_layers=8) == range(4, 5)
    for k in (0, 4):
        with pytest.raises(ValueError, match="odd"):
            window(2, k=k, n_layers=8)


@pytest.mark.parametrize("n_layers", [1, 2, 3, 8, 28])
def test_a_window_may_not_hold_the_whole_model_wherever_its_centre_is(n_layers):
    """By counting: the widest window that is allowed still leaves a layer open around some centre."""
    for k in range(1, 4 * n_layers + 4, 2):
        closed = [[at for at in range(n_layers) if abs(at - centre) <= k // 2] for centre in range(n_layers)]
        if k > 1 and all(len(layers) == n_layers for layers in closed):
            with pytest.raises(ValueError, match=f"a window of {k} layers holds all {n_layers} layers of this model"):
                window(0, k=k, n_layers=n_layers)
        else:
            found = [list(window(centre, k=k, n_layers=n_layers)) for centre in range(n_layers)]
            assert found == closed


def test_windows_that_are_too_wide_are_refused_before_anything_is_read(tiny_omni):
    """By every instrument that has windows, in the same words."""
    said = "a window of 99 layers holds all 8 layers of this model; take an odd number of at most 13"
    unread = Sample(id="x", task="", category="", parts=(), options=("a", "b"), answer="A")
    for measure in (
        lambda: sweep(tiny_omni, unread, k=99),
        lambda: tracing.trace_by_layer(tiny_omni, unread, k=99, one_in=2),
    ):
        with pytest.raises(ValueError, match=said):
            measure()


def test_a_centre_outside_the_model_is_refused():
    for centre in (-1, 8, 99):
        with pytest.raises(ValueError, match=f"center: there is no layer {centre}; this model's are 0 to 7"):
            window(centre, k=3, n_layers=8)


def test_every_pathway_of_the_figures_exists():
    assert set(FIGURE_3) | set(FIGURE_4) | set(FIGURE_9) | set(FIGURE_10) <= set(PATHWAYS)


def test_cross_frame_spares_the_edges_within_a_frame(layout):
    found = edges(layout, "Cross-frame")
    frame_of = {int(i): t for t, frame in enumerate(layout.frames) for i in frame}
    video = layout.video.tolist()
    assert found == {(j, i) for j in video for i in video if frame_of[j] < frame_of[i]}


def test_cross_modal_edges_go_both_ways_and_only_between_modalities(layout):
    both = edges(layout, "Audio↮Video")
    assert both == edges(layout, "Audio↛Video") | edges(layout, "Video↛Audio")
    video, audio = set(layout.video.tolist()), set(layout.audio.tolist())
    assert all((j in video) != (i in video) and (j in audio) != (i in audio) for j, i in both)


def test_a_joint_source_is_the_union_of_its_parts(layout):
    for target in ("Question", "Last", "TrueOpt", "NonOptQ"):
        parts = edges(layout, f"Video↛{target}") | edges(layout, f"Audio↛{target}")
        assert edges(layout, f"V+A↛{target}") == parts != set()


def test_a_sweep_has_one_row_per_pathway_and_layer(model, answer):
    rows = sweep(model, sample(answer), k=3, pathways=("Cross-frame", "Question↛Last"))
    assert list(rows["pathway"]) == ["Cross-frame"] * 4 + ["Question↛Last"] * 4
    assert list(rows["layer"]) == [0, 1, 2, 3] * 2
    assert list(rows["window_start"]) == [0, 0, 1, 2] * 2 and list(rows["window_stop"]) == [2, 3, 4, 4] * 2
    assert set(rows["sample"]) == {"s1"} and set(rows["category"]) == {"mixed"} and set(rows["predicted"]) == {answer}

    inputs = prompt(model, letters="AB", answer=answer)
    run = clean_run(model, inputs)
    row = rows.iloc[6]  # Question↛Last around layer 2
    alone = run.replay([Block(inputs.layout.question, inputs.layout.last, layers=range(1, 4))])[0]
    p = float(alone[list(inputs.letters[answer])].max())
    assert row["p_base"] == pytest.approx(run.letter_probabilities[answer])
    assert row["p_knockout"] == pytest.approx(p, abs=1e-6)
    assert row["delta_p"] == pytest.approx((row["p_knockout"] - row["p_base"]) / row["p_base"])


def test_a_wrong_answer_is_not_measured(model, answer):
    wrong = "B" if answer == "A" else "A"
    with pytest.raises(Unmeasured, match="s1: answered wrongly"):
        sweep(model, sample(wrong), k=3)


def test_a_prompt_without_sound_has_no_rows_for_sound(model, answer):
    class Deaf(TinyModel):
        def __init__(self):
            self.__dict__.update(model.__dict__)

        def prepare(self, sample):
            inputs = model.prepare(sample)
            inputs.layout.audio, inputs.layout.audio_chunks = torch.tensor([], dtype=torch.long), ()
            return inputs

    rows = sweep(Deaf(), sample(answer), k=3)
    assert set(rows["pathway"]) == {"Cross-frame", "Video↛Question", "Video↛Last", "Question↛Last"}


def test_a_sample_without_options_is_outside_of_the_measurement(model):
    with pytest.raises(Unmeasured, match="s1: has no options"):
        sweep(model, replace(sample(), options=(), answer=None), k=3)


def test_pathways_of_interleaved_inputs(matching):
    """Their ends, against the positions that the layout gives to the media themselves."""
    layout = matching.layout
    right = layout.candidates[layout.correct]
    wrong = torch.cat([tokens for i, tokens in enumerate(layout.candidates) if i != layout.correct])
    ends = {
        "CorrectCand↛CorrectOpt": (right, torch.tensor([layout.option_letters[layout.answer]])),
        "IncorrectCand↛Last": (wrong, layout.last),
        "Candidates↛Reference": (torch.cat(layout.candidates), layout.reference),
        "Question↛Reference": (layout.question, layout.reference),
    }
    for name, (source, target) in ends.items():
        expected = {(j, i) for j in source.tolist() for i in target.tolist() if j <= i}
        assert edges(layout, name) == expected != set()
    spared = edges(layout, "Cross-candidate")
    owner = {p: i for i, tokens in enumerate(layout.candidates) for p in tokens.tolist()}
    assert spared == {(j, i) for j in owner for i in owner if j <= i and owner[i] != owner[j]}
    assert all(INTERLEAVED[name].plan(layout, layers=range(2)) for name in (*FIGURE_5, *FIGURE_6))


@pytest.fixture(scope="module")
def matching():
    import avsink

    (sample,) = avsink.load_samples("toyworld", tasks=["match the reference"], n_samples=1)
    return avsink.load("tiny-omni", check=False).prepare(sample)
