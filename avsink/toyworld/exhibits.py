"""What the toy world's page in the book shows: the objects, one clip's truth, degradations, what the model learnt.

Pictures are PIL images; everything else is a tidy table for `avsink.charts`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from avsink.sample import Sample, Text
from avsink.toyworld import masks
from avsink.toyworld.jobs import JOBS
from avsink.toyworld.prompts import NAMES
from avsink.toyworld.routes import OTHER, ROUTES
from avsink.toyworld.sounds import RATE, sound
from avsink.toyworld.sprites import sprite

__all__ = [
    "abilities",
    "cast",
    "degradations",
    "hubs",
    "in_words",
    "lesson_curves",
    "questions",
    "routes",
    "spans",
    "tallies",
]

PAPER, SKY, INK, SOUND = (250, 250, 248), (222, 234, 240), (50, 50, 50), (217, 98, 42)
TILE, LABEL = 112, 24  # px


def cast(*, columns: int = 5) -> Image.Image:
    """A contact sheet: each object with its name and the spectrogram of one second of its sound."""
    rows = -(-len(NAMES) // columns)
    height = TILE + LABEL + 40
    sheet = Image.new("RGB", (columns * (TILE + 16) + 16, rows * (height + 16) + 16), PAPER)
    for at, name in enumerate(NAMES):
        x, y = 16 + at % columns * (TILE + 16), 16 + at // columns * (height + 16)
        ImageDraw.Draw(sheet).rounded_rectangle((x, y, x + TILE, y + TILE), radius=8, fill=SKY)
        picture = Image.fromarray(sprite(name, TILE - 24))
        sheet.paste(picture, (x + 12, y + 12), picture)
        _write(sheet, name, (x + TILE // 2, y + TILE + 3))
        sheet.paste(_spectrogram(sound(name, 1.0, pitch=1.0, rng=np.random.default_rng(0))), (x, y + TILE + LABEL))
    return sheet


def degradations(sample: Sample, *, levels: Sequence[float] = (0.0, 0.4, 0.7, 1.0)) -> Image.Image:
    """The first frame and the sound of a sample's scene under increasing fog and noise, one column per level."""
    size, gap = 160, 16
    sheet = Image.new("RGB", (len(levels) * (size + gap) + gap, size + 2 * LABEL + 76), PAPER)
    for at, level in enumerate(levels):
        scene = replace(masks.scene_of(sample.truth), fog=level, noise=level)
        x = gap + at * (size + gap)
        _write(sheet, f"{level:.0%}", (x + size // 2, 8))
        sheet.paste(Image.fromarray(scene.frames(1, size)[0]), (x, 8 + LABEL))
        sheet.paste(_spectrogram(scene.waveform(), width=size, height=56), (x, size + LABEL + 20))
    return sheet


def spans(sample: Sample) -> pd.DataFrame:
    """Which object is seen or heard when: track, label, modality, start, end (s)."""
    scene = masks.scene_of(sample.truth)
    tracks = (("seen", "video", scene.seen), ("heard", "audio", scene.heard))
    rows = [(track, one.name, sense, *masks.within(scene, one)) for track, sense, things in tracks for one in things]
    return pd.DataFrame(rows, columns=["track", "label", "modality", "start", "end"])


def questions(samples: Sequence[Sample]) -> pd.DataFrame:
    """One question of each category, with the number of samples and the right answer."""
    first, count = {}, {}
    for sample in samples:
        key = (sample.task, sample.category)
        first.setdefault(key, sample)
        count[key] = count.get(key, 0) + 1
    rows = []
    for key, sample in sorted(first.items(), key=lambda item: list(JOBS).index(item[0][0])):
        asked = next(part.text.strip() for part in sample.parts if isinstance(part, Text) and part.role == "question")
        right = sample.options[sample.letters.index(sample.answer)] if sample.options else sample.truth["caption"]
        ways = len(sample.options) or ""
        rows.append((*key, count[key], asked, ways, right))
    return pd.DataFrame(rows, columns=["task", "category", "samples", "for example", "options", "answer"])


def _figures(folder: Path) -> dict:
    path = folder / "evaluation.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} has no evaluation.json; write it with "
            f"`python -m training.evaluate --model {folder} --json > {path}`"
        )
    return json.loads(path.read_text())


def lesson_curves(folder: Path) -> pd.DataFrame:
    """Share of right letters (for captions: right words) during the lessons of a training: step, measure, value."""
    rows = [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]
    return pd.DataFrame(
        {"step": row["step"], "measure": name.partition(":")[0].replace("_", " "), "value": value}
        for row in rows
        if row["stage"] == "lessons"
        for name, value in row.items()
        if name.endswith((": letter", ": caption"))
    ).sort_values(["measure", "step"], ignore_index=True)


def abilities(folder: Path) -> pd.DataFrame:
    """Shares of right answers in the evaluation: label, group (what the model was given), value, low, high, n."""
    figures = _figures(folder)
    given = {"": "picture and sound", "_sound_alone": "sound alone", "_picture_alone": "picture alone"}
    rows = []
    for job in ("sounding_object_clean", "anchor_and_target"):
        rows += [{"label": job.replace("_", " "), "group": how, **figures[job + end]} for end, how in given.items()]
    for name, figure in figures.items():
        if "→" in name or name == "mixed":
            label = "anchor and target, mixed" if name == "mixed" else name
            rows.append({"label": label, "group": given[""], **figure})
    return pd.DataFrame(rows)


def in_words(values: pd.DataFrame) -> str:
    """A chart in words, for screen readers: all shares of `abilities`, or the last value of each of `lesson_curves`."""
    if "step" in values:
        ends = values.sort_values("step").groupby("measure", sort=False)["value"].last()
        return "At the end: " + ", ".join(f"{name} {value:.0%}" for name, value in ends.items()) + "."
    rows = values.itertuples()
    return "; ".join(f"{row.label}, with {row.group}: {row.value:.0%} (n = {row.n})" for row in rows) + "."


def tallies(folder: Path) -> pd.DataFrame:
    """Counts from the evaluation: dominance in degraded clips, objects in captions."""
    figures = _figures(folder)

    def share(name: str) -> str:
        found = figures[name]
        return f"{found['value']:.0%} [{found['low']:.0%}, {found['high']:.0%}]"

    rows = [(f"{kind}-dominant samples", "degraded clips", str(figures[f"{kind}_dominant"]["count"]),
             figures[f"{kind}_dominant"]["n"]) for kind in ("audio", "video")]  # fmt: skip
    for part, clips in (("caption", "clean clips"), ("ambiguous", "degraded clips")):
        rows.append(("objects named, F1", clips, f"{figures[f'{part}_f1']['value']:.2f}", figures[f"{part}_f1"]["n"]))
        found = f"{part}_hallucinates"
        rows.append(("captions that name what is not there", clips, share(found), figures[found]["n"]))
    return pd.DataFrame(rows, columns=["counted", "in", "found", "n"])


def routes() -> pd.DataFrame:
    """The routes that the teaching models were taught, step by step."""
    rows = [
        (route.layer, route.reader, route.read, ", ".join(route.pathways) or "–", ", ".join(route.tasks))
        for route in ROUTES
    ]
    return pd.DataFrame(rows, columns=["layer", "reads", "is read", "pathway", "taught in"])


def hubs(card) -> pd.DataFrame:
    """The hubs that a teaching model was taught: which tokens of a clip, what they read, and what reads them."""
    rows = []
    for hub in card.hubs:
        part = "grid" if hub.modality == "video" else "chunk"
        side = hub.modality if hub.kind == "unimodal" else OTHER[hub.modality]
        readers = side + (", text" if hub.kind == "cross-modal" else "")
        rows.append((f"{hub.modality}, {part} {hub.part}, token {hub.offset}", hub.kind, side, readers))
    return pd.DataFrame(rows, columns=["token", "kind", "reads", "is read by"])


def _write(sheet: Image.Image, text: str, at: tuple[int, int]) -> None:
    ImageDraw.Draw(sheet).text(at, text, fill=INK, font=ImageFont.load_default(size=15), anchor="ma")


def _spectrogram(wave: np.ndarray, *, width: int = TILE, height: int = 36) -> Image.Image:
    """Loudness over time and frequency (80 to 7,600 Hz, logarithmic); darker is louder."""
    window = 1024
    starts = np.linspace(0, max(0, len(wave) - window), width).astype(int)
    pieces = np.stack([np.pad(wave, (0, window))[start : start + window] for start in starts]) * np.hanning(window)
    power = np.abs(np.fft.rfft(pieces)) ** 2  # (width, window // 2 + 1)
    lowest = np.geomspace(80, 7600, height) * window / RATE  # lowest frequency bin of each row
    bins = np.stack([power[:, int(bin) : max(int(bin) + 1, int(bin * 1.14))].mean(1) for bin in lowest])
    loud = np.clip(10 * np.log10(bins[::-1] + 1e-6) / 60 + 0.55, 0, 1)[..., None]  # (height, width, 1)
    colours = (1 - loud) * np.array([243, 240, 236]) + loud * np.array(SOUND)
    return Image.fromarray(colours.astype(np.uint8))
