"""Prefill with discarding: the time that it saves, beside the arithmetic that it saves.

For each length of prompt N and each depth, in one process: the text decoder's prefill with its cache, in the
configurations of Flow's table 4, where one kind of token (or all) is removed after the layer at that depth. The
reference is the same call of the same model with nothing removed.

Each configuration runs right after a reference run of its own, `--repeat` times. `saving` is 1 - the median ratio of
the two times, `spread` half the distance between the quartiles of the ratios. `arithmetic_saving` counts the
floating-point operations of matrix products and attention that are left out
(`avsink.instruments.discarding.arithmetic`), and `share` is `saving` / `arithmetic_saving`: 1 is the best possible.
Where `arithmetic_saving` is below `TELLING`, noise is as large, and there is no share. `max_difference` compares the
answers with those of a replay of the same plan, which removes nothing.

JSON: `settings` (flat); `rows`, one for each configuration, depth and length.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence

import common
import torch

from avsink.engine import live
from avsink.engine.record import decoder_inputs
from avsink.engine.run import clean_run
from avsink.instruments import discarding

TELLING = 0.05
DEPTHS = (0.25, 0.5, 0.74)  # the last is the paper's: layer 26 of 0 to 35


def rows_of(args: argparse.Namespace, *, tokens: int) -> tuple[object, list[dict]]:
    """Measure one length of prompt: the model, and a row for each configuration and depth."""
    model = common.model_of(args)
    inputs = common.inputs_of(args, model, tokens=tokens).to(model.device)
    arguments = decoder_inputs(model, inputs) | {"use_cache": True}
    cases = {}
    for depth in args.depths:
        layer = round(depth * (model.n_layers - 1))
        groups = dict.fromkeys({**discarding.CLIP, **discarding.INTERLEAVED}.values(), layer)
        for name, plan in discarding.configurations(inputs.layout, after=groups).items():
            if plan:
                cases[depth, layer, name] = plan

    def prefill(plan):
        with torch.inference_mode(), live.discarding(model, plan, n=inputs.layout.n):
            return model.decoder(**arguments).last_hidden_state[0, -1]

    clock, ratios = common.Clock(model.device), {case: [] for case in cases}
    for _ in range(args.repeat):
        for case, plan in cases.items():
            times = []
            for work in ((), plan):
                side = common.Clock(model.device)
                side.time("it", lambda work=work: prefill(work))
                times.append(side.seconds["it"])
            ratios[case].append(times[1] / times[0])
            for name, seconds in (("reference", times[0]), (case, times[1])):
                clock.seconds[name] = min(seconds, clock.seconds.get(name, seconds))

    replayed = clean_run(model, inputs).replay(list(cases.values()), progress=False)
    whole, rows = discarding.arithmetic(model, inputs.layout), []
    for (case, plan), expected in zip(cases.items(), replayed, strict=True):
        depth, layer, name = case
        found = live.prefill(model, inputs, plan)[0].softmax(dim=-1)
        low, middle, high = statistics.quantiles(ratios[case], n=4) if args.repeat > 1 else [ratios[case][0]] * 3
        saving = 1 - middle
        arithmetic = 1 - discarding.arithmetic(model, inputs.layout, plan) / whole
        rows.append(
            {
                "config": name,
                "tokens": inputs.layout.n,
                "depth": depth,
                "after_layer": layer,
                "discarded": sum(len(one.positions) for one in plan),
                "reference_ms": 1000 * clock.seconds["reference"],
                "ms": 1000 * clock.seconds[case],
                "saving": saving,
                "spread": (high - low) / 2,
                "arithmetic_saving": arithmetic,
                "share": saving / arithmetic if arithmetic >= TELLING else None,
                "max_difference": float((found - expected).abs().max()),
            }
        )
    return model, rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its result."""
    parser = common.arguments(__doc__.splitlines()[0])
    parser.add_argument(
        "--depths", type=float, nargs="+", default=list(DEPTHS), help="from 0, the first layer, to below 1, the last"
    )
    parser.set_defaults(tokens=[2000], repeat=10)
    args = common.parsed(parser, argv)
    if wrong := [depth for depth in args.depths if not 0 <= depth < 1]:
        parser.error(f"--depths: {wrong[0]} is not a depth from 0 to below 1")
    rows = []
    for tokens in args.tokens:
        model, own = rows_of(args, tokens=tokens)
        rows += own
    result = {"benchmark": "discard", "settings": common.settings(args, model), "rows": rows}
    common.finish(result, args, text(result))
    return 0


def text(result: dict) -> str:
    """Format the result as a table."""
    columns = {"config": "<", "tokens": "", "depth": ".2f", "after_layer": "", "discarded": "", "reference_ms": ".1f"}
    columns |= {
        "ms": ".1f",
        "saving": ".1%",
        "spread": ".1%",
        "arithmetic_saving": ".1%",
        "share": ".0%",
        "max_difference": ".0e",
    }
    about = ", ".join(f"{name} {value}" for name, value in result["settings"].items())
    return f"{about}\n\n{common.table(result['rows'], columns)}"


if __name__ == "__main__":
    sys.exit(main())
