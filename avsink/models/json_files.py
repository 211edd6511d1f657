"""What a model's JSON files say: read, and held to a table of rules, or refused in one sentence.

A file that cannot be used is a `DamagedModel`, which says which file it is, what is wrong with it, and what to do. A
table has a `Rule` for each name; `broken` tells, in words, the first value that its rule does not allow.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import reprlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "COPY_AGAIN",
    "DamagedModel",
    "Rule",
    "broken",
    "flag",
    "misspelt",
    "near",
    "number",
    "one_of",
    "optional",
    "read",
    "row",
    "some",
    "start_of",
    "text",
    "whole",
]

COPY_AGAIN = "get it again from where it is whole (`hf download --force-download` for a published model)"
LARGEST = 1e300  # of a number that is finite
PAGES = (b"<!doctype", b"<html", b"<?xml")


class DamagedModel(ValueError):
    """A folder whose files cannot be read, or contradict each other."""


def read(path: Path) -> dict:
    """The object in a JSON file of a model's folder. Raises `DamagedModel`."""
    start_of(path)
    try:
        said = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:  # bytes that are no text, text that is no JSON, a name said twice
        reason = str(error).splitlines()[0]
        raise DamagedModel(f"{path} is not readable JSON ({reason}); mend it, or {COPY_AGAIN}") from None
    if not isinstance(said, dict):
        raise DamagedModel(f"{path} holds {_shown(said)} instead of a JSON object {{...}}; {COPY_AGAIN}")
    return said


def start_of(path: Path) -> bytes:
    """The first bytes of a file. Raises `DamagedModel` if they cannot be read, or are of something else."""
    try:
        with path.open("rb") as file:
            start = file.read(200)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DamagedModel(f"{path} cannot be read ({reason}); it must be a file that you may read") from None
    if not start.strip(b"\0 \t\r\n"):
        raise DamagedModel(f"{path} is empty; {COPY_AGAIN}")
    if start.startswith(b"version https://git-lfs"):
        raise DamagedModel(f"{path} is a pointer of Git LFS, not the file itself; run `git lfs pull` in its folder")
    if start.lstrip().lower().startswith(PAGES):
        raise DamagedModel(f"{path} is a web page, saved under this name; {COPY_AGAIN}")
    return start


def _once(pairs: Iterable[tuple[str, object]]) -> dict:
    said = {}
    for name, value in pairs:
        if name in said:
            raise ValueError(f"it says {_shown(name)} twice")
        said[name] = value
    return said


@dataclass(frozen=True)
class Rule:
    """What a value may be, in words and as a condition."""

    allowed: str
    holds: Callable[[object], bool]


def broken(values: Mapping[str, object], rules: Mapping[str, Rule]) -> str:
    """The first value that its rule does not allow, in words; '' if there is none."""
    for name, rule in rules.items():
        if name in values and not rule.holds(values[name]):
            return f"{name} is {_shown(values[name])}; allowed: {rule.allowed}"
    return ""


def misspelt(names: Collection[str], rules: Collection[str]) -> str:
    """A name one letter off a name of the table that is not there itself, in words; '' if there is none."""
    for name in names:
        for meant in rules:
            if name not in rules and meant not in names and _one_letter_off(name, meant):
                return f"it says {name!r}, but not {meant!r}"
    return ""


def near(name: str, allowed: Collection[str]) -> str:
    """A hint at what was meant, or ''."""
    found = difflib.get_close_matches(name, allowed, n=1)
    return f" (did you mean {found[0]}?)" if found else ""


def _one_letter_off(name: str, meant: str) -> bool:
    alike = len(os.path.commonprefix([name, meant]))
    rest, due = name[alike:], meant[alike:]
    return rest[1:] == due[1:] or rest[1:] == due or rest == due[1:]


def whole(least: int, *, below: float = math.inf, odd: bool = False) -> Rule:
    """A whole number."""
    kind = "an odd number" if odd else "a whole number"
    return Rule(
        f"{kind} from {least} on" if below == math.inf else f"{kind} from {least} to {below - 1}",
        lambda value: type(value) is int and least <= value < below and (value % 2 == 1 or not odd),
    )


def number(*, above: float = -math.inf, least: float = -math.inf, below: float = math.inf) -> Rule:
    """A finite number."""
    limits = [f"above {above:g}"] * math.isfinite(above) + [f"from {least:g} on"] * math.isfinite(least)
    limits += [f"below {below:g}"] * math.isfinite(below)
    return Rule(
        " ".join(["a number", " and ".join(limits)]).strip(),
        lambda value: type(value) in (int, float) and abs(value) < LARGEST and above < value < below and value >= least,
    )


def text(*, without: str = "") -> Rule:
    """A string that can be written as UTF-8."""

    def holds(value: object) -> bool:
        plain = isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)
        return plain and not (without and without in value)

    return Rule(f"a text without {without}" if without else "a text", holds)


flag = Rule("true or false", lambda value: isinstance(value, bool))


def one_of(*names: str) -> Rule:
    """One of some names."""
    return Rule(", ".join(names), lambda value: isinstance(value, str) and value in names)


def optional(rule: Rule) -> Rule:
    """The same, or null."""
    return Rule(f"{rule.allowed}, or null", lambda value: value is None or rule.holds(value))


def row(*rules: Rule, allowed: str) -> Rule:
    """A list with an entry for each rule."""

    def holds(value: object) -> bool:
        fits = isinstance(value, list | tuple) and len(value) == len(rules)
        return fits and all(rule.holds(entry) for rule, entry in zip(rules, value, strict=True))

    return Rule(allowed, holds)


def some(rule: Rule, *, allowed: str, none: bool = False) -> Rule:
    """A list of different entries that all follow one rule. It may be empty if `none`."""

    def holds(value: object) -> bool:
        if not isinstance(value, list | tuple):
            return False
        different = all(entry not in value[:k] for k, entry in enumerate(value))
        return (bool(value) or none) and different and all(rule.holds(entry) for entry in value)

    return Rule(allowed, holds)


def _shown(value: object) -> str:
    return reprlib.repr(value)
