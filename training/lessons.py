"""The lessons on the four jobs, made from the bank's seconds without rendering anything.

A `Teacher` draws what is seen, heard and asked, writes the prompt exactly as for a real sample, and uses the towers'
outputs as its media. `marks` defines what is taught at which token.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from avsink.models.cards import Hub
from avsink.testing.untrained_omni import SPECIAL
from avsink.toyworld import prompts
from avsink.toyworld.jobs import DIRECTIONS, MATCHES
from avsink.toyworld.prompts import NAMES, ORDINALS
from training.features import Features
from training.lookups import IGNORE, WordIds
from training.marks import AUDIO_TOKENS, CAPTION_DRILL, VIDEO_TOKENS, Facts, Lesson, Marker

__all__ = ["Teacher"]

SECONDS = 4  # per clip
LETTERS = np.array([chr(65 + i) for i in range(len(NAMES))])


class Teacher:
    """Draws lessons: each public method draws one of `batch` prompts.

    `see` and `hear` are the outputs of the vision and the audio tower. `hubs` are the tokens that become sinks, if any,
    and `sink_dims` their massive dimensions. With `interleaved`, they are sinks in interleaved prompts, too, and in
    half of these prompts the labels of candidates stand in random order: otherwise the place of a candidate tells its
    label, and nothing has to be read from the label itself.
    """

    def __init__(
        self,
        tokenizer,
        see: Features,
        hear: Features,
        *,
        seed: int,
        hubs: Sequence[Hub] = (),
        sink_dims: Sequence[int] = (),
        interleaved: bool = False,
    ):
        self.interleaved = interleaved
        self.see, self.hear = see, hear
        self.sink_dims = tuple(sink_dims)
        self.words = WordIds(tokenizer)
        self.marker = Marker(tokenizer, self.words, hubs, interleaved=interleaved)
        self.rng = np.random.default_rng([seed, 22])
        self.clip = (
            SPECIAL["vision_bos_token"] + SPECIAL["audio_bos_token"]
            + (SPECIAL["video_token"] * VIDEO_TOKENS + SPECIAL["audio_token"] * AUDIO_TOKENS) * SECONDS
            + SPECIAL["audio_eos_token"] + SPECIAL["vision_eos_token"]
        )  # fmt: skip
        self.image = SPECIAL["vision_bos_token"] + SPECIAL["image_token"] * VIDEO_TOKENS + SPECIAL["vision_eos_token"]
        self.sound = SPECIAL["audio_bos_token"] + SPECIAL["audio_token"] * AUDIO_TOKENS + SPECIAL["audio_eos_token"]

    def sounding_object(self, batch: int) -> Lesson:
        """The 20-way question about one object; in a fifth of the prompts one modality is muted."""
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
        return self._lesson("sounding object", texts, rows, letters=letters, answers=answers, clip=(seen, heard))

    def anchor_and_target(self, batch: int) -> Lesson:
        """A four-way question that relates a second's picture and sound, in a random direction."""
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
        return self._lesson(category, texts, rows, letters=letters, answers=answers, **facts)

    def anchor_drill(self, batch: int) -> Lesson:
        """A clip and eight questions without options: one for each second and direction."""
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
        return self._lesson("anchor drill", texts, rows, answers=answers, **facts)

    def match_drill(self, batch: int) -> Lesson:
        """Four candidates, then four references, each with its question."""
        return self.match_the_reference(batch, references=4)

    def match_the_reference(self, batch: int, *, references: int = 1) -> Lesson:
        """Four candidates and a reference, in a random direction; with more references there are no options."""
        category = str(self.rng.choice(MATCHES))
        sound_asked = category == MATCHES[0]
        candidate, reference = (self.image, self.sound) if sound_asked else (self.sound, self.image)
        rows, texts, letters, answers, moments, labels, cues = [], [], [], [], [], [], []
        in_order = not self.interleaved or self.rng.random() < 0.5
        for _ in range(batch):
            names = self.rng.choice(len(NAMES), 4, replace=False)
            called = np.arange(4) if in_order else self.rng.permutation(4)
            targets = self.rng.permutation(4)[:references]
            options = self.rng.permutation(4)
            shown, asked = (self.see, self.hear) if sound_asked else (self.hear, self.see)
            candidates = np.concatenate([shown.still(name, self.rng) for name in names])
            wanted = np.concatenate([asked.still(names[target], self.rng) for target in targets])
            rows.append((candidates, wanted) if sound_asked else (wanted, candidates))
            text = "".join(f"\n{ORDINALS[label]}{candidate}" for label in called)
            text += f"\n{prompts.matching('audio' if sound_asked else 'image')}{reference}" * references
            texts.append(self._chat(text, [ORDINALS[i] for i in options] if references == 1 else []))
            letters.append(int(np.flatnonzero(options == called[targets[0]])[0]))
            answers.append(called[targets])
            moments.append(targets)
            labels.append(called)
            cues.append(names[targets])
        letters = letters if references == 1 else None
        kind = category if references == 1 else f"drill: {category}"
        facts = {"answers": answers, "moments": moments, "labels": labels, "cues": cues, "sound_asked": sound_asked}
        return self._lesson(kind, texts, rows, letters=letters, **facts)

    def caption_drill(self, batch: int) -> Lesson:
        """Captions whose articles are taught where to look for what is seen and what is heard."""
        return self.caption(batch, kind=CAPTION_DRILL)

    def caption(self, batch: int, *, kind: str = "caption") -> Lesson:
        """Captions of one object seen and the same or another one heard."""
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
        return self._lesson(kind, texts, rows, seconds=seconds, sounds=sounds, clip=(seconds, sounds))

    def _levels(self) -> tuple[float, float]:
        fog, noise = (0.0 if self.rng.random() < 0.35 else float(self.rng.uniform(0.2, 1)) for _ in range(2))
        return fog, noise

    def _seconds(self, seen, heard, fog: float, noise: float) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the seconds of a clip in the two banks, [4] each."""
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

    def _lesson(self, kind: str, texts: list[str], rows: list[tuple[np.ndarray, np.ndarray]], **facts) -> Lesson:
        """Make the lesson. rows: for each prompt, its indices in the two banks. facts: the fields of `Facts`."""
        video = self.see.tokens[np.stack([see for see, _ in rows])].flatten(1, 2)
        audio = self.hear.tokens[np.stack([hear for _, hear in rows])].flatten(1, 2)
        return self.marker.lesson(kind, texts, video, audio, Facts(**facts))
