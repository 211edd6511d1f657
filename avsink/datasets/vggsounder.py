"""VGGSounder (ICCV 2025): VGGSound's test clips with all their labels, each marked as seen, heard or both.

1. The table has one row per (clip, label): video_id, label, modality (A, V, AV), and three flags of the clip:
   background_music, static_image, voice_over. A csv in the folder is read, else the csv of the pip package.
2. The labels are pinned to **0.1.6** (``pip install vggsounder==0.1.6``). Version 1.0 of June 2026 relabelled about
   3,600 clips; earlier papers used 0.1.6 or older. From a package of another version only its copy of 0.1.6 is read. A
   csv in the folder may have any version: `Loaded.version` says which, by the number of rows or the file name. Two
   files are called 0.1.6: the package's (33,184 rows, 12,372 clips), and the repository's ``vggsounder_0.1.6.csv``
   (26,001 rows, 11,801 clips).
3. A file without ``+background-music`` in its name leaves out clips with background music, and is preferred.
4. A clip is one sample or one problem. The question is that of `avsink.datasets.twenty_way`, with VGGSound's
   super-classes if its stat.csv is there. It asks for the first label of modality AV whose set of 20 holds no second
   label that is heard, else for the first such label of modality A. If there is none, the clip is a problem, because
   the question would have two right answers. A label that is only seen may be among the wrong options.
5. The flags go into `truth`, with all labels by modality. Contradictory rows make the clip a problem.

The package is not a dependency; it is looked for only when needed, and its code is not run.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path

from avsink.datasets.files import tables
from avsink.datasets.files.clips import Clips, checked
from avsink.datasets.files.sources import MissingData, locate
from avsink.datasets.files.tables import Row
from avsink.datasets.loaded import Loaded, collect, key_of
from avsink.datasets.prompts import Template, template
from avsink.datasets.twenty_way import Case, Cases, item
from avsink.datasets.vggsound import SEED, cases_of, super_classes
from avsink.sample import Sample

__all__ = ["NAME", "VERSION", "grouped", "load", "packaged"]

NAME = "vggsounder"
VERSION = "0.1.6"
MODALITIES = ("A", "V", "AV")
FLAGS = ("background_music", "static_image", "voice_over")
COLUMNS = ("video_id", "label", "modality", *FLAGS)
IN_FOLDER = (f"vggsounder_{VERSION}.csv", "vggsounder.csv", f"vggsounder+background-music_{VERSION}.csv")
IN_FOLDER += ("vggsounder+background-music.csv", "vggsounder*.csv")
RELEASES = {33_184: f"{VERSION}, as in the pip package", 41_172: f"{VERSION}, as in the pip package"}
RELEASES |= {26_001: f"{VERSION}, as in the repository", 33_495: f"{VERSION}, as in the repository"}
RELEASES |= {29_509: "1.0", 37_395: "1.0"}
"""Number of rows -> version, for the published files with and without background music."""
REMEDY = f"`pip install vggsounder=={VERSION}`, or put a csv of VGGSounder into the folder of the clips"


def load(root: Path | str = "", *, csv_path: Path | str | None = None, prompt: Path | str = "") -> Loaded:
    """Read all clips, each as a sample or a problem.

    Args:
        root: Where the clips are, see `avsink.datasets.files.sources`.
        csv_path: The csv of the labels, if it is not in `root`.
        prompt: A template's name or file.

    Raises:
        MissingData: If there are no labels.
        TableError: If a table cannot be read, or no 20-way question can be made of its labels.
        PromptError: If there is no such template, or it cannot be used.
    """
    words = template(prompt, NAME)
    root = locate(NAME, root)
    if csv_path is not None:
        table, version = Path(csv_path), ""
        if not table.is_file():
            raise MissingData(f"there is no file {table}")
    elif found := tables.find(root, *IN_FOLDER):
        table, version = found[0], ""
    else:
        table, version = packaged(), f"{VERSION} of the pip package"
    rows = tables.read(table, needs=COLUMNS)
    classes = super_classes(root)
    labels = [label for row in rows if isinstance(label := row.values.get("label"), str)]
    cases, clips = cases_of(root, classes, labels), Clips(root)
    samples, problems = collect(
        NAME, grouped(rows), key="video_id", convert=lambda id, values: _sample(id, values, cases, clips, words)
    )
    return Loaded(
        name=NAME,
        samples=samples,
        problems=problems,
        tables=(table,),
        lacking=(*tables.lacking({table: rows}), *classes.lacking),
        version=f"labels of {version or _version(table, len(rows))}",
    )


def packaged() -> Path:
    """The path of the csv of version 0.1.6 in the installed pip package.

    Raises:
        MissingData: If the package is not installed or lacks that csv.
    """
    spec = importlib.util.find_spec(NAME)
    if spec is None or not spec.submodule_search_locations:
        raise MissingData(f"the labels of VGGSounder are not here: {REMEDY}")
    try:
        version = importlib.metadata.version(NAME)
    except importlib.metadata.PackageNotFoundError:
        version = "an unknown version"
    names = [f"vggsounder_{VERSION}.csv"] + (["vggsounder.csv"] if version == VERSION else [])
    for folder in spec.submodule_search_locations:
        for name in names:
            if (path := Path(folder) / "data" / name).is_file():
                return path
    raise MissingData(f"the installed vggsounder is {version} and has no labels of {VERSION}: {REMEDY}")


def grouped(rows: Iterable[Row]) -> list[Row]:
    """Join the rows of each clip into one, with `labels` (label -> modality) and flags. One bad row makes it faulty."""
    clips: dict[str, list[Row]] = {}
    found: list[Row] = []
    for row in rows:
        if id := key_of(row.values.get("video_id")):
            clips.setdefault(id, []).append(row)
        else:
            found.append(row)
    for id, own in clips.items():
        values: dict[str, object] = {"video_id": id, "labels": {}}
        fault = ""
        for row in own:
            fault = fault or _add(values, row)
        found.append(Row(values=values, where=own[0].where, fault=fault))
    return found


def _add(values: dict[str, object], row: Row) -> str:
    """Add one row to its clip; return what is wrong with it, or ''."""
    if row.fault:
        return f"{row.where}: {row.fault}"
    label, modality = (str(row.values.get(name) or "").strip() for name in ("label", "modality"))
    if not label:
        return f"{row.where} has no label"
    if modality not in MODALITIES:
        return f"{row.where}: its modality is {modality!r}; allowed: {', '.join(MODALITIES)}"
    if label in values["labels"]:
        return f"{row.where}: it has the label {label!r} a second time"
    values["labels"][label] = modality
    for name in FLAGS:
        flag = {"true": True, "false": False}.get(str(row.values.get(name)).strip().lower())
        if flag is None:
            return f"{row.where}: its {name} is {row.values.get(name)!r}; True or False is expected"
        if values.setdefault(name, flag) != flag:
            return f"{row.where}: its {name} is not that of the clip's other rows"
    return ""


def _sample(id: str, values: Mapping[str, object], cases: Cases, clips: Clips, words: Template) -> Sample:
    clip = checked(str(values["video_id"]))
    labels: Mapping[str, str] = values["labels"]
    case, label = _asked(labels, cases)
    truth = {name: [label for label, one in labels.items() if one == name] for name in MODALITIES}
    truth = {"clip": clip, "labels": truth, "modality": labels[label]} | {name: values[name] for name in FLAGS}
    return item(id, case, label, clip=clips.find(clip), truth=truth, words=words, seed=SEED)


def _asked(labels: Mapping[str, str], cases: Cases) -> tuple[Case, str]:
    """Step 4. Raises ValueError."""
    heard = [label for wanted in ("AV", "A") for label, modality in labels.items() if modality == wanted]
    if not heard:
        raise ValueError("none of its labels is heard")
    for label in heard:
        case = cases.of(label)
        if sum(other in case.labels for other in heard) == 1:
            return case, label
    both = [other for other in heard if other in cases.of(heard[0]).labels]
    raise ValueError(
        f"the question would have {len(both)} right answers: {' and '.join(map(repr, both))} are both heard"
    )


def _version(table: Path, n_rows: int) -> str:
    named = f"{VERSION} by the file's name" if VERSION in table.name else "an unknown version"
    return RELEASES.get(n_rows, f"{named} ({n_rows:,} rows)")
