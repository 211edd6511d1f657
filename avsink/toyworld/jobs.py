"""The four jobs of the toy world, each a question whose answer follows from a scene.

| job | modelled on | what the model must do |
|---|---|---|
| sounding object | VGGSound, 20-way | name what is seen and heard, from whichever of the two is clear enough |
| anchor and target | AV-SpeakerBench, WorldSense | find the moment in one modality, read the answer in the other |
| match the reference | AV-Odyssey | find the candidate that fits a reference of the other modality |
| caption | AVHBench captions | say what is seen and what is heard |

A `Draft` is a sample whose files do not exist yet: `write` renders its scenes and returns the `Sample`.
Exactly one option of a question is right. An anchor-and-target question cannot be answered from one modality: given
only the picture or only the sound, its four options are equally likely.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from avsink.sample import Media, Sample, Text
from avsink.toyworld import prompts
from avsink.toyworld.clip_files import write_clip, write_image
from avsink.toyworld.prompts import NAMES, ORDINALS
from avsink.toyworld.scene import Appearance, Scene, Sounding

__all__ = [
    *("DIRECTIONS", "JOBS", "MATCHES", "SIZE", "Draft"),
    *("anchor_and_target", "caption", "match_the_reference", "one_second", "sounding_object"),
]

FPS = 4  # of the files; models sample two frames per second from them
SIZE = 128  # height and width of the files in pixels
SECONDS = 4  # one event per second
DIRECTIONS = ("visual anchor → audio answer", "audio anchor → visual answer", "mixed")
MATCHES = ("audio reference → image candidates", "image reference → audio candidates")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A sample whose files are not rendered yet; `scenes` maps the path of each medium to what it shows."""

    sample: Sample
    scenes: Mapping[str, Scene] = field(default_factory=dict)

    def write(self, root: Path) -> Sample:
        """Render the files that do not exist yet in `root`, and return the sample with paths in `root`."""
        parts = []
        for part in self.sample.parts:
            if isinstance(part, Media):
                name, part = str(part.path), replace(part, path=root / part.path)
                if not part.path.is_file():
                    _render(part, self.scenes[name])
            parts.append(part)
        return replace(self.sample, parts=tuple(parts))


def _render(medium: Media, scene: Scene) -> None:
    if medium.kind == "image":
        write_image(medium.path, scene.frames(1, SIZE)[0])
    else:
        frames = scene.frames(FPS, SIZE) if medium.kind == "video" else None
        write_clip(medium.path, frames=frames, waveform=scene.waveform(), fps=FPS)


def _letter(options: list[str], answer: str) -> str:
    return chr(65 + options.index(answer))


def _shuffled(rng: np.random.Generator, items) -> list[str]:
    return [str(item) for item in rng.permutation(list(items))]


def _appearance(rng: np.random.Generator, name: str, start: float, stop: float) -> Appearance:
    """A random appearance, moving at most a third of the frame's width per second."""
    here = rng.uniform(0.3, 0.7, 2)
    there = np.clip(here + rng.uniform(-0.3, 0.3, 2) * (stop - start), 0.28, 0.72)
    size = rng.uniform(0.42, 0.62)
    return Appearance(name=name, start=start, stop=stop, size=size, come_from=tuple(here), go_to=tuple(there))


def _sounding(rng: np.random.Generator, name: str, start: float, stop: float) -> Sounding:
    return Sounding(
        name=name, start=start, stop=stop, pitch=float(rng.uniform(0.94, 1.06)), gain=float(rng.uniform(0.5, 0.9))
    )


def one_second(rng: np.random.Generator, name: str) -> Scene:
    """A scene of one second with one object, for single pictures and single sounds."""
    return Scene(
        seen=(_appearance(rng, name, 0, 1),),
        heard=(_sounding(rng, name, 0.02, 1.0),),
        duration=1,
        seed=int(rng.integers(2**31)),
    )


def _one_a_second(rng: np.random.Generator, seen: list[str], heard: list[str], seed: int) -> Scene:
    """A scene in which second i shows `seen[i]` and plays `heard[i]`, with small gaps between events."""
    return Scene(
        seen=tuple(_appearance(rng, name, i - 0.1, i + rng.uniform(0.75, 0.9)) for i, name in enumerate(seen)),
        heard=tuple(
            _sounding(rng, name, i + rng.uniform(0, 0.12), i + rng.uniform(0.85, 1.0)) for i, name in enumerate(heard)
        ),
        duration=len(seen),
        seed=seed,
    )


def _truth(scene: Scene) -> dict[str, object]:
    return asdict(scene)


def sounding_object(rng: np.random.Generator, *, id: str, fog: float = 0.0, noise: float = 0.0) -> Draft:
    """Draw a clip with one object, always seen and mostly heard; 20 options in random order."""
    name = str(rng.choice(NAMES))
    start, stop = rng.uniform(0, 0.8), rng.uniform(SECONDS - 0.8, SECONDS)
    scene = Scene(
        seen=(_appearance(rng, name, 0, SECONDS),),
        heard=(_sounding(rng, name, start, stop),),
        duration=SECONDS,
        fog=fog,
        noise=noise,
        seed=int(rng.integers(2**31)),
    )
    options = _shuffled(rng, NAMES)
    clip = f"{id}.mp4"
    sample = Sample(
        id=id,
        task="sounding object",
        category="clean" if fog == noise == 0 else "degraded",
        parts=(Media(path=Path(clip), kind="video"), Text(text="\n" + prompts.sounding_object())),
        options=tuple(options),
        suffix=prompts.SUFFIX,
        answer=_letter(options, name),
        truth=_truth(scene) | {"object": name},
    )
    return Draft(sample=sample, scenes={clip: scene})


