"""All texts of the toy world: object names, questions and captions.

Every sentence of a toy sample is defined here and nowhere else, so that the tokenizer of the teaching models can be
trained on all of them (`corpus`). `jobs` has the rules by which they are answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

__all__ = [
    *("CAPTION_REQUEST", "NAMES", "ORDINALS", "SUFFIX", "SYSTEM"),
    *("caption", "corpus", "heard_while_seen", "matching", "option_lines", "seen_and_heard", "seen_while_heard"),
    "sounding_object",
]

NAMES = (
    "dog", "cat", "bird", "frog", "cow", "duck", "owl", "bee", "bell", "drum",
    "trumpet", "whistle", "clock", "phone", "train", "piano", "guitar", "siren", "rain", "car",
)  # fmt: skip
"""The 20 sounding objects; an object's index here is its class."""

ORDINALS = ("first", "second", "third", "fourth")
"""The names of the candidates of an interleaved input."""

SYSTEM = "You are a helpful assistant."
SUFFIX = "Answer with the letter."
CAPTION_REQUEST = "Describe what you see and hear in one sentence."


def sounding_object() -> str:
    """The 20-way question, as asked about VGGSound clips."""
    return "Which object makes the sound?"


def heard_while_seen(name: str) -> str:
    """The question with visual anchor and audio answer."""
    return f"What is heard while the {name} is seen?"


def seen_while_heard(name: str) -> str:
    """The question with audio anchor and visual answer."""
    return f"What is seen while the {name} is heard?"


def seen_and_heard() -> str:
    """The question in which both modalities are anchor and answer."""
    return "What is seen and heard at the same time?"


def matching(reference_kind: str) -> str:
    """The matching question, placed between the candidates and the reference (Flow section 5.1)."""
    return {"audio": "Which image fits this sound?", "image": "Which sound fits this image?"}[reference_kind]


def caption(seen: str, heard: str) -> str:
    """The reference caption of a clip."""
    return f"I see a {seen} and hear a {heard}."


def option_lines(options: Sequence[str]) -> str:
    """Options as the prompt shows them, for the tokenizer's corpus only: the model's adapter writes the real ones."""
    return "".join(f"\n{chr(65 + i)}. {text}" for i, text in enumerate(options))


def corpus() -> Iterator[str]:
    """Yield every kind of sentence, often enough for each word to become one token."""
    for name in NAMES:
        for other in NAMES[:6]:
            yield caption(name, other)
        yield from (heard_while_seen(name), seen_while_heard(name), name)
    for shift in range(len(NAMES)):
        yield option_lines(NAMES[shift:] + NAMES[:shift])
        yield option_lines(ORDINALS) + " ".join(ORDINALS)
        yield from (sounding_object(), seen_and_heard(), matching("audio"), matching("image"), CAPTION_REQUEST)
        yield from (SUFFIX, SYSTEM, "system\n", "user\n", "assistant\n", "\n".join(ORDINALS))
