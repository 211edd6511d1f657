"""Where the sounding object of a toy clip is seen and when it is heard, exactly, from the sample's `truth`.

1. The truth of a sample contains its scene (`scene_of`), as drawn or as read from the manifest.
2. The object is the one that the caller names, else the `object` in `truth`, else everything that is heard.
3. `masks`: the pixels that it covers in each frame, even while it is silent. Fog does not change a mask; another object
   in front does.
4. `spans`: when it is heard, in seconds, cut at the end of the clip. Noise does not change them.

At the model's own frame rate, frame k of `masks` belongs to frame k of the model: both are at time k / fps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields

import numpy as np

from avsink.toyworld.prompts import NAMES
from avsink.toyworld.scene import Appearance, Scene, Sounding

__all__ = ["SCENE", "masks", "scene_of", "spans", "within"]

SCENE = {"seen", "heard", "duration", "fog", "noise", "seed"}  # what a truth holds of its scene


def scene_of(truth: Mapping[str, object]) -> Scene:
    """Rebuild the scene from a sample's truth.

    Raises:
        ValueError: If the sample has no scene, like those with several media, or not a whole one.
    """
    if not SCENE & set(truth):
        raise ValueError("this sample's truth holds no scene: only samples with one clip have one")
    if missing := sorted(SCENE - set(truth)):
        raise ValueError(f"its truth has no {', '.join(missing)}, which belong to its scene")
    seen, heard = (tuple(_things(truth, name, kind)) for name, kind in (("seen", Appearance), ("heard", Sounding)))
    numbers = {name: _number(truth[name], name) for name in ("duration", "fog", "noise")}
    if numbers["duration"] <= 0 or not isinstance(truth["seed"], int) or isinstance(truth["seed"], bool):
        raise ValueError(f"its duration is {truth['duration']!r} and its seed {truth['seed']!r}; numbers are expected")
    return Scene(seen=seen, heard=heard, **numbers, seed=truth["seed"])


def _things(truth: Mapping[str, object], name: str, kind: type[Appearance] | type[Sounding]):
    """What is seen or heard. Raises ValueError."""
    things = truth[name]
    wanted = {f.name for f in fields(kind)}
    for thing in things if isinstance(things, list | tuple) else [None]:
        if not isinstance(thing, Mapping) or set(thing) != wanted or not isinstance(thing["name"], str):
            raise ValueError(f"one of its {name} is {thing!r}; an object with {', '.join(sorted(wanted))} is expected")
        if thing["name"] not in NAMES:
            raise ValueError(f"one of its {name} is called {thing['name']!r}; allowed: {', '.join(NAMES)}")
        found = {"name": thing["name"]}
        for one in wanted - {"name"}:
            value = thing[one]
            if one in ("come_from", "go_to"):
                if not isinstance(value, list | tuple) or len(value) != 2:
                    raise ValueError(f"the {one} of {thing['name']} is {value!r}; two numbers are expected")
                found[one] = tuple(_number(number, one) for number in value)
            else:
                found[one] = _number(value, one)
        yield kind(**found)


def _number(value: object, name: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"its {name} is {value!r}; a number is expected")
    return value


def masks(truth: Mapping[str, object], *, fps: float, size: int, name: str | None = None) -> np.ndarray:
    """The pixels that the object covers, bool [frames, size, size].

    Raises:
        ValueError: If the sample has no scene, or the scene has no such object.
    """
    scene, names = scene_of(truth), _names(truth, name)
    every = scene.masks(fps, size)  # [T, appearances, size, size]
    return every[:, [thing.name in names for thing in scene.seen]].any(axis=1)


def spans(truth: Mapping[str, object], *, name: str | None = None) -> tuple[tuple[float, float], ...]:
    """When the object is heard: (start, stop) pairs in seconds, sorted.

    Raises:
        ValueError: If the sample has no scene, or the scene has no such object.
    """
    scene, names = scene_of(truth), _names(truth, name)
    found = (within(scene, thing) for thing in scene.heard if thing.name in names)
    return tuple(sorted((float(start), float(stop)) for start, stop in found if start < stop))


def within(scene: Scene, thing: Appearance | Sounding) -> tuple[float, float]:
    """When a thing of the scene is seen or heard, cut to the clip: (start, stop) in seconds."""
    return max(thing.start, 0.0), min(thing.stop, scene.duration)


def _names(truth: Mapping[str, object], name: str | None) -> set[str]:
    if name is None and "object" not in truth:
        return {thing["name"] for thing in truth["heard"]}
    name = str(truth["object"]) if name is None else name
    if name not in {thing["name"] for thing in (*truth["seen"], *truth["heard"])}:
        raise ValueError(f"the scene has no {name}")
    return {name}
