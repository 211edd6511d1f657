"""The outputs of a tower for the seconds of the bank, to be picked by class and degradation."""

from __future__ import annotations

import numpy as np
import torch

from avsink.toyworld.prompts import NAMES

__all__ = ["Features"]


class Features:
    """The outputs of one tower for the seconds of a bank.

    `tokens` are the outputs, float32 [n, t, width] with t tokens per second; `absent`, [t, width], is the output for a
    zeroed input, and becomes the last row of the attribute `tokens`.
    """

    def __init__(self, tokens: torch.Tensor, absent: torch.Tensor, label, level, still):
        self.tokens = torch.cat([tokens, absent[None]])
        label, level, still = label.numpy(), level.numpy(), still.numpy()
        self.film, self.stills = [], []
        for name in range(len(NAMES)):
            rows = np.flatnonzero((label == name) & ~still)
            order = rows[np.argsort(level[rows], kind="stable")]
            self.film.append((order, level[order]))
            self.stills.append(np.flatnonzero((label == name) & still))

    @property
    def muted(self) -> int:
        """The index of the muted second."""
        return len(self.tokens) - 1

    def pick(self, name: int, level: float, count: int, rng: np.random.Generator) -> np.ndarray:
        """Indices of `count` seconds of this class at about this level of degradation."""
        rows, levels = self.film[name]
        if level < 0.15:
            return rows[rng.integers(0, max(1, np.searchsorted(levels, 0.15)), count)]
        near = np.clip(np.searchsorted(levels, level) + rng.integers(-6, 7, count), 0, len(rows) - 1)
        return rows[near]

    def still(self, name: int, rng: np.random.Generator) -> np.ndarray:
        """The index of one single image, or one separate sound, of this class, [1]."""
        return rng.choice(self.stills[name], 1)
