"""How far the halves depend on the choices: against plain sets, and against `tracing.trace` under each choice."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from formulas import hubs

import avsink
from avsink.instruments import dominance, sinks, tracing
from avsink.instruments.sink_halves import Sinks
from avsink.papers.hubs import robustness
from avsink.results.fingerprints import arguments

EXPECTED = {  # variant -> (global sinks, by, whether unread tokens are left out)
    "as table 2": ("phi", "halves", False),
    "unread tokens: neither": ("phi", "halves", True),
    "by the sign of the MDS": ("phi", "sign", False),
    "ties as the authors'": ("authors", "halves", False),
}


@pytest.mark.parametrize("seed", range(12))
def test_the_halves_of_every_variant_and_what_moved(seed):
    draw = torch.Generator().manual_seed(seed)
    layers, tokens = 4, 15
    phi = torch.randint(1, 5, (layers, tokens), generator=draw).float()
    flags = torch.rand(layers, tokens, generator=draw) < [0.1, 0.5, 0.9][seed % 3]
    mds = torch.randint(-2, 3, (layers, tokens), generator=draw).float() / 2
    unread = torch.arange(tokens) >= tokens - 4
    seen = Sinks(phi=phi, flags=flags, mds=mds, unread=unread)
    among = torch.randperm(tokens, generator=draw)[:9].sort().values
    score = [hubs.mean(column) for column in mds.T.tolist()]
    for n, modality in ((2, "video"), (3, "audio")):
        table, found = robustness.compare(seen, among, modality=modality, one_in=n)
        right = {}
        for name, (ties, by, strict) in EXPECTED.items():
            ranked = (
                hubs.counted(flags.tolist(), one_in=n)
                if ties == "authors"
                else hubs.global_sinks(flags.tolist(), phi.tolist(), one_in=n)
            )
            own = {token: score[token] for token in ranked if token in among}
            left_out = set(unread.nonzero()[:, 0].tolist()) if strict else None
            right[name] = hubs.halves(own, modality=modality, by=by, unread=left_out)
            halves = found[name]
            assert (halves.unimodal.tolist(), halves.crossmodal.tolist(), halves.neither.tolist()) == right[name]
        for row in table.itertuples():
            uni, cross, neither = map(set, right[row.variant])
            assert (row.unimodal, row.crossmodal, row.neither) == (len(uni), len(cross), len(neither))
            assert (row.sinks, row.modality, row.one_in) == (len(uni | cross | neither), modality, n)
            first, second, _ = map(set, right["as table 2"])
            moved = len(first - uni) + len(second - cross)
            whole = len(first | second)
            assert row.moved == pytest.approx(moved / whole if whole else float("nan"), nan_ok=True)


def test_effects_of_every_variant_are_those_of_tracing_under_its_choices(tiny_omni):
    samples = avsink.load_samples("toyworld", tasks=["sounding object"], n_samples=24, seed=3)
    kinds = ((sample, dominance.classify(tiny_omni, sample)["dominance"].item()) for sample in samples)
    sample, kind = next(pair for pair in kinds if pair[1] in dominance.DOMINATED)
    rows = robustness.halves(tiny_omni, sample, dominance=kind, one_in=[2, 4])
    assert len(rows) == 4 * 2 * 2 and set(rows["sample"]) == {sample.id} and set(rows["dominance"]) == {kind}
    other = rows["modality"] == kind
    effects = [name for name in rows if name.startswith("ie_")]
    assert len(effects) == 4 and rows.loc[other, effects].isna().all(axis=None)
    distinct = set()
    for name, choices in robustness.VARIANTS.items():
        traced = tracing.trace(tiny_omni, sample, dominance=kind, one_in=[2, 4], draws=0, **choices)
        traced = traced.set_index(["token_set", "one_in"])
        for row in rows[~other & (rows["variant"] == name)].itertuples():
            for half, own in (("unimodal", "Unimodal"), ("crossmodal", "Cross-modal")):
                expected = traced.loc[(own, row.one_in)]
                assert getattr(row, half) == expected["tokens"]
                for value in ("ie_clean", "ie_corrupt"):
                    assert getattr(row, f"{value}_{half}") == pytest.approx(expected[value], abs=1e-6)
            distinct.add(round(row.ie_clean_crossmodal, 4))
    assert len(distinct) > 1  # the choices matter here


def rows_of(n: int) -> pd.DataFrame:
    """Two samples that restore video, one that restores audio; N = 2 and 3 are alike, N = 4 has one sink fewer."""
    rows = []
    for name, one_in, (sample, restored) in (
        (name, one_in, pair)
        for name in list(robustness.VARIANTS)[:n]
        for one_in in (2, 3, 4)
        for pair in (("s1", "video"), ("s2", "video"), ("s3", "audio"))
    ):
        effect = {"s1": 0.2, "s2": 0.4, "s3": 0.1}[sample]
        fewer = int(one_in == 4)
        sizes = {"sinks": 5 - fewer, "unimodal": 2, "crossmodal": 3 - fewer, "neither": 0, "moved": 0.5}
        facts = {"sample": sample, "variant": name, "modality": "video", "one_in": one_in, **sizes}
        for value in ("ie_clean", "ie_corrupt"):
            there = restored == "video"
            facts |= {f"{value}_unimodal": 0.1 if there else np.nan, f"{value}_crossmodal": effect if there else np.nan}
        rows.append(facts)
    return pd.DataFrame(rows)


def test_the_table_averages_paired_differences():
    table = robustness.table(rows_of(2))
    assert len(table) == 2 * 3 and set(table["samples"]) == {3} and set(table["n"]) == {2}
    row = table.iloc[0]
    assert (row["ie_clean_unimodal"], row["ie_clean_crossmodal"]) == pytest.approx((0.1, 0.3))
    assert row["ie_clean_more"] == pytest.approx(0.2)
    assert row["ie_clean_more_low"] == pytest.approx(0.1) and row["ie_clean_more_high"] == pytest.approx(0.3)
    counts = robustness.table(rows_of(1)[["sample", *robustness.KEYS, *robustness.SIZES, "moved"]])
    assert counts["sinks"].tolist() == [5, 5, 4] and "n" not in counts
    assert robustness.table(pd.DataFrame()).empty and robustness.readable(robustness.table(pd.DataFrame())).empty


def test_a_page_shows_alike_numbers_of_several_n_once():
    page = robustness.readable(robustness.table(rows_of(2)))
    assert page["N"].tolist() == ["2, 3", "4"] * 2
    assert page["unimodal + cross-modal + neither"].tolist() == ["2.0 + 3.0 + 0.0", "2.0 + 2.0 + 0.0"] * 2
    assert set(page["moved"]) == {"50.0%"} and set(page["IE_clean, unimodal / cross-modal"]) == {"10.0 / 30.0"}
    assert page["IE_corrupt, cross-modal − unimodal [95 %]"][0].split() == ["20.0", "[10.0,", "30.0]"]


@pytest.mark.parametrize("instrument", [tracing.trace, tracing.trace_by_layer, sinks.by_layer])
def test_rows_are_kept_under_their_choices(instrument):
    """The settings are a part of the key of the result store, those by default too."""
    given = {"k": 3, "one_in": 2} if instrument is tracing.trace_by_layer else {}
    assert arguments(instrument, given) == arguments(
        instrument, {**given, "ties": "phi", "by": "halves", "unread": "zero"}
    )
    for choice in ({"ties": "authors"}, {"by": "sign"}, {"unread": "neither"}):
        assert choice.items() <= arguments(instrument, given | choice).items()
