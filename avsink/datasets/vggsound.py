"""VGGSound (Chen et al. 2020): clips of ten seconds, each with one of 309 sounding objects, as 20-way questions.

1. The table is `test.csv` (clip, label), or without it `vggsound.csv` (id, start, label, split), of which only the
   split ``test`` is read. Neither has a header. A label with a comma is quoted.
2. `stat.csv` (label, count, super-class) groups the labels. Without it, or with an older version that has no
   super-classes, all labels are one group. With super-classes, a clip whose label has none is a problem.
3. Clips are found by their base names, see `avsink.datasets.files.clips`.
4. Every label is asked in one fixed set of 20 labels, see `avsink.datasets.twenty_way`. A file `cases.json`, ``{name:
   [20 labels]}``, gives sets that are used before others are drawn: for example those of the Hubs paper, which
   `avsink.papers.hubs.released_items.cases` reads.

`task` is ``sounding object: <super-class>`` and `category` the set. A clip is one sample or one problem.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from avsink.datasets.files import tables
from avsink.datasets.files.clips import Clips, checked, clip_name
from avsink.datasets.files.sources import MissingData, locate
from avsink.datasets.files.tables import Row, TableError
from avsink.datasets.loaded import Loaded, cell, check_text, collect
from avsink.datasets.prompts import Template, template
from avsink.datasets.twenty_way import Cases, draw, item
from avsink.sample import Sample

__all__ = ["NAME", "SEED", "SuperClasses", "cases_of", "given_cases", "load", "super_classes"]

NAME = "vggsound"
TEST, WHOLE, STAT, CASES = "test.csv", "vggsound.csv", "stat.csv", "cases.json"
SEED = 0  # of the sets of labels and the order of the options
ALL = "all"  # the only group, if super-classes are unknown


@dataclass(frozen=True, kw_only=True)
class SuperClasses:
    """The groups of labels in stat.csv.

    Attributes:
        groups: Super-class -> its labels; {} if there are none.
        lacking: What is wrong, one sentence each.
    """

    groups: Mapping[str, tuple[str, ...]]
    lacking: tuple[str, ...] = ()


def load(root: Path | str = "", *, prompt: Path | str = "") -> Loaded:
    """Read all clips of the test split, each as a sample or a problem. `prompt` is a template's name or file.

    Raises:
        MissingData: If there is no table.
        TableError: If a table cannot be read, or no 20-way question can be made of its labels.
        PromptError: If there is no such template, or it cannot be used.
    """
    words = template(prompt, NAME)
    root = locate(NAME, root)
    found = tables.find(root, TEST, WHOLE)
    if not found:
        raise MissingData(f"no VGGSound in {root}: there is no {TEST} or {WHOLE}")
    rows = _test(found[0]) if found[0].name == TEST else _whole(found[0])
    classes = super_classes(root)
    cases = cases_of(root, classes, [label for row in rows if isinstance(label := row.values.get("label"), str)])
    clips = Clips(root)
    samples, problems = collect(
        NAME, rows, key="clip", convert=lambda id, values: _sample(id, values, cases, clips, words)
    )
    lacking = (*tables.lacking({found[0]: rows}), *classes.lacking)
    return Loaded(name=NAME, samples=samples, problems=problems, tables=tuple(found), lacking=lacking)


def super_classes(root: Path) -> SuperClasses:
    """Read the super-classes of the stat.csv in a folder."""
    found = tables.find(root, STAT)
    if not found:
        return SuperClasses(groups={}, lacking=(f"{STAT} is not there: without it all labels are one group",))
    groups: dict[str, list[str]] = {}
    faults, seen = [], set()
    for row in tables.read_bare(found[0], ("label", "count", "group"), at_least=2):
        label, group = (str(row.values.get(name) or "").strip() for name in ("label", "group"))
        if row.fault or not label or label in seen:
            faults.append(f"{row.where}: {row.fault or ('it has no label' if not label else f'{label!r} again')}")
            continue
        seen.add(label)
        groups.setdefault(group, []).append(label)
    if not groups:
        faults.append(f"{STAT} names no label, so all labels are one group")
    elif set(groups) == {""}:
        faults.append(f"{STAT} is an older version without super-classes: all labels are one group")
        groups = {}
    elif "" in groups:
        faults.append(
            f"{STAT} has no super-class for {', '.join(groups[''][:3])}: such labels are a group of their own"
        )
        groups[ALL] = groups.pop("")
    return SuperClasses(groups={group: tuple(labels) for group, labels in groups.items()}, lacking=tuple(faults))


def given_cases(root: Path) -> dict[str, tuple[str, ...]]:
    """Read the sets in a folder's cases.json; {} if there is none.

    Raises:
        TableError: If the file has another form.
    """
    found = tables.find(root, CASES)
    if not found:
        return {}
    content = tables.read_json(found[0])
    lists = content.values() if isinstance(content, dict) else [None]
    texts = [labels if isinstance(labels, list) else [None] for labels in lists]
    if not all(isinstance(label, str) and label.strip() for labels in texts for label in labels):
        raise TableError(f"{CASES} is not an object of lists of labels, {{name: [20 labels]}}")
    if name := tables.repeated(content):
        raise TableError(f"{CASES} has two sets called {name!r}")
    try:
        check_text(content)
    except ValueError as error:
        raise TableError(f"{CASES}: {error}") from None
    return {name: tuple(labels) for name, labels in content.items()}


def cases_of(root: Path, classes: SuperClasses, labels: list[str]) -> Cases:
    """Make the sets of 20 labels.

    Args:
        root: The folder, which may hold a cases.json.
        classes: The groups of stat.csv.
        labels: The labels of the table, which form one group if stat.csv gives no groups.

    Raises:
        TableError: If no set can be made, for example because there are fewer than 20 labels.
    """
    given = given_cases(root)
    groups = classes.groups or {ALL: sorted({label.strip() for label in labels} - {""})}
    try:
        return draw(groups, given=given, seed=SEED)
    except ValueError as error:
        why = "; ".join([str(error), *classes.lacking[:3]])
        raise TableError(f"no 20-way questions can be asked in {root}: {why}") from None


def _test(path: Path) -> list[Row]:
    rows = tables.read_bare(path, ("clip", "label"))
    return [_with(row, clip=str(row.values.get("clip") or "").strip().removesuffix(".mp4")) for row in rows]


def _whole(path: Path) -> list[Row]:
    kept = []
    for row in tables.read_bare(path, ("id", "start", "label", "split")):
        split = str(row.values.get("split") or "").strip()
        if not row.fault and split == "train":
            continue
        fault = row.fault or ("" if split == "test" else f"its split is {split!r}; train or test is expected")
        try:
            clip = clip_name(str(row.values.get("id") or "").strip(), row.values.get("start"))
        except ValueError as error:
            clip, fault = "", fault or str(error)
        kept.append(_with(row, clip=clip, fault=fault))
    return kept


def _with(row: Row, *, clip: str, fault: str = "") -> Row:
    return Row(values={**row.values, "clip": clip or None}, where=row.where, fault=fault or row.fault)


def _sample(id: str, values: Mapping[str, object], cases: Cases, clips: Clips, words: Template) -> Sample:
    label, clip = cell(values, "label"), checked(cell(values, "clip"))
    return item(id, cases.of(label), label, clip=clips.find(clip), truth={"clip": clip}, words=words, seed=SEED)
