"""The teaching stages: lessons are the prompts that real samples become, and each stage moves what it should."""

import numpy as np
import pytest
import torch
from noise import noise_bank

from avsink.models import CARDS
from avsink.models.families import FAMILIES
from avsink.models.model import Model
from avsink.testing.untrained_omni import build_processor
from avsink.toyworld import jobs
from avsink.toyworld.prompts import NAMES, ORDINALS
from avsink.toyworld.scene import Appearance, Scene, Sounding
from training.attention_loss import HEADS, attention_loss
from training.bank import NOTHING, UNSURE, _labels
from training.features import Features
from training.lessons import Teacher
from training.log import Log
from training.lookups import HEADER, IGNORE, WordIds, look_ups
from training.optim import orthogonalise
from training.teaching import SHARES, Classroom, teach_lessons
from training.towers import features, teach_tower

JOBS = [
    ("sounding_object", None),
    *[("anchor_and_target", category) for category in jobs.DIRECTIONS],
    *[("match_the_reference", category) for category in jobs.MATCHES],
    ("caption", None),
]


@pytest.fixture(scope="module")
def model(untaught):
    """The untaught model, as `avsink.load("tiny-omni")` would return it."""
    card = CARDS["tiny-omni"]
    adapter = FAMILIES[card.family]()
    return Model(card=card, hf=untaught[0], processor=build_processor(untaught[1]), adapter=adapter)


@pytest.fixture(scope="module")
def teacher(untaught):
    model, tokenizer = untaught
    see, hear = features(model, noise_bank((36, 1176)), "video"), features(model, noise_bank((64, 20)), "audio")
    return Teacher(tokenizer, see, hear, seed=0)


def _lesson(teacher, job, category, batch=2):
    for _ in range(100):
        lesson = getattr(teacher, job)(batch)
        if category in (None, lesson.kind):
            return lesson
    raise AssertionError(f"no lesson of {category} in 100")


@pytest.mark.parametrize(("job", "category"), JOBS)
def test_a_lesson_has_the_tokens_and_positions_of_a_real_sample(job, category, teacher, untaught, model, tmp_path):
    kwargs = {"category": category} if category else {}
    sample = getattr(jobs, job)(np.random.default_rng(1), id="x", **kwargs).write(tmp_path)
    inputs = model.prepare(sample)
    lesson = _lesson(teacher, job, category)
    n = inputs.layout.n
    words = WordIds(untaught[1])
    slots = {*words.names.tolist(), *untaught[1](" first second third fourth")["input_ids"]}
    real, taught = inputs.tensors["input_ids"][0], lesson.ids[0, :n]
    assert set(real[real != taught].tolist()) | set(taught[real != taught].tolist()) <= slots
    positions = Classroom(untaught[0]).positions_of(lesson)
    assert torch.equal(positions[..., :n], inputs.tensors["position_ids"])
    if lesson.answer_at is not None:
        [end] = lesson.answer_at.tolist()
        assert end == int(inputs.layout.options[0][0]) - 2  # just before the newline that opens the options


@pytest.mark.parametrize(("job", "category"), JOBS[:-1])
def test_a_lessons_targets_are_right(job, category, teacher, untaught):
    tokenizer = untaught[1]
    for _ in range(5):
        lesson = _lesson(teacher, job, category, batch=4)
        for row in range(4):
            letter = tokenizer.decode([lesson.last[row]])
            text = tokenizer.decode(lesson.ids[row])
            chosen = text.split(f"\n{letter}. ")[1].split("\n")[0]
            assert chosen == tokenizer.decode(lesson.answer_word[row]).strip()
            [word] = lesson.ids[row][lesson.option_wanted[row]].tolist()
            assert tokenizer.decode([word]).strip() == chosen


