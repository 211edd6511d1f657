"""The result store: whole files only, found again under the same key, and never under another."""

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from disks import refusing

from avsink.results.store import BLANK, ResultStore, Unwritable
from avsink.sample import Media, Sample, SampleError, Unmeasured

KINDS = ("part", "excuse")


def sample(name):
    return Sample(id=name, task="t", category="c", parts=(Media(path=Path(f"{name}.mp4"), kind="video"),))


def rows(name, delta=-0.5):
    return pd.DataFrame({"sample": name, "pathway": ["Cross-frame", "Audio↮Video"], "delta_p": [delta, 0.0]})


@pytest.fixture
def store(tmp_path):
    return ResultStore("finding", model="tiny", identity={"window": 3}, root=tmp_path)


def kept(store, kind, name="a"):
    """Keep a part or an excuse; give its path and the function that reads it."""
    if kind == "part":
        store.save(sample(name), rows(name))
        return store._part(sample(name)), store.rows
    store.leave_out(sample(name), Unmeasured(name, "answered wrongly"))
    return store._excuse(sample(name)), store.excuse


def test_rows_come_back_as_they_were(store):
    saved = store.save(sample("a"), rows("a"))
    pd.testing.assert_frame_equal(saved, rows("a"))
    pd.testing.assert_frame_equal(store.rows(sample("a")), saved)
    assert store.rows(sample("missing")) is None
    pd.testing.assert_frame_equal(pd.read_parquet(store.folder / "samples"), saved)  # without our code


def test_a_store_is_found_again_and_another_question_has_another_store(store, tmp_path):
    store.save(sample("a"), rows("a"))

    def other(name="finding", model="tiny", identity=None):
        return ResultStore(name, model=model, identity=identity or {"window": 3}, root=tmp_path).rows(sample("a"))

    assert other() is not None
    assert other(identity={"window": 7}) is other(name="other") is other(model="large") is None


def test_a_changed_sample_has_no_rows(store):
    store.save(sample("a"), rows("a"))
    assert store.rows(replace(sample("a"), category="another")) is None


@pytest.mark.parametrize(
    "name",
    ["clips/07: who?\u202e" + "x" * 300, "a\0b", "猫🐈", "", ".", "..", "-", "CON", "é" * 200, BLANK, "avsink.seal:"],
)
def test_names_that_are_no_file_names(tmp_path, name):
    store = ResultStore(name or "n", model=name, identity={}, root=tmp_path)
    odd = sample(name)
    store.save(odd, rows(name))
    store.leave_out(odd, Unmeasured(name, name))
    pd.testing.assert_frame_equal(store.rows(odd), rows(name))
    assert store.excuse(odd).reason == name
    assert all(path.is_relative_to(tmp_path / "") for path in store.folder.rglob("*"))


def test_names_that_a_file_system_may_not_tell_apart(store):
    """On macOS and Windows `a` and `A` are one name; é may be one character or two."""
    names = ("a", "A", "\u00e9", "e\u0301", "a b", "a/b")
    files = {store._part(sample(name)).name.casefold() for name in names}
    assert len(files) == len(names)


def test_reasons_may_name_files_of_another_encoding(store):
    """Such names reach Python as lone surrogates, which UTF-8 does not have."""
    odd = sample("a")
    store.leave_out(odd, SampleError(odd.id, "caf\udce9.mp4 is cut off"))
    assert store.excuse(odd).reason == "caf\udce9.mp4 is cut off"
    store.describe(left_out=["caf\udce9.mp4"])


def test_text_that_looks_like_a_seal(store):
    odd = rows("a").assign(**{BLANK: BLANK, "seal": BLANK}).rename(columns={"pathway": BLANK.replace("0", "1")})
    store.save(sample("a"), odd)
    pd.testing.assert_frame_equal(store.rows(sample("a")), odd)


def test_a_sample_left_out_for_good_has_a_reason_and_no_rows(store):
    store.leave_out(sample("a"), Unmeasured("a", "answered wrongly"))
    store.leave_out(sample("b"), SampleError("b", "cut off"))
    lasting, passing = store.excuse(sample("a")), store.excuse(sample("b"))
    assert lasting.reason == "answered wrongly" and isinstance(lasting, Unmeasured)
    assert passing.reason == "cut off" and not isinstance(passing, Unmeasured)
    assert store.rows(sample("a")) is store.excuse(sample("c")) is None


