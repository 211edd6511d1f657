"""One instrument over many samples: finished ones are read, the others computed, the bad ones reported.

    done = measure("flow_pathways", model, samples, partial(knockout.sweep, model, k=7), settings={"window": 7}, ...)
    done.rows;  print(done);  done.left_out

1. A sample whose rows are in the store is not computed again.
2. One that cannot be used (`SampleError`) is left out with its reason, and the run goes on. It is tried again next
   time: the missing file may be there by then.
3. One that is outside of the measurement (`Unmeasured`: answered wrongly, say) is left out for good.
4. Any other error is a fault of ours and stops the run; so does Ctrl-C. What is finished is on disk by then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from avsink.results.store import ResultStore
from avsink.sample import Sample, SampleError, Unmeasured

__all__ = ["Done", "measure", "run_over_samples"]


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a run leaves.

    rows: the instrument's rows of all measured samples, in the order asked.
    left_out: sample, category, reason; one row per sample without rows.
    computed: how many samples were computed now and not read.
    counts: per category: asked, measured, then one column per kind of reason.
    folder: where they are kept.
    """

    rows: pd.DataFrame
    left_out: pd.DataFrame
    counts: pd.DataFrame
    computed: int
    folder: Path

    def __str__(self) -> str:
        asked, measured = int(self.counts["asked"].sum()), int(self.counts["measured"].sum())
        text = f"{measured} of {asked} samples measured ({self.computed} computed now, the others read)"
        if self.left_out.empty:
            return f"{text}; none left out."
        reasons = [
            f"{len(group)} × {reason} ({', '.join(group['sample'][:3])}{', …' if len(group) > 3 else ''})"
            for reason, group in self.left_out.groupby("reason", sort=False)
        ]
        return f"{text}; left out: {'; '.join(reasons)}."


def measure(
    finding: str,
    model,
    samples: Sequence[Sample],
    compute: Callable[[Sample], pd.DataFrame],
    *,
    settings: Mapping[str, object],
    sources: Sequence[str],
    root: str,
) -> Done:
    """`run_over_samples`, kept under the finding's name; settings, sources, root: of the `ResultStore`."""
    store = ResultStore(finding, model=model, settings=settings, sources=sources, root=root)
    return run_over_samples(samples, compute, store=store)


def run_over_samples(
    samples: Sequence[Sample], compute: Callable[[Sample], pd.DataFrame], *, store: ResultStore, **facts: object
) -> Done:
    """Run `compute` on every sample that the store does not have. `facts` go into the run's provenance."""
    store.describe(samples=samples, **facts)
    problems: dict[str, tuple[str, str]] = {}  # sample id -> (kind of reason, reason)
    computed = 0
    # Plain text, not tqdm.auto: a widget would bring require.js into the book, and that breaks its charts.
    for sample in tqdm(samples, desc=store.identity["finding"], unit="sample"):
        if not store.finished(sample):
            try:
                sample.check()
                store.save(sample, compute(sample))
                computed += 1
            except Unmeasured as error:
                store.leave_out(sample, error)
                computed += 1
            except SampleError as error:
                problems[sample.id] = ("unusable", error.reason)
        if reason := store.reason(sample):
            problems[sample.id] = (reason, reason)
    left_out = pd.DataFrame(
        [(s.id, s.category, problems[s.id][1]) for s in samples if s.id in problems],
        columns=["sample", "category", "reason"],
    )
    store.describe(samples=samples, **facts, left_out=left_out.to_dict("records"))
    kinds = [(s.category, problems.get(s.id, ("measured",))[0]) for s in samples]
    rows = store.read(samples)
    return Done(rows=rows, left_out=left_out, counts=_counts(kinds), computed=computed, folder=store.folder)


def _counts(kinds: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """(category, kind) of every sample -> one row per category: asked, measured, and every other kind that occurs."""
    if not kinds:
        return pd.DataFrame({"category": [], "asked": pd.Series(dtype=int), "measured": pd.Series(dtype=int)})
    table = pd.DataFrame(kinds, columns=["category", "kind"])
    counts = pd.crosstab(table["category"], table["kind"]).rename_axis(columns=None)
    if "measured" not in counts:
        counts["measured"] = 0
    others = [kind for kind in counts if kind != "measured"]
    counts = counts.assign(asked=counts.sum(axis=1))[["asked", "measured", *others]]
    return counts.reindex(table["category"].unique()).reset_index()
