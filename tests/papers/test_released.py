"""The authors' released files: histories, results and effects, as tables of this project."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pandas as pd
import pytest
import torch
from clip_sets import (
    STEMS,
    choices,
    effect_line,
    history,
    released,
    result_line,
    write_json,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avsink.datasets.files.sources import MissingData
from avsink.instruments.dominance import dominant
from avsink.instruments.sink_halves import modality_dominance
from avsink.instruments.tracing import token_sets
from avsink.papers.hubs import reported
from avsink.papers.hubs.released import effects, histories, results
from avsink.papers.hubs.released_items import items
from avsink.papers.hubs.released_names import TOKEN_SETS

IDS = [f"hubs/people/{stem}" for stem in STEMS]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return released(tmp_path_factory.mktemp("hubs"))


def test_a_history_is_a_row_for_each_token_and_layer(root):
    found = histories(root / "exp")
    table = found.table
    assert not found.problems and len(found.files) == 2 and len(table) == 2 * 3 * 4
    assert set(table["sample"]) == set(IDS[:2]) and set(table["case"]) == {"people"} and set(table["one_in"]) == {2}
    for stem in STEMS[:2]:
        for rank, (token, scores) in enumerate(history().items()):
            own = table[(table["clip"] == stem) & (table["token"] == int(token))]
            assert own["layer"].tolist() == [0, 1, 2, 3] and set(own["rank"]) == {rank}
            for name in ("v_score", "a_score", "mds"):
                assert own[name].tolist() == scores[name]


def test_their_scores_are_those_of_our_formula(root):
    table = histories(root / "exp").table
    video, audio = (torch.tensor(table[name].to_numpy().copy()) for name in ("v_score", "a_score"))
    assert np.allclose(modality_dominance(video, audio).numpy(), table["mds"])


def test_where_a_modality_no_longer_reads_mds_is_1_minus_1_or_0(tmp_path):
    """What the authors' formula gives there, which adds 1e-9 below, is what ours gives."""
    v, a = [0.0, 0.02, 0.0], [0.003, 0.0, 0.0]
    mds = [(x - y) / (x + y + 1e-9) for x, y in zip(v, a, strict=True)]
    path = write_json(tmp_path / f"{STEMS[0]}_history.json", {"20": {"mds": mds, "v_score": v, "a_score": a}})
    table = histories(path).table
    ours = modality_dominance(*(torch.tensor(table[name].to_numpy().copy()) for name in ("v_score", "a_score")))
    assert ours.tolist() == [-1, 1, 0] and np.allclose(table["mds"], ours, atol=1e-6) and table["mds"].iloc[2] == 0


def test_a_history_with_faults_keeps_its_good_tokens(tmp_path):
    good = history()["300"]
    broken = {
        "300": good,
        "x": good,
        "7": {**good, "mds": [0.1]},
        "8": {**good, "mds": ["a"] * 4},
        "9": [1],
        "12": good,
    }
    folder = tmp_path / "step1" / "people" / "av" / "history" / "k_divde_4"
    write_json(folder / f"{STEMS[0]}_history.json", broken)
    text = json.dumps({"5": good})
    (folder / f"{STEMS[1]}_history.json").write_text(text[:-1] + ", " + text[1:])  # the token 5 twice
    write_json(folder / f"{STEMS[2]}_history.json", [1])
    (folder / f"{STEMS[3]}_history.json").write_text("{")
    found = histories(tmp_path)
    assert set(found.table["one_in"]) == {4}
    kept = found.table.groupby("clip", observed=True)["token"].unique().map(list).to_dict()
    assert kept == {STEMS[0]: [300, 12], STEMS[1]: [5]}
    reasons = sorted(problem.reason for problem in found.problems)
    assert len(reasons) == 7 and all(problem.where for problem in found.problems)
    for said in (
        "'x' is not the position",
        "different lengths: 4, 4, 1",
        "are not lists of numbers",
        "has this token twice",
    ):
        assert any(said in reason for reason in reasons), said
    assert any("is not a JSON object of tokens" in reason for reason in reasons) and any(
        "is not JSON" in r for r in reasons
    )


