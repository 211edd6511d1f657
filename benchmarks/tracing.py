"""The whole table of causal tracing for one sample, against a clean and a corrupted full pass for each condition.

Conditions: All; Object; and for N = 2, 3, 4 the sinks, their unimodal and their cross-modal half, and five random sets
of the sinks' size: 26 sets of video tokens, restored at every layer, as when audio dominates. The sets are drawn at
random, one in N of the video tokens: the cost of restoring depends on how many tokens are restored and where, not on
what they are. In one process, one after the other:

1. *engine*: a clean run, a corrupted run, one `replay` of all conditions; both effects follow from it;
2. *reference*: what published scripts do for each condition: a clean full pass that keeps the states, and a corrupted
   one into which hooks put them back. `--reference-conditions` of them are run, spread evenly, and their mean counts;
3. *plain*: one full pass, as the unit of the arithmetic that is needed: two passes, and for each condition the computed
   rows, which are all rows after the first restored one except the restored ones, at all layers but the last.
   `over_arithmetic` is the engine's time divided by that of this arithmetic.

The reference's answers are compared with the engine's. JSON: `settings` (flat); `rows`, one for each length; `peaks`,
memory: of model and run together (`peak_mib`), of the run alone (`growth_mib`), and of the whole process
(`process_mib`). Of two runs keys and values are kept at every layer, which is little in a model whose keys are narrow
compared with its MLP:

    --layers 8 --width 2048 --heads 16 --kv-heads 2 --mlp 11008     # eight layers of Qwen2.5-Omni-3B's size
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import common
import torch
from torch import Tensor

from avsink.engine.interventions import Restore
from avsink.engine.run import clean_run
from avsink.testing.random_decoder import bare_inputs

DRAWS, ONE_IN = 5, (2, 3, 4)


class Bench:
    """One model, a clean prompt, and a corrupted one with other media."""

    def __init__(self, args: argparse.Namespace, *, tokens: int):
        self.args, self.model = args, common.model_of(args)
        self.clean, self.corrupted = (
            bare_inputs(self.model, n=tokens, question=args.question, seed=seed) for seed in (0, 1)
        )
        self.layout, self.n_layers = self.clean.layout, self.model.n_layers
        self.sets = self._sets()

    def _sets(self) -> list[Tensor]:
        video, rng = self.layout.video, torch.Generator().manual_seed(0)

        def some(count: int) -> Tensor:
            return video[torch.randperm(len(video), generator=rng)[:count].sort().values]

        sets = [video, some(len(video) * 2 // 5)]
        for one_in in ONE_IN:
            count = len(video) // one_in
            sinks = some(count)
            sets += [sinks, sinks[: count // 2], sinks[count // 2 :], *(some(count) for _ in range(DRAWS))]
        return sets

    def engine(self) -> Tensor:
        """Replay all conditions, (conditions, vocabulary)."""
        clean, corrupted = (clean_run(self.model, one, between=False) for one in (self.clean, self.corrupted))
        layers = range(self.n_layers)
        plans = [Restore(positions, layers, clean.states) for positions in self.sets]
        return corrupted.replay(plans, max_bytes=self.args.max_mib * common.MIB, progress=False)

    @torch.inference_mode()
    def plain(self) -> Tensor:
        """Run one full pass."""
        return self.model.forward(self.corrupted, use_cache=False, logits_to_keep=1).logits[0, -1]

    @torch.inference_mode()
    def reference(self, positions: Tensor) -> Tensor:
        """Run the two full passes of one condition, (vocabulary,)."""
        kept: list[Tensor] = []

        def keep(module, args, kwargs):
            kept.append((args[0] if args else kwargs["hidden_states"])[0])

        def put_back(index):
            def enter(module, args, kwargs):
                states = (args[0] if args else kwargs["hidden_states"]).clone()
                states[0, positions] = kept[index][positions]
                return ((states, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": states})

            return enter

        layers = self.model.decoder.layers
        self._run([layer.register_forward_pre_hook(keep, with_kwargs=True) for layer in layers], self.clean)
        hooks = [layer.register_forward_pre_hook(put_back(i), with_kwargs=True) for i, layer in enumerate(layers)]
        return self._run(hooks, self.corrupted).float().softmax(dim=-1)

    def _run(self, hooks, inputs) -> Tensor:
        try:
            return self.model.forward(inputs, use_cache=False, logits_to_keep=1).logits[0, -1]
        finally:
            for hook in hooks:
                hook.remove()

    def needed(self) -> float:
        """Count the arithmetic in passes: two, and the rows of each condition.

        They are the rows after the first restored one, less the restored ones. In the last layer a condition needs one
        row only, which is not counted.
        """
        n, layers = self.layout.n, self.n_layers
        rows = sum(n - int(positions[0]) - len(positions) for positions in self.sets)
        return 2 + rows / n * (layers - 1) / layers

    def row(self) -> dict:
        """Measure all sides."""
        clock, difference = common.Clock(self.model.device), 0.0
        step = max(1, len(self.sets) // self.args.reference_conditions)
        chosen = list(range(0, len(self.sets), step))[: self.args.reference_conditions]
        for _ in range(self.args.repeat):
            answers = clock.time("engine", self.engine)
            clock.time("plain", self.plain)
            for index in chosen:
                found = clock.time(("reference", index), lambda index=index: self.reference(self.sets[index]))
                difference = max(difference, float((found - answers[index]).abs().max()))
        times = [seconds for side, seconds in clock.seconds.items() if isinstance(side, tuple)]
        reference = sum(times) / len(times) * len(self.sets)
        engine, plain = clock.seconds["engine"], clock.seconds["plain"]
        return {
            "tokens": self.layout.n,
            "conditions": len(self.sets),
            "engine_seconds": engine,
            "plain_seconds": plain,
            "reference_seconds": reference,
            "ratio": reference / engine,
            "needed_passes": self.needed(),
            "limit": 2 * len(self.sets) / self.needed(),
            "over_arithmetic": engine / (plain * self.needed()),
            "max_difference": difference,
        }


def peaks(args: argparse.Namespace, argv: Sequence[str], *, tokens: int) -> list[dict]:
    """Measure the peak memory of every side, and its ratio to a plain pass's."""
    found = []
    for side in ("engine", "plain", "reference"):
        if args.device == "cpu":
            peak = common.in_child(__file__, argv, probe=side, tokens=tokens)
        else:
            peak = probe(args, side, tokens=tokens)
        found.append({"side": side, "tokens": tokens, **peak})
    for row in found:
        row["peak_mib"] = row["weights_mib"] + row["growth_mib"]
    plain = next(row for row in found if row["side"] == "plain")
    ratios = {"ratio": "peak_mib", "ratio_of_growth": "growth_mib", "ratio_of_process": "process_mib"}
    return [row | {name: row[of] and row[of] / plain[of] for name, of in ratios.items()} for row in found]


