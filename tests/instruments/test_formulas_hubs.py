"""Dominance, indirect effects, sinks and their halves, against a plain decoder in float64 (tests/formulas/hubs.py)."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from formulas import decoder as plain
from formulas import hubs
from formulas.flow import letters, window
from formulas.prompts import CLIP, LETTERS, LOUD, asked, decoder, inputs_of, sample_of, where

from avsink.engine.observers import Norms
from avsink.instruments import dominance, sinks, tracing

N, LAYERS, DIMS = len(CLIP), 4, (LOUD, 40, 3)
VIDEO, AUDIO = (where(CLIP, lambda t, kind=kind: t.kind == kind) for kind in ("video", "audio"))
OTHER = {"audio": "video", "video": "audio"}
NAN = float("nan")
UNREAD = {p for p in range(N) if not (any(q > p for q in VIDEO) and any(q > p for q in AUDIO))}
CHOICES = (
    {},
    {"unread": "neither"},
    {"by": "sign"},
    {"by": "sign", "unread": "neither"},
    {"ties": "authors"},
)


def answers(model, seed: int) -> dict[str, tuple[plain.Pass, dict[str, float], str]]:
    """Of the passes av, a (picture muted) and v (sound muted): the pass, its letters, and its prediction."""
    found = {}
    for name, muted in (("av", ""), ("a", "video"), ("v", "audio")):
        one = plain.run(model, inputs_of(model, CLIP, seed=seed, muted=muted))
        said = letters(one.logits[-1].tolist(), LETTERS)
        found[name] = one, said, max(said, key=said.get)
    return found


SEEDS = {"audio": 4, "video": 0, "both": 1, "neither": 16}  # of prompts that are dominated so


@pytest.fixture(scope="module")
def cases():
    """Kind of dominance -> the seed of a prompt, and its three passes."""
    found = {kind: (seed, answers(decoder(), seed)) for kind, seed in SEEDS.items()}
    for kind, (_, passes) in found.items():
        assert hubs.dominance(*(passes[name][2] for name in ("av", "a", "v"))) == kind, "take another seed"
    return found


@pytest.fixture(scope="module", params=["audio", "video"])
def dominated(request, cases):
    """A decoder with a prompt that one modality dominates, its threshold in the middle of the prompt's φ."""
    seed, passes = cases[request.param]
    model = asked(decoder(), CLIP, seed=seed)
    phis = [[hubs.phi(x, DIMS) for x in rows.tolist()] for rows in passes["av"][0].inputs]
    ordered = sorted(phi for layer in phis for phi in layer)
    middle = len(ordered) * 6 // 10
    model.card = SimpleNamespace(name="m", sink_dims=DIMS, sink_tau=(ordered[middle] + ordered[middle + 1]) / 2)
    return model, request.param, passes, phis


def scores(clean: plain.Pass) -> list[float]:
    """The mean MDS over layers of each token."""
    return [
        hubs.mean(
            [
                hubs.mds(hubs.received(clean, layer, token, VIDEO), hubs.received(clean, layer, token, AUDIO))
                for layer in range(LAYERS)
            ]
        )
        for token in range(N)
    ]


def expected_global(flags, phis, *, one_in: int, among, ties: str = "phi") -> list[int]:
    """Global sinks among some tokens."""
    found = {"phi": hubs.global_sinks(flags, phis, one_in=one_in), "authors": hubs.counted(flags, one_in=one_in)}[ties]
    return [token for token in found if token in among]


def expected_halves(known, own, *, modality: str, by: str = "halves", unread: str = "zero"):
    """The halves of global sinks, by the mean MDS of each token."""
    strict = {"unread": UNREAD} if unread == "neither" else {}
    return hubs.halves({token: known[token] for token in own}, modality=modality, by=by, **strict)


def expected_sets(
    kind: str, passes, phis, tau: float, *, ties: str = "phi", **choices
) -> dict[tuple[str, int], list[int]]:
    """The sets of tokens that are not drawn at random."""
    among = VIDEO if kind == "audio" else AUDIO
    flags, known = [[phi > tau for phi in layer] for layer in phis], scores(passes["av"][0])
    found = {("All", 0): among}
    for n in (2, 3, 4):
        own = expected_global(flags, phis, one_in=n, among=among, ties=ties)
        halves = expected_halves(known, own, modality=OTHER[kind], **choices)
        found |= {("Sink", n): own, ("Unimodal", n): halves[0], ("Cross-modal", n): halves[1]}
    return found


