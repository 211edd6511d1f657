"""Released histories as sinks: where the media are, halves by every rule, layers and ties, against plain loops."""

from __future__ import annotations

import math
import random

import pandas as pd
import pytest
import torch
from released_clone import LAYERS, clone, made, restored

from avsink.papers.hubs import released, released_sinks, sink_tables
from avsink.papers.hubs.released_names import DOMINANCE


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("clone")


@pytest.fixture(scope="module")
def histories(root):
    return clone(root)


@pytest.fixture(scope="module")
def clips(root, histories):
    found, problems = released_sinks.clips(released.histories(root).table)
    assert not problems and {clip.sample for clip in found} == set(histories)
    return found


def mean(history, token):
    return sum(history.scores[token]["mds"]) / LAYERS


@pytest.mark.parametrize("grid", [4, 9, 30, 144])
def test_the_places_of_media_follow_from_the_order_of_the_file(grid):
    history = made(7, grid=grid, chunks=5)
    found = released_sinks.layout(history.order)
    places = found.of(torch.tensor(history.order).numpy())
    assert found.grid == grid and set(places["size"]) == {grid, 50}
    assert list(zip(places["modality"], places["part"], places["offset"], strict=True)) == [
        history.places[token] for token in history.order
    ]


def test_an_order_that_no_layout_explains_is_refused(root, histories):
    order = made(7).order
    mixed = random.Random(0).sample(order, len(order))
    with pytest.raises(ValueError, match="should put its video tokens before its audio tokens; none does"):
        released_sinks.layout(mixed)
    with pytest.raises(ValueError, match="before its audio tokens; several do"):
        released_sinks.layout([16, 17, 130])
    table = released.histories(root).table
    worse = table.copy()
    worse["rank"] = worse["rank"].where(worse["sample"] != table["sample"].iloc[0], -worse["rank"])  # audio first
    shorter = worse[~((worse["sample"] == table["sample"].iloc[-1]) & (worse["rank"] == 3) & (worse["layer"] == 1))]
    found, problems = released_sinks.clips(shorter)
    assert len(found) == 2 and [problem.id for problem in problems] == [table["sample"].iloc[i] for i in (0, -1)]
    assert "different numbers of layers" in problems[1].reason


def test_the_halves_are_those_of_the_authors_by_the_default_rule(clips, histories):
    for clip in clips:
        table = released_sinks.halves(clip).set_index(["modality", "rule"])
        for modality in ("video", "audio"):
            theirs = restored(histories[clip.sample], modality)
            assert released_sinks.by_their_code(clip, modality).crossmodal.tolist() == theirs
            kinds = sink_kinds(clip, modality)
            assert sorted(token for token, kind in kinds.items() if kind == "cross-modal") == theirs
            assert table.loc[(modality, "authors"), "moved"] == 0
            assert table.loc[(modality, "default"), "cross-modal"] == len(theirs)
        assert set(table["dominance"]) == {DOMINANCE[clip.case]}


def sink_kinds(clip, modality):
    rows = released_sinks.rows(clip).drop_duplicates("position")
    own = rows[rows["modality"] == modality]
    return dict(zip(own["position"], own["global_2"], strict=True))


def test_every_rule_by_a_plain_count(clips, histories):
    for clip in clips:
        history = histories[clip.sample]
        table = released_sinks.halves(clip).set_index(["modality", "rule"])
        ends = [max(t for t, place in history.places.items() if place[0] == m) for m in ("video", "audio")]
        for modality, sign in (("video", 1), ("audio", -1)):
            tokens = sorted(history.listed(modality))
            default = sink_kinds(clip, modality)
            read = sorted((t for t in tokens if t < min(ends)), key=lambda t: -sign * mean(history, t))
            half = len(read) // 2
            strict = dict.fromkeys(tokens, "neither")
            strict |= dict.fromkeys(read[:half], "unimodal") | dict.fromkeys(read[len(read) - half :], "cross-modal")
            by_sign = {t: "unimodal" if sign * mean(history, t) > 0 else "cross-modal" for t in tokens}
            by_sign |= {t: "neither" for t in tokens if mean(history, t) == 0}
            for rule, kinds in (('unread="neither"', strict), ('by="sign"', by_sign), ("default", default)):
                row = table.loc[(modality, rule)]
                for kind in ("unimodal", "cross-modal", "neither"):
                    assert row[kind] == sum(one == kind for one in kinds.values()), (rule, kind)
                assert row["moved"] == sum(kinds[t] != default[t] for t in tokens) and row["sinks"] == len(tokens)
                scores = [mean(history, t) for t in tokens if kinds[t] == "unimodal"]
                assert row["mds_unimodal"] == pytest.approx(sum(scores) / len(scores)) if scores else True
            assert table.loc[(modality, 'unread="neither"'), "neither"] > 0  # the last tokens are among the sinks


