"""Everything that pages show, made of given words: each chart and table of the book, as a function of a few strings.

A maker takes a function `word` that gives the k-th string, and returns what a notebook's cell would show. The same
maker with harmless words gives the page that the hostile one must equal but for its words.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
from PIL import Image

from avsink import charts
from avsink.charts import descriptions
from avsink.instruments import pathways
from avsink.papers.flow import reported as flow
from avsink.papers.hubs import reported as hubs
from avsink.papers.hubs import sink_tables
from avsink.results import bootstrap, verdicts
from avsink.results.over_samples import Done
from avsink.sample import Media, Sample, Text
from avsink.toyworld import exhibits

__all__ = ["MAKERS", "Word"]

Word = Callable[[int], str]
INTERVAL = {"mean": 0.3, "low": 0.2, "high": 0.4, "n": 7}
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def _words(word: Word, at: int) -> dict[str, str]:
    return {"caption": f"Of {word(at)}.", "description": f"It shows {word(at + 1)}."}


def _curves(word: Word, **columns) -> pd.DataFrame:
    rows = [{"category": word(k), "layer": layer, **INTERVAL, **columns} for k in range(2) for layer in range(3)]
    return pd.DataFrame(rows)


def _samples(word: Word) -> tuple[Sample, ...]:
    clip = Media(path=Path("clip.mp4"), kind="video")
    asked = [
        Sample(
            id=word(k),
            task="caption" if k % 2 else "sounding object",
            category=word(k + 3),
            parts=(clip, Text(text=f"What of {word(k)}?")),
            options=() if k % 2 else (f"A {word(4)}", f"B {word(5)}"),
            answer=None if k % 2 else "B",
            truth={"caption": word(4)},
        )
        for k in range(3)
    ]
    return tuple(asked)


def _done(word: Word) -> Done:
    samples = _samples(word)
    rows = pd.DataFrame({"sample": [samples[0].id], "category": [samples[0].category], "x": [0.5]})
    problems = {sample.id: (word(6), word(7)) for sample in samples[1:]}
    return Done(samples=samples, rows=rows, problems=problems, folder=Path("."))


def attention_maps(word: Word):
    row = {"query": 0, "query_stop": 1, "key": 0, "key_stop": 1, "weight": 0.5}
    rows = [{"layer": k, **row, "query_group": word(0), "key_group": word(1)} for k in range(2)]
    return charts.attention_maps(pd.DataFrame(rows), **_words(word, 2))


def picture(word: Word):
    return charts.picture(Image.new("RGB", (2, 2)), **_words(word, 0))


def clip(word: Word, folder: Path):
    path = folder / f"{word(0)}.mp4"
    path.write_bytes(b"clip")
    return charts.clip(path, **_words(word, 1))


def dimension_sizes(word: Word):
    rows = [{"token": word(k), "position": k, "dimension": d, "magnitude": d + 1.0} for k in range(2) for d in range(4)]
    return charts.dimension_sizes(pd.DataFrame(rows), **_words(word, 2))


def dominance_dots(word: Word):
    rows = [{"category": word(k), "dominance": kind, **INTERVAL} for k in range(2) for kind in ("audio", "both")]
    return charts.dominance_dots(pd.DataFrame(rows), **_words(word, 2))


def dominance_map(word: Word):
    rows = [{"sample": word(k), "fog": 0.2 + k / 9, "noise": 0.3, "dominance": "video"} for k in range(3)]
    return charts.dominance_map(pd.DataFrame(rows), **_words(word, 3))


def dot_plot(word: Word):
    row = {"value": 0.4, "low": None, "high": None, "n": None}
    rows = [{"label": word(k), "group": word(2 + k), **row} for k in range(2)]
    return charts.dot_plot(pd.DataFrame(rows), title=word(4), unit=".0%", **_words(word, 5))


def explorer(word: Word):
    box = {"x": 0.1, "x2": 0.2, "y": 0.1, "y2": 0.2}
    token = {"modality": "video", "layer": 0, "phi": 2.0, "sink": True, "asked": True}
    shares = {"video": 0.1, "audio": 0.2, "text": float("nan")}
    tokens = pd.DataFrame([{"position": k, "place": word(k), **token, **shares, **box} for k in range(2)])
    readers = pd.DataFrame([{"layer": 0, "key": 0, "position": 1, "weight": 0.4, "place": word(2), **box}])
    frames = pd.DataFrame([{"x": 0.1, "y": 0.1, "width": 0.2, "height": 0.2, "url": PIXEL}])
    found = SimpleNamespace(
        tokens=tokens, readers=readers, frames=frames, wave=pd.DataFrame([box]), height=0.5, first=0
    )
    return charts.explorer(found, tau=1.0, **_words(word, 3))


def flow_map(word: Word):
    rows = pd.concat([_curves(word, pathway=name) for name in pathways.FIGURE_4])
    groups = ["Video", "Audio", "Question", "Last"]
    return charts.flow_map(rows, pathways=pathways.FIGURE_4, groups=groups, margin=0.1, **_words(word, 2))


def knockout_curves(word: Word):
    rows = pd.concat([_curves(word, pathway=name) for name in (*pathways.FIGURE_3[:2], word(5))])
    return charts.knockout_curves(rows, axis=word(2), **_words(word, 3))


def layer_curves(word: Word):
    rows = pd.concat([_curves(word, kind=word(k)) for k in (2, 3)])
    return charts.layer_curves(rows, series="kind", title=word(4), **_words(word, 5))


def share_curves(word: Word):
    rows = pd.concat([_curves(word, group=word(k)) for k in (2, 3)])
    return charts.share_curves(rows.drop(columns="category")[:3], mark=1, **_words(word, 4))


def leanings(word: Word):
    row = {"modality": "video", "kind": "unimodal", "position": 3}
    rows = [{**row, "place": word(k), "score": 0.1 * k, "sample": word(2 + k)} for k in range(2)]
    return charts.leanings(pd.DataFrame(rows), **_words(word, 4))


def phi_map(word: Word):
    rows = [
        {"layer": i, "position": k, "group": word(k), "phi": 1.0 + k, "sink": False, "place": word(2 + k)}
        for i in range(2)
        for k in range(2)
    ]
    return charts.phi_map(pd.DataFrame(rows), **_words(word, 4))


def ratios(word: Word):
    rows = [{"label": word(k), "group": word(2), "ratio": 3.0, "limit": 9.0} for k in range(2)]
    return charts.ratios(pd.DataFrame(rows), title=word(3), **_words(word, 4))


def sink_drift(word: Word):
    rows = [{"modality": word(k), "layer": 0, "other": 1, **INTERVAL} for k in range(2)]
    return charts.sink_drift(pd.DataFrame(rows), **_words(word, 2))


def spread(word: Word):
    rows = pd.DataFrame({"phi": [0.5, 1.0, 4.0]})
    return charts.spread(rows, column="phi", title=word(0), mark=2.0, name=word(1), **_words(word, 2))


def timeline(word: Word):
    rows = [{"track": word(k), "label": word(2 + k), "modality": "audio", "start": k, "end": k + 1} for k in range(2)]
    return charts.timeline(pd.DataFrame(rows), **_words(word, 4))


def token_norms(word: Word):
    rows = [
        {"layer": 0, "position": k, "group": word(k), "l2": 1.0 + k, "sink": not k, "at": word(2)} for k in range(2)
    ]
    return charts.token_norms(pd.DataFrame(rows), **_words(word, 3))


def training_curves(word: Word):
    rows = [{"step": s, "measure": word(k), "value": s / 9} for k in range(2) for s in range(3)]
    return charts.training_curves(pd.DataFrame(rows), title=word(2), **_words(word, 3))


def work_map(word: Word):
    row = {"centre": 1, "layer": 2, "start": 3, "stop": 9, "tokens": 6}
    rows = pd.DataFrame([{"pathway": word(k), **row} for k in range(2)])
    stripes = pd.DataFrame([{"kind": "system", "start": 0, "stop": 3}, {"kind": word(2), "start": 3, "stop": 9}])
    return charts.work_map(rows, stripes=stripes, n_layers=4, **_words(word, 3))


def nothing(word: Word):
    return charts.timeline(pd.DataFrame(), **_words(word, 0))


def caveat(word: Word):
    charts.about(SimpleNamespace(caveat=word(0)))
    try:
        return timeline(lambda k: word(k + 1))
    finally:
        charts.about(SimpleNamespace(caveat=""))


def any_table(word: Word):
    rows = {word(0): [word(1), word(2)], word(3): [1, 2], "n": [0.5, None], word(4): [word(5), word(6)]}
    return charts.table(pd.DataFrame(rows), formats={"n": "{:.1f}"}, caption=word(7))


def table_of_counts(word: Word):
    return charts.table(_done(word).counts)


def table_of_left_out(word: Word):
    return charts.table(_done(word).left_out)


def table_of_verdicts(word: Word):
    found = [verdicts.Verdict(word(0), word(1), "supported", word(2)), verdicts.Verdict("a", "b", "too wide", "c")]
    return charts.table(verdicts.verdicts_table(found))


def table_of_rules(word: Word):
    rules = [verdicts.Rule(claim=word(0), where=word(1), condition=word(2), test=lambda rows: ("supported", ""))]
    return charts.table(verdicts.rules_table(rules))


def conclusion(word: Word):
    parts = [verdicts.Verdict("a", "b", "supported", "c")]
    return charts.verdict(verdicts.conclude(word(0), parts, where=word(1), note=word(2)))


def table_of_questions(word: Word):
    return charts.table(exhibits.questions(_samples(word)))


def table_of_tasks(word: Word):
    rows = [
        {"sample": word(2 * k + i), "task": word(k), "category": word(4 + k), "config": config, "correct": float(i)}
        for k in range(2)
        for i in range(2)
        for config in ("baseline", "Video")
    ]
    return charts.table(flow.readable_tasks(flow.tasks_of_table_4(pd.DataFrame(rows))))


def table_of_orders(word: Word):
    rows = pd.DataFrame({"sample": [word(0), word(1)], "task": word(2), "structure": word(3)})
    return charts.table(bootstrap.orders(rows))


def table_of_widths(word: Word):
    return charts.table(bootstrap.widths(_curves(word, pathway=word(2))), formats={"deepest": "{:+.0%}"})


def table_of_dominated(word: Word):
    columns = ("sample", "dominance", "predicted_av", "predicted_a", "predicted_v", "answer")
    return charts.table(pd.DataFrame({name: [word(k), word(k + 1)] for k, name in enumerate(columns)}).head(6))


def table_of_effects(word: Word):
    row = {"token_set": "All", "one_in": 0, "dominance": "audio", "ie_clean": 0.5, "ie_corrupt": 0.4, "tokens": 9}
    rows = pd.DataFrame([{"sample": word(k), **row} for k in range(2)])
    return charts.table(hubs.readable(hubs.effects(rows, hubs.TABLE_1)))


def dots_of_changes(word: Word):
    moved = pd.DataFrame([{"task": word(0), "category": word(k), "config": "Video", **INTERVAL} for k in (1, 2)])
    moved["label"] = moved["task"] + ": " + moved["category"]
    rows = moved.rename(columns={"config": "group", "mean": "value"})
    words = {"caption": "Changes.", "description": descriptions.changes(moved)}
    return charts.dot_plot(rows, title="change", **words)


def described(word: Word):
    curves = _curves(word, pathway="Video↛Last", dominance="audio", token_set="All", series="av", level=0.5)
    said = (
        descriptions.pathways(curves, pathways=["Video↛Last"]),
        descriptions.shares_of(curves, name="dominance"),
        descriptions.by_level(curves),
        descriptions.peaks(curves),
    )
    return charts.picture(Image.new("RGB", (2, 2)), caption="Said.", description=" ".join(said))


def scores(word: Word):
    row = {"modality": "video", "position": 1, "offset": 0, "score": 0.2, "global_2": "unimodal"}
    rows = pd.DataFrame([{"sample": word(k), **row} for k in range(2)])
    return charts.leanings(sink_tables.scores(rows, one_in=2), **_words(word, 2))


CHARTS = (
    *(attention_maps, picture, clip, dimension_sizes, dominance_dots, dominance_map, dot_plot, explorer, flow_map),
    *(knockout_curves, layer_curves, share_curves, leanings, phi_map, ratios, sink_drift, spread, timeline),
    *(token_norms, training_curves, work_map, nothing, caveat, dots_of_changes, described, scores),
)
TABLES = (
    *(any_table, table_of_counts, table_of_left_out, table_of_verdicts, table_of_rules, conclusion),
    *(table_of_questions, table_of_tasks, table_of_orders, table_of_widths, table_of_dominated, table_of_effects),
)
MAKERS = {maker.__name__: maker for pair in zip(CHARTS, TABLES * 3, strict=False) for maker in pair}
"""Name -> maker; charts and tables by turns."""
