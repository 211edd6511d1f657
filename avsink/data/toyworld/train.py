"""Train a teaching model: ``python -m avsink.data.toyworld.train --out data/models/tiny-omni``.

Four stages, each saved under `--work` and not done again:

1. `bank`: seconds of film and sound are rendered, encoded and decoded (`bank`);
2. `letters`: the decoder learns the 20-way look-up from text alone (`lookups`);
3. `towers`: vision and audio tower learn to name a second's object in the decoder's own word embeddings;
4. `lessons`: the decoder learns the four jobs from the towers' outputs (`lessons`).

What is taught besides the answers, and is therefore no discovery when an instrument finds it in the model:

- *the route* of `routes`, at three layers;
- *the question gathers*: in half of the batches nothing behind the question may read the media, at any layer, so what
  the answer needs must travel through the question's tokens (Flow finding 2's route);
- *sound meets sight early*: a probe on the audio tokens after layer 3 asks what is seen in the same second.

Everything is seeded, one thread order aside: floating-point sums on several cores make two trainings agree in their
evaluation, not in their bits. The log is one JSON line per report.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from avsink.data.toyworld.bank import Bank, build_bank
from avsink.data.toyworld.build import MEL_PER_SECOND, build_model, build_processor, build_tokenizer
from avsink.data.toyworld.lessons import Features, Lesson, Teacher
from avsink.data.toyworld.lookups import IGNORE, WordIds, look_ups
from avsink.data.toyworld.optim import Optimiser
from avsink.data.toyworld.prompts import NAMES
from avsink.data.toyworld.routes import LOOK_UP_LAYER, MEDIA_LAYER, QUESTION_LAYER, attention_loss

PROBE_LAYER = 3  # after which the audio tokens are asked what is seen
WORD_LAYER = 5  # after which the question's end is asked for the answer's word
LENGTHS = {"sounding_object": 172, "anchor_and_target": 112, "match_the_reference": 107, "caption": 100}  # tokens
SHARES = {"sounding_object": 0.27, "anchor_and_target": 0.43, "match_the_reference": 0.2, "caption": 0.1}


class Log:
    """One JSON line per report, printed and appended to a file."""

    def __init__(self, path: Path, stage: str):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.stage, self.began = path, stage, time.time()

    def __call__(self, step: int, **numbers: object) -> None:
        row = {"stage": self.stage, "step": step, "seconds": round(time.time() - self.began)}
        row |= {key: value if isinstance(value, str) else round(float(value), 4) for key, value in numbers.items()}
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


def letters(model, tokenizer, log: Log, *, steps: int = 600, batch: int = 16, seed: int = 0) -> None:
    """Stage 2. Stops as soon as the look-up is right 99.5 % of the time in two reports running."""
    words, rng, good = WordIds(tokenizer), np.random.default_rng([seed, 11]), 0
    decoder = model.model.language_model
    optimiser = Optimiser(model.named_parameters(), steps=steps, muon=0.012, adam=0.003)
    for step in range(steps):
        ids, targets = look_ups(words, batch=batch, rng=rng)
        out = decoder(input_ids=ids, use_cache=False, output_hidden_states=True)
        taught = targets != IGNORE
        asked = torch.arange(80, ids.shape[1]).expand(len(ids), -1)  # [b, q]
        is_question = (torch.arange(ids.shape[1]) >= 80).expand_as(taught)[taught]
        logits, wanted = model.lm_head(out.last_hidden_state[taught]), targets[taught]
        each = F.cross_entropy(logits, wanted, reduction="none")
        same_word = ids[:, None, :] == ids[:, 80:, None]  # [b, q, n]
        same_word[..., 80:] = False
        positions = torch.arange(ids.shape[1]).expand(3, len(ids), -1)
        look = attention_loss(decoder, LOOK_UP_LAYER, out.hidden_states[LOOK_UP_LAYER], positions, asked, same_word)
        optimiser.step(each[is_question].mean() + 0.3 * each[~is_question].mean() + 0.5 * look)
        if step % 20 == 19:
            right = (logits.argmax(-1) == wanted)[is_question].float().mean()
            log(step + 1, loss=each[is_question].mean().detach(), accuracy=right, attention=(-look).exp().detach())
            good = good + 1 if right >= 0.995 else 0
            if good == 2:
                return


def _see(model, patches: torch.Tensor) -> torch.Tensor:
    """Patches [b, 36, 1176] of one temporal grid each -> video tokens [b, 9, width]."""
    grids = torch.tensor([[1, 6, 6]]).expand(len(patches), 3)
    tokens = model.model.visual(patches.flatten(0, 1).float(), grid_thw=grids).pooler_output
    return tokens.view(len(patches), -1, tokens.shape[-1])


def _hear(model, mel: torch.Tensor) -> torch.Tensor:
    """Mel frames [b, 64, 20] of one chunk each -> audio tokens [b, 5, width]."""
    lengths = torch.full((len(mel),), MEL_PER_SECOND)
    joined = mel.float().permute(1, 0, 2).flatten(1)  # [64, b * 20]
    tokens = model.model.audio_tower(joined, feature_lens=lengths).last_hidden_state
    return tokens.view(len(mel), -1, tokens.shape[-1])


TOWERS = {"video": (_see, "visual"), "audio": (_hear, "audio_tower")}


def tower(model, bank: Bank, words: WordIds, which: str, log: Log, *, steps: int, batch: int = 64, seed: int = 0):
    """Stage 3 for one tower: a second's mean token, read by the decoder's word embeddings, must name its object.

    The mean is taught to have the size of a word's embedding, so that media and text tokens weigh alike.
    """
    encode, module = TOWERS[which]
    rng = np.random.default_rng([seed, 33])
    vocabulary = model.get_input_embeddings().weight.detach()[torch.from_numpy(words.names)]  # [20, width]
    centred = vocabulary - vocabulary.mean(0)
    size = centred.norm(dim=-1).mean()
    nothing = torch.nn.Parameter(torch.zeros(1))
    parameters = [*getattr(model.model, module).named_parameters(), ("nothing", nothing)]
    optimiser = Optimiser(parameters, steps=steps, muon=0.0, adam=2e-3)
    rows = np.flatnonzero(bank.label.numpy() >= 0)
    held_out, rows = rows[::12], np.setdiff1d(rows, rows[::12])

    def logits_of(tokens: torch.Tensor) -> torch.Tensor:
        named = tokens.mean(1) @ centred.T * (12 / size**2)  # [b, 20]
        return torch.cat([named, nothing.expand(len(named), 1)], dim=1)

    for step in range(steps):
        picked = torch.from_numpy(rng.choice(rows, batch))
        inputs = bank.inputs[picked].float()
        inputs = inputs + 0.05 * torch.randn_like(inputs) if which == "audio" else inputs
        tokens = encode(model, inputs)
        loss = F.cross_entropy(logits_of(tokens), bank.label[picked])
        optimiser.step(loss + 0.1 * (tokens.norm(dim=-1) / size - 1.5).square().mean())
        if step % 50 == 49:
            with torch.no_grad():
                check = torch.from_numpy(rng.choice(held_out, 256))
                right = logits_of(encode(model, bank.inputs[check])).argmax(-1) == bank.label[check]
                clear = bank.level[check] < 0.5
            log(step + 1, tower=which, loss=loss.detach(), accuracy=right.float().mean(),
                accuracy_clear=right[clear].float().mean())  # fmt: skip


@torch.no_grad()
def features(model, bank: Bank, which: str) -> Features:
    """The tower's tokens for the whole bank, and for a zeroed second."""
    encode, _ = TOWERS[which]
    parts = [encode(model, part) for part in tqdm(bank.inputs.split(256), desc=f"{which} tokens", mininterval=10)]
    absent = torch.full_like(bank.inputs[:1], -1.5)  # log-mel of silence, after Whisper's scaling
    if which == "video":
        processor = build_processor()
        black = torch.zeros(2, 3, 84, 84, dtype=torch.uint8)
        absent = processor.video_processor(videos=[black], return_tensors="pt")["pixel_values_videos"][None]
    return Features(torch.cat(parts), encode(model, absent)[0], bank.label, bank.level, bank.still)


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


