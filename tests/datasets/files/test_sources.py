"""Roots, downloads and zips; the network is replaced by a function of the test."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from published import odyssey_bench, speakerbench_row, speakerbench_tsv, worldsense_json, write_table

from avsink import parameters
from avsink.datasets import fetch as command
from avsink.datasets import load
from avsink.datasets.files import sources
from avsink.datasets.files.sources import BROUGHT, FETCHED, HUB, MissingData, fetch, here, locate
from avsink.datasets.files.zips import still_packed, unzip


@pytest.fixture(autouse=True)
def no_data(monkeypatch):
    monkeypatch.delenv("AVSINK_DATA", raising=False)


class Hub:
    """A downloader that writes an AV-SpeakerBench with its clips in zips, and counts its calls."""

    def __init__(self, source):
        self.source, self.calls = source, []

    def __call__(self, **arguments):
        self.calls.append(arguments)
        root = Path(arguments["local_dir"])
        write_table(root / "test.csv", [speakerbench_row(k) for k in range(6)])
        for k in range(2):
            with zipfile.ZipFile(root / f"audiovisual_chunk_{k}.zip", "w") as archive:
                for path in sorted((self.source / "audiovisual").iterdir())[k::2]:
                    archive.write(path, f"audiovisual/{path.name}")
                archive.writestr("__MACOSX/._junk", b"")
        return str(root)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    speakerbench_tsv(folder)
    return folder


def test_a_fetched_dataset_is_complete(tmp_path, source):
    hub = Hub(source)
    assert fetch("av-speakerbench", tmp_path / "new", download=hub) == tmp_path / "new"
    (call,) = hub.calls
    assert (call["repo_id"], call["repo_type"]) == (HUB["av-speakerbench"].repo, "dataset")
    loaded = load("av-speakerbench", tmp_path / "new")
    assert len(loaded.samples) == 6 and not loaded.problems
    assert not still_packed(tmp_path / "new") and not (tmp_path / "new/__MACOSX").exists()


def test_unpacking_goes_on_where_it_stopped(tmp_path, source):
    fetch("av-speakerbench", tmp_path, download=Hub(source))
    clips = sorted((tmp_path / "audiovisual").iterdir())
    kept = clips[0].stat().st_mtime_ns
    clips[1].write_bytes(b"half")
    clips[2].unlink()
    assert len(still_packed(tmp_path)) == 2
    assert unzip(tmp_path) == 2 and unzip(tmp_path) == 0
    assert clips[0].stat().st_mtime_ns == kept and not still_packed(tmp_path)


def test_a_hub_id_is_fetched_once(tmp_path, source, monkeypatch, capsys):
    monkeypatch.setenv("AVSINK_DATA", str(tmp_path))
    hub, id = Hub(source), "someone/a-copy"
    assert here("av-speakerbench", id) is None
    folder = locate("av-speakerbench", id, download=hub)
    assert folder == tmp_path / "someone--a-copy" and (folder / FETCHED).is_file()
    assert hub.calls[0]["repo_id"] == id and "fetching someone/a-copy" in capsys.readouterr().err
    assert locate("av-speakerbench", id, download=hub) == here("av-speakerbench", id) == folder
    assert len(hub.calls) == 1


def test_without_a_network_the_message_says_what_to_do(tmp_path, monkeypatch, capsys):
    def offline(**_):
        raise ConnectionError("name could not be resolved\nand a long story")

    with pytest.raises(MissingData) as caught:
        fetch("worldsense", tmp_path, download=offline)
    said = str(caught.value)
    assert "honglyhly/WorldSense could not be fetched" in said and "(name could not be resolved)" in said
    assert "hf download --repo-type dataset honglyhly/WorldSense --local-dir DIR" in said
    assert not (tmp_path / FETCHED).exists()

    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    assert command.main(["worldsense", "--root", str(tmp_path)]) == 1
    assert "could not be fetched" in capsys.readouterr().err


def test_roots(tmp_path, monkeypatch):
    with pytest.raises(MissingData, match="where is worldsense. AVSINK_DATA is not set. Fetch it with `python -m"):
        locate("worldsense")
    monkeypatch.setenv("AVSINK_DATA", str(tmp_path))
    with pytest.raises(MissingData, match="has no folder worldsense"):
        locate("worldsense")
    (tmp_path / "worldsense").mkdir()
    assert locate("worldsense") == here("worldsense") == tmp_path / "worldsense"
    assert locate("worldsense", tmp_path) == tmp_path
    with pytest.raises(MissingData, match="there is no folder /no/such/folder"):
        locate("worldsense", "/no/such/folder")
    with pytest.raises(MissingData, match="toyworld cannot be fetched; these can: av-speakerbench, worldsense"):
        fetch("toyworld", tmp_path)


def test_a_root_that_is_a_file_or_not_there(tmp_path, capsys):
    (tmp_path / "file").touch()

    def said(*arguments):
        assert command.main(["worldsense", "--root", *map(str, arguments)]) == 1
        return capsys.readouterr().err

    assert f"{tmp_path / 'file'} cannot be the folder of worldsense: it is a file" in said(tmp_path / "file")
    assert "cannot be the folder of worldsense: Not a directory" in said(tmp_path / "file/below")
    for name in ("file", "nowhere"):
        assert f"there is no folder {tmp_path / name}" in said(tmp_path / name, "--no-download")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_command(tmp_path, source, monkeypatch, capsys):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", Hub(source))
    assert command.main(["av-speakerbench", "--root", str(tmp_path), "--revision", "main"]) == 0
    said = capsys.readouterr()
    assert f"python -m avsink.datasets.check av-speakerbench --root {tmp_path}" in said.out and "CC BY-NC" in said.err
    assert command.main(["av-speakerbench", "--root", str(tmp_path), "--no-download"]) == 0
    assert "0 files unpacked" in capsys.readouterr().out


def test_unneeded_archives_are_not_downloaded(tmp_path):
    seen = {}
    fetch("worldsense", tmp_path, repo="lmms-lab/WorldSense", download=lambda **arguments: seen.update(arguments))
    assert "audios_chunk_*" in seen["ignore_patterns"] and seen["repo_id"] == "lmms-lab/WorldSense"


def given_parameters(**changes):
    return {"dataset": "worldsense", "dataset_root": "", "task": None} | changes


def test_parameters_name_a_root_that_is_there(tmp_path):
    worldsense_json(tmp_path)
    names = ("dataset", "dataset_root", "task", "selection")

    def said(**changes):
        with pytest.raises(parameters.ParameterError) as caught:
            parameters.check(given_parameters(selection=None) | changes, *names)
        return str(caught.value)

    good = given_parameters(dataset_root=str(tmp_path), selection="knockout")
    parameters.check(good | {"task": "Audio Counting"}, *names)
    parameters.check(
        given_parameters(dataset_root="honglyhly/WorldSense", task="not fetched yet", selection=None), *names
    )
    parameters.check(given_parameters(dataset="toyworld", task="caption", selection=None), *names)
    assert "python -m avsink.datasets.fetch worldsense" in said()
    assert "there is no folder '/no/such'; allowed: the path of a folder" in said(dataset_root="/no/such")
    assert "dataset_root: 7" in said(dataset_root=7)
    assert "worldsense has no task 'Countin'" in said(dataset_root=str(tmp_path), task="Countin")
    assert "allowed: knockout, cross-dataset, None for all" in said(dataset_root=str(tmp_path), selection="cross-task")


def test_every_dataset_has_a_loader_under_its_name(tmp_path):
    from avsink.datasets import DATASETS

    assert set(HUB) | set(BROUGHT) == set(DATASETS) - {"toyworld"} and not set(HUB) & set(BROUGHT)
    odyssey_bench(tmp_path / "x")
    assert load("av-odyssey", tmp_path / "x").name == "av-odyssey"
    assert sources.is_hub_id("a/b") and not any(map(sources.is_hub_id, ("a", "a/b/c", "/a/b", "../b", tmp_path)))