def test_who_dominates():
    for av, a, v in product("ABC", repeat=3):
        assert dominance.dominant(av, a, v) == hubs.dominance(av, a, v)


def test_three_passes_of_a_sample(cases):
    for kind, (seed, passes) in cases.items():
        row = dominance.classify(asked(decoder(), CLIP, seed=seed), sample_of("B")).iloc[0]
        assert row["dominance"] == kind
        for name, (_, said, predicted) in passes.items():
            assert row[f"predicted_{name}"] == predicted and row[f"correct_{name}"] == (predicted == "B")
            assert row[f"p_{name}"] == pytest.approx(said[predicted], rel=1e-4)


@pytest.mark.parametrize("choices", CHOICES, ids=str)
def test_the_sets_to_restore(dominated, choices):
    model, kind, passes, phis = dominated
    objects = torch.tensor(sorted([*VIDEO[1:5], *AUDIO[1:3]]))
    traced = tracing.corrupt(model, sample_of("B"))
    sets = tracing.token_sets(traced, objects=objects, draws=3, **choices)
    found = {(row.token_set, row.one_in): row.positions.tolist() for row in sets.itertuples() if not row.draw}
    expected = expected_sets(kind, passes, phis, model.card.sink_tau, **choices)
    among = expected["All", 0]
    expected["Object", 0] = [p for p in objects.tolist() if p in among]
    assert {key: found[key] for key in found if key[0] != "Random"} == expected
    assert all(0 < len(expected["Sink", n]) < len(among) for n in (2, 3))
    assert any(expected[half, n] for half in ("Unimodal", "Cross-modal") for n in (2, 3))
    random = sets[sets["token_set"] == "Random"]
    assert len(random) == 9
    for row in random.itertuples():
        drawn = row.positions.tolist()
        assert len(set(drawn)) == len(drawn) == len(expected["Sink", row.one_in]) and set(drawn) <= set(among)


def test_indirect_effects_of_every_set(dominated):
    model, kind, passes, _ = dominated
    sample, corrupted = sample_of("B"), passes["v" if kind == "audio" else "a"]
    own = {"video": torch.tensor(VIDEO[2:6]), "audio": torch.tensor(AUDIO[1:4])}
    table = tracing.trace(model, sample, objects=lambda *_: own, draws=2)
    again = tracing.token_sets(tracing.corrupt(model, sample), objects=own[OTHER[kind]], draws=2)
    assert len(table) == len(again) == 2 + 3 * (3 + 2) and set(table["dominance"]) == {kind}
    assert set(table["o_clean"]) == {passes["av"][2]} and set(table["o_corrupt"]) == {corrupted[2]}
    for row, positions in zip(table.itertuples(), again["positions"], strict=True):
        check_effects(row, model, kind, passes, positions, range(LAYERS))
    assert table["ie_clean"].abs().max() > 5e-4 and table["ie_corrupt"].abs().max() > 5e-4
    given = tracing.trace(model, sample, dominance=kind, objects=lambda *_: own, draws=2)
    pd.testing.assert_frame_equal(given, table, rtol=1e-4)


def test_indirect_effects_in_windows_of_layers(dominated):
    model, kind, passes, phis = dominated
    table = tracing.trace_by_layer(model, sample_of("B"), k=3, one_in=3)
    sets = expected_sets(kind, passes, phis, model.card.sink_tau)
    assert len(table) == 4 * LAYERS
    for row in table.itertuples():
        layers = window(row.layer, k=3, n_layers=LAYERS)
        check_effects(row, model, kind, passes, sets[row.token_set, row.one_in], layers)


def check_effects(row, model, kind: str, passes, positions, layers) -> None:
    name, muted = ("v", "audio") if kind == "audio" else ("a", "video")
    inputs = model.prepare(sample_of("B"), mute=[muted])
    one = plain.run(model, inputs, [("restore", positions, layers, passes["av"][0])])
    restored, (_, corrupted, o_corrupt), o_clean = (
        letters(one.logits[-1].tolist(), LETTERS),
        passes[name],
        passes["av"][2],
    )
    assert row.ie_clean == pytest.approx(hubs.ie_clean(restored, corrupted, o_clean), abs=1e-6)
    assert row.ie_corrupt == pytest.approx(hubs.ie_corrupt(restored, corrupted, o_corrupt), abs=1e-6)
    assert row.p_clean == pytest.approx(restored[o_clean], rel=1e-4) and row.tokens == len(positions)
    assert row.p_corrupt == pytest.approx(restored[o_corrupt], rel=1e-4)


