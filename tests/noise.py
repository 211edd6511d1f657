"""A bank of noise: all classes in turn; the second half are stills."""

import torch

from avsink.toyworld.prompts import NAMES
from training.bank import Bank


def noise_bank(shape) -> Bank:
    count = 4 * len(NAMES)
    label, still = torch.arange(count) % len(NAMES), torch.arange(count) >= count // 2
    return Bank(inputs=torch.randn(count, *shape).half(), label=label, level=torch.zeros(count), still=still)
