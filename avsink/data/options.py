"""Option texts and the right letter, in the ways in which the benchmarks write them.

1. The options come as a list or as the text of one (``"['A. yes', 'B. no']"``).
2. All three benchmarks put the letter into the text, ``A. yes``; the adapter writes letters by itself. So the letter
   is taken off, where it is the one that belongs there. If only some options have theirs, or if they have them in
   another order, the row is refused: which letter the answer means could only be guessed.
3. The answer is a letter, of either case.
"""

from __future__ import annotations

import re
import string
from collections.abc import Collection

from avsink.data.tables import as_list

__all__ = ["answer_of", "options_of"]

LETTERED = re.compile(r"\(?([A-Za-z])[.:)]\s*")


def options_of(value: object, *, column: str, counts: Collection[int]) -> list[str]:
    """The option texts without letters. counts: how many there may be. Raises ValueError."""
    texts = [_text(entry, column) for entry in as_list(value, f"its {column}")]
    if len(texts) not in counts:
        raise ValueError(f"it has {len(texts)} options; {' or '.join(map(str, sorted(counts)))} are expected")
    letters = [match and match[1].upper() for match in map(LETTERED.match, texts)]
    own = [letter == expected for letter, expected in zip(letters, string.ascii_uppercase, strict=False)]
    if all(own):
        texts = [LETTERED.sub("", text, count=1).strip() for text in texts]
    elif any(own) or sorted(filter(None, letters)) == list(string.ascii_uppercase[: len(texts)]):
        raise ValueError(f"its options do not begin with the letters A, B, ... in order: {texts}")
    if not all(texts):
        raise ValueError("one of its options is empty")
    return texts


def answer_of(value: object, *, n_options: int) -> str:
    """The letter of the right option. Raises ValueError."""
    letter = value.strip().upper() if isinstance(value, str) else value
    allowed = string.ascii_uppercase[:n_options]
    if not isinstance(letter, str) or len(letter) != 1 or letter not in allowed:
        raise ValueError(f"its answer is {value!r}; a letter from A to {allowed[-1]} is expected")
    return letter


def _text(entry: object, column: str) -> str:
    if isinstance(entry, (str, int, float)) and not isinstance(entry, bool):
        return str(entry).strip()
    raise ValueError(f"its {column} hold {entry!r}, which is no text")