@pytest.mark.parametrize("job", ["anchor_drill", "match_drill"])
def test_a_drills_questions_are_about_what_they_should_be(job, teacher, untaught):
    tokenizer = untaught[1]
    for _ in range(4):
        lesson = getattr(teacher, job)(3)
        for row in range(3):
            ids = lesson.ids[row]
            bound = dict(zip(lesson.bound_at.tolist(), lesson.bound[row].tolist(), strict=True))
            for q, end in enumerate(lesson.answer_at.tolist()):
                word = tokenizer.decode([lesson.answer_word[row, q]]).strip()
                cue = tokenizer.decode([lesson.cue[row, q]]).strip()
                read = lesson.media_wanted[row, q].nonzero()[:, 0].tolist()
                [belongs] = {bound[position] for position in read}
                assert max(read) < lesson.cue_wanted[row, q].nonzero().min() < end
                if job == "match_drill":
                    assert ORDINALS[belongs - len(NAMES)] == word
                    continue
                asked = tokenizer.decode(ids[:end]).split("\n")[-1]
                seen_is_asked = asked.startswith("What is seen")
                assert NAMES[belongs] == (word if seen_is_asked else cue)
                assert asked.endswith(f" {cue} is {'heard' if seen_is_asked else 'seen'}")


def test_a_caption_drill_looks_with_the_right_sense(teacher, untaught):
    tokenizer, lesson = untaught[1], teacher.caption_drill(3)
    for row in range(3):
        said = tokenizer.decode(lesson.ids[row]).split("assistant\n")[1]
        for q, (sense, media) in enumerate((("see", "video"), ("hear", "audio"))):
            end, word = int(lesson.answer_at[q]), tokenizer.decode([lesson.answer_word[row, q]]).strip()
            assert tokenizer.decode(lesson.ids[row, : end + 1]).endswith(f"{sense} a") and f"{sense} a {word}" in said
            read = set(lesson.ids[row][lesson.media_wanted[row, q]].tolist())
            assert read == {getattr(untaught[0].config, f"{media}_token_id")}
    assert teacher.caption(2).answer_at is None


def test_look_ups_ask_for_the_letter_before_the_word(untaught):
    tokenizer = untaught[1]
    lesson = look_ups(WordIds(tokenizer), batch=3, rng=np.random.default_rng(0))
    for row in range(3):
        lines = tokenizer.decode(lesson.ids[row, :80]) + "\n"
        for q, (word, letter) in enumerate(zip(lesson.words[row], lesson.letters[row], strict=True)):
            assert lesson.ids[row, lesson.words_at[q]] == word
            assert f"\n{tokenizer.decode([letter])}.{tokenizer.decode([word])}\n" in lines
            assert tokenizer.decode(lesson.ids[row, lesson.words_at[q] + 1 : lesson.last[q] + 1]) == HEADER
            assert lesson.ids[row][lesson.option_wanted[row, q]].tolist() == [word]
        assert (lesson.options[row] != IGNORE).sum() == len(NAMES)


def test_attention_loss_is_that_of_the_models_own_attention(untaught):
    model, _ = untaught
    decoder = model.model.language_model
    ids = torch.randint(0, 400, (2, 30))
    model.set_attn_implementation({"text_config": "eager"})
    out = decoder(input_ids=ids, output_hidden_states=True, output_attentions=True, use_cache=False)
    model.set_attn_implementation({"text_config": "sdpa"})
    queries = torch.tensor([[5, 29], [7, 12]])
    wanted = torch.rand(2, 2, 30) < 0.4
    wanted[..., 0] = True
    positions = torch.arange(30).expand(3, 2, -1)
    loss = attention_loss(decoder, 3, out.hidden_states[3], positions, queries, wanted)
    paid = torch.stack([out.attentions[3][row, :HEADS, at] for row in range(2) for at in queries[row]])  # (4, heads, n)
    expected = -(paid * wanted.flatten(0, 1)[:, None]).sum(-1).log().mean()
    assert torch.allclose(loss, expected, atol=1e-5)


