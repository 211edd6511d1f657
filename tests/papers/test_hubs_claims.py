"""What Hubs states on tracing and sinks: one rule each, on made rows, on the paper's own tables, and on the pages."""

from __future__ import annotations

import csv
import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from avsink.papers.hubs import claims, reported
from avsink.resources import data
from avsink.results.verdicts import judge

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
PAGES = ("hubs_finding1_sinks", "hubs_finding2_crossmodal_sinks")
EFFECTS = ("ie_clean", "ie_corrupt")
SETS = ("All", "Object", "Layer-wise")


def verdicts(rules, rows) -> dict[str, str]:
    return {verdict.claim: verdict.verdict for verdict in judge(rules, rows)}


def effects(n: int = 12, *, seed: int = 0, **means: float) -> pd.DataFrame:
    """Rows of samples that differ in how much they bring back; `Sink2=0.6` is that share of what all tokens do."""
    rng = np.random.default_rng(seed)
    sizes = {"All": 40, "Sink2": 12, "Sink3": 8, "Sink4": 6, "Object": 12, "Layer-wise": 9}
    rows = []
    for kind, sample in itertools.product(("audio", "video"), range(n)):
        everything = rng.uniform(0.05, 0.95)
        for name, share in {"All": 1.0, **means}.items():
            token_set, one_in = (name, 0) if name in SETS else (name[:-1], int(name[-1]))
            size = sizes.get(name) or sizes[f"Sink{one_in}"] // (1 if token_set == "Random" else 2)
            x = share * everything + 0.01 * rng.normal()
            rows.append((f"{kind}{sample}", kind, token_set, one_in, 0, x, x, size))
    names = ["sample", "dominance", "token_set", "one_in", "draw", *EFFECTS, "tokens"]
    return pd.DataFrame(rows, columns=names)


AS_REPORTED = {"Sink2": 0.7, "Sink3": 0.65, "Sink4": 0.6, "Random2": 0.3, "Object": 0.32, "Layer-wise": 0.5}
AS_REPORTED |= {f"Cross-modal{n}": 0.6 for n in (2, 3, 4)} | {f"Unimodal{n}": 0.1 for n in (2, 3, 4)}


def test_rows_as_reported_support_every_statement():
    assert set(verdicts(claims.OF_EFFECTS, effects(**AS_REPORTED)).values()) == {"supported"}


@pytest.mark.parametrize(
    ("changed", "denied"),
    [
        ({"All": 0.0}, ("hold what the other one showed",)),
        ({"Random2": 0.75}, ("as many random",)),
        ({"Sink2": 0.45, "Sink3": 0.4, "Sink4": 0.4, "Layer-wise": 0.3}, ("Sinks hold most",)),
        ({"Object": 0.8}, ("object tokens", "Object tokens")),
        ({"Random2": 0.2}, ("Object tokens",)),
        ({"Sink4": 0.5}, ("Half as many",)),
        ({"Layer-wise": 0.75}, ("Global sinks",)),
        ({f"Unimodal{n}": 0.62 for n in (2, 3, 4)}, ("more than unimodal",)),
        ({"Cross-modal2": 0.33}, ("primary carriers", "vast majority")),
        ({"Cross-modal2": 0.45}, ("vast majority",)),
    ],
)
def test_each_departure_contradicts_its_own_statement(changed, denied):
    rows = effects(**{**AS_REPORTED, **changed})
    if "All" in changed:
        rows[list(EFFECTS)] -= 1.0
    found = verdicts(claims.OF_EFFECTS, rows)
    contradicted = {claim for claim, outcome in found.items() if outcome == "not supported"}
    assert contradicted == {claim for claim in found if any(part in claim for part in denied)}


def test_one_verdict_for_each_statement():
    every = [*claims.OF_EFFECTS, *claims.OF_SINKS]
    assert len({rule.claim for rule in every}) == len(every) == 13
    rows = effects(**AS_REPORTED)
    assert len(judge(claims.FINDING_2, rows)) == 2  # one for each of N, effect and dominance would be twelve
    for rule in claims.OF_EFFECTS:
        assert "IE_clean and IE_corrupt" in rule.condition and "audio-dominant and video-dominant" in rule.condition
        assert "N = " in rule.condition or rule.first.terms[0].token_set == "All"