def lessons(model, tokenizer, teacher: Teacher, log: Log, save, *, minutes: float, steps: int, tokens: int = 4200,
            rate: float = 0.008, seed: int = 0):  # fmt: skip
    """Stage 4, for `steps` steps, each one lesson of one kind."""
    decoder, rng = Decoder(model, tokenizer), np.random.default_rng([seed, 44])
    torch.manual_seed(seed)
    for part in (model.model.visual, model.model.audio_tower):
        part.requires_grad_(False)
    named = [*model.named_parameters(), *decoder.seen_probe.named_parameters()]
    optimiser = Optimiser(named, steps=steps, muon=rate, adam=rate / 4)
    began, sums = time.time(), {}
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
        if time.time() - began > 60 * minutes:
            raise SystemExit(f"not done after {minutes} minutes, at step {step}; run again with more")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("data/models/tiny-omni"))
    parser.add_argument("--work", type=Path, default=Path("scratch/train"), help="stages are kept here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clips", type=int, default=4000)
    parser.add_argument("--stills", type=int, default=1200)
    parser.add_argument("--tower-steps", type=int, default=900)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--until", choices=["bank", "letters", "video", "audio", "lessons"], default="lessons")
    arguments = parser.parse_args()
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(arguments.seed)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, seed=arguments.seed)
    words = WordIds(tokenizer)

    def stage(name: str, teach) -> bool:
        """Do a stage, or load what it left; true when it was the last one asked for."""
        path = work / f"{name}.pt"
        if path.exists():
            model.load_state_dict(torch.load(path, weights_only=True))
        else:
            teach(Log(work / "log.jsonl", name))
            torch.save(model.state_dict(), path)
        return arguments.until == name

    if stage("letters", lambda log: letters(model, tokenizer, log, seed=arguments.seed)):
        return
    if not (work / "bank.pt").exists():
        banks = build_bank(clips=arguments.clips, stills=arguments.stills, seed=arguments.seed + 1)
        torch.save(banks, work / "bank.pt")
    see, hear = torch.load(work / "bank.pt", weights_only=False)
    for which, bank in (("video", see), ("audio", hear)):
        if stage(which, lambda log, w=which, b=bank: tower(model, b, words, w, log, steps=arguments.tower_steps)):
            return
    teacher = Teacher(tokenizer, features(model, see, "video"), features(model, hear, "audio"), seed=arguments.seed)

    def save() -> None:
        torch.save(model.state_dict(), work / "latest.pt")

    stage("lessons", lambda log: lessons(model, tokenizer, teacher, log, save, minutes=600, steps=arguments.steps,
                                         seed=arguments.seed))  # fmt: skip
    model.save_pretrained(arguments.out, safe_serialization=True)
    build_processor(tokenizer).save_pretrained(arguments.out)


if __name__ == "__main__":
    main()
