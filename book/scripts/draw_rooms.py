"""Draw which room of the package imports which, from the imports themselves, as book/drawings/rooms.svg.

    python book/scripts/draw_rooms.py            # draw it anew
    python book/scripts/draw_rooms.py --check    # exit with 1 if the drawing differs from the code

1. rooms and arrows: a room is a folder or a file of `avsink`, and an arrow a room that imports another. The façade
   ``avsink/__init__.py``, which passes on names of many rooms, is the roof;
2. an arrow that follows from others is left out: who imports `engine` may import `models`, which `engine` imports;
3. floors: a room is on the floor right below the lowest of those that import it. So arrows point down, which fails if
   imports go in circles;
4. order on a floor: a few sweeps that put each room near the rooms it is joined to; the fewest crossings win. An arrow
   over several floors takes up a narrow place on each, so that it passes between rooms and not behind them;
5. places: as near to those rooms as the order allows (isotonic regression).
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from pathlib import Path

import grimp

__all__ = ["DRAWING", "drawing", "floors", "main", "needed"]

DRAWING = Path(__file__).resolve().parents[1] / "drawings" / "rooms.svg"
PACKAGE = "avsink"
DIVIDED = {"papers"}  # rooms whose parts are drawn by themselves

WIDTH, MARGIN, TOP = 860, 10, 84  # of the drawing; its edges; room for the roof
ROOM, FLOOR, GAP, NARROW = 46, 98, 22, 8  # height of a room, of a floor; between rooms; the place of a passing arrow
LETTER, PADDING = 8.0, 14
SWEEPS, STRAIGHT = 100, 8
INKS = ("#3b82c4", "#d9632a", "#1a9a76", "#9b6bd0", "#b58900", "#d1579f", "#2f97a8", "#858585")

Arrow = tuple[str, str]


@dataclass(eq=False)
class Place:
    """A room on its floor, or the place where an arrow passes through a floor (no room)."""

    room: str
    floor: int
    above: list[Place] = field(default_factory=list)
    below: list[Place] = field(default_factory=list)
    width: float = NARROW
    x: float = 0.0


def rooms_and_arrows() -> tuple[dict[str, int], set[Arrow]]:
    """Files of each room, and who imports whom."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    left_out = {PACKAGE, *(f"{PACKAGE}.{room}" for room in DIVIDED)}
    modules = sorted(graph.modules - left_out)
    files = Counter(_room(module) for module in modules)
    arrows = {
        (_room(module), _room(imported))
        for module in modules
        for imported in graph.find_modules_directly_imported_by(module) - left_out
    }
    return dict(files), {(a, b) for a, b in arrows if a != b}


def _room(module: str) -> str:
    parts = module.split(".")[1:]
    return ".".join(parts[: 2 if parts[0] in DIVIDED else 1])


def floors(rooms: Sequence[str], arrows: set[Arrow]) -> dict[str, int]:
    """Step 3: room -> floor, 0 at the top."""
    found: dict[str, int] = {}
    waiting = sorted(rooms)
    while waiting:
        free = [room for room in waiting if not any(a in waiting for a, b in arrows if b == room)]
        if not free:
            raise ValueError(f"imports go in circles among {', '.join(waiting)}")
        for room in free:
            found[room] = 1 + max((found[a] for a, b in arrows if b == room), default=-1)
        waiting = [room for room in waiting if room not in free]
    return found


def needed(arrows: set[Arrow]) -> set[Arrow]:
    """Step 2: the arrows that do not follow from others."""
    after: dict[str, set[str]] = {}
    for a, b in arrows:
        after.setdefault(a, set()).add(b)

    def reached(room: str) -> set[str]:
        return {far for near in after.get(room, ()) for far in (near, *reached(near))}

    return {(a, b) for a, b in arrows if not any(b in reached(other) for other in after[a])}