def test_finding_2_holds_where_halves_differ_in_each_sample_though_samples_differ_more():
    """Unpaired, the interval of neither half lies above that of the other."""
    rng, rows = np.random.default_rng(4), effects(20, **AS_REPORTED)
    rows["one"] = rows["sample"] + rows["one_in"].astype(str)
    base = {key: rng.uniform(0.05, 0.95) for key in rows["one"].unique()}
    step = rows["token_set"].map({"Cross-modal": 0.03, "Unimodal": 0.0, "Sink": 0.04, "All": 0.3}).fillna(0.0)
    for effect in EFFECTS:
        rows[effect] = rows["one"].map(base) + step + 0.01 * rng.normal(size=len(rows))
    found = [v.verdict for v in judge(claims.FINDING_2, rows) if "more than unimodal" in v.claim]
    assert found == ["supported"] * len(found) and found


def test_nothing_is_most_of_nothing():
    """Half of a negative effect of all tokens lies below an effect of 0."""
    rows = effects(**AS_REPORTED)
    everything = rows["token_set"] == "All"
    for effect in EFFECTS:
        rows[effect] = np.where(everything, rows[effect] - 2.0, 0.01 * rows[effect])
    found = [v.verdict for v in judge(claims.FINDING_1, rows) if "most" in v.claim]
    assert found == ["nothing to restore"] * len(found) and found


# The paper's tables


def printed() -> dict[tuple[str, str, str, str], float]:
    """(model, dominance, set, column) -> the number as printed."""
    found = {}
    for name in ("by_token_set", "unimodal_vs_crossmodal"):
        with data("papers", f"hubs_indirect_effect_{name}.csv").open() as file:
            for row in csv.DictReader(file):
                for column in (*EFFECTS, "n_tokens"):
                    found[row["model"], row["dominance"], row["token_set"], column] = float(row[column])
    return found


def statement(claim: str, numbers, model: str, kind: str, effect: str) -> tuple[float, float, float]:
    """By hand, of one dominance and effect: the difference that must be above 0, its rounding, and the whole.

    NaN: the sizes do not fit the statement.
    """
    half_digit = 0.005

    def of(name: str, column: str = effect) -> float | None:
        return numbers.get((model, kind, name, column))

    if "hold what the other one showed" in claim:
        return of("All"), half_digit, 1.0
    if "as many random" in claim:
        return of("Sink (N=2)") - of("Random (N=2)"), 2 * half_digit, of("All")
    if "Sinks hold most" in claim:
        return of("Sink (N=2)") - of("All") / 2, 1.5 * half_digit, of("All")
    if "object tokens" in claim or "Object tokens" in claim:
        ratio = of("Sink (N=2)", "n_tokens") / of("Object", "n_tokens")
        if "Object tokens" in claim:
            difference, off = of("Random (N=2)") + of("All") / 10 - of("Object"), 2.1 * half_digit
        else:
            difference, off = of("Sink (N=2)") - of("Object"), 2 * half_digit
        return difference if 2 / 3 <= ratio <= 1.5 else float("nan"), off, of("All")
    if "Half as many" in claim:
        return of("Sink (N=4)") - 0.75 * of("Sink (N=2)"), 1.75 * half_digit, of("Sink (N=2)")
    if "more than unimodal" in claim:
        pairs = [(of(f"Crossmodal (N={n})"), of(f"Unimodal (N={n})")) for n in (2, 3, 4)]
        pairs = [one - two for one, two in pairs if one is not None]
        return sum(pairs) / len(pairs), 2 * half_digit, of("Sink (N=2)")
    if "primary carriers" in claim:
        return of("Crossmodal (N=2)") - of("Sink (N=2)") / 2, 1.5 * half_digit, of("Sink (N=2)")
    assert "vast majority" in claim
    return of("Crossmodal (N=2)") - of("All") / 2, 1.5 * half_digit, of("All")


