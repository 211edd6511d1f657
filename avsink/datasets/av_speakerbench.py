"""AV-SpeakerBench (arXiv 2512.02231): who speaks, what, and when, in clips with picture and sound.

1. The table is `test.csv` as published, or the `test.tsv` of VLMEvalKit, which has two more columns. If a folder has
   both, only the csv is read: they hold the same questions.
2. `choices` is the text of a list; its entries already begin with letters.
3. Of the three media of a row, only the clip with sound (`audio_visual_path`) is used: an instrument that needs one
   modality mutes the other, so that all tokens stay in place.
4. VLMEvalKit unpacks each archive into its first folder, without subfolders; a clip is looked for there too.

The default prompt (`data/prompts/av-speakerbench.json`) has the published form: clip, instruction, question, options,
and the words that the answer completes.
`category` is Flow's (table 5) if it has one for the task, else the dataset's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from avsink.datasets.files import tables
from avsink.datasets.files.paths import Files
from avsink.datasets.files.sources import MissingData, locate
from avsink.datasets.loaded import Loaded, cell, collect, key_of
from avsink.datasets.options import answer_of, options_of
from avsink.datasets.prompts import Template, template
from avsink.datasets.selections import category_of
from avsink.sample import Media, Sample

__all__ = ["NAME", "load"]

NAME = "av-speakerbench"
TABLES = ("test.csv", "test.tsv")
NEEDS = ("question_id", "question", "choices", "answer", "category", "task_id", "audio_visual_path")
KEPT = ("category", "sub_category", "video_id", "start_time", "end_time")  # copied into `truth` if the table has them


def load(root: Path | str = "", *, prompt: Path | str = "") -> Loaded:
    """Read all rows, each as a sample or a problem. `prompt` is a template's name or file.

    Raises:
        MissingData: If there is no table.
        TableError: If the table cannot be read.
        PromptError: If there is no such template, or it cannot be used.
    """
    words = template(prompt, NAME)
    root = locate(NAME, root)
    found = tables.find(root, *TABLES)
    if not found:
        raise MissingData(f"no AV-SpeakerBench in {root}: there is no {' or '.join(TABLES)}")
    files = Files(root, found[0].parent)
    rows = tables.read(found[0], needs=NEEDS)
    samples, problems = collect(
        NAME, rows, key="question_id", convert=lambda id, values: _sample(id, values, files, words)
    )
    lacking = tables.lacking({found[0]: rows})
    return Loaded(name=NAME, samples=samples, problems=problems, tables=tuple(found), lacking=lacking)


def _sample(id: str, values: Mapping[str, object], files: Files, words: Template) -> Sample:
    options = options_of(values.get("choices"), column="choices", counts={4})
    task = cell(values, "task_id")
    path = PurePosixPath(cell(values, "audio_visual_path"))
    clip = files.find(path, PurePosixPath(*path.parts[:1]) / path.name)
    return Sample(
        id=id,
        task=task,
        category=category_of(NAME, task) or cell(values, "category"),
        options=tuple(options),
        answer=answer_of(values.get("answer"), n_options=len(options)),
        truth={name: key_of(values[name]) for name in KEPT if values.get(name) is not None},
        **words.words(task, media=[Media(path=clip, kind="video")], question=cell(values, "question"), options=options),
    )
