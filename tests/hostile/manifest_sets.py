"""Small sets of every kind that a loader reads, each with one table to be damaged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import clip_sets
import published

from avsink import datasets
from avsink.datasets.masks.files import read_spans
from avsink.papers.hubs import released, released_items
from avsink.papers.hubs.measure import COLUMNS, read_manifest

__all__ = ["SETS", "Found", "Kind"]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a loader found: id -> content as JSON, in every place that it occurs; and what it says is wrong."""

    items: Mapping[str, list[str]]
    said: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of set.

    table: the file to be damaged.
    form: csv, bare (a csv without a header), spaced (one with a space after each comma), json, jsonl or parquet.
    make: writes the set into a folder.
    load: reads it.
    paths: columns or keys that name files.
    loose: columns or keys that are kept as they are, for whoever wants to know them.
    shared: whether its rows are about many samples, so that a reported fault may change all of them.
    optional: whether the set can do without the file.
    """

    table: str
    form: str
    make: Callable[[Path], object]
    load: Callable[[Path], Found]
    paths: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()
    shared: bool = False
    optional: bool = False


@dataclass
class _Kept:
    items: dict[str, list[str]] = field(default_factory=dict)

    def add(self, id: str, content: object) -> None:
        self.items.setdefault(id, []).append(json.dumps(content, default=str, sort_keys=True))


def _dataset(name: str) -> Callable[[Path], Found]:
    return lambda root: _loaded(datasets.load(name, root), root)


def _loaded(loaded, root: Path) -> Found:
    kept = _Kept()
    for sample in loaded.samples:
        content = json.loads(json.dumps(asdict(sample), default=str).replace(str(root), "ROOT"))
        kept.add(sample.id, content)
    return Found(items=kept.items, said=tuple(str(problem) for problem in loaded.problems) + loaded.lacking)


def _table(read: Callable[[Path], released.Released], key: tuple[str, ...]) -> Callable[[Path], Found]:
    def load(root: Path) -> Found:
        found, kept = read(root), _Kept()
        for row in found.table.to_dict("records"):
            kept.add("/".join(str(row[name]) for name in key), row)
        return Found(items=kept.items, said=tuple(map(str, found.problems)))

    return load


def _spans(root: Path) -> Found:
    found, kept = read_spans(root / "spans.json"), _Kept()
    for clip, spans in found.spans.items():
        kept.add(clip, [spans, found.blocks.get(clip)])
    return Found(items=kept.items, said=tuple(map(str, found.problems)))


def _write_spans(root: Path) -> None:
    rows = [{"audio": f"wav/clip{k}.wav", "important_blocks": [0, k + 1]} for k in range(3)]
    rows += [{"audio": f"wav/other{k}.wav", "spans": [[0.5, 2.25], [3.0, 4.0 + k]]} for k in range(3)]
    (root / "spans.json").write_text(json.dumps(rows))


def _manifest(root: Path) -> Found:
    kept = _Kept()
    for row in read_manifest(root / "manifest.csv").to_dict("records"):
        kept.add(row["sample"], row)
    return Found(items=kept.items)


def _write_manifest(root: Path) -> None:
    rows = [dict(zip(COLUMNS, (f"set/{k:03d}", "audio", "A", "A", "B", "C"), strict=True)) for k in range(5)]
    published.write_table(root / "manifest.csv", rows)


def _toyworld(root: Path) -> None:
    """Lines of the embedded set of every task, with files of a few bytes."""
    from avsink.toyworld.held_out import ROOT

    lines = (ROOT / "manifest.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in (*lines[:4], *lines[1200:1203], *lines[1425:1428], *lines[1625:1628])]
    for name in {part["path"] for row in rows for part in row["parts"] if "path" in part}:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"clip")
    (root / "manifest.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _vggsound(write: Callable[[Path], object], *, cases: bool = False) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        write(root)
        if cases:
            sets = {"mine": clip_sets.LABELS[:20], "other": clip_sets.LABELS[20:40]}
            (root / "cases.json").write_text(json.dumps(sets))

    return make


def _audioset(root: Path) -> None:
    clip_sets.audioset(root)
    published.write_table(root / "mid_to_display_name.tsv", [{"/m/rare": "/m/rarer", "Rare": "Rarer"}])


TRUTH = ("category", "sub_category", "video_id", "start_time", "end_time", "duration", "domain", "audio_class")
SENSE = {"paths": ("video_path",), "loose": TRUTH}
STEP1 = "exp/causal_tracing/step1/people"
LISTS = "json_files/causal_tracing/step1"
SETS = {
    "speakerbench csv": Kind(
        table="test.csv",
        form="csv",
        make=published.speakerbench_csv,
        load=_dataset("av-speakerbench"),
        paths=("audio_visual_path",),
        loose=TRUTH,
    ),
    "toy world": Kind(
        table="manifest.jsonl",
        form="jsonl",
        make=_toyworld,
        load=_dataset("toyworld"),
        paths=("path",),
        loose=("part",),
    ),
    "worldsense json": Kind(
        table="worldsense_qa.json",
        form="json",
        make=published.worldsense_json,
        load=_dataset("worldsense"),
        loose=(*TRUTH, "video_id"),
    ),
    "vggsound": Kind(table="test.csv", form="bare", make=_vggsound(clip_sets.vggsound_test), load=_dataset("vggsound")),
    "odyssey paths": Kind(
        table="av_odyssey.parquet",
        form="parquet",
        make=lambda root: published.odyssey_paths(root, typed=True),
        load=_dataset("av-odyssey"),
        paths=("image_path", "audio_path"),
    ),
    "audioset segments": Kind(
        table="eval_segments.csv", form="spaced", make=_audioset, load=_dataset("audioset"), loose=("labels",)
    ),
    "vggsounder": Kind(
        table="vggsounder_0.1.6.csv", form="csv", make=clip_sets.vggsounder, load=_dataset("vggsounder"), shared=True
    ),
    "spans": Kind(table="spans.json", form="json", make=_write_spans, load=_spans),
    "manifest of dominance": Kind(table="manifest.csv", form="csv", make=_write_manifest, load=_manifest),
    "released items": Kind(
        optional=True,
        table=f"{LISTS}/people_case_2.json",
        form="json",
        make=clip_sets.released,
        load=_table(lambda root: released_items.items(root / LISTS), ("case", "sample")),
        loose=("av", "v", "a"),  # lists may lack them
    ),
    "worldsense tsv": Kind(
        table="WorldSense.tsv", form="csv", make=published.worldsense_tsv, load=_dataset("worldsense"), **SENSE
    ),
    "worldsense parquet": Kind(
        table="data/test-00000-of-00001.parquet",
        form="parquet",
        make=published.worldsense_parquet,
        load=_dataset("worldsense"),
        **SENSE,
    ),
    "odyssey media": Kind(
        table="av_odyssey_part1.parquet",
        form="parquet",
        make=published.odyssey_bench,
        load=_dataset("av-odyssey"),
        paths=("image_1", "audio_1"),
    ),
    "vggsound whole": Kind(
        table="vggsound.csv", form="bare", make=_vggsound(clip_sets.vggsound_whole), load=_dataset("vggsound")
    ),
    "vggsound groups": Kind(
        table="stat.csv",
        form="bare",
        make=_vggsound(clip_sets.vggsound_test),
        load=_dataset("vggsound"),
        shared=True,
        optional=True,
        loose=("1",),
    ),
    "vggsound sets": Kind(
        table="cases.json",
        form="json",
        make=_vggsound(clip_sets.vggsound_test, cases=True),
        load=_dataset("vggsound"),
        shared=True,
        optional=True,
    ),
    "audioset classes": Kind(
        table="class_labels_indices.csv",
        form="csv",
        make=_audioset,
        load=_dataset("audioset"),
        shared=True,
        optional=True,
        loose=("index",),
    ),
    "audioset ontology": Kind(
        table="ontology.json",
        form="json",
        make=_audioset,
        load=_dataset("audioset"),
        shared=True,
        optional=True,
    ),
    "audioset strong": Kind(
        table="audioset_eval_strong.tsv",
        form="bare",
        make=_audioset,
        load=_dataset("audioset"),
        shared=True,
        optional=True,
    ),
    "speakerbench tsv": Kind(
        table="test.tsv",
        form="csv",
        make=published.speakerbench_tsv,
        load=_dataset("av-speakerbench"),
        paths=("audio_visual_path",),
        loose=TRUTH,
    ),
    "released results": Kind(
        optional=True,
        table=f"{STEP1}/av/people_case_2_small.json",
        form="jsonl",
        make=clip_sets.released,
        load=_table(lambda root: released.results(root / STEP1), ("condition", "sample", "prediction_of")),
    ),
    "released effects": Kind(
        optional=True,
        table="exp/causal_tracing/step2/people/all/before_attn_layer0_window50people_small.json",
        form="jsonl",
        make=clip_sets.released,
        load=_table(
            lambda root: released.effects(root / "exp/causal_tracing/step2"), ("token_set", "one_in", "sample")
        ),
    ),
    "released histories": Kind(
        optional=True,
        table=f"{STEP1}/av/history/k_divde_2/{clip_sets.STEMS[0]}_history.json",
        form="json",
        make=clip_sets.released,
        load=_table(lambda root: released.histories(root / STEP1), ("sample", "token", "layer")),
        loose=("mds", "v_score", "a_score"),  # NaN is a value, too
    ),
    "released samples": Kind(
        table=f"{LISTS}/sports_case_1.json",
        form="json",
        make=lambda root: clip_sets.released(clip_sets.write_clips(root / "clips").parent),
        load=lambda root: _loaded(released_items.samples(root / LISTS / "sports_case_1.json", root / "clips"), root),
        loose=("av", "v", "a"),
    ),
    "released captions": Kind(
        table="json_files/asd/vggsound_animal.json",
        form="json",
        make=lambda root: clip_sets.released(clip_sets.write_clips(root / "clips").parent),
        load=lambda root: _loaded(
            released_items.captions(root / "json_files/asd/vggsound_animal.json", root / "clips"), root
        ),
    ),
}
"""Name -> kind of set; kinds of tables that differ come first."""
