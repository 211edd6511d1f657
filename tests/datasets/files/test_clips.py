"""Clip names, and the files found by them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsink.datasets.files.clips import Clips, clip_name, split_name

ID = st.text("ABCabc019_-", min_size=11, max_size=11)


@given(ID, st.integers(0, 999_999))
def test_a_name_is_split_from_the_right(id, start):
    name = clip_name(id, start)
    assert len(name) == 18 and split_name(name) == (id, start) == split_name(clip_name(id, str(start)))


@pytest.mark.parametrize(
    ("id", "start"), [("short", 1), ("ABCDEFGHIJK", "1.5"), ("ABCDEFGHIJK", -1), ("ABCDEFGHIJK", None)]
)
def test_what_is_not_a_name(id, start):
    with pytest.raises(ValueError, match="is not a clip name|whole seconds are expected"):
        clip_name(id, start)


def test_clips_are_found_in_whatever_folder_by_their_base_name(tmp_path):
    for name in ("a/b/c/-x.mp4", "d/y.MKV", "d/z.txt", "e/twice.mp4", "f/twice.webm"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    clips = Clips(tmp_path)
    assert clips.find("none", "-x") == tmp_path / "a/b/c/-x.mp4" and clips.find("y") == tmp_path / "d/y.MKV"
    with pytest.raises(ValueError, match="missing clip z.mp4 or w.mp4"):
        clips.find("z", "w")
    with pytest.raises(ValueError, match="2 files have the name of its clip: e/twice.mp4 and f/twice.webm; delete"):
        clips.find("twice")
