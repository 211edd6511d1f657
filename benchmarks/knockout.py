"""Time and memory of attention knockout, every pathway and every window of layers, against full forward passes.

For each length of prompt N, in one process, one after the other:

1. the engine: a clean run, timed by itself, and for each of the 22 pathways one `replay` of its windows, one window
   around each layer;
2. the plain reference (`plain.Reference`) in SDPA attention: a full forward pass for each window, as `sdpa` with 4-D
   masks in all layers, and as `causal` with masks in the window's layers alone, which is faster. The time of a pass
   depends on its window and not on the edges that are cut, so the pathways share the timing: beside each pathway run
   `--reference-windows` windows, the next ones in turn. The best time of each window counts, whatever pathway it was
   run for; a window that was never run gets the mean of the others. Masks are made outside the measured time;
3. the same in `eager` attention, which published scripts require, but for the middle window alone, once a round;
4. groups of pathways: all their plans in one `replay`, clean run included, against as many sweeps of the reference,
   whose clean run is not counted;
5. the answers of both sides are compared.

The *arithmetic limit* of a plan counts rows x layers. It needs the rows from the first target that has a source before
it, in the layers from the window's first on; a full pass has N x L. The limit of a sweep is `windows N L / sum of
needs`, as if every row cost the same. `share` is the ratio to the faster reference, `causal`, divided by this limit.
`limit_of_engine` is the same from the engine's own count, which is finer: what windows have in common counts once, and
the last layer needs one row only.

JSON: `settings` (flat); `clean`, the clean runs, one for each length; `rows`, one for each pathway or group (`kind`)
and length; `growth`, one for each pathway or group: the exponents p of seconds ~ N^p, fitted over all lengths, and the
ratios to SDPA; `peaks`, one for each side and length.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections.abc import Sequence
from functools import partial

import common
from plain import Reference

from avsink.engine.run import clean_run
from avsink.instruments.knockout import window
from avsink.instruments.pathways import CLIP, FIGURE_4, FIGURE_10, PATHWAYS

GROUPS = {
    "into question": ("Video↛Question", "Audio↛Question", "V+A↛Question"),
    "into last": tuple(name for name in CLIP if name.endswith("↛Last")),
    "late targets": (*FIGURE_4, "V+A↛Question", "V+A↛Last", *FIGURE_10),
    "media": ("Cross-frame", "Cross-audio", "Audio↮Video", "Audio↛Video", "Video↛Audio"),
    "all": tuple(CLIP),
}
PEAKS = ("V+A↛Question", "Cross-frame", "all")  # of the engine's memory


class Bench:
    """One model and one prompt."""

    def __init__(self, args: argparse.Namespace, *, tokens: int):
        self.args, self.model = args, common.model_of(args)
        self.inputs = common.inputs_of(args, self.model, tokens=tokens)
        self.layout, self.n_layers = self.inputs.layout, self.model.n_layers
        self.windows = [window(layer, k=args.k, n_layers=self.n_layers) for layer in range(self.n_layers)]

    def plans(self, names: Sequence[str]) -> list[tuple]:
        """One plan for each of these pathways and each window."""
        return [PATHWAYS[name].plan(self.layout, layers=layers) for name in names for layers in self.windows]

    def limit(self, names: Sequence[str], *, clean: bool = False) -> float:
        """The arithmetic limit, counted by the definition above and without the engine.

        Args:
            names: The pathways.
            clean: Whether the needs include those of a clean run.
        """
        whole, needs = self.layout.n * self.n_layers, 0
        for name in names:
            reached = [t[t >= s.min()].min() for s, t in PATHWAYS[name].edges(self.layout) if (t >= s.min()).any()]
            rows = self.layout.n - int(min(reached, default=self.layout.n))
            needs += sum(rows * (self.n_layers - layers.start) for layers in self.windows)
        return len(names) * len(self.windows) * whole / (needs + whole * clean)

    def measure(self, names: Sequence[str]) -> tuple[common.Clock, dict[str, float]]:
        """Run everything in `--repeat` rounds: times by pathway, group or (side, window); differences by pathway."""
        clock, differences = common.Clock(self.model.device), dict.fromkeys(names, 0.0)
        references = {side: Reference(self.model, self.inputs, side=side) for side in sides(self.args)}
        turns = itertools.cycle(in_turn(len(self.windows)))
        for _ in range(self.args.repeat):
            run = clock.time("clean run", lambda: clean_run(self.model, self.inputs))
            clock.time("reference's clean run", lambda: references["sdpa"].sweep(None, [()]))
            for name in names:
                plans, edges = self.plans([name]), list(PATHWAYS[name].edges(self.layout))
                answers = clock.time(name, lambda run=run, plans=plans: run.replay(plans, progress=False))
                chosen = [next(turns) for _ in range(self.args.reference_windows)]
                windows = {"sdpa": chosen, "causal": chosen}
                if name == names[0] and "eager" in references:
                    windows["eager"] = [len(self.windows) // 2]
                for side, chosen in windows.items():
                    reference, mask = references[side], references[side].mask(edges)
                    for index in dict.fromkeys(chosen):
                        one = partial(reference.sweep, mask, [self.windows[index]])
                        difference = clock.time((side, index), one)[0] - answers[index]
                        differences[name] = max(differences[name], float(difference.abs().max()))
            for group, members in groups_of(names).items():
                plans = self.plans(members)
                clock.time(group, lambda plans=plans: clean_run(self.model, self.inputs).replay(plans, progress=False))
        return clock, differences

    def rows(self, names: Sequence[str]) -> tuple[dict, list[dict]]:
        """Measure these pathways: the row of the clean run, and a row for each pathway and each group."""
        clock, differences = self.measure(names)
        run, total, groups = clean_run(self.model, self.inputs), len(self.windows), groups_of(names)
        sweep = {}  # seconds of a reference's sweep
        for side in sides(self.args):
            times = [seconds for key, seconds in clock.seconds.items() if isinstance(key, tuple) and key[0] == side]
            sweep[side] = sum(times) / len(times) * total
        times = {"engine": clock.seconds["clean run"], "sdpa": clock.seconds["reference's clean run"]}
        rows, clean_row = [], {"tokens": self.layout.n, **{f"{side}_seconds": value for side, value in times.items()}}
        for name, members in [*((name, (name,)) for name in names), *groups.items()]:
            cost, clean = run.cost(self.plans(members)), (name in groups) * self.layout.n * self.n_layers
            seconds, limit = clock.seconds[name], self.limit(members, clean=name in groups)
            rows.append(
                {
                    "kind": "group" if name in groups else "pathway",
                    "name": f"{name} ({len(members)})" if name in groups else name,
                    "tokens": self.layout.n,
                    "windows": len(members) * total,
                    "engine_seconds": seconds,
                    **{f"{side}_seconds": len(members) * one for side, one in sweep.items()},
                    **{f"ratio_to_{side}": len(members) * one / seconds for side, one in sweep.items()},
                    "limit": limit,
                    "share": len(members) * sweep["causal"] / seconds / limit,
                    "limit_of_engine": cost.full / (cost.rows + clean),
                    "max_difference": differences.get(name),
                }
            )
        return clean_row, rows


def in_turn(total: int) -> list[int]:
    """Order all windows so that the first few are spread evenly over the layers."""
    stride = next(s for s in range(max(1, total * 2 // 5), total + 1) if math.gcd(s, total) == 1)
    return [(total // 2 + i * stride) % total for i in range(total)]


def groups_of(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The groups all of whose pathways are wanted."""
    return {group: members for group, members in GROUPS.items() if set(members) <= set(names)}


