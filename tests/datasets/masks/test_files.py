"""Masks as folders of pictures, spans as JSON: in every form, and broken."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from avsink.datasets.files.tables import TableError
from avsink.datasets.masks.files import MaskError, mask_of, read_masks, read_spans


def write(path, level, *, mode="L", size=(8, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, level).save(path)
    return path


def levels(masks):
    """The one grey level of each mask."""
    assert masks.dtype == np.uint8 and all(len(np.unique(mask)) == 1 for mask in masks)
    return masks[:, 0, 0].tolist()


def test_masks_are_sorted_by_number_and_other_files_ignored(tmp_path):
    for name, level in {"00010.png": 100, "9.png": 90, "00011.bmp": 110, "9_raw.png": 5, "cover.png": 6}.items():
        write(tmp_path / name, level)
    (tmp_path / "12.txt").write_text("x")
    masks = read_masks(tmp_path)
    assert masks.shape == (3, 6, 8) and levels(masks) == [90, 100, 110]


def test_masks_at_even_distances_when_the_model_sees_fewer_frames(tmp_path):
    for k in range(10):
        write(tmp_path / f"{k:03d}.png", 10 * k)
    assert levels(read_masks(tmp_path, n_frames=10)) == list(range(0, 100, 10))
    assert levels(read_masks(tmp_path, n_frames=4)) == [0, 30, 60, 90]
    assert levels(read_masks(tmp_path, n_frames=2)) == [0, 90]
    for wrong in (0, 11):
        with pytest.raises(MaskError, match=f"{wrong} frames, but 10 masks"):
            read_masks(tmp_path, n_frames=wrong)


def test_masks_beside_the_raw_frames_of_the_released_form(tmp_path):
    raw = [tmp_path / "clip" / f"{k:03d}_raw.jpg" for k in (1, 13, 25)]
    for k, path in enumerate(raw):
        write(path, 0)
        write(path.with_name(path.name.replace("_raw", "")), 200 + 10 * k)
    write(tmp_path / "clip" / "007.jpg", 1)  # a mask of a frame that the model does not see
    assert levels(read_masks(raw)) == [200, 210, 220]
    assert levels(read_masks(raw[::-1])) == [220, 210, 200]
    assert levels(read_masks(tmp_path / "clip")) == [200, 1, 210, 220]
    with pytest.raises(MaskError, match="013.jpg is not a raw frame"):
        mask_of(raw[1].with_name("013.jpg"))
    raw[1].with_name("013.jpg").unlink()
    with pytest.raises(MaskError, match="missing mask 013.jpg"):
        read_masks(raw)


def test_every_way_of_writing_white(tmp_path):
    half = np.zeros((6, 8), dtype=np.uint8)
    half[:, 4:] = 1
    palette = Image.fromarray(half, mode="P")
    palette.putpalette([0, 0, 0, 12, 0, 0])  # the object's own colour is nearly black
    forms = {"grey": Image.fromarray(half * 255), "one": Image.fromarray(half), "palette": palette}
    forms |= {"bits": Image.fromarray(half.astype(bool)), "colour": Image.fromarray(half * 255).convert("RGB")}
    for name, picture in forms.items():
        folder = tmp_path / name
        folder.mkdir()
        picture.save(folder / "0.png")
        assert np.array_equal(read_masks(folder), half[None] * 255), name
    (tmp_path / "none").mkdir()
    Image.fromarray(half * 0).save(tmp_path / "none" / "0.png")
    assert not read_masks(tmp_path / "none").any()


def test_masks_that_cannot_be_used(tmp_path):
    with pytest.raises(MaskError, match="no masks in .*: pictures named by frame number are expected"):
        read_masks(tmp_path / "nothing")
    write(tmp_path / "two" / "1.png", 0)
    write(tmp_path / "two" / "001.png", 0)
    with pytest.raises(MaskError, match="001.png and 1.png are masks of the same frame"):
        read_masks(tmp_path / "two")
    write(tmp_path / "size" / "1.png", 0)
    write(tmp_path / "size" / "2.png", 0, size=(9, 6))
    with pytest.raises(MaskError, match="differ in size: 8 x 6 and 9 x 6"):
        read_masks(tmp_path / "size")
    whole = write(tmp_path / "cut" / "1.png", 0, size=(200, 200)).read_bytes()
    (tmp_path / "cut" / "1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MaskError, match="1.png is not a picture, or is cut off"):
        read_masks(tmp_path / "cut")
    with pytest.raises(MaskError, match="list of raw frames is empty"):
        read_masks([])


def spans_of(path, rows):
    path.write_text(json.dumps(rows))
    return read_spans(path)


def test_spans_in_the_released_form_and_in_seconds(tmp_path):
    rows = [
        {"audio": "vggsound_with_mask/audio/-6jiO0tPLK7_000090.wav", "important_blocks": [3, 0]},
        {"audio": "audio/ABs3qGwvW-U_000020.wav", "important_blocks": []},
        {"audio": "AvEJZqK2G1A_000030", "spans": [[4, 5.5], [0.5, 2.25]]},
    ]
    found = spans_of(tmp_path / "spans.json", rows)
    assert not found.problems
    assert found.blocks == {"-6jiO0tPLK7_000090": (0, 3), "ABs3qGwvW-U_000020": ()}
    assert found.spans == {
        "-6jiO0tPLK7_000090": ((0.0, 2.0), (6.0, 8.0)),
        "ABs3qGwvW-U_000020": (),
        "AvEJZqK2G1A_000030": ((0.5, 2.25), (4.0, 5.5)),
    }


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"important_blocks": [0]}, "it names no audio"),
        ({"audio": "a/good.wav", "important_blocks": [1]}, "another row is about the same clip"),
        ({"audio": "b.wav", "important_blocks": [5]}, r"its important_blocks are \[5\]; different numbers from 0 to 4"),
        ({"audio": "b.wav", "important_blocks": [1, 1]}, "its important_blocks are"),
        ({"audio": "b.wav", "important_blocks": [True]}, "its important_blocks are"),
        ({"audio": "b.wav", "important_blocks": None}, "its important_blocks are None"),
        ({"audio": "b.wav"}, "its spans are None; pairs of seconds are expected"),
        ({"audio": "b.wav", "spans": [[2, 1]]}, "its spans are"),
        ({"audio": "b.wav", "spans": [[0, 1e999]]}, "its spans are"),
        (["b.wav"], "it names no audio"),
    ],
)
def test_a_bad_row_of_spans_is_a_problem_and_the_others_stay(tmp_path, row, reason):
    rows = [{"audio": "good.wav", "important_blocks": [4]}, row, {"audio": "last.wav", "spans": [[0, 1]]}]
    found = spans_of(tmp_path / "spans.json", rows)
    (problem,) = found.problems
    assert found.spans == {"good": ((8.0, 10.0),), "last": ((0.0, 1.0),)} and problem.where == "spans.json, row 2"
    with pytest.raises(ValueError, match=reason):
        raise ValueError(problem.reason)


def test_a_file_that_is_not_a_list(tmp_path):
    with pytest.raises(TableError, match="spans.json is not a list of clips"):
        spans_of(tmp_path / "spans.json", {"a": 1})
    (tmp_path / "spans.json").write_text("[{")
    with pytest.raises(TableError, match="spans.json is not JSON"):
        read_spans(tmp_path / "spans.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 6) | st.floats(-1, 9) | st.sampled_from(["a.wav", "", "x/b.wav"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["audio", "important_blocks", "spans"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(JSON, max_size=6))
def test_each_row_is_a_clip_or_a_problem(tmp_path, rows):
    found = spans_of(tmp_path / "any.json", rows)
    assert len(found.spans) + len(found.problems) == len(rows)
