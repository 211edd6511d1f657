"""The statements of *From Senses to Decisions*: judged on rows of which it is plain what they show."""

import ast

import nbformat
import numpy as np
import pandas as pd
import pytest
from notebook_forms import NOTEBOOKS

from avsink.instruments.attention_shares import FIRST, MASKS, SINKS, SINKS_BEFORE
from avsink.papers.flow import claims, printed, reported
from avsink.papers.tables import paper
from avsink.results.verdicts import judge

LAYERS = 8


def curve(pathway, depth, category, *, at=3, samples=20):
    rng = np.random.default_rng(at)
    rows = [
        (f"{category}{i}", category, pathway, layer, depth * (layer == at) + 0.01 * rng.standard_normal(), 0.5)
        for i in range(samples)
        for layer in range(LAYERS)
    ]
    return pd.DataFrame(rows, columns=["sample", "category", "pathway", "layer", "delta_p", "p_base"])


def judged(rules, rows, claim):
    (found,) = [verdict for verdict in judge(rules, rows) if verdict.claim.startswith(claim)]
    return found


SIGHT = ["Visual Recognition", "Speech Attributes", "Speaker Recognition"]  # section 4.3
BOTH = ["Speech Recognition", "Speaker Detection"]


def contributions(video, audio, categories):
    return pd.concat(
        [
            curve(pathway, depth, name)
            for name in categories
            for pathway, depth in (("Video↛Question", video), ("Audio↛Question", audio), ("Question↛Last", -0.9))
        ]
    )


@pytest.mark.parametrize(
    ("video", "audio", "word"),
    [(-0.8, -0.2, "supported"), (-0.2, -0.8, "not supported"), (-0.5, -0.5, "not supported")],
)
def test_tasks_that_sight_can_solve_draw_mainly_on_video(video, audio, word):
    rows = contributions(video, audio, SIGHT)
    assert judged(claims.FINDING_2_FIGURE_4, rows, "Each task draws mainly").verdict == word
    assert judged(claims.FINDING_2_FIGURE_4, rows, "… and on both").verdict == "not measured"
    heard = {"visual anchor → audio answer": (audio, video)}  # the toy world names the modality of the answer
    rows = pd.concat([contributions(*depths, [name]) for name, depths in heard.items()])
    assert judged(claims.FINDING_2_FIGURE_4, rows, "Each task draws mainly").verdict == word


def test_tasks_that_need_both_draw_on_both():
    for depths, word in (((-0.5, -0.4), "supported"), ((-0.5, 0.0), "not supported")):
        found = judged(claims.FINDING_2_FIGURE_4, contributions(*depths, BOTH), "… and on both")
        assert found.verdict == word


def test_almost_every_task_is_three_quarters_of_them():
    rows = pd.concat([curve("Cross-frame", -0.4 * (name != BOTH[0]), name) for name in (*SIGHT, *BOTH)])
    found = judged(claims.FINDING_2_FIGURE_3, rows, "Attention across frames")
    assert found.verdict == "supported" and "supported in 4 of 5 categories" in found.because
    fewer = pd.concat([curve("Cross-frame", -0.4 * (name in SIGHT), name) for name in (*SIGHT, *BOTH)])
    assert judged(claims.FINDING_2_FIGURE_3, fewer, "Attention across frames").verdict == "not supported"


def test_finding_3_is_about_the_average_over_tasks_and_its_appendix_about_each():
    """One of two panels lacks the pathway: the average drops, and the panels do not all agree."""
    rows = pd.concat([curve("Cross-candidate", depth, name) for name, depth in (("one", -0.9), ("two", 0.0))])
    assert judged(claims.FINDING_3_FIGURE_5, rows, "Candidates exchange").verdict == "supported"
    found = judged(claims.FINDING_3_FIGURE_13, rows, "What figure 5 shows")
    assert found.verdict == "not supported" and "Candidates exchange information among themselves (1)" in found.because


