"""The rules on the paper's own numbers: does table 1, does table 4 support what the text says?

The paper prints accuracies and times, without n or intervals. A printed number is held to the same bar as a measured
one; its interval is what the rounding of the printed digits leaves open. Accuracies are averaged over the tasks of a
group of columns, each task with the same weight. Curves print no numbers, so most statements cannot be judged this way.
"""

from __future__ import annotations

import pandas as pd

from avsink.instruments import attention_shares, discarding
from avsink.papers.flow.claims import FINDING_1, FINDING_4_BESIDE, FINDING_4_CLIP, FINDING_4_INTERLEAVED
from avsink.papers.tables import paper
from avsink.results.rules import harmless, told
from avsink.results.verdicts import Outcome, Rule, outcome

__all__ = ["ANALYSED", "MODEL", "outcomes"]

MODEL = "Qwen2.5-Omni 3B"  # of tables 1 and 4
ANALYSED = ("Speech Recognition", "Visual Recognition", "Animal Recognition")  # table 4: "tasks in knockout"
ROUNDED = 0.01  # points: what a difference of two printed accuracies is off by at most
MARGIN = 5.0  # points, as of `unharmed`


def outcomes() -> pd.DataFrame:
    """Judge each statement for which the paper prints numbers.

    Returns:
        One row per statement, with the columns model, input, reported, where, printed, verdict.
    """
    rows = [(MODEL, "video", *row) for row in _table_1()]
    rows += [(MODEL, "video", *row) for row in _table_4("video", discarding.CLIP, FINDING_4_CLIP)]
    many = _table_4("multi-input", discarding.INTERLEAVED, FINDING_4_INTERLEAVED)
    rows += [(MODEL, "interleaved", *row) for row in many]
    return pd.DataFrame(rows, columns=["model", "input", "reported", "where", "printed", "verdict"])


def _table_1() -> list[tuple]:
    accuracy = paper("flow_table1_late_layer_masking").set_index("mask")["accuracy"]
    baseline, *masks = attention_shares.MASKS
    rules = [rule for rule in FINDING_1 if rule.reads == "masking"]
    return [
        _unharmed(rule, pd.Series([accuracy[mask] - accuracy[baseline]]))
        for rule, mask in zip(rules, masks, strict=True)
    ]


def _table_4(kind: str, configs, rules: tuple[Rule, ...]) -> list[tuple]:
    table = paper("flow_table4_discarding")
    table = table[table["input"] == kind]
    column = table["task"] + [f" ({way})" if isinstance(way, str) else "" for way in table["direction"]]
    accuracy = table.assign(column=column).pivot(index="column", columns="config", values="accuracy")
    changes = accuracy.sub(accuracy[discarding.BASELINE], axis=0)
    analysed = table.set_index(column)["task"].groupby(level=0).first().isin(ANALYSED)
    *own, elsewhere = rules
    names = (*configs, discarding.ALL)
    found = [_unharmed(rule, changes.loc[analysed, name]) for rule, name in zip(own, names, strict=True)]
    found.append(_unharmed(elsewhere, changes.loc[~analysed, discarding.ALL]))
    best, faster = FINDING_4_BESIDE
    raised = changes.drop(columns=discarding.BASELINE).stack()
    found.append(_above(best, raised.max(), ROUNDED, "points", f"{raised.idxmax()[1]}, {raised.idxmax()[0]}"))
    ms = table.groupby("config")["avg_prefill_latency_ms"].first()
    saved = ms[discarding.BASELINE] - ms[discarding.ALL]
    share = f"{saved / ms[discarding.BASELINE]:.1%} of {ms[discarding.BASELINE]:,.2f} ms"
    found.append(_above(faster, saved, ROUNDED, "ms", share))
    return found


def _unharmed(rule: Rule, changes: pd.Series) -> tuple[str, str, str, Outcome]:
    """Judge the mean over tasks of changes of accuracy, in points."""
    low, high = changes.mean() - ROUNDED, changes.mean() + ROUNDED
    tasks = f" (mean of {len(changes)}, lowest {told(_alone(changes.min()), bars=(), form='+.2f')})"
    change = told(_alone(changes.mean()), bars=(-MARGIN,), form="+.2f", unit="points")
    printed = f"{change} against above −{MARGIN:g} points{tasks if len(changes) > 1 else ''}"
    return rule.claim, rule.where, printed, harmless(low / 100, high / 100, margin=MARGIN / 100)


def _above(rule: Rule, value: float, off: float, unit: str, note: str) -> tuple[str, str, str, Outcome]:
    printed = f"{told(_alone(value), bars=(0,), form='+.2f', unit=unit)} against above 0 ({note})"
    return rule.claim, rule.where, printed, outcome(value - off > 0, value + off <= 0)


def _alone(value: float) -> dict[str, float]:
    return {"mean": value, "low": float("nan"), "high": float("nan")}