def probe(args: argparse.Namespace, side: str, *, tokens: int) -> dict[str, float]:
    """Measure the peak memory of one side."""
    bench = Bench(args, tokens=tokens)
    work = {"engine": bench.engine, "plain": bench.plain, "reference": lambda: bench.reference(bench.sets[0])}[side]
    return common.peak_of(work, bench.model)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its result."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = common.arguments(__doc__.splitlines()[0])
    add = parser.add_argument
    add("--reference-conditions", type=common.whole(1), default=4, help="conditions of the reference that are run")
    add("--max-mib", type=common.whole(1), default=32, help="memory that all replays together may take")
    add("--no-peaks", action="store_true", help="do not measure peak memory")
    add("--probe", help=argparse.SUPPRESS)
    parser.set_defaults(tokens=[2000])
    args = common.parsed(parser, argv)
    if args.model:
        parser.error(
            "--model: a checkpoint is traced in the notebook; this benchmark takes sizes alone, such as --config"
        )
    if args.probe:
        print(json.dumps(probe(args, args.probe, tokens=args.tokens[0])))
        return 0
    rows, memory = [], []
    for tokens in args.tokens:
        bench = Bench(args, tokens=tokens)
        rows.append(bench.row())
        about = common.settings(args, bench.model) | {"max_mib": args.max_mib}
        del bench
        if not args.no_peaks:
            memory += peaks(args, argv, tokens=tokens)
    result = {"benchmark": "tracing", "settings": about, "rows": rows, "peaks": memory}
    common.finish(result, args, text(result))
    return 0


def text(result: dict) -> str:
    """Format the result as tables."""
    columns = {"tokens": "", "conditions": "", "engine_seconds": ".2f", "plain_seconds": ".2f"}
    columns |= {"reference_seconds": ".2f", "ratio": ".1f", "needed_passes": ".1f", "limit": ".1f"}
    columns |= {"over_arithmetic": ".2f", "max_difference": ".0e"}
    parts = [
        ", ".join(f"{name} {value}" for name, value in result["settings"].items()),
        common.table(result["rows"], columns),
    ]
    if result["peaks"]:
        columns = {"side": "<", "tokens": ""} | dict.fromkeys(("weights_mib", "growth_mib", "process_mib"), ".0f")
        columns |= dict.fromkeys(("ratio", "ratio_of_growth", "ratio_of_process"), ".2f")
        parts.append(common.table(result["peaks"], columns))
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