@pytest.mark.parametrize(
    ("at", "early", "late"), [(1, "supported", "not supported"), (6, "not supported", "supported")]
)
def test_early_and_late_are_bounds_of_the_depth(at, early, late):
    names = ("Cross-frame", "Audio↮Video", "Question↛Last")
    rows = pd.concat([curve(name, -0.5, "c", at=at) for name in names])
    assert judged(claims.FINDING_2_FIGURE_3, rows, "These interactions lie in early").verdict == early
    assert judged(claims.FINDING_2_FIGURE_4, rows, "It does so at late layers").verdict == late


def test_no_layer_is_middle_and_late():
    """At each of ten layers, of which one lies just on the bound between two thirds."""
    found = []
    for at in range(10):
        rng = np.random.default_rng(at)
        rows = pd.DataFrame(
            [
                (f"s{i}", "c", pathway, layer, -0.5 * (layer == at) + 0.01 * rng.standard_normal(), 0.5)
                for pathway in ("V+A↛Question", "Question↛Last")
                for i in range(12)
                for layer in range(10)
            ],
            columns=["sample", "category", "pathway", "layer", "delta_p", "p_base"],
        )
        names = ("They do so at middle", "It does so at late")
        found.append([judged(claims.FINDING_2_FIGURE_4, rows, name).verdict == "supported" for name in names])
    assert found == [[False, False]] * 3 + [[True, False]] * 4 + [[False, True]] * 3


def flow_2(**changed):
    """What the paper reports, in a task that needs sound and sight aligned: (depth, layer) of each pathway."""
    curves = {
        **{"Cross-frame": (-0.5, 1), "Cross-audio": (0.0, 1), "Audio↮Video": (-0.4, 2), "V+A↛Question": (-0.8, 4)},
        **{"Video↛Question": (-0.6, 4), "Audio↛Question": (-0.5, 4), "Question↛Last": (-0.9, 6)},
        **{name: (0.0, 6) for name in ("Video↛Last", "Audio↛Last", "V+A↛Last")},
        **changed,
    }
    return pd.concat([curve(name, depth, BOTH[0], at=at) for name, (depth, at) in curves.items()])


@pytest.mark.parametrize(
    ("changed", "claim", "word"),
    [
        ({}, "First within and between", "supported"),
        ({"Audio↮Video": (-0.4, 6)}, "First within and between", "not supported"),
        ({"Cross-frame": (-0.4, 4)}, "First within and between", "not supported"),
        ({"Cross-frame": (0.0, 4)}, "First within and between", "supported"),
        ({"V+A↛Question": (0.0, 4)}, "First within and between", "no control"),
        ({}, "Nothing goes from the media", "supported"),
        ({"Video↛Last": (-0.9, 6)}, "Nothing goes from the media", "not supported"),
        ({"Audio↛Last": (-0.9, 6)}, "Nothing goes from the media", "not supported"),
        ({"V+A↛Last": (-0.9, 6)}, "Nothing goes from the media", "not supported"),
    ],
)
def test_one_way_in_order(changed, claim, word):
    assert judged(claims.FINDING_2_FIGURE_4, flow_2(**changed), claim).verdict == word


def flow_3(**changed):
    """What the paper reports of interleaved inputs."""
    curves = {
        **{"Cross-candidate": (-0.5, 3), "Candidates↛Reference": (-0.6, 4), "Question↛Reference": (-0.5, 4)},
        **{"Reference↛Last": (-0.6, 6), "Candidates↛Question": (0.0, 3), "Candidates↛Last": (0.0, 6)},
        **{"Question↛Last": (0.0, 6), "Question↛CorrectOpt": (0.0, 4), "CorrectCand↛CorrectOpt": (-0.7, 4)},
        **{"IncorrectCand↛CorrectOpt": (-0.2, 4), "Reference↛CorrectOpt": (-0.2, 4), "CorrectOpt↛Last": (-0.8, 6)},
        **{"CorrectCand↛Last": (0.0, 6), "IncorrectCand↛Last": (0.0, 6), "IncorrectOpt↛Last": (0.4, 6)},
        **changed,
    }
    return pd.concat([curve(name, depth, "c", at=at) for name, (depth, at) in curves.items()])


