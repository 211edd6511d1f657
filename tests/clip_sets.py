"""Small VGGSound, VGGSounder, AudioSet and released files in the published layouts, with real mp4 files."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

from samples import write_clip

GROUPS = {
    "people": ["people coughing", "male speech, man speaking", *(f"people act {k}" for k in range(21))],  # 23
    "animals": [
        "bird chirping, tweeting",
        "donkey, ass braying",
        "police car (siren)",
        *(f"animal {k}" for k in range(9)),
    ],
    "sports": ["playing tennis", *(f"playing game {k}" for k in range(8))],  # 9
}
LABELS = [label for labels in GROUPS.values() for label in labels]
STEMS = ("--U7joUcTCo_000000", "-1BtY81-D54_000130", "0D_8Kogn_uY_000282", "a__cdefghi-_999999", "ABCDEFGHIJK_000030")
SHOWN = ("people coughing", "male speech, man speaking", "donkey, ass braying", "playing tennis", "animal 3")


def write_bare(path: Path, rows: list[list[object]], delimiter: str = ",") -> Path:
    """Write a table without a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def write_clips(root: Path, stems=STEMS) -> Path:
    """Write copies of a one-second clip into nested folders, as in the published archives."""
    root.mkdir(parents=True, exist_ok=True)
    one = write_clip(root / "one.mp4", seconds=1, size=32, fps=4)
    for k, stem in enumerate(stems):
        folder = root / f"shard_{k % 2:02d}" / "scratch" / "video"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(one, folder / f"{stem}.mp4")
    one.unlink()
    return root


def write_stat(root: Path, *, grouped: bool = True) -> Path:
    rows = [[label, 100, group] for group, labels in GROUPS.items() for label in labels]
    return write_bare(root / "stat.csv", rows if grouped else [row[:2] for row in rows])


# VGGSound


def vggsound_test(root: Path) -> list[list[str]]:
    rows = [[f"{stem}.mp4", label] for stem, label in zip(STEMS, SHOWN, strict=True)]
    write_bare(write_clips(root) / "test.csv", rows)
    write_stat(root)
    return rows


def vggsound_whole(root: Path) -> list[list[object]]:
    rows = [[stem[:-7], int(stem[-6:]), label, "test"] for stem, label in zip(STEMS, SHOWN, strict=True)]
    write_bare(write_clips(root) / "vggsound.csv", [*rows, ["ZZZZZZZZZZZ", 7, "animal 1", "train"]])
    write_stat(root)
    return rows


# VGGSounder

SOUNDER = [  # video_id, label, modality, background_music, static_image, voice_over
    [STEMS[0], "male speech, man speaking", "AV", False, False, False],
    [STEMS[0], "playing tennis", "V", False, False, False],
    [STEMS[1], "animal 3", "A", False, True, True],
    [STEMS[1], "people coughing", "AV", False, True, True],
    [STEMS[2], "donkey, ass braying", "AV", False, False, False],
    [STEMS[3], "playing tennis", "A", False, False, True],
    [STEMS[4], "playing game 1", "AV", True, False, False],
]
SOUNDER_COLUMNS = ["video_id", "label", "modality", "background_music", "static_image", "voice_over"]


def write_sounder(path: Path, rows=SOUNDER) -> Path:
    return write_bare(path, [SOUNDER_COLUMNS, *rows])


def vggsounder(root: Path) -> list[str]:
    write_sounder(write_clips(root) / "vggsounder_0.1.6.csv")
    write_stat(root)
    return list(dict.fromkeys(row[0] for row in SOUNDER))


# AudioSet

