"""The towers learn to name what is seen or heard in a second, in the decoder's own word embeddings.

1. the tokens of a second are averaged and compared with the decoder's embeddings of the 20 names (learnt in
   `lookups`), so that the decoder can read what a tower writes;
2. then the towers are frozen, and their tokens are computed once for the whole bank.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from avsink.testing.untrained_omni import MEL_PER_SECOND, build_processor
from training.bank import Bank
from training.features import Features
from training.log import Log
from training.lookups import WordIds
from training.optim import Optimiser

__all__ = ["features", "teach_tower"]

SILENCE = -1.5  # log-mel of a zero waveform, after Whisper's scaling


def _see(model, patches: torch.Tensor) -> torch.Tensor:
    """Patches of one temporal grid each, [b, 36, 1176] -> video tokens [b, 9, width]."""
    grids = torch.tensor([[1, 6, 6]]).expand(len(patches), 3)
    tokens = model.model.visual(patches.flatten(0, 1).float(), grid_thw=grids).pooler_output
    return tokens.view(len(patches), -1, tokens.shape[-1])


def _hear(model, mel: torch.Tensor) -> torch.Tensor:
    """Mel frames of one chunk each, [b, 64, 20] -> audio tokens [b, 5, width]."""
    lengths = torch.full((len(mel),), MEL_PER_SECOND)
    joined = mel.float().permute(1, 0, 2).flatten(1)  # [64, b * 20]
    tokens = model.model.audio_tower(joined, feature_lens=lengths).last_hidden_state
    return tokens.view(len(mel), -1, tokens.shape[-1])


TOWERS = {"video": (_see, "visual"), "audio": (_hear, "audio_tower")}


def teach_tower(model, bank: Bank, words: WordIds, which: str, log: Log, *, steps: int, batch: int = 64, seed: int = 0):
    """Teach one tower: compared with the word embeddings, the mean token of a second must name its object.

    Tokens are also taught a norm of 1.5 times that of a word embedding, so that media and text have similar norms.
    `which` is "video" or "audio".
    """
    encode, module = TOWERS[which]
    rng = np.random.default_rng([seed, 33])
    vocabulary = model.get_input_embeddings().weight.detach()[torch.from_numpy(words.names)]  # [20, width]
    centred = vocabulary - vocabulary.mean(0)
    size = centred.norm(dim=-1).mean()
    nothing = torch.nn.Parameter(torch.zeros(1))
    parameters = [*getattr(model.model, module).named_parameters(), ("nothing", nothing)]
    optimiser = Optimiser(parameters, steps=steps, muon=0.0, adam=2e-3)
    rows = np.flatnonzero(bank.label.numpy() >= 0)
    held_out, rows = rows[::12], np.setdiff1d(rows, rows[::12])

    def logits_of(tokens: torch.Tensor) -> torch.Tensor:
        named = tokens.mean(1) @ centred.T * (12 / size**2)  # [b, 20]
        return torch.cat([named, nothing.expand(len(named), 1)], dim=1)

    for step in range(steps):
        picked = torch.from_numpy(rng.choice(rows, batch))
        inputs = bank.inputs[picked].float()
        inputs = inputs + 0.05 * torch.randn_like(inputs) if which == "audio" else inputs
        tokens = encode(model, inputs)
        loss = F.cross_entropy(logits_of(tokens), bank.label[picked])
        optimiser.step(loss + 0.1 * (tokens.norm(dim=-1) / size - 1.5).square().mean())
        if step % 50 == 49:
            with torch.no_grad():
                check = torch.from_numpy(rng.choice(held_out, 256))
                right = logits_of(encode(model, bank.inputs[check])).argmax(-1) == bank.label[check]
                clear = bank.level[check] < 0.5
            log(step + 1, tower=which, loss=loss.detach(), accuracy=right.float().mean(),
                accuracy_clear=right[clear].float().mean())  # fmt: skip


@torch.no_grad()
def features(model, bank: Bank, which: str) -> Features:
    """Compute the tower's tokens for the whole bank, and for a zeroed second."""
    encode, _ = TOWERS[which]
    parts = [encode(model, part) for part in tqdm(bank.inputs.split(256), desc=f"{which} tokens", mininterval=10)]
    absent = torch.full_like(bank.inputs[:1], SILENCE)
    if which == "video":
        processor = build_processor()
        black = torch.zeros(2, 3, 84, 84, dtype=torch.uint8)
        absent = processor.video_processor(videos=[black], return_tensors="pt")["pixel_values_videos"][None]
    return Features(torch.cat(parts), encode(model, absent)[0], bank.label, bank.level, bank.still)
