"""Small datasets in the published layouts of the real ones, with real mp4, wav and png files.

Each function writes one variant into the folder `root` and returns its rows, which a test may change beforehand.
"""

from __future__ import annotations

import csv
import json
import wave
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from samples import write_clip, write_image

KINDS = ("image", "audio", "video")


def write_wav(path: Path, *, hertz: float, seconds: float = 1.0) -> Path:
    tone = (9_000 * np.sin(2 * np.pi * hertz * np.arange(round(16_000 * seconds)) / 16_000)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(tone.tobytes())
    return path


def write_table(path: Path, rows: list[dict], *, bom: bool = False) -> Path:
    """Write a csv or tsv as pandas would."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8-sig" if bom else "utf-8") as file:
        writer = csv.DictWriter(file, columns, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)
    return path


# AV-SpeakerBench


def speakerbench_row(k: int = 0, **changes) -> dict:
    tasks = ("Speech Intensity", "Visual Counting", "Speaker Detection")
    domains = ("Audio-centric", "Visual-centric", "Speaker-centric")
    row = {
        "question_id": str(k),
        "video_id": f"vid{k % 3}",
        "question": f'Who is louder, after "the man, in grey" says: stop? ({k})',
        "choices": "['A. the man', \"B. the woman's friend\", 'C. both', 'D. neither']",
        "answer": "ABCD"[k % 4],
        "category": domains[k % 3],
        "sub_category": "attributes",
        "task_id": tasks[k % 3],
        "audio_visual_path": f"audiovisual/vid{k % 3}_0_1.mp4",
        "visual_path": f"visual/vid{k % 3}_0_1.mp4",
        "audio_path": f"audio/vid{k % 3}_0_1.wav",
        "start_time": "00:00",
        "end_time": "00:01",
    }
    return row | changes


def speakerbench_media(root: Path) -> Path:
    for folder in ("audiovisual", "visual", "audio"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for k in range(3):
        write_clip(root / f"audiovisual/vid{k}_0_1.mp4", seconds=1)
        write_clip(root / f"visual/vid{k}_0_1.mp4", seconds=1, sound=0)
        write_wav(root / f"audio/vid{k}_0_1.wav", hertz=300 + 100 * k)
    return root


def speakerbench_csv(root: Path, rows: list[dict] | None = None, *, bom: bool = False) -> list[dict]:
    rows = [speakerbench_row(k) for k in range(6)] if rows is None else rows
    write_table(speakerbench_media(root) / "test.csv", rows, bom=bom)
    return rows


def speakerbench_tsv(root: Path) -> list[dict]:
    rows = [{"index": k, "video": f"vid{k % 3}_0_1"} | speakerbench_row(k) for k in range(6)]
    write_table(speakerbench_media(root) / "test.tsv", rows)
    return rows


# WorldSense


def worldsense_question(k: int = 0, **changes) -> dict:
    types = (("Recognition", "Audio Counting"), ("Understanding", "Video Emotions"), ("Reasoning", "Emotion Change"))
    three = k % 3 == 2
    row = {
        "task_domain": types[k % 3][0],
        "task_type": types[k % 3][1],
        "question": f"How often does the bell ring, {k}?",
        "candidates": [f"{letter}. {n + k}" for n, letter in enumerate("ABC" if three else "ABCD")],
        "answer": "ABC"[k % 3],
    }
    return row | changes


def worldsense_video(k: int) -> dict:
    return {
        "video_duration": "61s" if k == 2 else "1s",
        "duration": "<1min",  # wrong for video 2, which is longer: the duration must be read from the file
        "domain": "Daily Life",
        "sub_category": "Household",
        "audio_class": ["Speech", "Event"],
        "video_caption": "Somebody walks by. " * 20,
    }


def worldsense_media(root: Path) -> Path:
    (root / "videos").mkdir(parents=True, exist_ok=True)
    write_clip(root / "videos/dvOk0.mp4", seconds=1)
    write_clip(root / "videos/dvOk1.mp4", seconds=1)
    write_clip(root / "videos/dvOk2.mp4", seconds=61, fps=1, size=32, sound=1)
    return root


def worldsense_json(root: Path) -> list[tuple[str, str]]:
    """Three videos with one, two and three questions; their ids."""
    records, ids = {}, []
    for k in range(3):
        tasks = {f"task{n}": worldsense_question(k + n) for n in range(k + 1)}
        records[f"dvOk{k}"] = {"video_id": f"dvOk{k}"} | worldsense_video(k) | tasks
        ids += [(f"dvOk{k}", name) for name in tasks]
    (worldsense_media(root) / "worldsense_qa.json").write_text(json.dumps(records, ensure_ascii=False))
    return ids


def worldsense_rows() -> list[dict]:
    return [
        {"index": k, "video": f"dvOk{k % 3}", "video_path": f"./videos/dvOk{k % 3}.mp4"}
        | worldsense_video(k % 3)
        | worldsense_question(k)
        | {"subtitle_path": f"./subtitles/dvOk{k % 3}.srt", "audio_path": f"./audios/dvOk{k % 3}.wav"}
        for k in range(6)
    ]


def worldsense_parquet(root: Path) -> list[dict]:
    rows = worldsense_rows()
    (worldsense_media(root) / "data").mkdir(exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), root / "data/test-00000-of-00001.parquet")
    return rows


def worldsense_tsv(root: Path) -> list[dict]:
    rows = [row | {name: str(row[name]) for name in ("candidates", "audio_class")} for row in worldsense_rows()]
    write_table(worldsense_media(root) / "WorldSense.tsv", rows)
    return rows


# AV-Odyssey

ORDINALS = ["A. second image", "B. fourth image", "C. third image", "D. first image"]
SOUNDS = ["A. the third audio", "B. audio 1", "C. fourth audio", "D. second one"]
MOODS = ["A. sad", "B. glad", "C. angry", "D. calm"]
FOUR = {kind: "".join(f"[{name}{k}]" for k in range(1, 5)) for kind, name in (("image", "img"), ("audio", "audio"))}

ODYSSEY = [
    # question_id, type, data_type, subfield, images, audios, videos, question, options, answer
    ("1_0", 1, "image", "Timbre", 4, 1, 0,
     f"Which instrument in the images {FOUR['image']} do you think best matches audio [audio1]?", ORDINALS, "A"),
    ("1_1", 1, "image", "Timbre", 4, 1, 0,
     f"Which image fits the sound [audio1] best? {FOUR['image']}", ORDINALS, "C"),
    ("7_0", 7, "image", "Timbre", 4, 1, 0,
     f"Sound: [audio1]. Images: {FOUR['image']} Which of them shows the material that you hear?", ORDINALS, "D"),
    ("9_0", 9, "image", "Timbre", 4, 1, 0,
     f"[audio1] tells of a danger; which image shows it? {FOUR['image']}", ORDINALS, "B"),
    ("5_0", 5, "image", "Timbre", 1, 4, 0,
     f"Which audio among {FOUR['audio']} best matches the animal shown in [img1]?", SOUNDS, "A"),
    ("16_0", 16, "image", "Melody", 1, 4, 0,
     "Which music fits [img1] best?", [f"{letter}. [audio{k}]" for k, letter in enumerate("ABCD", 1)], "C"),
    ("12_0", 12, "image", "Tone", 1, 1, 0, "What is the mood of [audio1] beside [img1]?", MOODS, "B"),
    ("22_0", 22, "video", "Time", 0, 1, 1, "How does [audio1] go with the video [video1]?", MOODS, "D"),
]  # fmt: skip


def odyssey_media(folder: Path) -> dict[str, list[Path]]:
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "image": [write_image(folder / f"2_26_{k}.png", level=40 + 50 * k) for k in range(4)],
        "audio": [write_wav(folder / f"31_6_{k}.wav", hertz=300 + 90 * k, seconds=0.5 + k / 4) for k in range(4)],
        "video": [write_clip(folder / "22_0_1.mp4", seconds=1)],
    }


def odyssey_row(k: int) -> tuple[dict, dict[str, int]]:
    """A row without its media, and how many of each kind it has."""
    id, type, data, subfield, images, audios, videos, question, options, answer = ODYSSEY[k]
    row = {
        "question_id": id,
        "question_type_id": type,
        "data_type": data,
        "subfield": subfield,
        "question": question,
        "options": options,
        "answer": answer,
    }
    return row, {"image": images, "audio": audios, "video": videos}


def odyssey_bench(root: Path, *, raw: bool = False, parts: int = 6) -> list[dict]:
    """The parquet parts, with media as bytes or as {bytes, path}."""
    media = odyssey_media(root.with_name(root.name + "-media"))
    binary = pyarrow.binary() if raw else pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    slots = [(kind, n) for kind, most in (("image", 4), ("audio", 4), ("video", 1)) for n in range(most)]
    plain = {"question_type_id": pyarrow.int64(), "options": pyarrow.list_(pyarrow.string())}
    rows = []
    for k in range(len(ODYSSEY)):
        row, counts = odyssey_row(k)
        for kind, n in slots:
            path = media[kind][n] if n < counts[kind] else None
            content = {"bytes": path.read_bytes(), "path": path.name} if path else None
            row[f"{kind}_{n + 1}"] = content["bytes"] if raw and content else content
        rows.append(row)
    columns = [(name, plain.get(name, pyarrow.string())) for name in odyssey_row(0)[0]]
    schema = pyarrow.schema([*columns, *((f"{kind}_{n + 1}", binary) for kind, n in slots)])
    root.mkdir(parents=True, exist_ok=True)
    for part in range(parts):
        table = pyarrow.Table.from_pylist(rows[part::6], schema=schema)
        pyarrow.parquet.write_table(table, root / f"av_odyssey_part{part + 1}.parquet")
    return rows


def odyssey_paths(root: Path, *, typed: bool = False) -> list[dict]:
    """The LMMs_Eval form. typed: with question_type_id, which the published file may lack."""
    media = odyssey_media(root / "media")
    rows = []
    for k in range(len(ODYSSEY)):
        row, counts = odyssey_row(k)
        if not typed:
            del row["question_type_id"]
        for kind in KINDS:
            paths = [str(path.relative_to(root)) for path in media[kind][: counts[kind]]]
            row[f"{kind}_path"] = paths or None
        rows.append(row)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), root / "av_odyssey.parquet")
    return rows
