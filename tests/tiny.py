"""A prompt with video and sound for the untrained tiny-omni, made without files or processor."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import torch

from avsink.engine import attention
from avsink.testing.untrained_omni import build_model, build_tokenizer

GRIDS, SIDE, SOUNDS = 3, 2, 4  # temporal grids of SIDE x SIDE tokens, each followed by SOUNDS audio tokens


@dataclass
class TinyInputs:
    tensors: dict
    layout: SimpleNamespace
    letters: dict = field(default_factory=dict)
    sample_id: str = "tiny"

    def to(self, device):
        return self


class TinyModel:
    """What the instruments need of an `avsink.models.model.Model`, around random weights."""

    def __init__(self, *, layers: int = 4, implementation: str = attention.NAME):
        self.tokenizer = build_tokenizer()
        self.hf = build_model(self.tokenizer, layers=layers)
        self.hf.set_attn_implementation({"text_config": implementation})
        self.decoder, self.device, self.n_layers = self.hf.get_decoder(), torch.device("cpu"), layers

    def forward(self, inputs, **kwargs):
        return self.hf(**inputs.tensors, **kwargs)

    def prepare(self, sample) -> TinyInputs:
        return prompt(self, letters=sample.letters, answer=sample.answer)


def prompt(model, *, letters="AB", answer="A", seed: int = 0) -> TinyInputs:
    """Make `text, (video grid, audio chunk) x GRIDS, question, option letters, two words of template`.

    The media are random: `seed` draws others.
    """
    tokenizer, config = model.tokenizer, model.hf.config
    letter_ids = {letter: (tokenizer.encode(letter)[0],) for letter in letters}
    words = tokenizer.encode("What do you hear when the bell moves?")
    media = ([config.video_token_id] * SIDE**2 + [config.audio_token_id] * SOUNDS) * GRIDS
    options = [ids[0] for ids in letter_ids.values()]
    input_ids = torch.tensor([words[:3] + media + words + options + words[:2]])  # (1, N)
    n = input_ids.shape[1]

    places = torch.arange(3, 3 + len(media)).view(GRIDS, -1)  # (grids, video and audio tokens)
    question = torch.arange(3 + len(media), n - 2)
    option_letters = question[len(words) :]
    right = list(letters).index(answer)
    layout = SimpleNamespace(
        n=n,
        video=places[:, : SIDE**2].flatten(),
        audio=places[:, SIDE**2 :].flatten(),
        frames=tuple(places[:, : SIDE**2]),
        audio_chunks=tuple(places[:, SIDE**2 :]),
        question=question,
        non_option_question=question[: len(words)],
        true_option=option_letters[right : right + 1],
        false_options=torch.cat([option_letters[:right], option_letters[right + 1 :]]),
        last=torch.tensor([n - 1]),
        candidates=(),
        structure=(),
    )

    noise = torch.Generator().manual_seed(seed)
    grid = torch.tensor([[GRIDS, 2 * SIDE, 2 * SIDE]])
    tensors = {
        "input_ids": input_ids,
        "attention_mask": torch.ones_like(input_ids),
        "position_ids": torch.arange(n).expand(3, 1, n),
        "pixel_values_videos": torch.randn(int(grid.prod()), 3 * 2 * 14 * 14, generator=noise),
        "video_grid_thw": grid,
        "input_features": torch.randn(1, 64, 4 * SOUNDS * GRIDS, generator=noise),
        "feature_attention_mask": torch.ones(1, 4 * SOUNDS * GRIDS, dtype=torch.long),
    }
    return TinyInputs(tensors, layout, letter_ids)