@pytest.mark.parametrize(
    ("changed", "unsupported"),
    [
        ({}, {}),
        ({"IncorrectCand↛Last": (-0.9, 6)}, {"No candidate reaches the last token directly": "not supported"}),
        ({"CorrectCand↛Last": (-0.9, 6)}, {"No candidate reaches the last token directly": "not supported"}),
        (
            {"Cross-candidate": (-0.5, 4), "Candidates↛Reference": (-0.6, 3)},
            {"First among the candidates, then into the reference": "not supported"},
        ),
        (
            {"IncorrectCand↛CorrectOpt": (0.0, 4)},
            {"Wrong candidates and the reference contribute, too": "not supported"},
        ),
        ({"Reference↛CorrectOpt": (0.0, 4)}, {"Wrong candidates and the reference contribute, too": "not supported"}),
        ({"IncorrectCand↛CorrectOpt": (-0.3, 0)}, {"All this lies at middle layers": "not supported"}),
        ({"Reference↛CorrectOpt": (-0.3, 6)}, {"All this lies at middle layers": "not supported"}),
    ],
)
def test_two_paths_are_what_the_paper_says_of_each(changed, unsupported):
    found = judge(claims.FINDING_3, flow_3(**changed))
    assert {verdict.claim: verdict.verdict for verdict in found if verdict.verdict != "supported"} == unsupported


