"""Read masks and sounding spans of real clips from files, as segmenters and sound detectors write them.

**Masks** (`read_masks`): a folder of pictures, white where the object is, one for each frame that the model sees.

1. A mask is named by the number of its frame, ``00012.png`` or ``013.jpg``, and masks are sorted by number. Raw frames
   in the same folder, ``013_raw.jpg``, and files with other names are ignored.
2. There is one mask per frame; or there are more, and the caller gives the number of frames that the model sees
   (`n_frames`): then masks are taken at even distances from the first to the last, as in the Hubs paper; or the caller
   lists the raw frames, and each mask is the file of the same name without ``_raw``.
3. Grey levels are kept. If a folder has only zeros and ones, ones become white; in a picture with a palette, every
   colour but the first becomes white.

**Spans** (`read_spans`): a JSON list of ``{"audio": "<folders>/<clip>.wav", "important_blocks": [0, 3]}``, the form
released with the paper, in blocks of two seconds; or of ``{"audio": ..., "spans": [[0.5, 2.25], ...]}``, in seconds.

4. A clip that occurs twice, or whose blocks or spans cannot be read, is a problem; the others are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from avsink.datasets.files import tables
from avsink.datasets.files.tables import TableError
from avsink.datasets.loaded import Problem, check_text
from avsink.datasets.masks.object_cells import BLOCKS

__all__ = ["BLOCK_SECONDS", "MaskError", "Spans", "mask_files", "mask_of", "read_masks", "read_spans"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
RAW = "_raw"
BLOCK_SECONDS = 2.0

Span = tuple[float, float]


class MaskError(ValueError):
    """Masks that cannot be used, or cannot be made."""


@dataclass(frozen=True, kw_only=True)
class Spans:
    """The spans in which objects sound.

    Attributes:
        spans: Clip -> spans in seconds.
        blocks: Clip -> numbers of its blocks, if the file gives blocks.
        problems: The rows that cannot be used.
    """

    spans: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)
    blocks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def mask_files(folder: Path) -> list[Path]:
    """The masks in a folder, sorted by number.

    Raises:
        MaskError: If there are none, or two for the same frame.
    """
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() not in SUFFIXES or not (path.stem.isascii() and path.stem.isdecimal()):
            continue
        number = int(path.stem)
        if number in found:
            raise MaskError(f"{folder.name}: {found[number].name} and {path.name} are masks of the same frame")
        found[number] = path
    if not found:
        raise MaskError(f"no masks in {folder}: pictures named by frame number are expected, for example 00012.png")
    return [found[number] for number in sorted(found)]


def mask_of(raw: Path) -> Path:
    """The path of the mask of a raw frame.

    Raises:
        MaskError: If the name is not that of a raw frame.
    """
    if not raw.stem.endswith(RAW):
        raise MaskError(f"{raw.name} is not a raw frame: its name must end with {RAW}")
    return raw.with_name(raw.stem.removesuffix(RAW) + raw.suffix)


def read_masks(masks: Path | Sequence[Path], *, n_frames: int | None = None) -> np.ndarray:
    """Read the masks of a clip.

    Args:
        masks: A folder of masks, or a list of raw frames (`mask_of`).
        n_frames: The number of frames that the model sees; None for one frame per mask.

    Returns:
        Grey levels, uint8 [frames, height, width].

    Raises:
        MaskError: If masks are missing, damaged, or differ in size.
    """
    files = mask_files(masks) if isinstance(masks, Path) else [mask_of(Path(raw)) for raw in masks]
    if not files:
        raise MaskError("the list of raw frames is empty, so there are no masks")
    if n_frames is not None and n_frames != len(files):
        if not 1 <= n_frames < len(files):
            raise MaskError(f"{n_frames} frames, but {len(files)} masks in {files[0].parent}")
        files = [files[round(k)] for k in np.linspace(0, len(files) - 1, n_frames)]
    pictures = [_grey(path) for path in files]
    sizes = {picture.shape for picture in pictures}
    if len(sizes) != 1:
        shown = " and ".join(f"{width} x {height}" for height, width in sorted(sizes)[:2])
        raise MaskError(f"the masks in {files[0].parent} differ in size: {shown}")
    masks = np.stack(pictures)
    return masks * np.uint8(255) if masks.max() == 1 else masks


def read_spans(path: Path) -> Spans:
    """Read a file of spans.

    Raises:
        TableError: If the file is not a JSON list.
    """
    content = tables.read_json(path)
    if not isinstance(content, list):
        raise TableError(f"{path.name} is not a list of clips")
    spans: dict[str, tuple[Span, ...]] = {}
    blocks: dict[str, tuple[int, ...]] = {}
    problems = []
    for number, row in enumerate(content, start=1):
        where = f"{path.name}, row {number}"
        clip = _clip(row)
        try:
            if not clip.strip():
                raise ValueError("it names no audio")
            check_text(row)
            if key := tables.repeated(row):
                raise ValueError(f"it has the key {key!r} twice")
            if clip in spans:
                raise ValueError("another row is about the same clip")
            if "important_blocks" in row and "spans" in row:
                raise ValueError("it has both important_blocks and spans")
            if "important_blocks" in row:
                blocks[clip] = _blocks(row["important_blocks"])
                spans[clip] = tuple((BLOCK_SECONDS * k, BLOCK_SECONDS * (k + 1)) for k in blocks[clip])
            else:
                spans[clip] = _seconds(row.get("spans"))
        except ValueError as error:
            problems.append(Problem(id=clip or f"({where})", reason=str(error), where=where))
    return Spans(spans=spans, blocks=blocks, problems=tuple(problems))


def _clip(row: object) -> str:
    audio = row.get("audio") if isinstance(row, dict) else None
    return PurePosixPath(audio).stem if isinstance(audio, str) else ""


def _blocks(value: object) -> tuple[int, ...]:
    whole = isinstance(value, list) and all(isinstance(k, int) and not isinstance(k, bool) for k in value)
    if not whole or not all(0 <= k < BLOCKS for k in value) or len(set(value)) != len(value):
        raise ValueError(f"its important_blocks are {value!r}; different numbers from 0 to {BLOCKS - 1} are expected")
    return tuple(sorted(value))


def _seconds(value: object) -> tuple[Span, ...]:
    pairs = value if isinstance(value, list) else [None]
    for pair in pairs:
        numbers = isinstance(pair, list) and all(isinstance(x, int | float) and not isinstance(x, bool) for x in pair)
        if not numbers or len(pair) != 2 or not 0 <= pair[0] < pair[1] < float("inf"):
            raise ValueError(f"its spans are {value!r}; pairs of seconds are expected, [[0.5, 2.25]]")
    return tuple(sorted((float(start), float(stop)) for start, stop in pairs))


def _grey(path: Path) -> np.ndarray:
    """One mask, uint8 [height, width]."""
    try:
        with Image.open(path) as picture:
            if picture.mode == "P":
                return np.where(np.asarray(picture) > 0, 255, 0).astype(np.uint8)
            return np.asarray(picture.convert("L"))
    except FileNotFoundError:
        raise MaskError(f"missing mask {path.name} (looked in {path.parent})") from None
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise MaskError(f"{path.name} is not a picture, or is cut off: {error}") from None
