"""Lesson one, text only: find a word among 20 shuffled options and say its letter.

This look-up is the slow part of a multiple-choice question, and it needs neither eyes nor ears. One sequence holds

1. 20 option lines ``\\nA. dog``, the objects in random order; each option's word has its own letter as a target, which
   teaches the copying of a letter onto its word within tens of steps;
2. 24 words in random order, each with the letter of its option as target.
"""

from __future__ import annotations

import numpy as np
import torch

from avsink.data.toyworld.prompts import NAMES

__all__ = ["WordIds", "look_ups", "IGNORE"]

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
