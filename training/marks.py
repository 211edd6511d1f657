"""What a lesson teaches at which tokens of its prompts.

A `Lesson` is a batch of prompts of one kind, with their targets:

1. the letter at the last token (for captions: every token of the caption), and at each option word its own letter;
2. where to look, at the layers of `routes`;
3. what a token should then know, read by logit lens or by a probe that is discarded later: media tokens what they
   belong to (`bound`), the end of the question first what is asked about (`cue`), then the word of the answer.

`Marker` makes lessons from prompts and the `Facts` from which they were drawn. All prompts of one kind have the same
structure, so positions are taken from the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from avsink.models.cards import Hub
from avsink.testing.untrained_omni import SPECIAL
from avsink.toyworld.prompts import NAMES, ORDINALS
from training.hubs import HubLesson, hub_lesson
from training.lookups import IGNORE, WordIds

__all__ = ["AUDIO_TOKENS", "CAPTION_DRILL", "VIDEO_TOKENS", "Facts", "Lesson", "Marker"]

VIDEO_TOKENS, AUDIO_TOKENS = 9, 5  # per second
CAPTION_DRILL = "caption drill"


@dataclass
class Lesson:
    """A batch of `b` prompts of `n` tokens each, alike in structure."""

    kind: str
    ids: torch.Tensor  # [b, n]
    video: torch.Tensor  # [b, video or image tokens, width]
    audio: torch.Tensor  # [b, audio tokens, width]
    options: torch.Tensor  # [b, n] the letter at each option word, IGNORE elsewhere
    questions: np.ndarray  # positions of the question
    last: torch.Tensor | None = None  # [b] the right letter
    continuation: torch.Tensor | None = None  # [b, n] for captions: the next token, IGNORE elsewhere
    answer_at: torch.Tensor | None = None  # [q] the end of each question, where its answer is gathered
    answer_word: torch.Tensor | None = None  # [b, q] the word of the answer
    media_wanted: torch.Tensor | None = None  # bool [b, q, n] media tokens that the end of the question should read
    option_wanted: torch.Tensor | None = None  # bool [b, n] the word of the right option
    cue: torch.Tensor | None = None  # [b, q] the word that is asked about
    cue_wanted: torch.Tensor | None = None  # bool [b, q, n] its position
    bound_at: torch.Tensor | None = None  # [t] media tokens that must learn what they belong to
    bound: torch.Tensor | None = None  # [b, t] the class seen in the same second, or 20 + the candidate's label
    bound_wanted: torch.Tensor | None = None  # bool [t, n] the tokens from which they can learn it
    hubs: HubLesson | None = None
    in_step: torch.Tensor | None = None  # int64 [b, t] 1 if the same object is heard and seen in that second


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The content of `b` prompts with `q` questions each; None for what a kind of prompt does not have.

    Attributes:
        letters: Index of the right option, [b].
        answers: The answer of each question, [b, q]: a class, or the label of a candidate.
        moments: The second, or candidate, that holds the answer, [b, q].
        cues: The class that the question is about, [b, q].
        seconds: The class seen in each second, if tokens are to learn it, [b, 4].
        sounds: The class heard in each second, likewise, [b, 4].
        sound_asked: For matching, whether the reference is the sound.
        labels: For matching, the label of each candidate as an index into the ordinals, [b, 4].
        clip: The class seen and the class heard in each second, `IGNORE` if muted, [b, 4] each.
    """

    letters: Sequence | None = None
    answers: Sequence | None = None
    moments: Sequence | None = None
    cues: Sequence | None = None
    seconds: Sequence | None = None
    sounds: Sequence | None = None
    sound_asked: bool | None = None
    labels: Sequence | None = None
    clip: tuple[Sequence, Sequence] | None = None


