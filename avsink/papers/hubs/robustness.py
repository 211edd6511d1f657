"""How far the halves of the sinks, and their effects, depend on the choices in Hubs' definition (table 2).

    done = measure_dominated(halves, model, chosen)
    table(done.rows);  readable(table(done.rows))

1. `VARIANTS` names the choices of `avsink.instruments.sink_halves`: the default, and each other choice by itself;
2. `compare` splits the global sinks of one modality under every variant, and counts what moved: of the tokens in a half
   by the default, the fraction that is not in the same half under the variant;
3. `halves` does so for both modalities of one sample, and restores the halves of the modality that does not dominate,
   all in one replay;
4. `table` averages over samples, with the paired difference between the effects of the two halves.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pandas as pd
import torch
from torch import Tensor

from avsink.instruments import tracing
from avsink.instruments.dominance import DOMINATED
from avsink.instruments.sink_halves import Sinks, Split, global_sinks, split
from avsink.instruments.sinks import ONE_IN
from avsink.results.bootstrap import summarise

__all__ = ["DEFAULT", "VARIANTS", "compare", "halves", "readable", "table"]

DEFAULT = "as table 2"
VARIANTS: dict[str, dict[str, str]] = {
    DEFAULT: {},
    "unread tokens: neither": {"unread": "neither"},
    "by the sign of the MDS": {"by": "sign"},
    "ties as the authors'": {"ties": "authors"},
}
"""Name of a variant -> its choices that differ from the default (`avsink.instruments.sink_halves`)."""
HALVES = ("unimodal", "crossmodal")
EFFECTS = ("ie_clean", "ie_corrupt")
KEYS = ("variant", "modality", "one_in")
SIZES = ("sinks", *HALVES, "neither")
NBSP = "\N{NO-BREAK SPACE}"


def compare(sinks: Sinks, among: Tensor, *, modality: str, one_in: int) -> tuple[pd.DataFrame, dict[str, Split]]:
    """Split the global sinks of one modality of one prompt under every variant.

    Args:
        sinks: The sinks of the prompt.
        among: The positions of the modality.
        modality: `video` or `audio`.
        one_in: The value of N.

    Returns:
        One row per variant, with the columns variant, modality, one_in, sinks (number of global sinks), unimodal,
        crossmodal, neither (numbers of tokens), moved (of the tokens in a half by the default, the fraction that is not
        in the same half; NaN if there are none); and variant -> its halves.
    """
    found, rows = {}, []
    for name, choices in VARIANTS.items():
        ties, splitting = choices.get("ties", "phi"), {key: choices[key] for key in choices if key != "ties"}
        own = global_sinks(sinks, one_in=one_in, among=among, ties=ties)
        found[name] = split(own, sinks, modality=modality, **splitting)
        sizes = {kind: len(getattr(found[name], kind)) for kind in (*HALVES, "neither")}
        facts = {"variant": name, "modality": modality, "one_in": one_in, "sinks": len(own)}
        rows.append({**facts, **sizes, "moved": _moved(found[DEFAULT], found[name])})
    return pd.DataFrame(rows), found


def halves(model, sample, *, dominance: str | None = None, one_in: Sequence[int] = ONE_IN) -> pd.DataFrame:
    """Split the global sinks of one sample under every variant, and measure the effects of the halves.

    Args:
        model: A loaded model whose card has sink dimensions and a threshold.
        sample: The sample.
        dominance: The dominant modality, `audio` or `video`; None to find it, which takes a third run.
        one_in: The values of N.

    Returns:
        One row per (variant, modality, N), with the columns sample, task, category, dominance, o_clean, o_corrupt,
        those of `compare`, and for each effect v in ie_clean and ie_corrupt: v_unimodal and v_crossmodal, the effect of
        restoring that half (`tracing.effects`); NaN for the modality that dominates, which is not restored.

    Raises:
        Unmeasured: No modality dominates the sample, or the corrupted run has the same prediction as the clean one.
        SampleError: The sample cannot be used.
        ValueError: The model's sinks are not calibrated.
    """
    traced = tracing.corrupt(model, sample, dominance=dominance, between=False)
    tables, sets = [], {}
    for modality, n in product(("video", "audio"), one_in):
        among = getattr(traced.clean.inputs.layout, modality)
        rows, found = compare(traced.sinks, among, modality=modality, one_in=n)
        tables.append(rows)
        if modality == DOMINATED[traced.dominance]:
            sets |= {(name, modality, n, half): getattr(own, half) for name, own in found.items() for half in HALVES}
    distinct = {tuple(positions.tolist()): positions for positions in sets.values()}  # variants share most halves
    measured = tracing.effects(traced, list(distinct.values())).to_dict("records")
    by_tokens = dict(zip(distinct, measured, strict=True))
    effect = {key: by_tokens[tuple(positions.tolist())] for key, positions in sets.items()}
    rows = pd.concat(tables, ignore_index=True)
    for value, half in product(EFFECTS, HALVES):
        keys = [(*key, half) for key in rows[list(KEYS)].itertuples(index=False, name=None)]
        rows[f"{value}_{half}"] = [effect.get(key, {}).get(value, float("nan")) for key in keys]
    return tracing.of_sample(rows, sample, traced)


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Average over samples.

    Args:
        rows: Rows of `halves` over many samples, or of `compare` with a column sample; may be empty.

    Returns:
        One row per (variant, modality, N), with the columns variant, modality, one_in, sinks, unimodal, crossmodal,
        neither (mean numbers of tokens), samples, moved (mean fraction); and if the rows have effects, for each effect
        v in ie_clean and ie_corrupt: v_unimodal, v_crossmodal (means), v_more (mean of the paired difference,
        cross-modal minus unimodal), v_more_low, v_more_high (95 % interval), all as fractions, and n (samples in which
        the modality was restored).
    """
    if rows.empty:
        return pd.DataFrame(columns=[*KEYS, *SIZES, "samples", "moved"])
    grouped = rows.groupby(list(KEYS), sort=False)
    found = grouped[list(SIZES)].mean().assign(samples=grouped["sample"].nunique(), moved=grouped["moved"].mean())
    for value in EFFECTS if "ie_clean_unimodal" in rows else ():
        for half in HALVES:
            found[f"{value}_{half}"] = grouped[f"{value}_{half}"].mean()
        more = rows.assign(more=rows[f"{value}_crossmodal"] - rows[f"{value}_unimodal"]).dropna(subset=["more"])
        means = summarise(more, by=KEYS, value="more").set_index(list(KEYS))
        for column, name in (("mean", "more"), ("low", "more_low"), ("high", "more_high")):
            found[f"{value}_{name}"] = means[column]
    if "ie_clean_unimodal" in rows:
        found["n"] = means["n"]
    return found.reset_index()


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Format `table` for a page, in points. Values of N with the same numbers share a row."""
    numbers = [column for column in table if column != "one_in"]
    same = table.fillna(-1.0).groupby(numbers, sort=False)["one_in"].agg(lambda ns: ", ".join(map(str, ns)))
    shown = table.drop_duplicates(numbers).reset_index(drop=True)
    halves = zip(shown["unimodal"], shown["crossmodal"], shown["neither"], strict=True)
    page = {
        "split": shown["variant"].str.replace(" ", NBSP),
        "sinks of": shown["modality"],
        "N": same.to_numpy(),
        "unimodal + cross-modal + neither": [" + ".join(f"{count:.1f}" for count in counts) for counts in halves],
        "moved": ["" if pd.isna(moved) else f"{moved:.1%}" for moved in shown["moved"]],
    }
    for value, name in zip(EFFECTS, ("IE_clean", "IE_corrupt"), strict=True):
        if f"{value}_more" not in shown:
            continue
        both = zip(shown[f"{value}_unimodal"], shown[f"{value}_crossmodal"], strict=True)
        page[f"{name}, unimodal / cross-modal"] = [f"{_points(uni)} / {_points(cross)}" for uni, cross in both]
        more = shown[[f"{value}_more", f"{value}_more_low", f"{value}_more_high"]].itertuples(index=False)
        page[f"{name}, cross-modal − unimodal [95 %]"] = [
            f"{_points(mean)} [{_points(low)}, {_points(high)}]".replace(" ", NBSP) for mean, low, high in more
        ]
    if "n" in shown:
        page["n"] = shown["n"].astype("Int64")
    return pd.DataFrame(page)


def _moved(default: Split, other: Split) -> float:
    """Of the tokens in a half by the default, the fraction that is not in the same half of the other split."""
    kept = sum(int(torch.isin(getattr(default, half), getattr(other, half)).sum()) for half in HALVES)
    whole = sum(len(getattr(default, half)) for half in HALVES)
    return 1 - kept / whole if whole else float("nan")


def _points(share: float) -> str:
    """Format a fraction in points; "–" if it is missing."""
    return "–" if pd.isna(share) else f"{100 * share:.1f}".replace("-", "−")
