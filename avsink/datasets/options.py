"""Option texts and the right letter, in the forms in which the datasets write them.

1. The options come as a list, or as the text of a list (``"['A. yes', 'B. no']"``).
2. All three multiple-choice datasets write the letter into the text, ``A. yes``; the adapter adds letters itself. So
   the letters are removed if each option begins with the letter of its place. If any option begins with a letter and a
   mark (``B.`` ``B,`` ``B:`` ``B)``), all must begin with the letter of their place, or the row is refused: which
   letter the answer refers to could only be guessed. An initial (``E. Satie``) looks the same and is refused too; an
   abbreviation (``U.S. law``) does not count as a letter unless another option has one. A letter without a mark may be
   an article or a key (``A dog``, ``B flat``), so such options are kept, and refused only if they have all letters in
   another order (``B yes``, ``A no``).
3. The answer is a letter, in either case.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Collection

from avsink.datasets.files.tables import as_list

__all__ = ["answer_of", "options_of"]

LETTERED = re.compile(r"[(\[（]?\s*([A-Za-z])(?:\s*[.,:;)\]．，、：；）]|\s+[-–—](?=\s))\s*")
UNMARKED = re.compile(r"([A-Za-z])(?!\S)")
ABBREVIATED = re.compile(r"[A-Za-z]\.[A-Za-z]\.")


def options_of(value: object, *, column: str, counts: Collection[int]) -> list[str]:
    """The option texts without letters; `counts` are the numbers of options that are allowed.

    Raises:
        ValueError: If the options cannot be read, or their letters are out of order.
    """
    texts = [_text(entry, column) for entry in as_list(value, f"its {column}")]
    if len(texts) not in counts:
        raise ValueError(f"it has {len(texts)} options; {' or '.join(map(str, sorted(counts)))} are expected")
    letters, unmarked = _letters(LETTERED, texts), _letters(UNMARKED, texts)
    places = list(string.ascii_uppercase[: len(texts)])
    if letters == places:
        texts = [LETTERED.sub("", text, count=1).strip() for text in texts]
    elif (
        any(letter and not ABBREVIATED.match(text) for letter, text in zip(letters, texts, strict=True))
        or sorted(letters) == places
        or sorted(unmarked) == places != unmarked
    ):
        raise ValueError(f"its options do not begin with the letters A, B, ... in order: {texts}")
    if not all(texts):
        raise ValueError("one of its options is empty")
    return texts


def answer_of(value: object, *, n_options: int) -> str:
    """The letter of the right option.

    Raises:
        ValueError: If the value is not one of the first `n_options` letters.
    """
    letter = value.strip().upper() if isinstance(value, str) else value
    allowed = string.ascii_uppercase[:n_options]
    if not isinstance(letter, str) or len(letter) != 1 or letter not in allowed:
        raise ValueError(f"its answer is {value!r}; a letter from A to {allowed[-1]} is expected")
    return letter


def _letters(pattern: re.Pattern[str], texts: list[str]) -> list[str]:
    """The letter that each text begins with, or ''."""
    return [match[1].upper() if (match := pattern.match(text)) else "" for text in texts]


def _text(entry: object, column: str) -> str:
    number = isinstance(entry, (int, float)) and not isinstance(entry, bool) and math.isfinite(entry)
    if number or isinstance(entry, str):
        return str(entry).strip()
    raise ValueError(f"its {column} hold {entry!r}, which is not text")