def test_closed_lessons_hide_the_media_from_everything_after_the_question(teacher, untaught):
    classroom = Classroom(untaught[0])
    lesson = _lesson(teacher, "anchor_and_target", "mixed")
    mask = classroom.mask_of(lesson, closed=True, hubs_only=False)[0, 0]
    ids = lesson.ids[0]
    media = torch.isin(ids, torch.tensor([untaught[0].config.video_token_id, untaught[0].config.audio_token_id]))
    end = int(lesson.answer_at)
    assert not mask[end + 1 :, media].any() and mask[end, media].all()
    assert torch.equal(mask[: end + 1], torch.ones_like(mask).tril()[: end + 1])


def test_each_stage_moves_its_part_and_no_other(teacher, untaught, tmp_path):
    model, tokenizer = untaught

    def moved(action):
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        action()
        return {name.split(".")[1] for name, p in model.named_parameters() if not torch.equal(p, before[name])}

    words, log = WordIds(tokenizer), Log(tmp_path / "log.jsonl", "test")
    assert moved(lambda: teach_tower(model, noise_bank((36, 1176)), words, "video", log, steps=2, batch=4)) == {
        "visual"
    }
    assert moved(lambda: teach_tower(model, noise_bank((64, 20)), words, "audio", log, steps=2, batch=4)) == {
        "audio_tower"
    }
    parts = moved(lambda: teach_lessons(model, teacher, log, steps=4, shares=SHARES, rate=0.008))
    assert parts == {"language_model"}


def test_seconds_are_labelled_by_what_is_there():
    seen = (Appearance(name="owl", start=0, stop=1.9, size=0.5, come_from=(0.5, 0.5), go_to=(0.5, 0.5)),)
    heard = (Sounding(name="bell", start=0.7, stop=2.0),)
    shown, sounded = _labels(Scene(seen=seen, heard=heard, duration=3))
    assert shown == [NAMES.index("owl"), NAMES.index("owl"), NOTHING]
    assert sounded == [UNSURE, NAMES.index("bell"), NOTHING]


def test_a_muted_second_is_the_towers_answer_to_zeros(untaught, model, tmp_path):
    see = features(untaught[0], noise_bank((36, 1176)), "video")
    sample = jobs.sounding_object(np.random.default_rng(3), id="x").write(tmp_path)
    tensors = model.prepare(sample, mute=("video",)).tensors
    tower = untaught[0].model.visual
    with torch.no_grad():
        tokens = tower(tensors["pixel_values_videos"], grid_thw=tensors["video_grid_thw"]).pooler_output
    assert torch.allclose(tokens.view(4, 9, -1), see.tokens[see.muted].expand(4, 9, -1), atol=1e-5)


def test_picked_seconds_have_the_class_and_about_the_level_asked_for():
    level = torch.linspace(0, 1, 2000)
    label = torch.arange(2000) % len(NAMES)
    bank = Features(torch.zeros(2000, 1, 2), torch.zeros(1, 2), label, level, torch.zeros(2000, dtype=torch.bool))
    rng = np.random.default_rng(0)
    for wanted in (0.0, 0.3, 0.8):
        rows = bank.pick(7, wanted, 50, rng)
        assert (label[rows] == 7).all()
        assert (level[rows] < 0.16).all() if wanted == 0 else ((level[rows] - wanted).abs() < 0.12).all()


def test_orthogonalise_gives_singular_values_near_one():
    matrices = torch.randn(3, 20, 50, generator=torch.Generator().manual_seed(0))
    for x in (matrices, matrices.mT):
        values = torch.linalg.svdvals(orthogonalise(x))
        assert values.min() > 0.3 and values.max() < 1.4
        left, _, right = torch.linalg.svd(x, full_matrices=False)
        assert (
            torch.nn.functional.cosine_similarity(orthogonalise(x).flatten(1), (left @ right).flatten(1)).min() > 0.95
        )
