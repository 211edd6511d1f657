"""The authors' released files: histories, results and effects, as tables of this project."""

from __future__ import annotations

import inspect
import json

import numpy as np
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
from avsink.instruments.sinks import Sinks, modality_dominance, split
from avsink.instruments.tracing import token_sets
from avsink.papers.hubs.released import TOKEN_SETS, effects, histories, results
from avsink.papers.hubs.released_items import items


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return released(tmp_path_factory.mktemp("hubs"))


def test_a_history_is_a_row_for_each_token_and_layer(root):
    found = histories(root / "exp")
    table = found.table
    assert not found.problems and len(found.files) == 2 and len(table) == 2 * 3 * 4
    assert set(table["sample"]) == set(STEMS[:2]) and set(table["case"]) == {"people"} and set(table["one_in"]) == {2}
    for stem in STEMS[:2]:
        for rank, (token, scores) in enumerate(history().items()):
            own = table[(table["sample"] == stem) & (table["token"] == int(token))]
            assert own["layer"].tolist() == [0, 1, 2, 3] and set(own["rank"]) == {rank}
            for name in ("v_score", "a_score", "mds"):
                assert own[name].tolist() == scores[name]


def test_their_scores_are_those_of_our_formula_and_split_alike(root):
    """MDS by `modality_dominance`, and the halves of `split`, computed from their table as the paper says."""
    table = histories(root / "exp").table
    video, audio = (torch.tensor(table[name].to_numpy().copy()) for name in ("v_score", "a_score"))
    assert np.allclose(modality_dominance(video, audio).numpy(), table["mds"])
    own = table[table["sample"] == STEMS[0]]
    wide = own.pivot(index="layer", columns="token", values="mds")  # layers x tokens, in the order of positions
    mds = torch.full((len(wide), int(wide.columns.max()) + 1), float("nan"), dtype=torch.double)
    mds[:, wide.columns.to_list()] = torch.tensor(wide.to_numpy().copy())
    sinks = Sinks(phi=torch.zeros_like(mds), flags=torch.zeros_like(mds, dtype=torch.bool), mds=mds)
    halves = split(torch.tensor(sorted(wide.columns)), sinks, modality="video")
    by_mean = own.groupby("token")["mds"].mean().sort_values(ascending=False).index.tolist()
    assert halves.unimodal.tolist() == by_mean[:1] and halves.crossmodal.tolist() == by_mean[-1:]


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
    kept = found.table.groupby("sample", observed=True)["token"].unique().map(list).to_dict()
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
            own = table[(table["sample"] == STEMS[k]) & (table["condition"] == condition)].set_index("prediction_of")
            line = result_line(k, condition)
            for of in ("av", "v", "a"):
                assert (own["letter"][of], own["probability"][of]) == (line[of], line[f"{of}_prob"])
            assert set(own["predicted"]) == {line["text_output"]} and set(own["label"]) == {"K"}
            assert set(own["case"]) == {"people"} and set(own["label_name"]) == {choices(k)["K"]}


def test_dominance_of_their_predictions_by_our_rule(root):
    table = results(root / "exp/causal_tracing/step1").table
    letters = table[table["condition"] == "av"].pivot(index="sample", columns="prediction_of", values="letter")
    assert {dominant(*letters.loc[stem, ["av", "a", "v"]]) for stem in letters.index} == {"audio"}
    listed = items(root / "json_files/causal_tracing/step1").table
    said = [dominant(row.predicted_av, row.predicted_a, row.predicted_v) for row in listed.itertuples()]
    assert said == ["audio"] * 8


def test_effects_are_those_of_the_papers_formulas(root):
    found = effects(root / "exp/causal_tracing/step2")
    table = found.table
    assert not found.problems and len(table) == 9
    assert table.groupby("token_set")["one_in"].unique().map(list).to_dict() == {
        "All": [0],
        "Cross-modal": [2],
        "Random": [3],
    }
    for _, row in table.iterrows():
        assert row["ie_clean"] == pytest.approx(0.5 - 0.2) and row["ie_corrupt"] == pytest.approx(0.6 - 0.45)
        assert (row["o_clean"], row["o_corrupt"], row["o_restored"], row["patched"]) == ("K", "R", "C.", 56)
        assert (row["p_clean_clean"], row["p_clean_corrupt"]) == (0.9, 0.05)
    assert set(table["sample"]) == set(STEMS[:3]) and set(table["case"]) == {"people"}
    ours = inspect.getsource(token_sets)
    assert all(f'"{name}"' in ours for name in TOKEN_SETS.values())  # the names are those of this project's tracing


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"av_prob": 1.5}, "its av_prob is 1.5; a probability is expected"),
        ({"av_prob": float("nan")}, "its av_prob is nan; a probability is expected"),
        ({"v_prob": None}, "its v_prob is None"),
        ({"a": 3}, "its a is 3; a text is expected"),
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
