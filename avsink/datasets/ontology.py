"""The ontology of AudioSet: a graph of 632 sound classes, with links from a class to its subclasses.

1. `ontology.json` is a list of classes with `id` (``/m/...``), `name`, `child_ids` and `restrictions`.
2. A class may have several parents, so ancestors and descendants are sets, found by following the links (`ancestors`,
   `descendants`); `tops` are the ancestors without parents. There are seven: Animal, Music, and so on.
3. ``abstract`` and ``blacklist`` classes only structure the graph: no clip is labelled with one (`usable`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from avsink.datasets.files import tables
from avsink.datasets.files.tables import TableError

__all__ = ["Ontology", "Sound", "read_ontology"]

UNUSED = frozenset({"abstract", "blacklist"})


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A class of sound; `children` are the ids of its direct subclasses."""

    id: str
    name: str
    children: tuple[str, ...] = ()
    restrictions: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Ontology:
    """All classes by id."""

    sounds: Mapping[str, Sound]

    def __post_init__(self):
        parents: dict[str, set[str]] = {id: set() for id in self.sounds}
        for sound in self.sounds.values():
            for child in sound.children:
                parents[child].add(sound.id)
        object.__setattr__(self, "_parents", parents)

    def __contains__(self, id: object) -> bool:
        return id in self.sounds

    def named(self, name: str) -> str:
        """The id of the class with this name.

        Raises:
            ValueError: Unless exactly one class has it.
        """
        found = [sound.id for sound in self.sounds.values() if sound.name.casefold() == name.casefold()]
        if len(found) != 1:
            raise ValueError(f"{len(found)} classes of the ontology are called {name!r}")
        return found[0]

    def ancestors(self, id: str) -> frozenset[str]:
        """All classes above this one, at any distance; without itself."""
        return self._reached(id, self._parents)

    def descendants(self, id: str) -> frozenset[str]:
        """All classes below this one, at any distance; without itself."""
        return self._reached(id, {sound.id: sound.children for sound in self.sounds.values()})

    def tops(self, id: str) -> frozenset[str]:
        """The ancestors of this class that have no parents; the class itself if it has none."""
        line = self.ancestors(id) | {id}
        return frozenset(above for above in line if not self._parents[above])

    def usable(self, id: str) -> bool:
        """Whether clips are labelled with this class."""
        return not self._known(id).restrictions & UNUSED

    def _known(self, id: str) -> Sound:
        if id not in self.sounds:
            raise ValueError(f"the ontology has no class {id!r}")
        return self.sounds[id]

    def _reached(self, id: str, links: Mapping[str, object]) -> frozenset[str]:
        self._known(id)
        reached: set[str] = set()
        waiting = [id]
        while waiting:
            new = set(links[waiting.pop()]) - reached
            reached |= new
            waiting += new
        return frozenset(reached - {id})


def read_ontology(path: Path) -> Ontology:
    """Read an ontology.json.

    Raises:
        TableError: If it is not an ontology.
    """
    content = tables.read_json(path)
    if not isinstance(content, list):
        raise TableError(f"{path.name} is not a list of classes")
    sounds: dict[str, Sound] = {}
    for number, row in enumerate(content, start=1):
        where = f"{path.name}, class {number}"
        if not isinstance(row, dict) or not all(
            isinstance(row.get(key), str) and row[key].strip() for key in ("id", "name")
        ):
            raise TableError(f"{where} has no id or no name")
        lists = [row.get(key) for key in ("child_ids", "restrictions")]
        if not all(isinstance(one, list) and all(isinstance(text, str) for text in one) for one in lists):
            raise TableError(f"{where}: its child_ids or its restrictions are not a list of texts")
        if key := tables.repeated(row):
            raise TableError(f"{where} has the key {key!r} twice")
        if row["id"] in sounds:
            raise TableError(f"{where}: {row['id']} occurs a second time")
        sounds[row["id"]] = Sound(
            id=row["id"], name=row["name"], children=tuple(lists[0]), restrictions=frozenset(lists[1])
        )
    for sound in sounds.values():
        if missing := [child for child in sound.children if child not in sounds]:
            raise TableError(f"{path.name}: {sound.name} has a child {missing[0]} that is not a class; fetch it again")
    return Ontology(sounds=sounds)
