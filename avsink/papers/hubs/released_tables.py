"""The figures of the page on released files: computed from a clone, or read from small tables that were computed so.

    python -m avsink.papers.hubs.released_tables CLONE                        # read everything, list what cannot be
    python -m avsink.papers.hubs.released_tables CLONE --write data/papers    # ... and write the tables
    python -m avsink.papers.hubs.released_tables CLONE --check                # are those at hand of this clone?

CLONE is a clone of github.com/kaistmm/crossmodal-hub. `read` gives the same tables either way: a clone's pass through
CSV, too. Means over clips have 95 % bootstrap intervals, and n. `released_views` prepares them for charts and rules.
"""

from __future__ import annotations

import argparse
import io
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from avsink import resources
from avsink.datasets.loaded import Problem
from avsink.papers.hubs import released, released_items, released_sinks, sink_tables
from avsink.papers.hubs.measure import DOMINANT
from avsink.papers.hubs.released_names import DOMINANCE
from avsink.papers.tables import paper
from avsink.results.bootstrap import summarise

__all__ = ["NAMES", "SOURCE", "Tables", "derive", "main", "read", "write"]

SOURCE = "github.com/kaistmm/crossmodal-hub, commit 7e16842"
PREFIX = "hubs_released_"
SHOWN = 20  # problems of histories, where none can be used
PLACES = 10  # parts of a grid or chunk
DIGITS = 6  # of all numbers but effects, which are as released
LISTS = "json_files/causal_tracing"
PROBABILITIES = ["p_clean_clean", "p_clean_corrupt", "p_corrupted_clean", "p_corrupted_corrupt"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tables:
    """What the page shows, as tables.

    Attributes:
        source: Where the figures come from.
        items: One row per list of step 1: list, dominance (that of its case), items, dominated (items that this
            modality dominates, by the released predictions), correct (items answered rightly), twice (items with two
            released sets of probabilities), again (mean absolute difference of the two).
        clips: One row per history: sample, dominance, one_in, n_layers, grid (tokens of a temporal grid), video and
            audio (global sinks), and those of `released_sinks.ties`.
        seconds: modality, second, mean (share of its tokens that are global sinks), low, high, n.
        within: modality, when ("first" grid or chunk, or "later"), place (middle of a tenth of it, from 0 to 1), mean
            (share as above), low, high, n.
        attention: modality (of the sinks), reader, layer, mean (attention that a later token of the reader pays to a
            global sink), low, high, n.
        mds: `sink_tables.mds_by_layer`.
        layers: modality, layer, other, mean (overlap), low, high, n; as `released_sinks.stability`.
        halves: `released_sinks.halves`, of all clips.
        effects: The rows of `released.effects`, without what only the files' names and texts say.
        problems: What could not be read.
        lacking: What is unknown of what could be read.
    """

    source: str
    items: pd.DataFrame
    clips: pd.DataFrame
    seconds: pd.DataFrame
    within: pd.DataFrame
    attention: pd.DataFrame
    mds: pd.DataFrame
    layers: pd.DataFrame
    halves: pd.DataFrame
    effects: pd.DataFrame
    problems: tuple[Problem, ...] = ()
    lacking: tuple[str, ...] = ()


NAMES = ("items", "clips", "seconds", "within", "attention", "mds", "layers", "halves", "effects")
"""The tables that are kept, each in ``data/papers/hubs_released_<name>.csv``."""


def read(clone: Path | str = "") -> Tables:
    """Read the tables.

    Args:
        clone: The clone from which to compute them; "" for those in ``data/papers``.

    Raises:
        MissingData: The clone is not there, or lacks the files.
        ValueError: None of its histories can be used.
    """
    if clone:
        return derive(clone)
    return Tables(source=SOURCE, **{name: paper(PREFIX + name) for name in NAMES})


def derive(clone: Path | str) -> Tables:
    """Compute the tables from a clone."""
    clone = resources.expanded(clone)
    histories, effects = released.histories(clone), released.effects(clone)
    lists, again = (released_items.items(clone / LISTS / step) for step in ("step1", "step2"))
    clips, odd = released_sinks.clips(histories.table)
    if not clips:
        why = [*histories.problems, *odd]
        more = [f"and {len(why) - SHOWN:,} more"] if len(why) > SHOWN else []
        raise ValueError("\n  ".join([f"no history in {clone} can be used:", *map(str, why[:SHOWN]), *more]))
    rows, tokens = (
        pd.concat([rows_of(clip) for clip in clips], ignore_index=True)
        for rows_of in (released_sinks.rows, released_sinks.tokens)
    )
    one_in = clips[0].one_in
    found = {
        "items": _items(lists.table, again.table),
        "clips": _clips(clips),
        "seconds": _seconds(tokens),
        "within": _within(tokens),
        "attention": _attention(rows),
        "mds": sink_tables.mds_by_layer(rows, one_in=one_in),
        "layers": _layers(clips),
        "halves": pd.concat([released_sinks.halves(clip) for clip in clips], ignore_index=True),
        "effects": effects.table.drop(columns=["clip", "case", "file", "label", "label_name", "written", "patched"]),
    }
    read = (histories, effects, lists, again, released.results(clone))
    return Tables(
        source=f"{clone.name}: {sum(len(one.files) for one in read)} files",
        **{name: _plain(table if name == "effects" else table.round(DIGITS)) for name, table in found.items()},
        problems=(*(problem for one in read for problem in one.problems), *odd),
        lacking=tuple(sentence for one in read for sentence in one.lacking),
    )


def write(tables: Tables, folder: Path | str) -> list[Path]:
    """Write the tables that are kept; return their files."""
    paths = {name: resources.expanded(folder) / f"{PREFIX}{name}.csv" for name in NAMES}
    for name, path in paths.items():
        getattr(tables, name).to_csv(path, index=False)
    return list(paths.values())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", metavar="CLONE", help="a clone of github.com/kaistmm/crossmodal-hub")
    parser.add_argument("--write", metavar="DIR", help="write the tables into this folder")
    parser.add_argument("--check", action="store_true", help="compare them with those at hand")
    given = parser.parse_args(arguments)
    try:
        tables = derive(given.clone)
        print(f"{tables.source}, {len(tables.clips)} histories, {len(tables.effects)} effects")
        print("\n".join([*tables.lacking, *(f"cannot be read: {problem}" for problem in tables.problems)]))
        if given.write:
            write(tables, given.write)
        here = read() if given.check else tables
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    other = [name for name in NAMES if not getattr(here, name).equals(getattr(tables, name))]
    if other:
        print(f"the tables at hand are not of this clone: {', '.join(other)}", file=sys.stderr)
    return 1 if other or tables.problems else 0


def _items(lists: pd.DataFrame, again: pd.DataFrame) -> pd.DataFrame:
    """One row per list; lists of the second step are of a case, not of a list of the first."""
    pairs = again.astype(dict.fromkeys(PROBABILITIES, float)).groupby(["case", "sample"], sort=False)[PROBABILITIES]
    spread = (pairs.max() - pairs.min())[pairs.size() == 2].mean(axis=1)  # by (case, sample)
    table = []
    for (name, case), own in lists.groupby(["list", "case"], sort=False):
        dominance = DOMINANCE.get(case)
        dominated = own["dominance"] == dominance if dominance in DOMINANT else own["dominance"].isin(DOMINANT)
        twice = spread[spread.index.isin([(case, sample) for sample in own["sample"]])]
        correct = own["predicted_av"] == own["label"]
        table.append((name, dominance, len(own), dominated.sum(), correct.sum(), len(twice), twice.mean()))
    return pd.DataFrame(table, columns=["list", "dominance", "items", "dominated", "correct", "twice", "again"])


def _clips(clips: list[released_sinks.Clip]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sample": clip.sample,
            "dominance": DOMINANCE.get(clip.case),
            "one_in": clip.one_in,
            "n_layers": len(clip.sinks.mds),
            "grid": clip.grid,
            **{modality: len(clip.listed(modality)) for modality in released_sinks.MODALITIES},
            **released_sinks.ties(clip),
        }
        for clip in clips
    )


