"""The benchmark scripts at tiny sizes: answers agree, all fields are there. Times are not tested."""

import json
import math
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import common  # noqa: E402
import discard as discard_benchmark  # noqa: E402
import knockout  # noqa: E402
import observe  # noqa: E402
import parity  # noqa: E402
import plain  # noqa: E402
import tracing as tracing_benchmark  # noqa: E402

from avsink.engine.interventions import Block  # noqa: E402
from avsink.engine.run import clean_run  # noqa: E402
from avsink.instruments.pathways import CLIP  # noqa: E402
from avsink.testing.random_decoder import FAMILIES, bare_inputs, bare_model  # noqa: E402

SIZE = dict(layers=3, width=32, heads=4, kv_heads=2, mlp=48)
TINY = ["--json", "--repeat", "1", "--threads", "1"]
TINY += [word for name, value in SIZE.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def printed(capsys, script, *argv) -> dict:
    assert script.main([*TINY, *argv]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_replays_equal_the_oracle_in_all_families(capsys, tmp_path):
    out = tmp_path / "deep" / "parity.json"
    assert parity.main(["--json", "--plans", "12", "--out", str(out)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads(out.read_text())
    assert [row["family"] for row in result["families"]] == list(FAMILIES)
    for row in result["families"]:
        assert row["passed"] and row["plans"] == 12 and row["plans_that_move_logits"] > 6
        assert row["max_delta_logit"] <= 1e-4 and row["argmax_differs"] == 0
        assert row["empty_plan_is_bit_identical"] and row["attention_without_keys"] == 0
        assert row["bf16_engine_mean"] < 2 * row["bf16_plain_mean"]


def test_parity_notices_an_engine_that_is_wrong(monkeypatch, capsys):
    """Every block loses one of its sources on the way to the engine."""
    monkeypatch.setattr(parity, "Block", lambda source, target, layers: Block(source[1:], target, layers))
    monkeypatch.setattr(parity, "FAMILIES", ("qwen2",))
    assert parity.main(["--plans", "12"]) == 1
    assert "False" in capsys.readouterr().out


def test_the_oracle_is_the_stock_decoder_with_a_mask():
    model = bare_model("qwen3-omni-moe", **SIZE)
    inputs = bare_inputs(model, n=96)
    edges = [(inputs.layout.video, inputs.layout.question)]
    plan = [dict(kind="block", source=source, target=target, layers=[1]) for source, target in edges]
    expected = plain.oracle(model, inputs, plan, positions=[95])[0].softmax(-1)
    for side in ("sdpa", "causal", "eager"):
        reference = plain.Reference(model, inputs, side=side)
        found = reference.sweep(reference.mask(edges), [[1], []])
        torch.testing.assert_close(found[0], expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(found[1], clean_run(model, inputs).probabilities, atol=1e-6, rtol=0)
        assert (found[0] - found[1]).abs().max() > 1e-5
    assert model.decoder.config._attn_implementation == "avsink"


def test_knockout_prints_every_pathway_and_group(capsys):
    result = printed(capsys, knockout, "--tokens", "96", "110", "--k", "3", "--no-peaks")
    assert result["settings"]["layers"] == 3 and result["settings"]["k"] == 3
    assert [row["tokens"] for row in result["clean"]] == [96, 110]
    assert all(row["engine_seconds"] > 0 and row["sdpa_seconds"] > 0 for row in result["clean"])
    for tokens in (96, 110):
        rows = [row for row in result["rows"] if row["tokens"] == tokens]
        pathways = [row for row in rows if row["kind"] == "pathway"]
        assert [row["name"] for row in pathways] == list(CLIP)
        assert len(rows) == len(CLIP) + len(knockout.GROUPS)
        assert all(row["max_difference"] < 1e-6 and row["windows"] == 3 for row in pathways)
        for row in rows:
            for side in ("sdpa", "causal", "eager"):
                assert row[f"ratio_to_{side}"] == pytest.approx(row[f"{side}_seconds"] / row["engine_seconds"])
            assert row["share"] == pytest.approx(row["ratio_to_causal"] / row["limit"])
            assert row["limit_of_engine"] >= 0.99 * row["limit"] > 0.9
    late = next(row for row in rows if row["name"].startswith("late"))
    assert late["name"] == "late targets (17)" and late["windows"] == 17 * 3
    assert late["sdpa_seconds"] == pytest.approx(17 * pathways[0]["sdpa_seconds"]) and not result["peaks"]
    assert all(math.isfinite(row["engine_exponent"]) for row in result["growth"])


def test_the_arithmetic_limit():
    """12 layers, k = 7: windows start at 0, 0, 0, 0, 1, ... 8, and need 108 of 144 layers."""
    args = common.arguments("").parse_args(["--width", "32", "--mlp", "32", "--tokens", "200"])
    args.k = 7
    bench = knockout.Bench(args, tokens=200)
    assert bench.limit(["Video↛Last"]) == pytest.approx(200 * 144 / 108)
    assert bench.limit(["Video↛Question"]) == pytest.approx(144 / 108 * 200 / (60 + 5))
    assert bench.limit(["Audio↮Video"]) == pytest.approx(144 / 108 * 200 / (200 - int(bench.layout.audio[0])))
    two = ["Video↛Last", "Video↛Question"]
    assert bench.limit(two, clean=True) == pytest.approx(2 * 12 * 200 * 12 / (108 * (1 + 65) + 200 * 12))
    assert sorted(knockout.in_turn(12)) == list(range(12)) and knockout.in_turn(12)[:3] == [6, 11, 4]
    assert all(sorted(knockout.in_turn(total)) == list(range(total)) for total in range(1, 50))


def test_observed_statistics_are_those_of_eager_attention(capsys):
    result = printed(capsys, observe, "--tokens", "96", "--no-peaks")
    rows = {row["side"]: row for row in result["rows"]}
    assert set(rows) == {"plain", "observed", "eager", "only last row", "only column means", "only norms"}
    assert rows["observed"]["max_difference"] < 1e-5
    assert all(row["seconds"] > 0 and row["tokens"] == 96 for row in rows.values())


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
def test_a_peak_is_measured_in_a_process_of_its_own(monkeypatch, capsys):
    probe = common.in_child(observe.__file__, TINY, probe="observed", tokens=96)
    assert probe["process_mib"] > probe["weights_mib"] + probe["growth_mib"] > probe["growth_mib"] >= 0

    asked = []
    monkeypatch.setattr(common, "in_child", lambda script, argv, **what: asked.append(what) or probe)
    rows = printed(capsys, observe, "--tokens", "96")["rows"]
    assert [row.get("ratio_of_peak_mib") for row in rows] == [1, 1, 1, None, None, None]
    peaks = printed(capsys, knockout, "--tokens", "96", "--k", "3", "--pathways", "Video↛Last", "--no-eager")["peaks"]
    sides = ["engine:V+A↛Question", "engine:Cross-frame", "engine:all", "sdpa", "causal"]
    assert [row["side"] for row in peaks] == sides
    assert [what["probe"] for what in asked] == ["plain", "observed", "eager", *sides]


def test_one_pathway_of_the_teaching_model(capsys):
    result = printed(capsys, knockout, "--model", "tiny-omni", "--pathways", "Video↛Last", "--no-peaks")
    [row] = result["rows"]
    assert row["max_difference"] < 1e-5 and row["windows"] == 8
    assert result["settings"]["model"] == "tiny-omni"


def test_discarding_prints_savings_beside_arithmetic(capsys):
    result = printed(capsys, discard_benchmark, "--tokens", "96", "--depths", "0", "0.5", "--question", "20")
    assert {row["config"] for row in result["rows"]} == {
        "Discard Ques",
        "Discard Audio",
        "Discard Video",
        "Discard All",
    }
    assert {row["after_layer"] for row in result["rows"]} == {0, 1}
    for row in result["rows"]:
        assert row["max_difference"] < 1e-6 and 0 < row["arithmetic_saving"] < 1
        assert (row["share"] is None) == (row["arithmetic_saving"] < discard_benchmark.TELLING)
        assert row["share"] is None or row["share"] == pytest.approx(row["saving"] / row["arithmetic_saving"])
    with pytest.raises(SystemExit):
        discard_benchmark.main(["--depths", "1.0"])


def test_tracing_prints_the_whole_table_and_agrees_with_states_put_back_by_hooks(capsys):
    result = printed(capsys, tracing_benchmark, "--tokens", "110", "--reference-conditions", "26", "--no-peaks")
    [row] = result["rows"]
    assert row["conditions"] == 26 and row["max_difference"] < 1e-6
    assert 2 < row["needed_passes"] < 28 and row["limit"] == pytest.approx(52 / row["needed_passes"])


ALL = (discard_benchmark, knockout, observe, tracing_benchmark)


@pytest.mark.parametrize("script", ALL, ids=lambda script: script.__name__)
@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--layers", "0"], "argument --layers: '0'; allowed: a whole number from 2 on"),
        (["--layers", "-3"], "argument --layers: '-3'; allowed: a whole number from 2 on"),
        (["--layers", "1e3"], "argument --layers: '1e3'; allowed: a whole number from 2 on"),
        (["--repeat", "0"], "argument --repeat: '0'; allowed: a whole number from 1 on"),
        (["--threads", "0"], "argument --threads: '0'; allowed: a whole number from 1 on"),
        (["--mlp", "9" * 30], "argument --mlp: '9999"),
        (["--vocabulary", "10"], "argument --vocabulary: '10'; allowed: a whole number from 36 on"),
        (["--sample", "-1"], "argument --sample: '-1'; allowed: a whole number from 0 on"),
        (["--config", "qwen9"], "argument --config: invalid choice: 'qwen9'"),
        (["--device", "gpu"], "argument --device: 'gpu'; allowed: cpu, cuda, cuda:0, cuda:1, ..."),
        (["--device", "cuda:99"], "argument --device: 'cuda:99'; torch "),
        (["--heads", "3"], "--width 32 --heads 3: heads must have the same, even width"),
        (["--width", "36"], "--width 36 --heads 4: heads must have the same, even width"),
        (["--kv-heads", "3"], "--heads 4 --kv-heads 3: the first must be a multiple of the second"),
        (["--tokens", "96", "20"], "--tokens 20 --question 60: n=20 leaves no room"),
        (["--question", "5"], "--question 5: n="),
        (["--out", "/"], "argument --out: '/' cannot be written: it is a folder"),
        (["--out", f"{__file__}/x.json"], "x.json' cannot be written: it, or a folder above it, is a file"),
        (["--out", "~nobody-of-that-name/x.json"], "there is no user nobody-of-that-name"),
    ],
)
def test_arguments_that_cannot_be_used_are_a_sentence(capsys, script, argv, said):
    refused(capsys, script, [*TINY, *argv], said)


def refused(capsys, script, argv, said):
    with pytest.raises(SystemExit) as caught:
        script.main(argv)
    printed = capsys.readouterr()
    assert caught.value.code == 2 and not printed.out
    last = printed.err.splitlines()[-1]
    assert ": error: " in last and said in last


@pytest.mark.parametrize(
    ("script", "argv", "said"),
    [
        (parity, ["--plans", "2"], "argument --plans: '2'; allowed: a whole number from 4 on"),
        (parity, ["--seed", "-1"], "argument --seed: '-1'; allowed: a whole number from 0 on"),
        (parity, ["--out", "/"], "argument --out: '/' cannot be written: it is a folder"),
        (knockout, ["--k", "4"], "argument --k: '4'; allowed: an odd number from 1 on"),
        (
            knockout,
            [*TINY, "--tokens", "96", "--k", "99"],
            "k: wherever its centre is, a window of 99 layers holds all 3",
        ),
        (knockout, ["--reference-windows", "0"], "argument --reference-windows: '0'; allowed: a whole number from 1"),
        (knockout, ["--pathways", "Video"], "--pathways: there is no 'Video'; choose from "),
        (tracing_benchmark, ["--reference-conditions", "0"], "argument --reference-conditions: '0'; allowed: a whole"),
        (tracing_benchmark, ["--max-mib", "0"], "argument --max-mib: '0'; allowed: a whole number from 1 on"),
        (tracing_benchmark, ["--model", "tiny-omni"], "--model: a checkpoint is traced in the notebook"),
        (discard_benchmark, ["--depths", "nan"], "--depths: nan is not a depth from 0 to below 1"),
        (observe, ["--model", "tiny"], "unknown model 'tiny': there is no such folder, and the known names are"),
        (observe, ["--model", "tiny-omni", "--data", "toy"], "unknown dataset 'toy'; allowed: toyworld"),
        (observe, ["--model", "tiny-omni", "--sample", "99999"], "--sample 99999: toyworld has "),
    ],
)
def test_arguments_of_one_benchmark_are_checked_too(capsys, script, argv, said):
    refused(capsys, script, argv, said)


def test_what_is_allowed_runs(capsys):
    """The least that the checks let through."""
    smallest = ["--layers", "2", "--width", "8", "--heads", "4", "--kv-heads", "1", "--mlp", "1", "--vocabulary", "36"]
    smallest += ["--tokens", "36", "36", "--question", "10", "--no-peaks", "--dtype", "float32"]
    for script, own in ((knockout, ["--k", "1"]), (observe, []), (tracing_benchmark, [])):
        assert {row["tokens"] for row in printed(capsys, script, *smallest, *own)["rows"]} == {36}
    assert parity.main(["--plans", "4", "--json"]) == 0
