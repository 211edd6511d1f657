"""The tables of Hubs, beside effects whose means are known."""

import re

import numpy as np
import pandas as pd
import pytest

from avsink import resources
from avsink.charts import descriptions
from avsink.papers.hubs import claims, reported
from avsink.papers.hubs.reported import BESIDE, TABLE_1, TABLE_2, effects, models, readable, shares
from avsink.results.verdicts import judge

SETS = [("All", 0, 0.5), *(("Sink", n, 0.4) for n in (2, 3, 4)), *(("Random", n, 0.1) for n in (2, 3, 4))]
SETS += [(name, n, mean) for n in (2, 3, 4) for name, mean in (("Unimodal", 0.05), ("Cross-modal", 0.35))]


@pytest.fixture
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "sample": f"s{i}",
            "dominance": dominance,
            "token_set": name,
            "one_in": one_in,
            "draw": draw,
            "ie_clean": mean + 0.02 * rng.normal(),
            "ie_corrupt": mean / 2,
            "tokens": 6 if one_in else 36,
        }
        for dominance in ("audio", "video")
        for i in range(20)
        for name, one_in, mean in SETS
        for draw in range(5 if name == "Random" else 1)
    )


def test_every_number_of_the_papers_tables_is_there():
    own = pd.concat(
        [
            pd.read_csv(resources.data("papers", f"hubs_indirect_effect_{name}.csv"))
            for name in ("by_token_set", "unimodal_vs_crossmodal")
        ]
    )
    assert models() == list(dict.fromkeys(own["model"]))
    shown = {
        model: pd.concat([effects(pd.DataFrame(), sets, beside=model) for sets in (TABLE_1, TABLE_2)])
        for model in models()
    }
    for row in own.itertuples():
        table = shown[row.model].set_index(["dominance", "restored"])
        found = table.loc[(row.dominance, row.token_set.replace("Crossmodal", "Cross-modal"))]
        found = found.iloc[0] if isinstance(found, pd.DataFrame) else found
        assert 100 * found["reported_ie_clean"] == pytest.approx(row.ie_clean)
        assert 100 * found["reported_ie_corrupt"] == pytest.approx(row.ie_corrupt)
        assert found["reported_tokens"] == row.n_tokens and pd.isna(found["ie_clean"])


def test_measured_stands_beside_reported(rows):
    table = effects(rows, TABLE_1).set_index(["dominance", "restored"])
    assert table.loc[("audio", "Sink (N=2)"), "ie_clean"] == pytest.approx(0.4, abs=0.02)
    assert table.loc[("audio", "Sink (N=2)"), "reported_ie_clean"] == pytest.approx(0.0624)
    assert table.loc[("video", "Random (N=4)"), "n"] == 20 and table.loc[("video", "Random (N=4)"), "tokens"] == 6
    assert pd.isna(table.loc[("video", "Object"), "ie_clean"])  # nothing is known of objects in these rows
    page = readable(table.reset_index())
    assert BESIDE in models() and page["IE_clean, reported"][0] == "9.6"
    assert page["tokens, reported / here"][0] == "1,440 / 36.0" and "\N{NO-BREAK SPACE}[" in page["IE_clean [95 %]"][0]
    said = descriptions.effects(effects(rows, TABLE_1))
    assert "Sink (N=2) 40." in said or "Sink (N=2) 39." in said


def test_shares_are_of_what_all_tokens_bring_back(rows):
    table = shares(rows, TABLE_2).set_index(["label", "group"])
    assert table.loc[("audio-dominant, video tokens: Cross-modal (N=2)", "this run"), "value"] == pytest.approx(
        0.7, abs=0.05
    )
    paper = table.loc[("audio-dominant, video tokens: Cross-modal (N=2)", BESIDE)]
    assert paper["value"] == pytest.approx(5.58 / 9.61) and pd.isna(paper["low"])
    # where all tokens bring back less than a point, a share is a share of nothing
    assert ("video-dominant, audio tokens: Sink (N=2)", "video-SALMONN2+-3B") not in table.index
    nothing = shares(rows.assign(ie_clean=0.001), TABLE_2)
    assert "this run" not in set(nothing["group"]) and len(nothing)
    labels = list(dict.fromkeys(shares(rows, TABLE_1)["label"]))
    assert labels[0] == "audio-dominant, video tokens: Object"
    assert labels[-1] == "video-dominant, audio tokens: Random (N=4)"
    assert reported.LEAST == 0.01


