"""Zips that are damaged, encrypted or contradict each other are refused in one sentence; nothing is overwritten."""

from __future__ import annotations

import shutil
import stat
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avsink.datasets import fetch as command
from avsink.datasets.files.paths import MissingData
from avsink.datasets.files.zips import still_packed, unzip


def archive_with(path, name, *, link=False):
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo(name)
        if link:
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, b"content")


@pytest.mark.parametrize("name", ["../out.mp4", "/tmp/out.mp4", "a/../../out.mp4", "..\\out.mp4"])
def test_a_zip_may_not_leave_its_folder(tmp_path, name):
    (tmp_path / "root").mkdir()
    archive_with(tmp_path / "root/evil.zip", name)
    with pytest.raises(MissingData, match="evil.zip is refused: its member"):
        unzip(tmp_path / "root")
    assert [path.name for path in tmp_path.rglob("*")] == ["root", "evil.zip"]


def test_links_and_broken_zips_are_refused(tmp_path):
    archive_with(tmp_path / "link.zip", "passwd", link=True)
    with pytest.raises(MissingData, match="link.zip is refused"):
        unzip(tmp_path)
    (tmp_path / "link.zip").write_bytes(b"PK no zip")
    with pytest.raises(MissingData, match="link.zip cannot be unpacked: .*; delete it and fetch it again"):
        unzip(tmp_path)
    assert still_packed(tmp_path) == [tmp_path / "link.zip"]


def zip_of(path, *members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def damaged(root):
    content = bytearray(zip_of(root / "x.zip", ("a", b"content" * 99)).read_bytes())
    content[31:36] = b"\xff" * 5  # of the compressed bytes: zlib itself gives up
    (root / "x.zip").write_bytes(content)


def encrypted(root):
    content = bytearray(zip_of(root / "x.zip", ("a", b"content")).read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (root / "x.zip").write_bytes(content)


def nameless(root):
    (root / "x.zip").write_bytes(zip_of(root / "x.zip", ("name", b"content")).read_bytes().replace(b"name", b"\0ame"))


def a_file_and_a_folder(root):
    zip_of(root / "x.zip", ("a", b"file"), ("a/b", b"below"))


def a_folder_in_another(root):
    zip_of(root / "x.zip", ("a/b/c", b"below"))
    zip_of(root / "y.zip", ("a/b", b"file"))


def a_file_where_a_folder_must_be(root):
    (root / "a").write_bytes(b"file")
    zip_of(root / "x.zip", ("a/b", b"below"))


def a_name_that_no_file_can_have(root):
    zip_of(root / "x.zip", ("n" * 300, b"content"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (damaged, "x.zip cannot be unpacked: Error -3 .*; delete it and fetch it again"),
        (encrypted, "x.zip is refused: its member a is encrypted"),
        (nameless, "x.zip cannot be unpacked: one of its members has no name; delete it"),
        (a_file_and_a_folder, "a in x.zip is a file, and a/b in x.zip needs a folder of that name"),
        (a_folder_in_another, "a/b in y.zip is a file, and a/b/c in x.zip needs a folder of that name"),
        (a_file_where_a_folder_must_be, "x.zip cannot be unpacked into .*exists"),
        (a_name_that_no_file_can_have, "x.zip cannot be unpacked into .*too long"),
    ],
)
def test_what_cannot_be_unpacked_is_said_and_nothing_is_left_behind(tmp_path, capsys, make, said):
    make(tmp_path)
    before = set(tmp_path.iterdir())
    with pytest.raises(MissingData, match=said):
        unzip(tmp_path)
    assert command.main(["worldsense", "--root", str(tmp_path), "--no-download"]) == 1
    assert capsys.readouterr().err.count("\n") == 1 and set(tmp_path.iterdir()) == before


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 255)), max_size=4),
)
def test_a_damaged_zip_is_never_more_than_missing_data(tmp_path_factory, compression, damages):
    root = tmp_path_factory.mktemp("damaged")
    members = ("a/b", bytes(range(40)) * 3), ("c", b"content" * 20)
    content = bytearray(zip_of(root / "x.zip", *members, compression=compression).read_bytes())
    for place, value in damages:
        content[place % len(content)] = value
    (root / "x.zip").write_bytes(content)
    for unpack in (still_packed, unzip):
        try:
            unpack(root)
        except MissingData:
            pass
    assert not list(root.rglob(".unfinished-*"))
    shutil.rmtree(root)


@pytest.mark.parametrize("others", [("y.zip",), ("below/x.zip", "y.zip")])
def test_two_zips_may_hold_a_member_twice_only_if_it_is_the_same(tmp_path, others):
    (tmp_path / "below").mkdir()
    zip_of(tmp_path / "x.zip", ("v/1.mp4", b"one"), ("v/2.mp4", b"two"))
    for name in others:
        zip_of(tmp_path / name, ("v/2.mp4", b"two"), ("v/3.mp4", b"three"))
    assert unzip(tmp_path) == 3 + 2 * (len(others) - 1) and not still_packed(tmp_path)
    kept = (tmp_path / "v/2.mp4").read_bytes()
    zip_of(tmp_path / "z.zip", ("v/2.mp4", b"TWO"), ("v/4.mp4", b"four"))  # as long as the other
    for unpack in (unzip, still_packed):
        with pytest.raises(MissingData, match=r"x.zip and z.zip both hold v/2.mp4, with different content .*; delete"):
            unpack(tmp_path)
    assert (tmp_path / "v/2.mp4").read_bytes() == kept == b"two" and not (tmp_path / "v/4.mp4").exists()


def test_a_zip_may_hold_a_member_twice_only_if_it_is_the_same(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        zip_of(tmp_path / "x.zip", ("a", b"one"), ("a", b"one"))
    assert unzip(tmp_path) == 1
    with pytest.warns(UserWarning, match="Duplicate name"):
        zip_of(tmp_path / "x.zip", ("a", b"one"), ("a", b"two"))
    with pytest.raises(MissingData, match="x.zip holds twice a, with different content"):
        unzip(tmp_path)