def anchor_and_target(rng: np.random.Generator, *, id: str, category: str) -> Draft:
    """Draw a clip of four seconds, each with one object to see and one to hear; the question relates the two."""
    if category == "mixed":
        # The same four objects are seen and heard, each once, but only one is seen and heard in the same second.
        seen = _shuffled(rng, rng.choice(NAMES, 4, replace=False))
        keep = int(rng.integers(4))
        others = [i for i in range(4) if i != keep]
        heard = list(seen)
        for i, j in zip(others, np.roll(others, int(rng.choice([1, 2]))), strict=True):
            heard[i] = seen[j]
        question, answer, choices = prompts.seen_and_heard(), seen[keep], seen
    else:
        drawn = _shuffled(rng, rng.choice(NAMES, 8, replace=False))
        seen, heard = drawn[:4], drawn[4:]
        moment = int(rng.integers(4))
        if category == DIRECTIONS[0]:
            question, answer, choices = prompts.heard_while_seen(seen[moment]), heard[moment], heard
        else:
            question, answer, choices = prompts.seen_while_heard(heard[moment]), seen[moment], seen
    scene = _one_a_second(rng, seen, heard, int(rng.integers(2**31)))
    options = _shuffled(rng, choices)
    clip = f"{id}.mp4"
    sample = Sample(
        id=id,
        task="anchor and target",
        category=category,
        parts=(Media(path=Path(clip), kind="video"), Text(text="\n" + question)),
        options=tuple(options),
        suffix=prompts.SUFFIX,
        answer=_letter(options, answer),
        truth=_truth(scene) | {"answer": answer, "seen_by_second": seen, "heard_by_second": heard},
    )
    return Draft(sample=sample, scenes={clip: scene})


def match_the_reference(rng: np.random.Generator, *, id: str, category: str, variants: int = 3) -> Draft:
    """Draw four candidates of one modality, the question, and a reference of the other (Flow's most frequent order).

    Pictures and sounds come from a pool with `variants` of each object, so that samples share files.
    """
    names = _shuffled(rng, rng.choice(NAMES, 4, replace=False))
    target = int(rng.integers(4))
    kinds = ("audio", "image") if category == MATCHES[0] else ("image", "audio")  # (reference, candidates)
    scenes: dict[str, Scene] = {}

    def medium(kind: str, name: str, role: str) -> Media:
        variant = int(rng.integers(variants))
        path = f"pool/{name}-{variant}.{'png' if kind == 'image' else 'm4a'}"
        scenes[path] = one_second(np.random.default_rng([NAMES.index(name), variant, 77]), name)
        return Media(path=Path(path), kind=kind, role=role)

    parts: list[Text | Media] = []
    for ordinal, name in zip(ORDINALS, names, strict=True):
        parts += [Text(text=f"\n{ordinal}", role="label"), medium(kinds[1], name, "candidate")]
    parts += [Text(text="\n" + prompts.matching(kinds[0])), medium(kinds[0], names[target], "reference")]
    options = _shuffled(rng, ORDINALS)
    sample = Sample(
        id=id,
        task="match the reference",
        category=category,
        parts=tuple(parts),
        options=tuple(options),
        suffix=prompts.SUFFIX,
        answer=_letter(options, ORDINALS[target]),
        truth={"candidates": names, "reference": names[target], "correct_candidate": target},
    )
    return Draft(sample=sample, scenes=scenes)


def caption(rng: np.random.Generator, *, id: str, fog: float = 0.0, noise: float = 0.0) -> Draft:
    """Draw a clip in which one object is seen and the same or another one is heard; the caption names both."""
    seen = str(rng.choice(NAMES))
    heard = seen if rng.random() < 0.3 else str(rng.choice([name for name in NAMES if name != seen]))
    scene = Scene(
        seen=(_appearance(rng, seen, 0, SECONDS),),
        heard=(_sounding(rng, heard, rng.uniform(0, 0.5), rng.uniform(SECONDS - 0.5, SECONDS)),),
        duration=SECONDS,
        fog=fog,
        noise=noise,
        seed=int(rng.integers(2**31)),
    )
    clip = f"{id}.mp4"
    sample = Sample(
        id=id,
        task="caption",
        category="clean" if fog == noise == 0 else "ambiguous",
        parts=(Media(path=Path(clip), kind="video"), Text(text="\n" + prompts.CAPTION_REQUEST)),
        truth=_truth(scene) | {"objects": sorted({seen, heard}), "caption": prompts.caption(seen, heard)},
    )
    return Draft(sample=sample, scenes={clip: scene})


JOBS: dict[str, Callable[..., Draft]] = {
    "sounding object": sounding_object,
    "anchor and target": anchor_and_target,
    "match the reference": match_the_reference,
    "caption": caption,
}
"""Task -> function that draws a sample of it."""