def test_numbers_that_are_not_there_stay_so(tmp_path):
    """Without later tokens of both modalities a score may be NaN; JSON as Python writes it has a word for it."""
    scores = {"mds": [float("nan"), 0.5], "v_score": [float("nan"), 0.3], "a_score": [0.1, 0.1]}
    path = tmp_path / f"{STEMS[0]}_history.json"
    path.write_text(json.dumps({"4": scores}))
    table = histories(path).table
    assert table["mds"].isna().tolist() == [True, False] and table["one_in"].tolist() == [0, 0]


def test_results_are_a_row_for_each_predicted_letter(root):
    found = results(root / "exp/causal_tracing/step1")
    table = found.table
    assert not found.problems and len(found.files) == 2 and len(table) == 3 * 2 * 3
    for k in range(3):
        for condition in ("av", "v"):
            own = table[(table["sample"] == IDS[k]) & (table["condition"] == condition)].set_index("prediction_of")
            line = result_line(k, condition)
            for of in ("av", "v", "a"):
                assert (own["letter"][of], own["probability"][of]) == (line[of], line[f"{of}_prob"])
            assert set(own["predicted"]) == set(own["written"]) == {line["text_output"]} and set(own["label"]) == {"K"}
            assert set(own["case"]) == {"people"} and set(own["label_name"]) == {choices(k)["K"]}


def test_dominance_of_their_predictions_by_our_rule(root):
    table = results(root / "exp/causal_tracing/step1").table
    letters = table[table["condition"] == "av"].pivot(index="sample", columns="prediction_of", values="letter")
    assert {dominant(*letters.loc[id, ["av", "a", "v"]]) for id in letters.index} == {"audio"}
    listed = items(root / "json_files/causal_tracing/step1").table
    said = [dominant(row.predicted_av, row.predicted_a, row.predicted_v) for row in listed.itertuples()]
    assert said == ["audio"] * 8


def test_effects_are_those_of_the_papers_formulas(root):
    found = effects(root / "exp/causal_tracing/step2")
    table = found.table
    assert not found.problems and not found.lacking and len(table) == 9
    assert table.groupby("token_set")["one_in"].unique().map(list).to_dict() == {
        "All": [0],
        "Cross-modal": [2],
        "Random": [3],
    }
    for _, row in table.iterrows():
        assert row["ie_clean"] == pytest.approx(0.5 - 0.2) and row["ie_corrupt"] == pytest.approx(0.6 - 0.45)
        assert (row["o_clean"], row["o_corrupt"], row["o_restored"], row["written"]) == ("K", "R", "C", "C.")
        assert (row["patched"], row["tokens"]) == (56, 2)  # at 28 layers
        assert (row["p_clean_clean"], row["p_clean_corrupt"]) == (0.9, 0.05)
    assert set(table["sample"]) == set(IDS[:3]) and set(table["case"]) == {"people"}


def test_effects_fit_the_tables_of_the_paper(root):
    rows = effects(root / "exp/causal_tracing/step2").table
    table = reported.effects(rows, ("All", "Random (N=3)", "Cross-modal (N=2)")).set_index(["dominance", "restored"])
    assert (table.loc["audio", "n"] == 3).all() and (table.loc["audio", "tokens"] == 2).all()
    assert np.allclose(table.loc["audio", "ie_clean"], 0.3) and table.loc["video", "ie_clean"].isna().all()
    facts = inspect.getsource(token_sets)
    shared = [name for name in TOKEN_SETS.values() if f'"{name}"' in facts]  # the names of this project's tracing
    assert set(shared) == {"All", "Object", "Sink", "Random", "Unimodal", "Cross-modal"}


