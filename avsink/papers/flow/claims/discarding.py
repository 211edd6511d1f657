"""Finding 4: tokens can be discarded once their information has been passed on (section 6; table 4).

The rules read two measurements of `avsink.instruments.discarding.compare`: "analysed", of the task on which the layers
were chosen, and "elsewhere", of another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import pandas as pd

from avsink.instruments import discarding
from avsink.results.rules import improves, lies_above, unharmed, unless
from avsink.results.verdicts import Rule

__all__ = ["FINDING_4_BESIDE", "FINDING_4_CLIP", "FINDING_4_INTERLEAVED"]

TABLE_4 = {"column": "config", "baseline": discarding.BASELINE, "where": "§6, table 4"}


def _saved(rows: pd.DataFrame) -> pd.Series:
    """Of each sample, how many milliseconds of the prefill discarding everything saves."""
    times = rows.pivot(index="sample", columns="config", values="prefill_ms")
    return times[discarding.BASELINE] - times[discarding.ALL]


def _kept(name: str, rows: pd.DataFrame) -> str:
    """Why this configuration is the baseline in other words; "" if it is not."""
    left = rows.groupby("config")["tokens"].sum()
    same = name in left and left[name] == left[discarding.BASELINE]
    return f"{name}: the tokens are needed to the end, so nothing is discarded" if same else ""


def _discarded(name: str, rule: Rule, *, reads: str) -> Rule:
    """The rule on one configuration, for a model in which it discards something."""
    return replace(unless(partial(_kept, name), rule, outcome="nothing discarded"), reads=reads)


def _table_4(kinds: Iterable[str]) -> tuple[Rule, ...]:
    """The statements on one kind of input, whose tokens are discarded kind by kind and all together."""
    analysed = (
        _discarded(
            name, unharmed(name, claim=f"{name}: no accuracy is lost, or hardly any", **TABLE_4), reads="analysed"
        )
        for name in (*kinds, discarding.ALL)
    )
    claim = "That generalises to a task on which the layers were not chosen"
    elsewhere = _discarded(discarding.ALL, unharmed(discarding.ALL, claim=claim, **TABLE_4), reads="elsewhere")
    return (*analysed, elsewhere)


FINDING_4_CLIP, FINDING_4_INTERLEAVED = (_table_4(kinds) for kinds in (discarding.CLIP, discarding.INTERLEAVED))

# What table 4 shows beside the finding.
FINDING_4_BESIDE = (
    replace(improves(claim="In places accuracy even improves slightly", **TABLE_4), reads="analysed"),
    _discarded(
        discarding.ALL,
        lies_above(
            0.0,
            value=_saved,
            what=f"{discarding.ALL}: milliseconds of the prefill saved against “{discarding.BASELINE}”",
            claim="Discarding makes the prefill faster",
            where=TABLE_4["where"],
            unit=".2f",
        ),
        reads="analysed",
    ),
)
