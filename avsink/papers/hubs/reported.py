"""Reported beside measured for *Probing Cross-modal Information Hubs*: its tables, joined with measured effects.

The paper prints means in percent for five models, without n or intervals. The models' scales differ severalfold. What
can be compared is the order of the sets within a model, and each set's share of the effect of restoring *all* tokens.

The rules of `avsink.papers.hubs.claims` are held against these means, too (`by_means`): a statement is supported if the
difference of the printed means lies above 0 by more than their rounding, in all parts in which the model has something
to restore. What a row of another n would say cannot be known from them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from avsink.papers.tables import paper
from avsink.results.bootstrap import LEVEL, resampled_means, summarise
from avsink.results.rules.effects import Comparison
from avsink.results.verdicts import Rule, Verdict

__all__ = [
    *("BESIDE", "DECIDES", "TABLE_1", "TABLE_2", "beside", "by_dominance", "by_means", "effects", "models", "readable"),
    "shares",
]

BESIDE = "Qwen2.5-Omni-7B"  # the paper's model whose numbers tables show
TABLE_1 = ("All", "Object", *(f"Sink (N={n})" for n in (2, 3, 4)), *(f"Random (N={n})" for n in (2, 3, 4)))
TABLE_2 = tuple(f"{name} (N={n})" for n in (2, 3, 4) for name in ("Sink", "Unimodal", "Cross-modal"))
VALUES = ("ie_clean", "ie_corrupt")
NBSP = "\N{NO-BREAK SPACE}"
DECIDES = {"audio": "audio-dominant, video tokens", "video": "video-dominant, audio tokens"}
"""Dominance -> which sense decides, and whose tokens are restored: the other one's."""
LEAST = 0.01  # effect of restoring all tokens below which shares of it mean nothing


def by_means(rules: Sequence[Rule]) -> pd.DataFrame:
    """Hold the rules against the paper's own tables, model by model.

    Args:
        rules: Rules of `avsink.papers.hubs.claims`. Those for which the tables have no numbers are left out.

    Returns:
        One row per (rule, model), with the columns reported (the claim), model, outcome, because.
    """
    rows, table = [], _reported()
    printed = set(table["token_set"])
    for rule in rules:
        known = isinstance(rule, Comparison) and all(term.token_set in printed for term in rule.terms)
        for model in models() if known else ():
            outcome, because = rule.of_means(table[table["model"] == model])
            rows.append((rule.claim, model, outcome, because))
    return pd.DataFrame(rows, columns=["reported", "model", "outcome", "because"])


def beside(verdicts: Sequence[Verdict], rules: Sequence[Rule]) -> pd.DataFrame:
    """Put the outcome of each rule in this run beside that of the paper's own tables.

    Args:
        verdicts: The verdicts on rows of this run.
        rules: Rules, among which are those of the verdicts.

    Returns:
        One row per verdict, with the columns reported (the claim), this run, and one for each of the paper's models;
        there, "" where its tables have no such numbers.
    """
    told = by_means(rules).set_index(["reported", "model"])["outcome"]
    rows = [(v.claim, v.verdict, *(told.get((v.claim, model), "") for model in models())) for v in verdicts]
    return pd.DataFrame(rows, columns=["reported", "this run", *models()])


def by_dominance(rows: pd.DataFrame) -> pd.DataFrame:
    """Copy the rows with `DECIDES` as the category, so that charts have one panel per dominance."""
    return rows.assign(category=rows["dominance"].map(DECIDES)) if len(rows) else rows


def models() -> list[str]:
    """The paper's models, in its order."""
    return list(dict.fromkeys(_reported()["model"]))


