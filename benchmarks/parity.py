"""Are replays exact? Random plans, against an oracle that shares no code with the engine.

1. For each of the four decoder families: a small decoder with random weights, and a prompt with video and audio;
2. random plans. Half of them, in a short prompt: one to three random interventions of all four kinds, with any sets of
   positions (targets before their sources, overlapping sets, sets that leave a query without keys) and any layers. A
   quarter: the same, but with logits asked for at other positions, too. The last quarter, in a long prompt: the papers'
   pathways in turn, one or two of them blocked in any window, with or without further random interventions;
3. every plan runs once in the engine and once in `plain.oracle`, in float32. Logits may differ by 1e-4 at most, and the
   most probable token must be the same, unless the oracle's two largest logits are within TIE of each other;
4. some of the plans run again with so little memory that they are replayed one by one;
5. an empty plan must give the bits of the stock decoder in SDPA; a query without a key must read exactly 0;
6. in bfloat16, with the same weights: how far the engine and how far the oracle are from the float32 oracle.

The exit status is 1 if anything fails.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence

import common
import plain
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from avsink.engine.interventions import Block, Discard, Restore, Reweight
from avsink.engine.run import clean_run
from avsink.instruments.pathways import PATHWAYS
from avsink.testing.random_decoder import FAMILIES, BareModel, bare_inputs, bare_model

TOLERANCE, TIE = 1e-4, 1e-5
SIZE = dict(layers=6, width=64, heads=4, kv_heads=2, mlp=128, vocabulary=160)
SHORT, LONG = dict(n=96, question=40), dict(n=420, question=60, frames=8)
OTHER_RUNS = 2


def random_plan(draw: random.Random, *, n: int, layers: int, asked: Sequence[int]) -> list[dict]:
    """Draw one to three interventions, as `plain.oracle` takes them."""

    def positions() -> list[int]:
        size = draw.choice([1, 2, n // 8, n // 2])
        if draw.random() < 0.5:  # consecutive positions, or any
            start = draw.randrange(n - size)
            return list(range(start, start + size))
        return draw.sample(range(n), size)

    def some_layers() -> list[int]:
        if draw.random() < 0.25:
            return draw.sample(range(layers), draw.randint(1, layers))
        start = draw.randrange(layers)
        return list(range(start, draw.randint(start, layers - 1) + 1))

    plan = []
    restored, rescored = set(), set()  # a plan may not restore a row, or rescore an edge, twice
    for kind in draw.choices(["block", "reweight", "restore", "discard"], weights=[3, 2, 2, 1], k=draw.randint(1, 3)):
        if kind == "block":
            everything = draw.random() < 0.15  # leaves its targets without keys
            source = list(range(n)) if everything else positions()
            plan.append(dict(kind=kind, source=source, target=positions(), layers=some_layers()))
        elif kind == "reweight":
            boost = positions()
            damp = [p for p in positions() if p not in boost]
            target = [p for p in positions() if p not in rescored]
            rescored.update(target)
            alpha = draw.choice([0.2, 0.5, 1.0, 2.0])
            plan.append(dict(kind=kind, boost=boost, damp=damp, target=target, layers=some_layers(), alpha=alpha))
        elif kind == "restore":
            chosen = draw.choice([list(range(layers)), some_layers()])
            rows = [p for p in positions() if p not in restored]
            restored.update(rows)
            plan.append(dict(kind=kind, positions=rows, layers=chosen, run=draw.randrange(OTHER_RUNS)))
        else:
            gone = [p for p in positions() if p not in asked]
            plan.append(dict(kind=kind, positions=gone, after_layer=draw.randrange(layers)))
    return plan


def pathway_plan(draw: random.Random, layout, *, names: Sequence[str], layers: int, asked: Sequence[int]) -> list[dict]:
    """Block these pathways, each in a window of its own, perhaps with further random interventions."""
    plan = []
    for name in names:
        start = draw.randrange(layers)
        window = list(range(start, draw.randint(start, layers - 1) + 1))
        for source, target in PATHWAYS[name].edges(layout):
            plan.append(dict(kind="block", source=source.tolist(), target=target.tolist(), layers=window))
    if draw.random() < 0.5:
        plan += random_plan(draw, n=layout.n, layers=layers, asked=asked)
    return plan


class Case:
    """A model and a prompt, with runs of other clips in the same prompt, from which both sides restore."""

    def __init__(self, model: BareModel, prompt: dict):
        self.model = model
        self.inputs, *others = [bare_inputs(model, **prompt, seed=clip) for clip in range(1 + OTHER_RUNS)]
        self.run = clean_run(model, self.inputs)
        self.others = [clean_run(model, other) for other in others]
        self.states = [plain.layer_inputs(model, other) for other in others]

    def by_oracle(self, plans: Sequence[list[dict]], asked: Sequence[int]) -> Tensor:
        """Logits by the oracle, (plans, asked, vocabulary)."""
        return torch.stack(
            [plain.oracle(self.model, self.inputs, plan, positions=asked, others=self.states) for plan in plans]
        )

    def by_engine(self, plans: Sequence[list[dict]], asked: Sequence[int], **limits) -> Tensor:
        """Logits by the engine, (plans, asked, vocabulary)."""
        plans = [tuple(self._intervention(**step) for step in plan) for plan in plans]
        return self.run.replay_logits(plans, asked, progress=False, **limits)

    def _intervention(self, kind: str, *, run: int = 0, **fields):
        fields = {
            name: torch.tensor(v) if isinstance(v, list) and name != "layers" else v for name, v in fields.items()
        }
        if kind == "restore":
            return Restore(**fields, states=self.others[run].states)
        return {"block": Block, "reweight": Reweight, "discard": Discard}[kind](**fields)


def compare(found: Tensor, expected: Tensor) -> tuple[float, int]:
    """Compare logits (..., vocabulary): largest difference; how often the most probable token differs, except ties."""
    best = expected.topk(2).values
    tied = best[..., 0] - best[..., 1] < TIE
    return float((found - expected).abs().max()), int(((found.argmax(-1) != expected.argmax(-1)) & ~tied).sum())


class InputsOf(TorchFunctionMode):
    """What is multiplied by a weight. A hook would see it, too, but replays refuse models that have one."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.weight, self.seen = weight, []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is nn.functional.linear and args[1] is self.weight:
            self.seen.append(args[0])
        return func(*args, **(kwargs or {}))


