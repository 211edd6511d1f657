"""The decoder learns the four jobs from lessons.

Besides the answers, the following is taught; it is no discovery if an instrument finds it in the model:

- *the route* in `routes`: at its layers, which tokens read which, and what they know afterwards;
- *the question gathers*: in half of the lessons that end in a letter (not in drills and captions), no token after the
  question may read the media, at any layer. So the information must pass through the question's tokens, the route of
  Flow's finding 2;
- *text reads hubs*, if there are any (`hubs`): in most lessons on the sounding object, text may read no media except
  the cross-modal hubs, at any layer;
- *audio tokens learn early what is seen*: two layers after they were taught to look, probes read from them what is seen
  in the same second, and whether it is the same object that is heard.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from avsink.testing.untrained_omni import MEL_PER_SECOND
from avsink.toyworld.prompts import NAMES
from avsink.toyworld.routes import GATHER_LAYER, LOOK_UP_LAYER, MEDIA_LAYER, QUESTION_LAYER
from training.attention_loss import attention_loss
from training.hubs import HubTeacher
from training.lessons import Teacher
from training.log import Log
from training.lookups import IGNORE, look_up_loss, look_ups
from training.marks import VIDEO_TOKENS, Lesson
from training.optim import Optimiser

__all__ = ["FINISH", "INTERLEAVED", "SHARES", "teach_hubs", "teach_lessons"]

TOKENS = 4000  # of a lesson, summed over its prompts
HUB_TOKENS = 2400  # of a lesson that teaches only hubs
LOOK_UPS = 6  # sequences of look-ups added to every lesson
LENGTHS = {
    "sounding_object": 172,
    "anchor_and_target": 112,
    "anchor_drill": 160,
    "match_the_reference": 107,
    "match_drill": 170,
    "caption": 100,
    "caption_drill": 100,
}  # tokens of a prompt
SHARES = {
    "sounding_object": 0.22,
    "anchor_and_target": 0.3,
    "anchor_drill": 0.16,
    "match_the_reference": 0.14,
    "match_drill": 0.08,
    "caption": 0.1,
}
HUB_SHARES = {"caption": 0.4, "sounding_object": 0.4, "anchor_and_target": 0.2}
FINISH = {
    "sounding_object": 0.25,
    "anchor_and_target": 0.18,
    "anchor_drill": 0.08,
    "match_the_reference": 0.1,
    "match_drill": 0.04,
    "caption_drill": 0.35,
}  # shares in the last stage: mainly captions, which after the lessons still named one object twice
INTERLEAVED = {
    "sounding_object": 0.22,
    "anchor_and_target": 0.16,
    "anchor_drill": 0.06,
    "match_the_reference": 0.34,
    "match_drill": 0.04,
    "caption_drill": 0.18,
}  # shares in the stage in which hubs are taught in interleaved prompts, too


class Classroom:
    """Runs lessons through the decoder and adds up their losses."""

    def __init__(self, model, sink_dims: Sequence[int] = (), *, apart: bool = False):
        self.apart = apart
        self.model, self.language_model = model, model.model.language_model
        width = self.language_model.config.hidden_size
        self.in_step, self.probe = torch.nn.Linear(width, 2), torch.nn.Linear(width, len(NAMES) + 4)
        self.hubs = HubTeacher(width, sink_dims)
        self.probes = torch.nn.ModuleList([self.in_step, self.probe, self.hubs])  # discarded later
        self.positions: dict[str, torch.Tensor] = {}

    def positions_of(self, lesson: Lesson) -> torch.Tensor:
        """The model's own interleaved position ids, [3, 1, n]; they depend only on the structure of the prompt."""
        if lesson.kind not in self.positions:
            config = self.model.config
            ids = lesson.ids[:1]
            images = int((ids == config.image_token_id).sum()) // VIDEO_TOKENS
            film = int((ids == config.video_token_id).sum()) // VIDEO_TOKENS
            sounds = int((ids == config.audio_start_token_id).sum())
            positions, _ = self.model.model.get_rope_index(
                input_ids=ids,
                image_grid_thw=torch.tensor([[1, 6, 6]] * images) if images else None,
                video_grid_thw=torch.tensor([[film, 6, 6]]) if film else None,
                attention_mask=torch.ones_like(ids),
                use_audio_in_video=bool(film),
                audio_seqlens=torch.tensor([MEL_PER_SECOND * (film or 1)] * sounds),
                second_per_grids=torch.tensor([1.0]) if film else None,
            )
            self.positions[lesson.kind] = positions
        return self.positions[lesson.kind]

    def mask_of(self, lesson: Lesson, *, closed: bool, hubs_only: bool) -> torch.Tensor | None:
        """The attention mask, bool [1, 1, n, n]; None for plain causal attention.

        Args:
            lesson: The lesson.
            closed: Whether tokens after the question may not read the media.
            hubs_only: Whether text may read no media except cross-modal hubs.
        """
        if not closed and not hubs_only:
            return None
        n = lesson.ids.shape[1]
        mask = torch.ones(n, n, dtype=torch.bool).tril()
        after_question = int(lesson.questions[-1]) + 1
        media = torch.isin(lesson.ids[0], torch.tensor(self._media_ids()))
        if closed:
            mask[after_question:] &= ~media
        if hubs_only:
            media[lesson.hubs.crossmodal] = False
            mask[int(lesson.questions[0]) :] &= ~media
        return mask[None, None]

    def _looking(self, hidden: tuple[torch.Tensor, ...], positions: torch.Tensor, losses: list):
        """A function look(layer, queries, wanted) that adds the loss of attending elsewhere at a layer to `losses`."""
        count = len(hidden[0])

        def look(layer: int, queries: torch.Tensor, wanted: torch.Tensor) -> None:
            queries, wanted = queries.expand(count, -1), wanted.expand(count, -1, -1)
            losses.append(0.3 * attention_loss(self.language_model, layer, hidden[layer], positions, queries, wanted))

        return look

    def _route(self, lesson: Lesson, hidden: tuple[torch.Tensor, ...], positions: torch.Tensor, scores: dict) -> list:
        """The losses of attending elsewhere than on the taught route, and of not knowing what is found there.

        hidden[k] is the input of layer k: what a token reads at a layer it must know one or two inputs later.
        """
        n = lesson.ids.shape[1]
        losses: list[torch.Tensor] = []
        look = self._looking(hidden, positions, losses)

        def know(layer: int, at: torch.Tensor, words: torch.Tensor, name: str) -> None:
            logits = self.model.lm_head(self.language_model.norm(hidden[layer][:, at]))  # [b, q, vocabulary]
            losses.append(0.5 * F.cross_entropy(logits.flatten(0, 1), words.flatten()))
            scores[name] = (logits.argmax(-1) == words).float().mean()

        if lesson.hubs is not None:
            losses += self.hubs.losses(lesson.hubs, hidden, look, scores, apart=self.apart)
        if lesson.bound is not None:
            look(GATHER_LAYER, lesson.bound_at, lesson.bound_wanted)
            logits = self.probe(hidden[GATHER_LAYER + 2][:, lesson.bound_at])  # [b, t, classes]
            losses.append(0.5 * F.cross_entropy(logits.flatten(0, 1), lesson.bound.flatten()))
            scores["bound"] = (logits.argmax(-1) == lesson.bound).float().mean()
        if lesson.in_step is not None:
            logits = self.in_step(hidden[GATHER_LAYER + 2][:, lesson.bound_at])  # [b, t, 2]
            losses.append(0.5 * F.cross_entropy(logits.flatten(0, 1), lesson.in_step.flatten()))
            scores["in step"] = (logits.argmax(-1) == lesson.in_step).float().mean()
        if lesson.answer_word is None:
            return losses
        if lesson.cue is not None:
            look(GATHER_LAYER, lesson.answer_at, lesson.cue_wanted)
            know(MEDIA_LAYER, lesson.answer_at, lesson.cue, "cue")
        look(MEDIA_LAYER, lesson.answer_at, lesson.media_wanted)
        know(QUESTION_LAYER, lesson.answer_at, lesson.answer_word, "word")
        if lesson.last is not None:
            last = torch.tensor([n - 1])
            look(QUESTION_LAYER, last, (torch.arange(n) == lesson.answer_at[:, None])[None])
            know(LOOK_UP_LAYER, last, lesson.answer_word, "word at last")
            look(LOOK_UP_LAYER, last, lesson.option_wanted[:, None])
        return losses

    def _media_ids(self) -> list[int]:
        config = self.model.config
        return [config.image_token_id, config.video_token_id, config.audio_token_id]

    def _run(self, lesson: Lesson, positions: torch.Tensor, mask: torch.Tensor | None):
        config, ids = self.model.config, lesson.ids
        embeds = self.model.get_input_embeddings()(ids)
        is_audio = ids == config.audio_token_id
        is_video = (ids == config.video_token_id) | (ids == config.image_token_id)
        embeds = embeds.masked_scatter(is_audio[..., None], lesson.audio)
        embeds = embeds.masked_scatter(is_video[..., None], lesson.video)
        return self.language_model(
            inputs_embeds=embeds,
            position_ids=positions,
            attention_mask=mask,
            use_cache=False,
            output_hidden_states=True,
        )

    def __call__(self, lesson: Lesson, *, closed: bool, hubs_only: bool) -> tuple[torch.Tensor, dict]:
        """The loss of a lesson, and accuracies to report.

        Args:
            lesson: The lesson.
            closed: As in `mask_of`; ignored for lessons without a letter.
            hubs_only: As in `mask_of`; ignored for lessons that do not ask for the sounding object.
        """
        positions = self.positions_of(lesson).expand(3, len(lesson.ids), -1)
        asks_object = lesson.hubs is not None and lesson.kind == "sounding object"
        mask = self.mask_of(lesson, closed=closed and lesson.last is not None, hubs_only=hubs_only and asks_object)
        out = self._run(lesson, positions, mask)
        head = self.model.lm_head
        losses, scores = [], {}
        if lesson.last is not None:
            logits = head(out.last_hidden_state[:, -1])
            losses.append(F.cross_entropy(logits, lesson.last))
            scores["letter"] = (logits.argmax(-1) == lesson.last).float().mean()
            taught = lesson.options != IGNORE
            losses.append(0.1 * F.cross_entropy(head(out.last_hidden_state[taught]), lesson.options[taught]))
        elif lesson.continuation is not None:
            taught = lesson.continuation != IGNORE
            logits, wanted = head(out.last_hidden_state[taught]), lesson.continuation[taught]
            losses.append(F.cross_entropy(logits, wanted))
            scores["caption"] = (logits.argmax(-1) == wanted).float().mean()
        losses += self._route(lesson, out.hidden_states, positions, scores)
        return sum(losses), scores

    def hubs_alone(self, lesson: Lesson) -> tuple[torch.Tensor, dict]:
        """The losses of hubs in a lesson, without those of its answers, and accuracies to report."""
        positions = self.positions_of(lesson).expand(3, len(lesson.ids), -1)
        hidden, losses, scores = self._run(lesson, positions, None).hidden_states, [], {}
        look = self._looking(hidden, positions, losses)
        losses += self.hubs.losses(lesson.hubs, hidden, look, scores, apart=self.apart)
        return sum(losses), scores


