"""Where the sounding object of a toy clip is seen and when it is heard, exactly, from the sample's `truth`.

1. The truth of a sample contains its scene (`scene_of`), as drawn or as read from the manifest.
2. The object is the one that the caller names, else the `object` in `truth`, else everything that is heard.
3. `masks`: the pixels that it covers in each frame, even while it is silent. Fog does not change a mask; another object
   in front does.
4. `spans`: when it is heard, in seconds, cut at the end of the clip. Noise does not change them.

At the model's own frame rate, frame k of `masks` belongs to frame k of the model: both are at time k / fps.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from avsink.toyworld.scene import Appearance, Scene, Sounding

__all__ = ["masks", "scene_of", "spans", "within"]


def scene_of(truth: Mapping[str, object]) -> Scene:
    """Rebuild the scene from a sample's truth.

    Raises:
        ValueError: If the sample has no scene, like those with several media.
    """
    if not {"seen", "heard", "duration"} <= set(truth):
        raise ValueError("this sample's truth holds no scene: only samples with one clip have one")
    return Scene(
        seen=tuple(
            Appearance(**{**thing, "come_from": tuple(thing["come_from"]), "go_to": tuple(thing["go_to"])})
            for thing in truth["seen"]
        ),
        heard=tuple(Sounding(**thing) for thing in truth["heard"]),
        **{name: truth[name] for name in ("duration", "fog", "noise", "seed") if name in truth},
    )


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