@pytest.mark.parametrize(
    ("folder", "token_set", "one_in"),
    [
        ("all", "All", 0),
        ("object", "Object", 0),
        ("object_high", "Object", 0),
        ("object_very_high", "Object (very high)", 0),
        *((f"sinkk_divide_{n}", "Sink", n) for n in (2, 3, 4)),
        ("random_sink_numk_divide_4", "Random", 4),
        ("random_sink_num_halfk_divide_2", "Random (half)", 2),
        ("object_random_sink_numk_divide_3", "Random (object)", 3),
        ("uni_modal_sinkk_divide_2", "Unimodal", 2),
        ("cross_modal_sinkk_divide_3", "Cross-modal", 3),
    ],
)
def test_every_folder_that_their_scripts_write_is_read(tmp_path, folder, token_set, one_in):
    place = tmp_path / "sports" / folder
    write_json(place / "before_attn_layer0_window50sports.json", [effect_line(0)], lines=True)
    found = effects(tmp_path)
    assert not found.problems and not found.lacking
    assert found.table[["token_set", "one_in", "dominance"]].values.tolist() == [[token_set, one_in, "video"]]


def test_states_restored_elsewhere_are_a_set_of_their_own(tmp_path):
    place = tmp_path / "people" / "sinkk_divide_2"
    for name in ("mlp_layer0_window50", "before_attn_layer3_window5", "before_attn_layer25_window50"):
        write_json(place / f"{name}people.json", [effect_line(0, layerlist_len=30)], lines=True)
    table = effects(tmp_path).table.set_index("token_set")["tokens"]
    assert table.drop("Sink, mlp").to_dict() == {"Sink, layers 3 to 7": 6, "Sink, layers 25 to 27": 10}
    assert pd.isna(table["Sink, mlp"])  # 30 states are not those of whole tokens at 28 layers
    (said,) = effects(tmp_path).lacking
    assert "people/sinkk_divide_2/mlp_layer0_window50people.json: how many tokens were restored is unknown" in said


def test_what_cannot_be_known_of_an_effect_is_said(tmp_path):
    write_json(tmp_path / "animal" / "all" / "f.json", [effect_line(0), effect_line(1)], lines=True)
    bare = {name: value for name, value in effect_line(2).items() if name != "layerlist_len"}
    write_json(tmp_path / "people" / "all" / "before_attn_layer0_window50.json", [bare], lines=True)
    found = effects(tmp_path)
    assert not found.problems and len(found.table) == 3 and found.table["tokens"].isna().all()
    assert found.table["dominance"].isna().tolist() == [True, True, False] and found.table["ie_clean"].notna().all()
    assert sorted(found.lacking) == [
        "animal/all/f.json: how many tokens were restored is unknown: the file's name does not say at which layers",
        "animal/all/f.json: which modality dominates its samples is unknown",
        "people/all/before_attn_layer0_window50.json: how many tokens were restored is unknown: there is no "
        "layerlist_len",
    ]


def test_the_whole_folder_is_read_without_files_of_other_kinds(root):
    for read, rows in ((results, 3 * 2 * 3), (effects, 9), (histories, 2 * 3 * 4)):
        assert len(read(root).table) == len(read(root / "exp").table) == rows
        assert not read(root).problems and not read(root / "exp").problems


