"""One instrument over many samples: finished ones are read, the others computed, the bad ones reported.

    done = measure(knockout.sweep, model, samples, k=7, pathways=["Question↛Last"])
    done.rows;  print(done);  done.left_out

1. The result store is found by what decides the numbers: the instrument's own code, its settings, the model. Nothing is
   named by hand (`avsink.results.fingerprints`).
2. A sample whose rows are in the store is not computed again.
3. One that cannot be used (`SampleError`) is left out with its reason, and the run goes on. It is tried again next
   time: the missing file may be there by then.
4. One that is outside of the measurement (`Unmeasured`: answered wrongly, say) is left out for good.
5. Any other error is a fault of ours and stops the run; so does Ctrl-C. What is finished is on disk by then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from avsink.results import fingerprints, provenance
from avsink.results.store import ResultStore
from avsink.sample import Sample, SampleError, Unmeasured

__all__ = ["Done", "measure", "measure_into"]

UNUSABLE = "unusable"


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a run leaves.

    Attributes:
        samples: those asked for.
        rows: the instrument's rows of all measured samples, in the order asked.
        problems: sample id -> (kind of reason, reason), of samples without rows.
        computed: how many samples were computed now and not read.
        folder: where they are kept.
    """

    samples: tuple[Sample, ...]
    rows: pd.DataFrame
    problems: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    computed: int = 0
    folder: Path

    @cached_property
    def left_out(self) -> pd.DataFrame:
        """One row for each sample without rows: sample, category, reason."""
        rows = [(s.id, s.category, self.problems[s.id][1]) for s in self.samples if s.id in self.problems]
        return pd.DataFrame(rows, columns=["sample", "category", "reason"])

    @cached_property
    def counts(self) -> pd.DataFrame:
        """One row for each category: asked, measured, then a column for each kind of reason."""
        kinds = [(s.category, self.problems.get(s.id, ("measured",))[0]) for s in self.samples]
        if not kinds:
            return pd.DataFrame({"category": [], "asked": pd.Series(dtype=int), "measured": pd.Series(dtype=int)})
        table = pd.DataFrame(kinds, columns=["category", "kind"])
        counts = pd.crosstab(table["category"], table["kind"]).rename_axis(columns=None)
        if "measured" not in counts:
            counts["measured"] = 0
        others = [kind for kind in counts if kind != "measured"]
        counts = counts.assign(asked=counts.sum(axis=1))[["asked", "measured", *others]]
        return counts.reindex(table["category"].unique()).reset_index()

    def refuse(self, problems: Mapping[str, str]) -> Done:
        """The same without the rows of some samples. problems: sample id -> why they are not to be used."""
        if not problems:
            return self
        kept = self.rows[~self.rows["sample"].isin(list(problems))].reset_index(drop=True)
        refused = {id: (UNUSABLE, reason) for id, reason in problems.items()}
        return replace(self, rows=kept, problems={**self.problems, **refused})

    def __str__(self) -> str:
        asked, measured = len(self.samples), len(self.samples) - len(self.left_out)
        text = f"{measured} of {asked} samples measured ({self.computed} computed now, the others read)"
        if self.left_out.empty:
            return f"{text}; none left out."
        reasons = [
            f"{len(group)} × {reason} ({', '.join(group['sample'][:3])}{', …' if len(group) > 3 else ''})"
            for reason, group in self.left_out.groupby("reason", sort=False)
        ]
        return f"{text}; left out: {'; '.join(reasons)}."


def measure(
    instrument: Callable[..., pd.DataFrame],
    model,
    samples: Sequence[Sample],
    *,
    root: str | Path = "",
    **settings: object,
) -> Done:
    """Run an instrument over samples, and keep what it finds.

    Args:
        instrument: a function of a module, ``instrument(model, sample, **settings)`` -> rows of one sample, such as
            `avsink.instruments.knockout.sweep`.
        model: of `avsink.load`.
        samples: of `avsink.load_samples`.
        root: the folder of all results; "" for ``$AVSINK_RESULTS``, else ``results`` in the repository.
        settings: the instrument's keyword arguments. Files and folders are given as `pathlib.Path`; their content
            counts, and not where they are.

    Raises:
        TypeError: the instrument has no such setting, or rows under it could not be told apart.
    """
    home = instrument.__module__.rpartition(".")[2]
    identity = fingerprints.identity(instrument, model, settings)
    store = ResultStore(f"{home}.{instrument.__qualname__}", model=model.name, identity=identity, root=root)
    return measure_into(store, samples, lambda sample: instrument(model, sample, **settings))


def measure_into(store: ResultStore, samples: Sequence[Sample], compute: Callable[[Sample], pd.DataFrame]) -> Done:
    """Steps 2 to 5: run `compute` on every sample that the store does not have."""
    facts = {"commit": provenance.commit(), "samples": [sample.id for sample in samples]}
    store.describe(**facts)
    tables: list[pd.DataFrame] = []
    problems: dict[str, tuple[str, str]] = {}
    computed = 0
    # Plain text, not tqdm.auto: a widget would bring require.js into the book, and that breaks its charts.
    for sample in tqdm(samples, desc=store.name, unit="sample"):
        rows, reason = store.rows(sample), store.reason(sample)
        if rows is None and reason is None:
            try:
                sample.check()
                rows = store.save(sample, compute(sample))
                computed += 1
            except Unmeasured as error:
                store.leave_out(sample, error)
                reason = error.reason
                computed += 1
            except SampleError as error:
                problems[sample.id] = (UNUSABLE, error.reason)
        if rows is not None:
            tables.append(rows)
        elif reason is not None:
            problems[sample.id] = (reason, reason)
    done = Done(
        samples=tuple(samples),
        rows=pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(),
        problems=problems,
        computed=computed,
        folder=store.folder,
    )
    store.describe(**facts, computed=computed, left_out=done.left_out.to_dict("records"))
    return done