def test_a_write_that_dies_leaves_neither_a_part_nor_litter(store, monkeypatch):
    before = sorted(store.folder.rglob("*.*"))

    def die(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", die)
    with pytest.raises(Unwritable, match="the disk is full") as caught:
        store.save(sample("a"), rows("a"))
    assert str(store.folder / "samples") in str(caught.value) and "\n" not in str(caught.value)
    assert store.rows(sample("a")) is None and sorted(store.folder.rglob("*.*")) == before


@pytest.mark.parametrize("kind", KINDS)
def test_no_changed_byte_goes_unnoticed(store, kind):
    path, read = kept(store, kind)
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ (1 << at % 8)]) + good[at + 1 :])
        with pytest.warns(UserWarning, match="is damaged .its content is not what was written"):
            assert read(sample("a")) is None
        for aside in path.parent.glob(".*.damaged*"):
            aside.unlink()
    path.write_bytes(good)
    assert read(sample("a")) is not None


def cut(table):
    return {
        "no rows": table.slice(0, 0),
        "too few rows": table.slice(0, 1),
        "other columns": table.rename_columns(["sample", "pathway", "p"]),
        "fewer columns": table.drop_columns(["pathway"]),
        "another order": table.take([1, 0]),
        "another number": table.set_column(2, "delta_p", pa.array([-0.4, 0.0])),
    }


@pytest.mark.parametrize("change", cut(pa.table(rows("a"))))
@pytest.mark.parametrize("sealed", [True, False])
def test_a_sound_file_with_other_rows_is_noticed(store, change, sealed):
    path, read = kept(store, "part")
    seal = pq.read_metadata(path).metadata[b"seal"]
    table = cut(pa.table(rows("a")))[change]
    with pq.ParquetWriter(path, table.schema) as file:
        file.write_table(table)
        file.add_key_value_metadata({"seal": seal} if sealed else {})
    with pytest.warns(UserWarning, match="is damaged .its content is not what was written"):
        assert read(sample("a")) is None


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_for_another_sample_or_key_is_noticed(store, kind, tmp_path):
    other = ResultStore("finding", model="tiny", identity={"window": 7}, root=tmp_path)
    path, read = kept(store, kind)
    for stranger in (kept(store, kind, "b")[0], kept(other, kind)[0]):
        shutil.copy(stranger, path)
        with pytest.warns(UserWarning, match="is damaged .its content is not what was written"):
            assert read(sample("a")) is None