def placed(files: Mapping[str, int], arrows: set[Arrow]) -> list[list[Place]]:
    """Steps 3 to 5: places from the top floor to the ground, each floor from left to right."""
    floor_of = floors(list(files), arrows)
    house: list[list[Place]] = [[] for _ in range(1 + max(floor_of.values()))]
    at: dict[str, Place] = {}
    for room in sorted(files):
        at[room] = Place(room, floor_of[room], width=max(LETTER * len(room), LETTER * 7) + 2 * PADDING)
        house[floor_of[room]].append(at[room])
    for a, b in sorted(needed(arrows)):
        upper = at[a]
        for floor in range(floor_of[a] + 1, floor_of[b]):
            passing = Place("", floor, above=[upper])
            house[floor].append(passing)
            upper.below.append(passing)
            upper = passing
        upper.below.append(at[b])
        at[b].above.append(upper)
    house = _ordered(house)
    for places in house:
        _spread(places, [0.0] * len(places))
    for sweep in range(SWEEPS):
        for places in house if sweep % 2 else reversed(house):
            _spread(places, [_wanted(p) for p in places])
    left = min(p.x - p.width / 2 for places in house for p in places)
    right = max(p.x + p.width / 2 for places in house for p in places)
    for places in house:
        for p in places:
            p.x = MARGIN + (p.x - left) * (WIDTH - 2 * MARGIN) / (right - left) if right - left > WIDTH else p.x - left
            p.x += 0 if right - left > WIDTH else (WIDTH - right + left) / 2
    return house


def _ordered(house: list[list[Place]]) -> list[list[Place]]:
    """Step 4."""
    best, fewest = [list(places) for places in house], _crossings(house)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for floor in range(len(house)) if down else reversed(range(len(house))):
            beside = house[floor - 1 if down else floor + 1] if 0 <= floor + (-1 if down else 1) < len(house) else []
            index = {id(p): i for i, p in enumerate(beside)}
            own = {id(p): i for i, p in enumerate(house[floor])}
            house[floor].sort(
                key=lambda p, index=index, own=own, down=down: _mean(
                    [index[id(other)] for other in (p.above if down else p.below)], own[id(p)]
                )
            )
        house = _swapped(house)
        if (crossings := _crossings(house)) < fewest:
            best, fewest = [list(places) for places in house], crossings
    return best


def _swapped(house: list[list[Place]]) -> list[list[Place]]:
    """Neighbours exchanged wherever that saves a crossing."""
    crossings, better = _crossings(house), True
    while better:
        better = False
        for places in house:
            for i in range(len(places) - 1):
                places[i], places[i + 1] = places[i + 1], places[i]
                if (now := _crossings(house)) < crossings:
                    crossings, better = now, True
                else:
                    places[i], places[i + 1] = places[i + 1], places[i]
    return house


def _crossings(house: list[list[Place]]) -> int:
    total = 0
    for upper, lower in pairwise(house):
        index = {id(p): i for i, p in enumerate(lower)}
        ends = [(i, index[id(other)]) for i, p in enumerate(upper) for other in p.below]
        total += sum((a - c) * (b - d) < 0 for (a, b), (c, d) in combinations(ends, 2))
    return total


