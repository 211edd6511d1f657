"""Item lists that the authors of Hubs released (github.com/kaistmm/crossmodal-hub, ``json_files``).

1. A list holds chats of two turns. The second turn, the user's, shows a clip (an mp4, or the list of its raw frames)
   and asks about it. It also has the item's facts: for 20-way items label, label_name, choices (A to T), and the
   predictions av, v and a (step 1) or correct_pred, corrupt_pred and their four probabilities (step 2).
2. `items`: these facts as a table.
3. `samples`: the items as samples, to be measured again, with their own 20 labels in their own order. Clips are looked
   up by base name below a folder. VGGSound's clips serve also where a list names raw frames, which are not published.
4. `cases`: the fixed set of labels of each list, in the form of `cases.json` (`avsink.datasets.vggsound`).
5. `captions`: the clips to be described, with the object that each shows. Synonyms are separated by ``/``, and
   parentheses are removed (``mouse (animal)``). One row of the released list is the header of a table; it is a problem.

The prompt of a sample is this project's (`avsink.datasets.twenty_way`), not the authors'. Items were chosen for
dominance, not for correct answers.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from pathlib import Path

from avsink.datasets import wording
from avsink.datasets.files import tables
from avsink.datasets.files.clips import Clips
from avsink.datasets.files.tables import Row, TableError
from avsink.datasets.loaded import Loaded, collect
from avsink.datasets.twenty_way import N_OPTIONS, TASK, names
from avsink.papers.hubs.released_files import Released, clip_of, find, gather, probability, text
from avsink.resources import expanded
from avsink.sample import Media, Sample, Text

__all__ = ["captions", "cases", "chats", "items", "samples"]

NAME = "hubs"
LETTERS = string.ascii_uppercase[:N_OPTIONS]
PREDICTIONS = {"av": "predicted_av", "v": "predicted_v", "a": "predicted_a"}
RUNS = {"correct_pred": "o_clean", "corrupt_pred": "o_corrupt"}
PROBABILITIES = {
    "correct_correct_word_prob": "p_clean_clean",
    "correct_corrupt_word_prob": "p_clean_corrupt",
    "corrupt_correct_word_prob": "p_corrupted_clean",
    "corrupt_corrupt_word_prob": "p_corrupted_corrupt",
}
HEADER = "original_label"  # a row with this label is a table's header


def chats(path: Path) -> list[Row]:
    """Read the user's turns of a list, each with its `clip`. A bad one has a fault.

    Raises `TableError` if the file cannot be read or is not a list.
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
            rows.append(
                Row(values=user, where=where, fault=str(error) if user else "it is not a chat with a user's turn")
            )
    return rows


def items(*paths: Path | str) -> Released:
    """Read 20-way items.

    Args:
        *paths: Lists, or folders of lists.

    Returns:
        One row per item, with the columns sample (the clip), case (the list's name), label (the right letter),
        label_name, options (20 labels), media (a path, or the paths of the raw frames), and, None where a list lacks
        them: predicted_av, predicted_v, predicted_a, o_clean, o_corrupt, p_clean_clean, p_clean_corrupt,
        p_corrupted_clean, p_corrupted_corrupt.

    Raises:
        MissingData: There is no such file.
    """

    def rows(path: Path, values: Mapping[str, object]) -> list[dict]:
        row = {"sample": values["clip"], "case": path.stem, "label": text(values, "label")}
        row |= {"label_name": text(values, "label_name"), "options": _options(values)}
        media = values["media"]
        row["media"] = tuple(map(str, media)) if isinstance(media, list) else media
        for name, column in {**PREDICTIONS, **RUNS}.items():
            row[column] = text(values, name) if name in values else None
        return [row | {c: probability(values, name) if name in values else None for name, c in PROBABILITIES.items()}]

    columns = ["sample", "case", "label", "label_name", "options", "media"]
    columns += [*PREDICTIONS.values(), *RUNS.values(), *PROBABILITIES.values()]
    files = find(paths, lambda path: path.suffix == ".json", "*.json")
    return gather(files, chats, key="choices", clip=lambda values: str(values["clip"]), convert=rows, columns=columns)


def samples(path: Path | str, clips: Path | str) -> Loaded:
    """Read the items of the list at `path` as samples, or problems. `clips` is the folder of the mp4 files."""
    path, folder = expanded(path), Clips(expanded(clips))

    def convert(id: str, values: Mapping[str, object]) -> Sample:
        options = _options(values)
        return Sample(
            id=id,
            task=f"{TASK}: {path.stem}",
            category=path.stem,
            parts=(
                Media(path=folder.find(str(values["clip"])), kind="video"),
                Text(text="\n" + wording.SOUNDING_OBJECT),
            ),
            options=options,
            suffix=wording.LETTER,
            answer=text(values, "label"),
            truth={"label": values["label_name"], "object": values["label_name"], "clip": values["clip"]}
            | {column: values[name] for name, column in PREDICTIONS.items() if name in values},
        )

    found, problems = collect(f"{NAME}/{path.stem}", chats(path), key="clip", convert=convert)
    return Loaded(name=NAME, samples=found, problems=problems, tables=(path,))


def cases(*paths: Path | str, write: Path | str | None = None) -> dict[str, tuple[str, ...]]:
    """Collect the labels of each list of 20-way items.

    Args:
        *paths: Lists, or folders of lists.
        write: Where to write them as a ``cases.json``.

    Returns:
        Name of the list -> its 20 labels, sorted.

    Raises:
        TableError: The items of one list have different labels.
        MissingData: There is no such file.
    """
    sets: dict[str, tuple[str, ...]] = {}
    for case, options in items(*paths).table[["case", "options"]].itertuples(index=False):
        if sets.setdefault(case, tuple(sorted(options))) != tuple(sorted(options)):
            raise TableError(f"the items of {case} have different labels; one set of {N_OPTIONS} is expected")
    if write is not None:
        expanded(write).write_text(json.dumps(sets, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return sets


def captions(path: Path | str, clips: Path | str) -> Loaded:
    """Read the clips of a list to be described, as samples or problems. `clips` is the folder of the mp4 files."""
    path, folder = expanded(path), Clips(expanded(clips))

    def convert(id: str, values: Mapping[str, object]) -> Sample:
        label, objects = text(values, "original_label"), text(values, "objects")
        if label == HEADER:
            raise ValueError("it is the header of a table, not a clip")
        return Sample(
            id=id,
            task="caption",
            category=path.stem,
            parts=(
                Media(path=folder.find(str(values["clip"])), kind="video"),
                Text(text="\n" + wording.CAPTION),
            ),
            truth={"label": label, "objects": [objects], "synonyms": sorted(names(objects)), "clip": values["clip"]},
        )

    found, problems = collect(f"{NAME}/{path.stem}", chats(path), key="clip", convert=convert)
    return Loaded(name=NAME, samples=found, problems=problems, tables=(path,))


def _options(values: Mapping[str, object]) -> tuple[str, ...]:
    """The 20 labels in the order of their letters. Raises ValueError unless the right letter has the right label."""
    choices = values.get("choices")
    if not isinstance(choices, dict) or sorted(choices) != list(LETTERS):
        raise ValueError(f"its choices do not have the letters {LETTERS[0]} to {LETTERS[-1]}")
    options = tuple(text(choices, letter) for letter in LETTERS)
    if len(set(options)) != N_OPTIONS:
        raise ValueError("two of its choices are the same")
    label, name = text(values, "label"), text(values, "label_name")
    if label not in choices or text(choices, label) != name:
        raise ValueError(f"its choice {label} is {choices.get(label)!r}, but its label_name is {name!r}")
    return options
