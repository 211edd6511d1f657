"""Repeat the mass trials: python tests/hostile [media parts checkpoints manifests pages] [--seed 0] [--trials N].

For each suite it prints how many trials were made and how they ended, then every bad one with its number, which
`--only` repeats. The exit status is 0 if none was bad.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
TESTS = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(TESTS), str(TESTS.parent)]  # in place of this folder, whose `pages` is not the book's

from hostile.suites import SUITES  # noqa: E402
from hostile.trial import OUTCOMES, tried  # noqa: E402
from tqdm import tqdm  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/hostile", description=__doc__.splitlines()[0])
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"some of {', '.join(SUITES)}; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, help="how many of each suite; by default as many as it says")
    parser.add_argument("--only", type=int, nargs="+", help="the numbers of the trials to repeat")
    parser.add_argument("--verbose", action="store_true", help="print every trial")
    args = parser.parse_args()
    if unknown := [name for name in args.suites if name not in SUITES]:
        parser.error(f"no suite {', '.join(unknown)}; there are {', '.join(SUITES)}")

    bad = 0
    print(" | ".join(("suite", "tried", *OUTCOMES)), flush=True)
    for name in args.suites or SUITES:
        suite = SUITES[name]
        numbers = args.only or range(args.trials or suite.trials)
        verdicts = list(tqdm(tried(suite, seed=args.seed, numbers=numbers), total=len(numbers), desc=name, leave=False))
        counts = Counter(verdict.outcome for verdict in verdicts)
        print(" | ".join([name, str(len(verdicts)), *(str(counts[outcome]) for outcome in OUTCOMES)]), flush=True)
        for verdict in verdicts:
            if args.verbose or not verdict.good:
                print(f"  {verdict.number}: {verdict.outcome}: {verdict.what}: {verdict.said}", flush=True)
        bad += sum(not verdict.good for verdict in verdicts)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
