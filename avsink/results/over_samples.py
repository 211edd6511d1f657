"""One instrument over many samples: finished samples are read, others computed, unusable ones reported.

    done = measure(knockout.sweep, model, samples, k=7, pathways=["Question↛Last"])
    done.rows;  print(done);  done.left_out

1. The result store is found by what decides the numbers: the instrument's own code, its settings, the model. Nothing is
   named by hand (`avsink.results.fingerprints`).
2. A sample whose rows are in the store is not computed again.
3. A sample that cannot be used (`SampleError`) is left out with its reason, and the measurement goes on. The sample is
   tried again next time: the missing file may be there by then.
4. A sample to which the measurement does not apply (`Unmeasured`: answered wrongly, for example) is left out for good.
5. Any other error is a fault of this code and stops the measurement; so does Ctrl-C. Finished samples are on disk.
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
    """The result of a measurement.

    Attributes:
        samples: The samples asked for.
        rows: The instrument's rows of all measured samples, in the order asked.
        problems: Sample id -> (kind of reason, reason), for samples without rows.
        computed: Number of samples that were computed now and not read.
        folder: The folder in which the rows are kept.
    """

    samples: tuple[Sample, ...]
    rows: pd.DataFrame
    problems: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    computed: int = 0
    folder: Path

    @cached_property
    def left_out(self) -> pd.DataFrame:
        """One row per sample that has no rows, with the columns sample, category, reason."""
        rows = [(s.id, s.category, self.problems[s.id][1]) for s in self.samples if s.id in self.problems]
        return pd.DataFrame(rows, columns=["sample", "category", "reason"])

    @cached_property
    def counts(self) -> pd.DataFrame:
        """One row per category, with the columns category, asked, measured, and one for each kind of reason."""
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
        """Copy this result without the rows of some samples.

        Args:
            problems: Sample id -> the reason not to use it.
        """
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
        instrument: A function of a module, ``instrument(model, sample, **settings)`` -> rows of one sample, such as
            `avsink.instruments.knockout.sweep`.
        model: What `avsink.load` returns.
        samples: What `avsink.load_samples` returns.
        root: The folder of all results; "" for ``$AVSINK_RESULTS``, else ``results`` in the repository.
        **settings: The instrument's keyword arguments. Files and folders are given as `pathlib.Path`; the store depends
            on their content, not on where they are.

    Returns:
        The rows of all measured samples, and the reasons for which others were left out.

    Raises:
        TypeError: The instrument has no such setting, or different values of a setting could not be told apart.
    """
    home = instrument.__module__.rpartition(".")[2]
    identity = fingerprints.identity(instrument, model, settings)
    store = ResultStore(f"{home}.{instrument.__qualname__}", model=model.name, identity=identity, root=root)
    return measure_into(store, samples, lambda sample: instrument(model, sample, **settings))


def measure_into(store: ResultStore, samples: Sequence[Sample], compute: Callable[[Sample], pd.DataFrame]) -> Done:
    """Compute every sample that the store does not have (steps 2 to 5).

    Args:
        store: The result store.
        samples: The samples asked for.
        compute: Sample -> its rows.

    Returns:
        The rows of all measured samples, and the reasons for which others were left out.
    """
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
