"""Text decoders with random weights, and prompts of random embeddings.

Instruments only need the text decoder, so benchmarks and parity checks work without processor and media towers:

1. `bare_model` builds the decoder class of a family at any size, also a published one (`SIZES`), with a language-model
   head;
2. `bare_inputs` lays out `system, delimiters, (video grid, audio chunk) x frames, delimiters, question, header, last`,
   with three video tokens per audio token and the positions that the family would give them, and draws an embedding
   for each token;
3. `BareModel` selects `avsink.engine.attention` for the decoder, as `avsink.load` does.

Weights have std width^-0.5, but at least 0.02. That is transformers' default and suits a width of 2,500; in a narrow
decoder such small weights would make the output nearly independent of the inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor, nn

from avsink.compat import enable_torchvision
from avsink.engine import attention
from avsink.layout import TokenLayout
from avsink.models.model import Inputs

__all__ = ["FAMILIES", "LETTERS", "SIZES", "BareModel", "bare_inputs", "bare_model"]

DECODERS = {
    "qwen2.5-omni": ("qwen2_5_omni", "Qwen2_5OmniThinkerTextModel"),
    "qwen2.5-vl": ("qwen2_5_vl", "Qwen2_5_VLTextModel"),
    "qwen3-omni-moe": ("qwen3_omni_moe", "Qwen3OmniMoeThinkerTextModel"),
    "qwen2": ("qwen2", "Qwen2Model"),
}
FAMILIES = tuple(DECODERS)
SIZES = {  # heads are 128 wide
    "qwen2.5-omni-3b": dict(layers=36, width=2048, heads=16, kv_heads=2, mlp=11008, vocabulary=151936),
    "qwen2.5-omni-7b": dict(layers=28, width=3584, heads=28, kv_heads=4, mlp=18944, vocabulary=152064),
}
DEEPSTACK = 3  # after how many layers of a Qwen3-Omni decoder visual embeddings are added
EXPERTS, CHOSEN = 4, 2  # experts per layer, and per token
LETTERS = {letter: (32 + i,) for i, letter in enumerate("ABCD")}  # token ids, as in Qwen's vocabulary
HEADER = 4  # tokens
AUDIO_PER_SECOND = 25  # audio tokens between two video grids of a long prompt


class BareModel:
    """A decoder with the part of `avsink.models.model.Model` that instruments need.

    `hf` is a model of transformers, or anything else with a `get_decoder()`.
    """

    def __init__(self, hf, *, name: str):
        self.hf = hf
        self.name = name
        self.decoder = hf.get_decoder()
        nested = getattr(hf.config, "text_config", None) is not None
        hf.set_attn_implementation({"text_config": attention.NAME} if nested else attention.NAME)
        if self.decoder.config._attn_implementation != attention.NAME:
            raise RuntimeError(f"the decoder of {name} kept {self.decoder.config._attn_implementation!r} attention")

    def __repr__(self) -> str:
        return f"BareModel({self.name!r}, {self.n_layers} layers, {self.dtype}, {self.device})"

    @property
    def device(self) -> torch.device:
        """The device of the decoder's weights."""
        return next(self.decoder.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the decoder's weights."""
        return next(self.decoder.parameters()).dtype

    @property
    def n_layers(self) -> int:
        """The number of the decoder's layers."""
        return self.decoder.config.num_hidden_layers

    def forward(self, inputs: Inputs, **kwargs):
        """Run the model's own forward pass."""
        return self.hf(**inputs.tensors, **kwargs)


@dataclass
class _Output:
    """The part of a transformers output that instruments use; tuples are over layers."""

    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class _WithHead(nn.Module):
    """A text decoder and its head, with the part of transformers' interface that instruments use."""

    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.model = decoder
        self.config = decoder.config
        self.lm_head = nn.Linear(self.config.hidden_size, self.config.vocab_size, bias=False, dtype=decoder.dtype)
        nn.init.normal_(self.lm_head.weight, std=self.config.initializer_range)

    def get_decoder(self) -> nn.Module:
        return self.model

    def get_output_embeddings(self) -> nn.Linear:
        return self.lm_head

    def set_attn_implementation(self, name: str | dict[str, str]) -> None:
        self.model.set_attn_implementation(name["text_config"] if isinstance(name, dict) else name)

    def forward(self, logits_to_keep: int | Tensor = 0, deepstack_visual_embeds: Tensor | None = None, **kwargs):
        """Run the decoder and the head.

        Args:
            logits_to_keep: The number of last positions to give logits for, 0 for all; or a tensor of positions.
            deepstack_visual_embeds: (DEEPSTACK, video tokens, width); passed to the decoder as a list.
            **kwargs: Passed to the decoder.
        """
        if deepstack_visual_embeds is not None:
            kwargs["deepstack_visual_embeds"] = list(deepstack_visual_embeds)
        out = self.model(**kwargs)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        return _Output(self.lm_head(out.last_hidden_state[:, kept]), out.hidden_states, out.attentions)


def bare_model(
    family: str,
    *,
    layers: int,
    width: int,
    heads: int,
    kv_heads: int,
    mlp: int,
    vocabulary: int = 160,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> BareModel:
    """Build a decoder of one of `FAMILIES` with random weights.

    For a published size: `bare_model(family, **SIZES[name])`. The caller's random state is not changed.

    Raises:
        ValueError: If there is no such family.
    """
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; allowed: {', '.join(FAMILIES)}")
    decoder_class = _decoder_class(family)
    half = width // heads // 2  # pairs of rotated dimensions, divided among time, height and width
    side = half * 20 // 64 if family == "qwen3-omni-moe" else half * 24 // 64
    facts = dict(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=mlp,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=width // heads,
        max_window_layers=layers,
        initializer_range=max(0.02, width**-0.5),
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 1_000_000.0,
            "mrope_section": [half - 2 * side, side, side],
        },
        bos_token_id=None,
        eos_token_id=None,
        tie_word_embeddings=False,
    )
    if family == "qwen2":
        del facts["rope_parameters"]["mrope_section"]
    if family == "qwen3-omni-moe":
        facts |= dict(num_experts=EXPERTS, num_experts_per_tok=CHOSEN, moe_intermediate_size=mlp)
    device = torch.device(device)
    fork = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(fork), device:
        torch.manual_seed(seed)
        decoder = decoder_class._from_config(decoder_class.config_class(**facts), dtype=dtype)
        hf = _WithHead(decoder).eval().requires_grad_(False)
        for name, parameter in hf.named_parameters():
            if name.endswith("bias"):  # initialised to zero, which no trained bias is
                nn.init.normal_(parameter, std=0.1)
    return BareModel(hf, name=f"{family}, {layers} layers of width {width}")


def _decoder_class(family: str) -> type:
    enable_torchvision()
    module, name = DECODERS[family]
    return getattr(import_module(f"transformers.models.{module}.modeling_{module}"), name)


def bare_inputs(
    model: BareModel, *, n: int, question: int = 60, frames: int | None = None, system: int = 4, seed: int = 0
) -> Inputs:
    """Make a prompt.

    Args:
        model: The model that it is for.
        n: Number of tokens.
        question: Number of tokens of the user's text, including four option lines.
        frames: Number of video grids, each followed by a chunk of audio; by default one per second, at 25 audio tokens
            per second.
        system: Number of system tokens.
        seed: Of the media's embeddings only, so that another seed is another clip in the same prompt.

    Raises:
        ValueError: If `n` is too small.
    """
    config = model.decoder.config
    media = n - system - 4 - question - HEADER - 1  # 4: two delimiters on either side of the media
    frames = frames or max(3, round(media / (4 * AUDIO_PER_SECOND)))
    line = question // 10  # tokens per option line
    if media < 4 * frames or line < 1:
        raise ValueError(f"n={n} leaves no room for {frames} frames and a question of {question} tokens (10 or more)")

    parts, chunks = [], torch.arange(media).add(system + 2).tensor_split(frames)
    for chunk in chunks:
        parts.append(chunk.split([len(chunk) - len(chunk) // 4, len(chunk) // 4]))
    asked = torch.arange(question) + system + 4 + media  # then HEADER tokens and the last one
    options = tuple(asked[len(asked) - 4 * line :].split(line))
    before, after = system + torch.arange(2), system + 2 + media + torch.arange(2)
    layout = TokenLayout(
        n=n,
        system=torch.arange(system),
        video=torch.cat([video for video, _ in parts]),
        audio=torch.cat([audio for _, audio in parts]),
        frames=tuple(video for video, _ in parts),
        audio_chunks=tuple(audio for _, audio in parts),
        question=asked,
        option_letters=tuple(int(option[0]) for option in options),
        options=options,
        candidates=(),
        reference=torch.tensor([], dtype=torch.long),
        labels=torch.tensor([], dtype=torch.long),
        header=torch.arange(n - 1 - HEADER, n - 1),
        last=torch.tensor([n - 1]),
        other=torch.cat([before, after]),
        answer=0,
    )
    layout.check()

    def draw(*shape: int, seed: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(model.device, model.dtype)

    embeds = draw(1, n, config.hidden_size, seed=10_000)
    embeds[:, system + 2 : system + 2 + media] = draw(1, media, config.hidden_size, seed=seed)
    tensors = {
        "inputs_embeds": embeds,
        "attention_mask": torch.ones(1, n, dtype=torch.long, device=model.device),
        "position_ids": _positions(layout, config.model_type).to(model.device),
    }
    if "qwen3_omni_moe" in config.model_type:
        seen = torch.zeros(1, n, dtype=torch.bool)
        seen[:, layout.video] = True
        tensors["visual_pos_masks"] = seen.to(model.device)
        tensors["deepstack_visual_embeds"] = draw(DEEPSTACK, len(layout.video), config.hidden_size, seed=seed + 1)
    return Inputs(
        sample_id=f"bare-{n}-{seed}",
        tensors=tensors,
        layout=layout,
        letters=LETTERS,
        use_audio_in_video=True,
        prompt="",
    )


def _positions(layout: TokenLayout, model_type: str) -> Tensor:
    """Time, height and width of every token, [3, 1, N], interleaved as by Qwen2.5-Omni; [1, N] for a text-only decoder.

    Time advances by one per audio token. A video grid is at the time of the first audio token after it, and its cells
    differ in height and width. The two delimiters before the media share a position, and so do the two after them.
    """
    if model_type == "qwen2":
        return torch.arange(layout.n)[None]
    positions = torch.zeros(3, layout.n, dtype=torch.float if "qwen3_omni_moe" in model_type else torch.long)
    start = len(layout.system)
    positions[:, layout.system] = torch.arange(start).to(positions)
    positions[:, layout.other[:2]] = start
    positions[:, layout.audio] = (start + 1 + torch.arange(len(layout.audio))).to(positions)
    time = start + 1
    for grid, sound in zip(layout.frames, layout.audio_chunks, strict=True):
        side = max(1, int(len(grid) ** 0.5))
        cells = torch.arange(len(grid))
        positions[:, grid] = torch.stack([torch.full_like(cells, time), time + cells // side, time + cells % side]).to(
            positions
        )
        time += len(sound)
    after = positions.max() + 1
    positions[:, layout.other[2:]] = after
    text = torch.cat([layout.question, layout.header, layout.last])
    positions[:, text] = (after + 1 + torch.arange(len(text))).to(positions)
    return positions[:, None]
