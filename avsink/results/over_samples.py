"""One instrument over many samples: finished samples are read, others computed, unusable ones reported.

    done = measure(knockout.sweep, model, samples, k=7, pathways=["Question↛Last"])
    done.rows;  print(done);  done.left_out

1. The result store is found by what decides the numbers: the instrument's own code, its settings, the model. Nothing is
   named by hand (`avsink.results.fingerprints`).
2. A sample that was given twice is measured once, with a warning; two samples of one id are an error.
3. A sample whose rows are in the store is not computed again. Before another one is computed, the store must be
   writable: to read, it need not be.
4. A sample that cannot be used (`SampleError`) is left out with its reason, and the measurement goes on. The sample is
   tried again next time: the missing file may be there by then.
5. A sample to which the measurement does not apply (`Unmeasured`: answered wrongly, for example) is left out for good.
6. Any other error is a fault of this code and stops the measurement; so does Ctrl-C. Finished samples are on disk.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from avsink.results import fingerprints, provenance
from avsink.results.store import ResultStore, Unwritable
from avsink.sample import Sample, SampleError, Unmeasured

__all__ = ["Done", "distinct", "measure", "measure_into"]

UNUSABLE = "unusable"
SHOWN = 5  # ids in a message


@dataclass(frozen=True, kw_only=True)
class Done:
    """The result of a measurement.

    Attributes:
        samples: The samples asked for, each once.
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

        Raises:
            ValueError: An id is none of those of the samples.
        """
        if unknown := set(problems) - {sample.id for sample in self.samples}:
            raise ValueError(f"no sample has the id {min(unknown, key=repr)!r}, so it cannot be left out")
        if not problems:
            return self
        kept = self.rows
        if len(kept):
            kept = kept[~kept["sample"].isin(list(problems))].reset_index(drop=True)
        refused = {id: (UNUSABLE, reason) for id, reason in problems.items()}
        return replace(self, rows=kept, problems={**self.problems, **refused})

    def __str__(self) -> str:
        asked, measured = len(self.samples), len(self.samples) - len(self.left_out)
        unusable = sum(kind == UNUSABLE for kind, *_ in self.problems.values())
        others = asked - unusable > self.computed  # an unusable sample is neither computed nor read
        how = "all read" if others and not self.computed else f"{self.computed} computed now"
        how += ", the others read" if others and self.computed else ""
        text = f"{measured} of {asked} samples measured ({how})"
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
    samples: Iterable[Sample],
    *,
    root: str | Path = "",
    **settings: object,
) -> Done:
    """Run an instrument over samples, and keep what it finds.

    Args:
        instrument: A function of a module, ``instrument(model, sample, **settings)`` -> rows of one sample, such as
            `avsink.instruments.knockout.sweep`. The column `sample` holds its id.
        model: What `avsink.load` returns.
        samples: What `avsink.load_samples` returns.
        root: The folder of all results; "" for ``$AVSINK_RESULTS``, else ``results`` in the repository.
        **settings: The instrument's keyword arguments. Files and folders are given as `pathlib.Path`; the store depends
            on their content, not on where they are.

    Returns:
        The rows of all measured samples, and the reasons for which others were left out.

    Raises:
        TypeError: The instrument has no such setting, different values of a setting could not be told apart, or its
            rows cannot be kept.
        ValueError: Different samples have the same id.
        Unwritable: A sample has to be computed, and its rows could not be kept.
    """
    samples = distinct(samples)
    home = instrument.__module__.rpartition(".")[2]
    identity = fingerprints.identity(instrument, model, settings)
    store = ResultStore(f"{home}.{instrument.__qualname__}", model=model.name, identity=identity, root=root)
    return measure_into(store, samples, lambda sample: instrument(model, sample, **settings))


def measure_into(store: ResultStore, samples: Iterable[Sample], compute: Callable[[Sample], pd.DataFrame]) -> Done:
    """Compute every sample that the store does not have (steps 2 to 6).

    Args:
        store: The result store.
        samples: The samples asked for.
        compute: Sample -> its rows.

    Returns:
        The rows of all measured samples, and the reasons for which others were left out.
    """
    samples = distinct(samples)
    facts = {"commit": provenance.commit(), "samples": [sample.id for sample in samples]}
    facts |= {"prompts": provenance.prompts(samples)}
    with suppress(Unwritable):  # said at the end
        store.describe(**facts)
    tables: list[pd.DataFrame] = []
    problems: dict[str, tuple[str, str]] = {}
    computed = 0
    # Plain text, not tqdm.auto: a widget would bring require.js into the book, and that breaks its charts.
    for sample in tqdm(samples, desc=store.name, unit="sample"):
        try:
            found = store.rows(sample)
            if found is None:
                found = store.excuse(sample)
            if not isinstance(found, pd.DataFrame | Unmeasured):
                _check(sample)
                found = _computed(sample, store, compute, before=found)
                computed += isinstance(found, pd.DataFrame | Unmeasured)
        except SampleError as error:
            found = error
        if isinstance(found, SampleError):
            reason = found.reason.encode(errors="backslashreplace").decode()  # it may name a file of another encoding
            problems[sample.id] = (reason if isinstance(found, Unmeasured) else UNUSABLE, reason)
        else:
            tables.append(found)
    done = Done(
        samples=samples,
        rows=pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(),
        problems=problems,
        computed=computed,
        folder=store.folder,
    )
    try:
        store.describe(**facts, computed=computed, left_out=done.left_out.to_dict("records"))
    except Unwritable as error:
        warnings.warn(f"this measurement was not recorded: {error}", stacklevel=2)
    return done


def distinct(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """Each sample once, in the order given. Those that were given twice are named in a warning.

    Raises:
        TypeError: Something is no sample.
        ValueError: Different samples have the same id, or a sample's id, task or category cannot stand in a table.
    """
    by_id: dict[str, list[Sample]] = {}
    for place, sample in enumerate(samples):
        if not isinstance(sample, Sample):
            raise TypeError(f"samples[{place}] is a {type(sample).__name__}, not an avsink.Sample")
        for name, value in (("id", sample.id), ("task", sample.task), ("category", sample.category)):
            if not isinstance(value, str) or value != value.encode(errors="ignore").decode():
                raise ValueError(f"samples[{place}]: its {name} is {value!r}, which is not text that UTF-8 can hold")
        by_id.setdefault(sample.id, []).append(sample)
    again = {id: group for id, group in by_id.items() if len(group) > 1}
    if differ := [id for id, group in again.items() if len({fingerprints.sample(sample) for sample in group}) > 1]:
        raise ValueError(f"different samples have the same id: {_some(differ)}. Give each an id of its own")
    if again:
        warnings.warn(f"given more than once, and measured once: {_some(again)}", stacklevel=3)
    return tuple(group[0] for group in by_id.values())


def _some(ids: Collection[str]) -> str:
    shown = ", ".join(map(repr, list(ids)[:SHOWN]))
    return f"{shown} and {len(ids) - SHOWN} more" if len(ids) > SHOWN else shown


def _check(sample: Sample) -> None:
    try:
        sample.check()
    except OSError as error:
        raise SampleError(sample.id, f"its files cannot be looked at ({error.strerror or error})") from None


def _computed(
    sample: Sample, store: ResultStore, compute: Callable[[Sample], pd.DataFrame], *, before: SampleError | None
) -> pd.DataFrame | SampleError:
    """The rows of a sample, or why it has none; either is kept. before: what came of it when it was last tried."""
    try:
        store.ensure_writable()
    except Unwritable:
        if before is None:
            raise
        return before
    try:
        content = fingerprints.sample(sample)
        rows = compute(sample)
        if fingerprints.sample(sample) != content:
            raise SampleError(sample.id, "its files were changed while it was measured")
        return store.save(sample, rows)
    except SampleError as error:
        store.leave_out(sample, error)
        return error
