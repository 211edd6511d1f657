"""What the benchmarks measured, as tables for the book.

`data/benchmarks/` holds what the programs in `benchmarks/` wrote with `--out`: `knockout.py` (at one length, and as
`growth` at several), `observe.py`, `discard.py`, `tracing.py` (at the benchmarks' default size, and as `tracing-wide`
at a published width) and `parity.py`. Times depend on the machine, so no test and no build makes these files: they are
written by hand, on a machine that does nothing else.
"""

from __future__ import annotations

import json
from functools import cache

import pandas as pd

from avsink import resources

__all__ = ["discarding", "groups", "memory", "observers", "parity", "setting", "speed", "speed_in_words", "tracing"]


def setting(name: str) -> str:
    """Say in a sentence on which machine and decoder a benchmark was run."""
    about = _read(name)["settings"]
    return (
        f"Measured on {about['device']} with {about['threads']} threads, {about['dtype']}, torch {about['torch']}: "
        f"{about['layers']} layers of width {about['width']}, {about['heads']} heads, {about['question']} tokens of "
        "question, random weights."
    )


def parity() -> pd.DataFrame:
    """One row per family of decoders: number of plans, largest difference of logits, and mean errors in bfloat16."""
    rows = pd.DataFrame(_read("parity")["families"])
    shown = {
        "family": "decoder",
        "plans": "random plans",
        "max_delta_logit": "max |Δ logit|, float32",
        "argmax_differs": "other answers",
        "bf16_engine_mean": "mean |Δ logit|, bfloat16",
        "bf16_plain_mean": "the same of a plain pass",
    }
    return _named(rows, shown)


def speed(name: str = "knockout") -> pd.DataFrame:
    """One row per (pathway or group of pathways, length of the prompt): the columns of `charts.ratios`, and more.

    `kind` is "pathway" or "group", `tokens` the length of the prompt, `engine_seconds` the time of the replays.
    """
    rows = pd.DataFrame(_read(name)["rows"]).rename(columns={"name": "label", "ratio_to_sdpa": "ratio"})
    return rows.assign(group=rows["tokens"].map("{:,} tokens".format)).sort_values("tokens", kind="stable")


def speed_in_words(rows: pd.DataFrame) -> str:
    """Give the range of the ratios at each length of the prompt, for readers who hear the page."""
    rows = rows[rows["kind"] == "pathway"]
    parts = [
        f"at {group} from {part['ratio'].min():.1f} times ({part.loc[part['ratio'].idxmin(), 'label']}) to "
        f"{part['ratio'].max():.0f} times ({part.loc[part['ratio'].idxmax(), 'label']})"
        for group, part in rows.groupby("group", sort=False)
    ]
    return "Times faster than full passes: " + "; ".join(parts) + "."


def groups(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per group of pathways in one replay: seconds, clean run included, and how many times faster that is."""
    rows = rows[rows["kind"] == "group"]
    shown = {
        "label": "pathways",
        "tokens": "tokens",
        "windows": "windows",
        "engine_seconds": "seconds",
        "ratio": "times faster",
        "ratio_to_causal": "than passes with masks in the window alone",
        "ratio_to_eager": "than eager passes",
    }
    return _named(rows, shown)


def memory() -> pd.DataFrame:
    """Peak memory that each side adds to a loaded model, in MiB: one row per side, one column per prompt length."""
    rows = pd.DataFrame(_read("knockout")["peaks"])
    rows["side"] = rows["side"].str.replace("engine:", "engine, ")
    wide = rows.pivot_table(index="side", columns="tokens", values="growth_mib", sort=False)
    return wide.rename(columns="{:,} tokens".format).rename_axis(columns=None).reset_index()


def observers() -> pd.DataFrame:
    """One row per plain, observed or eager run: seconds, memory in MiB, and both relative to the plain run."""
    rows = pd.DataFrame(_read("observe")["rows"])
    shown = {
        "side": "run",
        "tokens": "tokens",
        "seconds": "seconds",
        "ratio_of_seconds": "× plain",
        "growth_mib": "memory added, MiB",
        "ratio_of_growth_mib": "× plain ",
    }
    return _named(rows.dropna(subset=["growth_mib"]), shown)


def discarding() -> pd.DataFrame:
    """Fraction of prefill time saved beside that of operations saved, by configuration and depth of the discarding."""
    rows = pd.DataFrame(_read("discard")["rows"])
    shown = {
        "config": "config",
        "tokens": "tokens",
        "depth": "after depth",
        "discarded": "discarded",
        "saving": "prefill saved",
        "arithmetic_saving": "arithmetic saved",
        "share": "of it, as time",
    }
    return _named(rows, shown)


def tracing() -> pd.DataFrame:
    """One row per size of decoder: time and memory of all conditions of causal tracing, against plain passes."""
    rows = []
    for name in ("tracing", "tracing-wide"):
        found = _read(name)
        about, (row,) = found["settings"], found["rows"]
        engine = next(peak for peak in found["peaks"] if peak["side"] == "engine")
        memory = {"memory": engine["ratio"], "memory_of_run": engine["ratio_of_growth"]}
        rows.append(row | memory | {"decoder": f"{about['layers']} layers of width {about['width']:,}"})
    shown = {
        "decoder": "decoder",
        "tokens": "tokens",
        "conditions": "conditions",
        "engine_seconds": "seconds",
        "ratio": "times faster",
        "limit": "of at most",
        "over_arithmetic": "× arithmetic",
        "memory": "memory, × plain pass",
        "memory_of_run": "without weights",
    }
    return _named(pd.DataFrame(rows), shown)


def _named(rows: pd.DataFrame, shown: dict[str, str]) -> pd.DataFrame:
    """The columns that a page shows, under the names that it shows. shown: column -> name."""
    return rows[list(shown)].rename(columns=shown)


@cache
def _read(name: str) -> dict:
    return json.loads(resources.existing("benchmarks", f"{name}.json").read_text())