@pytest.mark.parametrize("choices", CHOICES, ids=str)
def test_sinks_layer_by_layer(dominated, choices):
    model, _, passes, phis = dominated
    clean, tau = passes["av"][0], model.card.sink_tau
    rows = sinks.by_layer(model, sample_of("B"), **choices)
    ties, splitting = choices.get("ties", "phi"), {key: choices[key] for key in choices if key != "ties"}
    flags, known = [[phi > tau for phi in layer] for layer in phis], scores(clean)
    ever = [p for p in [*VIDEO, *AUDIO] if any(flags[layer][p] for layer in range(LAYERS))]
    assert list(zip(rows["position"], rows["layer"], strict=True)) == [(p, at) for p in ever for at in range(LAYERS)]
    assert any(not all(flags[layer][p] for layer in range(LAYERS)) for p in ever)
    for row in rows.itertuples():
        token = CLIP[row.position]
        video, audio = (hubs.received(clean, row.layer, row.position, group) for group in (VIDEO, AUDIO))
        scored = row.position not in UNREAD or choices.get("unread", "zero") == "zero"
        assert (row.modality, row.part) == (token.kind, token.part)
        assert row.n_modality == len(VIDEO if token.kind == "video" else AUDIO)
        assert row.phi == pytest.approx(phis[row.layer][row.position], rel=1e-5)
        assert row.sink == flags[row.layer][row.position]
        assert row.mds == pytest.approx(hubs.mds(video, audio) if scored else NAN, abs=1e-5, nan_ok=True)
        assert row.score == pytest.approx(known[row.position] if scored else NAN, abs=1e-5, nan_ok=True)
    for n, (modality, among) in product((2, 3, 4), (("video", VIDEO), ("audio", AUDIO))):
        own = expected_global(flags, phis, one_in=n, among=among, ties=ties)
        halves = expected_halves(known, own, modality=modality, **splitting)
        names = {
            p: kind for kind, half in zip(("unimodal", "cross-modal", "neither"), halves, strict=True) for p in half
        }
        for row in rows[rows["modality"] == modality].itertuples():
            assert getattr(row, f"global_{n}") == names.get(row.position, "")


def test_how_sinks_drift(dominated):
    model, *_ = dominated
    rows = sinks.by_layer(model, sample_of("B"))
    table = sinks.drift(rows)
    assert len(table) == 2 * LAYERS**2
    for row in table.itertuples():
        own = rows[rows["modality"] == row.modality]
        here, there = (set(own[(own["layer"] == at) & own["sink"]]["position"]) for at in (row.layer, row.other))
        assert row.sinks == len(here)
        assert row.share == pytest.approx(len(here) / len(VIDEO if row.modality == "video" else AUDIO))
        assert row.overlap == pytest.approx(hubs.jaccard(here, there), nan_ok=True)


def test_a_token_at_the_threshold_is_no_sink():
    layout = SimpleNamespace(video=torch.tensor([0]), audio=torch.tensor([1]))
    observer = sinks.SinkObserver(SimpleNamespace(name="m", sink_dims=(0,), sink_tau=4.0), layout)
    observer.begin()
    states = torch.eye(16)[[0, 0, 1]] * 3  # φ of a row with a single feature is √16
    states[2, 0] = 1.0
    observer.enter(0, states, {})
    heads = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
    observer.attend(0, heads, heads, heads, scaling=0.5)
    assert observer.result().phi[0, :2].tolist() == [4.0, 4.0] and not observer.result().flags.any()