def test_a_prediction_is_the_letter_that_the_text_begins_with(tmp_path):
    said = {"av": "C.", "v": "C\n\nHuman: what?\nA. a dog", "a": " I) a dog", "text_output": "C. people coughing"}
    free = ["A dog barks", "I think so", "", "The answer is C", "C people", "Z", "c."]
    lines = [
        result_line(0, "av", **said),
        *(result_line(0, "av", video=f"{k}.mp4", text_output=x) for k, x in enumerate(free)),
    ]
    table = results(write_json(tmp_path / "people" / "av" / "file.json", lines, lines=True)).table
    first = table[table["clip"] == STEMS[0]].set_index("prediction_of")
    assert first["letter"].to_dict() == {"av": "C", "v": "C", "a": "I"} and set(first["predicted"]) == {"C"}
    assert set(first["written"]) == {"C. people coughing"}
    others = table[table["clip"] != STEMS[0]].drop_duplicates("clip")
    assert others["written"].tolist() == free and others["predicted"].isna().all()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"av_prob": 1.5}, "its av_prob is 1.5; a probability is expected"),
        ({"av_prob": float("nan")}, "its av_prob is nan; a probability is expected"),
        ({"v_prob": None}, "its v_prob is None"),
        ({"a": 3}, "its a is 3; a text is expected"),
        ({"a": "The answer is C"}, "its a is 'The answer is C'; a letter from A to T is expected first"),
        ({"label": " "}, "its label is ' '; a text is expected"),
        ({"video": []}, r"its video is \[\]; a clip or its frames are expected"),
        ({"video": STEMS[0]}, "there is another row of this clip at file.json, line 1"),
    ],
)
def test_a_bad_line_is_a_problem_and_the_others_stay(tmp_path, changes, reason):
    lines = [result_line(0, "av"), result_line(1, "av", **changes), result_line(2, "av")]
    path = write_json(tmp_path / "sports" / "av" / "file.json", lines, lines=True)
    found = results(path)
    (problem,) = found.problems
    assert len(found.table) == 6 and problem.where == "file.json, line 2"
    with pytest.raises(ValueError, match=reason):
        raise ValueError(problem.reason)


def test_a_line_that_was_cut_off_and_a_list_of_lines(tmp_path):
    rows = [effect_line(0), effect_line(1)]
    path = write_json(tmp_path / "sports" / "object" / "cut.json", rows, lines=True)
    path.write_text(path.read_text()[:-30])
    found = effects(path)
    assert len(found.table) == 1 and found.table["token_set"].tolist() == ["Object"]
    assert "it is not JSON" in found.problems[0].reason and found.problems[0].where == "cut.json, line 2"
    listed = effects(write_json(tmp_path / "sports" / "sinkk_divide_4" / "list.json", [*rows, 3]))
    assert listed.table[["token_set", "one_in"]].values.tolist() == [["Sink", 4]] * 2
    assert listed.problems[0].reason == "it is not a JSON object" and listed.problems[0].where == "list.json, row 3"


def test_folders_that_say_nothing(tmp_path):
    step1 = write_json(tmp_path / "people" / "both" / "f.json", [result_line(0, "av")], lines=True)
    assert "its folder is 'both'; a condition is expected: av, v, a" in results(step1).problems[0].reason
    step2 = write_json(tmp_path / "people" / "best_sink" / "f.json", [effect_line(0)], lines=True)
    assert "its folder is 'best_sink'; a token set is expected: all, object" in effects(step2).problems[0].reason
    assert "has no row with av_prob: it is another kind of file" in results(step2).problems[0].reason
    bad = write_json(tmp_path / "people" / "all" / "f.json", [effect_line(0, layerlist_len="many")], lines=True)
    assert "its layerlist_len is 'many'; a whole number is expected" in effects(bad).problems[0].reason
    for read in (histories, results, effects, items):
        with pytest.raises(MissingData, match="there is no file or folder"):
            read(tmp_path / "none")
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(MissingData, match="no .*json in"):
            read(tmp_path / "empty")


VALUES = st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=3), st.just([]), st.just("K"), st.just(0.5))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(sorted(result_line(0, "av"))), VALUES), min_size=1, max_size=5))
def test_each_line_is_three_rows_or_a_problem(tmp_path, changes):
    lines = [result_line(k % 5, "av", **{name: value}) for k, (name, value) in enumerate(changes)]
    path = write_json(tmp_path / "people" / "av" / "any.json", [result_line(0, "av"), *lines], lines=True)
    found = results(path)
    assert len(found.table) == 3 * (1 + len(lines) - len(found.problems))
    assert found.table["probability"].between(0, 1).all()
