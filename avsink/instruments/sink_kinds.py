"""Language sinks and vision sinks: where each begins, and which dimensions they share (Flow figures 2 and 7).

Sinks of the system prompt and sinks of the media are found alike, and without a model card: a token is a sink at a
layer if a dimension is massive at it and it attracts attention (`avsink.instruments.sink_calibration`, steps 1 to 3).

1. `by_group`, for each sample: at each layer and for each kind of token, the number of sinks, their massive dimensions,
   the norms, and the attention of the last token;
2. `begins`, over all samples: the first layer at which a kind has a sink;
3. `shared`, over all samples: of the dimensions that are massive in vision sinks or in language sinks at one layer, the
   fraction that is massive in both.
"""

from __future__ import annotations

import pandas as pd
import torch

from avsink.engine.observers import ColumnMeans, LastRow, Norms, observe
from avsink.instruments.attention_shares import groups
from avsink.instruments.sink_calibration import Massive, drawing, marks

__all__ = ["LANGUAGE", "VISION", "begins", "by_group", "shared"]

LANGUAGE, VISION = "system", "video"  # the kinds of tokens in which Flow finds language sinks and vision sinks


def by_group(model, sample) -> pd.DataFrame:
    """Measure sinks, norms and the last token's attention, for each kind of token and layer.

    Returns:
        One row per (layer, group), with the columns sample, task, category, layer, n_layers, group (of
        `attention_shares.GROUPS`), tokens (how many the group has), sinks (how many of them are sinks), dimensions
        (those that are massive at its sinks, as text in ascending order), share (fraction of the last token's
        attention), l2 (median norm of the group at the layer's entry), l2_read (mean norm of the group, weighted by the
        last token's attention) and l2_all (median norm of all tokens); NaN where a group has no tokens.

    Raises:
        SampleError: The sample cannot be used.
    """
    inputs = model.prepare(sample)
    known = groups(inputs.layout)
    last, columns = LastRow(known), ColumnMeans(all=torch.arange(inputs.layout.n))
    (massive, _), means, norms, shares = observe(model, inputs, [Massive(), columns, Norms(), last])
    found, rows = marks(massive, drawing(means["all"])), []
    for layer, l2 in enumerate(norms["l2"]):
        own = found[found["layer"] == layer]
        for group, positions in known.items():
            there = own[own["position"].isin(positions.tolist())]
            weights, norm = last.rows[layer][positions], l2[positions]
            rows.append(
                {
                    "layer": layer,
                    "n_layers": len(norms["l2"]),
                    "group": group,
                    "tokens": len(positions),
                    "sinks": there["position"].nunique(),
                    "dimensions": " ".join(map(str, sorted(there["dimension"].unique()))),
                    "share": float(shares[group][layer]),
                    "l2": float(norm.median()) if len(norm) else float("nan"),
                    "l2_read": float((weights * norm).sum() / weights.sum()) if len(norm) else float("nan"),
                    "l2_all": float(l2.median()),
                }
            )
    return pd.DataFrame({"sample": sample.id, "task": sample.task, "category": sample.category, **pd.DataFrame(rows)})


def begins(rows: pd.DataFrame, *, group: str) -> pd.Series:
    """Find the first layer at which a sample has a sink of this kind.

    Args:
        rows: Rows of `by_group` over many samples.
        group: One of `attention_shares.GROUPS`.

    Returns:
        A layer for each sample, indexed by sample; NaN for a sample without such a sink.
    """
    own = rows[rows["group"] == group]
    return own["layer"].where(own["sinks"] > 0).groupby(own["sample"], sort=False).min()


def shared(rows: pd.DataFrame, *, layer: int) -> pd.Series:
    """Of the dimensions that are massive in vision or language sinks at a layer, find the fraction that is in both.

    Args:
        rows: Rows of `by_group` over many samples.
        layer: The layer.

    Returns:
        A fraction for each sample, indexed by sample; NaN for a sample that lacks one of the two kinds of sinks there.
    """
    own = rows[rows["layer"] == layer].set_index(["sample", "group"])["dimensions"]
    known = {key: set(text.split()) for key, text in own.items()}
    found = {
        sample: _overlap(*(known.get((sample, group), set()) for group in (VISION, LANGUAGE)))
        for sample in rows["sample"].unique()
    }
    return pd.Series(found, dtype=float)


def _overlap(one: set[str], other: set[str]) -> float:
    """Common members among all members; NaN if a set is empty."""
    return len(one & other) / len(one | other) if one and other else float("nan")
