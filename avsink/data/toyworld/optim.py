"""How the teaching models are optimised: Muon for the matrices of the decoder, AdamW for all else.

Muon learns the 20-way look-up in about 500 steps; AdamW alone needs some 1,600.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

__all__ = ["Optimiser"]


class Optimiser:
    """Both optimisers under one schedule: linear warm-up, then constant, then cosine decay over the last part."""

    def __init__(self, named: Iterable[tuple[str, torch.nn.Parameter]], *, steps: int, muon: float, adam: float,
                 warmup: int = 40, decay: float = 0.4):  # fmt: skip
        matrices, others = [], []
        for name, parameter in named:
            if parameter.requires_grad:
                inside = parameter.ndim == 2 and ".layers." in f".{name}" and "language_model" in name
                (matrices if inside else others).append(parameter)
        self.parts = [(torch.optim.AdamW(others, lr=adam, betas=(0.9, 0.98), weight_decay=0.0), adam)]
        if matrices:
            tuned = torch.optim.Muon(matrices, lr=muon, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
            self.parts.append((tuned, muon))
        self.parameters = matrices + others
        self.steps, self.warmup, self.decay, self.done = steps, warmup, decay, 0

    def step(self, loss: torch.Tensor) -> None:
        """Backward, clip to norm 1, update, forget the gradients."""
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.done += 1
        rising = min(1.0, self.done / self.warmup)
        over = max(0.0, (self.done / self.steps - 1 + self.decay) / self.decay)
        factor = rising * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, over))))
        for optimiser, rate in self.parts:
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
