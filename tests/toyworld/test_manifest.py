"""Manifests of toy worlds: every line is a sample, or is named with what is wrong with it."""

from __future__ import annotations

import gzip
import json

import pytest

from avsink.datasets import load, load_samples
from avsink.datasets.check import main as check
from avsink.toyworld.held_out import problems
from avsink.toyworld.manifest import ROOT, read_lines, read_manifest, row_of
from avsink.toyworld.masks import scene_of


def _rows() -> list[dict]:
    """Lines of every task."""
    every = [json.loads(line) for line in (ROOT / "manifest.jsonl").read_text().splitlines()]
    first = {row["task"]: row for row in reversed(every)}
    return sorted(first.values(), key=lambda row: row["task"] != "sounding object")


@pytest.fixture
def write(tmp_path):
    """Write rows, or the text of a manifest, into a folder that has their files."""

    def write(lines: list[dict | str] | bytes):
        for row in _rows():
            for part in row["parts"]:
                if "path" in part:
                    (tmp_path / part["path"]).parent.mkdir(parents=True, exist_ok=True)
                    (tmp_path / part["path"]).write_bytes(b"clip")
        texts = [] if isinstance(lines, bytes) else [one if isinstance(one, str) else json.dumps(one) for one in lines]
        content = lines if isinstance(lines, bytes) else "".join(text + "\n" for text in texts).encode()
        (tmp_path / "manifest.jsonl").write_bytes(content)
        return tmp_path

    return write


def test_a_line_is_the_sample_that_it_was_written_from():
    for line in read_lines()[::50]:
        inside = [part if not hasattr(part, "path") else part.path.relative_to(ROOT) for part in line.sample.parts]
        assert len(inside) == len(line.sample.parts)
    row = _rows()[0]
    sample = next(one for one in read_manifest() if one.id == row["id"])
    written = json.loads(json.dumps(row_of(sample), default=str).replace(f"{ROOT}/", ""))
    assert written == {name: value for name, value in row.items() if name not in ("part", "files")}


@pytest.mark.parametrize(
    "changed",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\n\n" + text.replace("\n", "\n\n  \n"),
        lambda text: text.removesuffix("\n"),
    ],
    ids=["byte order mark", "carriage returns", "empty lines", "no last end of line"],
)
def test_marks_and_ends_of_lines_mean_nothing(write, changed):
    root = write(_rows())
    before = load("toyworld", root)
    text = (root / "manifest.jsonl").read_text()
    (root / "manifest.jsonl").write_bytes(changed(text).encode())
    after = load("toyworld", root)
    assert after.samples == before.samples and len(after.samples) == len(_rows()) and not after.problems


def test_a_separator_of_unicode_does_not_end_a_line(write):
    rows = _rows()
    rows[0]["parts"][-1]["text"] = "one\u2028two"
    loaded = load("toyworld", write([json.dumps(row, ensure_ascii=False) for row in rows]))
    assert loaded.samples[0].parts[-1].text == "one\u2028two" and not loaded.problems


def _changed(**changes) -> dict:
    return _rows()[0] | {"id": "x"} | changes


def _without(name: str) -> dict:
    return {key: value for key, value in _changed().items() if key != name}


def _medium(**changes) -> dict:
    row = _changed()
    return row | {"parts": [part | changes if "path" in part else part for part in row["parts"]]}


def _truth(**changes) -> dict:
    truth = {key: value for key, value in (_changed()["truth"] | changes).items() if value is not Ellipsis}
    return _changed(truth=truth)


