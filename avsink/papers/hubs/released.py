"""Results that the authors of Hubs released (github.com/kaistmm/crossmodal-hub), as tables for this project's code.

Clone that repository and give its ``exp`` folder, a folder in it, or single files:

1. `histories`: ``step1/<case>/av/history/k_divde_<N>/<clip>_history.json``. For each global sink and layer:
   v_score and a_score, the mean attention that it receives from later video and from later audio tokens, and
   mds = (v_score - a_score) / (v_score + a_score). After the last token of a modality, the authors' score of that
   modality is 0, and mds therefore 1 or -1; this project has NaN there (`avsink.instruments.sinks`).
2. `results`: ``step1/<case>/<condition>/<file>.json``. The probabilities of three letters in a run under one condition:
   the letters that the model predicts with both modalities (av), with the picture alone (v) and with the sound alone
   (a). Only the folder's name says which condition it is: av, v or a.
3. `effects`: ``step2/<case>/<token set>/<file>.json``. The probabilities of the clean and of the corrupted prediction
   in the clean, the corrupted and the restored run, and from them, as fractions,
   IE_clean = P(restored, clean) - P(corrupted, clean) and IE_corrupt = P(corrupted, corrupt) - P(restored, corrupt).

What cannot be read becomes a problem that names file and row; the rest is kept. A second row of a sample in one file is
a problem, too, since the authors appended to these files. `avsink.papers.hubs.released_items` reads the item lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from avsink.datasets.files import tables
from avsink.datasets.files.tables import TableError
from avsink.datasets.loaded import Problem
from avsink.papers.hubs.released_files import Released, clip_of, find, gather, json_lines, number, probability, text

__all__ = ["CONDITIONS", "TOKEN_SETS", "effects", "histories", "results"]

HISTORY = re.compile(r"(?P<clip>.+)_history\.json")
ONE_IN = re.compile(r"k_div[a-z]*_(?P<one_in>\d{1,3})$")  # spelled k_divde or k_divide
SCORES = ("v_score", "a_score", "mds")
CONDITIONS = ("av", "v", "a")
TOKEN_SETS = {
    "all": "All",
    "object": "Object",
    "sink": "Sink",
    "random_sink_num": "Random",
    "uni_modal_sink": "Unimodal",
    "cross_modal_sink": "Cross-modal",
}
"""The authors' name of a token set -> this project's (`avsink.instruments.tracing.token_sets`)."""

RUNS = {"correct": "clean", "corrupt": "corrupted", "restored": "restored"}  # the authors' name of a run -> ours
LETTERS = {"correct": "clean", "corrupt": "corrupt"}  # the authors' name of a prediction -> ours


def histories(*paths: Path | str) -> Released:
    """Read the scores of global sinks.

    Args:
        *paths: Folders or files of step 1.

    Returns:
        One row per (sample, token, layer), with the columns sample (the clip), case, one_in (N: one token in so many is
        a global sink; 0 if unknown), token (its position in the prompt), rank (its place in the file: video before
        audio, each by the number of layers at which it is a sink), layer (from 0), v_score, a_score, mds.

    Raises:
        MissingData: There is no such file.
    """
    tokens, scores, problems = [], [], []
    files = find(paths, lambda path: HISTORY.fullmatch(path.name) is not None, "<clip>_history.json")
    for path in files:
        try:
            content = tables.read_json(path)
            if not isinstance(content, dict):
                raise TableError(f"{path.name} is not a JSON object of tokens")
        except TableError as error:
            problems.append(Problem(id=path.name, reason=str(error), where=str(path)))
            continue
        facts, seen = _history_of(path), set()
        for rank, (token, lists) in enumerate(tables.pairs(content)):
            try:
                if token in seen:
                    raise ValueError("the file has this token twice")
                if key := tables.repeated(lists):
                    raise ValueError(f"it has the key {key!r} twice")
                seen.add(token)
                scores.append(_layers(token, lists))  # (3, layers)
                tokens.append(facts | {"token": int(token), "rank": rank})
            except ValueError as error:
                where = f"{path.name}, token {token}"
                problems.append(Problem(id=f"{facts['sample']}/{token}", reason=str(error), where=where))
    lengths = [one.shape[1] for one in scores]
    table = pd.DataFrame(tokens, columns=["sample", "case", "one_in", "token", "rank"])
    table = table.astype({"sample": "category", "case": "category", "one_in": int, "token": int, "rank": int})
    table = table.loc[np.repeat(np.arange(len(table)), lengths)].reset_index(drop=True)
    table["layer"] = np.concatenate([np.arange(n) for n in lengths] or [np.empty(0, int)])
    table[list(SCORES)] = np.concatenate(scores or [np.empty((3, 0))], axis=1).T
    return Released(table=table, problems=tuple(problems), files=files)


def results(*paths: Path | str) -> Released:
    """Read the probabilities of the predictions under each condition.

    Args:
        *paths: Folders or files of step 1.

    Returns:
        One row per (sample, condition, letter), with the columns sample (the clip), case, file, condition (av, v or a:
        what the run was given), predicted (the text it wrote), label (the true letter), label_name, prediction_of (av,
        v or a: the condition under which `letter` is the prediction), letter, probability (of `letter` in this run).

    Raises:
        MissingData: There is no such file.
    """

    def rows(path: Path, values: Mapping[str, object]) -> list[dict]:
        if path.parent.name not in CONDITIONS:
            raise ValueError(f"its folder is {path.parent.name!r}; a condition is expected: {', '.join(CONDITIONS)}")
        shared = {"sample": clip_of(values.get("video")), "case": path.parent.parent.name, "file": path.name}
        shared |= {"condition": path.parent.name, "predicted": text(values, "text_output", empty=True)}
        shared |= {"label": text(values, "label"), "label_name": text(values, "label_name")}
        letters = [(of, text(values, of), probability(values, f"{of}_prob")) for of in CONDITIONS]
        return [shared | {"prediction_of": of, "letter": letter, "probability": p} for of, letter, p in letters]

    columns = ["sample", "case", "file", "condition", "predicted", "label", "label_name"]
    columns += ["prediction_of", "letter", "probability"]
    return _lines(paths, "av_prob", rows, columns)


def effects(*paths: Path | str) -> Released:
    """Read the effects of restoring sets of tokens.

    Args:
        *paths: Folders or files of step 2.

    Returns:
        One row per (sample, token set), with the columns sample (the clip), case, file, token_set and one_in (as in
        `avsink.instruments.tracing`; 0 for sets without N), label, label_name, o_clean, o_corrupt, o_restored (what
        each run predicts), p_<run>_clean and p_<run>_corrupt (probability of o_clean and of o_corrupt in the clean,
        corrupted and restored run), ie_clean, ie_corrupt (fractions), patched (restored tokens times layers).

    Raises:
        MissingData: There is no such file.
    """

    def rows(path: Path, values: Mapping[str, object]) -> list[dict]:
        row = {"sample": clip_of(values.get("video")), "case": path.parent.parent.name, "file": path.name}
        row |= _token_set(path.parent.name)
        row |= {"label": text(values, "label"), "label_name": text(values, "label_name")}
        row |= {"o_clean": text(values, "correct_pred"), "o_corrupt": text(values, "corrupt_pred")}
        row["o_restored"] = text(values, "restored_pred", empty=True)
        for name, run in RUNS.items():
            row |= {f"p_{run}_{of}": probability(values, f"{name}_{own}_word_prob") for own, of in LETTERS.items()}
        row["ie_clean"] = row["p_restored_clean"] - row["p_corrupted_clean"]
        row["ie_corrupt"] = row["p_corrupted_corrupt"] - row["p_restored_corrupt"]
        row["patched"] = patched = values.get("layerlist_len")
        if not isinstance(patched, int) or isinstance(patched, bool) or not 0 <= patched < 2**31:
            raise ValueError(f"its layerlist_len is {patched!r}; a whole number is expected")
        return [row]

    columns = ["sample", "case", "file", "token_set", "one_in", "label", "label_name"]
    columns += ["o_clean", "o_corrupt", "o_restored"]
    columns += [f"p_{run}_{of}" for run in RUNS.values() for of in LETTERS.values()]
    return _lines(paths, "restored_correct_word_prob", rows, [*columns, "ie_clean", "ie_corrupt", "patched"])


def _lines(paths: Iterable[Path | str], key: str, convert, columns: list[str]) -> Released:
    """Apply `gather` to files with one JSON object a line."""
    files = find(paths, lambda path: not HISTORY.fullmatch(path.name), "*.json")
    return gather(
        files, json_lines, key=key, clip=lambda values: clip_of(values.get("video")), convert=convert, columns=columns
    )


def _history_of(path: Path) -> dict[str, object]:
    """The facts in the path of a history: ``<case>/av/history/k_divde_<N>/<clip>_history.json``."""
    match = HISTORY.fullmatch(path.name)
    found, above = ONE_IN.search(path.parent.name), path.parent.parent
    case = above.parent.parent.name if above.name == "history" else ""
    return {
        "sample": match["clip"] if match else path.stem,
        "case": case,
        "one_in": int(found["one_in"]) if found else 0,
    }


def _layers(token: str, lists: object) -> np.ndarray:
    """The three scores of one token, (3, layers). Raises ValueError."""
    if not re.fullmatch(r"\d{1,9}", token, re.ASCII):
        raise ValueError(f"{token!r} is not the position of a token")
    own = [lists.get(name) if isinstance(lists, dict) else None for name in SCORES]
    if not all(isinstance(one, list) and one and all(map(number, one)) for one in own):
        raise ValueError(f"its {', '.join(SCORES)} are not lists of numbers")
    if len({len(one) for one in own}) != 1:
        raise ValueError(f"its {', '.join(SCORES)} have different lengths: {', '.join(str(len(one)) for one in own)}")
    return np.array(own, dtype=float)


def _token_set(folder: str) -> dict[str, object]:
    """The facts in the name of a folder of step 2: token_set, one_in. Raises ValueError."""
    found = ONE_IN.search(folder)
    name = folder[: found.start()] if found else folder
    if name not in TOKEN_SETS:
        raise ValueError(f"its folder is {folder!r}; a token set is expected: {', '.join(TOKEN_SETS)}")
    return {"token_set": TOKEN_SETS[name], "one_in": int(found["one_in"]) if found else 0}
