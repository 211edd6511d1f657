"""A decoder with weights set by hand, so that its flow of information is known: a ground truth for instruments.

It is a small `Qwen2ForCausalLM` of transformers. The sound decides which letter is the answer, and this information has
only one path:

    audio tokens --layer a--> one video token, the hub --layer b--> question tokens --layer c--> last token --> letter

1. A token's state holds its *role*, which never changes, and four *registers* with one feature per letter: heard, kept,
   asked, said. The embedding of a sound fills `heard`; the head reads `said`.
2. A hop is one attention head at one layer: it selects keys by role, reads one register and writes the next. Each
   register is filled by one hop only, so no hop can be skipped.
3. A query that finds no key of the role it looks for reads the system tokens, whose registers are empty. If any hop is
   blocked, or silence replaces the sound (`muted`), the answer is uniform over the letters.
4. The MLP of layer 0 gives the hub two massive features. From the input of layer 1 on they make it a sink: all later
   tokens attend to it with one head at every layer, but nothing that this head reads is written.
5. Another head attends strongly to other places without moving information: these are the *distractors*.

All other weights are 0, or 1 in norms. The hub can only read what comes before it, so the last chunk of audio is never
used. It attends to silence more than to sound, so that restoring one audio token of a muted prompt does not restore the
answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, sqrt

import torch
from torch import Tensor

from avsink.compat import enable_torchvision
from avsink.layout import TokenLayout
from avsink.models.model import Inputs
from avsink.testing.random_decoder import BareModel

__all__ = ["LETTERS", "Distractor", "Planted", "planted"]

LETTERS = "ABCD"
GRIDS, SEEN, HEARD = 3, 4, 2  # temporal grids of SEEN video tokens, each followed by a chunk of HEARD audio tokens

# The features of a state: 8 roles, 4 registers in the order in which they are filled, and two others.
ROLES = ("system", "video", "hub", "audio", "question", "header", "last", "other")
REGISTERS = {name: slice(8 + 4 * i, 12 + 4 * i) for i, name in enumerate(("heard", "kept", "asked", "said"))}
SILENCE = 24
SINK_DIMS, MASSIVE, ORDINARY = (50, 101), (40.0, -20.0), 0.1  # their values at the hub, and at all other tokens
TAU = 5.0  # max |x_d| / rms(x) is 10 at the hub, 1 elsewhere
WIDTH, HEADS, KEY_HEADS, HEAD_DIM = 128, 4, 2, 32
ROUTE_HEAD, DISTRACTOR_HEAD, SINK_HEAD = 0, 1, 2
# The dimension of keys that encodes each role: the last ones, which RoPE hardly rotates.
CHANNELS = {role: HEAD_DIM - 1 - i for i, role in enumerate((*ROLES, "sink"))}

# Attention scores of the keys that a query looks for, and of the system tokens; all others are 0.
SHARP, DEFAULT = 80.0, 30.0
SAYS = 0.875  # makes the right letter's logit 7 larger than the other letters': p is 0.997, so that a leak would show
SPEAKS = 2.0  # makes the letters' logits larger than those of all other words

# The vocabulary: word -> role.
WORDS = {
    **dict.fromkeys([*LETTERS, "word"], "question"),
    **dict.fromkeys([*(f"sound-{letter}" for letter in LETTERS), "silence"], "audio"),
    **{role: role for role in ROLES if role not in ("audio", "question")},
}
IDS = {word: i for i, word in enumerate(WORDS)}


@dataclass(frozen=True)
class Distractor:
    """A path with nearly all the attention of one head, and no information.

    Attributes:
        layers: The layers.
        source: A name in `avsink.instruments.pathways.GROUPS`; for ``Video`` the hub is left out.
        target: Another one.
        head: The head.
    """

    layers: tuple[int, ...]
    source: str
    target: str
    head: int = DISTRACTOR_HEAD


@dataclass(frozen=True, kw_only=True, eq=False)
class Planted:
    """The decoder, its prompts, and what an instrument must find in them.

    Attributes:
        model: The decoder.
        layers: (a, b, c), the layers of the hops audio -> hub -> question -> last.
        hub: The position of the hub.
        sink_dims: The massive features.
        tau: Threshold of phi = max |x_d| / rms(x) over the features d in `sink_dims` of a layer's input. Only the hub
            exceeds it.
        sink_from: The first layer at whose input the hub exceeds it.
        distractor: Where attention weights mislead.
    """

    model: BareModel
    layers: tuple[int, int, int]
    hub: int
    sink_dims: tuple[int, ...] = SINK_DIMS
    tau: float = TAU
    sink_from: int = 1
    distractor: tuple[Distractor, ...]

    def inputs(self, answer: str, *, muted: bool = False) -> Inputs:
        """Make a prompt. Prompts differ only in the embeddings of their audio tokens.

        Args:
            answer: The letter that the sound stands for.
            muted: Whether silence replaces the sound.
        """
        words, groups = _prompt("silence" if muted else f"sound-{answer}")
        ids = torch.tensor([[IDS[word] for word in words]], device=self.model.device)  # (1, N)
        return Inputs(
            sample_id=f"planted-{answer}{'-muted' * muted}",
            tensors={
                "inputs_embeds": self.model.hf.get_input_embeddings()(ids),
                "attention_mask": torch.ones_like(ids),
                "position_ids": torch.arange(len(words), device=ids.device)[None],
            },
            layout=TokenLayout(n=len(words), **groups, answer=LETTERS.index(answer)),
            letters={letter: (IDS[letter],) for letter in LETTERS},
            use_audio_in_video=True,
            prompt=" ".join(words),
        )


def planted(*, layers: int = 8, hops: tuple[int, int, int] = (1, 3, 5)) -> Planted:
    """Make the decoder.

    Args:
        layers: Number of layers.
        hops: (a, b, c), the layers of the three hops.

    Raises:
        ValueError: If the hops are not in this order, or outside of the layers.
    """
    a, b, c = hops
    if not 0 < a < b < c < layers:
        raise ValueError(
            f"hops {hops} must increase, from at least 1 (from there on the hub is a sink) to at most {layers - 1}"
        )
    distractor = (
        Distractor(tuple(range(layers)), "Audio", "Last"),
        Distractor(tuple(layer for layer in range(layers) if layer != b), "Video", "Question"),
    )
    return Planted(
        model=BareModel(_decoder(layers, hops, distractor), name="planted"),
        layers=hops,
        hub=_prompt("silence")[0].index("hub"),
        distractor=distractor,
    )


def _prompt(sound: str) -> tuple[list[str], dict[str, object]]:
    """The words of a prompt, and the groups of its `TokenLayout`."""
    words: list[str] = []

    def add(*new: str) -> Tensor:
        words.extend(new)
        return torch.arange(len(words) - len(new), len(words))

    system, begin = add("system", "system"), add("other")
    frames, chunks = zip(*[(add(*["video"] * SEEN), add(*[sound] * HEARD)) for _ in range(GRIDS)], strict=True)
    words[frames[-1][SEEN // 2]] = "hub"
    end, stem = add("other"), add(*["word"] * 4)
    options = tuple(add(letter, "word") for letter in LETTERS)
    return words, dict(
        system=system,
        video=torch.cat(frames),
        audio=torch.cat(chunks),
        frames=frames,
        audio_chunks=chunks,
        question=torch.cat([stem, *options]),
        option_letters=tuple(int(line[0]) for line in options),
        options=options,
        candidates=(),
        reference=torch.arange(0),
        labels=torch.arange(0),
        header=add("header", "header"),
        last=add("last"),
        other=torch.cat([begin, end]),
    )


@torch.no_grad()
def _decoder(layers: int, hops: tuple[int, int, int], distractor: tuple[Distractor, ...]):
    """A `Qwen2ForCausalLM` with the weights of steps 1 to 5."""
    enable_torchvision()
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=len(WORDS),
        hidden_size=WIDTH,
        intermediate_size=1,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        rope_parameters={"rope_type": "default", "rope_theta": 1e30},
    )
    with torch.random.fork_rng([]):
        hf = Qwen2ForCausalLM(config).eval().requires_grad_(False)
    for name, parameter in hf.named_parameters():
        parameter.fill_(1.0 if "norm" in name else 0.0)

    embedding, head = hf.get_input_embeddings().weight, hf.get_output_embeddings().weight  # (words, width)
    embedding[:, SINK_DIMS] = ORDINARY
    embedding[IDS["silence"], SILENCE] = 1
    for word, role in WORDS.items():
        embedding[IDS[word], ROLES.index(role)] = 1
    for i, letter in enumerate(LETTERS):
        embedding[IDS[f"sound-{letter}"], REGISTERS["heard"]][i] = 1
        head[IDS[letter], REGISTERS["said"]][i] = SAYS
        head[IDS[letter], ROLES.index("last")] = SPEAKS

    mlp = hf.model.layers[0].mlp  # silu(x) x is about x², and x² about WIDTH at the hub and 0 elsewhere
    mlp.gate_proj.weight[0, ROLES.index("hub")] = mlp.up_proj.weight[0, ROLES.index("hub")] = 1
    mlp.down_proj.weight[SINK_DIMS, 0] = torch.tensor(MASSIVE) / WIDTH

    for index, layer in enumerate(hf.model.layers):
        _attend(layer.self_attn)
        for way in distractor:
            if index in way.layers:
                _look(layer.self_attn, way.head, source=way.source.lower(), target=way.target.lower())
    route, one = ("audio", "hub", "question", "last"), torch.eye(len(LETTERS))
    registers, gains = tuple(REGISTERS.values()), (sqrt(2), 1, sqrt(2))  # so that a filled register holds a 1
    for hop, index in enumerate(hops):
        attention = hf.model.layers[index].self_attn
        _look(attention, ROUTE_HEAD, source=route[hop], target=route[hop + 1])
        # The distractors' head shares these values, but only what the route's head reads is written.
        attention.v_proj.weight[: len(LETTERS), registers[hop]] = one * _size(route[hop])
        attention.o_proj.weight[registers[hop + 1], : len(LETTERS)] = one * gains[hop]
    return hf


def _attend(attention) -> None:
    """Make keys encode roles. Queries of the sink's head look for the sink, all others for the system tokens."""
    keys = attention.k_proj.weight.view(KEY_HEADS, HEAD_DIM, WIDTH)
    queries = attention.q_proj.bias.view(HEADS, HEAD_DIM)
    for i, role in enumerate(ROLES):
        keys[:, CHANNELS[role], i] = _size(role)
    keys[:, CHANNELS["audio"], SILENCE] = _size("audio") / 2  # silence more than sound
    keys[:, CHANNELS["question"], REGISTERS["asked"]] = _size("question") * (sqrt(2) - 1)  # equal, filled or empty
    keys[:, CHANNELS["sink"], SINK_DIMS[0]] = 1 / sqrt(WIDTH)
    queries[:, CHANNELS["system"]] = DEFAULT * sqrt(HEAD_DIM)
    queries[SINK_HEAD, CHANNELS["sink"]] = SHARP * sqrt(HEAD_DIM)


def _look(attention, head: int, *, source: str, target: str) -> None:
    """Make tokens of the role `target` look for tokens of the role `source` with one head."""
    queries = attention.q_proj.weight.view(HEADS, HEAD_DIM, WIDTH)
    queries[head, CHANNELS[source], ROLES.index(target)] = SHARP * sqrt(HEAD_DIM) * _size(target)


def _size(role: str) -> float:
    """The weight with which a feature of size 1 gives about 1 after the norm, for a token of this role."""
    return (hypot(*MASSIVE) if role == "hub" else 1) / sqrt(WIDTH)
