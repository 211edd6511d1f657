"""A bank of one-second segments, rendered, encoded, decoded and preprocessed exactly like evaluation clips.

Both towers process each second independently (the vision tower attends within a temporal grid, the audio tower within
a chunk), so any clip is a sequence of independent seconds. The bank holds many seconds, labelled with what is seen and
heard:

1. scenes are drawn: half show one object throughout, with all degrees of fog and noise, half a new pair every second;
2. each is written as mp4 and read back by `avsink.media`, so that the artefacts of the codecs are learnt too;
3. the real processors turn it into patches and mel frames, split into seconds.

Lessons then combine seconds without rendering anything (`lessons`), and once the towers are trained, their outputs are
computed once for the whole bank.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from avsink.media import read_audio, read_clip, read_image
from avsink.testing.untrained_omni import MEL_PER_SECOND, build_processor, build_tokenizer
from avsink.toyworld import jobs
from avsink.toyworld.clip_files import write_clip, write_image
from avsink.toyworld.prompts import NAMES
from avsink.toyworld.scene import Scene

__all__ = ["Bank", "build_bank", "NOTHING", "UNSURE"]

NOTHING = len(NAMES)  # the label of a second in which nothing is seen (or heard)
UNSURE = -100  # the label of a second in which the object is only partly there
PATCHES = 36  # per temporal grid: 6 x 6 patches, merged to 3 x 3 tokens
_processor = None


@dataclass
class Bank:
    """Seconds of one modality.

    Attributes:
        inputs: Patches, float16 [n, 36, 1176], or mel frames, float16 [n, 64, 20].
        label: The object's class, `NOTHING` or `UNSURE`, int64 [n].
        level: The degradation, float32 [n].
        still: Whether it is a single image, or a separate sound of one second, bool [n].
    """

    inputs: torch.Tensor
    label: torch.Tensor
    level: torch.Tensor
    still: torch.Tensor


def _start() -> None:
    global _processor
    torch.set_num_threads(1)
    _processor = build_processor(build_tokenizer())


def _draw(rng: np.random.Generator, kind: str) -> Scene:
    if kind == "one object":
        levels = [0.0 if rng.random() < 0.25 else float(rng.uniform(0.2, 1.0)) for _ in range(2)]
        return next(iter(jobs.caption(rng, id="x", fog=levels[0], noise=levels[1]).scenes.values()))
    if kind == "pairs":
        category = str(rng.choice(jobs.DIRECTIONS[:2]))
        return next(iter(jobs.anchor_and_target(rng, id="x", category=category).scenes.values()))
    return jobs.one_second(rng, str(rng.choice(NAMES)))


def _labels(scene: Scene) -> tuple[list[int], list[int]]:
    """What is seen and heard in each second: a class, `NOTHING` or `UNSURE`."""
    seen, heard = [], []
    for second in range(int(scene.duration)):
        shown = [a.name for a in scene.seen if a.start <= second and second + 0.5 < a.stop]
        seen.append(NAMES.index(shown[-1]) if shown else NOTHING)
        overlap = [(min(s.stop, second + 1) - max(s.start, second), s.name) for s in scene.heard]
        longest, name = max(overlap, default=(0.0, ""))
        heard.append(NAMES.index(name) if longest > 0.5 else NOTHING if longest <= 0.05 else UNSURE)
    return seen, heard


def _make(task: tuple[int, int, str]):
    """One scene, as (patches [s, 36, 1176], seen [s], mel [s, 64, 20], heard [s], fog, noise, still)."""
    seed, index, kind = task
    rng = np.random.default_rng([seed, index])
    scene = _draw(rng, kind)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        if kind == "still":
            picture = path.with_suffix(".png")
            write_image(picture, scene.frames(1, jobs.SIZE)[0])
            write_clip(path, frames=None, waveform=scene.waveform(), fps=2)
            waveform = read_audio(path).waveform
            patches = _processor.image_processor(images=[read_image(picture)], return_tensors="pt")["pixel_values"]
        else:
            # Two frames a second are what is sampled from a real clip, so no others are rendered.
            write_clip(path, frames=scene.frames(2, jobs.SIZE), waveform=scene.waveform(), fps=2)
            clip = read_clip(path)
            waveform = clip.waveform
            frames = torch.from_numpy(clip.frames).permute(0, 3, 1, 2)  # [T, 3, H, W]
            patches = _processor.video_processor(videos=[frames], return_tensors="pt")["pixel_values_videos"]
    seconds = int(scene.duration)
    mel = _processor.feature_extractor(waveform, sampling_rate=16_000, padding="max_length", return_tensors="np")
    mel = mel["input_features"][0][:, : seconds * MEL_PER_SECOND]  # [64, s * 20]
    mel = mel.reshape(mel.shape[0], seconds, MEL_PER_SECOND).transpose(1, 0, 2)  # [s, 64, 20]
    patches = patches.reshape(seconds, PATCHES, -1).numpy().astype(np.float16)
    seen, heard = _labels(scene)
    return patches, seen, mel.astype(np.float16), heard, scene.fog, scene.noise, kind == "still"


def build_bank(*, clips: int, stills: int, seed: int, workers: int = 2) -> tuple[Bank, Bank]:
    """Render the bank of the picture and the bank of the sound.

    `stills` is the number of single images, each with a separate sound of one second.
    """
    tasks = [(seed, i, "one object" if i % 2 else "pairs") for i in range(clips)]
    tasks += [(seed, clips + i, "still") for i in range(stills)]
    see: dict[str, list] = {"inputs": [], "label": [], "level": [], "still": []}
    hear: dict[str, list] = {key: [] for key in see}
    with Pool(workers, initializer=_start) as pool:
        for patches, seen, mel, heard, fog, noise, still in tqdm(
            pool.imap(_make, tasks, chunksize=8), total=len(tasks), desc="rendering", mininterval=10
        ):
            for bank, inputs, labels, level in ((see, patches, seen, fog), (hear, mel, heard, noise)):
                bank["inputs"].append(torch.from_numpy(inputs.copy()))
                bank["label"] += labels
                bank["level"] += [level] * len(labels)
                bank["still"] += [still] * len(labels)
    return tuple(  # type: ignore[return-value]
        Bank(
            inputs=torch.cat(bank["inputs"]),
            label=torch.tensor(bank["label"]),
            level=torch.tensor(bank["level"]),
            still=torch.tensor(bank["still"]),
        )
        for bank in (see, hear)
    )