BROKEN = [
    ("{", "Expecting property name"),
    ("[1]", "it is not a JSON object"),
    ("[" * 100_000, "recursion"),
    ('{"id": "x", "id": "y"}', "the key 'id' occurs twice"),
    (json.dumps(_changed()).replace('"duration": 4', '"duration": NaN'), "NaN is not JSON"),
    (_without("id"), "it has no id"),
    (_changed(id=7), "its id is 7; a text is expected"),
    (_changed(id=" "), "its id is empty"),
    (_changed(id="half \ud800"), "its id has half a character"),
    (_changed(id=_rows()[0]["id"]), "is also at manifest.jsonl, line 1"),
    (_without("task"), "it has no task"),
    (_without("part"), "it has no part"),
    (_without("files"), "it has no files"),
    (_without("options"), "it has no options"),
    (_changed(options="dog"), "its options is 'dog'; a list is expected"),
    (_changed(options=["dog", 3]), "its option is 3; a text is expected"),
    (_changed(parts=[]), "no video, audio or image to ask about"),
    (_changed(parts=["text"]), "one of its parts is 'text'"),
    (_changed(answer=True), "its answer is True; a text is expected"),
    (_changed(answer="Z"), "the answer 'Z' is not among the options"),
    (_medium(path="/etc/passwd"), "its file /etc/passwd is outside the folder of the manifest"),
    (_medium(path="a/../../b.mp4"), "its file a/../../b.mp4 is outside the folder of the manifest"),
    (_medium(path="not/there.mp4"), "missing file there.mp4"),
    (_medium(kind="film"), "its kind is 'film'; allowed: video, audio, image"),
    (_medium(role=None), "its role is None; a text is expected"),
    (_medium(sound=1), "its sound is 1; true or false is expected"),
    (_changed(files={"../x.mp4": "0"}), "its file ../x.mp4 is outside"),
    (_truth(fog="thick"), "its fog is 'thick'; a number is expected"),
    (_truth(noise=...), "its truth has no noise, which belong to its scene"),
    (_truth(seen=[{"name": "dog"}]), "one of its seen is {'name': 'dog'}; an object with come_from, go_to"),
    (_truth(objects="dog"), "its objects is 'dog'; a list is expected"),
]


@pytest.mark.parametrize(("line", "reason"), BROKEN, ids=[reason[:40] for _, reason in BROKEN])
def test_a_line_that_cannot_be_used_is_named_and_the_others_stay(write, line, reason):
    rows = _rows()
    root = write([rows[0], line, *rows[1:]])
    loaded = load("toyworld", root)
    assert [sample.id for sample in loaded.samples] == [row["id"] for row in rows]
    (problem,) = loaded.problems
    assert reason in problem.reason and problem.where == "manifest.jsonl, line 2"
    if not reason.startswith(("missing file", "no video", "the answer")):  # these depend on more than the line
        with pytest.raises(ValueError, match="manifest.jsonl, line 2: "):
            read_manifest(root)
        assert any(found.startswith("manifest.jsonl, line 2: ") for found in problems(root))
    with pytest.warns(UserWarning, match="1 rows cannot be used, 4 can"):
        assert len(load_samples("toyworld", root=root)) == 4


@pytest.mark.parametrize("content", [b"\xff\xfe{", gzip.compress(b"{}"), b"\xfc"], ids=["utf-16", "gzip", "latin-1"])
def test_what_is_no_text_is_refused_with_the_files_name(write, content, capsys):
    root = write(content)
    with pytest.raises(ValueError, match="manifest.jsonl is not UTF-8 at byte"):
        load("toyworld", root)
    assert check(["toyworld", "--root", str(root), "--no-media"]) == 1
    assert "manifest.jsonl is not UTF-8" in capsys.readouterr().err


def test_a_folder_or_nothing_in_place_of_the_manifest(write):
    root = write(b"")
    assert load("toyworld", root).lacking == ("manifest.jsonl holds no line",)
    with pytest.raises(ValueError, match="none is left"):
        load_samples("toyworld", root=root)
    (root / "manifest.jsonl").unlink()
    with pytest.raises(FileNotFoundError, match="manifest.jsonl is missing"):
        load("toyworld", root)
    (root / "manifest.jsonl").mkdir()
    with pytest.raises(ValueError, match="manifest.jsonl cannot be read"):
        load("toyworld", root)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"duration": 0}, "its duration is 0"),
        ({"duration": True}, "its duration is True; a number is expected"),
        ({"fog": float("inf")}, "its fog is inf; a number is expected"),
        ({"seed": 1.5}, "its seed 1.5"),
        ({"seen": "dog"}, "one of its seen is None"),
        ({"heard": [{"name": "ghost", "start": 0, "stop": 1, "pitch": 1, "gain": 1}]}, "called 'ghost'; allowed: "),
    ],
)
def test_a_scene_is_whole_or_refused(change, reason):
    truth = _rows()[0]["truth"]
    assert scene_of(truth).duration == 4
    with pytest.raises(ValueError, match=reason):
        scene_of(truth | change)


def test_a_link_that_leads_out_of_the_manifests_folder_is_refused(write, tmp_path):
    row = json.loads(json.dumps(_rows()[0]))
    part = next(part for part in row["parts"] if "path" in part)
    part["path"] = "elsewhere/clip.mp4"
    root = write([row])
    (root / "elsewhere").symlink_to(tmp_path.parent)
    with pytest.raises(ValueError, match="elsewhere/clip.mp4 is a link that leads outside the folder"):
        read_manifest(root)
