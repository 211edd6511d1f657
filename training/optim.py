"""The optimiser of the teaching models: Muon for the matrices of the decoder, AdamW for everything else.

Muon replaces the momentum of a matrix by the nearest orthogonal matrix, computed by Newton-Schulz iteration. torch has
a Muon, but it works on one matrix at a time in bfloat16, which on a CPU without bfloat16 instructions took about as
long as the backward pass. Here all matrices of one shape are processed together in float32.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import torch

__all__ = ["Optimiser", "orthogonalise"]


def orthogonalise(matrices: torch.Tensor, *, steps: int = 5) -> torch.Tensor:
    """Approximate the nearest (semi-)orthogonal matrix to each: [k, a, b] -> [k, a, b], singular values 0.6 to 1.3."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT  # [k, a, a]
        x = 3.4445 * x + (-4.775 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


class Muon:
    """Nesterov momentum of 0.95, orthogonalised, and scaled to AdamW's usual step size."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter]):
        self.groups: dict[tuple[int, ...], list[torch.nn.Parameter]] = defaultdict(list)
        for parameter in parameters:
            self.groups[tuple(parameter.shape)].append(parameter)
        self.momenta = {shape: torch.zeros(len(group), *shape) for shape, group in self.groups.items()}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Update all parameters, and clear their gradients."""
        for shape, group in self.groups.items():
            gradients = torch.stack([torch.zeros(shape) if p.grad is None else p.grad for p in group])
            momentum = self.momenta[shape].lerp_(gradients, 0.05)
            update = orthogonalise(gradients.lerp(momentum, 0.95)) * (0.2 * math.sqrt(max(shape)))
            for parameter, change in zip(group, update, strict=True):
                parameter.mul_(1 - 0.01 * rate).sub_(change, alpha=rate)
                parameter.grad = None


class Optimiser:
    """Muon and AdamW under one schedule: linear warm-up, constant, cosine decay over the last `decay` of the steps.

    `muon` and `adam` are learning rates, `decay` is a share, `warmup` a number of steps.
    """

    def __init__(
        self,
        named: Iterable[tuple[str, torch.nn.Parameter]],
        *,
        steps: int,
        muon: float,
        adam: float,
        warmup: int = 40,
        decay: float = 0.4,
    ):
        matrices, others = [], []
        for name, parameter in named:
            if parameter.requires_grad:
                inside = parameter.ndim == 2 and "language_model.layers." in name
                (matrices if inside else others).append(parameter)
        self.muon, self.muon_rate = Muon(matrices), muon
        self.adam, self.adam_rate = torch.optim.AdamW(others, lr=adam, betas=(0.9, 0.98), weight_decay=0.0), adam
        self.parameters = matrices + others
        self.steps, self.warmup, self.decay, self.done = steps, warmup, decay, 0

    def step(self, loss: torch.Tensor) -> None:
        """Run backward, clip the gradients to norm 1, update, and clear the gradients."""
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.done += 1
        over = max(0.0, (self.done / self.steps - 1 + self.decay) / max(self.decay, 1e-9))
        factor = min(1.0, self.done / self.warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, over))))
        self.adam.param_groups[0]["lr"] = self.adam_rate * factor
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        self.muon.step(self.muon_rate * factor)
