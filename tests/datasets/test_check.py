"""`python -m avsink.datasets.check`: counts, problems by id, and an exit code that a script can use."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import clip_sets
import pyarrow.parquet
import pytest
import released_clone
from published import (
    odyssey_bench,
    odyssey_paths,
    speakerbench_csv,
    speakerbench_row,
    speakerbench_tsv,
    worldsense_json,
    worldsense_parquet,
    worldsense_tsv,
    write_table,
)

from avsink.datasets import check, load
from avsink.datasets.check import main
from avsink.datasets.loaded import Loaded

VARIANTS = [
    ("av-speakerbench", speakerbench_csv),
    ("av-speakerbench", speakerbench_tsv),
    ("worldsense", worldsense_json),
    ("worldsense", worldsense_parquet),
    ("worldsense", worldsense_tsv),
    ("av-odyssey", odyssey_bench),
    ("av-odyssey", odyssey_paths),
]


def run(*arguments):
    command = [sys.executable, "-m", "avsink.datasets.check", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(("name", "make"), VARIANTS)
def test_a_complete_dataset_of_every_form_passes(tmp_path, capsys, name, make):
    rows = make(tmp_path / "root")
    assert main([name, "--root", str(tmp_path / "root")]) == 0
    said = capsys.readouterr().out
    assert f"{len(rows)} samples, 0 problems" in said and "\nproblems (" not in said


def test_as_a_command(tmp_path):
    speakerbench_csv(tmp_path)
    done = run("av-speakerbench", "--root", tmp_path)
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.splitlines() == [
        "av-speakerbench from test.csv: 6 samples, 0 problems (published: 3,212 rows)",
        "",
        "task               category           samples",
        "Speaker Detection  Speaker Detection        2",
        "Speech Intensity   Speech Attributes        2",
        "Visual Counting    Visual-centric           2",
    ]


def test_problems_are_named_by_sample_and_the_exit_code_says_so(tmp_path):
    speakerbench_csv(tmp_path, [speakerbench_row(k) for k in range(4)] + [speakerbench_row(9, answer="X")])
    (tmp_path / "audiovisual/vid1_0_1.mp4").unlink()
    clip = tmp_path / "audiovisual/vid2_0_1.mp4"
    clip.write_bytes(clip.read_bytes()[:-500])
    done = run("av-speakerbench", "--root", tmp_path)
    assert done.returncode == 1
    assert "2 samples, 3 problems" in done.stdout and "problems (3):" in done.stdout
    assert "  av-speakerbench/1: missing file audiovisual/vid1_0_1.mp4" in done.stdout
    assert "  av-speakerbench/9: its answer is 'X'; a letter from A to D is expected (test.csv, row 5)" in done.stdout
    assert "  av-speakerbench/2: vid2_0_1.mp4 is cut off" in done.stdout
    assert "av-speakerbench/2" not in run("av-speakerbench", "--root", tmp_path, "--no-media").stdout


@pytest.mark.parametrize(
    ("folder", "reason"), [("visual", "has no sound track"), ("audio", "has no picture"), ("", "cannot be decoded")]
)
def test_a_file_without_the_tracks_that_are_needed(tmp_path, capsys, folder, reason):
    speakerbench_csv(tmp_path, [speakerbench_row(0)])
    clip = tmp_path / "audiovisual/vid0_0_1.mp4"
    other = {"visual": "visual/vid0_0_1.mp4", "audio": "audio/vid0_0_1.wav"}.get(folder)
    clip.write_bytes((tmp_path / other).read_bytes() if other else b"<html>no such video</html>")
    assert main(["av-speakerbench", "--root", str(tmp_path)]) == 1
    assert reason in capsys.readouterr().out


def test_the_items_of_hubs_authors(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("AVSINK_DATA", raising=False)
    released_clone.clone(tmp_path)
    lists = ["list items audio-dominant video-dominant both neither", "people_case_2.json 2 2 0 0 0"]
    lists += ["sports_case_1.json 2 0 2 0 0"]
    for no_media in ((), ("--no-media",)):
        assert main(["hubs", "--root", str(tmp_path), *no_media]) == 1
        said = capsys.readouterr().out.splitlines()
        assert said[0] == "hubs from people_case_2.json, sports_case_1.json: 0 samples, 0 problems"
        assert [" ".join(line.split()) for line in said[4:7]] == lists
        hint = f"no clip is in {tmp_path}; put VGGSound's below it, or into a folder $AVSINK_DATA/vggsound"
        assert said[8:] == ["missing:", f"  {hint}; 4 samples lack theirs (hubs/people 2, hubs/sports 2)"]
    clip_sets.write_clips(tmp_path / "clips", clip_sets.STEMS[1:])
    assert main(["hubs", "--root", str(tmp_path)]) == 1  # where some are there, those that are not are named
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith(": 3 samples, 1 problems") and said[-2:][0] == "  1 of them lack a file: hubs/people 1"
    assert said[-1].startswith(f"  hubs/people/{clip_sets.STEMS[0]}: missing clip")
    clip_sets.write_clips(tmp_path / "clips", clip_sets.STEMS[:1])
    assert main(["hubs", "--root", str(tmp_path)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith(": 4 samples, 0 problems") and not any("lack a file" in line for line in said)
    assert [line.split() for line in said[3:5]] == [
        ["sounding", "object:", "people", "people", "2"],
        ["sounding", "object:", "sports", "sports", "2"],
    ]
    assert [" ".join(line.split()) for line in said[6:]] == lists


def test_a_bad_item_of_hubs_authors_does_not_count(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("AVSINK_DATA", raising=False)
    released_clone.clone(tmp_path)
    path = tmp_path / "json_files/causal_tracing/step1/people_case_2.json"
    chats = json.loads(path.read_text())
    user = next(turn for turn in chats[0] if turn["role"] == "user")
    user["av"] = "a dog"
    path.write_text(json.dumps(chats))
    assert main(["hubs", "--root", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "0 samples, 1 problems" in said and "people_case_2.json      1" in said and "3 samples lack theirs" in said


def test_a_selection_shows_the_papers_counts(tmp_path, capsys):
    odyssey_bench(tmp_path / "bench")
    assert main(["av-odyssey", "--root", str(tmp_path / "bench"), "--selection", "knockout"]) == 0
    said = capsys.readouterr().out.splitlines()
    hazard = "Hazard Recognition 1 108 audio reference → image candidates 1"
    assert any(line.split() == hazard.split() for line in said)
    assert any(line.split() == "all 5 1304".split() for line in said)
    assert any(line.split() == "Instrument Recognition question, reference, candidates 1 154".split() for line in said)
    assert main(["av-odyssey", "--root", str(tmp_path / "bench"), "--selection", "all"]) == 1
    assert "no selection 'all'; allowed: knockout, cross-task" in capsys.readouterr().err


def test_missing_parts_and_media_that_are_never_shown(tmp_path, capsys):
    odyssey_bench(tmp_path / "bench", parts=4)
    assert main(["av-odyssey", "--root", str(tmp_path / "bench")]) == 1
    said = capsys.readouterr().out
    assert "missing:\n  av_odyssey_part5.parquet is not there\n  av_odyssey_part6.parquet is not there" in said


@pytest.mark.parametrize(("name", "make"), VARIANTS)
def test_tables_without_a_row_do_not_pass(tmp_path, capsys, name, make):
    make(tmp_path / "root")
    tables = load(name, tmp_path / "root").tables
    for path in tables:
        if path.suffix == ".parquet":
            pyarrow.parquet.write_table(pyarrow.parquet.read_table(path).slice(0, 0), path)
        else:
            path.write_text("{}" if path.suffix == ".json" else path.read_text().splitlines()[0] + "\n")
    assert main([name, "--root", str(tmp_path / "root")]) == 1
    said = capsys.readouterr().out
    assert ": 0 samples, 0 problems" in said
    assert all(f"\n  {path.name} holds no row" in said for path in tables)


def test_a_shard_of_a_table_does_not_pass_for_the_whole(tmp_path, capsys):
    worldsense_parquet(tmp_path)
    (tmp_path / "data/test-00000-of-00001.parquet").rename(tmp_path / "data/test-00000-of-00002.parquet")
    assert main(["worldsense", "--root", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "6 samples, 0 problems" in said and "missing:\n  test-00001-of-00002.parquet is not there" in said


def test_nothing_at_all_does_not_pass(monkeypatch, capsys):
    monkeypatch.setattr(check, "load", lambda name, root: Loaded(name=name, samples=()))
    assert main(["toyworld"]) == 1
    assert "missing:\n  there is no sample" in capsys.readouterr().out


def test_an_empty_selection_does_not_pass(tmp_path, capsys):
    worldsense_json(tmp_path)
    for k in (0, 1):
        shutil.copy(tmp_path / "videos/dvOk2.mp4", tmp_path / f"videos/dvOk{k}.mp4")  # it lasts too long
    assert main(["worldsense", "--root", str(tmp_path), "--selection", "knockout"]) == 1
    assert "missing:\n  there is no sample of this selection" in capsys.readouterr().out


def test_the_message_for_a_missing_dataset_says_what_to_do(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("AVSINK_DATA", raising=False)
    assert main(["worldsense"]) == 1
    assert "python -m avsink.datasets.fetch worldsense --root DIR" in capsys.readouterr().err
    assert main(["worldsense", "--root", str(tmp_path / "nowhere" / "at" / "all")]) == 1
    assert "there is no folder" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["worldsens"])
    assert caught.value.code == 2


def test_zips_that_are_still_packed_are_named(tmp_path, capsys):
    import zipfile

    speakerbench_csv(tmp_path)
    with zipfile.ZipFile(tmp_path / "audiovisual_chunk_1.zip", "w") as archive:
        archive.writestr("audiovisual/vid9_0_1.mp4", b"later")
    write_table(tmp_path / "test.csv", [speakerbench_row(0, audio_visual_path="audiovisual/vid9_0_1.mp4")])
    assert main(["av-speakerbench", "--root", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "audiovisual_chunk_1.zip is not fully unpacked; unpack it with `python -m avsink.datasets.fetch" in said
    with zipfile.ZipFile(tmp_path / "audiovisual_chunk_2.zip", "w") as archive:
        archive.writestr("audiovisual/vid9_0_1.mp4", b"another")
    assert main(["av-speakerbench", "--root", str(tmp_path)]) == 1
    assert "audiovisual_chunk_1.zip and audiovisual_chunk_2.zip both hold" in capsys.readouterr().out


def test_the_toy_world_can_be_checked_too(capsys):
    assert main(["toyworld", "--no-media"]) == 0
    assert "anchor and target" in capsys.readouterr().out
