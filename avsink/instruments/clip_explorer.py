"""One clip to explore: its frames and its sound with tokens laid over them, how large each is, and who reads it.

1. A run measures φ, sinks, and the mean attention that each media token receives from later tokens of each kind;
2. a second run keeps the readers of `MOST` tokens of each modality, those that are sinks at the most layers;
3. everything is placed in one plane whose width is 1, so that a chart of any width can draw it
   (`avsink.charts.clip_explorer`): frames in rows of `COLUMNS`, below them the waveform.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from PIL import Image

from avsink.engine.observers import ColumnMeans, Readers, observe
from avsink.instruments.layers import require_layers
from avsink.instruments.sinks import SinkObserver
from avsink.media import read_clip

__all__ = ["Exploration", "explore", "nth"]

COLUMNS = 4  # frames a row
GAP = 0.06  # between two frames, as a fraction of a frame's width
PIXELS = 160  # longer side of an embedded frame, at most
BINS = 240  # bars of the waveform
HEIGHT = 0.14  # of the waveform, in widths of the plane
MOST = 40  # tokens of each modality whose readers are kept
FEWEST = 0.02  # fraction of a reader's attention from which on it is kept


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """One clip with its tokens, placed in a plane.

    x, y, x2, y2, width and height are in widths of the plane, with the origin in the upper left corner.

    Attributes:
        frames: One row per temporal grid: x, y, width, height, url (the picture as a data URL).
        wave: One row per bar: x, x2, y, y2.
        tokens: One row per (media token, layer): position, modality, place (in words), x, y, x2, y2, layer, phi, sink
            (bool), asked (whether its readers are kept), and video, audio, text: the mean attention that it receives
            from later tokens of each kind, NaN where there are none.
        readers: One row per (layer, key, reader): layer, key (position of the token that is read), position (of the
            reader), weight (fraction of the reader's attention), and the reader's modality, place, x, y, x2, y2.
        height: Height of the plane.
        first: Position of the token that is selected at the beginning.
    """

    frames: pd.DataFrame
    wave: pd.DataFrame
    tokens: pd.DataFrame
    readers: pd.DataFrame
    height: float
    first: int


def nth(samples: Sequence, number: int):
    """Look up the sample with this number, counted from 0.

    Raises:
        ValueError: There are not so many samples.
    """
    if number >= len(samples):
        raise ValueError(f"number: {number}; there are {len(samples)} samples, so the last one is {len(samples) - 1}")
    return samples[number]


def explore(model, sample, *, layers: Sequence[int] | None = None) -> Exploration:
    """Run one clip with picture and sound, and place its tokens.

    Args:
        model: A loaded model whose card has sink dimensions and a threshold.
        sample: A sample of one clip with its sound track.
        layers: The layers to show; by default at most twelve, evenly spaced.

    Raises:
        ValueError: The sample is not one clip with picture and sound, the model has no such layer, or its sinks are not
            calibrated.
        SampleError: The sample cannot be used.
    """
    clips = [medium for medium in sample.media if medium.kind == "video"]
    if len(sample.media) != 1 or not clips or not clips[0].sound:
        raise ValueError(f"{sample.id} is not one clip with picture and sound; choose a sample that is one")
    require_layers(layers or (), of="layers", n_layers=model.n_layers)
    inputs, card = model.prepare(sample), model.card
    layout = inputs.layout
    text = torch.cat([layout.question, layout.header, layout.last]).unique()
    keys = torch.cat([layout.video, layout.audio]).sort().values
    means_of = ColumnMeans(video=layout.video, audio=layout.audio, text=text)
    sinks, means = observe(model, inputs, [SinkObserver(card, layout), means_of])
    often = sinks.flags[:, keys].sum(dim=0).float() + sinks.phi[:, keys].mean(dim=0) / 1e3
    asked = _asked(often, keys, layout)
    # A second run: only now is it known whose readers to keep. Those of all tokens would be layers x N x N numbers.
    (weights,) = observe(model, inputs, [Readers(asked)])
    shown = list(np.unique(np.linspace(0, model.n_layers - 1, min(12, model.n_layers)).round().astype(int)))
    shown = shown if layers is None else list(layers)
    clip = read_clip(clips[0].path, fps=card.fps, max_frames=card.max_frames, sampling=card.sampling)
    frames, height = _frames(clip.frames, n_grids=len(layout.frames))
    places, wave, height = _places(inputs, frames, clip.waveform, top=height, n_grids=len(layout.frames))
    tables = [
        places.assign(
            layer=int(layer),
            phi=sinks.phi[layer, keys].numpy(),
            sink=sinks.flags[layer, keys].numpy(),
            asked=torch.isin(keys, asked).numpy(),
            **{name: mean[layer, keys].numpy() for name, mean in means.items()},
        )
        for layer in shown
    ]
    return Exploration(
        frames=frames,
        wave=wave,
        tokens=pd.concat(tables, ignore_index=True),
        readers=_readers(weights[:, keys], keys, asked, places, shown),
        height=height,
        first=int(keys[int(often.argmax())]),
    )


def _asked(often: torch.Tensor, keys: torch.Tensor, layout) -> torch.Tensor:
    """Choose the keys whose readers are kept: of each modality, the tokens that are sinks at the most layers.

    Args:
        often: How often each key is a sink, (keys,).
        keys: Positions of the media tokens.
        layout: The prompt's layout.
    """
    kept = []
    for group in (layout.video, layout.audio):
        own = torch.isin(keys, group).nonzero()[:, 0]
        kept.append(own[often[own].argsort(descending=True, stable=True)[:MOST]])
    return keys[torch.cat(kept).sort().values]


def _frames(pictures: np.ndarray, *, n_grids: int) -> tuple[pd.DataFrame, float]:
    """Place the first frame of each temporal grid; also return the y at which the last row of frames ends."""
    aspect = pictures.shape[1] / pictures.shape[2]
    size = (1 - GAP * (COLUMNS - 1) / COLUMNS) / COLUMNS
    rows = []
    for grid in range(n_grids):
        image = Image.fromarray(pictures[min(2 * grid, len(pictures) - 1)])
        scale = min(1.0, PIXELS / max(image.size))
        buffer = io.BytesIO()
        image.resize([max(1, round(scale * side)) for side in image.size]).save(buffer, format="WEBP", quality=80)
        url = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
        step = size * (1 + GAP)
        rows.append((grid % COLUMNS * step, grid // COLUMNS * step * aspect, size, size * aspect, url))
    table = pd.DataFrame(rows, columns=["x", "y", "width", "height", "url"])
    return table, float((table["y"] + table["height"]).max())


def _places(inputs, frames: pd.DataFrame, waveform: np.ndarray, *, top: float, n_grids: int):
    """Place each media token and the waveform; also return the height of the plane."""
    layout, (_, down, across) = inputs.layout, inputs.grid
    rows = []
    for grid, own in enumerate(layout.frames):
        frame = frames.iloc[grid]
        cell_x, cell_y = frame["width"] / across, frame["height"] / down
        for at, position in enumerate(own.tolist()):
            x, y = frame["x"] + at % across * cell_x, frame["y"] + at // across * cell_y
            rows.append((position, "video", f"token {at} of frame {grid}", x, y, x + cell_x, y + cell_y))
    top, n = top + 0.05, len(layout.audio)
    chunks = {int(position): k for k, own in enumerate(layout.audio_chunks) for position in own}
    for at, position in enumerate(layout.audio.tolist()):
        place = f"sound token {at}, chunk {chunks[position]}"
        rows.append((position, "audio", place, at / n, top, (at + 1) / n, top + HEIGHT))
    places = pd.DataFrame(rows, columns=["position", "modality", "place", "x", "y", "x2", "y2"])
    parts = np.array_split(waveform, BINS)
    loud = max(1e-6, float(np.abs(waveform).max()))
    middle, reach = top + HEIGHT / 2, HEIGHT / 2
    wave = pd.DataFrame(
        [
            (k / BINS, (k + 0.8) / BINS, middle - reach * part.max() / loud, middle - reach * part.min() / loud)
            for k, part in enumerate(parts)
        ],
        columns=["x", "x2", "y", "y2"],
    )
    return places.sort_values("position", ignore_index=True), wave, top + HEIGHT


def _readers(weights: torch.Tensor, keys, asked, places: pd.DataFrame, layers: Sequence[int]) -> pd.DataFrame:
    """List the media tokens that give one of the `asked` tokens more than `FEWEST` of their attention.

    `weights` has the shape (layers, keys, asked).
    """
    rows = []
    for layer in layers:
        for reader, at in (weights[layer] > FEWEST).nonzero().tolist():
            if keys[reader] != asked[at]:
                rows.append((int(layer), int(asked[at]), int(keys[reader]), float(weights[layer, reader, at])))
    table = pd.DataFrame(rows, columns=["layer", "key", "position", "weight"])
    return table.merge(places, on="position", how="left")
