"""What a family of models must say of itself: its adapter. To add a family, read this file and fill it in.

The way of one sample asks the adapter, in this order:

1. `load` gives transformers' model and processor; `sampling_rate`, `longest_sound` and `fit` say how media are decoded;
2. `prompt` writes the conversation as pieces of text, one placeholder a medium;
3. `encode` expands placeholders and encodes media, by the family's own processor;
4. `media_tokens` and `grids` say which of the expanded tokens is what, `position_ids` where each of them is;
5. `added` says what the text decoder does between its layers. This part has defaults, which are transformers' own
   conventions, so that decoders made in code need no adapter at all (`text_decoder`).

A new family is a subclass of `Family` in a file of its own, a line in `avsink.models.families.FAMILIES`, and the card
of its `model_type` in `avsink.models.cards`. Whatever is true of one family alone belongs in its file and nowhere else.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from avsink.layout import MediaTokens, Piece
from avsink.media import Clip
from avsink.models.cards import ModelCard
from avsink.sample import Media, Sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

__all__ = ["Family", "TextDecoder", "text_decoder"]


class TextDecoder(Protocol):
    """What the engine must know of a text decoder, besides that it has `layers`, a `norm` and a `config`."""

    per_token: tuple[str, ...] = ("visual_pos_masks",)
    """Arguments of the decoder whose last dimension has an entry for each token, besides `position_ids` and masks."""

    def added(self, arguments: Mapping[str, object]) -> dict[int, tuple[Tensor, Tensor]]:
        """What the decoder adds to the output of its layers before the next one (DeepStack: Qwen3-VL, Qwen3-Omni).

        The default finds features under the names that transformers gives them. A decoder that adds nothing has none.

        Args:
            arguments: The decoder's keyword arguments, for a batch of one.

        Returns:
            Layer -> positions (n,) and the features added there, (n, width).
        """
        features, seen = arguments.get("deepstack_visual_embeds"), arguments.get("visual_pos_masks")
        if features is None or seen is None:
            return {}
        positions = seen[0].nonzero()[:, 0]
        return {layer: (positions, own) for layer, own in enumerate(features)}


class Family(TextDecoder, Protocol):
    """One family of models. `hf` is transformers' model, `processor` its processor, as `load` returns them."""

    features: tuple[str, ...]
    """The tensors of `encode` that take the model's precision: pixels and sound. All others keep their own type."""

    left_out: tuple[str, ...]
    """What the names of a checkpoint's weights begin with that `load` leaves out on purpose: the parts that speak."""

    @abstractmethod
    def load(
        self, folder: Path, *, dtype: torch.dtype, device_map: str | dict | None
    ) -> tuple[PreTrainedModel, ProcessorMixin]:
        """Load model and processor from a complete folder: safetensors only, and no code of the folder is run.

        Of a checkpoint that can also speak, load only the part that reads and answers. The model is in evaluation mode
        and has `get_decoder()`, which returns the text decoder.
        """
        ...

    @abstractmethod
    def sampling_rate(self, processor: ProcessorMixin) -> int:
        """Samples a second of the sound that the processor takes."""
        ...

    @abstractmethod
    def longest_sound(self, processor: ProcessorMixin) -> float:
        """Seconds of the longest sound that the audio encoder hears whole."""
        ...

    def fit(self, picture: np.ndarray, *, kind: str, processor: ProcessorMixin, card: ModelCard) -> np.ndarray:
        """Resize one picture of a `video` or an `image`, uint8 [H, W, 3], exactly as the processor would.

        Clips are decoded through it, so that a large picture is never kept as it is. `encode` must not resize again
        what is `fitted`. The default leaves all of that to the processor.

        Raises:
            ValueError: If the processor cannot take a picture of this shape.
        """
        return picture

    @abstractmethod
    def prompt(self, sample: Sample, *, system: str, processor: ProcessorMixin) -> list[Piece]:
        """Write the conversation as pieces, whose texts joined are the prompt.

        Each medium is a piece by itself: one placeholder between its delimiters. The last piece is the template up to
        where the answer begins.
        """
        ...

    @abstractmethod
    def encode(
        self,
        text: str,
        media: Sequence[Media],
        clips: Sequence[Clip],
        *,
        hf: PreTrainedModel,
        processor: ProcessorMixin,
        card: ModelCard,
    ) -> dict[str, Tensor]:
        """Run the processor on decoded media.

        Args:
            text: The prompt.
            media: The sample's media, in the order in which the prompt names them.
            clips: The content of each.
            hf: The model, for what only its config says.
            processor: The processor.
            card: The limits on tokens of frames and images.

        Returns:
            Keyword arguments of the model's forward pass, a batch of one: `input_ids` [1, N], `attention_mask` [1, N],
            pixels, sound, and whatever the model needs to place them.

        Raises:
            ValueError: If the processor cannot take such a picture or sound.
        """
        ...

    @abstractmethod
    def media_tokens(self, hf: PreTrainedModel) -> MediaTokens:
        """The token ids that the model replaces by features of video, images and audio."""
        ...

    @abstractmethod
    def grids(
        self, tensors: Mapping[str, Tensor], media: Sequence[Media], *, hf: PreTrainedModel
    ) -> list[tuple[int, int, int]]:
        """(T, H, W) in tokens of each video or image in turn.

        T temporal grids of H rows and W columns, whose tokens are in the prompt row by row; an image has one grid.
        `position_ids` must refuse a prompt for which that does not hold.
        """
        ...

    @abstractmethod
    def position_ids(
        self, tensors: Mapping[str, Tensor], media: Sequence[Media], *, hf: PreTrainedModel, processor: ProcessorMixin
    ) -> Tensor:
        """Time, height and width of every token, [3, 1, N]; [1, N] for a family with one axis.

        Worked out explicitly, since some models fall back to plain text positions without a word, and checked against
        the family's rule, since versions of transformers differ.

        Raises:
            RuntimeError: If the installed transformers does not follow that rule.
        """
        ...


class _WithoutFamily(TextDecoder):
    """A decoder made in code."""


def text_decoder(model) -> TextDecoder:
    """What is known of a model's text decoder: by its adapter, or by transformers' conventions if it has none."""
    return getattr(model, "adapter", None) or _WithoutFamily()
