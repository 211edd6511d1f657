"""AudioSet's evaluation segments (Gemmeke et al. 2017), to be captioned in one sentence.

1. `eval_segments.csv`: id, start, end, labels. Each comma is followed by a space, the labels are one quoted list of
   class ids, and lines that begin with ``#`` are comments. One comment announces the number of segments; if there are
   fewer, the file was cut off.
2. `class_labels_indices.csv` names the 527 classes; `ontology.json` has the links between classes.
3. Strong labels are optional (`audioset_eval_strong.tsv`, with or without a header): clip, start, end, class, where the
   clip is ``<id>_<start in milliseconds>`` and times count from its start. They go into `truth` as `spans`, ``[name,
   start, stop]`` in seconds. Classes that occur only there are named by `mid_to_display_name.tsv`; a row whose class
   has no name is a problem, but its segment is kept.
4. AudioSet publishes no clips, and copies name them differently. A clip is found in any folder by its base name:
   ``<id>_<start in ms>``, ``<id>_<start, 6 digits>``, ``<id>_<start>_<end>`` or ``<id>``, the first that exists.
5. A segment is one sample or one problem. The sample asks for a caption in a single sentence, and its true objects are
   the names of its labels; a label whose class no table names makes the segment a problem. `category` is the highest
   class that all labels share, for example ``Animal``, or ``mixed``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from avsink.datasets.files import tables
from avsink.datasets.files.clips import Clips
from avsink.datasets.files.sources import MissingData, locate
from avsink.datasets.files.tables import Row, TableError
from avsink.datasets.loaded import Loaded, Problem, cell, collect
from avsink.datasets.ontology import Ontology, read_ontology
from avsink.datasets.prompts import Template, template
from avsink.sample import Media, Sample

__all__ = ["NAME", "class_names", "load", "strong_labels"]

NAME = "audioset"
SEGMENTS, CLASSES, ONTOLOGY = "eval_segments.csv", "class_labels_indices.csv", "ontology.json"
STRONG, STRONG_NAMES = "*strong*.tsv", "mid_to_display_name.tsv"
COLUMNS = ("id", "start", "end", "labels")
STRONG_COLUMNS = ("clip", "start", "end", "class")
ANNOUNCED = re.compile(r"num_segs=(\d+)")
STRONG_CLIP = re.compile(r"[\w-]{11}_\d+", re.ASCII)
ID = re.compile(r"[\w-]{11}", re.ASCII)
MIXED = "mixed"
TASK = "caption"
NAMELESS = "a class without id or name, or one named twice"

Span = tuple[str, float, float]
"""The name of a class, and when it starts and stops sounding, in seconds."""


def load(root: Path | str = "", *, prompt: Path | str = "") -> Loaded:
    """Read all evaluation segments, each as a sample or a problem. `prompt` is a template's name or file.

    Raises:
        MissingData: If there is no table of segments, or no class has a name.
        TableError: If a table cannot be read.
        PromptError: If there is no such template, or it cannot be used.
    """
    words = template(prompt, NAME)
    root = locate(NAME, root)
    found = tables.find(root, SEGMENTS)
    if not found:
        raise MissingData(f"no AudioSet in {root}: there is no {SEGMENTS}")
    lacking: list[str] = []
    names = _or_none(root, CLASSES, class_names, lacking, "classes are named by the ontology alone") or {}
    ontology = _or_none(root, ONTOLOGY, read_ontology, lacking, "no segment has a category")
    names = {sound.id: sound.name for sound in (ontology.sounds.values() if ontology else ())} | names
    if not names:
        raise MissingData(f"no AudioSet in {root}: there is neither {CLASSES} nor {ONTOLOGY}, so no class has a name")
    spans, problems = _spans(root, names | _strong_names(root), lacking)
    rows = [_keyed(row) for row in tables.read_bare(found[0], COLUMNS, comments=True, spaced=True)]
    lacking += tables.lacking({found[0]: rows})
    announced = ANNOUNCED.search(tables.text(found[0]))
    if announced and int(announced[1]) != len(rows):
        lacking.append(f"{SEGMENTS} announces {int(announced[1]):,} segments, {len(rows):,} are there; fetch it again")
    if absent := len(set(spans) - {row.values.get("segment") for row in rows}):
        lacking.append(f"{absent:,} clips with strong labels are not among the segments; their spans are not used")
    clips = Clips(root)
    samples, own = collect(
        NAME, rows, key="segment", convert=lambda id, values: _sample(id, values, names, ontology, spans, clips, words)
    )
    return Loaded(name=NAME, samples=samples, problems=(*own, *problems), tables=tuple(found), lacking=tuple(lacking))


def class_names(path: Path) -> dict[str, str]:
    """Read class_labels_indices.csv: class id -> name.

    Raises:
        TableError: If a class has no id or name, or occurs twice.
    """
    names: dict[str, str] = {}
    for row in tables.read(path, needs=("mid", "display_name")):
        id, name = row.values.get("mid"), row.values.get("display_name")
        if row.fault or not id or not name or not name.strip() or id in names:
            raise TableError(f"{row.where}: {row.fault or NAMELESS}")
        names[id] = name
    return names


def strong_labels(path: Path, names: Mapping[str, str]) -> tuple[dict[str, tuple[Span, ...]], tuple[Problem, ...]]:
    """Read a table of strong labels.

    Args:
        path: The table.
        names: Class id -> name.

    Returns:
        Clip -> its spans, in the order of the rows; and the rows that cannot be used.
    """
    spans: dict[str, list[Span]] = defaultdict(list)
    problems = []
    for number, row in enumerate(tables.read_bare(path, STRONG_COLUMNS)):
        clip, kind = (str(row.values.get(name) or "").strip() for name in ("clip", "class"))
        try:
            if not row.fault and number == 0 and not STRONG_CLIP.fullmatch(clip):
                continue  # the header
            if row.fault or not kind or not STRONG_CLIP.fullmatch(clip):
                raise ValueError(row.fault or f"{clip!r} is not a clip (<id>_<milliseconds>), or its class is missing")
            if kind not in names:
                raise ValueError(f"its class {kind} has no name in {STRONG_NAMES}, {CLASSES} or {ONTOLOGY}")
            span = (names[kind], *_ordered(row.values))
            if span in spans[clip]:
                raise ValueError("another row has the same span")
            spans[clip].append(span)
        except ValueError as error:
            problems.append(Problem(id=f"{NAME}/({row.where})", reason=str(error), where=row.where))
    return {clip: tuple(own) for clip, own in spans.items()}, tuple(problems)


def _strong_names(root: Path) -> dict[str, str]:
    """Class id -> name, for the classes that only strong labels use; {} if there is no such table."""
    found = tables.find(root, STRONG_NAMES)
    rows = tables.read_bare(found[0], ("mid", "display_name")) if found else []
    names: dict[str, str] = {}
    for row in rows:
        if row.fault or not all(value and value.strip() for value in row.values.values()) or row.values["mid"] in names:
            raise TableError(f"{row.where}: {row.fault or NAMELESS}")
        names[row.values["mid"]] = row.values["display_name"]
    return names


def _spans(
    root: Path, names: Mapping[str, str], lacking: list[str]
) -> tuple[dict[str, tuple[Span, ...]], tuple[Problem, ...]]:
    """The strong labels of the evaluation clips in a folder, without the per-frame form (``framed``)."""
    found = [path for path in tables.find(root, STRONG) if "framed" not in path.name and "train" not in path.name]
    if len(found) > 1:
        raise TableError(f"{root} has several tables of strong labels: {', '.join(path.name for path in found)}")
    spans, problems = strong_labels(found[0], names) if found else ({}, ())
    if found and not spans:
        lacking.append(f"{found[0].name} has no strong label that can be used")
    return spans, problems


def _keyed(row: Row) -> Row:
    """A row with the name of its segment in the strong labels, ``<id>_<start in ms>``."""
    if row.fault:
        return row
    try:
        id = cell(row.values, "id")
        if not ID.fullmatch(id):
            raise ValueError(f"its id {id!r} is not a YouTube id")
        start, _ = _ordered(row.values)
    except ValueError as error:
        return Row(values=row.values, where=row.where, fault=str(error))
    return Row(values={**row.values, "id": id, "segment": f"{id}_{round(1000 * start)}"}, where=row.where)


def _sample(
    id: str,
    values: Mapping[str, object],
    names: Mapping[str, str],
    ontology: Ontology | None,
    spans: Mapping[str, tuple[Span, ...]],
    clips: Clips,
    words: Template,
) -> Sample:
    classes = list(dict.fromkeys(part.strip() for part in cell(values, "labels").split(",") if part.strip()))
    own = spans.get(segment := str(values["segment"]), ())
    if unknown := [one for one in classes if one not in names]:
        raise ValueError(f"its class {unknown[0]} has no name in {CLASSES} or {ONTOLOGY}")
    if not classes:
        raise ValueError("it has no labels")
    start, end = _ordered(values)
    clip = clips.find(
        segment, f"{values['id']}_{int(start):06d}", f"{values['id']}_{start:g}_{end:g}", str(values["id"])
    )
    objects = [names[one] for one in classes]
    truth = {"clip": segment, "objects": objects, "classes": classes}
    if own:
        truth["spans"] = [list(span) for span in own]
    return Sample(
        id=id,
        task=TASK,
        category=_category(classes, names, ontology),
        truth=truth,
        **words.words(TASK, media=[Media(path=clip, kind="video")]),
    )


def _category(classes: list[str], names: Mapping[str, str], ontology: Ontology | None) -> str:
    if ontology is None:
        return ""
    tops = [ontology.tops(one) if one in ontology else frozenset() for one in classes]
    shared = frozenset.intersection(*tops)
    return sorted(names[one] for one in shared)[0] if shared else MIXED


def _ordered(values: Mapping[str, object]) -> tuple[float, float]:
    """Start and end in seconds. Raises ValueError."""
    start, end = (_seconds(values.get(name), name) for name in ("start", "end"))
    if not start < end:
        raise ValueError(f"it ends at {end:g} s, before it begins ({start:g} s)")
    return start, end


def _seconds(value: object, name: str) -> float:
    text = str(value or "").strip()
    if not re.fullmatch(r"\d+(\.\d*)?", text, re.ASCII):
        raise ValueError(f"its {name} is {value!r}; seconds are expected")
    return float(text)


def _or_none(root: Path, name: str, read, lacking: list[str], consequence: str):
    """The content of a file; None if it is missing, which is added to `lacking`."""
    if found := tables.find(root, name):
        return read(found[0])
    lacking.append(f"{name} is not there: {consequence}")
    return None
