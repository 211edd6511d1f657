r"""The lessons on letters, text only: find a word among 20 shuffled options and answer with its letter.

This look-up is the part of a multiple-choice question that is learnt most slowly, and it needs no media. One sequence
holds

1. 20 option lines ``\nA. dog``, the objects in random order. The target at each option's word is its own letter, which
   teaches to copy a letter onto its word within tens of steps;
2. 12 questions, each a word and the header of an answer (``dog<|im_start|>assistant\n``). The header's last token is
   taught to read the word, to know it, and to look for its option (`routes`), as it must after a real question.

In a trial without teaching where to look, the look-up was half learnt after about 460 steps; with it, 160 steps were
enough (see the log).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from avsink.toyworld.prompts import NAMES, ORDINALS
from avsink.toyworld.routes import LOOK_UP_LAYER, QUESTION_LAYER
from training.attention_loss import attention_loss
from training.log import Log
from training.optim import Optimiser

__all__ = ["HEADER", "IGNORE", "LookUps", "WordIds", "look_up_loss", "look_ups", "teach_letters"]

IGNORE = -100  # the target of a position that is not taught
PER_SEQUENCE = 12  # questions
HEADER = "<|im_start|>assistant\n"


class WordIds:
    """The token ids of the words in lessons; each word is one token."""

    def __init__(self, tokenizer):
        def one(text: str) -> int:
            ids = tokenizer.encode(text)
            if len(ids) != 1:
                raise ValueError(f"{text!r} is {len(ids)} tokens; the tokenizer must be trained on prompts.corpus()")
            return ids[0]

        self.names = np.array([one(f" {name}") for name in NAMES])  # [20]
        self.ordinals = np.array([one(f" {word}") for word in ORDINALS])  # [4]
        self.letters = np.array([one(chr(65 + i)) for i in range(len(NAMES))])  # [20]
        self.newline, self.dot, self.question_mark = one("\n"), one("."), one("?")
        self.header = np.array(tokenizer.encode(HEADER))  # [3]


@dataclass
class LookUps:
    """A batch of b sequences of n tokens, with q questions each."""

    ids: torch.Tensor  # [b, n]
    options: torch.Tensor  # [b, n] the letter at each option word, IGNORE elsewhere
    letters: torch.Tensor  # [b, q] the answers
    words: torch.Tensor  # [b, q] the words asked for
    words_at: torch.Tensor  # [q] their positions
    last: torch.Tensor  # [q] the positions at which the letters are predicted

    @property
    def option_wanted(self) -> torch.Tensor:
        """The option word that each question should read, bool [b, q, n]."""
        return self.options[:, None, :] == self.letters[..., None]


def look_ups(words: WordIds, *, batch: int, rng: np.random.Generator, ordinals: bool = False) -> LookUps:
    """Draw a batch; the first 80 tokens of each sequence are the option lines.

    With `ordinals`, ``first`` to ``fourth`` may be options too.
    """
    count, per = len(NAMES), 1 + len(words.header)
    pool = np.concatenate([words.names, words.ordinals]) if ordinals else words.names
    order = np.stack([rng.permutation(len(pool))[:count] for _ in range(batch)])  # [b, 20]
    asked = np.stack(
        [rng.permutation(count)[:PER_SEQUENCE] for _ in range(batch)]
    )  # the option that each question asks for
    lines = np.empty((batch, count, 4), dtype=np.int64)
    lines[..., 0], lines[..., 1], lines[..., 2] = words.newline, words.letters, words.dot
    lines[..., 3] = pool[order]
    taught = np.full_like(lines, IGNORE)
    taught[..., 3] = words.letters
    questions = np.empty((batch, PER_SEQUENCE, per), dtype=np.int64)
    questions[..., 0] = pool[np.take_along_axis(order, asked, axis=1)]
    questions[..., 1:] = words.header
    words_at = 4 * count + per * np.arange(PER_SEQUENCE)
    ids = np.concatenate([lines.reshape(batch, -1), questions.reshape(batch, -1)], axis=1)
    options = np.concatenate([taught.reshape(batch, -1), np.full_like(questions, IGNORE).reshape(batch, -1)], axis=1)
    return LookUps(
        ids=torch.from_numpy(ids),
        options=torch.from_numpy(options),
        letters=torch.from_numpy(words.letters[asked]),
        words=torch.from_numpy(questions[..., 0].copy()),
        words_at=torch.from_numpy(words_at),
        last=torch.from_numpy(words_at + per - 1),
    )


def look_up_loss(model, lesson: LookUps) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss of a batch, and the share of right letters."""
    decoder, (count, n) = model.model.language_model, lesson.ids.shape
    out = decoder(input_ids=lesson.ids, use_cache=False, output_hidden_states=True)
    positions = torch.arange(n).expand(3, count, -1)
    last = lesson.last.expand(count, -1)
    at_word = (torch.arange(n) == lesson.words_at[:, None]).expand(count, -1, -1)  # [b, q, n]

    def look(layer: int, wanted: torch.Tensor) -> torch.Tensor:
        return attention_loss(decoder, layer, out.hidden_states[layer], positions, last, wanted)

    letters = model.lm_head(out.last_hidden_state[:, lesson.last])  # [b, q, vocabulary]
    known = model.lm_head(decoder.norm(out.hidden_states[LOOK_UP_LAYER][:, lesson.last]))
    taught = lesson.options != IGNORE
    copied = model.lm_head(out.last_hidden_state[taught])
    loss = (
        F.cross_entropy(letters.flatten(0, 1), lesson.letters.flatten())
        + 0.3 * F.cross_entropy(copied, lesson.options[taught])
        + 0.5 * F.cross_entropy(known.flatten(0, 1), lesson.words.flatten())
        + 0.5 * (look(QUESTION_LAYER, at_word) + look(LOOK_UP_LAYER, lesson.option_wanted))
    )
    return loss, {"letter": (letters.argmax(-1) == lesson.letters).float().mean()}


def teach_letters(model, tokenizer, log: Log, *, steps: int = 800, batch: int = 16, seed: int = 0) -> None:
    """Teach the look-up, until at least 99 % of the letters are right in two consecutive reports."""
    words, rng, good = WordIds(tokenizer), np.random.default_rng([seed, 11]), 0
    optimiser = Optimiser(model.named_parameters(), steps=steps, muon=0.012, adam=0.003)
    for step in range(steps):
        loss, scores = look_up_loss(model, look_ups(words, batch=batch, rng=rng))
        optimiser.step(loss)
        if step % 20 == 19:
            log(step + 1, loss=loss.detach(), **scores)
            good = good + 1 if scores["letter"] >= 0.99 else 0
            if good == 2:
                return
