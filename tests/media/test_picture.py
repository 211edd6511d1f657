"""Upright, and only as large as the model takes it."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
import torch
from recordings import record, scene, turn
from samples import clip_sample, write_clip

from avsink import Media
from avsink.media import MediaError, read_clip, read_image
from avsink.models.cards import CARDS

# Corners of the stored frame, clockwise from the upper left, and of the shown one: (a, b, c, d) of the display matrix.
STORED = "red green blue white".split()
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "white": (230, 230, 230)}
TURNS = {
    (1, 0, 0, 1): "red green blue white",
    (0, 1, -1, 0): "white red green blue",  # a quarter clockwise, as a telephone held upright
    (-1, 0, 0, -1): "blue white red green",
    (0, -1, 1, 0): "green blue white red",
    (-1, 0, 0, 1): "green red white blue",  # a mirror
    (1, 0, 0, -1): "white blue green red",
    (0, 1, 1, 0): "red white blue green",
    (0, -1, -1, 0): "blue green red white",
}


def corners(frame: np.ndarray) -> str:
    """The names of the colours in the corners, clockwise from the upper left."""
    samples = (frame[8, 8], frame[8, -8], frame[-8, -8], frame[-8, 8])
    near = [min(COLOURS, key=lambda name: np.abs(np.subtract(COLOURS[name], s.astype(int))).sum()) for s in samples]
    return " ".join(near)


def write_corners(path, **how):
    frame = np.zeros((48, 64, 3), np.uint8)
    for name, (y, x) in zip(STORED, ((0, 0), (0, 1), (1, 1), (1, 0)), strict=True):
        frame[y * 24 : y * 24 + 24, x * 32 : x * 32 + 32] = COLOURS[name]
    return record(path, frames=np.stack([frame] * 8), **how)


@pytest.mark.parametrize(("matrix", "expected"), TURNS.items())
@pytest.mark.parametrize("kind", ["mp4", "mov"])
def test_a_clip_is_shown_upright(tmp_path, kind, matrix, expected):
    path = turn(write_corners(tmp_path / f"clip.{kind}"), *matrix)
    frames = read_clip(path, need_sound=False).frames
    assert frames.shape[1:3] == ((48, 64) if matrix[0] else (64, 48))
    assert {corners(frame) for frame in frames} == {expected}
    assert corners(read_image(path)) == expected


def test_a_slanted_picture_is_refused(tmp_path):
    path = turn(write_corners(tmp_path / "clip.mp4"), 1, 1, -1, 1)
    with pytest.raises(MediaError, match="clip.mp4 is turned by .* degrees"):
        read_clip(path, need_sound=False)


def test_a_picture_that_changes_its_size_is_refused(tmp_path):
    """As a telephone's does in a video call."""
    one = record(tmp_path / "one.h264", frames=scene(), container="h264")
    two = record(tmp_path / "two.h264", frames=scene(height=96, width=80), container="h264")
    one.write_bytes(one.read_bytes() + two.read_bytes())
    with pytest.raises(MediaError, match="one.h264: its picture changes its size at 2.0 s"):
        read_clip(one, need_sound=False)


SIZES = [(48, 64), (96, 96), (84, 84), (84, 252), (112, 56), (334, 518), (270, 480), (720, 1280), (36, 900)]


