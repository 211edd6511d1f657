"""Results that the authors of Hubs released (github.com/kaistmm/crossmodal-hub), as tables for this project's code.

Clone that repository and give its ``exp`` folder, a folder in it, or single files:

1. `histories`: ``step1/<case>/av/history/k_divde_<N>/<clip>_history.json``. For each global sink token its v_score,
   a_score and mds at each layer: the mean attention that it receives from later video and from later audio tokens, and
   (v - a) / (v + a). Where no later token of a modality is left, its score is 0 there, and mds so 1 or -1; this project
   says NaN (`avsink.instruments.sinks`).
2. `results`: ``step1/<case>/<condition>/<file>.json``. The probabilities of three letters, which the model predicts
   with both modalities (av), with sight only (v) and with sound only (a), in a run under one condition. Which one, only
   the name of the folder says: av, v or a.
3. `effects`: ``step2/<case>/<token set>/<file>.json``. The probabilities of the clean and of the corrupted prediction
   in the clean, the corrupted and the restored run, and from them
   IE_clean = P(restored, clean) - P(corrupted, clean) and IE_corrupt = P(corrupted, corrupt) - P(restored, corrupt), as
   fractions.

Whatever cannot be read is a problem, by file and row, and the rest stays. A second row of one sample in one file is a
problem, too: the files were appended to. Item lists are read by `avsink.papers.hubs.released_items`.
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
ONE_IN = re.compile(r"k_div[a-z]*_(?P<one_in>\d{1,3})$")  # written k_divde in one place and k_divide in another
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
"""Their name of a token set -> this project's (`avsink.instruments.tracing.token_sets`)."""

RUNS = {"correct": "clean", "corrupt": "corrupted", "restored": "restored"}  # their name of a run -> ours
LETTERS = {"correct": "clean", "corrupt": "corrupt"}  # whose prediction


def histories(*paths: Path | str) -> Released:
    """One row a (sample, token, layer). paths: folders or files.

    Columns: sample (the clip), case, one_in (N: one token in so many is a global sink; 0: unknown), token (its position
    in the prompt), rank (its place in the file: video before audio, each by the layers in which it is a sink), layer
    (from 0), v_score, a_score, mds.
    """
    tokens, scores, problems = [], [], []
    files = find(paths, lambda path: HISTORY.fullmatch(path.name) is not None, "<clip>_history.json")
    for path in files:
        try:
            content = tables.read_json(path)
            if not isinstance(content, dict):
                raise TableError(f"{path.name} is no object of tokens")
        except TableError as error:
            problems.append(Problem(id=path.name, reason=str(error), where=str(path)))
            continue
        facts, seen = _history_of(path), set()
        for rank, (token, lists) in enumerate(tables.pairs(content)):
            try:
                if token in seen:
                    raise ValueError("this token is there a second time")
                seen.add(token)
                scores.append(_layers(token, lists))  # [3, layers]
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
    """One row a (sample, condition, letter). paths: folders or files of step 1.

    Columns: sample (the clip), case, file, condition (av, v, a: what the run was given), predicted (what it wrote),
    label (the true letter), label_name, prediction_of (av, v, a: whose letter is asked about), letter, probability.
    """

    def rows(path: Path, values: Mapping[str, object]) -> list[dict]:
        if path.parent.name not in CONDITIONS:
            raise ValueError(f"its folder is {path.parent.name!r}; the condition is expected: {', '.join(CONDITIONS)}")
        shared = {"sample": clip_of(values.get("video")), "case": path.parent.parent.name, "file": path.name}
        shared |= {"condition": path.parent.name, "predicted": text(values, "text_output", empty=True)}
        shared |= {"label": text(values, "label"), "label_name": text(values, "label_name")}
        asked = [(of, text(values, of), probability(values, f"{of}_prob")) for of in CONDITIONS]
        return [shared | {"prediction_of": of, "letter": letter, "probability": p} for of, letter, p in asked]

    columns = ["sample", "case", "file", "condition", "predicted", "label", "label_name"]
    columns += ["prediction_of", "letter", "probability"]
    return _lines(paths, "av_prob", rows, columns)


def effects(*paths: Path | str) -> Released:
    """One row a (sample, token set). paths: folders or files of step 2.

    Columns: sample (the clip), case, file, token_set and one_in as in `avsink.instruments.tracing` (0: it has none), label,
    label_name, o_clean, o_corrupt, o_restored (what each run predicts), p_<run>_<clean or corrupt>, ie_clean,
    ie_corrupt, and patched (tokens times layers).
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
    """`gather` of files of one object a line."""
    files = find(paths, lambda path: not HISTORY.fullmatch(path.name), "*.json")
    return gather(
        files, json_lines, key=key, clip=lambda values: clip_of(values.get("video")), convert=convert, columns=columns
    )


def _history_of(path: Path) -> dict[str, object]:
    """What the path of a history says: ``<case>/av/history/k_divde_<N>/<clip>_history.json``."""
    match = HISTORY.fullmatch(path.name)
    found, above = ONE_IN.search(path.parent.name), path.parent.parent
    case = above.parent.parent.name if above.name == "history" else ""
    return {
        "sample": match["clip"] if match else path.stem,
        "case": case,
        "one_in": int(found["one_in"]) if found else 0,
    }


def _layers(token: str, lists: object) -> np.ndarray:
    """The three scores of one token, [3, layers]. Raises ValueError."""
    if not re.fullmatch(r"\d{1,9}", token, re.ASCII):
        raise ValueError(f"{token!r} is no position of a token")
    own = [lists.get(name) if isinstance(lists, dict) else None for name in SCORES]
    if not all(isinstance(one, list) and one and all(map(number, one)) for one in own):
        raise ValueError(f"its {', '.join(SCORES)} are no lists of numbers")
    if len({len(one) for one in own}) != 1:
        raise ValueError(f"its {', '.join(SCORES)} are of {', '.join(str(len(one)) for one in own)} layers")
    return np.array(own, dtype=float)


def _token_set(folder: str) -> dict[str, object]:
    found = ONE_IN.search(folder)
    name = folder[: found.start()] if found else folder
    if name not in TOKEN_SETS:
        raise ValueError(f"its folder is {folder!r}; a token set is expected: {', '.join(TOKEN_SETS)}")
    return {"token_set": TOKEN_SETS[name], "one_in": int(found["one_in"]) if found else 0}
