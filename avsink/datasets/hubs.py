"""The items of Hubs' authors (github.com/kaistmm/crossmodal-hub, ``json_files``), to be measured again.

The folder is a clone of that repository, or one that holds a clone. VGGSound's clips, which are not part of it, are
looked up by base name below that folder, too. If it has none, they are looked up in ``$AVSINK_DATA/vggsound``.

1. ``causal_tracing/step1/<list>.json``: 20-way items, with their own 20 labels in their own order. Lists that end in
   ``_small`` are parts of others and are not read. `task` is ``sounding object: <case>``, `category` the case;
2. ``asd/<list>.json``: clips to be described, with the object that each shows. Synonyms are separated by ``/``, and
   parentheses are removed (``mouse (animal)``). `task` is ``caption``. One row of the released list is the header of a
   table; it is a problem.

Where a list names raw frames, which are not published, the clip itself is shown. Items are asked in the words of
VGGSound's template, or of another one (`avsink.datasets.prompts`), and captions in those of AudioSet's. Items were
chosen for dominance, not for correct answers; `avsink.papers.hubs.released_items.manifest` says which sense dominates
each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from avsink.datasets.files import tables
from avsink.datasets.files.chats import NAME, case_of, chats, letter, options_of, sample_id, text
from avsink.datasets.files.clips import SUFFIXES, Clips
from avsink.datasets.files.sources import MissingData, here, locate
from avsink.datasets.loaded import Loaded, collect
from avsink.datasets.prompts import Template, template
from avsink.datasets.twenty_way import TASK, names
from avsink.resources import expanded
from avsink.sample import Media, Sample

__all__ = ["NAME", "PREDICTIONS", "captions", "load", "samples"]

ITEMS, CAPTIONS = "causal_tracing/step1/*.json", "asd/*.json"
PREDICTIONS = {"av": "predicted_av", "v": "predicted_v", "a": "predicted_a"}  # the authors' name -> ours
HEADER = "original_label"  # a row with this label is a table's header
CAPTION = "caption"  # the task


def load(root: Path | str = "", *, prompt: Path | str = "") -> Loaded:
    """Read all lists, each row as a sample or a problem. `prompt` is the name or file of a template for the items.

    Raises:
        MissingData: If there are no lists.
        TableError: If a list cannot be read.
        PromptError: If there is no such template, or it cannot be used.
    """
    ask, describe = template(prompt, NAME), template("", "audioset")
    root = locate(NAME, root)
    lists = next((place for place in (root, *sorted(root.glob("*/"))) if (place / "json_files").is_dir()), root)
    items = [path for path in sorted(lists.glob(f"json_files/{ITEMS}")) if not path.stem.endswith("_small")]
    described = sorted(lists.glob(f"json_files/{CAPTIONS}"))
    if not items and not described:
        raise MissingData(f"no lists of Hubs' authors in {root}: there is no json_files/{ITEMS}")
    elsewhere = here("vggsound")
    clips = Clips(root if elsewhere is None or _has_clips(root) else elsewhere)
    read = [_read(path, clips, _item, ask) for path in items]
    read += [_read(path, clips, _caption, describe) for path in described]
    lacking = [sentence for one in read for sentence in one.lacking]
    if not _has_clips(clips.root):
        lacking.append(f"no clip is in {clips.root}; put VGGSound's below it, or into a folder $AVSINK_DATA/vggsound")
    return Loaded(
        name=NAME,
        samples=tuple(sample for one in read for sample in one.samples),
        problems=tuple(problem for one in read for problem in one.problems),
        tables=(*items, *described),
        lacking=tuple(lacking),
    )


def samples(path: Path | str, clips: Path | str) -> Loaded:
    """Read the 20-way items of the list at `path`, as samples or problems. `clips` is the folder of the mp4 files."""
    return _read(expanded(path), Clips(expanded(clips)), _item, template("", NAME))


def captions(path: Path | str, clips: Path | str) -> Loaded:
    """Read the clips of a list to be described, as samples or problems. `clips` is the folder of the mp4 files."""
    return _read(expanded(path), Clips(expanded(clips)), _caption, template("", "audioset"))


Convert = Callable[[str, str, Mapping[str, object], Clips, Template], Sample]
"""(id, case, values of a row, all clips, words) -> sample."""


def _read(path: Path, clips: Clips, convert: Convert, words: Template) -> Loaded:
    case, rows = case_of(path.stem), chats(path)
    found, problems = collect(
        sample_id(case, ""), rows, key="clip", convert=lambda id, values: convert(id, case, values, clips, words)
    )
    return Loaded(name=NAME, samples=found, problems=problems, tables=(path,), lacking=tables.lacking({path: rows}))


def _item(id: str, case: str, values: Mapping[str, object], clips: Clips, words: Template) -> Sample:
    options, task = options_of(values), f"{TASK}: {case}"
    predicted = {column: letter(values, name) for name, column in PREDICTIONS.items() if name in values}
    return Sample(
        id=id,
        task=task,
        category=case,
        options=options,
        answer=text(values, "label"),
        truth={"label": values["label_name"], "object": values["label_name"], "clip": values["clip"]} | predicted,
        **words.words(task, media=[_clip(values, clips)], options=options),
    )


def _caption(id: str, case: str, values: Mapping[str, object], clips: Clips, words: Template) -> Sample:
    label, objects = text(values, "original_label"), text(values, "objects")
    if label == HEADER:
        raise ValueError("it is the header of a table, not a clip")
    return Sample(
        id=id,
        task=CAPTION,
        category=case,
        truth={"label": label, "objects": [objects], "synonyms": sorted(names(objects)), "clip": values["clip"]},
        **words.words(CAPTION, media=[_clip(values, clips)]),
    )


def _clip(values: Mapping[str, object], clips: Clips) -> Media:
    return Media(path=clips.find(str(values["clip"])), kind="video")


def _has_clips(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in folder.rglob("*"))
