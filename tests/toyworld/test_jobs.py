"""Jobs: the right answer follows from the scene, and from one modality alone it does not."""

import numpy as np
import pytest

from avsink import media
from avsink.sample import Media
from avsink.toyworld import jobs
from avsink.toyworld.prompts import NAMES, ORDINALS


def _drafts(make, count=60, **kwargs):
    return [make(np.random.default_rng([9, k]), id=f"x{k}", **kwargs) for k in range(count)]


def _option(sample, letter):
    return sample.options[sample.letters.index(letter)]


def _at(things, second):
    """The object in the middle of a second, by the events' own times."""
    return {thing.name for thing in things if thing.start <= second + 0.5 < thing.stop}


def test_sounding_object_asks_for_the_object_among_all_twenty():
    for draft in _drafts(jobs.sounding_object):
        sample, scene = draft.sample, draft.scenes[str(draft.sample.media[0].path)]
        assert sorted(sample.options) == sorted(NAMES)
        assert {_option(sample, sample.answer)} == {a.name for a in scene.seen} == {s.name for s in scene.heard}


@pytest.mark.parametrize("category", jobs.DIRECTIONS)
def test_anchor_and_target_answers_follow_from_the_events(category):
    for draft in _drafts(jobs.anchor_and_target, category=category):
        sample, scene = draft.sample, draft.scenes[str(draft.sample.media[0].path)]
        question = sample.parts[1].text
        anchor = [name for name in NAMES if f" {name} " in question]
        pairs = [(_at(scene.seen, k), _at(scene.heard, k)) for k in range(4)]
        if category == "mixed":
            found = [seen for seen, heard in pairs if seen == heard]
        elif category == jobs.DIRECTIONS[0]:
            found = [heard for seen, heard in pairs if seen == set(anchor)]
        else:
            found = [seen for seen, heard in pairs if heard == set(anchor)]
        assert found == [{_option(sample, sample.answer)}]


@pytest.mark.parametrize("category", jobs.DIRECTIONS)
def test_no_single_modality_narrows_the_answer_down(category):
    for draft in _drafts(jobs.anchor_and_target, category=category, count=20):
        scene = draft.scenes[str(draft.sample.media[0].path)]
        seen, heard = ({event.name for event in events} for events in (scene.seen, scene.heard))
        options = set(draft.sample.options)
        # In each modality, either all four options occur or none.
        assert (
            options in (seen, heard) and (options & seen in (set(), options)) and (options & heard in (set(), options))
        )


def test_answers_are_spread_evenly_over_letters():
    letters = [d.sample.answer for d in _drafts(jobs.anchor_and_target, count=400, category="mixed")]
    assert min(letters.count(letter) for letter in "ABCD") > 70


@pytest.mark.parametrize("category", jobs.MATCHES)
def test_the_matching_candidate_is_the_reference(category, tmp_path):
    for draft in _drafts(jobs.match_the_reference, category=category, count=10):
        sample = draft.sample
        *candidates, reference = sample.media
        names = [str(m.path).split("/")[1].split("-")[0] for m in candidates]
        asked = str(reference.path).split("/")[1].split("-")[0]
        assert ORDINALS[names.index(asked)] == _option(sample, sample.answer)
        assert [m.role for m in sample.media] == ["candidate"] * 4 + ["reference"]
        assert {m.kind for m in candidates}.isdisjoint({reference.kind})


def test_a_written_sample_reads_back_as_it_was_drawn(tmp_path):
    draft = jobs.sounding_object(np.random.default_rng(4), id="clip")
    sample = draft.write(tmp_path)
    sample.check()
    clip = media.read_clip(sample.media[0].path)
    scene = draft.scenes["clip.mp4"]
    wanted = scene.frames(2, jobs.SIZE).astype(float)
    assert clip.frames.shape == wanted.shape
    assert np.abs(clip.frames - wanted).mean() < 6  # of 255: H.264 at this size
    wave = scene.waveform()
    heard = clip.waveform[: len(wave)]
    best = max(np.corrcoef(np.roll(heard, -shift)[:60_000], wave[:60_000])[0, 1] for shift in range(0, 2100, 4))
    assert best > 0.6  # AAC keeps the wave, up to its delay


def test_files_that_exist_are_not_rendered_again(tmp_path):
    draft = jobs.match_the_reference(np.random.default_rng(4), id="m", category=jobs.MATCHES[0])
    sample = draft.write(tmp_path)
    before = {m.path: m.path.stat().st_mtime_ns for m in sample.media}
    again = draft.write(tmp_path)
    assert again == sample and before == {m.path: m.path.stat().st_mtime_ns for m in again.media}
    assert all(isinstance(m, Media) for m in again.media)