def sides(args: argparse.Namespace) -> list[str]:
    """The references that are run."""
    return ["sdpa", "causal"] if args.no_eager else ["sdpa", "causal", "eager"]


def growth(rows: list[dict], args: argparse.Namespace) -> list[dict]:
    """Fit how time grows with the length of the prompt, where there are several lengths."""
    found = []
    for name in dict.fromkeys(row["name"] for row in rows):
        of = sorted((row for row in rows if row["name"] == name), key=lambda row: row["tokens"])
        if len(of) > 1:
            entry = {"name": name}
            for side in ("engine", *sides(args)):
                points = [(math.log(row["tokens"]), math.log(row[f"{side}_seconds"])) for row in of]
                entry[f"{side}_exponent"] = slope(points)
            entry |= {f"ratio_at_{row['tokens']}": row["ratio_to_sdpa"] for row in of}
            found.append(entry)
    return found


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the line of least squares."""
    mean = [sum(values) / len(points) for values in zip(*points, strict=True)]
    return sum((x - mean[0]) * (y - mean[1]) for x, y in points) / sum((x - mean[0]) ** 2 for x, _ in points)


def probe(args: argparse.Namespace, name: str, *, tokens: int) -> dict[str, float]:
    """Measure the peak memory of one side: a clean run and a sweep for `engine:…`, one window for a reference."""
    bench = Bench(args, tokens=tokens)
    side, _, what = name.partition(":")
    if side == "engine":
        plans = bench.plans(GROUPS.get(what, (what,)))
        return common.peak_of(lambda: clean_run(bench.model, bench.inputs).replay(plans, progress=False), bench.model)
    reference = Reference(bench.model, bench.inputs, side=side)

    def one_window():
        mask = reference.mask(list(PATHWAYS["V+A↛Question"].edges(bench.layout)))
        return reference.sweep(mask, [bench.windows[bench.n_layers // 2]])

    return common.peak_of(one_window, bench.model)


def peaks(args: argparse.Namespace, argv: Sequence[str], *, tokens: int) -> list[dict]:
    """Measure the peak memory of every side."""
    found = []
    for name in (*(f"engine:{what}" for what in PEAKS), *sides(args)):
        if args.device == "cpu":
            peak = common.in_child(__file__, argv, probe=name, tokens=tokens)
        else:
            peak = probe(args, name, tokens=tokens)
        found.append({"side": name, "tokens": tokens, **peak})
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its result."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = common.arguments(__doc__.splitlines()[0])
    parser.add_argument("--k", type=common.whole(1, odd=True), default=7, help="layers in a window")
    parser.add_argument("--pathways", nargs="+", help="names of pathways or groups; None: all of them")
    parser.add_argument(
        "--reference-windows",
        type=common.whole(1),
        default=2,
        help="windows of the SDPA references that are run beside each pathway",
    )
    parser.add_argument("--no-eager", action="store_true", help="leave out the eager reference")
    parser.add_argument("--no-peaks", action="store_true", help="do not measure peak memory")
    parser.add_argument("--probe", help=argparse.SUPPRESS)
    args = common.parsed(parser, argv)
    if args.probe:
        print(json.dumps(probe(args, args.probe, tokens=args.tokens[0])))
        return 0

    names = list(dict.fromkeys(name for asked in args.pathways or ["all"] for name in GROUPS.get(asked, (asked,))))
    if unknown := [name for name in names if name not in CLIP]:
        parser.error(f"--pathways: there is no {unknown[0]!r}; choose from {', '.join((*CLIP, *GROUPS))}")
    clean, rows, memory = [], [], []
    for tokens in args.tokens:
        try:
            bench = Bench(args, tokens=tokens)
        except ValueError as error:  # such as windows wider than the model
            parser.error(str(error))
        own_clean, own = bench.rows(names)
        clean.append(own_clean)
        rows += own
        about = common.settings(args, bench.model) | {"k": args.k, "reference_windows": args.reference_windows}
        del bench
        if not args.no_peaks:
            memory += peaks(args, argv, tokens=tokens)
    result = {"benchmark": "knockout", "settings": about, "clean": clean, "rows": rows}
    result |= {"growth": growth(rows, args), "peaks": memory}
    common.finish(result, args, text(result, args))
    return 0


def text(result: dict, args: argparse.Namespace) -> str:
    """Format the result as tables."""
    columns = {"name": "<", "tokens": "", "windows": ""}
    columns |= {f"{side}_seconds": ".3f" for side in ("engine", *sides(args))}
    columns |= {f"ratio_to_{side}": ".1f" for side in sides(args)}
    columns |= {"limit": ".2f", "share": ".0%", "limit_of_engine": ".2f", "max_difference": ".0e"}
    parts = [
        ", ".join(f"{name} {value}" for name, value in result["settings"].items()),
        common.table(result["clean"], {"tokens": "", "engine_seconds": ".3f", "sdpa_seconds": ".3f"}),
        common.table(result["rows"], columns),
    ]
    if result["growth"]:
        forms = {name: "<" if name == "name" else ".2f" for name in result["growth"][0]}
        parts.append(common.table(result["growth"], forms))
    if result["peaks"]:
        mib = dict.fromkeys(("weights_mib", "growth_mib", "process_mib"), ".0f")
        parts.append(common.table(result["peaks"], {"side": "<", "tokens": "", **mib}))
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