def _spread(places: list[Place], wanted: list[float]) -> None:
    """Step 5: centres as near as possible to `wanted`, in this order and without overlap."""
    offsets = [0.0]
    for left, right in pairwise(places):
        offsets.append(offsets[-1] + (left.width + right.width) / 2 + GAP)
    blocks: list[list[float]] = []  # mean, weight, how many
    for place, x, offset in zip(places, wanted, offsets, strict=True):
        weight = 1.0 if place.room else 3.0  # straight arrows are worth more than centred rooms
        blocks.append([x - offset, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, weight, count = blocks.pop()
            total = weight + blocks[-1][1]
            blocks[-1] = [(mean * weight + blocks[-1][0] * blocks[-1][1]) / total, total, count + blocks[-1][2]]
    free = [mean for mean, _, count in blocks for _ in range(int(count))]
    for place, start, offset in zip(places, free, offsets, strict=True):
        place.x = start + offset


def _wanted(place: Place) -> float:
    """The middle of what a place is joined to; an arrow that passes through several floors goes straight if it can."""
    beside = [(other.x, 1 if place.room or other.room else STRAIGHT) for other in place.above + place.below]
    return sum(x * weight for x, weight in beside) / sum(weight for _, weight in beside) if beside else place.x


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def drawing() -> str:
    """The drawing, as SVG."""
    files, arrows = rooms_and_arrows()
    house = placed(files, arrows)
    ink = {p.room: INKS[i % len(INKS)] for i, p in enumerate(q for places in house for q in places if q.room)}
    height = TOP + FLOOR * (len(house) - 1) + ROOM + MARGIN
    said = "; ".join(f"{a} imports {', '.join(sorted(b for c, b in arrows if c == a))}" for a in sorted(files))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="rooms" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="Rooms of the package and who imports whom. {said}.">',
        "  <style>",
        "    .rooms { width: 100%; height: auto; }",
        "    .rooms .ink { fill: var(--pst-color-text-base, #333); }",
        "    .rooms .faint { fill: var(--pst-color-text-muted, #666); }",
        "    .rooms .room { fill: var(--pst-color-background, #fff); stroke-width: 1.5; }",
        "    .rooms .roof { fill: var(--pst-color-text-muted, #777); fill-opacity: .15; }",
        "    .rooms .t { font: 500 14px system-ui, sans-serif; text-anchor: middle; }",
        "    .rooms .s { font: 12px system-ui, sans-serif; text-anchor: middle; }",
        "    @media (prefers-color-scheme: dark) {",
        "      .rooms .ink { fill: var(--pst-color-text-base, #ddd); }",
        "      .rooms .faint { fill: var(--pst-color-text-muted, #aaa); }",
        "      .rooms .room { fill: var(--pst-color-background, #111); }",
        "    }",
        "  </style>",
        f'  <path class="roof" d="M{MARGIN} 52L{MARGIN + 40} 8H{WIDTH - MARGIN - 40}L{WIDTH - MARGIN} 52Z"/>',
        f'  <text class="t ink" x="{WIDTH / 2:g}" y="28">{PACKAGE}</text>',
        f'  <text class="s faint" x="{WIDTH / 2:g}" y="44">import {PACKAGE}: names from the rooms below</text>',
    ]
    for places in house:
        for p in places:
            if p.room:
                lines += _arrows(p, ink[p.room])
    for p in (p for places in house for p in places if p.room):
        top, n = _top(p), files[p.room]
        lines += [
            f'  <rect class="room" x="{p.x - p.width / 2:.1f}" y="{top}" width="{p.width:.1f}" height="{ROOM}" rx="6" '
            f'stroke="{ink[p.room]}"/>',
            f'  <text class="t ink" x="{p.x:.1f}" y="{top + 20}">{p.room}</text>',
            f'  <text class="s faint" x="{p.x:.1f}" y="{top + 36}">{n} file{"s" if n > 1 else ""}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _top(place: Place) -> int:
    return TOP + FLOOR * place.floor


def _arrows(room: Place, ink: str) -> list[str]:
    """The arrows of one room, down to the rooms that it imports."""
    lines = []
    for first in sorted(room.below, key=lambda p: p.x):
        x, y = _port(room, first, room.below), _top(room) + ROOM
        path, here, there = f"M{x:.1f} {y}", room, first
        while True:
            end, top = (_port(there, here, there.above) if there.room else there.x), _top(there)
            stop = top - 7 if there.room else top
            middle = (y + stop) / 2
            path += f"C{x:.1f} {middle:.1f} {end:.1f} {middle:.1f} {end:.1f} {stop}"
            if there.room:
                break
            x, y = end, top + ROOM
            path += f"V{y}"
            here, there = there, there.below[0]
        lines += [
            f'  <path d="{path}" fill="none" stroke="{ink}" stroke-width="1.6"/>',
            f'  <path d="M{end - 4.5:.1f} {top - 9}L{end:.1f} {top}L{end + 4.5:.1f} {top - 9}Z" fill="{ink}"/>',
        ]
    return lines


def _port(room: Place, other: Place, others: Sequence[Place]) -> float:
    """Where on the edge of a room the arrow from or to `other` ends: side by side, in the order of the others."""
    order = sorted(others, key=lambda p: p.x)
    step = min(18.0, (room.width - 2 * PADDING) / max(1, len(order) - 1))
    return room.x + (order.index(other) - (len(order) - 1) / 2) * step


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the drawing, or compare it with the one that is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether the drawing is that of the code")
    check, now = parser.parse_args(arguments).check, drawing()
    if check and (not DRAWING.is_file() or DRAWING.read_text(encoding="utf-8") != now):
        print("book/drawings/rooms.svg is not that of the code; run python book/scripts/draw_rooms.py", file=sys.stderr)
        return 1
    if not check:
        DRAWING.write_text(now, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
