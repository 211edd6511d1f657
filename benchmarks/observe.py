"""Time and memory of an observed run, against a run without observers and against the way of published scripts.

Measured at each layer: the last row's attention by group of tokens, the mean attention that every token receives from
later video and from later audio queries, and the norms and φ of all tokens. For each length of prompt N, one after the
other:

1. *plain*: the model's own forward pass in SDPA attention, with logits of the last position alone;
2. *observed*: `avsink.engine.observers.observe` with all three observers, and with each one alone;
3. *eager*: a forward pass with `output_attentions=True` and `output_hidden_states=True`, whose weights, layers x heads
   x N x N, are then reduced to the same numbers, which are compared with the observers'.

JSON: `settings` (flat); `rows`, one for each side and length. `growth_mib` is what the run adds to a loaded model;
`peak_mib` adds the weights, and is what torch calls the peak of allocated memory on CUDA; `process_mib` (CPU) is the
whole process. Each comes with its ratio to the plain run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence

import common
import plain
import torch
from torch import Tensor

from avsink.engine.observers import ColumnMeans, LastRow, Norms, observe

DIMS = (3, 5)  # instead of a model's sink dimensions; any two cost the same
PEAKS = ("peak_mib", "growth_mib", "process_mib")


class Bench:
    """One model and one prompt, with a method for each side."""

    def __init__(self, args: argparse.Namespace, *, tokens: int):
        self.model = common.model_of(args)
        self.inputs = common.inputs_of(args, self.model, tokens=tokens)
        self.layout = self.inputs.layout
        names = ("system", "video", "audio", "question", "other", "header", "last")
        self.groups = {name: getattr(self.layout, name) for name in names}

    def observers(self) -> dict[str, object]:
        """The three observers, new ones each time."""
        return {
            "last row": LastRow(self.groups),
            "column means": ColumnMeans(video=self.layout.video, audio=self.layout.audio),
            "norms": Norms(DIMS),
        }

    @torch.inference_mode()
    def plain(self) -> Tensor:
        """Run without observers."""
        with plain.attending(self.model, "sdpa"):
            return self.model.forward(self.inputs, use_cache=False, logits_to_keep=1).logits[0, -1]

    def observed(self) -> list[dict[str, Tensor]]:
        """Run with all three observers."""
        return observe(self.model, self.inputs, list(self.observers().values()))

    def alone(self, name: str) -> list[dict[str, Tensor]]:
        """Run with one observer."""
        return observe(self.model, self.inputs, [self.observers()[name]])

    @torch.inference_mode()
    def eager(self) -> list[dict[str, Tensor]]:
        """Keep all attention weights and states, and reduce them afterwards."""
        with plain.attending(self.model, "eager"):
            out = self.model.forward(
                self.inputs, use_cache=False, logits_to_keep=1, output_attentions=True, output_hidden_states=True
            )
        n, layout = self.layout.n, self.layout
        later = torch.ones(n, n, device=self.model.device).tril(-1)  # (queries, keys): the query is later
        shares, means, l2, phi = [], {"video": [], "audio": []}, [], []
        for weights, states in zip(out.attentions, out.hidden_states, strict=False):  # the last states enter no layer
            weights, states = weights[0].float().mean(0), states[0].float()  # (N, N), (N, width)
            shares.append({name: weights[-1, positions].sum() for name, positions in self.groups.items()})
            for name, found in means.items():
                rows = getattr(layout, name)
                found.append((weights[rows] * later[rows]).sum(0) / later[rows].sum(0))
            l2.append(states.norm(dim=-1))
            phi.append(states[:, list(DIMS)].abs().amax(-1) / states.pow(2).mean(-1).sqrt())
        return [
            {name: torch.stack([share[name] for share in shares]) for name in self.groups},
            {name: torch.stack(found) for name, found in means.items()},
            {"l2": torch.stack(l2), "phi": torch.stack(phi)},
        ]

    def sides(self) -> dict[str, Callable]:
        """The work of each side."""
        alone = {f"only {name}": lambda name=name: self.alone(name) for name in self.observers()}
        return {"plain": self.plain, "observed": self.observed, "eager": self.eager, **alone}


def difference(one: list[dict[str, Tensor]], other: list[dict[str, Tensor]]) -> float:
    """The largest difference, relative to the largest value of its kind."""
    worst = 0.0
    for a, b in zip(one, other, strict=True):
        for name in a:
            x, y = (t.cpu().float().nan_to_num(0.0) for t in (a[name], b[name]))
            worst = max(worst, float((x - y).abs().max() / y.abs().max()))
    return worst


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its result."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = common.arguments(__doc__.splitlines()[0])
    parser.set_defaults(tokens=[2000])
    parser.add_argument("--no-eager", action="store_true", help="leave out the eager reference")
    parser.add_argument("--no-peaks", action="store_true", help="do not measure peak memory")
    parser.add_argument("--probe", help=argparse.SUPPRESS)
    args = common.parsed(parser, argv)
    if args.probe:
        bench = Bench(args, tokens=args.tokens[0])
        print(json.dumps(common.peak_of(bench.sides()[args.probe], bench.model)))
        return 0

    rows, about = [], {}
    for tokens in args.tokens:
        bench = Bench(args, tokens=tokens)
        sides = bench.sides()
        if args.no_eager:
            del sides["eager"]
        clock = common.Clock(bench.model.device)
        for _ in range(args.repeat):
            found = {side: clock.time(side, work) for side, work in sides.items()}
        own = [{"side": side, "tokens": bench.layout.n, "seconds": clock.seconds[side]} for side in sides]
        for row in own:
            row["ratio_of_seconds"] = row["seconds"] / clock.seconds["plain"]
        if not args.no_eager:
            own[1]["max_difference"] = difference(found["observed"], found["eager"])
        about = common.settings(args, bench.model)
        if not args.no_peaks:
            for row in own[: 2 if args.no_eager else 3]:
                row |= peak(args, argv, bench, row["side"], tokens=tokens)
                row |= {f"ratio_of_{name}": row[name] / own[0][name] for name in PEAKS if row[name] is not None}
        rows += own
        del bench, sides, found
    result = {"benchmark": "observe", "settings": about, "rows": rows}
    columns = {"side": "<", "tokens": "", "seconds": ".3f", "ratio_of_seconds": ".2f", "max_difference": ".0e"}
    columns |= {"weights_mib": ".0f"} | dict.fromkeys(PEAKS, ".1f")
    columns |= {f"ratio_of_{name}": ".3f" for name in PEAKS}
    heading = ", ".join(f"{name} {value}" for name, value in about.items())
    common.finish(result, args, f"{heading}\n\n{common.table(rows, columns)}")
    return 0


def peak(args: argparse.Namespace, argv: Sequence[str], bench: Bench, side: str, *, tokens: int) -> dict[str, float]:
    """Measure the peak memory of one side."""
    if args.device == "cpu":
        found = common.in_child(__file__, argv, probe=side, tokens=tokens)
    else:
        found = common.peak_of(bench.sides()[side], bench.model)
    return found | {"peak_mib": found["weights_mib"] + found["growth_mib"]}


if __name__ == "__main__":
    sys.exit(main())