def silent_rows(case: Case) -> float:
    """The largest attention output, before the output projection, of a query without a key; it must be 0."""
    layer = case.model.n_layers // 2
    block = Block(torch.arange(case.inputs.layout.n), case.inputs.layout.last, layers=[layer])
    with InputsOf(case.model.decoder.layers[layer].self_attn.o_proj.weight) as watched:
        case.run.replay([block])
    rows = torch.cat([states.flatten(0, -2) for states in watched.seen])  # (rows, heads x D); the last row is `last`
    return float(rows[-1].abs().max())


def check(family: str, *, n_plans: int, seed: int) -> dict[str, object]:
    """Check one family: a row of the table."""
    half = bare_model(family, **SIZE, seed=seed, dtype=torch.bfloat16)
    model = bare_model(family, **SIZE)
    model.hf.load_state_dict(half.hf.state_dict())  # bfloat16 weights, float32 arithmetic
    draw = random.Random(f"{family} {seed}")
    quarter, last = n_plans // 4, SHORT["n"] - 1
    deltas, half_engine, half_plain, flips, moved = [], [], [], 0, 0
    for prompt, asked, count in (
        (SHORT, [last], n_plans - 2 * quarter),
        (SHORT, [3, last // 2, last - 7, last], quarter),
        (LONG, [LONG["n"] // 2, LONG["n"] - 1], quarter),
    ):
        case, rough = Case(model, prompt), Case(half, prompt)
        layout, layers = case.inputs.layout, model.n_layers
        if prompt is LONG:
            names = [[name, *draw.sample(list(PATHWAYS), draw.randint(0, 1))] for name in PATHWAYS]
            plans = [
                pathway_plan(draw, layout, names=names[i % len(names)], layers=layers, asked=asked)
                for i in range(count)
            ]
        else:
            plans = [random_plan(draw, n=layout.n, layers=layers, asked=asked) for _ in range(count)]
        expected = case.by_oracle(plans, asked)
        few = draw.sample(range(count), min(count, 20))
        for found, oracles in (
            (case.by_engine(plans, asked), expected),
            (case.by_engine([plans[i] for i in few], asked, max_bytes=2**16), expected[few]),
        ):
            delta, flipped = compare(found, oracles)
            deltas.append(delta)
            flips += flipped
        moved += int(((expected - case.by_oracle([[]], asked)).abs().amax(dim=(1, 2)) > TOLERANCE).sum())
        half_engine.append((rough.by_engine(plans, asked) - expected).abs().flatten())
        half_plain.append((rough.by_oracle(plans, asked) - expected).abs().flatten())

    case = Case(model, SHORT)
    with plain.attending(model, "sdpa"), torch.inference_mode():
        stock = model.forward(case.inputs, use_cache=False, logits_to_keep=1).logits[0, -1]
    row = {
        "family": family,
        "plans": n_plans,
        "plans_that_move_logits": moved,
        "max_delta_logit": max(deltas),
        "argmax_differs": flips,
        "empty_plan_is_bit_identical": torch.equal(case.by_engine([[]], [last])[0, 0], stock),
        "attention_without_keys": silent_rows(case),
        "bf16_engine_max": float(torch.cat(half_engine).max()),
        "bf16_plain_max": float(torch.cat(half_plain).max()),
        "bf16_engine_mean": float(torch.cat(half_engine).mean()),
        "bf16_plain_mean": float(torch.cat(half_plain).mean()),
    }
    row["passed"] = (
        row["max_delta_logit"] <= TOLERANCE
        and row["argmax_differs"] == 0
        and row["empty_plan_is_bit_identical"]
        and row["attention_without_keys"] == 0
    )
    return row


def main(argv: Sequence[str] | None = None) -> int:
    """Check every family and print the table; return 1 if a check fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--out", type=common.new_file, help="also write the JSON to this file")
    parser.add_argument("--plans", type=common.whole(4), default=200, help="plans for each family, from 4 on")
    parser.add_argument("--seed", type=common.whole(0), default=0)
    args = parser.parse_args(argv)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a second thread only slows matrices this small down
    try:
        rows = [check(family, n_plans=args.plans, seed=args.seed) for family in FAMILIES]
    finally:
        torch.set_num_threads(threads)
    result = {
        "benchmark": "parity",
        "settings": SIZE | {"tokens": [SHORT["n"], LONG["n"]], "seed": args.seed, "tolerance": TOLERANCE},
        "families": rows,
        "passed": all(row["passed"] for row in rows),
    }
    columns = {
        name: "<" if isinstance(v, str | bool) else "" if isinstance(v, int) else ".1e" for name, v in rows[0].items()
    }
    common.finish(result, args, common.table(rows, columns))
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