def test_the_papers_tables_under_the_rules_model_by_model():
    table, numbers = reported.by_means(claims.OF_EFFECTS), printed()
    judged = [rule.claim for rule in claims.OF_EFFECTS if "each layer" not in rule.claim]  # that was not printed
    assert list(zip(table["reported"], table["model"], strict=True)) == [
        (claim, model) for claim in judged for model in reported.models()
    ]
    assert table["model"].nunique() == 5
    for row in table.itertuples():
        outcomes = []
        for kind, effect in itertools.product(("audio", "video"), EFFECTS):
            difference, off, whole = statement(row.reported, numbers, row.model, kind, effect)
            if difference != difference:
                outcomes.append("sizes do not fit")
            elif whole > 0.006:
                outcomes.append("supported" if difference > off else "not supported" if difference < -off else "open")
        if "not supported" in outcomes:
            assert row.outcome == "not supported", row
        elif set(outcomes) == {"supported"}:
            assert row.outcome == "supported", row
        else:
            assert row.outcome in ("too wide", "sizes do not fit"), row
    found = table.set_index(["reported", "model"])["outcome"]
    assert set(found) >= {"supported", "not supported", "sizes do not fit"}
    finding_2 = [found[rule.claim] for rule in claims.FINDING_2]
    assert all((of_models == "supported").all() for of_models in finding_2)  # as the paper says of its own tables


def test_outcomes_of_the_tables_stand_beside_those_of_a_run():
    rules = (*claims.FINDING_1, *claims.FINDING_1_BESIDE)
    found = judge(rules, effects(**AS_REPORTED))
    table = reported.beside(found, rules)
    assert list(table) == ["reported", "this run", *reported.models()] and len(table) == len(rules)
    assert set(table["this run"]) == {"supported"}
    told = reported.by_means(rules).set_index(["reported", "model"])["outcome"]
    for row in table.to_dict("records"):
        for model in reported.models():
            assert row[model] == told.get((row["reported"], model), "")


# Sinks


def by_layer(flags: dict[int, str], *, sample: str = "s", modality: str = "video") -> pd.DataFrame:
    """Position -> one letter a layer: x where the token is a sink."""
    return pd.DataFrame(
        {"sample": sample, "modality": modality, "position": position, "layer": layer, "sink": flag == "x"}
        for position, own in flags.items()
        for layer, flag in enumerate(own)
    )


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({1: "--xxx", 2: "--xxx"}, 0.0),  # sinks that are there from a layer on have not moved
        ({1: "xxxx", 2: "-xxx", 3: "--xx"}, 0.0),  # nor has a set that grows
        ({1: "x--", 2: "-x-", 3: "--x"}, 1.0),
        ({1: "xxx-", 2: "xx-x", 3: "--xx"}, (0 + 1 / 2 + 1 / 2 + 1 / 2 + 1 / 2 + 1 / 2) / 6),
    ],
)
def test_drift_is_what_two_layers_with_sinks_do_not_share(flags, expected):
    assert claims.drifted(by_layer(flags))["s"] == pytest.approx(expected)


def test_sinks_that_stay_do_not_drift_and_sinks_that_move_do():
    drift = [rule for rule in claims.OF_SINKS if "drift" in rule.claim]
    stay = pd.concat([by_layer({1: "--xx", 2: "---x"}, sample=f"s{i}") for i in range(12)])
    move = pd.concat([by_layer({1: "xx--", 2: "-xx-", 3: "--xx"}, sample=f"s{i}") for i in range(12)])
    assert list(verdicts(drift, stay).values()) == ["not supported"]
    assert list(verdicts(drift, move).values()) == ["supported"]
    one_layer = pd.concat([by_layer({1: "--x-"}, sample=f"s{i}") for i in range(12)])
    assert list(verdicts(drift, one_layer).values()) == ["not measured"]


def halves(**scores: float) -> pd.DataFrame:
    """Rows of global sinks: `video_unimodal=0.6` is their mean MDS."""
    rng = np.random.default_rng(0)
    rows = []
    for sample, (at, (name, score)) in itertools.product(range(15), enumerate(scores.items())):
        modality, kind = name.split("_", 1)
        facts = {"modality": modality, "global_2": kind.replace("_", "-"), "sink": True, "position": 10 + at}
        noisy = score + 0.05 * rng.normal()
        rows += [{"sample": f"s{sample}", "layer": layer, **facts, "score": noisy} for layer in range(3)]
    return pd.DataFrame(rows)


