"""What the lists of Hubs' authors hold, whether or not their clips are there: items, and which sense decides them.

`avsink.datasets.hubs` makes samples of the same lists, and only of items whose clips are there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from avsink.datasets.files.chats import chats, letter
from avsink.datasets.hubs import PREDICTIONS

__all__ = ["HEADS", "counts"]

KINDS = ("audio", "video", "both", "neither")
HEADS = ("list", "items", "audio-dominant", "video-dominant", "both", "neither")


def counts(path: Path, *, without: Collection[str] = ()) -> tuple[object, ...]:
    """Count the items of a list, and those that each sense dominates by the released predictions.

    Args:
        path: The list.
        without: Rows that do not count, by their file and number.

    Returns:
        What `HEADS` names; "" instead of numbers where the list has no predictions.
    """
    rows = [row.values for row in chats(path) if not row.fault and row.where not in without]
    found = Counter(kind for values in rows if (kind := _dominance(values)))
    return (path.name, len(rows), *(found[kind] if found else "" for kind in KINDS))


def _dominance(values: Mapping[str, object]) -> str:
    """Which sense decides an item: the one whose answer alone is the answer to both; "" if that is unknown."""
    if any(name not in values for name in PREDICTIONS):
        return ""
    whole, seen, heard = (letter(values, name) for name in ("av", "v", "a"))
    if seen == heard:
        return "both" if whole == seen else "neither"
    return {seen: "video", heard: "audio"}.get(whole, "neither")
