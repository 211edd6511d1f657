"""The 20-way question of VGGSound clips (Hubs): which of 20 sounding objects is it?

**The sets.** A *case* is a fixed set of 20 labels, the same for all its clips. As in the paper, a case belongs to one
super-class; if that has too few labels, distractors from other super-classes fill the set ("people" had 16 labels and
4 distractors):

1. A *given* case is used as it is. Each of its labels is asked in the first given case that contains it.
2. Every other label is asked in one *drawn* case: the labels of a group are sorted by hash and dealt in turn to as few
   parts of at most 20 as possible; a label whose name a part already has goes to another part.
3. A part with fewer than 20 labels is filled with labels of other groups, again sorted by hash. These are only wrong
   options: a clip with such a label is asked in the case of its own group.

**An item.**

4. The options are the 20 labels of the case, sorted by the hash of (seed, sample id, label). So each item has its own
   order, independent of the order of the table and of the labels.
5. The answer is the letter, A to T, of the true label.

Labels are shown as published: ``donkey, ass braying`` is one option. As in the paper's own sets, near-synonyms may be
in one set (``cow lowing`` and ``cattle mooing``), but not two spellings of one name: names are compared without case
and parentheses, and ``a/b`` names both a and b (`names`).
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from avsink.datasets.prompts import Template
from avsink.sample import Media, Sample

__all__ = ["N_OPTIONS", "TASK", "Case", "Cases", "draw", "item", "names", "shuffled"]

N_OPTIONS = 20
TASK = "sounding object"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fixed set of 20 labels; `group` is its super-class."""

    name: str
    group: str
    labels: tuple[str, ...]

    def __post_init__(self):
        if len(self.labels) != N_OPTIONS or len(set(self.labels)) != N_OPTIONS:
            raise ValueError(
                f"the case {self.name!r} has {len(set(self.labels))} different labels; {N_OPTIONS} are expected"
            )
        first: dict[str, str] = {}
        for label in self.labels:
            for name in names(label):
                if first.setdefault(name, label) != label:
                    raise ValueError(
                        f"the case {self.name!r} has two labels of the same name: {first[name]!r} and {label!r}"
                    )


@dataclass(frozen=True, kw_only=True)
class Cases:
    """All cases; `asked` maps each label to the case in which it is asked."""

    cases: tuple[Case, ...]
    asked: Mapping[str, Case]

    def of(self, label: str) -> Case:
        """The case in which a label is asked.

        Raises:
            ValueError: If no case contains it.
        """
        if label not in self.asked:
            raise ValueError(f"its label {label!r} is in no set of {N_OPTIONS} labels")
        return self.asked[label]


def draw(
    groups: Mapping[str, Iterable[str]], *, given: Mapping[str, Sequence[str]] | None = None, seed: int = 0
) -> Cases:
    """Make the cases (steps 1 to 3).

    Args:
        groups: Super-class -> its labels.
        given: Name of a given case -> its 20 labels.
        seed: Of the hashes.

    Raises:
        ValueError: If a case cannot have 20 labels with different names.
    """
    cases = [Case(name=name, group=name, labels=tuple(labels)) for name, labels in (given or {}).items()]
    asked: dict[str, Case] = {}
    for case in cases:
        for label in case.labels:
            asked.setdefault(label, case)
    groups = {group: tuple(dict.fromkeys(labels)) for group, labels in groups.items()}
    everything = tuple(dict.fromkeys(label for labels in groups.values() for label in labels))
    for group, labels in groups.items():
        waiting = _ordered((label for label in labels if label not in asked), f"{seed}/{group}")
        parts = _parts(waiting)
        for number, own in enumerate(parts, start=1):
            name = f"{group} {number}" if len(parts) > 1 else group
            while name in {case.name for case in cases}:
                name += " (others)"
            others = _ordered((label for label in everything if label not in own), f"{seed}/{name}")
            case = Case(name=name, group=group, labels=_filled(own, others, avoid=labels, name=name))
            cases.append(case)
            asked |= dict.fromkeys(own, case)
    return Cases(cases=tuple(cases), asked=asked)


def item(
    id: str,
    case: Case,
    label: str,
    *,
    clip: Path,
    words: Template,
    truth: Mapping[str, object] | None = None,
    seed: int = 0,
) -> Sample:
    """Make the sample of one clip (steps 4 and 5), asked in these words; `truth` is added to `Sample.truth`.

    Raises:
        ValueError: If the case does not contain the label.
    """
    if label not in case.labels:
        raise ValueError(f"its label {label!r} is not among the labels of the case {case.name!r}")
    options, task = shuffled(case.labels, id=id, seed=seed), f"{TASK}: {case.group}"
    return Sample(
        id=id,
        task=task,
        category=case.name,
        options=options,
        answer=string.ascii_uppercase[options.index(label)],
        truth={"label": label, "object": label, "case": case.name} | dict(truth or {}),
        **words.words(task, media=[Media(path=clip, kind="video")], options=options),
    )


def shuffled(labels: Iterable[str], *, id: str, seed: int = 0) -> tuple[str, ...]:
    """The labels of a case in the order of one sample's options."""
    return _ordered(labels, f"{seed}/{id}")


def names(label: str) -> frozenset[str]:
    """The normalised names in a label, for comparison: ``Mouse (animal)`` is mouse, ``a/b`` is a and b."""
    plain = re.sub(r"\([^)]*\)", " ", label)
    found = (" ".join(part.split()).casefold() for part in plain.split("/"))
    return frozenset(part for part in found if part) or frozenset({label})


def _parts(labels: Sequence[str]) -> list[list[str]]:
    """Divide labels into parts of at most 20 without two of one name, which `Case` would refuse."""
    parts: list[list[str]] = [[] for _ in range(-(-len(labels) // N_OPTIONS))]
    taken: list[set[str]] = [set() for _ in parts]
    for k, label in enumerate(labels):
        turns = [*range(k % len(parts), len(parts)), *range(k % len(parts))]
        free = (n for n in turns if len(parts[n]) < N_OPTIONS and not names(label) & taken[n])
        if (n := next(free, None)) is None:
            n = len(parts)
            parts.append([])
            taken.append(set())
        parts[n].append(label)
        taken[n] |= names(label)
    return parts


def _filled(own: Sequence[str], others: Sequence[str], *, avoid: Iterable[str], name: str) -> tuple[str, ...]:
    """A part of a group, filled up to 20 labels. Labels in `avoid` (its own group) are taken last."""
    avoid, labels = set(avoid), list(own)
    taken = {name for label in own for name in names(label)}
    for label in sorted(others, key=lambda label: label in avoid):  # a stable sort keeps the order of hashes
        if len(labels) == N_OPTIONS:
            break
        if not names(label) & taken:
            labels.append(label)
            taken |= names(label)
    if len(labels) < N_OPTIONS:
        raise ValueError(
            f"the case {name!r} cannot be made: it needs {N_OPTIONS} different labels, but there are only {len(labels)}"
        )
    return tuple(labels)


def _ordered(labels: Iterable[str], key: str) -> tuple[str, ...]:
    """Labels sorted by hash, so that their order depends neither on a table nor on a library's random numbers."""
    return tuple(sorted(labels, key=lambda label: (hashlib.sha256(f"{key}/{label}".encode()).digest(), label)))
