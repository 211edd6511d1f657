"""Put each fault of the list into a copy of the package: python tests/mutants [--only N …] [--jobs 2].

The tests that must notice are first run without any fault. Then each fault is printed with the test that caught it. The
exit status is 1 if one lived, if its text is not in its file exactly once, or if its tests could not be run.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)}  # of the process that attempts are forked from
sys.path[:1] = [str(TESTS), str(TESTS.parent)]  # in place of this folder

from mutants.attempt import Outcome, attempt  # noqa: E402
from mutants.faults import Fault, faults  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="the numbers of the faults to try")
    parser.add_argument("--file", help="try the faults of files whose names contain this")
    parser.add_argument("--tests", nargs="+", help="run these files of tests/ in place of those that the list names")
    parser.add_argument("--jobs", type=int, default=1, help="how many to try at a time")
    args = parser.parse_args()
    chosen = [f for f in faults() if (not args.only or f.number in args.only) and (args.file or "") in f.file]
    own = tuple(f"tests/{name}" for name in args.tests or ())

    with ThreadPoolExecutor(args.jobs) as pool:
        files = sorted({name for fault in chosen for name in own or fault.tests})
        for name, clean in zip(files, pool.map(attempt, [[name] for name in files]), strict=True):
            if clean.kind != "lived":
                print(f"{name} does not pass without a fault: {clean.by}")
                return 1
        counts: Counter[str] = Counter()
        for fault, outcome in zip(chosen, pool.map(lambda f: _tried(f, own or f.tests), chosen), strict=True):
            counts[outcome.kind] += 1
            by = f"\n{'':11}{outcome.by}" if outcome.by else ""
            print(f"{fault.number:3} {outcome.kind:6} {fault.file}: {fault.breaks}{by}", flush=True)
    print(f"{len(chosen)} faults: " + ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())))
    return int(counts["caught"] < len(chosen))


def _tried(fault: Fault, tests: tuple[str, ...]) -> Outcome:
    try:
        return attempt(tests, fault)
    except ValueError as error:
        return Outcome("broken", str(error))


if __name__ == "__main__":
    sys.exit(main())
