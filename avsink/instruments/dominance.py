"""Which modality decides an answer (Hubs section 3.1): unimodal dominance.

1. Three passes: with both modalities (av), with zeroed frames (a), with a zeroed waveform (v). Zeroed *before* the
   processor, so that all prompts have the same tokens;
2. audio-dominant: ŷ_av = ŷ_a ≠ ŷ_v. Video-dominant: ŷ_av = ŷ_v ≠ ŷ_a. Else both, if all three agree, or neither;
3. that is dominance, not correctness: a wrong answer can be dominated as well.

Only in a dominated sample is it known where information came from, so only these are traced.
"""

from __future__ import annotations

import pandas as pd

from avsink.engine.run import clean_run
from avsink.sample import Unmeasured

__all__ = ["KINDS", "MUTED", "by_level", "dominant", "shares", "classify"]

KINDS = ("audio", "video", "both", "neither")

MUTED = {"av": (), "a": ("video",), "v": ("audio",)}  # pass -> what it loses
DOMINATED = {"audio": "video", "video": "audio"}  # dominant modality -> the other one


def dominant(av: str, a: str, v: str) -> str:
    """`audio`, `video`, `both` or `neither`, by the predictions of the three passes."""
    if av == a == v:
        return "both"
    if av == a:
        return "audio"
    return "video" if av == v else "neither"


def classify(model, sample) -> pd.DataFrame:
    """One row: sample, task, category, answer, predicted_av / _a / _v, p_av / _a / _v (of each pass's own prediction),
    correct_av / _a / _v, dominance, and fog and noise where the sample's truth has them.

    Raises `Unmeasured` for a sample without options, or without both modalities.
    """
    if not sample.options:
        raise Unmeasured(sample.id, "has no options")
    row = {"sample": sample.id, "task": sample.task, "category": sample.category, "answer": sample.answer}
    for name, mute in MUTED.items():
        inputs = model.prepare(sample, mute=mute)
        if not (len(inputs.layout.video) and len(inputs.layout.audio)):
            raise Unmeasured(sample.id, "lacks one of the modalities")
        run = clean_run(model, inputs)
        row[f"predicted_{name}"] = run.predicted
        row[f"p_{name}"] = run.letter_probabilities[run.predicted]
        row[f"correct_{name}"] = float(run.predicted == sample.answer)
    row["dominance"] = dominant(row["predicted_av"], row["predicted_a"], row["predicted_v"])
    row |= {name: float(sample.truth.get(name, float("nan"))) for name in ("fog", "noise")}
    return pd.DataFrame([row])


def shares(rows: pd.DataFrame) -> pd.DataFrame:
    """How often each kind of dominance occurs, as rows to average: sample, category, dominance, share (0 or 1)."""
    if rows.empty:
        raise ValueError("no sample was measured; the run's list of left-out samples says why")
    kinds = [rows.assign(dominance=kind, share=(rows["dominance"] == kind).astype(float)) for kind in KINDS]
    return pd.concat(kinds, ignore_index=True)[["sample", "category", "dominance", "share"]]


def by_level(rows: pd.DataFrame, *, bins: int = 4) -> pd.DataFrame:
    """Accuracy and confidence of the three passes where picture or sound is degraded more and more, as rows to average.

    Columns: sample, series (the pass), category ("accuracy, fog", ...), level (the mean of its bin), value. Empty
    where nothing is known of degradation.
    """
    names = {"av": "both", "a": "sound alone", "v": "picture alone"}
    tables = []
    for measure, column in (("accuracy", "correct"), ("confidence", "p")):
        for degradation in ("fog", "noise"):
            known = rows[rows[degradation].notna() & (rows[degradation] > 0)]
            part = (known[degradation] * bins).clip(upper=bins - 1e-9) // 1
            level = known[degradation].groupby(part).transform("mean").round(3)
            for key, name in names.items():
                facts = {"series": name, "category": f"{measure}, {degradation}", "level": level}
                tables.append(known[["sample"]].assign(**facts, value=known[f"{column}_{key}"]))
    return pd.concat(tables, ignore_index=True)
