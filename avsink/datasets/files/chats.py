"""Lists of chats: the form in which the authors of Hubs released their items (github.com/kaistmm/crossmodal-hub).

1. A list holds chats of two turns. The second turn, the user's, shows a clip (an mp4, or the list of its raw frames)
   and asks about it. It also has the facts of the item. `chats` reads these turns, each with its clip;
2. `clip_of` is the name of that clip, and `case_of` what a list or folder is about: ``people_case_2_small``,
   ``people_case_2`` and ``people`` are all about *people*. `sample_id` makes the id of a sample of both. It is the same
   for an item, for the results and effects of its clip, and for the sample that is measured again;
3. `options_of`: the 20 labels of an item, in the order of their letters;
4. `letter`: the letter with which a text begins. What the model wrote was released as it is: mostly the letter alone,
   but also ``C.``, or the letter and a page of text after it.

Their ValueErrors become the reasons of problems.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from avsink.datasets.files import tables
from avsink.datasets.files.tables import Row, TableError

__all__ = ["LETTERS", "NAME", "case_of", "chats", "clip_of", "letter", "options_of", "sample_id", "text"]

NAME = "hubs"
N_OPTIONS = 20
LETTERS = string.ascii_uppercase[:N_OPTIONS]
LEADING = re.compile(rf"\s*([{LETTERS}])(?:[.:,;)\r\n]|\s*$)")  # "A dog" begins with a word, not with a letter
PART_OF_A_CASE = re.compile(r"(_\d+)?(_case_\d+)?(_small)?$")  # people_25_case_2, people_case_2_small


def chats(path: Path) -> list[Row]:
    """Read the user's turns of a list, each with its `clip` and its `media`. A bad one has a fault.

    Raises:
        TableError: If the file cannot be read or is not a list.
    """
    content = tables.read_json(path)
    if not isinstance(content, list):
        raise TableError(f"{path.name} is not a list of chats")
    rows = []
    for number, chat in enumerate(content, start=1):
        where = f"{path.name}, item {number}"
        turns = [turn for turn in chat if isinstance(turn, dict)] if isinstance(chat, list) else []
        user = next((turn for turn in turns if turn.get("role") == "user"), {})
        parts = user.get("content")
        parts = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        video = next((part.get("video") for part in parts if part.get("type") == "video"), None)
        try:
            if key := tables.repeated(chat):
                raise ValueError(f"it has the key {key!r} twice")
            rows.append(Row(values={**user, "clip": clip_of(video), "media": video}, where=where))
        except ValueError as error:
            fault = str(error) if user else "it is not a chat with a user's turn"
            rows.append(Row(values=user, where=where, fault=fault))
    return rows


def clip_of(video: object) -> str:
    """The clip that a row shows: the name of a file without its suffix, or of the folder of frames.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(video, list) and video and all(isinstance(frame, str) and frame for frame in video):
        name = PurePosixPath(video[0]).parent.name
    else:
        name = PurePosixPath(video).name.split(".")[0] if isinstance(video, str) else ""
    if not name:
        raise ValueError(f"its video is {video!r}; a clip or its frames are expected")
    return name


def case_of(name: str) -> str:
    """What a list or folder of this name is about, such as people."""
    return PART_OF_A_CASE.sub("", name)


def sample_id(case: str, clip: str) -> str:
    """The id of the sample that asks about a clip: ``hubs/<case>/<clip>``, or ``hubs/<clip>`` of an unknown case."""
    return "/".join(filter(None, (NAME, case, clip)))


def options_of(values: Mapping[str, object]) -> tuple[str, ...]:
    """The 20 labels of an item in the order of their letters.

    Raises:
        ValueError: Unless there are 20 different ones, and the right letter has the right label.
    """
    choices = values.get("choices")
    if not isinstance(choices, dict) or sorted(choices) != list(LETTERS):
        raise ValueError(f"its choices do not have the letters {LETTERS[0]} to {LETTERS[-1]}")
    options = tuple(text(choices, one) for one in LETTERS)
    if len(set(options)) != N_OPTIONS:
        raise ValueError("two of its choices are the same")
    label, name = text(values, "label"), text(values, "label_name")
    if label not in choices or text(choices, label) != name:
        raise ValueError(f"its choice {label} is {choices.get(label)!r}, but its label_name is {name!r}")
    return options


def text(values: Mapping[str, object], name: str, *, empty: bool = False) -> str:
    """A text without surrounding space.

    Raises:
        ValueError: If it is not a text, or empty unless `empty` allows that.
    """
    value = values.get(name)
    if not isinstance(value, str) or not (empty or value.strip()):
        raise ValueError(f"its {name} is {value!r}; a text is expected")
    return value.strip()


def letter(values: Mapping[str, object], name: str, *, free: bool = False) -> str | None:
    """The letter of an option with which a text begins.

    Args:
        values: A row.
        name: The column of the text.
        free: Whether the text may begin with anything else. The letter is then None.

    Raises:
        ValueError: If it is not a text, or begins with no letter and is not `free`.
    """
    written = text(values, name, empty=free)
    found = LEADING.match(written)
    if not found and not free:
        raise ValueError(f"its {name} is {written!r}; a letter from {LETTERS[0]} to {LETTERS[-1]} is expected first")
    return found[1] if found else None