ONTOLOGY = [
    {"id": "/m/top1", "name": "Animal", "child_ids": ["/m/dog", "/t/wild"], "restrictions": []},
    {"id": "/t/wild", "name": "Wild animals", "child_ids": ["/m/lion", "/m/hiss"], "restrictions": ["abstract"]},
    {"id": "/m/dog", "name": "Dog", "child_ids": ["/m/bark"], "restrictions": []},
    {"id": "/m/bark", "name": "Bark", "child_ids": [], "restrictions": []},
    {"id": "/m/lion", "name": "Roaring cats (lions, tigers)", "child_ids": [], "restrictions": []},
    {"id": "/m/hiss", "name": "Hiss", "child_ids": [], "restrictions": []},
    {"id": "/m/top2", "name": "Sounds of things", "child_ids": ["/m/hiss", "/m/horn"], "restrictions": []},
    {"id": "/m/horn", "name": "Vehicle horn, car horn", "child_ids": [], "restrictions": ["blacklist"]},
]
CLASSES = [(row["id"], row["name"]) for row in ONTOLOGY if not row["restrictions"]]
SEGMENTS = [  # id, start, end, classes, the name that the clip has
    ("--PJHxphWEs", 30.0, 40.0, "/m/dog,/m/bark", "--PJHxphWEs_30000"),
    ("-abc_efghij", 0.0, 10.0, "/m/hiss", "-abc_efghij_000000"),
    ("ABCDEFGHIJK", 12.5, 22.5, "/m/dog,/m/top2", "ABCDEFGHIJK_12.5_22.5"),
    ("_bcdefghijk", 100.0, 110.0, "/m/lion", "_bcdefghijk"),
]


def audioset(root: Path, *, segments=SEGMENTS, announced: int | None = None, header: bool = True) -> list[tuple]:
    write_clips(root, [name for *_, name in SEGMENTS])
    lines = ["# Segments csv created Sun Mar  5 10:54:25 2017", f"# num_ytids=4, num_segs={announced or len(segments)}"]
    lines += ["# YTID, start_seconds, end_seconds, positive_labels"]
    lines += [f'{id}, {start:.3f}, {end:.3f}, "{classes}"' for id, start, end, classes, _ in segments]
    (root / "eval_segments.csv").write_text("\n".join(lines) + "\n")
    write_bare(
        root / "class_labels_indices.csv",
        [["index", "mid", "display_name"], *([k, *one] for k, one in enumerate(CLASSES))],
    )
    (root / "ontology.json").write_text(json.dumps(ONTOLOGY))
    strong = [["--PJHxphWEs_30000", 2.627, 7.237, "/m/bark"], ["--PJHxphWEs_30000", 0, 1.5, "/m/lion"]]
    names = [["segment_id", "start_time_seconds", "end_time_seconds", "label"]] if header else []
    write_bare(root / "audioset_eval_strong.tsv", [*names, *strong], "\t")
    return list(segments)


# Released files

TWENTY = [f"people act {k}" for k in range(16)] + ["police radio chatter", "siren", "francolin calling", "beeping"]


def choices(k: int) -> dict[str, str]:
    """The 20 labels, in an order of the item."""
    return {chr(65 + n): TWENTY[(7 * n + k) % 20] for n in range(20)}


def frames_of(stem: str) -> list[str]:
    return [f"vggsound_with_mask/sam2_mask_black/{stem}/{n:03d}_raw.jpg" for n in (1, 13, 25, 36)]


def chat(video: object, **facts) -> list[dict]:
    system = {"role": "system", "content": [{"type": "text", "text": "You are a helpful assistant."}]}
    content = [{"type": "video", "video": video}, {"type": "text", "text": "Which?\n\nA. ..."}]
    return [system, {"role": "user", "content": content, **facts}]


def step1_item(k: int, *, frames: bool = False, **changes) -> list[dict]:
    own = choices(k)
    facts = {"label": "K", "label_name": own["K"], "av": "K", "v": "R", "a": "K", "choices": own} | changes
    return chat(frames_of(STEMS[k]) if frames else f"vggsound_with_mask/video/{STEMS[k]}.mp4", **facts)