def effects(rows: pd.DataFrame, sets: tuple[str, ...], *, beside: str = BESIDE) -> pd.DataFrame:
    """Join the paper's effects with measured ones.

    Args:
        rows: Rows of `avsink.instruments.tracing.trace` over many samples; may be empty.
        sets: `TABLE_1` or `TABLE_2`.
        beside: The paper's model to compare with.

    Returns:
        One row per (dominance, set of tokens), with the columns dominance, restored (the set); for v in ie_clean and
        ie_corrupt: reported_v, v (mean), v_low, v_high, as fractions; reported_tokens, tokens (mean), n.
    """
    reported = _reported()
    reported = reported[reported["model"] == beside].set_index(["dominance", "restored"])
    keys = pd.MultiIndex.from_product([("audio", "video"), sets], names=["dominance", "restored"])
    table = reported.reindex(keys)[[*VALUES, "n_tokens"]].rename(
        columns={**{name: f"reported_{name}" for name in VALUES}, "n_tokens": "reported_tokens"}
    )
    own = _named(rows)
    for value in VALUES:
        found = _means(own, value).rename(columns={"mean": value, "low": f"{value}_low", "high": f"{value}_high"})
        table = table.join(found.drop(columns="n"))
    tokens = _means(own, "tokens")
    table = table.join(tokens[["mean", "n"]].rename(columns={"mean": "tokens"}))
    return table.reset_index()


