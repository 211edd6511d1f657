"""Results that the authors of Hubs released (github.com/kaistmm/crossmodal-hub), as tables for this project's code.

Clone that repository and give the clone, a folder in it, or single files:

1. `histories`: ``step1/<case>/av/history/k_divde_<N>/<clip>_history.json``. For each global sink and layer:
   v_score and a_score, the mean attention that it receives from later video and from later audio tokens, and
   mds = (v_score - a_score) / (v_score + a_score). After the last token of a modality, its score is 0. So mds is 1 or
   -1 where one modality no longer reads, and 0 after the last token of both. This is the rule `unread="zero"` of
   `avsink.instruments.sink_halves`;
2. `results`: ``step1/<case>/<condition>/<list>.json``. The probabilities of three letters in a run under one condition:
   the letters that the model predicts with both modalities (av), with the picture alone (v) and with the sound alone
   (a). Only the folder's name says which condition it is: av, v or a;
3. `effects`: ``step2/<case>/<token set>/<file>.json``. The probabilities of the clean and of the corrupted prediction
   in the clean, the corrupted and the restored run, and from them, as fractions,
   IE_clean = P(restored, clean) - P(corrupted, clean) and IE_corrupt = P(corrupted, corrupt) - P(restored, corrupt).

A released probability is the largest one that the letter has among all tokens that the model generated. This project's
is that of the first one (`avsink.instruments.tracing`).

The column `sample` is the same in all tables, in those of `avsink.papers.hubs.released_items`, and for the samples of
`avsink.datasets.hubs`: ``hubs/<case>/<clip>``. Predictions are letters; what the model wrote is in the column written.
What cannot be read becomes a problem that names file and row; the rest is kept. A second row of a clip in one file is
a problem, too, since the authors appended to these files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from avsink.datasets.files import tables
from avsink.datasets.files.chats import case_of, clip_of, letter, sample_id, text
from avsink.datasets.files.tables import TableError
from avsink.datasets.loaded import Problem
from avsink.datasets.twenty_way import TASK
from avsink.papers.hubs.released_files import Released, find, gather, json_lines, number, probability
from avsink.papers.hubs.released_names import CONDITIONS, HISTORY, of_effect, of_history

__all__ = ["effects", "histories", "results"]

SCORES = ("v_score", "a_score", "mds")
RUNS = {"correct": "clean", "corrupt": "corrupted", "restored": "restored"}  # the authors' name of a run -> ours
LETTERS = {"correct": "clean", "corrupt": "corrupt"}  # the authors' name of a prediction -> ours


def histories(*paths: Path | str) -> Released:
    """Read the scores of global sinks.

    Args:
        *paths: Folders or files of step 1.

    Returns:
        One row per (sample, token, layer), with the columns sample, clip, case, one_in (N: one token in so many is a
        global sink; 0 if unknown), token (its position in the prompt), rank (its place in the file: video before audio,
        each by the number of layers at which it is a sink, then by the first of these layers, then by position), layer
        (from 0), v_score, a_score, mds.

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
            if not content:
                raise TableError(f"{path.name} has no tokens")
        except TableError as error:
            problems.append(Problem(id=path.name, reason=str(error), where=str(path)))
            continue
        facts, seen = of_history(path), set()
        facts = {"sample": sample_id(facts["case"], facts["clip"])} | facts
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
    table = pd.DataFrame(tokens, columns=["sample", "clip", "case", "one_in", "token", "rank"])
    table = table.astype(dict.fromkeys(("sample", "clip", "case"), "category") | dict.fromkeys(table.columns[3:], int))
    table = table.loc[np.repeat(np.arange(len(table)), lengths)].reset_index(drop=True)
    table["layer"] = np.concatenate([np.arange(n) for n in lengths] or [np.empty(0, int)])
    table[list(SCORES)] = np.concatenate(scores or [np.empty((3, 0))], axis=1).T
    return Released(table=table, problems=tuple(problems), files=files)


def results(*paths: Path | str) -> Released:
    """Read the probabilities of the predictions under each condition.

    Args:
        *paths: Folders or files of step 1.

    Returns:
        One row per (sample, condition, letter), with the columns sample, clip, case, file, condition (av, v or a: what
        the run was given), predicted (its letter; None if it wrote something else), written (all that it wrote), label
        (the true letter), label_name, prediction_of (av, v or a: the condition under which `letter` is the prediction),
        letter, probability (of `letter` in this run).

    Raises:
        MissingData: There is no such file.
    """

    def rows(path: Path, values: Mapping[str, object]) -> list[dict]:
        if path.parent.name not in CONDITIONS:
            raise ValueError(f"its folder is {path.parent.name!r}; a condition is expected: {', '.join(CONDITIONS)}")
        clip, case = clip_of(values.get("video")), case_of(path.parent.parent.name)
        shared = {"sample": sample_id(case, clip), "clip": clip, "case": case, "file": path.name}
        shared |= {"condition": path.parent.name, "predicted": letter(values, "text_output", free=True)}
        shared |= {name: text(values, name) for name in ("label", "label_name")}
        shared["written"] = text(values, "text_output", empty=True)
        letters = [(of, letter(values, of), probability(values, f"{of}_prob")) for of in CONDITIONS]
        return [shared | {"prediction_of": of, "letter": own, "probability": p} for of, own, p in letters]

    columns = ["sample", "clip", "case", "file", "condition", "predicted", "written", "label", "label_name"]
    files = find(paths, partial(_is_result, step="step1"), "*.json")
    return gather(
        files,
        json_lines,
        key="av_prob",
        clip=_clip,
        convert=rows,
        columns=[*columns, "prediction_of", "letter", "probability"],
    )


