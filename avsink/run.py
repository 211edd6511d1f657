"""A clean run of one prompt, and its replays under interventions (Flow section 4.1).

1. `clean_run` encodes the media once: the model's own forward pass goes as far as the text decoder, whose inputs
   (embeddings with video and audio in place, positions) are caught there;
2. the decoder and its head then give the distribution of the next token at the last position;
3. `Run.replay` does step 2 again for many *plans*. A plan is one intervention, or several applied together; plans are
   stacked along the batch dimension, and every one is a full forward pass of the decoder.

Step 3 is the plain way, and the measure that every faster one is held against.

    run = clean_run(model, inputs)
    run.letter_probabilities["A"]
    run.replay([Block(video, question, layers=range(3, 10)), (Block(...), Block(...))])     # (2, vocabulary)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from avsink import attention
from avsink.data.sample import SampleError

__all__ = ["Block", "Plan", "Run", "Unmeasured", "clean_run"]

TOKENS_PER_PASS = 2**14  # how many positions, over all plans, go through the decoder at once: 100 short prompts, or 1


class Unmeasured(SampleError):
    """A sound sample that is outside of what is measured, now and always: answered wrongly, say."""


@dataclass(frozen=True)
class Block:
    """Attention knockout: queries at `target` cannot read keys at `source`, in `layers`.

    source, target: positions; LongTensors of any length. layers: zero-based.
    """

    source: Tensor
    target: Tensor
    layers: Iterable[int]


Plan = Block | Sequence[Block]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a clean run leaves behind.

    decoder_inputs: keyword arguments of the decoder, for a batch of one.
    logits: of the next token, float32 (vocabulary,).
    """

    model: object
    inputs: object
    decoder_inputs: Mapping[str, object]
    logits: Tensor

    @cached_property
    def probabilities(self) -> Tensor:
        """The distribution of the next token, (vocabulary,)."""
        return self.logits.softmax(dim=-1)

    @cached_property
    def letter_probabilities(self) -> dict[str, float]:
        """Probability of each option's letter, out of the *whole* vocabulary and not out of the letters."""
        return {letter: float(self.read(letter, self.probabilities)) for letter in self.inputs.letters}

    @property
    def predicted(self) -> str:
        """The most probable of the option letters."""
        return max(self.letter_probabilities, key=self.letter_probabilities.__getitem__)

    def read(self, letter: str, probabilities: Tensor) -> Tensor:
        """The probability of one letter in `probabilities` (…, vocabulary): its most probable spelling's."""
        return probabilities[..., list(self.inputs.letters[letter])].amax(dim=-1)

    def replay(self, plans: Sequence[Plan], *, max_batch: int | None = None) -> Tensor:
        """Distributions of the next token under each of `plans`, (plans, vocabulary), on the model's device.

        max_batch: how many plans to run at once; by default as many as fit `TOKENS_PER_PASS`.
        """
        plans = [(plan,) if isinstance(plan, Block) else tuple(plan) for plan in plans]
        size = max_batch or max(1, TOKENS_PER_PASS // self.inputs.layout.n)
        passes = [_logits(self.model, self.decoder_inputs, plans[i : i + size]) for i in range(0, len(plans), size)]
        return torch.cat([self.logits.new_empty(0, len(self.logits)), *passes]).softmax(dim=-1)


@torch.inference_mode()
def clean_run(model, inputs) -> Run:
    """Run the prompt as it is. `model` and `inputs` are `avsink.load(...)` and `model.prepare(sample)`."""
    inputs = inputs.to(model.device)
    decoder_inputs = _decoder_inputs(model, inputs)
    [logits] = _logits(model, decoder_inputs, [()])
    return Run(model=model, inputs=inputs, decoder_inputs=decoder_inputs, logits=logits)


class _Caught(Exception):
    """Ends a forward pass at the door of the decoder."""


def _decoder_inputs(model, inputs) -> dict[str, object]:
    """What the model's own forward pass hands to its text decoder: media encoded, positions explicit."""
    caught = {}

    def catch(module, args, kwargs):
        assert not args, "the decoder is called with keyword arguments alone"
        caught.update(kwargs, past_key_values=None, use_cache=False)
        raise _Caught

    hook = model.decoder.register_forward_pre_hook(catch, with_kwargs=True, prepend=True)
    try:
        model.forward(inputs)
    except _Caught:
        return caught
    finally:
        hook.remove()
    raise RuntimeError(f"{type(model.hf).__name__} never called its text decoder {type(model.decoder).__name__}")


@torch.inference_mode()
def _logits(model, decoder_inputs: Mapping[str, object], plans: Sequence[Sequence[Block]]) -> Tensor:
    """Next-token logits of one forward pass with one plan a batch element, float32 (plans, vocabulary)."""
    edges = _edges(plans, device=model.device)
    if edges and model.decoder.config._attn_implementation != attention.NAME:
        raise RuntimeError(
            f"the decoder's attention is {model.decoder.config._attn_implementation!r}, which would ignore the "
            f'intervention; load the model with avsink.load(..., attention="{attention.NAME}")'
        )
    with attention.blocked(edges):
        states = model.decoder(**_repeated(decoder_inputs, times=len(plans))).last_hidden_state  # (plans, N, width)
    return model.hf.get_output_embeddings()(states[:, -1:])[:, 0].float()


def _edges(plans: Sequence[Sequence[Block]], *, device: torch.device) -> dict[int, list[attention.Edges]]:
    """Layer by layer, the edges that each batch element loses."""
    edges: dict[int, list[attention.Edges]] = {}
    for element, plan in enumerate(plans):
        for block in plan:
            lost = attention.Edges(element, block.source.to(device), block.target.to(device))
            for layer in block.layers:
                edges.setdefault(layer, []).append(lost)
    return edges


def _repeated(decoder_inputs: Mapping[str, object], *, times: int) -> dict[str, object]:
    """The decoder's inputs for a batch of `times` equal prompts."""
    repeated = dict(decoder_inputs)
    for name, value in decoder_inputs.items():
        if isinstance(value, Tensor):
            axis = value.ndim - 2 if name == "position_ids" else 0  # (B, N) or (3, B, N); all else starts with B
            repeated[name] = value.expand(*(times if i == axis else -1 for i in range(value.ndim)))
    return repeated