def _seconds(tokens: pd.DataFrame) -> pd.DataFrame:
    """Of the tokens of each second, the share that are global sinks."""
    chunk, offset = tokens["part"] * released_sinks.CHUNK, tokens["offset"] * released_sinks.CHUNK // tokens["size"]
    second = tokens["part"].where(tokens["modality"] == "video", chunk + offset)
    return summarise(tokens.assign(second=second), by=["modality", "second"], value="sink")


def _within(tokens: pd.DataFrame) -> pd.DataFrame:
    """Of the tokens of each tenth of a grid or chunk, the share that are global sinks."""
    when = (tokens["part"] == 0).map({True: "first", False: "later"})
    place = (tokens["offset"] * PLACES // tokens["size"] + 0.5) / PLACES
    found = summarise(tokens.assign(when=when, place=place), by=["modality", "when", "place"], value="sink")
    return found.sort_values(["modality", "when", "place"], ignore_index=True)


def _attention(rows: pd.DataFrame) -> pd.DataFrame:
    names = {f"read_by_{modality}": modality for modality in released_sinks.MODALITIES}
    own = rows.groupby(["sample", "modality", "layer"])[list(names)].mean().rename(columns=names)
    own = own.rename_axis(columns="reader").stack().rename("paid").reset_index()
    return summarise(own, by=["modality", "reader", "layer"], value="paid")


def _layers(clips: list[released_sinks.Clip]) -> pd.DataFrame:
    table = pd.concat([released_sinks.stability(clip) for clip in clips], ignore_index=True)
    return summarise(table, by=["modality", "layer", "other"], value="overlap")


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """A table as it is after writing and reading it."""
    return pd.read_csv(io.StringIO(table.to_csv(index=False)))


if __name__ == "__main__":
    sys.exit(main())