def teach_hubs(model, teacher: Teacher, log: Log, *, steps: int, rate: float, seed: int = 0) -> None:
    """Teach hubs alone, before the lessons: in a trial with all losses together, those of hubs were too weak."""

    def lesson_of(classroom: Classroom, rng: np.random.Generator):
        job = str(rng.choice(list(HUB_SHARES), p=list(HUB_SHARES.values())))
        lesson = getattr(teacher, job)(HUB_TOKENS // LENGTHS[job])
        return lesson.kind, classroom.hubs_alone(lesson)

    _teach(model, teacher, log, lesson_of, steps=steps, rate=rate, seed=seed)


def teach_lessons(
    model,
    teacher: Teacher,
    log: Log,
    *,
    steps: int,
    shares: dict[str, float],
    rate: float,
    apart: bool = False,
    seed: int = 0,
) -> None:
    """Teach `steps` lessons, whose jobs are drawn by `shares` (method of `Teacher` -> share).

    With `apart`, each kind of hub must be read.
    """

    def lesson_of(classroom: Classroom, rng: np.random.Generator):
        job = str(rng.choice(list(shares), p=list(shares.values())))
        lesson = getattr(teacher, job)(TOKENS // LENGTHS[job])
        return lesson.kind, classroom(lesson, closed=bool(rng.random() < 0.5), hubs_only=bool(rng.random() < 0.7))

    _teach(model, teacher, log, lesson_of, steps=steps, rate=rate, apart=apart, seed=seed)


def _teach(
    model, teacher: Teacher, log: Log, lesson_of, *, steps: int, rate: float, seed: int, apart: bool = False
) -> None:
    """Train with frozen towers. rate: Muon's learning rate; AdamW's is a quarter of it.

    A few look-ups are added to every lesson: in a trial without them, the new routes overwrote the look-up within 100
    steps.
    """
    torch.manual_seed(seed)
    classroom, rng = Classroom(model, teacher.sink_dims, apart=apart), np.random.default_rng([seed, 44])
    for part in (model.model.visual, model.model.audio_tower):
        part.requires_grad_(False)
    named = [*model.named_parameters(), *classroom.probes.named_parameters()]
    optimiser = Optimiser(named, steps=steps, muon=rate, adam=rate / 4, warmup=100, decay=0.45)
    sums: dict[str, list[float]] = {}
    for step in range(steps):
        kind, (loss, found) = lesson_of(classroom, rng)
        words = look_ups(teacher.words, batch=LOOK_UPS, rng=rng, ordinals=True)
        kept, letter = look_up_loss(model, words)
        optimiser.step(loss + kept)
        for name, scores in ((kind, found), ("look-up", letter)):
            for what, score in scores.items():
                sums.setdefault(f"{name}: {what}", []).append(float(score.detach()))
        if step % 50 == 49:
            log(step + 1, loss=loss.detach(), **{name: np.mean(values) for name, values in sorted(sums.items())})
            sums = {}