@pytest.mark.parametrize("seed", range(30))
def test_global_sinks_and_halves_with_ties(seed):
    """φ and scores of a few values each, so that counts, means and scores are often equal."""
    draw = torch.Generator().manual_seed(seed)
    layers, tokens = 4, 13
    phi = torch.randint(1, 5, (layers, tokens), generator=draw).float()
    flags = torch.rand(layers, tokens, generator=draw) < [0.2, 0.5, 0.9][seed % 3]
    mds = torch.randint(-2, 3, (layers, tokens), generator=draw).float() / 2
    unread = torch.rand(tokens, generator=draw) < 0.3
    mds[:, unread] = torch.randint(-1, 2, (int(unread.sum()),), generator=draw).float()  # -1, 1, or 0: read by neither
    mds[torch.rand(layers, tokens, generator=draw) < 0.1] = NAN
    mds[:, torch.rand(tokens, generator=draw) < 0.1] = NAN
    found = sinks.Sinks(phi=phi, flags=flags, mds=mds, unread=unread)
    known = [hubs.mean([score for score in column if score == score]) for column in mds.T.tolist()]
    assert found.score.tolist() == pytest.approx(known, nan_ok=True)
    for n in (1, 2, 3, 4):
        expected = hubs.global_sinks(flags.tolist(), phi.tolist(), one_in=n)
        among = torch.randperm(tokens, generator=draw)[:7].sort().values
        assert sinks.global_sinks(found, one_in=n).tolist() == expected
        own = [p for p in expected if p in among]
        assert sinks.global_sinks(found, one_in=n, among=among).tolist() == own
        theirs = hubs.counted(flags.tolist(), one_in=n)
        assert sinks.global_sinks(found, one_in=n, ties="authors").tolist() == theirs
        for modality, by, strict in product(("video", "audio"), ("halves", "sign"), (False, True)):
            choices = {"modality": modality, "by": by}
            reading = {"unread": "neither" if strict else "zero"}
            halves = sinks.split(torch.tensor(own, dtype=torch.long), found, **choices, **reading)
            left_out = {"unread": set(unread.nonzero()[:, 0].tolist())} if strict else {}
            right = hubs.halves({token: known[token] for token in own}, **choices, **left_out)
            assert tuple(half.tolist() for half in (halves.unimodal, halves.crossmodal, halves.neither)) == right


def test_the_mds_of_two_means():
    pairs = [(0.3, 0.1), (0.1, 0.3), (0.2, 0.0), (0.0, 0.2), (0.0, 0.0), (0.2, 0.2)]
    pairs += [(NAN, 0.2), (0.2, NAN), (NAN, NAN), (NAN, 0.0)]
    found = sinks.modality_dominance(*torch.tensor(pairs, dtype=torch.float64).T)
    assert found.tolist() == pytest.approx([hubs.mds(*pair) for pair in pairs])
    assert found[6:].tolist() == [-1, 1, 0, 0]


@pytest.mark.parametrize(("rms", "less"), [(1.0, 0.0), (0.05, 0.0002), (0.01, 0.005), (0.001, 0.29)])
def test_how_much_smaller_the_authors_phi_is(rms, less):
    """Theirs has 1e-6 under the root of the mean square; the figures are those of the docstring of `sinks`."""
    x = torch.randn(1, 256, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x *= rms / x.pow(2).mean().sqrt()
    observer = Norms((3, 7))
    observer.begin()
    observer.enter(0, x.float(), {})
    theirs = max(abs(x[0, d]) for d in (3, 7)) / (x.pow(2).mean() + 1e-6).sqrt()
    assert 1 - theirs / float(observer.result()["phi"]) == pytest.approx(less, rel=0.03, abs=2e-6)
    if less:
        assert f"by {less:.2%}".rstrip("%").rstrip("0").rstrip(".") in sinks.__doc__


def test_dominance_by_how_strongly_a_clip_is_degraded():
    strengths = [0.0, 0.1, 0.2, 0.25, 0.5, 0.6, 0.75, 0.9, 1.0, NAN]
    rows = pd.DataFrame({"sample": [f"s{i}" for i in range(10)], "fog": strengths, "noise": strengths[::-1]})
    for at, name in enumerate(("av", "a", "v")):
        rows[f"correct_{name}"] = [float((i + at) % 3 == 0) for i in range(10)]
        rows[f"p_{name}"] = [(i + at) / 20 for i in range(10)]
    table = dominance.by_level(rows)
    series = {"av": "both", "a": "sound alone", "v": "picture alone"}
    expected = set()
    for what, (name, column), row in product(
        ("fog", "noise"), (("accuracy", "correct"), ("confidence", "p")), rows.itertuples()
    ):
        if getattr(row, what) > 0:
            quarter = min(int(getattr(row, what) * 4), 3)
            alike = [x for x in strengths if x > 0 and min(int(x * 4), 3) == quarter]
            for key, label in series.items():
                value = getattr(row, f"{column}_{key}")
                expected.add((row.sample, label, f"{name}, {what}", round(hubs.mean(alike), 3), value))
    assert {tuple(row) for row in table[["sample", "series", "category", "level", "value"]].to_numpy()} == expected
