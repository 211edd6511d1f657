"""`released_tables.Tables` as charts and rules take them: rules side by side, effects clip by clip, ranges in words."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

__all__ = ["by_clip", "from_to", "leanings", "turnover"]


def turnover(halves: pd.DataFrame) -> pd.DataFrame:
    """Compare the rules by which global sinks are split.

    Args:
        halves: The table `Tables.halves`.

    Returns:
        One row per (modality, rule), with the columns sinks of (the modality), rule, sinks, unimodal, cross-modal and
        neither (mean numbers of tokens), moved (share of the sinks that are of another kind by the default rule, mean
        over clips), least and most (of a clip), unimodal MDS, cross-modal MDS (mean of the scores of each kind), n.
    """
    numbers = ["sinks", "unimodal", "cross-modal", "neither"]
    scores = {"mds_unimodal": "unimodal MDS", "mds_crossmodal": "cross-modal MDS"}
    own = halves.assign(share=halves["moved"] / halves["sinks"]).groupby(["modality", "rule"], sort=False)
    moved = own["share"].agg(moved="mean", least="min", most="max", n="size")
    table = own[numbers].mean().join(moved.drop(columns="n")).join(own[list(scores)].mean().rename(columns=scores))
    return table.join(moved["n"]).reset_index().rename(columns={"modality": "sinks of"})


def leanings(halves: pd.DataFrame, *, one_in: int) -> pd.DataFrame:
    """Make rows for the rules of `avsink.papers.hubs.claims.OF_SINKS` that ask who reads the halves.

    Args:
        halves: The table `Tables.halves`.
        one_in: N.

    Returns:
        One row per (sample, modality, kind), in place of all sinks of that kind, with the columns sample, modality,
        position (a number), global_N (the kind, by the default rule), score (mean MDS of these sinks).
    """
    own = halves[halves["rule"] == "default"]
    kinds = {"unimodal": "mds_unimodal", "cross-modal": "mds_crossmodal"}
    parts = [
        own[["sample", "modality"]].assign(**{f"global_{one_in}": kind, "score": own[name]})
        for kind, name in kinds.items()
    ]
    table = pd.concat(parts, ignore_index=True)
    return table.assign(position=range(len(table)))


def by_clip(effects: pd.DataFrame) -> pd.DataFrame:
    """List both effects of each clip, the largest first.

    Args:
        effects: The table `Tables.effects`.

    Returns:
        One row per (clip, effect), with the columns of `charts.dot_plot`: label (dominance and clip), group (the
        effect), value (fraction), low and high (missing, since one clip has no interval), n (1).
    """
    clip = effects["sample"].str.rpartition("/")[2]
    own = effects.assign(label=effects["dominance"] + "-dominant: " + clip)
    own = own.sort_values(["dominance", "ie_clean"], ascending=[True, False])
    named = own.rename(columns={"ie_clean": "IE_clean", "ie_corrupt": "IE_corrupt"})
    table = named.melt(id_vars="label", value_vars=["IE_clean", "IE_corrupt"], var_name="group")
    return table.assign(low=float("nan"), high=float("nan"), n=1)


def from_to(curves: pd.DataFrame, *, by: str | Sequence[str], x: str) -> str:
    """Say where each curve begins and ends, and where it is highest.

    Args:
        curves: One row per (curve, x), with the column mean.
        by: The column that tells curves apart, or several.
        x: The column of the horizontal axis.
    """
    parts = []
    for name, own in curves.groupby([by] if isinstance(by, str) else list(by), sort=False):
        own = own.sort_values(x)
        first, last, top = own.iloc[0], own.iloc[-1], own.loc[own["mean"].idxmax()]
        parts.append(
            f"{', '.join(name)}: {first['mean']:.3g} at {x} {first[x]:g}, {last['mean']:.3g} at {x} {last[x]:g}, most "
            f"{top['mean']:.3g} at {x} {top[x]:g}"
        )
    return f"Means. {'; '.join(parts)}." if parts else "Nothing was measured."
