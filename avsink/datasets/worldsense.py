"""WorldSense (arXiv 2502.04326): questions about everyday videos that need picture and sound.

1. Three forms are read, the first that a folder holds: `worldsense_qa.json` as published (one record per video, with
   questions under `task0`, `task1`, ...), the parquet files of lmms-lab, and the tsv of VLMEvalKit (both with one row
   per question; in the tsv, lists are text).
2. Every key of a record that contains ``task`` is a question. A record without a question is a problem.
3. There are four or three options, which already begin with letters.
4. The video is `videos/<id>.mp4`, or the only file of that name in any folder.

The forms number their questions differently, so the ids of samples differ too: ``worldsense/<video>/task0`` or
``worldsense/<index>``. The duration of a video is read from its file (`avsink.datasets.selections`), not from the
table.

The default prompt (`data/prompts/worldsense.json`) has the parts of VLMEvalKit's, with sound and without subtitles:
video, instruction, question, options, ``Answer:``. `task` and `category` are both the task type, because Flow's figures
11 and 12 have one panel per task. `truth["domain"]` is the domain of the task (Recognition, Understanding, Reasoning),
`truth["video_domain"]` the table's ``domain`` of the video (Daily Life, ...).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from avsink.datasets.files import tables
from avsink.datasets.files.paths import Files
from avsink.datasets.files.sources import MissingData, locate
from avsink.datasets.files.tables import Row, TableError
from avsink.datasets.loaded import Loaded, cell, collect, key_of
from avsink.datasets.options import answer_of, options_of
from avsink.datasets.prompts import Template, template
from avsink.sample import Media, Sample

__all__ = ["NAME", "load"]

NAME = "worldsense"
ORIGINAL = "worldsense_qa.json"
TABLES = (ORIGINAL, "test-*.parquet", "WorldSense.tsv", "*.tsv")
NEEDS = ("index", "video", "candidates", "task_domain", "task_type", "question", "answer")
KEPT = ("duration", "sub_category", "audio_class")  # copied into `truth` if the table has them


def load(root: Path | str = "", *, prompt: Path | str = "") -> Loaded:
    """Read all questions, each as a sample or a problem. `prompt` is a template's name or file.

    Raises:
        MissingData: If there is no table.
        TableError: If a table cannot be read.
        PromptError: If there is no such template, or it cannot be used.
    """
    words = template(prompt, NAME)
    root = locate(NAME, root)
    found = tables.find(root, *TABLES)
    if not found:
        raise MissingData(f"no WorldSense in {root}: there is no {', '.join(TABLES)}")
    if found[0].name == ORIGINAL:
        read, key = {found[0]: list(_questions(found[0]))}, "id"
    else:
        read, key = {path: tables.read(path, needs=NEEDS) for path in found}, "index"
    rows = [row for of_table in read.values() for row in of_table]
    files = Files(root, found[0].parent)
    samples, problems = collect(NAME, rows, key=key, convert=lambda id, values: _sample(id, values, files, words))
    lacking = tables.lacking(read)
    return Loaded(name=NAME, samples=samples, problems=problems, tables=tuple(found), lacking=lacking)


def _questions(path: Path) -> Iterator[Row]:
    """The questions of the original file, as rows in the form of the other tables."""
    content = tables.read_json(path)
    if not isinstance(content, dict):
        raise TableError(f"{path.name} is not an object with one record per video")
    for video, record in tables.pairs(content):
        where = f"{path.name}, video {video}"
        if not isinstance(record, dict):
            yield Row(values={"id": video}, where=where, fault="its record is not an object")
            continue
        named = _another(video, record)
        fault = f"its record is that of another video, {named}" if named else ""
        facts = [name for name, _ in tables.pairs(record) if "task" not in name]
        if twice := [name for name in facts if facts.count(name) > 1]:
            fault = f"its record has the key {twice[0]!r} twice"
        shared = {name: value for name, value in record.items() if "task" not in name}
        tasks = [(name, task) for name, task in tables.pairs(record) if "task" in name]
        if not tasks:
            yield Row(values={"id": video}, where=where, fault=fault or "its record has no question (no key task0)")
        for name, task in tasks:
            whole = isinstance(task, dict) and len(tables.pairs(task)) == len(task)
            values = shared | (task if whole else {}) | {"id": f"{video}/{name}", "video": video}
            broken = "" if whole else f"its {name} is not an object with one value per key"
            if whole and (named := _another(video, task)):
                broken = f"its {name} is that of another video, {named}"
            yield Row(values=values, where=f"{where}, {name}", fault=fault or broken)


def _another(video: str, values: Mapping[str, object]) -> str:
    """The id of the video that these values name if it is another one, else ''."""
    named = (key_of(values.get(name)) for name in ("video_id", "video"))
    return next((name for name in named if name and name != key_of(video)), "")


def _sample(id: str, values: Mapping[str, object], files: Files, words: Template) -> Sample:
    options = options_of(values.get("candidates"), column="candidates", counts={3, 4})
    truth = {name: values[name] for name in KEPT if values.get(name) is not None}
    if "audio_class" in truth:
        truth["audio_class"] = [str(label) for label in tables.as_list(truth["audio_class"], "its audio_class")]
    if values.get("domain") is not None:
        truth["video_domain"] = values["domain"]
    task = cell(values, "task_type")
    return Sample(
        id=id,
        task=task,
        category=task,
        options=tuple(options),
        answer=answer_of(values.get("answer"), n_options=len(options)),
        truth=truth | {"domain": cell(values, "task_domain"), "video": key_of(values.get("video"))},
        **words.words(
            task,
            media=[Media(path=_video(values, files), kind="video")],
            question=cell(values, "question"),
            options=options,
        ),
    )


def _video(values: Mapping[str, object], files: Files) -> Path:
    name = key_of(values.get("video"))
    if not name:
        raise ValueError("it names no video")
    try:
        return files.find(f"videos/{name}.mp4", values.get("video_path"), f"{name}.mp4")
    except ValueError:
        if "/" not in name and (elsewhere := files.named(f"{name}.mp4")):
            return elsewhere
        raise