def test_who_reads_each_half_is_judged_by_sign_and_not_by_half():
    """Halves are relative: a cross-modal sink of the video with an MDS of +0.12 is still read more by video."""
    read = [rule for rule in claims.OF_SINKS if "read mainly" in rule.claim]
    own, other = (rule.claim for rule in read)
    assert "own" in own and "other" in other
    as_said = halves(video_unimodal=0.6, video_cross_modal=-0.2, audio_unimodal=-0.4, audio_cross_modal=0.3)
    assert verdicts(read, as_said) == {own: "supported", other: "supported"}
    taught = halves(video_unimodal=0.65, video_cross_modal=0.12, audio_unimodal=-0.35, audio_cross_modal=0.28)
    assert verdicts(read, taught) == {own: "supported", other: "not supported"}
    [_, found] = judge(read, taught)
    assert re.search(
        r"video sinks: not supported: .*−0\.1\d \[.*; audio sinks: supported: .*\+0\.\d\d \[", found.because
    )
    one_sided = halves(video_unimodal=0.6, video_cross_modal=-0.2)
    assert verdicts(read, one_sided) == {own: "not measured", other: "not measured"}


# Pages


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_announces_it_judges(page):
    source = (NOTEBOOKS / f"{page}.md").read_text("utf-8")
    rules, further = re.search(r"^rules, further = (\S+), (.+)$", source, re.MULTILINE).groups()
    assert rules.startswith("hubs.claims.FINDING_") and "hubs.claims.FINDING_" in further
    assert "verdicts.rules_table((*rules, *further))" in source
    assert re.findall(r"verdicts\.judge\((\w+), rows\)", source) == ["rules", "further"]
    shown = re.findall(r"charts\.table\(verdicts\.verdicts_table\((\w+)\)\)", source)
    judged = re.findall(r"(\w+) = verdicts\.judge", source)
    assert shown == judged == ["parts", "others"]


def test_every_statement_is_on_a_page():
    source = "".join((NOTEBOOKS / f"{page}.md").read_text("utf-8") for page in PAGES)
    named = set(re.findall(r"hubs\.claims\.([A-Z_0-9]+)", source))
    shown = [rule for name in named for rule in getattr(claims, name)]
    assert sorted(rule.claim for rule in shown) == sorted(rule.claim for rule in (*claims.OF_EFFECTS, *claims.OF_SINKS))


def test_the_pages_numbers_of_the_paper_are_those_of_its_table():
    source = " ".join((NOTEBOOKS / f"{PAGES[0]}.md").read_text("utf-8").split())
    numbers = {
        name: [printed()["Qwen2.5-Omni-7B", "audio", name, column] for column in ("n_tokens", "ie_clean")]
        for name in ("All", "Sink (N=2)", "Sink (N=4)")
    }
    (tokens, whole), (two, of_two), (four, of_four) = numbers.values()
    assert f"of the {tokens:,.0f} video tokens of Qwen2.5-Omni-7B, {two:.0f} are sinks (N = 2)" in source
    assert f"bring back {of_two / whole:.0%} of".replace("%", " %") in source
    assert f"those {four:.0f} that are left at N = 4, {four / tokens:.0%} of the tokens".replace("%", " %") in source
    assert f"bring back {of_four / whole:.0%}.".replace("%", " %") in source and "few {term}`sink`" not in source


@pytest.mark.parametrize("page", [path.stem for path in sorted(NOTEBOOKS.glob("hubs_*.md"))])
def test_pages_name_the_paper_by_finding_figure_or_table(page):
    """No text of the paper at hand shows the numbers of its sections."""
    source = (NOTEBOOKS / f"{page}.md").read_text("utf-8")
    title = re.search(r"^# (.+)$", source, re.MULTILINE)[1]
    assert re.match(r"Hubs( \d)?: ", title)
    assert not re.search(r"§|\bsections? \d", source)


def test_claims_name_no_section_of_the_paper():
    for rule in (*claims.OF_EFFECTS, *claims.OF_SINKS):
        assert not re.search(r"§|\bsection", rule.where) and rule.where
