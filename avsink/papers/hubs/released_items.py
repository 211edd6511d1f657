"""Item lists that the authors of Hubs released (github.com/kaistmm/crossmodal-hub, ``json_files``), as tables.

1. `items`: the facts of 20-way items: label, options, and the predictions under each condition (lists of step 1) or the
   clean and the corrupted prediction with their probabilities (step 2);
2. `manifest`: which modality dominates each item of step 1, in the form that `avsink.papers.hubs.dominated` reads. With
   it, the notebooks of Hubs measure the authors' samples: dataset "hubs", manifest the file;
3. `cases`: the fixed set of labels of each list, in the form of `cases.json` (`avsink.datasets.vggsound`).

`samples` and `captions` are those of `avsink.datasets.hubs`, which reads all lists together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from avsink.datasets.files.chats import case_of, chats, letter, options_of, sample_id, text
from avsink.datasets.files.tables import TableError
from avsink.datasets.hubs import PREDICTIONS, captions, samples
from avsink.datasets.twenty_way import N_OPTIONS
from avsink.instruments.dominance import dominant
from avsink.papers.hubs.measure import COLUMNS, DOMINANT
from avsink.papers.hubs.released_files import Released, find, gather, probability
from avsink.resources import expanded

__all__ = ["captions", "cases", "items", "manifest", "samples"]

RUNS = {"correct_pred": "o_clean", "corrupt_pred": "o_corrupt"}
PROBABILITIES = {
    "correct_correct_word_prob": "p_clean_clean",
    "correct_corrupt_word_prob": "p_clean_corrupt",
    "corrupt_correct_word_prob": "p_corrupted_clean",
    "corrupt_corrupt_word_prob": "p_corrupted_corrupt",
}


def items(*paths: Path | str) -> Released:
    """Read 20-way items.

    Args:
        *paths: Lists, or folders of lists.

    Returns:
        One row per item of a list, with the columns sample, clip, case, list, label (the right letter), label_name,
        options (20 labels), media (a path, or the paths of the raw frames), and, None where a list lacks them:
        predicted_av, predicted_v, predicted_a, dominance (by these three), o_clean, o_corrupt, p_clean_clean,
        p_clean_corrupt, p_corrupted_clean, p_corrupted_corrupt. Predictions are letters.

    Raises:
        MissingData: There is no such file.
    """

    def rows(path: Path, values: Mapping[str, object]) -> list[dict]:
        clip, case = str(values["clip"]), case_of(path.stem)
        row = {"sample": sample_id(case, clip), "clip": clip, "case": case, "list": path.stem}
        row |= {"label": text(values, "label"), "label_name": text(values, "label_name")}
        row["options"], media = options_of(values), values["media"]
        row["media"] = tuple(map(str, media)) if isinstance(media, list) else media
        for name, column in {**PREDICTIONS, **RUNS}.items():
            row[column] = letter(values, name) if name in values else None
        said = [row[f"predicted_{name}"] for name in ("av", "a", "v")]
        row["dominance"] = None if None in said else dominant(*said)
        return [row | {c: probability(values, name) if name in values else None for name, c in PROBABILITIES.items()}]

    columns = ["sample", "clip", "case", "list", "label", "label_name", "options", "media"]
    columns += [*PREDICTIONS.values(), "dominance", *RUNS.values(), *PROBABILITIES.values()]
    files = find(paths, lambda path: path.suffix == ".json", "*.json")
    return gather(files, chats, key="choices", clip=lambda values: str(values["clip"]), convert=rows, columns=columns)


def manifest(*paths: Path | str, write: Path | str | None = None) -> pd.DataFrame:
    """List the dominated items with their predictions.

    Args:
        *paths: Lists of step 1, or folders of them. An item that is in several lists counts once.
        write: Where to write the manifest as a CSV.

    Returns:
        One row per item that one modality dominates, with the columns `avsink.papers.hubs.measure.COLUMNS`.

    Raises:
        TableError: Two lists contradict each other about an item.
        MissingData: There is no such file.
    """
    table = items(*paths).table.rename(columns={"label": "answer"})
    table = table[table["dominance"].isin(DOMINANT)]
    facts = table[[*COLUMNS, "options"]].drop_duplicates()
    if len(twice := facts[facts.duplicated("sample")]):
        lists = ", ".join(table.loc[table["sample"] == twice["sample"].iloc[0], "list"])
        raise TableError(f"the lists {lists} contradict each other about {twice['sample'].iloc[0]}; give one of them")
    found = facts[list(COLUMNS)].reset_index(drop=True)
    if write is not None:
        found.to_csv(expanded(write), index=False)
    return found


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
    for name, options in items(*paths).table[["list", "options"]].itertuples(index=False):
        if sets.setdefault(name, tuple(sorted(options))) != tuple(sorted(options)):
            raise TableError(f"the items of {name} have different labels; one set of {N_OPTIONS} is expected")
    if write is not None:
        expanded(write).write_text(json.dumps(sets, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return sets