def shares(rows: pd.DataFrame, sets: tuple[str, ...], *, value: str = "ie_clean") -> pd.DataFrame:
    """Divide each set's effect by that of restoring all tokens, for these rows and for each of the paper's models.

    A measured value is a ratio of means over the samples that have rows of the set, even if the set was empty; for its
    interval, both means are resampled together. Where the effect of restoring all tokens is below `LEAST`, ratios mean
    nothing and are left out.

    Args:
        rows: Rows of `avsink.instruments.tracing.trace` over many samples; may be empty.
        sets: `TABLE_1` or `TABLE_2`.
        value: The effect, "ie_clean" or "ie_corrupt".

    Returns:
        One row per (dominance, set, model), with the columns of `charts.dot_plot`: label (such as "audio-dominant,
        video tokens: Sink (N=2)"), group (a model, or "this run" for the measured one), value (fraction), low, high, n.
    """
    tables = []
    for dominance, part in _named(rows).groupby("dominance", sort=False):
        cells = part.pivot_table(index="sample", columns="restored", values=value)
        if "All" not in cells or not cells["All"].mean() >= LEAST:
            continue
        ratios = [(name, *_ratio(cells[[name, "All"]].dropna())) for name in sets if name != "All" and name in cells]
        table = pd.DataFrame(ratios, columns=["restored", "value", "low", "high", "n"])
        tables.append(table.assign(group="this run", dominance=dominance))
    for (model, dominance), part in _reported().groupby(["model", "dominance"], sort=False):
        part = part.drop_duplicates("restored").set_index("restored")[value]
        if part["All"] >= LEAST:
            table = (part.reindex([name for name in sets if name != "All"]) / part["All"]).rename("value").reset_index()
            tables.append(
                table.assign(low=float("nan"), high=float("nan"), n=float("nan"), group=model, dominance=dominance)
            )
    table = pd.concat(tables, ignore_index=True).dropna(subset=["value"])
    table.insert(0, "label", table.pop("dominance").map(DECIDES) + ": " + table.pop("restored"))
    order = {
        label: at for at, label in enumerate(f"{decides}: {name}" for decides in DECIDES.values() for name in sets)
    }
    return table.sort_values("label", key=lambda column: column.map(order), kind="stable").reset_index(drop=True)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Format `effects` for a page, in points; missing numbers are left empty.

    Where a larger N takes the same tokens as a smaller one, its measured cells say so; of random tokens, as many.
    """
    as_before = _as_before(table)
    shown = {"samples": table["dominance"].astype(str) + "-dominant"}
    whose = table["dominance"].map({kind: label.split(", ")[1] for kind, label in DECIDES.items()})
    shown["restored"] = (whose + ": " + table["restored"]).str.replace(" ", NBSP)
    for value, name in zip(VALUES, ("IE_clean", "IE_corrupt"), strict=True):
        shown[f"{name}, reported"] = [_points(x) for x in table[f"reported_{value}"]]
        cells = zip(table[value], table[f"{value}_low"], table[f"{value}_high"], as_before, strict=True)
        shown[f"{name} [95 %]"] = [
            same or ("" if pd.isna(mean) else f"{_points(mean)} [{_points(low)}, {_points(high)}]".replace(" ", NBSP))
            for mean, low, high, same in cells
        ]
    there = ["" if pd.isna(x) else f"{x:,.0f}" for x in table["reported_tokens"]]
    here = ["" if pd.isna(x) else f"{x:.1f}" for x in table["tokens"]]
    shown["tokens, reported / here"] = [f"{x or '–'} / {y or '–'}" for x, y in zip(there, here, strict=True)]
    shown["n"] = table["n"].astype("Int64")
    return pd.DataFrame(shown)


def _as_before(table: pd.DataFrame) -> list[str]:
    """Of each row of `effects`: "as N=2" if it has the numbers of that set with that smaller N, else ""."""
    numbers = [f"{value}{end}" for value in VALUES for end in ("", "_low", "_high")] + ["tokens", "n"]
    first: dict[tuple, str] = {}
    found = []
    for row in table[["dominance", "restored", *numbers]].itertuples(index=False):
        name, _, n = row.restored.rstrip(")").partition(" (")
        before = first.setdefault((row.dominance, name, *row[2:]), n)  # NaN is not equal to itself
        found.append("" if before == n else f"as {before}")
    return found


def _ratio(pairs: pd.DataFrame) -> tuple[float, float, float, int]:
    """Compute the ratio of the means of two columns, its 95 % bootstrap interval (missing for one sample), and n."""
    one, all_of_it = pairs.to_numpy().T
    low = high = float("nan")
    if len(pairs) > 1:
        means = resampled_means(pairs.to_numpy())  # (draws, 2)
        low, high = np.quantile(means[:, 0] / means[:, 1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(one.mean() / all_of_it.mean()), float(low), float(high), len(pairs)


def _points(share: float) -> str:
    """Format a fraction in points; "" if it is missing."""
    return "" if pd.isna(share) else f"{100 * share:z.1f}".replace("-", "−")


def _reported() -> pd.DataFrame:
    """Read the paper's two tables as one, with effects as fractions and this project's names of sets and of N."""
    tables = [paper("hubs_indirect_effect_by_token_set"), paper("hubs_indirect_effect_unimodal_vs_crossmodal")]
    table = pd.concat(tables, ignore_index=True)
    table["restored"] = table["token_set"].str.replace("Crossmodal", "Cross-modal")
    table["token_set"] = table["restored"].str.replace(r" \(N=\d\)", "", regex=True)
    table["one_in"] = table["restored"].str.extract(r"N=(\d)", expand=False).fillna("0").astype(int)
    table["tokens"] = table["n_tokens"]
    table[list(VALUES)] /= 100
    return table.drop_duplicates(["model", "dominance", "restored"])


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the column `restored`: the paper's name of the set."""
    if rows.empty:
        return pd.DataFrame(columns=["sample", "dominance", "restored", *VALUES, "tokens"])
    rows = _drawn_once(rows)
    size = [f" (N={n})" if n else "" for n in rows["one_in"]]
    return rows.assign(restored=rows["token_set"] + size)


def _drawn_once(rows: pd.DataFrame) -> pd.DataFrame:
    """Random sets of several N, but of the same sizes, are draws of the same: those of the smallest N stand for all."""
    random = rows["token_set"] == "Random"
    kept = [rows[~random]]
    for _, own in rows[random].groupby("dominance", sort=False):
        sizes = own.pivot_table(index="sample", columns="one_in", values="tokens")
        first = {n: next(m for m in sizes if sizes[m].equals(sizes[n])) for n in sizes}
        kept += [own[own["one_in"] == m].assign(one_in=n) for n, m in first.items()]
    return pd.concat(kept)


def _means(own: pd.DataFrame, value: str) -> pd.DataFrame:
    """Average a column by (dominance, restored): mean, low, high, n."""
    if own.empty:
        empty = pd.MultiIndex.from_arrays([[], []], names=["dominance", "restored"])
        return pd.DataFrame(columns=["mean", "low", "high", "n"], index=empty, dtype=float)
    return summarise(own, by=["dominance", "restored"], value=value).set_index(["dominance", "restored"])
