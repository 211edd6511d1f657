"""What all benchmarks use: arguments, model and prompt, clocks, peak memory, printing.

A *side* is one of the ways that a benchmark compares.

The model is either built in code with random weights (of any size, or a published one with `--config`) or a real
checkpoint (`--model`). Time and memory of an exact method do not depend on the weights.

Time: all sides run one after the other, in `--repeat` rounds, and the best time of each side counts. A busy moment of
the machine thus slows all sides, and the best time is the one that it slowed least.

Peak memory: on CUDA, torch's own count of allocated bytes. On CPU, each side runs in a process of its own, where the
peak of resident memory is reset after a first run; the C library is told to return freed memory at once.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path

import torch
import transformers

from avsink import resources
from avsink.testing.random_decoder import FAMILIES, LETTERS, SIZES, bare_inputs, bare_model

MIB = 2**20
WIDTH = 8  # at least; `observe.py` looks at dimensions below it
VOCABULARY = 1 + max(max(ids) for ids in LETTERS.values())  # at least


def arguments(description: str) -> argparse.ArgumentParser:
    """Make a parser with the arguments that all benchmarks take."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--json", action="store_true", help="print JSON instead of tables")
    add("--out", type=new_file, help="also write the JSON to this file")
    add("--tokens", type=whole(1), nargs="+", default=[1000], help="lengths of the prompt")
    add("--question", type=whole(1), default=60, help="tokens of the user's text")
    add("--layers", type=whole(2), default=12)
    add("--width", type=whole(WIDTH), default=256)
    add("--heads", type=whole(1), default=8)
    add("--kv-heads", type=whole(1), default=4)
    add("--mlp", type=whole(1), default=768)
    add("--vocabulary", type=whole(VOCABULARY), default=1000)
    add("--family", choices=FAMILIES, default="qwen2.5-omni", help="class of the decoder")
    add("--config", choices=SIZES, help="a published size with random weights, instead of the six sizes above")
    add("--model", help="a checkpoint (a name or a folder), instead of any of these; --tokens is then ignored")
    add("--data", default="toyworld", help="the dataset that a checkpoint's sample comes from")
    add("--sample", type=whole(0), default=0, help="index of the sample in that dataset")
    add("--device", type=device, default="cpu", help="cpu or cuda")
    add("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    add("--threads", type=whole(1), help="torch's threads on CPU; None: torch's own choice")
    add("--repeat", type=whole(1), default=3, help="rounds in which everything is run; the best time counts")
    return parser


def whole(least: int, *, odd: bool = False) -> Callable[[str], int]:
    """The type of an argument that is a whole number from `least` on."""

    def number(text: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", text) or int(text) < least or (odd and int(text) % 2 == 0):
            kind = "an odd number" if odd else "a whole number"
            raise argparse.ArgumentTypeError(f"{text!r}; allowed: {kind} from {least} on")
        return int(text)

    return number


def device(text: str) -> str:
    """The type of an argument that names a device of this machine."""
    if not (found := re.fullmatch("cpu|cuda(?::([0-9]+))?", text)):
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: cpu, cuda, cuda:0, cuda:1, ...")
    if text != "cpu" and int(found[1] or 0) >= torch.cuda.device_count():
        raise argparse.ArgumentTypeError(
            f"{text!r}; torch {torch.__version__} sees {torch.cuda.device_count()} GPUs here"
        )
    return text


def new_file(text: str) -> Path:
    """The type of an argument that names a file to be written."""
    try:
        path = resources.expanded(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if hindrance := "it is a folder" if path.is_dir() else resources.unwritable(path.parent):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: {hindrance}")
    return path


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the arguments, and set the number of threads. Arguments that do not fit together end the program."""
    args = parser.parse_args(argv)
    args.tokens = list(dict.fromkeys(args.tokens))[: 1 if args.model else None]
    if problem := _problem(args):
        parser.error(problem)
    if args.threads:
        torch.set_num_threads(args.threads)
    return args


def _problem(args: argparse.Namespace) -> str:
    """Why these arguments cannot be used together; "" if they can."""
    if args.model:
        import avsink

        try:
            avsink.card(args.model)
            there = len(avsink.load_samples(args.data))
        except (ValueError, OSError) as error:
            return str(error)
        return f"--sample {args.sample}: {args.data} has {there} samples" if args.sample >= there else ""
    if not args.config and args.width % (2 * args.heads):
        return f"--width {args.width} --heads {args.heads}: heads must have the same, even width"
    if not args.config and args.heads % args.kv_heads:
        return f"--heads {args.heads} --kv-heads {args.kv_heads}: the first must be a multiple of the second"
    small = bare_model(args.family, layers=1, width=WIDTH, heads=2, kv_heads=1, mlp=1)
    try:
        for tokens in args.tokens:
            bare_inputs(small, n=tokens, question=args.question)
    except ValueError as error:
        return f"--tokens {tokens} --question {args.question}: {error}"
    return ""


def model_of(args: argparse.Namespace):
    """Build or load the model that the arguments describe."""
    dtype = getattr(torch, args.dtype)
    if args.model:
        import avsink

        return avsink.load(args.model, device=args.device, dtype=dtype)
    sizes = ("layers", "width", "heads", "kv_heads", "mlp", "vocabulary")
    size = SIZES[args.config] if args.config else {name: getattr(args, name) for name in sizes}
    return bare_model(args.family, **size, dtype=dtype, device=args.device)


def inputs_of(args: argparse.Namespace, model, *, tokens: int):
    """Make a prompt of that many tokens, or for a checkpoint prepare the sample, whatever its length."""
    if not args.model:
        return bare_inputs(model, n=tokens, question=args.question)
    import avsink

    return model.prepare(avsink.load_samples(args.data)[args.sample])


def settings(args: argparse.Namespace, model) -> dict[str, object]:
    """Describe what is measured and on what machine, as a flat dict."""
    config = model.decoder.config
    cuda = model.device.type == "cuda"
    return {
        "model": model.name,
        "family": args.family if not args.model else config.model_type,
        "layers": config.num_hidden_layers,
        "width": config.hidden_size,
        "heads": config.num_attention_heads,
        "kv_heads": config.num_key_value_heads,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "question": args.question,
        "repeat": args.repeat,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


class Clock:
    """The best time of each side over all rounds.

    Attributes:
        seconds: Side -> best time.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds: dict[Hashable, float] = {}

    def time(self, side: Hashable, work: Callable[[], object]):
        """Do the work of a side, measure its time, and return its result."""
        _wait(self.device)
        start = time.perf_counter()
        result = work()
        _wait(self.device)
        seconds = time.perf_counter() - start
        self.seconds[side] = min(seconds, self.seconds.get(side, seconds))
        return result


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_of(work: Callable[[], object], model) -> dict[str, float]:
    """Measure the peak memory of some work, in MiB.

    The work is done twice and measured the second time, because libraries set things up once and keep them.

    Returns:
        `weights_mib`: the model's weights; `growth_mib`: what the work adds to the memory in use before it;
        `process_mib`: on CPU, the peak of the whole process, with Python and its libraries; None on CUDA.
    """
    work()
    weights = sum(p.numel() * p.element_size() for p in model.hf.parameters())
    if model.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(model.device)
        before = torch.cuda.memory_allocated(model.device)
        kept = work()  # noqa: F841, its result is part of its peak
        growth, process = torch.cuda.max_memory_allocated(model.device) - before, None
    else:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before = _resident("VmRSS")
        kept = work()  # noqa: F841
        process = _resident("VmHWM")
        growth = process - before
    return {
        "weights_mib": weights / MIB,
        "growth_mib": growth / MIB,
        "process_mib": process and process / MIB,
    }


def _resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(
        f"/proc/self/status has no {field}: peak memory on CPU can be measured on Linux only; use --no-peaks"
    )


def in_child(script: str, argv: Sequence[str], *, probe: str, tokens: int) -> dict[str, float]:
    """Call the script again, in a process of its own, for the peak memory of one side alone (see `peak_of`)."""
    done = subprocess.run(
        [sys.executable, script, *argv, "--probe", probe, "--tokens", str(tokens)],
        capture_output=True,
        text=True,
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"},
    )
    if done.returncode:
        raise RuntimeError(f"the peak memory of {probe} could not be measured: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def table(rows: Sequence[Mapping], columns: Mapping[str, str]) -> str:
    """Print rows as aligned text.

    Args:
        rows: The rows.
        columns: Field -> format of its values, such as `.2f`; `<` aligns it to the left. The heading is the field.
    """
    lines = []
    widths = {
        name: max(len(name), *(len(_cell(row.get(name), form)) for row in rows)) for name, form in columns.items()
    }
    for row in [None, *rows]:
        cells = []
        for name, form in columns.items():
            text = name if row is None else _cell(row.get(name), form)
            cells.append(text.ljust(widths[name]) if form.startswith("<") else text.rjust(widths[name]))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _cell(value: object, form: str) -> str:
    if value is None:
        return "-"
    return format(value, form.lstrip("<")) if form.lstrip("<") else str(value)


def finish(result: Mapping, args: argparse.Namespace, text: str) -> None:
    """Print the result, as JSON or as `text`, and write the JSON to a file if asked."""
    written = json.dumps(result, indent=1, ensure_ascii=False)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(written + "\n")
    print(written if args.json else text)
