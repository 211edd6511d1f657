"""Lesson one, text only: find a word among 20 shuffled options and say its letter.

This look-up is the slow part of a multiple-choice question, and it needs neither eyes nor ears. One sequence holds

1. 20 option lines ``\\nA. dog``, the objects in random order; each option's word has its own letter as a target, which
   teaches the copying of a letter onto its word within tens of steps;
2. 24 words in random order, each with the letter of its option as target, and the option's word as the place to look
   (`routes`). Without that hint 500 steps leave the look-up half learnt; with it, 200 are enough.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from avsink.data.toyworld.log import Log
from avsink.data.toyworld.optim import Optimiser
from avsink.data.toyworld.prompts import NAMES
from avsink.data.toyworld.routes import LOOK_UP_LAYER, attention_loss

__all__ = ["IGNORE", "WordIds", "look_ups", "teach_letters"]

IGNORE = -100  # the target of a position that is not taught
PER_SEQUENCE = 24


class WordIds:
    """Token ids of the words that lessons are made of."""

    def __init__(self, tokenizer):
        def one(text: str) -> int:
            ids = tokenizer.encode(text)
            if len(ids) != 1:
                raise ValueError(f"{text!r} is {len(ids)} tokens; the tokenizer must be trained on prompts.corpus()")
            return ids[0]

        self.names = np.array([one(f" {name}") for name in NAMES])  # [20]
        self.letters = np.array([one(chr(65 + i)) for i in range(len(NAMES))])  # [20]
        self.newline, self.dot = one("\n"), one(".")


def look_ups(words: WordIds, *, batch: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and targets, both int64 [batch, 80 + 24]; the first 80 positions are the option lines."""
    count = len(NAMES)
    order = np.stack([rng.permutation(count) for _ in range(batch)])  # [batch, 20]
    asked = rng.integers(0, count, (batch, PER_SEQUENCE))  # which option each question asks for
    lines = np.empty((batch, count, 4), dtype=np.int64)
    lines[..., 0], lines[..., 1], lines[..., 2] = words.newline, words.letters, words.dot
    lines[..., 3] = words.names[order]
    line_targets = np.full_like(lines, IGNORE)
    line_targets[..., 3] = words.letters
    questions = words.names[np.take_along_axis(order, asked, axis=1)]
    ids = np.concatenate([lines.reshape(batch, -1), questions], axis=1)
    targets = np.concatenate([line_targets.reshape(batch, -1), words.letters[asked]], axis=1)
    return torch.from_numpy(ids), torch.from_numpy(targets)


def teach_letters(model, tokenizer, log: Log, *, steps: int = 600, batch: int = 16, seed: int = 0) -> None:
    """Stops as soon as the look-up is right 99.5 % of the time in two reports running."""
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
