"""Which modality decides an answer (Hubs): unimodal dominance.

1. Three passes: with both modalities (av), with zeroed frames (a), with a zeroed waveform (v). Media are zeroed
   *before* the processor, so that all three prompts have the same tokens;
2. audio-dominant: ŷ_av = ŷ_a ≠ ŷ_v. Video-dominant: ŷ_av = ŷ_v ≠ ŷ_a. Otherwise `both`, if all three agree, or
   `neither`;
3. dominance is not correctness: a wrong answer can be dominated by a modality, too.

Only dominated samples are traced, since only of these it is known which modality the information came from.
"""

from __future__ import annotations

import pandas as pd

from avsink.engine.run import clean_run
from avsink.sample import Unmeasured

__all__ = ["DOMINATED", "KINDS", "MUTED", "by_level", "classify", "degraded", "dominant", "shares"]

KINDS = ("audio", "video", "both", "neither")
MUTED = {"av": (), "a": ("video",), "v": ("audio",)}  # pass -> modalities that are zeroed in it
DOMINATED = {"audio": "video", "video": "audio"}  # dominant modality -> the other one


def dominant(av: str, a: str, v: str) -> str:
    """The kind of dominance, by the predictions of the three passes (step 2)."""
    if av == a == v:
        return "both"
    if av == a:
        return "audio"
    return "video" if av == v else "neither"


def classify(model, sample) -> pd.DataFrame:
    """Run the three passes of one sample.

    Returns:
        One row, with the columns sample, task, category, answer; for each pass in av, a, v: predicted_av, p_av
        (probability of the pass's own prediction) and correct_av (0 or 1); dominance; fog and noise (strength of the
        degradation, from the sample's `truth`, else NaN).

    Raises:
        Unmeasured: The sample has no options, or lacks one of the modalities.
    """
    if not sample.options:
        raise Unmeasured(sample.id, "has no options")
    row = {"sample": sample.id, "task": sample.task, "category": sample.category, "answer": sample.answer}
    for name, inputs in zip(MUTED, model.prepare_muted(sample, list(MUTED.values())), strict=True):
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
    """Turn rows of `classify` into rows to average: sample, category, dominance (each of `KINDS`), share (0 or 1)."""
    if rows.empty:
        return pd.DataFrame(columns=["sample", "category", "dominance", "share"])
    kinds = [rows.assign(dominance=kind, share=(rows["dominance"] == kind).astype(float)) for kind in KINDS]
    return pd.concat(kinds, ignore_index=True)[["sample", "category", "dominance", "share"]]


def degraded(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows of `classify` of clips that are known to have both fog and noise."""
    return rows if rows.empty else rows[(rows["fog"] > 0) & (rows["noise"] > 0)]


def by_level(rows: pd.DataFrame, *, bins: int = 4) -> pd.DataFrame:
    """Turn rows of `classify` into rows to average by how strongly picture or sound is degraded.

    Returns:
        Rows with the columns sample, series (the pass), category ("accuracy, fog", …), level (mean strength in the
        sample's bin, of `bins`) and value. Empty if no sample's degradation is known.
    """
    if rows.empty:
        return pd.DataFrame(columns=["sample", "series", "category", "level", "value"])
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