def shares(*, first, sinks, before=0.0, spike=6):
    """Rows of `allocation`: at the spike video gains 30 points, so many of them by first tokens and by sinks."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(20):
        for layer in range(LAYERS):
            on = 1.0 * (layer >= spike)
            noise = 0.01 * rng.standard_normal()
            parts = {
                "video": 0.1 + 0.3 * on,
                FIRST: first * on,
                SINKS: sinks * on,
                "system": 0.4,
                SINKS_BEFORE: before * on,
            }
            rows += [(f"s{i}", layer, group, share + noise) for group, share in parts.items()]
    return pd.DataFrame(rows, columns=["sample", "layer", "group", "share"])


def test_the_jump_is_made_by_sinks_only_if_they_are_sinks():
    """First tokens of frames that are no sinks make no jump by sinks; nor do sinks that were read as much before."""
    cases = [({"first": 0.28, "sinks": 0.0}, "not supported", "supported")]
    cases += [({"first": 0.0, "sinks": 0.28}, "supported", "not supported")]
    cases += [({"first": 0.28, "sinks": 0.28, "before": 0.25}, "not supported", "supported")]
    for given, by_sinks, by_first in cases:
        rows = {"allocation": shares(**given)}
        assert judged(claims.FINDING_1, rows, "The jump is made by sinks").verdict == by_sinks
        assert judged(claims.FINDING_1, rows, "It falls on few tokens").verdict == by_first


def test_where_the_spike_is_the_last_layer_two_masks_are_one():
    rows = pd.DataFrame(
        [(f"s{i}", mask, 1.0, 0.25, layers) for i in range(100) for mask in MASKS for layers in (1,)],
        columns=["sample", "mask", "correct", "chance", "layers"],
    )
    names = ["From that layer on", "Nor does hiding video from", "Nor does hiding video and audio"]
    words = [judged(claims.FINDING_1, {"masking": rows}, name).verdict for name in names]
    assert words == ["supported", "one layer", "supported"]
    words = [judged(claims.FINDING_1, {"masking": rows.assign(layers=2)}, name).verdict for name in names]
    assert words == ["supported"] * 3
    ends = {"allocation": shares(first=0.28, sinks=0.28, spike=7)}
    assert judged(claims.FINDING_1, ends, "It stays raised").verdict == "one layer"
    assert (
        judged(claims.FINDING_1, {"allocation": shares(first=0.28, sinks=0.28)}, "It stays raised").verdict
        == "supported"
    )


def prefills(*, kept=False, faster=0.8, samples=100):
    rng = np.random.default_rng(0)
    rows = []
    for i in range(samples):
        base = 10 + rng.random()
        for name in ("Baseline", "Discard Ques", "Discard Audio", "Discard Video", "Discard All"):
            whole = name == "Baseline" or kept
            ms = base if name == "Baseline" else base * faster
            rows.append((f"s{i}", "c", name, float(i % 10 > 0), 0.25, 100 if whole else 80, ms, 1.0 if whole else 0.8))
    columns = ["sample", "category", "config", "correct", "chance", "tokens", "prefill_ms", "arithmetic"]
    return pd.DataFrame(rows, columns=columns)


def test_table_4_is_about_time_too_and_about_tokens_that_go():
    for given, word in (({}, "supported"), ({"faster": 1.1}, "not supported"), ({"kept": True}, "nothing discarded")):
        found = judged(claims.FINDING_4_BESIDE, {"analysed": prefills(**given)}, "Discarding makes the prefill faster")
        assert found.verdict == word
    every = judge(claims.FINDING_4_CLIP, {"analysed": prefills()})
    assert [verdict.verdict for verdict in every] == ["supported"] * 4 + ["not measured"]
    kept = judge(claims.FINDING_4_CLIP, {"analysed": prefills(kept=True)})
    assert [verdict.verdict for verdict in kept[:4]] == ["nothing discarded"] * 4


def test_a_ratio_of_times_is_that_of_the_times_beside_it():
    """One stalled baseline made 13.2 against 9.4 ms look like 107.6 %: a mean of ratios, beside a ratio of means."""
    rows = prefills(faster=1.1)
    stalled = (rows["sample"] == "s0") & (rows["config"] == "Baseline")
    table = reported.latencies(rows.assign(prefill_ms=rows["prefill_ms"].where(~stalled, 900.0))).set_index("config")
    assert table.loc["Discard All", "measured"] == pytest.approx(
        table.loc["Discard All", "measured_ms"] / table.loc["Baseline", "measured_ms"]
    )
    assert table.loc["Discard All", "measured"] < 1 < table.loc["Discard All", "high"]
    assert (table["low"] <= table["measured"]).all()


def test_the_papers_numbers_are_held_to_the_same_bars():
    found = printed.outcomes()
    counts = {"video": len(MASKS) - 1 + 4 + 1 + 2, "interleaved": 4 + 1 + 2}
    assert found.groupby("input").size().to_dict() == counts and found["model"].nunique() == 1
    claimed = [rule.claim for rules in (claims.FINDING_1, claims.FINDING_4_CLIP) for rule in rules]
    claimed += [rule.claim for rules in (claims.FINDING_4_INTERLEAVED, claims.FINDING_4_BESIDE) for rule in rules]
    assert set(found["reported"]) <= set(claimed)
    table = paper("flow_table4_discarding")
    video = table[table["input"] == "video"].pivot(index="task", columns="config", values="accuracy")
    own = video.loc[["Speech Recognition", "Visual Recognition"]]
    change = float((own["Discard All"] - own["Baseline"]).mean())
    [row] = found[(found["input"] == "video") & found["reported"].str.startswith("Discard All")].itertuples()
    assert (
        row.printed.startswith(f"{change:+.2f} points against above −5".replace("-", "−"))
        and row.verdict == "supported"
    )


def test_a_number_of_the_paper_has_no_limit_of_ours_beside_it():
    """The card allows 144 tokens a frame; `here` is what a prompt of the run holds."""

    class Card:
        fps, max_frames, frame_tokens, image_tokens = 2.0, 128, (128, 144), (4, 576)

    table = reported.numbers(Card, window=3, first_layer=6, n_layers=8, frame=9, image=None).set_index("quantity")
    assert table.loc["visual tokens of a frame at most", ["reported", "here"]].tolist() == [144, 9]
    assert pd.isna(table.loc["visual tokens of an image at most", "here"])


def announced_and_judged(name):
    """The rules that a notebook shows before the numbers, and those that it applies, as they are written."""
    calls = {"rules_table": [], "judge": []}
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in calls:
                    calls[node.func.attr].append(ast.unparse(node.args[0]))
    return (sorted(calls[name]) for name in ("rules_table", "judge"))


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("flow_finding*.ipynb")), ids=lambda path: path.stem)
def test_what_is_announced_is_judged(path):
    announced, judged = announced_and_judged(path.stem)
    assert announced and announced == judged
