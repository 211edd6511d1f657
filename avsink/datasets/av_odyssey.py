"""AV-Odyssey (arXiv 2412.02611): images and sounds interleaved with text, usually one to be matched with the others.

1. Two forms are read: the dataset's six parquet parts with the media inside (they are written out once, see
   `avsink.datasets.files.unpack`), and the `av_odyssey.parquet` of its LMMs_Eval form, whose media are files.
2. Media are in slots, ``image_1`` to ``image_4``, ``audio_1`` to ``audio_4``, ``video_1``; any slot may be empty. (The
   published script assumes one or four.)
3. Question and options refer to slots by placeholders, and each medium is placed where its placeholder is. An option
   that is only a placeholder is that medium; an option with a medium among words is refused.
4. Candidates, reference and question are identified by `avsink.datasets.structure`. `category` is the direction of the
   matching, and for any other question the dataset's `subfield`.
5. `truth["correct_candidate"]` is the candidate that the right option refers to, or None; `truth["unused"]` lists the
   slots whose medium has no placeholder, so that the model never sees it.

Videos are shown without their sound: the sound that a question is about is a separate medium.
The default prompt (`data/prompts/av-odyssey.json`) has the published form: question, options, and the instruction to
answer with a letter. What a template says besides belongs to no segment of a matching question.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from avsink.datasets.files import tables
from avsink.datasets.files.paths import Files
from avsink.datasets.files.sources import MissingData, locate
from avsink.datasets.files.tables import Row, TableError
from avsink.datasets.files.unpack import cache_for, unpacked
from avsink.datasets.loaded import Loaded, cell, collect, key_of
from avsink.datasets.options import answer_of, options_of
from avsink.datasets.prompts import Template, template
from avsink.datasets.structure import Slot, assign, candidate_named, direction, interleave, structure
from avsink.sample import Media, Sample, Text

__all__ = ["NAME", "TASKS", "load"]

NAME = "av-odyssey"
PARTS = tuple(f"av_odyssey_part{k}.parquet" for k in range(1, 7))
WITH_PATHS = "av_odyssey.parquet"
NEEDS = ("question_id", "data_type", "question", "options", "answer", "subfield")
SLOTS: tuple[Slot, ...] = (
    *(("image", k) for k in range(1, 5)),
    *(("audio", k) for k in range(1, 5)),
    ("video", 1),
)
COLUMNS = tuple(f"{kind}_{k}" for kind, k in SLOTS)

# The dataset's paper lists 26 tasks in this order, and its table numbers them 1 to 26. Whether the two orders agree was
# not checked against the files. A column with names takes precedence over this table.
TASKS = dict(
    enumerate(
        (
            *("Instrument Recognition", "Singer Recognition", "Gunshot Recognition", "Bird Recognition"),
            *("Animal Recognition", "Transportation Recognition", "Material Recognition", "Scene Recognition"),
            *("Hazard Recognition", "Action Recognition", "Eating Sound Recognition", "Speech Sentiment Analysis"),
            *("Meme Understanding", "Music Sentiment Analysis", "Music Genre Classification"),
            *("Dance and Music Matching", "Film and Music Matching", "Music Score Matching"),
            *("Audio 3D Angle Estimation", "Audio Distance Estimation", "Audio Time Estimation"),
            *("Audio-Visual Synchronization", "Action Sequencing", "Hallucination Evaluation"),
            *("Action Prediction", "Action Tracing"),
        ),
        start=1,
    )
)
NAME_COLUMNS = ("task", "task_name", "question_type", "question_type_name")


def load(root: Path | str = "", *, cache: Path | None = None, prompt: Path | str = "") -> Loaded:
    """Read all rows, each as a sample or a problem.

    Args:
        root: Where the files are, see `avsink.datasets.files.sources`.
        cache: Where media from parquet files are written; by default see `avsink.datasets.files.unpack`.
        prompt: A template's name or file.

    Raises:
        MissingData: If there is no table, or none can be read.
        PromptError: If there is no such template, or it cannot be used.
    """
    words = template(prompt, NAME)
    root = locate(NAME, root)
    found = tables.find(root, "av_odyssey_part*.parquet", WITH_PATHS)
    if not found:
        raise MissingData(f"no AV-Odyssey in {root}: there is no {PARTS[0]} to {PARTS[-1]}, and no {WITH_PATHS}")
    read: dict[Path, list[Row]] = {}
    lacking, broken = [], []
    if found[0].name == WITH_PATHS:
        read[found[0]] = [_with_slots(row) for row in tables.read(found[0], needs=NEEDS)]
    else:
        lacking = [f"{name} is not there" for name in PARTS if name not in {path.name for path in found}]
        for path in found:
            try:
                read[path] = unpacked(path, columns=COLUMNS, needs=NEEDS, cache=cache or cache_for(root))
            except TableError as error:  # the other parts can still be used
                broken.append(str(error))
    lacking += [*broken, *tables.lacking(read)]
    rows = [row for of_table in read.values() for row in of_table]
    if broken and not rows:
        raise MissingData(f"no AV-Odyssey in {root}: {'; '.join(lacking)}")
    files = Files(root, found[0].parent)
    samples, problems = collect(
        NAME, rows, key="question_id", convert=lambda id, values: _sample(id, values, files, words)
    )
    return Loaded(name=NAME, samples=samples, problems=problems, tables=tuple(found), lacking=tuple(lacking))


def _with_slots(row: Row) -> Row:
    """Step 2 for the form with paths: its three lists as slots. A null in a list is an empty slot."""
    values, fault = dict(row.values), row.fault
    for kind in ("image", "audio", "video"):
        try:
            value = values.pop(f"{kind}_path", None)
            paths = [] if value is None else tables.as_list(value, f"its {kind}_path")  # a list, or the text of one
        except ValueError as error:
            paths, fault = [], fault or str(error)
        values |= {f"{kind}_{k}": path or None for k, path in enumerate(paths, start=1)}
    return Row(values=values, where=row.where, fault=fault)


def _sample(id: str, values: Mapping[str, object], files: Files, words: Template) -> Sample:
    task = _task(values)
    if not any(kind in cell(values, "data_type").lower() for kind in ("image", "video")):
        raise ValueError(f"its data_type is {values['data_type']!r}; one with image or video is expected")

    def show(slot: Slot) -> Media:
        value = values.get(f"{slot[0]}_{slot[1]}")
        if value is None:
            raise ValueError(f"it names {slot[0]} {slot[1]}, which it does not have")
        path = value if isinstance(value, Path) else files.find(value)  # a Path was unpacked, text names a file
        return Media(path=path, kind=slot[0], sound=slot[0] != "video")

    shown: dict[Slot, Media] = {}
    parts = interleave(cell(values, "question"), show, shown)
    texts = options_of(values.get("options"), column="options", counts={4})
    options = [_option(text, show, shown) for text in texts]
    if not shown:
        raise ValueError("it names no medium: there is no placeholder such as [img1] or [audio1]")
    answer = answer_of(values.get("answer"), n_options=len(options))

    numbers = list(shown)  # of the media, in the order in which they are shown
    parts, options = assign(parts, options)
    media = [part for part in (*parts, *options) if isinstance(part, Media)]
    candidates = [(medium, slot) for medium, slot in zip(media, numbers, strict=True) if medium.role == "candidate"]
    correct = candidate_named(
        options["ABCD".index(answer)], [medium for medium, _ in candidates], [slot for _, slot in candidates]
    )
    unused = [f"{kind} {k}" for kind, k in _filled(values) if (kind, k) not in shown]
    return Sample(
        id=id,
        task=task,
        category=direction(parts, options) or cell(values, "subfield"),
        options=options,
        answer=answer,
        truth={
            "subfield": cell(values, "subfield"),
            "structure": list(structure(parts, options)),
            "correct_candidate": correct,
            "unused": unused,
        },
        **words.words(task, question=parts, options=options),
    )


def _filled(values: Mapping[str, object]) -> list[Slot]:
    """The slots that are not empty."""
    named = [(name.rpartition("_"), value) for name, value in values.items()]
    return [
        (kind, int(k))
        for (kind, _, k), value in named
        if kind in ("image", "audio", "video") and k.isdecimal() and value is not None
    ]


def _task(values: Mapping[str, object]) -> str:
    """The task by name, else by number, else (the form with paths has neither) the subfield."""
    for column in NAME_COLUMNS:
        if isinstance(name := values.get(column), str) and name.strip() and not name.strip().isdigit():
            return name.strip()
    if "question_type_id" not in values:
        return cell(values, "subfield")
    number = key_of(values["question_type_id"])
    if not number.isdecimal() or int(number) not in TASKS:
        raise ValueError(f"its question_type_id is {values['question_type_id']!r}; 1 to {len(TASKS)} are known")
    return TASKS[int(number)]


def _option(text: str, show, shown: dict[Slot, Media]) -> str | Media:
    """Step 3 for one option."""
    parts = interleave(text, show, shown)
    if all(isinstance(part, Text) for part in parts):
        return "".join(part.text for part in parts)
    if len(parts) > 1:
        raise ValueError(f"its option {text!r} has a medium among words; either one medium or words are expected")
    return parts[0]
