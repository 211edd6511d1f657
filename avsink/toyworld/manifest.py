"""The manifest of a toy world: ``manifest.jsonl``, one sample a line, written by `avsink.toyworld.held_out`.

1. A line has a sample's id, task, category, parts, options, suffix, answer and truth; `part`, the part of the set that
   it belongs to; and `files`, the SHA-256 sum of each of its media. Paths are relative to the manifest's folder, and do
   not lead out of it;
2. every line is one sample, or has a fault: it is not JSON, repeats a key or an id, lacks something, or has something
   of another type. What depends on the task is in `TRUTH`, and a clip's scene is checked by `masks.scene_of`;
3. `read_lines` returns both, for a loader that reports faults; `read_manifest` refuses a manifest with a faulty line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import get_args, get_type_hints

from avsink import resources
from avsink.sample import Media, Sample, Text
from avsink.toyworld import masks

__all__ = ["MANIFEST", "ROOT", "Line", "read_lines", "read_manifest", "row_of"]

ROOT = resources.data("toyworld")
MANIFEST = "manifest.jsonl"
KINDS = {str: "a text", list: "a list", dict: "an object", bool: "true or false"}
ALLOWED = {of: get_type_hints(of) for of in (Media, Text)}
TRUTH = {  # task -> what its truth must hold; those with a scene have it, too
    "sounding object": ("object", "scene"),
    "anchor and target": ("answer", "seen_by_second", "heard_by_second", "scene"),
    "match the reference": ("candidates", "reference", "correct_candidate"),
    "caption": ("objects", "caption", "scene"),
}
TEXTS = ("object", "answer", "reference", "caption")
LISTS = ("seen_by_second", "heard_by_second", "candidates", "objects")


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a manifest: its sample, or what is wrong with it.

    Attributes:
        where: The file and the line, counted from 1.
        id: The sample's id, "" if the line does not say.
        part: The part of the set that it belongs to.
        files: Relative path of each medium -> its SHA-256 sum.
    """

    where: str
    id: str = ""
    part: str = ""
    sample: Sample | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""


def read_lines(root: Path = ROOT) -> list[Line]:
    """Read every line of a manifest; empty ones are passed over. Of lines of one id, all but the first are faulty.

    Raises:
        FileNotFoundError: If there is no manifest.
        ValueError: If it is not a text file in UTF-8.
    """
    manifest = root / MANIFEST if root != ROOT else resources.existing("toyworld", MANIFEST)
    if not manifest.exists():
        raise FileNotFoundError(
            f"no toy world in {root}: {MANIFEST} is missing. Make one with "
            f"`python -m avsink.toyworld.held_out --out {root}`"
        )
    try:
        text = manifest.read_bytes().decode("utf-8-sig")  # some editors write a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{manifest} is not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise ValueError(f"{manifest} cannot be read: {error.strerror}") from None
    found: list[Line] = []
    first: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            found.append(_line(line, f"{MANIFEST}, line {number}", root, first))
    return found


def read_manifest(root: Path = ROOT, *, part: str | None = None) -> list[Sample]:
    """Read the samples of a set, or only those of one `part`.

    Raises:
        FileNotFoundError: If there is no manifest.
        ValueError: If it, or a line of it, cannot be used.
    """
    lines = read_lines(root)
    if faulty := next((line for line in lines if line.fault), None):
        raise ValueError(f"{root / faulty.where}: {faulty.fault}")
    return [line.sample for line in lines if part in (None, line.part)]


def row_of(sample: Sample) -> dict:
    """The row of a sample whose media are relative to the manifest's folder, without `part` and `files`.

    The toy world writes its own words, so a row says nothing of a prompt's template.
    """
    parts = [{"text": p.text, "role": p.role} if isinstance(p, Text) else _medium(p) for p in sample.parts]
    row = asdict(replace(sample, parts=(), truth={}))
    del row["prompt"]
    truth = json.loads(json.dumps(dict(sample.truth)), parse_float=lambda number: round(float(number), 4))
    return row | {"parts": parts, "truth": truth}


def _medium(medium: Media) -> dict:
    return {"path": str(medium.path), "kind": medium.kind, "role": medium.role, "sound": medium.sound}


