"""Check whether a dataset is complete and usable: counts by task, and every problem with the id of its sample.

    python -m avsink.datasets.check av-speakerbench --root DIR
    python -m avsink.datasets.check worldsense --root DIR --selection knockout    # with the paper's counts
    python -m avsink.datasets.check hubs --root CLONE    # the items of Hubs' authors (`avsink.datasets.hubs`)

1. every row is read, and becomes a sample or a problem (`avsink.datasets.loaded`);
2. every file that a sample needs is opened, and its beginning decoded (`avsink.datasets.files.probe`); with
   `--no-media` a file only has to exist;
3. counts are printed, then the problems. Hubs' lists are counted even if none of their clips is there. The exit code is
   1 if there is a problem or no sample at all, else 0. A count that differs from the paper's is shown but is not an
   error: the paper's count may be the wrong one.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tqdm.auto import tqdm

from avsink.datasets import DATASETS, hubs, hubs_lists, load
from avsink.datasets.files.sources import HUB, MissingData, here
from avsink.datasets.files.zips import still_packed
from avsink.datasets.loaded import Loaded, Problem
from avsink.datasets.selections import SELECTIONS, same_task, select

__all__ = ["main", "report", "with_media"]

NO_FILE = "missing "  # how the reason begins


def with_media(loaded: Loaded) -> Loaded:
    """Step 2: turn samples whose files cannot be decoded into problems."""
    from avsink.datasets.files.probe import fault

    good, problems = [], list(loaded.problems)
    for sample in tqdm(loaded.samples, desc="opening media", unit="sample", delay=1):
        faults = dict.fromkeys(reason for reason in map(fault, sample.media) if reason)
        good += [] if faults else [sample]
        problems += [Problem(id=sample.id, reason=reason) for reason in list(faults)[:1]]
    return replace(loaded, samples=tuple(good), problems=tuple(problems))


def report(loaded: Loaded, selection: str | None = None) -> str:
    """The report as text: samples by task and category, the orders of interleaved inputs, and the problems."""
    expected = SELECTIONS[loaded.name][selection] if selection else None
    blocks = [_head(loaded), _tasks(loaded, expected and expected.counts)]
    if any(sample.truth.get("structure") for sample in loaded.samples):
        blocks.append(_orders(loaded, expected and expected.structures))
    if unused := [sample for sample in loaded.samples if sample.truth.get("unused")]:
        blocks.append(
            f"{len(unused)} samples have media without a placeholder, which the model never sees: "
            + _some(f"{sample.id} ({', '.join(sample.truth['unused'])})" for sample in unused)
        )
    if loaded.name == hubs.NAME:
        bad = {problem.where for problem in loaded.problems if not problem.reason.startswith(NO_FILE)}
        blocks.append(_table(hubs_lists.HEADS, [hubs_lists.counts(path, without=bad) for path in loaded.tables]))
    if loaded.lacking:
        blocks.append("\n".join(["missing:", *(f"  {sentence}" for sentence in loaded.lacking)]))
    if loaded.problems:
        heads = [f"problems ({len(loaded.problems)}):", *_files_missing(loaded)]
        blocks.append("\n".join([*heads, *(f"  {p}" for p in loaded.problems)]))
    return "\n\n".join(blocks)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(DATASETS))
    parser.add_argument(
        "--root", default="", help="a folder, or the id of a copy on the Hub; default: $AVSINK_DATA/<name>"
    )
    parser.add_argument("--selection", help="only the tasks that Flow uses: knockout, cross-task, cross-dataset")
    parser.add_argument("--no-media", action="store_true", help="do not open the media")
    given = parser.parse_args(arguments)
    try:
        loaded = load(given.name, given.root)
        if given.selection:
            loaded = select(loaded, given.selection)
        if not given.no_media:
            loaded = with_media(loaded)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    lacking = [*loaded.lacking, *(_packed(given.name, given.root) if loaded.problems else ())]
    if not (loaded.samples or loaded.problems or lacking):
        lacking = [f"there is no sample{' of this selection' if given.selection else ''}"]
    loaded = _in_one_line(replace(loaded, lacking=tuple(lacking)))
    print(report(loaded, given.selection))
    return 1 if loaded.problems or loaded.lacking else 0


def _in_one_line(loaded: Loaded) -> Loaded:
    """Where there is no clip at all, say so once, and not of each sample."""
    gone = [problem for problem in loaded.problems if problem.reason.startswith("missing clip ")]
    at = next((k for k, sentence in enumerate(loaded.lacking) if sentence.startswith("no clip is in ")), None)
    if at is None or not gone:
        return loaded
    groups = Counter(problem.id.rpartition("/")[0] for problem in gone)
    whose = ", ".join(f"{group} {n:,}" for group, n in groups.items())
    lacking = list(loaded.lacking)
    lacking[at] += f"; {len(gone):,} samples lack theirs ({whose})"
    problems = tuple(problem for problem in loaded.problems if problem not in gone)
    return replace(loaded, lacking=tuple(lacking), problems=problems)


def _packed(name: str, root: str) -> list[str]:
    """The zips that are not fully unpacked and may hold what is missing, one sentence each."""
    if name not in HUB:
        return []
    try:
        packed = still_packed(here(name, root))
    except MissingData as error:
        return [str(error)]
    hint = f"unpack it with `python -m avsink.datasets.fetch {name} --root DIR --no-download`"
    return [f"{path.name} is not fully unpacked; {hint}" for path in packed]


def _head(loaded: Loaded) -> str:
    tables = f" from {_some(path.name for path in loaded.tables)}" if loaded.tables else ""
    version = f" ({loaded.version})" if loaded.version else ""
    published = f" (published: {HUB[loaded.name].rows:,} rows)" if loaded.name in HUB else ""
    return f"{loaded.name}{tables}{version}: {len(loaded.samples)} samples, {len(loaded.problems)} problems{published}"


def _files_missing(loaded: Loaded) -> list[str]:
    """How many samples of each kind, by the beginning of their ids, lack a file; nothing if none does."""
    groups = Counter(p.id.rpartition("/")[0] for p in loaded.problems if p.reason.startswith(NO_FILE))
    counts = ", ".join(f"{group} {n:,}" for group, n in groups.items())
    return [f"  {groups.total():,} of them lack a file: {counts}"] if groups else []


def _tasks(loaded: Loaded, expected) -> str:
    count = Counter((sample.task, sample.category) for sample in loaded.samples)
    if not expected:
        rows = [(task, category, n) for (task, category), n in sorted(count.items())]
        return _table(["task", "category", "samples"], rows)
    rows = []
    for task, wanted in expected.items():
        found = {key: n for key, n in count.items() if same_task(key[0]) == same_task(task)}
        categories = ", ".join(f"{category} {n}" for (_, category), n in sorted(found.items()))
        rows.append((task, sum(found.values()), wanted, categories))
    rows.append(("all", sum(row[1] for row in rows), sum(expected.values()), ""))
    return _table(["task", "samples", "in the paper", "by category"], rows)


def _orders(loaded: Loaded, expected) -> str:
    count = Counter((sample.task, tuple(sample.truth.get("structure", ()))) for sample in loaded.samples)
    keys = {(same_task(task), order): (task, order) for task, order in count}
    papers = {(same_task(t), order): (t, order, n) for t, of_t in (expected or {}).items() for order, n in of_t.items()}
    rows = []
    for key in sorted({*keys, *(key for key, (_, _, n) in papers.items() if n)}):
        task, order = keys.get(key) or papers[key][:2]
        wanted = [papers[key][2] if key in papers else 0] if expected else []
        rows.append((task, ", ".join(order) or "no matching question", count[task, order], *wanted))
    return _table(["task", "order", "samples", *(["in the paper"] if expected else [])], rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as text; numbers are aligned to the right."""
    rows = [list(heads), *([str(value) for value in row] for row in rows)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(heads))]

    def line(row: list[str]) -> str:
        numbers = [text.isdecimal() for text in row]
        cells = zip(row, widths, numbers, strict=True)
        return "  ".join(text.rjust(width) if n else text.ljust(width) for text, width, n in cells).rstrip()

    return "\n".join(map(line, rows))


def _some(names: Iterable[str], most: int = 6) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


if __name__ == "__main__":
    sys.exit(main())