def test_tables_say_whose_tokens_they_are(rows):
    """Of an audio-dominant sample, the tokens of the video are restored."""
    page = readable(effects(rows, TABLE_1))
    whose = dict(zip(page["samples"], page["restored"].str.split("\N{NO-BREAK SPACE}").str[0], strict=True))
    assert whose == {"audio-dominant": "video", "video-dominant": "audio"}
    assert set(reported.by_dominance(rows)["category"]) == {
        "audio-dominant, video tokens",
        "video-dominant, audio tokens",
    }


def test_equal_sets_are_told_once(rows):
    two = rows["one_in"] == 2
    same = pd.concat([rows[~rows["one_in"].isin((3, 4))], *(rows[two].assign(one_in=n) for n in (3, 4))])
    page = readable(effects(same, TABLE_2)).set_index(["samples", "restored"])
    found = page.loc[("audio-dominant", "video\N{NO-BREAK SPACE}tokens:\N{NO-BREAK SPACE}Sink\N{NO-BREAK SPACE}(N=3)")]
    assert found["IE_clean [95 %]"] == "as N=2" and found["IE_corrupt [95 %]"] == "as N=2"
    assert (page["IE_clean [95 %]"] == "as N=2").sum() == 2 * 2 * 3
    assert not (readable(effects(rows, TABLE_2))["IE_clean [95 %]"] == "as N=2").any()


def test_random_sets_of_one_size_are_one_row(rows):
    page = readable(effects(rows, TABLE_1))
    cells = dict(zip(zip(page["samples"], page["restored"], strict=True), page["IE_clean [95 %]"], strict=True))
    random = {key: cell for key, cell in cells.items() if "Random" in key[1]}
    assert len(random) == 6 and sum(cell == "as N=2" for cell in random.values()) == 4
    other = (rows["one_in"] == 3) & (rows["sample"] == "s7") & (rows["dominance"] == "audio")
    page = readable(effects(rows.assign(tokens=rows["tokens"].where(~other, 5)), TABLE_1))
    own = page[page["restored"].str.contains("Random")].set_index("samples")["IE_clean [95 %]"]
    assert [cell == "as N=2" for cell in own["audio-dominant"]] == [False, False, True]
    assert [cell == "as N=2" for cell in own["video-dominant"]] == [False, True, True]
    drawn = rows[(rows["token_set"] == "Random") & (rows["one_in"] == 2)].groupby("dominance")["ie_clean"].mean()
    points = shares(rows, TABLE_1)
    points = points[(points["group"] == "this run") & points["label"].str.contains("Random")]
    assert points.groupby(points["label"].str.split("-").str[0])["value"].nunique().to_dict() == {
        "audio": 1,
        "video": 1,
    }
    assert effects(rows, TABLE_1).set_index(["dominance", "restored"])["ie_clean"]["audio"]["Random (N=4)"] == (
        pytest.approx(drawn["audio"])
    )


def test_a_table_and_a_verdict_show_the_same_interval(rows):
    """Resamples of the same samples, in whatever order their names sort."""
    rng = np.random.default_rng(2)
    names = [f"{rng.integers(1000)}-{k}" for k in range(20)]
    own = rows.assign(
        sample=rows["dominance"] + rows["sample"].map({f"s{k}": name for k, name in enumerate(names)}),
        ie_clean=rows["ie_clean"] + rng.normal(0, 0.2, len(rows)),
    )
    page = readable(effects(own, TABLE_1))
    [found] = judge([claims.FINDING_1[0]], own)
    for kind in ("audio", "video"):
        [cell] = page[(page["samples"] == f"{kind}-dominant") & page["restored"].str.endswith("All")]["IE_clean [95 %]"]
        said = re.search(rf"{kind}-dominant, n = 20: IE_clean (\S+ \[\S+ \S+\])", found.because)[1]
        assert said.replace("+", "") == cell.replace("\N{NO-BREAK SPACE}", " ")


def test_nothing_is_shown_without_a_sign(rows):
    everything = effects(rows, TABLE_1).assign(ie_clean=-0.00002, ie_clean_low=-0.0004, ie_clean_high=0.0002)
    assert set(readable(everything)["IE_clean [95 %]"].str.replace("\N{NO-BREAK SPACE}", " ")) == {
        "0.0 [0.0, 0.0]",
        "as N=2",
    }