def damage(path: Path, how: str) -> None:
    """Put something else into the place of a file."""
    content = path.read_bytes()
    path.unlink()
    match how:
        case "a folder":
            path.mkdir()
        case "a folder with a file":
            path.mkdir()
            (path / "file").touch()
        case "a link in a circle":
            path.symlink_to(path)
        case "a link to nothing":
            path.symlink_to("nothing")
        case "a link to a folder":
            path.symlink_to(path.parents[1] / "records")
        case "a pipe":
            os.mkfifo(path)
        case "half a file":
            path.write_bytes(content[: len(content) // 2])
        case text:
            path.write_bytes(text.encode())


THINGS = ["a folder", "a folder with a file", "a link in a circle", "a link to nothing", "a link to a folder", "a pipe"]
THINGS += ["half a file", "", "{}", "[]", "null", "[" * 100_000, "\0" * 4096, "PAR1PAR1", BLANK]


@pytest.mark.parametrize("how", THINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_in_the_place_of_a_file_is_put_aside_and_its_sample_computed_again(store, kind, how):
    path, read = kept(store, kind)
    for number in ("", "1"):
        damage(path, how)
        with pytest.warns(UserWarning, match="is damaged") as said:
            assert read(sample("a")) is None
        aside = path.with_name(f".{path.name}.damaged{number}")
        assert os.path.lexists(aside) and not os.path.lexists(path)
        assert str(path) in str(said[0].message) and aside.name in str(said[0].message)
        kept(store, kind)
        assert read(sample("a")) is not None
    assert len(pd.read_parquet(store.folder / "samples")) == 2 if kind == "part" else True


@pytest.mark.parametrize("how", [how for how in THINGS if how != BLANK])
def test_whatever_is_in_the_place_of_the_identity_is_named_and_it_is_written_anew(store, tmp_path, how):
    path = store.folder / "provenance.json"
    damage(path, how)
    with pytest.warns(UserWarning, match="provenance.json is damaged"):
        ResultStore("finding", model="tiny", identity={"window": 3}, root=tmp_path)
    assert json.loads(path.read_text()) == {"window": 3}
    with warnings.catch_warnings(action="error"):
        ResultStore("finding", model="tiny", identity={"window": 3}, root=tmp_path)


def test_the_identity_of_another_key_is_named(store, tmp_path):
    (store.folder / "provenance.json").write_text('{"window": 5}')
    with pytest.warns(UserWarning, match="provenance.json is damaged .the key was made of something else"):
        ResultStore("finding", model="tiny", identity={"window": 3}, root=tmp_path)


@pytest.mark.parametrize("identity", [{"alpha": float("nan")}, {2: "two", 10: "ten"}, {"text": "\udce9↛"}])
def test_an_identity_is_known_again(tmp_path, identity):
    first = ResultStore("finding", model="tiny", identity=identity, root=tmp_path)
    with warnings.catch_warnings(action="error"):
        assert ResultStore("finding", model="tiny", identity=identity, root=tmp_path).folder == first.folder


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
def test_a_file_that_cannot_be_read_is_put_aside(store, code):
    path, read = kept(store, "part")
    with refusing(path, code, what="read"), pytest.warns(UserWarning, match="is damaged .*was put aside"):
        assert read(sample("a")) is None


def test_a_link_to_a_file_is_as_good_as_the_file(store, tmp_path):
    """Stores are moved to other disks, and linked."""
    path, read = kept(store, "part")
    shutil.move(path, tmp_path / "elsewhere.parquet")
    path.symlink_to(tmp_path / "elsewhere.parquet")
    assert len(read(sample("a"))) == 2


def test_a_damaged_part_that_another_process_puts_aside_first_is_no_error(store, monkeypatch):
    part, read = kept(store, "part")
    part.write_bytes(b"not parquet")
    replace_file = os.replace

    def late(*paths):
        part.unlink()
        replace_file(*paths)

    monkeypatch.setattr(os, "replace", late)
    with pytest.warns(UserWarning, match="is damaged"):
        assert read(sample("a")) is None


def test_a_part_that_another_process_mends_meanwhile_is_used(store, monkeypatch):
    part, read = kept(store, "part")
    good = part.read_bytes()
    part.write_bytes(b"not parquet")
    read_file = Path.read_bytes

    def mended_after(path):
        content = read_file(path)
        if path == part and content != good:
            path.unlink()
            path.write_bytes(good)
        return content

    monkeypatch.setattr(Path, "read_bytes", mended_after)
    with warnings.catch_warnings(action="error"):
        assert len(read(sample("a"))) == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (pd.DataFrame({"sample": "a", "positions": [[1, 2]]}), "numbers and text, one in a cell, .*positions holds"),
        (pd.DataFrame({"sample": "a", "mixed": [1, "b"]}), "numbers and text, one in a cell"),
        (pd.DataFrame({"sample": "a", "large": [2**80]}), "numbers and text, one in a cell"),
        (pd.DataFrame([["a", 1, 2]], columns=["sample", "p", "p"]), "Duplicate column names"),
        (pd.DataFrame({"sample": ["a", "b"]}), "need a column `sample` that holds this id, and no other"),
        (pd.DataFrame({"sample": ["a", None]}), "need a column `sample` that holds this id, and no other"),
        (pd.DataFrame({"delta_p": [0.0]}), "need a column `sample`"),
        (pd.DataFrame({"sample": ["a"]}).iloc[:0], "has no rows; raise avsink.Unmeasured"),
        (pd.DataFrame(), "has no rows; raise avsink.Unmeasured"),
        (rows("a").set_index("pathway"), "have an index, which would be lost"),
        (rows("a").set_index(["pathway", "delta_p"]), "have an index, which would be lost"),
        (rows("a").set_axis(["first", "second"]), "have an index, which would be lost"),
        ({"sample": ["a"]}, "its rows are a dict, not a pandas.DataFrame"),
        (None, "its rows are a NoneType"),
    ],
)
def test_rows_that_cannot_be_kept_are_refused_in_words(store, given, said):
    with pytest.raises(TypeError, match=f"sample a.*{said}") as caught:
        store.save(sample("a"), given)
    assert "\n" not in str(caught.value) and store.rows(sample("a")) is None


def test_an_index_of_numbers_says_nothing(store):
    twice = pd.concat([rows("a"), rows("a")])
    assert twice.index.has_duplicates and len(store.save(sample("a"), twice)) == 4


def test_litter_of_a_killed_write_is_not_taken_for_a_part_and_removed_when_it_is_old(store, tmp_path):
    part = store._part(sample("a"))
    part.parent.mkdir(exist_ok=True)
    old, new = (part.with_name(f".{part.name}.{number}-abc123") for number in (1, 2))
    aside = part.with_name(f".{part.name}.damaged")
    for path in (old, new, aside):
        path.write_bytes(b"half a fi")
    assert store.rows(sample("a")) is None
    for path in (old, aside):
        os.utime(path, (time.time() - 100_000,) * 2)
    ResultStore("finding", model="tiny", identity={"window": 3}, root=tmp_path)
    assert [path.exists() for path in (old, new, aside)] == [False, True, True]


def test_provenance_tells_what_the_key_was_made_of(store, tmp_path):
    record = json.loads((store.folder / "provenance.json").read_text())
    assert record == {"window": 3}
    ResultStore("finding", model="tiny", identity={"window": 3}, root=tmp_path)
    assert json.loads((store.folder / "provenance.json").read_text()) == record


RUN = """
import sys
from avsink.results.store import ResultStore
store = ResultStore("finding", model="tiny", identity={"window": 3}, root=sys.argv[1])
for step in range(20):
    store.describe(commit=sys.argv[2], samples=[sys.argv[2]] * step)
"""


def test_two_runs_on_one_store_do_not_lose_each_others_record(store, tmp_path):
    names = ["first", "second", "third"]
    at_once = [subprocess.Popen([sys.executable, "-c", RUN, tmp_path, name]) for name in names]
    assert [process.wait() for process in at_once] == [0, 0, 0]
    records = [json.loads(path.read_text()) for path in (store.folder / "records").glob("*.json")]
    assert sorted(record["commit"] for record in records) == names
    assert all(record["samples"] == [record["commit"]] * 19 for record in records)


def test_a_store_can_be_moved(store, tmp_path):
    store.save(sample("a"), rows("a"))
    shutil.move(tmp_path / "finding", tmp_path / "moved/finding")
    again = ResultStore("finding", model="tiny", identity={"window": 3}, root=tmp_path / "moved")
    assert len(again.rows(sample("a"))) == 2


@pytest.mark.parametrize("named", ["argument", "environment"])
def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AVSINK_RESULTS", "~/kept" if named == "environment" else "")
    store = ResultStore("finding", model="tiny", identity={}, root="~/kept" if named == "argument" else "")
    store.save(sample("a"), rows("a"))
    assert store.folder.is_relative_to(tmp_path / "home" / "kept") and not (tmp_path / "~").exists()


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_store_that_cannot_be_written_can_be_read(store, tmp_path, code):
    store.save(sample("a"), rows("a"))
    with refusing(tmp_path, code):
        again = ResultStore("finding", model="tiny", identity={"window": 3}, root=tmp_path)
        assert len(again.rows(sample("a"))) == 2 and again.excuse(sample("a")) is None
        for write in (
            again.ensure_writable,
            lambda: again.save(sample("b"), rows("b")),
            lambda: again.leave_out(sample("b"), Unmeasured("b", "answered wrongly")),
        ):
            with pytest.raises(Unwritable) as caught:
                write()
            assert str(again.folder) in str(caught.value) and "\n" not in str(caught.value)
    again.ensure_writable()


def test_a_damaged_part_of_a_store_that_cannot_be_written_is_named_and_not_used(store, tmp_path):
    path, read = kept(store, "part")
    path.write_bytes(b"not parquet")
    with (
        refusing(tmp_path, errno.EROFS),
        pytest.warns(UserWarning, match="damaged .* could not be put aside, since its file system is read-only"),
    ):
        assert read(sample("a")) is None
    assert path.is_file()


@pytest.mark.parametrize("place", ["", "finding", "finding/tiny", "samples"])
@pytest.mark.parametrize("thing", ["a file", "a link in a circle", "a link to nothing"])
def test_a_folder_that_is_none_is_named_in_one_line(store, tmp_path, place, thing):
    place = store.folder / place if place == "samples" else tmp_path / "other" / place
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch() if thing == "a file" else place.symlink_to(place if thing.endswith("circle") else "nothing")
    root = tmp_path if place.name == "samples" else tmp_path / "other"
    again = ResultStore("finding", model="tiny", identity={"window": 3}, root=root)
    assert again.rows(sample("a")) is None
    for write in (again.ensure_writable, lambda: again.save(sample("a"), rows("a"))):
        with pytest.raises(Unwritable) as caught:
            write()
        assert str(again.folder / "samples") in str(caught.value) and "\n" not in str(caught.value)


def test_permission_bits_are_honoured():
    """With a folder that really belongs to someone else; root's rights are given up for a moment."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        store = ResultStore("finding", model="tiny", identity={"window": 3}, root=folder)
        store.save(sample("a"), rows("a"))
        places = [path for path in (Path(folder), *Path(folder).rglob("*")) if path.is_dir()]
        for place in places:
            place.chmod(0o555)
        if root := os.geteuid() == 0:
            os.seteuid(65534)
        try:
            again = ResultStore("finding", model="tiny", identity={"window": 3}, root=folder)
            assert len(again.rows(sample("a"))) == 2
            with pytest.raises(Unwritable, match="this user may not write there"):
                again.ensure_writable()
        finally:
            if root:
                os.seteuid(0)
            for place in places:
                place.chmod(0o755)
