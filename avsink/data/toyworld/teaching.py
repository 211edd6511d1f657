"""The decoder learns the four jobs from lessons.

What is taught besides the answers, and is therefore no discovery when an instrument finds it in the model:

- *the route* of `routes`, at three layers;
- *the question gathers*: in half of the batches nothing behind the question may read the media, at any layer, so what
  the answer needs must travel through the question's tokens (Flow finding 2's route);
- *sound meets sight early*: a probe on the audio tokens after layer 3 asks what is seen in the same second.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from avsink.data.toyworld.build import MEL_PER_SECOND
from avsink.data.toyworld.lessons import Lesson, Teacher
from avsink.data.toyworld.log import Log
from avsink.data.toyworld.lookups import IGNORE
from avsink.data.toyworld.optim import Optimiser
from avsink.data.toyworld.prompts import NAMES
from avsink.data.toyworld.routes import LOOK_UP_LAYER, MEDIA_LAYER, QUESTION_LAYER, attention_loss

__all__ = ["teach_lessons"]

PROBE_LAYER = 3  # after which the audio tokens are asked what is seen
WORD_LAYER = 5  # after which the question's end is asked for the answer's word
LENGTHS = {"sounding_object": 172, "anchor_and_target": 112, "match_the_reference": 107, "caption": 100}  # tokens
SHARES = {"sounding_object": 0.27, "anchor_and_target": 0.43, "match_the_reference": 0.2, "caption": 0.1}


class Decoder:
    """Runs lessons through the decoder and adds up what they teach."""

    def __init__(self, model, tokenizer):
        self.model, self.language_model = model, model.model.language_model
        self.seen_probe = torch.nn.Linear(self.language_model.config.hidden_size, len(NAMES))
        self.positions: dict[str, torch.Tensor] = {}

    def _positions(self, lesson: Lesson) -> torch.Tensor:
        """The model's own interleaved position ids, [3, 1, n]; they depend on the prompt's structure alone."""
        if lesson.kind not in self.positions:
            config = self.model.config
            ids = lesson.ids[:1]
            images = int((ids == config.image_token_id).sum()) // 9
            film = int((ids == config.video_token_id).sum()) // 9
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

    def _mask(self, lesson: Lesson, closed: bool) -> torch.Tensor | None:
        """Causal; if `closed`, nothing behind the question reads the media. Bool [1, 1, n, n], or None for causal."""
        if not closed:
            return None
        n = lesson.ids.shape[1]
        mask = torch.ones(n, n, dtype=torch.bool).tril()
        behind = int(lesson.questions[-1]) + 1
        media = torch.isin(lesson.ids[0], torch.tensor(self._media_ids()))
        mask[behind:] &= ~media
        return mask[None, None]

    def _route(self, lesson: Lesson, hidden: tuple[torch.Tensor, ...], positions: torch.Tensor) -> torch.Tensor:
        """The loss of looking elsewhere than along the taught route."""
        count, n = lesson.ids.shape
        end, last = torch.tensor([[lesson.answer_at]]).expand(count, 1), torch.tensor([[n - 1]]).expand(count, 1)
        at_end = torch.zeros(count, n, dtype=torch.bool)
        at_end[:, lesson.answer_at] = True
        steps = (
            (MEDIA_LAYER, end, lesson.media_wanted),
            (QUESTION_LAYER, last, at_end),
            (LOOK_UP_LAYER, last, lesson.option_wanted),
        )
        return sum(
            attention_loss(self.language_model, layer, hidden[layer], positions, query, wanted[:, None])
            for layer, query, wanted in steps
        )

    def _media_ids(self) -> list[int]:
        config = self.model.config
        return [config.image_token_id, config.video_token_id, config.audio_token_id]

    def __call__(self, lesson: Lesson, *, closed: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss, and the accuracies worth reporting."""
        config, ids = self.model.config, lesson.ids
        embeds = self.model.get_input_embeddings()(ids)
        is_audio = ids == config.audio_token_id
        is_video = (ids == config.video_token_id) | (ids == config.image_token_id)
        embeds = embeds.masked_scatter(is_audio[..., None], lesson.audio)
        embeds = embeds.masked_scatter(is_video[..., None], lesson.video)
        positions = self._positions(lesson).expand(3, len(ids), -1)
        out = self.language_model(
            inputs_embeds=embeds,
            position_ids=positions,
            attention_mask=self._mask(lesson, closed and lesson.last is not None),
            use_cache=False,
            output_hidden_states=True,
        )
        head = self.model.lm_head
        losses, scores = [], {}
        if lesson.last is not None:
            logits = head(out.last_hidden_state[:, -1])
            losses.append(F.cross_entropy(logits, lesson.last))
            scores["letter"] = (logits.argmax(-1) == lesson.last).float().mean()
            taught = lesson.options != IGNORE
            losses.append(0.1 * F.cross_entropy(head(out.last_hidden_state[taught]), lesson.options[taught]))
        else:
            taught = lesson.continuation != IGNORE
            logits, wanted = head(out.last_hidden_state[taught]), lesson.continuation[taught]
            losses.append(F.cross_entropy(logits, wanted))
            scores["caption"] = (logits.argmax(-1) == wanted).float().mean()
        if lesson.answer_word is not None:
            half_way = self.language_model.norm(out.hidden_states[WORD_LAYER][:, lesson.answer_at])
            logits = head(half_way)
            losses.append(0.5 * F.cross_entropy(logits, lesson.answer_word))
            scores["word"] = (logits.argmax(-1) == lesson.answer_word).float().mean()
            losses.append(0.3 * self._route(lesson, out.hidden_states, positions))
        if lesson.seen_with_audio is not None:
            at_audio = out.hidden_states[PROBE_LAYER][is_audio]
            losses.append(0.2 * F.cross_entropy(self.seen_probe(at_audio), lesson.seen_with_audio.flatten()))
        return sum(losses), scores


def teach_lessons(model, tokenizer, teacher: Teacher, log: Log, save, *, steps: int, tokens: int = 4200,
            rate: float = 0.008, seed: int = 0):  # fmt: skip
    """`steps` lessons, each of one kind."""
    decoder, rng = Decoder(model, tokenizer), np.random.default_rng([seed, 44])
    torch.manual_seed(seed)
    for part in (model.model.visual, model.model.audio_tower):
        part.requires_grad_(False)
    named = [*model.named_parameters(), *decoder.seen_probe.named_parameters()]
    optimiser = Optimiser(named, steps=steps, muon=rate, adam=rate / 4)
    sums: dict[str, list[float]] = {}
    for step in range(steps):
        job = str(rng.choice(list(SHARES), p=list(SHARES.values())))
        lesson = getattr(teacher, job)(tokens // LENGTHS[job])
        loss, scores = decoder(lesson, closed=bool(rng.random() < 0.5))
        optimiser.step(loss)
        for name, score in scores.items():
            sums.setdefault(f"{lesson.kind}: {name}", []).append(float(score))
        if step % 50 == 49:
            log(step + 1, loss=loss.detach(), **{name: np.mean(values) for name, values in sorted(sums.items())})
            sums = {}
            save()