def test_layers_are_compared_by_the_halves_of_their_own_mds(clips, histories):
    clip = clips[0]
    history = histories[clip.sample]
    found = released_sinks.stability(clip).set_index(["modality", "layer", "other"])["overlap"]
    for modality, sign in (("video", 1), ("audio", -1)):
        tokens = sorted(history.listed(modality))

        def crossmodal(score, tokens=tokens, sign=sign):
            ranked = sorted(tokens, key=lambda t: -sign * score(t))
            return set(ranked[len(ranked) // 2 :])

        by_layer = [crossmodal(lambda t, layer=layer: history.scores[t]["mds"][layer]) for layer in range(LAYERS)]
        for layer in range(LAYERS):
            for other in range(layer, LAYERS):
                shared = len(by_layer[layer] & by_layer[other]) / len(by_layer[layer])
                assert found[modality, layer, other] == pytest.approx(shared)
            whole = crossmodal(lambda t: mean(history, t))
            assert found[modality, layer, -1] == pytest.approx(len(by_layer[layer] & whole) / len(by_layer[layer]))
    assert len(found) == 2 * (LAYERS * (LAYERS + 1) // 2 + LAYERS)


def test_rows_serve_the_tables_of_sinks(clips, histories):
    rows = pd.concat([released_sinks.rows(clip) for clip in clips], ignore_index=True)
    history = histories[clips[0].sample]
    own = rows[rows["sample"] == clips[0].sample].set_index(["position", "layer"])
    for token, scores in history.scores.items():
        for layer in range(LAYERS):
            row = own.loc[(token, layer)]
            assert (row["modality"], row["part"], row["offset"]) == history.places[token]
            assert row["mds"] == scores["mds"][layer] and row["score"] == pytest.approx(mean(history, token))
            for reader, name in (("video", "v_score"), ("audio", "a_score")):
                later = any(scores[name])
                paid = row[f"read_by_{reader}"]
                assert paid == scores[name][layer] if later else math.isnan(paid)
    means = sink_tables.mds_by_layer(rows, one_in=2).set_index(["kind", "layer", "category"])
    of_clips = []
    for clip in clips:
        own = histories[clip.sample]
        kept = [t for t, kind in sink_kinds(clip, "video").items() if kind == "cross-modal"]
        of_clips.append(sum(own.scores[t]["mds"][1] for t in kept) / len(kept))
    assert means.loc[("cross-modal", 1, "video"), "mean"] == pytest.approx(sum(of_clips) / len(of_clips))


def test_ties_by_hand():
    """Video 16 to 33, then audio 34 to 83: the last block, of both, was cut at 40, and the first one holds 20, 34."""
    order = [20, 30, 18, 22, 26, 34, 70, 36, 40]
    places = released_sinks.Layout(grid=9).of(torch.tensor(order).numpy())
    empty = torch.zeros(LAYERS, 84)
    sinks = released_sinks.Sinks(phi=empty, flags=empty.bool(), mds=empty)
    clip = released_sinks.Clip(
        sample="x",
        case="people",
        one_in=2,
        grid=9,
        places=places,
        sinks=sinks,
        read_by={"video": empty, "audio": empty},
    )
    found = released_sinks.ties(clip)
    before = len(set(range(16, 40)) - set(order))  # tokens that might have been in the block, and are not
    left_out = len(set(range(41, 84)) - set(order))
    others = left_out * 5 / (5 + before)
    assert found == {"sinks": 9, "tied": 5, "left_out": left_out, "moved": pytest.approx(5 * others / (5 + others))}