def _line(text: str, where: str, root: Path, first: dict[str, str]) -> Line:
    """Read one line; `first` maps the ids seen so far to their places, and gets this one."""
    id = ""
    try:
        row = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
        if not isinstance(row, dict):
            raise ValueError("it is not a JSON object")
        id = _text(row, "id")
        if id in first:
            raise ValueError(f"the id {id!r} is also at {first[id]}")
        first[id] = where
        sample = _from_row(row, root)
        _check_truth(sample)
        part, files = _text(row, "part"), _field(row, "files", dict)
        for name, digest in files.items():
            _inside(name)
            if not isinstance(digest, str):
                raise ValueError(f"the sum of {name} is {digest!r}; a SHA-256 sum is expected")
    except json.JSONDecodeError as error:
        return Line(where=where, id=id, fault=f"it is not JSON at character {error.colno}: {error.msg}")
    except (ValueError, RecursionError) as error:
        return Line(where=where, id=id, fault=str(error))
    return Line(where=where, id=id, part=part, sample=sample, files=files)


def _from_row(row: dict, root: Path) -> Sample:
    return Sample(
        id=row["id"],
        task=_text(row, "task"),
        category=_text(row, "category", empty=True),
        parts=tuple(_part(part, root) for part in _field(row, "parts", list)),
        options=tuple(_text({"option": option}, "option") for option in _field(row, "options", list)),
        suffix=_text(row, "suffix", empty=True),
        answer=None if row.get("answer", "") is None else _text(row, "answer"),
        truth=_field(row, "truth", dict),
    )


def _check_truth(sample: Sample) -> None:
    """Check what the truth holds, and whether it holds what its task needs. Raises ValueError."""
    truth = dict(sample.truth)
    for name in TRUTH.get(sample.task, ()):
        if name != "scene" and name not in truth:
            raise ValueError(f"its truth has no {name}")
    if "scene" in TRUTH.get(sample.task, ()) or masks.SCENE & set(truth):
        scene = masks.scene_of(truth)
        if "object" in truth and truth["object"] not in [one.name for one in (*scene.seen, *scene.heard)]:
            raise ValueError(f"its object is {truth['object']!r}, which is not in its scene")
    for name in TEXTS:
        if name in truth:
            _text(truth, name)
    for name in LISTS:
        for entry in _field(truth, name, list) if name in truth else ():
            _text({name: entry}, name)
    if "correct_candidate" in truth:
        n = sum(medium.role == "candidate" for medium in sample.media)
        right = truth["correct_candidate"]
        if not isinstance(right, int) or isinstance(right, bool) or not 0 <= right < n:
            raise ValueError(f"its correct_candidate is {right!r}, of {n} candidates")


def _part(part: object, root: Path) -> Text | Media:
    if not isinstance(part, dict) or ("text" in part) == ("path" in part):
        raise ValueError(f"one of its parts is {part!r}; an object with either a text or a path is expected")
    if "text" in part:
        return Text(text=_text(part, "text"), role=_one_of(part, "role", Text))
    path = root / _inside(_text(part, "path"))
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"its file {part['path']} is a link that leads outside the folder of the manifest")
    kind, role = (_one_of(part, name, Media) for name in ("kind", "role"))
    return Media(path=path, kind=kind, role=role, sound=_field(part, "sound", bool))


def _inside(name: str) -> str:
    """A relative path that stays in the manifest's folder. Raises ValueError."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"its file {name} is outside the folder of the manifest")
    return name


def _field(row: dict, name: str, kind: type):
    """A value of a row, of this type. Raises ValueError."""
    if name not in row:
        raise ValueError(f"it has no {name}")
    if not isinstance(row[name], kind):
        raise ValueError(f"its {name} is {row[name]!r}; {KINDS[kind]} is expected")
    return row[name]


def _text(row: dict, name: str, *, empty: bool = False) -> str:
    text = _field(row, name, str)
    if not (empty or text.strip()):
        raise ValueError(f"its {name} is empty")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"its {name} has half a character (\\u{ord(text[error.start]):04x}), not text") from None
    return text


def _one_of(row: dict, name: str, of: type) -> str:
    """A text that the class `of` allows for its attribute of that name. Raises ValueError."""
    allowed = get_args(ALLOWED[of][name])
    if (value := _text(row, name)) not in allowed:
        raise ValueError(f"its {name} is {value!r}; allowed: {', '.join(allowed)}")
    return value


def _once(pairs: list[tuple[str, object]]) -> dict:
    """A JSON object. Raises ValueError if a key is repeated, since one of its values would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} occurs twice")
    return found


def _refuse(constant: str):
    raise ValueError(f"{constant} is not JSON")
