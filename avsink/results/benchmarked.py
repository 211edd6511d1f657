"""What the benchmarks measured, as tables for the book.

`data/benchmarks/` holds what `benchmarks/knockout.py` (at one length, and as `growth` at several), `observe.py`,
`discard.py`, `tracing.py` (at the benchmarks' own size, and as `tracing-wide` at a published width) and `parity.py`
wrote with `--out`. A clock is nothing to be tested, so these files are made by hand, on a
machine that does nothing else.
"""

from __future__ import annotations

import json
from functools import cache

import pandas as pd

from avsink import resources

__all__ = ["discarding", "groups", "memory", "observers", "parity", "setting", "speed", "speed_in_words", "tracing"]


def setting(name: str) -> str:
    """What a benchmark was run on, in a sentence."""
    about = _read(name)["settings"]
    return (
        f"Measured on {about['device']} with {about['threads']} threads, {about['dtype']}, torch {about['torch']}: "
        f"{about['layers']} layers of width {about['width']}, {about['heads']} heads, {about['question']} tokens of "
        "question, random weights."
    )


def parity() -> pd.DataFrame:
    """One row a family of decoders: plans, largest difference of logits, and the errors in bfloat16."""
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
    """One row per (pathway or group of pathways, length of the prompt): columns of `charts.ratios`, seconds, kind."""
    rows = pd.DataFrame(_read(name)["rows"]).rename(columns={"name": "label", "ratio_to_sdpa": "ratio"})
    return rows.assign(group=rows["tokens"].map("{:,} tokens".format)).sort_values("tokens", kind="stable")


def speed_in_words(rows: pd.DataFrame) -> str:
    """The range of the ratios of each length, for readers who hear the page."""
    rows = rows[rows["kind"] == "pathway"]
    parts = [
        f"at {group} from {part['ratio'].min():.1f} times ({part.loc[part['ratio'].idxmin(), 'label']}) to "
        f"{part['ratio'].max():.0f} times ({part.loc[part['ratio'].idxmax(), 'label']})"
        for group, part in rows.groupby("group", sort=False)
    ]
    return "Times faster than full passes: " + "; ".join(parts) + "."


def groups(rows: pd.DataFrame) -> pd.DataFrame:
    """Many pathways in one replay, the clean run included: seconds, and how many times faster than each reference."""
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
    """What the sides add to a loaded model at their worst, MiB, by length of the prompt."""
    rows = pd.DataFrame(_read("knockout")["peaks"])
    rows["side"] = rows["side"].str.replace("engine:", "engine, ")
    wide = rows.pivot_table(index="side", columns="tokens", values="growth_mib", sort=False)
    return wide.rename(columns="{:,} tokens".format).rename_axis(columns=None).reset_index()


def observers() -> pd.DataFrame:
    """Plain, observed and eager runs: seconds, memory, and both against the plain run."""
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
    """Prefill saved beside arithmetic saved, by tokens discarded and the depth after which they go."""
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
    """The table of conditions of causal tracing, at two sizes of decoder: time, and memory beside a plain pass's."""
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
    """These columns, under the names that a page shows."""
    return rows[list(shown)].rename(columns=shown)


@cache
def _read(name: str) -> dict:
    return json.loads(resources.existing("benchmarks", f"{name}.json").read_text())
