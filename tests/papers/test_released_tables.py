"""The tables of the page on released files: from a clone, as CSV, and as they are kept in data/papers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from clip_sets import write_json
from released_clone import LAYERS, clone, restored

from avsink.papers.hubs import claims, released_tables, reported
from avsink.papers.hubs.released_tables import NAMES, main, read, write
from avsink.papers.hubs.released_views import by_clip, from_to, leanings, turnover


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("made") / "crossmodal-hub"


@pytest.fixture(scope="module")
def histories(root):
    return clone(root)


@pytest.fixture(scope="module")
def tables(root, histories):
    found = read(root)
    assert not found.problems and not found.lacking
    return found


def test_written_tables_are_read_as_they_were_computed(tables, tmp_path, monkeypatch):
    """The page shows the same whether it is given a clone or nothing."""
    (tmp_path / "data/papers").mkdir(parents=True)
    write(tables, tmp_path / "data/papers")
    monkeypatch.setenv("AVSINK_HOME", str(tmp_path))
    kept = read()
    for name in NAMES:
        pd.testing.assert_frame_equal(getattr(kept, name), getattr(tables, name), check_exact=True)
    assert kept.source == released_tables.SOURCE


@pytest.mark.parametrize("name", NAMES)
def test_the_tables_at_hand_are_of_this_form(tables, name):
    made, kept = getattr(tables, name), getattr(read(), name)
    assert list(kept.columns) == list(made.columns) and len(kept)
    assert all(kept[column].dtype.kind == made[column].dtype.kind for column in made.columns)


def test_the_tables_at_hand_agree_with_each_other():
    """The halves of the files are those that were restored, by the number of tokens, and those of the default rule."""
    kept = read()
    assert (kept.items["dominated"] == kept.items["items"]).all()
    halves = kept.halves[kept.halves["modality"] != kept.halves["dominance"]].set_index(["sample", "rule"])
    theirs = halves.xs("authors", level="rule")
    assert (theirs["moved"] == 0).all() and len(theirs) == len(kept.effects) == len(kept.clips)
    assert (kept.effects.set_index("sample")["tokens"] == theirs["cross-modal"]).all()
    assert (kept.clips["video"] + kept.clips["audio"] == kept.clips["sinks"]).all()
    shown = turnover(kept.halves)
    assert (shown.loc[shown["rule"] == "default", "moved"] == 0).all() and (shown["most"] <= 1).all()


def test_numbers_by_plain_counts(tables, histories):
    assert tables.items[["list", "dominance", "items", "dominated", "correct", "twice"]].values.tolist() == [
        ["people_case_2", "audio", 2, 2, 2, 1],
        ["people_case_2_small", "audio", 1, 1, 1, 1],
        ["sports_case_1", "video", 2, 2, 2, 1],
        ["sports_case_1_small", "video", 1, 1, 1, 1],
    ]
    assert np.allclose(tables.items["again"], 0.04 / 4)  # one of four probabilities differs
    for sample, history in histories.items():
        row = tables.clips.set_index("sample").loc[sample]
        assert (row["video"], row["audio"]) == tuple(len(history.listed(one)) for one in ("video", "audio"))
        assert row["n_layers"] == LAYERS and row["one_in"] == 2
    shares = {"seconds": {}, "first": {}, "later": {}}
    for history in histories.values():
        size = {"video": 1 + max(p[2] for p in history.places.values() if p[0] == "video"), "audio": 50}
        for token, (modality, part, offset) in history.places.items():
            second = part if modality == "video" else 2 * part + offset // 25
            when = "later" if part else "first"
            tenth = (offset * 10 // size[modality] + 0.5) / 10
            for table, key in (("seconds", (modality, second)), (when, (modality, tenth))):
                own = shares[table].setdefault(key, {}).setdefault(id(history), [])
                own.append(token in history.scores)
    table = tables.seconds.set_index(["modality", "second"])["mean"]
    within = tables.within.set_index(["when", "modality", "place"])["mean"]
    for key, own in shares["seconds"].items():
        assert table[key] == pytest.approx(np.mean([np.mean(flags) for flags in own.values()]), abs=1e-6)
    for when in ("first", "later"):
        for key, own in shares[when].items():  # grids of 9 tokens have none in one of the tenths
            assert within[(when, *key)] == pytest.approx(np.mean([np.mean(flags) for flags in own.values()]), abs=1e-6)


def test_attention_leaves_out_tokens_that_nobody_of_the_reader_comes_after(tables, histories):
    found = tables.attention.set_index(["modality", "reader", "layer"])["mean"]
    of_clips = []
    for history in histories.values():
        paid = [history.scores[t]["v_score"] for t in history.listed("audio")]
        of_clips.append(np.mean([scores[2] for scores in paid if any(scores)]))
    assert found["audio", "video", 2] == pytest.approx(np.mean(of_clips), abs=1e-6)


def test_effects_serve_the_tables_of_the_paper(tables, histories):
    found = reported.effects(tables.effects, ("Cross-modal (N=2)",)).set_index("dominance")
    for dominance, other, case in (("audio", "video", "people"), ("video", "audio", "sports")):
        own = {id: history for id, history in histories.items() if f"/{case}/" in id}
        assert found.loc[dominance, "n"] == len(own)
        assert found.loc[dominance, "tokens"] == np.mean([len(restored(one, other)) for one in own.values()])
    assert found.loc["audio", "ie_clean"] == pytest.approx(0.5 + 0.01 / 2 - 0.2)
    assert found.loc["video", "ie_clean"] == pytest.approx(0.5 + 0.01 * 2.5 - 0.2)


def test_views_by_plain_means(tables):
    halves = tables.halves
    shown = turnover(halves).set_index(["sinks of", "rule"])
    for (modality, rule), own in halves.groupby(["modality", "rule"]):
        shares = [row.moved / row.sinks for row in own.itertuples()]
        row = shown.loc[(modality, rule)]
        assert row[["moved", "least", "most", "n"]].tolist() == pytest.approx(
            [sum(shares) / len(shares), min(shares), max(shares), len(shares)]
        )
        assert row["cross-modal"] == pytest.approx(own["cross-modal"].mean())
        assert row["cross-modal MDS"] == pytest.approx(own["mds_crossmodal"].mean(), nan_ok=True)
    rows = leanings(halves, one_in=2)
    for kind, name in (("unimodal", "mds_unimodal"), ("cross-modal", "mds_crossmodal")):
        found = claims.leaning(rows, kind, "audio", to_own=True)
        own = halves[(halves["rule"] == "default") & (halves["modality"] == "audio")].set_index("sample")[name]
        assert found.to_dict() == pytest.approx((-own).to_dict())
    points = by_clip(tables.effects)
    assert len(points) == 2 * len(tables.effects) and set(points["group"]) == {"IE_clean", "IE_corrupt"}
    values = points[points["group"] == "IE_clean"].groupby(points["label"].str.split(":").str[0])["value"]
    assert all(own.is_monotonic_decreasing for _, own in values)
    assert set(points["value"]) == set(tables.effects["ie_clean"]) | set(tables.effects["ie_corrupt"])


def test_ranges_in_words():
    curves = pd.DataFrame({"kind": ["a"] * 3 + ["b"], "layer": [2, 0, 1, 0], "mean": [0.125, 0.5, 0.75, 1.0]})
    assert from_to(curves, by="kind", x="layer") == (
        "Means. a: 0.5 at layer 0, 0.125 at layer 2, most 0.75 at layer 1; b: 1 at layer 0, 1 at layer 0, most 1 at "
        "layer 0."
    )
    assert from_to(curves[:0], by=["kind"], x="layer") == "Nothing was measured."


def test_as_a_command(root, histories, tmp_path, monkeypatch, capsys):
    assert main([str(root), "--write", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"hubs_released_{name}.csv" for name in NAMES)
    assert "4 histories, 4 effects" in capsys.readouterr().out
    assert main([str(root), "--check"]) == 1  # the tables at hand are of the authors' clone
    assert "are not of this clone: items, clips" in capsys.readouterr().err
    (tmp_path / "data").mkdir()
    (tmp_path / "data/papers").symlink_to(tmp_path)
    monkeypatch.setenv("AVSINK_HOME", str(tmp_path))
    assert main([str(root), "--check"]) == 0
    assert main([str(tmp_path / "none")]) == 1 and "there is no file or folder" in capsys.readouterr().err


def test_what_cannot_be_read_is_listed(tmp_path, capsys):
    clone(tmp_path)
    stem = next(tmp_path.rglob("*_history.json"))
    write_json(stem, {"x": {}})
    assert main([str(tmp_path)]) == 1
    assert "cannot be read: " in (said := capsys.readouterr().out) and "'x' is not the position of a token" in said


@pytest.mark.parametrize(
    ("content", "reason"),
    [({}, "has no tokens"), ([], "is not a JSON object of tokens"), ({"x": {}}, "'x' is not the position of a token")],
)
def test_a_clone_without_a_history_that_can_be_used(tmp_path, capsys, content, reason):
    clone(tmp_path)
    histories = sorted(tmp_path.rglob("*_history.json"))
    for path in histories:
        write_json(path, content)
    assert main([str(tmp_path)]) == 1
    first, *problems = capsys.readouterr().err.splitlines()
    assert first == f"no history in {tmp_path} can be used:" and len(problems) == len(histories)
    assert all(reason in problem for problem in problems)


def test_problems_of_many_histories_are_cut_short(tmp_path, capsys):
    clone(tmp_path)
    for path in tmp_path.rglob("*_history.json"):
        write_json(path, {f"x{k}": {} for k in range(30)})
    assert main([str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 22 and lines[-1].strip() == "and 100 more"