def step2_item(k: int, **changes) -> list[dict]:
    own = choices(k)
    names = ("correct_correct", "correct_corrupt", "corrupt_correct", "corrupt_corrupt")
    facts = {"label": "K", "label_name": own["K"], "correct_pred": "K", "corrupt_pred": "R"}
    facts |= {f"{name}_word_prob": p for name, p in zip(names, (0.9, 0.05, 0.2, 0.6), strict=True)}
    return chat(f"vggsound_with_mask/video/{STEMS[k]}.mp4", **(facts | {"choices": own} | changes))


def result_line(k: int, condition: str, **changes) -> dict:
    video = STEMS[k] if condition == "av" else frames_of(STEMS[k])
    row = {"id": k, "video": video, "audio_path": f"audio/{STEMS[k]}.wav", "label": "K", "label_name": choices(k)["K"]}
    row |= {"choices": choices(k), "text": None, "text_output": "K" if condition == "av" else "R"}
    high, low = (0.9, 0.05) if condition == "av" else (0.2, 0.6)
    return row | {"av": "K", "av_prob": high, "v": "R", "v_prob": low, "a": "K", "a_prob": high} | changes


def effect_line(k: int, **changes) -> dict:
    row = {"id": k, "video": frames_of(STEMS[k]), "audio_path": "unknown_audio", "label": "K", "label_name": "x"}
    row |= {"correct_pred": "K", "corrupt_pred": "R", "restored_pred": "C."}
    row |= {"correct_correct_word_prob": 0.9, "correct_corrupt_word_prob": 0.05, "corrupt_correct_word_prob": 0.2}
    row |= {"corrupt_corrupt_word_prob": 0.6, "restored_correct_word_prob": 0.5, "restored_corrupt_word_prob": 0.45}
    return row | {"layerlist_len": 56} | changes


def history(n_tokens: int = 3, n_layers: int = 4) -> dict:
    scores = {}
    for t in range(n_tokens):
        v = [0.001 * (1 + t + layer) for layer in range(n_layers)]
        a = [0.002] * n_layers
        scores[str(300 - 7 * t)] = {
            "mds": [(x - y) / (x + y) for x, y in zip(v, a, strict=True)],
            "v_score": v,
            "a_score": a,
        }
    return scores


def write_json(path: Path, content: object, *, lines: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in content) if lines else json.dumps(content, indent=4)
    path.write_text(text)
    return path


def released(root: Path) -> Path:
    """The repository's ``exp`` and ``json_files`` in small."""
    step1, step2 = root / "exp/causal_tracing/step1/people", root / "exp/causal_tracing/step2/people"
    for condition in ("av", "v"):
        rows = [result_line(k, condition) for k in range(3)]
        write_json(step1 / condition / "people_case_2_small.json", rows, lines=True)
    for k in range(2):
        write_json(step1 / "av/history/k_divde_2" / f"{STEMS[k]}_history.json", history())
    for folder in ("all", "cross_modal_sinkk_divide_2", "random_sink_numk_divide_3"):
        name = "before_attn_layer0_window50people_small.json"
        write_json(step2 / folder / name, [effect_line(k) for k in range(3)], lines=True)
    lists = root / "json_files/causal_tracing"
    write_json(lists / "step1/people_case_2.json", [step1_item(k, frames=True) for k in range(3)])
    write_json(lists / "step1/sports_case_1.json", [step1_item(k) for k in range(5)])
    write_json(lists / "step2/sports.json", [step2_item(k) for k in range(5)])
    described = [("alligators, crocodiles hissing", "alligator/crocodile"), ("mouse squeaking", "mouse (animal)")]
    rows = [chat(f"v/{STEMS[k]}.mp4", original_label=x, objects=y) for k, (x, y) in enumerate(described)]
    rows.append(chat("vggsound_with_mask/video/video_id.mp4", original_label="original_label", objects="objects"))
    write_json(root / "json_files/asd/vggsound_animal.json", rows)
    return root