def effects(*paths: Path | str) -> Released:
    """Read the effects of restoring sets of tokens, as `avsink.papers.hubs.reported` takes them.

    Args:
        *paths: Folders or files of step 2.

    Returns:
        One row per (sample, token set), with the columns sample, clip, case, file, task, category, dominance (of the
        case; None if that is unknown), token_set and one_in (`released_names.of_effect`), draw (0), label, label_name,
        o_clean, o_corrupt, o_restored (what each run predicts; the last is None if it wrote no letter), written (all
        that the restored run wrote), p_<run>_clean and p_<run>_corrupt (probability of o_clean and of o_corrupt in the
        clean, corrupted and restored run), ie_clean, ie_corrupt (fractions), patched (restored tokens times layers;
        NaN if it was not released), tokens (restored tokens; NaN if that cannot be known, with a sentence in
        `lacking`).

    Raises:
        MissingData: There is no such file.
    """
    lacking: dict[str, None] = {}

    def rows(path: Path, values: Mapping[str, object]) -> list[dict]:
        facts, clip = of_effect(path), clip_of(values.get("video"))
        n_layers, case = facts.pop("n_layers"), facts["case"]
        row = {"sample": sample_id(case, clip), "clip": clip, "file": path.name, **facts}
        row |= {"task": f"{TASK}: {case}", "category": case, "draw": 0}
        row |= {name: text(values, name) for name in ("label", "label_name")}
        row |= {"o_clean": letter(values, "correct_pred"), "o_corrupt": letter(values, "corrupt_pred")}
        row["o_restored"] = letter(values, "restored_pred", free=True)
        row["written"] = text(values, "restored_pred", empty=True)
        for name, run in RUNS.items():
            row |= {f"p_{run}_{of}": probability(values, f"{name}_{own}_word_prob") for own, of in LETTERS.items()}
        row["ie_clean"] = row["p_restored_clean"] - row["p_corrupted_clean"]
        row["ie_corrupt"] = row["p_corrupted_corrupt"] - row["p_restored_corrupt"]
        row["patched"] = _patched(values)
        row["tokens"], unknown = _tokens(row["patched"], n_layers)
        place = f"{path.parent.parent.name}/{path.parent.name}/{path.name}"
        lacking.update({f"{place}: {reason}": None for reason in unknown})
        if row["dominance"] is None:
            lacking[f"{place}: which modality dominates its samples is unknown"] = None
        return [row]

    columns = ["sample", "clip", "case", "file", "task", "category", "dominance", "token_set", "one_in", "draw"]
    columns += ["label", "label_name", "o_clean", "o_corrupt", "o_restored", "written"]
    columns += [f"p_{run}_{of}" for run in RUNS.values() for of in LETTERS.values()]
    columns += ["ie_clean", "ie_corrupt", "patched", "tokens"]
    files = find(paths, partial(_is_result, step="step2"), "*.json")
    found = gather(files, json_lines, key="restored_correct_word_prob", clip=_clip, convert=rows, columns=columns)
    return replace(found, lacking=tuple(lacking))


def _is_result(path: Path, *, step: str) -> bool:
    """Whether a file below a folder may be one of results of this step, if that folder is the whole repository."""
    others = {"json_files", "history", "step1", "step2"} - {step}
    return not HISTORY.fullmatch(path.name) and not others & set(path.parts)


def _clip(values: Mapping[str, object]) -> str:
    return clip_of(values.get("video"))


def _patched(values: Mapping[str, object]) -> float:
    """How many states were restored, NaN if that was not released. Raises ValueError if it is no number of states."""
    patched = values.get("layerlist_len")
    if patched is None:
        return float("nan")
    if not isinstance(patched, int) or isinstance(patched, bool) or not 0 <= patched < 2**31:
        raise ValueError(f"its layerlist_len is {patched!r}; a whole number is expected")
    return float(patched)


def _tokens(patched: float, n_layers: int | None) -> tuple[float, list[str]]:
    """How many tokens were restored, and why that is unknown if it is."""
    if np.isnan(patched):
        return patched, ["how many tokens were restored is unknown: there is no layerlist_len"]
    if not n_layers:
        return float("nan"), ["how many tokens were restored is unknown: the file's name does not say at which layers"]
    if patched % n_layers:
        return float("nan"), [f"how many tokens were restored is unknown: {patched:.0f} states at {n_layers} layers"]
    return patched / n_layers, []


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