@pytest.mark.parametrize("card", ["tiny-omni", "Qwen/Qwen2.5-Omni-7B"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_frames_resized_while_decoding_give_the_pixels_of_the_processor(tiny_omni, tmp_path, size, card):
    """Held against the processor's own resizing of the frames as they are, and of an image."""
    limits, adapter, processor = CARDS[card], tiny_omni.adapter, tiny_omni.processor
    if card != "tiny-omni":
        own = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 1280}
        processor = replace_sizes(processor, own)
    fit = {
        kind: lambda picture, kind=kind: adapter.fit(picture, kind=kind, processor=processor, card=limits)
        for kind in ("video", "image")
    }
    path = record(tmp_path / "clip.mp4", frames=scene(6, height=size[0], width=size[1]), fps=2)
    whole = read_clip(path, need_sound=False)
    small = read_clip(path, need_sound=False, fit=fit["video"])
    assert small.fitted and len(small.frames) == len(whole.frames) == 6
    media = [Media(path=path, kind="video", sound=False)]
    text = f"{processor.vision_bos_token}{processor.video_token}{processor.vision_eos_token}"
    arguments = {"hf": tiny_omni.hf, "processor": processor, "card": limits}
    encoded = adapter.encode(text, media, [small], **arguments)
    later = adapter.encode(text, media, [whole], **arguments)
    tokens = {kind: getattr(limits, f"{kind}_tokens") for kind in ("frame", "image")}
    plain = processor(
        text=[text],
        videos=[torch.from_numpy(whole.frames).permute(0, 3, 1, 2)],
        videos_kwargs={"size": limited(processor.video_processor, tokens["frame"]), "cap_pixels_per_frame": False},
        return_tensors="pt",
    )
    for ours in (encoded, later):
        assert torch.equal(ours["pixel_values_videos"], plain["pixel_values_videos"])
        assert torch.equal(ours["video_grid_thw"], plain["video_grid_thw"])
    image = whole.frames[0]
    shown = processor.image_processor(
        images=[torch.from_numpy(fit["image"](image)).permute(2, 0, 1)], do_resize=False, return_tensors="pt"
    )
    expected = processor.image_processor(
        images=[torch.from_numpy(image).permute(2, 0, 1)],
        size=limited(processor.image_processor, tokens["image"]),
        return_tensors="pt",
    )
    assert torch.equal(shown["pixel_values"], expected["pixel_values"])


def replace_sizes(processor, size):
    """A copy of a processor that takes larger pictures."""
    from copy import copy

    processor = copy(processor)
    for name in ("image_processor", "video_processor"):
        own = copy(getattr(processor, name))
        own.size = size
        setattr(processor, name, own)
    return processor


def limited(processor, tokens):
    """Fewest and most pixels: the card's, within the processor's own; written out again."""
    fewest, most = (28 * 28 * n for n in tokens)
    most = min(most, processor.size["longest_edge"])
    return {"shortest_edge": min(max(fewest, processor.size["shortest_edge"]), most), "longest_edge": most}


def test_a_large_clip_takes_little_memory(tiny_omni, tmp_path):
    path = write_clip(tmp_path / "large.mp4", seconds=5, fps=2, size=2160, sound=1)
    whole = 10 * 2160 * 2160 * 3
    tracemalloc.start()
    inputs = tiny_omni.prepare(clip_sample(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert inputs.grids[0][0] == 5 and peak < whole / 2, "ten frames of 14 MB, of which two are in memory"


def test_what_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("avsink.media.picture.KEPT", 30_000)
    path = record(tmp_path / "clip.mp4", frames=scene())
    with pytest.raises(MediaError, match="clip.mp4: 4 frames of 64 x 48 take"):
        read_clip(path, need_sound=False)


def test_what_takes_too_long_is_refused(tmp_path, monkeypatch):
    now = iter(range(0, 10_000_000, 3))
    monkeypatch.setattr("avsink.media.limits.time.monotonic", lambda: next(now))
    path = record(tmp_path / "clip.mp4", frames=scene())
    with pytest.raises(MediaError, match="clip.mp4: .* not decoded within .* s"):
        read_clip(path, need_sound=False)


def test_a_header_of_a_giant_picture_is_refused_before_it_is_decoded(tmp_path):
    path = record(tmp_path / "clip.avi", frames=scene(), video="mjpeg")
    size, giant = struct.pack(">BHH", 8, 48, 64), struct.pack(">BHH", 8, 30_000, 30_000)
    path.write_bytes(path.read_bytes().replace(size, giant))
    tracemalloc.start()
    with pytest.raises(MediaError, match="clip.avi"):
        read_clip(path, need_sound=False)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
