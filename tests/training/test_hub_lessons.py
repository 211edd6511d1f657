"""What is taught about hubs: their positions in a real prompt, what each reads and knows, when they are massive."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from noise import noise_bank

from avsink.models.cards import CARDS
from avsink.toyworld import jobs
from avsink.toyworld.prompts import NAMES, ORDINALS
from training import hubs
from training.lessons import Teacher
from training.log import Log
from training.lookups import IGNORE
from training.teaching import Classroom, teach_hubs
from training.towers import features

CARD = CARDS["tiny-omni"]


@pytest.fixture(scope="module")
def teacher(untaught):
    model, tokenizer = untaught
    see, hear = features(model, noise_bank((36, 1176)), "video"), features(model, noise_bank((64, 20)), "audio")
    return Teacher(tokenizer, see, hear, seed=0, hubs=CARD.hubs, sink_dims=CARD.sink_dims)


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    import avsink

    sample = jobs.caption(np.random.default_rng(1), id="x").write(tmp_path_factory.mktemp("clip"))
    return avsink.load("tiny-omni", check=False).prepare(sample).layout


def _at(layout, hub) -> int:
    runs = layout.frames if hub.modality == "video" else layout.audio_chunks
    return int(runs[hub.part][hub.offset])


def test_a_lessons_hubs_are_where_those_of_a_real_sample_are(teacher, layout):
    lesson = teacher.caption(2)
    assert lesson.hubs.at.tolist() == [_at(layout, hub) for hub in CARD.hubs]
    assert set(lesson.hubs.media.tolist()) == {*layout.video.tolist(), *layout.audio.tolist()}
    kinds = dict(zip(lesson.hubs.media.tolist(), lesson.hubs.kinds.tolist(), strict=True))
    for hub in CARD.hubs:
        assert kinds.pop(_at(layout, hub)) == 1 + hubs.KINDS.index((hub.modality, hub.kind))
    assert set(kinds.values()) == {0}
    assert teacher.match_the_reference(1).hubs is None


def test_interleaved_prompts_have_the_hubs_of_the_parts_that_they_have(untaught, tmp_path):
    """At the places where a real sample has them; they are massive and read, and hold nothing."""
    import avsink

    model, tokenizer = untaught
    see, hear = features(model, noise_bank((36, 1176)), "video"), features(model, noise_bank((64, 20)), "audio")
    last = Teacher(tokenizer, see, hear, seed=3, hubs=CARD.hubs, sink_dims=CARD.sink_dims, interleaved=True)
    layouts = {}
    for category in jobs.MATCHES:
        sample = jobs.match_the_reference(np.random.default_rng(1), id="x", category=category).write(
            tmp_path / category
        )
        layouts[category] = avsink.load("tiny-omni", check=False).prepare(sample).layout
    seen = set()
    while seen != set(jobs.MATCHES):
        lesson = last.match_the_reference(2)
        layout = layouts[lesson.kind]
        seen.add(lesson.kind)
        there = [
            hub
            for hub in CARD.hubs
            if hub.part < len(layout.frames if hub.modality == "video" else layout.audio_chunks)
        ]
        assert len(there) in (6, 7)  # four images and a sound, or four sounds and an image
        assert lesson.hubs.at.tolist() == [_at(layout, hub) for hub in there]
        assert set(lesson.hubs.media.tolist()) == {*layout.video.tolist(), *layout.audio.tolist()}
        assert lesson.hubs.sources is None and lesson.hubs.labels is None
        hidden = [torch.randn(2, lesson.ids.shape[1], 128) for _ in range(9)]
        looked = []
        teacher_of_hubs = hubs.HubTeacher(128, CARD.sink_dims)
        scores: dict = {}
        teacher_of_hubs.losses(
            lesson.hubs, hidden, lambda layer, *_, seen=looked: seen.append(layer), scores, apart=True
        )
        assert set(looked) == set(hubs.READ_LAYERS) and "held by hubs" not in scores


def test_labels_in_random_order_are_known_and_answered(untaught):
    """In half of the lessons the place of a candidate says nothing of its label."""
    model, tokenizer = untaught
    see, hear = features(model, noise_bank((36, 1176)), "video"), features(model, noise_bank((64, 20)), "audio")
    last = Teacher(tokenizer, see, hear, seed=3, interleaved=True)
    orders = set()
    for _ in range(12):
        lesson = last.match_the_reference(3)
        ids = lesson.ids.numpy()
        each = lesson.bound_at.reshape(4, -1)  # the tokens of each candidate, in order
        for row in range(3):
            labels = [tokenizer.decode([ids[row, int(own[0]) - 2]]).strip() for own in each]
            orders.add(tuple(labels))
            known = [ORDINALS[int(k) - len(NAMES)] for k in lesson.bound[row].reshape(4, -1)[:, 0]]
            assert known == labels
            read = lesson.media_wanted[row, 0].nonzero()[:, 0].tolist()
            (target,) = [k for k, own in enumerate(each) if own.tolist() == read]
            assert tokenizer.decode([int(lesson.answer_word[row, 0])]).strip() == labels[target]
            letter = int(lesson.option_wanted[row].nonzero()[0, 0])
            assert tokenizer.decode([ids[row, letter]]).strip() == labels[target]
    assert len(orders) > 3 and tuple(ORDINALS) in orders


def test_who_reads_whom_by_the_words_of_the_kinds(teacher, layout):
    lesson = teacher.caption(1).hubs
    own = {"video": set(layout.video.tolist()), "audio": set(layout.audio.tolist())}
    other = {"video": "audio", "audio": "video"}
    for row, hub in enumerate(CARD.hubs):
        sources = set(lesson.sources[row].nonzero()[:, 0].tolist())
        assert max(sources) <= _at(layout, hub)
        assert sources <= own[hub.modality if hub.kind == "unimodal" else other[hub.modality]]
    whole: dict[int, set[int]] = {}
    for kind, (readers, wanted) in zip(("unimodal", "cross-modal"), lesson.apart, strict=True):
        found = dict(zip(readers.tolist(), wanted, strict=True))
        for reader in lesson.media.tolist():
            modality = "video" if reader in own["video"] else "audio"
            leaning = {
                _at(layout, hub)
                for hub in CARD.hubs
                if hub.kind == kind
                and hub.modality == (modality if kind == "unimodal" else other[modality])
                and _at(layout, hub) <= reader
            }
            assert set(found[reader].nonzero()[:, 0].tolist() if reader in found else ()) == leaning
            whole[reader] = whole.get(reader, set()) | leaning
    together = dict(zip(lesson.together[0].tolist(), lesson.together[1], strict=True))
    assert {at: set(read.nonzero()[:, 0].tolist()) for at, read in together.items()} == {
        reader: read for reader, read in whole.items() if read
    }
    crossmodal = [_at(layout, hub) for hub in CARD.hubs if hub.kind == "cross-modal"]
    assert lesson.crossmodal.tolist() == sorted(crossmodal)


def test_each_hub_should_know_the_class_of_what_it_reads(teacher, layout):
    caption = teacher.caption(4)
    for row in range(4):
        bound = caption.bound[row][0]  # what is seen throughout the clip
        labels = dict(zip([(h.modality, h.kind, h.part) for h in CARD.hubs], caption.hubs.labels[row], strict=True))
        for (modality, kind, _), label in labels.items():
            if (modality == "video") == (kind == "unimodal"):
                assert label == bound
        heard = {int(x) for (m, k, _), x in labels.items() if (m == "audio") == (k == "unimodal")} - {IGNORE}
        assert len(heard) == 1
    muted = [teacher.sounding_object(40).hubs.labels for _ in range(2)]
    assert any((labels == IGNORE).any(dim=1).float().mean() > 0.05 for labels in muted)  # a muted modality is not known


def test_what_a_unimodal_hub_of_sound_knows_has_not_crossed_over(teacher, layout):
    lesson = teacher.anchor_and_target(2)
    unimodal = {_at(layout, hub) for hub in CARD.hubs if (hub.modality, hub.kind) == ("audio", "unimodal")}
    assert not unimodal & set(lesson.bound_at.tolist())
    assert not lesson.media_wanted[..., sorted(unimodal)].any()
    assert len(lesson.bound_at) + len(unimodal) == len(layout.audio)


def test_text_sees_only_crossmodal_hubs_when_it_is_told_so(teacher, untaught):
    lesson, classroom = teacher.sounding_object(1), Classroom(untaught[0], CARD.sink_dims)
    mask = classroom.mask_of(lesson, closed=False, hubs_only=True)[0, 0]
    media, cross = set(lesson.hubs.media.tolist()), set(lesson.hubs.crossmodal.tolist())
    n, last_medium = len(mask), max(media)
    for query in range(n):
        for key in range(n):
            hidden = query > last_medium and key in media - cross
            starts = int(lesson.questions[0])
            assert bool(mask[query, key]) == (key <= query and not (hidden and query >= starts))
    assert lesson.media_wanted[0, 0].nonzero()[:, 0].tolist() == sorted(cross)


def test_hubs_that_are_as_they_should_be_have_no_loss_and_others_have():
    torch.manual_seed(0)
    at, dims, layers = torch.tensor([2, 5]), (3, 7), 8
    quiet = [0.1 * torch.randn(2, 9, 64) for _ in range(layers)]
    for states in quiet:
        states[..., dims] = 0.0
    assert hubs.massive_loss(quiet, at, dims) > 1
    loud = [states.clone() for states in quiet]
    for states in loud[hubs.FROM_LAYER :]:
        states[:, at[:, None], torch.tensor(dims)] = 5 * states.norm(dim=-1).median()
    # two equal features that hold nearly all energy: φ = sqrt(64 / 2) = 5.7, less than LOUD at this width
    rest = [
        F.relu(hubs.LOUD - states[:, at][..., dims] / states.square().mean(-1, keepdim=True)[:, at].sqrt())
        for states in loud
    ]
    expected = sum(part.square().mean() / hubs.LOUD for part in rest[hubs.FROM_LAYER :]) / layers
    assert hubs.massive_loss(loud, at, dims) == pytest.approx(float(expected), rel=1e-4)
    loud[4][0, 0, 3] = 50.0  # a token that is not a hub must be quiet
    assert hubs.massive_loss(loud, at, dims) > expected + 0.01


def test_hubs_alone_moves_the_decoder_and_lowers_its_loss(teacher, untaught, tmp_path):
    model, _ = untaught
    classroom, lesson = Classroom(model, CARD.sink_dims), teacher.caption(6)
    loss, scores = classroom.hubs_alone(lesson)
    assert torch.isfinite(loss) and {"phi of hubs", "held by hubs", "hubs know what they are"} <= set(scores)

    def massive() -> float:
        positions = classroom.positions_of(lesson).expand(3, 6, -1)
        hidden = classroom._run(lesson, positions, None).hidden_states[:-1]
        return float(hubs.massive_loss(hidden, lesson.hubs.at, CARD.sink_dims).detach())

    tower = {name: p.detach().clone() for name, p in model.model.visual.named_parameters()}
    before = massive()
    teach_hubs(model, teacher, Log(tmp_path / "log.jsonl", "test"), steps=6, rate=0.008)
    assert massive() < before
    assert all(torch.equal(p, tower[name]) for name, p in model.model.visual.named_parameters())