class Marker:
    """Makes lessons. hubs: the tokens that become sinks, if any; interleaved: whether in interleaved prompts, too."""

    def __init__(self, tokenizer, words: WordIds, hubs: Sequence[Hub], *, interleaved: bool = False):
        self.interleaved = interleaved
        self.tokenizer, self.words, self.hubs = tokenizer, words, tuple(hubs)
        self.media = {
            key: tokenizer.convert_tokens_to_ids(SPECIAL[f"{key}_token"]) for key in ("audio", "video", "image")
        }
        self.turn = tokenizer.convert_tokens_to_ids("<|im_start|>")
        self.ordinals = np.array([tokenizer.encode(f" {word}")[0] for word in ORDINALS])

    def lesson(self, kind: str, texts: list[str], video: torch.Tensor, audio: torch.Tensor, facts: Facts) -> Lesson:
        """Make one lesson. video, audio: the towers' outputs, [b, media tokens, width]."""
        ids = np.array(self.tokenizer(texts)["input_ids"])  # [b, n]
        places = _Places(ids[0], self.media, facts.sound_asked)
        is_option = np.zeros_like(ids, dtype=bool)
        is_option[:, 2:] = (ids[:, 1:-1] == self.words.dot) & np.isin(ids[:, :-2], self.words.letters)
        option_start = ids.shape[1] if facts.letters is None else int(np.flatnonzero(is_option[0])[0]) - 3
        lesson = Lesson(
            kind=kind,
            ids=torch.from_numpy(ids),
            video=video,
            audio=audio,
            options=torch.from_numpy(np.where(is_option, np.roll(ids, 2, axis=1), IGNORE)),
            questions=np.arange(places.read.min() if places.matching else places.media.max() + 1, option_start),
        )
        if facts.clip and self.hubs:
            seen, heard = map(np.array, facts.clip)
            lesson.hubs = hub_lesson(self.hubs, *places.parts, ids.shape[1], seen=seen, heard=heard)
        elif places.matching and self.hubs and self.interleaved:
            lesson.hubs = hub_lesson(self.hubs, *places.parts, ids.shape[1])
        if facts.letters is not None:
            lesson.last = torch.from_numpy(self.words.letters[facts.letters])
            lesson.option_wanted = lesson.options == lesson.last[:, None]
        elif facts.answers is None:
            self._mark_caption(lesson, places, facts)
        self._mark_bound(lesson, places, facts)
        if facts.answers is not None:
            self._mark_questions(lesson, places, facts)
        return lesson

    def _mark_caption(self, lesson: Lesson, places: _Places, facts: Facts) -> None:
        ids = lesson.ids.numpy()
        start = int(np.flatnonzero(ids[0] == self.turn)[-1]) + 3
        continuation = np.full_like(ids, IGNORE)
        continuation[:, start - 1 : -1] = ids[:, start:]
        lesson.continuation = torch.from_numpy(continuation)
        if lesson.kind == CAPTION_DRILL:
            # "I see a dog and hear a bell": after each article comes the object of one modality.
            lesson.answer_at = torch.tensor([start + 2, start + 6])
            told = np.stack([np.array(facts.seconds)[:, 0], np.array(facts.sounds)[:, 0]], axis=1)  # [b, 2]
            lesson.answer_word = torch.from_numpy(self.words.names[told])
            wanted = np.zeros((2, ids.shape[1]), dtype=bool)
            for row, tokens in enumerate((places.video, places.audio)):
                heads = tokens if lesson.hubs is None else tokens[np.isin(tokens, lesson.hubs.at.numpy())]
                wanted[row, heads] = True
            lesson.media_wanted = torch.from_numpy(wanted).expand(len(ids), -1, -1)

    def _mark_bound(self, lesson: Lesson, places: _Places, facts: Facts) -> None:
        if places.matching:
            # The label of a candidate is two tokens before it.
            candidates = places.read[:4]
            self._bind(lesson, candidates, candidates[:, :1] - 2, np.array(facts.labels) + len(NAMES))
        elif facts.seconds is not None:
            self._bind(lesson, places.read, places.asked, np.array(facts.seconds), but=self._unbound(places, facts))
        if facts.sounds is not None:
            same = np.array(facts.sounds) == np.array(facts.seconds)
            which = np.searchsorted(places.read[:, -1], lesson.bound_at.numpy())  # the second of each bound token
            lesson.in_step = torch.from_numpy(same[:, which]).long()

    def _mark_questions(self, lesson: Lesson, places: _Places, facts: Facts) -> None:
        ids, answers = lesson.ids.numpy(), np.array(facts.answers)  # [b, q]
        ends = places.asked[:, -1] + 1 if places.matching else np.flatnonzero(ids[0] == self.words.question_mark)
        lesson.answer_at = torch.from_numpy(ends)
        lesson.answer_word = torch.from_numpy((self.ordinals if places.matching else self.words.names)[answers])
        reading = np.zeros((*answers.shape, ids.shape[1]), dtype=bool)
        if facts.moments is None:
            reading[..., lesson.hubs.crossmodal if lesson.hubs else places.media] = True
        else:
            np.put_along_axis(reading, places.read[np.array(facts.moments)], True, axis=-1)
            reading[..., self._unbound(places, facts)] = False
        lesson.media_wanted = torch.from_numpy(reading)
        if facts.cues is not None:
            wanted = np.zeros_like(reading)
            # The cue is the name three tokens before the question mark, or the tokens of the reference.
            at = places.asked if places.matching else ends[:, None] - 3
            np.put_along_axis(wanted, np.broadcast_to(at, (*answers.shape, at.shape[1])), True, axis=-1)
            lesson.cue = torch.from_numpy(self.words.names[np.array(facts.cues)])
            lesson.cue_wanted = torch.from_numpy(wanted)

    def _unbound(self, places: _Places, facts: Facts) -> list[int]:
        """Unimodal audio hubs: they must not learn anything of the picture."""
        hubs = [hub for hub in self.hubs if hub.kind == "unimodal" and hub.modality == "audio"] if facts.clip else []
        return [int(places.read[hub.part, hub.offset]) for hub in hubs]

    @staticmethod
    def _bind(lesson: Lesson, read: np.ndarray, known_from, belongs: np.ndarray, *, but: Sequence[int] = ()) -> None:
        """Mark that tokens `read[k]` learn what they belong to, `belongs[..., k]`, from the tokens `known_from[k]`.

        Tokens in `but` do not learn it. belongs: [4] or [b, 4].
        """
        count, n = lesson.ids.shape
        taught = ~np.isin(read.ravel(), but)
        lesson.bound_at = torch.from_numpy(read.ravel()[taught])
        belongs = np.broadcast_to(belongs, (count, len(read)))
        lesson.bound = torch.from_numpy(np.repeat(belongs, read.shape[1], axis=1)[:, taught])
        wanted = np.zeros((len(read), n), dtype=bool)
        np.put_along_axis(wanted, np.asarray(known_from), True, axis=1)
        lesson.bound_wanted = torch.from_numpy(np.repeat(wanted, read.shape[1], axis=0)[taught])


class _Places:
    """The positions of media in prompts of one structure."""

    def __init__(self, ids: np.ndarray, media: dict[str, int], sound_asked: bool | None):
        self.matching = sound_asked is not None
        self.audio = np.flatnonzero(ids == media["audio"])
        self.video = np.flatnonzero(np.isin(ids, [media["video"], media["image"]]))
        video, audio = self.parts
        # A second of a clip is read at its audio tokens, which come last and know both picture and sound.
        self.read, self.asked = (video, audio) if sound_asked else (audio, video)

    @property
    def media(self) -> np.ndarray:
        return np.concatenate([self.audio, self.video])

    @property
    def parts(self) -> tuple[np.ndarray, np.ndarray]:
        """Video and audio tokens, [seconds or media, tokens]."""
        return self.video.reshape(-1, VIDEO_TOKENS), self.audio.reshape(-1, AUDIO_TOKENS)
