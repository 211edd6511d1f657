"""Lesson two: the four jobs, put together from the bank's seconds without rendering anything.

A `Lesson` is a batch of prompts of one kind, tokenised from the same text that the model will meet in a real sample,
with the towers' outputs for its media and with what is taught:

1. the letter at the last token (or, for captions, every token of the caption), and each option word's own letter;
2. where to look, at the layers of `routes`;
3. what a token should then know, read by logit lens or by a probe that is thrown away later: each medium's token what
   it belongs to (`bound`), the end of the question first what is asked about (`cue`), then the answer's word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from avsink.data.toyworld import prompts
from avsink.data.toyworld.build import SPECIAL
from avsink.data.toyworld.features import Features
from avsink.data.toyworld.hubs import HubLesson, hub_lesson
from avsink.data.toyworld.jobs import DIRECTIONS, MATCHES
from avsink.data.toyworld.lookups import IGNORE, WordIds
from avsink.data.toyworld.prompts import NAMES, ORDINALS
from avsink.models.cards import Hub

__all__ = ["Lesson", "Teacher"]

SECONDS, VIDEO_TOKENS, AUDIO_TOKENS = 4, 9, 5  # per clip; per second; per second
LETTERS = np.array([chr(65 + i) for i in range(len(NAMES))])


@dataclass
class Lesson:
    """A batch of `b` prompts of `n` tokens each, alike in structure."""

    kind: str
    ids: torch.Tensor  # [b, n]
    video: torch.Tensor  # [b, video or image tokens, width]
    audio: torch.Tensor  # [b, audio tokens, width]
    options: torch.Tensor  # [b, n] the letter at each option word, IGNORE elsewhere
    questions: np.ndarray  # positions of the question
    last: torch.Tensor | None = None  # [b] the letter
    continuation: torch.Tensor | None = None  # [b, n] instead of a letter: next tokens of a caption
    answer_at: torch.Tensor | None = None  # [q] where each question ends, and its answer is gathered
    answer_word: torch.Tensor | None = None  # [b, q]
    media_wanted: torch.Tensor | None = None  # bool [b, q, n]: media tokens that the question's end should read
    option_wanted: torch.Tensor | None = None  # bool [b, n]: the right option's word
    cue: torch.Tensor | None = None  # [b, q] the word that is asked about
    cue_wanted: torch.Tensor | None = None  # bool [b, q, n]: where it is
    bound_at: torch.Tensor | None = None  # [t] media tokens that must learn what they belong to
    bound: torch.Tensor | None = None  # [b, t]: the class seen meanwhile, or 20 + the candidate's number
    bound_wanted: torch.Tensor | None = None  # bool [t, n]: where they can learn it
    hubs: HubLesson | None = None
    in_step: torch.Tensor | None = None  # int64 [b, t]: 1 where what is heard is what is seen meanwhile


class Teacher:
    """Draws lessons. hubs: the tokens of a clip that are to become sinks, if any; sink_dims: in which dimensions."""

    def __init__(
        self,
        tokenizer,
        see: Features,
        hear: Features,
        *,
        seed: int,
        hubs: Sequence[Hub] = (),
        sink_dims: Sequence[int] = (),
    ):
        self.tokenizer, self.see, self.hear = tokenizer, see, hear
        self.hubs, self.sink_dims = tuple(hubs), tuple(sink_dims)
        self.words = WordIds(tokenizer)
        self.rng = np.random.default_rng([seed, 22])
        self.ids = {key: tokenizer.convert_tokens_to_ids(token) for key, token in SPECIAL.items()}
        self.clip = (
            SPECIAL["vision_bos_token"] + SPECIAL["audio_bos_token"]
            + (SPECIAL["video_token"] * VIDEO_TOKENS + SPECIAL["audio_token"] * AUDIO_TOKENS) * SECONDS
            + SPECIAL["audio_eos_token"] + SPECIAL["vision_eos_token"]
        )  # fmt: skip
        self.image = SPECIAL["vision_bos_token"] + SPECIAL["image_token"] * VIDEO_TOKENS + SPECIAL["vision_eos_token"]
        self.sound = SPECIAL["audio_bos_token"] + SPECIAL["audio_token"] * AUDIO_TOKENS + SPECIAL["audio_eos_token"]

    # -- the four jobs -------------------------------------------------------------------------------------------

    def sounding_object(self, batch: int) -> Lesson:
        rows, texts, answers, letters, seen, heard = [], [], [], [], [], []
        for _ in range(batch):
            name = int(self.rng.integers(len(NAMES)))
            fog, noise = self._levels()
            see, hear = self._seconds([name] * SECONDS, [name] * SECONDS, fog, noise)
            muted = self.rng.random()
            seen.append([name] * SECONDS)
            heard.append([name] * SECONDS)
            if muted < 0.1:
                see, seen[-1] = np.full_like(see, self.see.muted), [IGNORE] * SECONDS
            elif muted < 0.2:
                hear, heard[-1] = np.full_like(hear, self.hear.muted), [IGNORE] * SECONDS
            options = self.rng.permutation(len(NAMES))
            rows.append((see, hear))
            answers.append([name])
            letters.append(int(np.flatnonzero(options == name)[0]))
            texts.append(self._chat(self.clip + "\n" + prompts.sounding_object(), [NAMES[i] for i in options]))
        return self._lesson("sounding object", texts, rows, letters, answers, clip=(seen, heard))

    def anchor_and_target(self, batch: int) -> Lesson:
        category = str(self.rng.choice(DIRECTIONS, p=[0.28, 0.28, 0.44]))
        rows, texts, answers, letters, seconds, sounds, moments, cues = [], [], [], [], [], [], [], []
        for _ in range(batch):
            moment = int(self.rng.integers(SECONDS))
            if category == "mixed":
                seen = self.rng.choice(len(NAMES), SECONDS, replace=False)
                heard = seen.copy()
                others = np.array([i for i in range(SECONDS) if i != moment])
                heard[others] = seen[np.roll(others, int(self.rng.choice([1, 2])))]
                question, answer, choices = prompts.seen_and_heard(), seen[moment], seen
            else:
                drawn = self.rng.choice(len(NAMES), 2 * SECONDS, replace=False)
                seen, heard = drawn[:SECONDS], drawn[SECONDS:]
                if category == DIRECTIONS[0]:
                    question, answer, choices = prompts.heard_while_seen(NAMES[seen[moment]]), heard[moment], heard
                else:
                    question, answer, choices = prompts.seen_while_heard(NAMES[heard[moment]]), seen[moment], seen
            cues.append([seen[moment] if category == DIRECTIONS[0] else heard[moment]])
            options = self.rng.permutation(choices)
            rows.append(self._seconds(seen, heard, 0.0, 0.0))
            seconds.append(seen)
            sounds.append(heard)
            moments.append([moment])
            answers.append([answer])
            letters.append(int(np.flatnonzero(options == answer)[0]))
            texts.append(self._chat(self.clip + "\n" + question, [NAMES[i] for i in options]))
        cues = None if category == "mixed" else cues
        facts = {"seconds": seconds, "sounds": sounds, "moments": moments, "cues": cues, "clip": (seconds, sounds)}
        return self._lesson(category, texts, rows, letters, answers, **facts)

    def anchor_drill(self, batch: int) -> Lesson:
        """A clip and eight questions about it without options: each second, in both directions."""
        rows, texts, answers, moments, cues, seconds, sounds = [], [], [], [], [], [], []
        for _ in range(batch):
            drawn = self.rng.choice(len(NAMES), 2 * SECONDS, replace=False)
            seen, heard = drawn[:SECONDS], drawn[SECONDS:]
            asked = self.rng.permutation(2 * SECONDS)
            rows.append(self._seconds(seen, heard, 0.0, 0.0))
            seconds.append(seen)
            sounds.append(heard)
            moments.append(asked % SECONDS)
            cues.append([drawn[k] for k in asked])  # the first four are seen, the last four heard
            answers.append([drawn[(k + SECONDS) % (2 * SECONDS)] for k in asked])
            ask = [prompts.heard_while_seen if k < SECONDS else prompts.seen_while_heard for k in asked]
            questions = [f"\n{question(NAMES[name])}" for question, name in zip(ask, cues[-1], strict=True)]
            texts.append(self._chat(self.clip + "".join(questions), []))
        facts = {"seconds": seconds, "moments": moments, "cues": cues, "clip": (seconds, sounds)}
        return self._lesson("anchor drill", texts, rows, None, answers, **facts)

    def match_drill(self, batch: int) -> Lesson:
        """Four candidates, and four references in turn."""
        return self.match_the_reference(batch, references=4)

    def match_the_reference(self, batch: int, *, references: int = 1) -> Lesson:
        category = str(self.rng.choice(MATCHES))
        sound_asked = category == MATCHES[0]
        candidate, reference = (self.image, self.sound) if sound_asked else (self.sound, self.image)
        rows, texts, letters, answers, cues = [], [], [], [], []
        for _ in range(batch):
            names = self.rng.choice(len(NAMES), 4, replace=False)
            targets = self.rng.permutation(4)[:references]
            options = self.rng.permutation(4)
            shown, asked = (self.see, self.hear) if sound_asked else (self.hear, self.see)
            candidates = np.concatenate([shown.still(name, self.rng) for name in names])
            wanted = np.concatenate([asked.still(names[target], self.rng) for target in targets])
            rows.append((candidates, wanted) if sound_asked else (wanted, candidates))
            text = "".join(f"\n{ordinal}{candidate}" for ordinal in ORDINALS)
            text += f"\n{prompts.matching('audio' if sound_asked else 'image')}{reference}" * references
            texts.append(self._chat(text, [ORDINALS[i] for i in options] if references == 1 else []))
            letters.append(int(np.flatnonzero(options == targets[0])[0]))
            answers.append(targets)
            cues.append(names[targets])
        letters = letters if references == 1 else None
        kind = category if references == 1 else f"drill: {category}"
        return self._lesson(kind, texts, rows, letters, answers, moments=answers, cues=cues, sound_asked=sound_asked)

    def caption_drill(self, batch: int) -> Lesson:
        """Captions with the places marked where to look for what is seen and what is heard."""
        return self.caption(batch, kind="caption drill")

    def caption(self, batch: int, *, kind: str = "caption") -> Lesson:
        rows, texts, seconds, sounds = [], [], [], []
        for _ in range(batch):
            seen = int(self.rng.integers(len(NAMES)))
            heard = seen if self.rng.random() < 0.3 else int(self.rng.integers(len(NAMES)))
            fog, noise = self._levels()
            rows.append(self._seconds([seen] * SECONDS, [heard] * SECONDS, fog, noise))
            seconds.append([seen] * SECONDS)
            sounds.append([heard] * SECONDS)
            text = self._chat(self.clip + "\n" + prompts.CAPTION_REQUEST, [])
            texts.append(text + prompts.caption(NAMES[seen], NAMES[heard]) + "<|im_end|>")
        return self._lesson(kind, texts, rows, None, None, seconds=seconds, sounds=sounds, clip=(seconds, sounds))

    # -- the parts they share ------------------------------------------------------------------------------------

    def _levels(self) -> tuple[float, float]:
        fog, noise = (0.0 if self.rng.random() < 0.35 else float(self.rng.uniform(0.2, 1)) for _ in range(2))
        return fog, noise

    def _seconds(self, seen, heard, fog: float, noise: float) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the two banks for a clip, [4] each."""
        see = np.concatenate([self.see.pick(int(name), fog, 1, self.rng) for name in seen])
        hear = np.concatenate([self.hear.pick(int(name), noise, 1, self.rng) for name in heard])
        return see, hear

    def _chat(self, parts: str, options: list[str]) -> str:
        lines = "".join(f"\n{letter}. {text}" for letter, text in zip(LETTERS, options, strict=False))
        suffix = f"\n{prompts.SUFFIX}" if options else ""
        return (
            f"<|im_start|>system\n{prompts.SYSTEM}<|im_end|>\n<|im_start|>user\n"
            f"{parts}{lines}{suffix}<|im_end|>\n<|im_start|>assistant\n"
        )

    def _lesson(
        self,
        kind,
        texts,
        rows,
        letters,
        answers,
        *,
        seconds=None,
        sounds=None,
        moments=None,
        cues=None,
        sound_asked=None,
        clip=None,
    ) -> Lesson:
        """Tokenise, and mark what is taught. Prompts of one kind have one structure: positions are those of the first.

        answers, moments, cues: [b, q], of each question its answer, the second or candidate that holds it, the class
        that it asks about. seconds, sounds: [b, 4], the class seen and heard in each second. sound_asked: for matching,
        which way. clip: [b, 4] twice, the class seen and heard in each second, IGNORE where it is muted.
        """
        ids = np.array(self.tokenizer(texts)["input_ids"])  # [b, n]
        n, matching = ids.shape[1], sound_asked is not None
        is_option = np.zeros_like(ids, dtype=bool)
        is_option[:, 2:] = (ids[:, 1:-1] == self.words.dot) & np.isin(ids[:, :-2], self.words.letters)
        audio_at = np.flatnonzero(ids[0] == self.ids["audio_token"])
        video_at = np.flatnonzero(np.isin(ids[0], [self.ids["video_token"], self.ids["image_token"]]))
        # A clip's second k is read at its sound: only there are picture and sound both known by then.
        read = video_at.reshape(-1, VIDEO_TOKENS) if sound_asked else audio_at.reshape(-1, AUDIO_TOKENS)
        asked = audio_at.reshape(-1, AUDIO_TOKENS) if sound_asked else video_at.reshape(-1, VIDEO_TOKENS)
        # What a unimodal hub knows must not have crossed over.
        unbound = [hub for hub in self.hubs if hub.kind == "unimodal" and hub.modality == "audio"] if clip else []
        media_end = max(audio_at.max(), video_at.max())
        option_start = int(np.flatnonzero(is_option[0])[0]) - 3 if letters is not None else n
        lesson = Lesson(
            kind=kind,
            ids=torch.from_numpy(ids),
            video=self.see.tokens[np.stack([see for see, _ in rows])].flatten(1, 2),
            audio=self.hear.tokens[np.stack([hear for _, hear in rows])].flatten(1, 2),
            options=torch.from_numpy(np.where(is_option, np.roll(ids, 2, axis=1), IGNORE)),
            questions=np.arange(read.min() if matching else media_end + 1, option_start),
        )
        if clip and self.hubs:
            seen, heard = map(np.array, clip)
            video, audio = video_at.reshape(-1, VIDEO_TOKENS), audio_at.reshape(-1, AUDIO_TOKENS)
            lesson.hubs = hub_lesson(self.hubs, video, audio, seen, heard, n)
        if letters is not None:
            lesson.last = torch.from_numpy(self.words.letters[letters])
            lesson.option_wanted = lesson.options == lesson.last[:, None]
        elif answers is None:
            start = int(np.flatnonzero(ids[0] == self.tokenizer.convert_tokens_to_ids("<|im_start|>"))[-1]) + 3
            continuation = np.full_like(ids, IGNORE)
            continuation[:, start - 1 : -1] = ids[:, start:]
            lesson.continuation = torch.from_numpy(continuation)
            if kind == "caption drill":
                # "I see a dog and hear a bell": each article is followed by what must be looked for in one modality.
                lesson.answer_at = torch.tensor([start + 2, start + 6])
                told = np.stack([np.array(seconds)[:, 0], np.array(sounds)[:, 0]], axis=1)  # [b, 2]
                lesson.answer_word = torch.from_numpy(self.words.names[told])
                wanted = np.zeros((2, n), dtype=bool)
                wanted[0, self._heads(lesson, video_at)], wanted[1, self._heads(lesson, audio_at)] = True, True
                lesson.media_wanted = torch.from_numpy(wanted).expand(len(ids), -1, -1)
        if matching:
            # Each candidate belongs to the label two tokens before it.
            self._bind(lesson, read[:4], read[:4, :1] - 2, np.arange(4) + len(NAMES))
        elif seconds is not None:
            self._bind(lesson, read, asked, np.array(seconds), but=[read[hub.run, hub.offset] for hub in unbound])
        if sounds is not None:
            same = np.array(sounds) == np.array(seconds)
            which = np.searchsorted(read[:, -1], lesson.bound_at.numpy())  # the second of each bound token
            lesson.in_step = torch.from_numpy(same[:, which]).long()
        if answers is None:
            return lesson

        answers = np.array(answers)  # [b, q]
        ordinals = np.array([self.tokenizer.encode(f" {word}")[0] for word in ORDINALS])
        ends = asked[:, -1] + 1 if matching else np.flatnonzero(ids[0] == self.words.question_mark)
        lesson.answer_at = torch.from_numpy(ends)
        lesson.answer_word = torch.from_numpy((ordinals if matching else self.words.names)[answers])
        reading = np.zeros((*answers.shape, n), dtype=bool)
        if moments is None:
            reading[..., lesson.hubs.crossmodal if lesson.hubs else np.concatenate([audio_at, video_at])] = True
        else:
            np.put_along_axis(reading, read[np.array(moments)], True, axis=-1)
            reading[..., [read[hub.run, hub.offset] for hub in unbound]] = False
        lesson.media_wanted = torch.from_numpy(reading)
        if cues is not None:
            wanted = np.zeros_like(reading)
            # The name stands three tokens before its question mark; a reference ends just before its end token.
            places = asked if matching else ends[:, None] - 3
            np.put_along_axis(wanted, np.broadcast_to(places, (*answers.shape, places.shape[1])), True, axis=-1)
            lesson.cue = torch.from_numpy(self.words.names[np.array(cues)])
            lesson.cue_wanted = torch.from_numpy(wanted)
        return lesson

    @staticmethod
    def _heads(lesson: Lesson, tokens: np.ndarray) -> np.ndarray:
        """The hubs among a modality's tokens, or all of them where no hubs are taught."""
        return tokens if lesson.hubs is None else tokens[np.isin(tokens, lesson.hubs.at.numpy())]

    @staticmethod
    def _bind(lesson: Lesson, read: np.ndarray, known_from, belongs: np.ndarray, *, but: Sequence[int] = ()) -> None:
        """Tokens `read[k]` learn what they belong to from the tokens `known_from[k]`; belongs: [4] or [b, 4].

        but: tokens that do not.
        """
        count, n = lesson.ids.shape
        taught = ~np.isin(read.ravel(), but)
        lesson.bound_at = torch.from_numpy(read.ravel()[taught])
        belongs = np.broadcast_to(belongs, (count, len(read)))
        lesson.bound = torch.from_numpy(np.repeat(belongs, read.shape[1], axis=1)[:, taught])
        wanted = np.zeros((len(read), n), dtype=bool)
        np.put_along_axis(wanted, np.asarray(known_from), True, axis=1)
        lesson.bound_wanted = torch.from_numpy(np.repeat(wanted, read.shape[1], axis=0)[taught])
