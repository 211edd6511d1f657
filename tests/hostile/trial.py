"""Mass trials: things that users and disks do, repeated from a seed, each with a verdict.

1. a `Suite` makes the fixtures of its trials once (`setup`), and then one trial after the other (`trial`). A trial
   draws what it does from its own random generator, does it as a user would, and compares the outcome with the truth;
2. its outcome is one of `OUTCOMES`. Right, named and concealed are good; the others are faults of the project;
3. trials run in a process of their own, which is replaced when it dies or takes more than `LIMIT` seconds.
"""

from __future__ import annotations

import multiprocessing
import random
import traceback
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

__all__ = ["LIMIT", "OUTCOMES", "Suite", "Verdict", "refused", "tried"]

LIMIT = 30  # seconds
OUTCOMES = ("right", "named", "concealed", "raw traceback", "over 30 s", "silently wrong")
GOOD = OUTCOMES[:3]
LONGEST_MESSAGE = 1_500  # characters; longer ones are not read


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The outcome of one trial.

    outcome: right (what an undamaged input gives, or what the change means), named (refused, in a sentence that says
        what and where), concealed (a codec hid damage to its payload, and raised no flag), or one of the three faults.
    what: what was done, in a few words.
    said: the message, if there was one.
    number: the trial's number; together with the seed it repeats the trial.
    """

    outcome: str
    what: str
    said: str = ""
    number: int = -1

    @property
    def good(self) -> bool:
        return self.outcome in GOOD


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Trials of one kind.

    name: its name on the command line.
    trials: how many the long form makes.
    setup: folder -> what all trials share; called once in each process.
    trial: (shared, random generator, empty folder) -> verdict. An exception that leaves it is a raw traceback.
    """

    name: str
    trials: int
    setup: Callable[[Path], Any]
    trial: Callable[[Any, random.Random, Path], Verdict]


def refused(error: BaseException, what: str, *, names: Collection[str]) -> Verdict:
    """The verdict on an error: named if it was raised on purpose and its message holds all of `names`.

    An error was raised on purpose if the innermost frame of its traceback is a file of the package, and its message is
    short enough to be read. Give as names what a user needs to find the place: the file's name, a sample's id.
    """
    frames = traceback.extract_tb(error.__traceback__)
    ours = bool(frames) and "/avsink/" in frames[-1].filename and "site-packages" not in frames[-1].filename
    said = str(error)
    good = ours and len(said) <= LONGEST_MESSAGE and all(name in said for name in names)
    if good:
        return Verdict(outcome="named", what=what, said=said)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"
    return Verdict(outcome="raw traceback", what=what, said=f"{type(error).__name__} at {where}: {said}")


def tried(suite: Suite, *, seed: int, numbers: Collection[int]) -> Iterator[Verdict]:
    """Run the trials of these numbers. The same seed and number always make the same trial."""
    waiting = list(numbers)
    context = multiprocessing.get_context("spawn")  # a forked copy of a process with threads may hang
    while waiting:
        ours, theirs = context.Pipe()
        worker = context.Process(target=_work, args=(suite.name, seed, waiting, theirs), daemon=True)
        worker.start()
        theirs.close()
        try:
            ours.recv()  # ready: fixtures may take longer than a trial
            while waiting:
                if not ours.poll(LIMIT):
                    yield _number(Verdict(outcome="over 30 s", what="see the trial"), waiting)
                    break
                verdict = ours.recv()
                yield _number(verdict, waiting)
        except EOFError:
            if waiting:
                yield _number(Verdict(outcome="raw traceback", what="the process died", said=f"{worker}"), waiting)
        finally:
            worker.kill()
            worker.join()
            ours.close()


def _number(verdict: Verdict, waiting: list[int]) -> Verdict:
    return replace(verdict, number=waiting.pop(0))


def _work(name: str, seed: int, numbers: list[int], pipe) -> None:
    from hostile.suites import SUITES

    suite = SUITES[name]
    with TemporaryDirectory(prefix="hostile-") as folder:
        shared = suite.setup(_empty(Path(folder) / "shared"))
        pipe.send("ready")
        for number in numbers:
            rng = random.Random(f"{seed} {name} {number}")
            try:
                verdict = suite.trial(shared, rng, _empty(Path(folder) / str(number)))
            except Exception as error:
                frame = traceback.extract_tb(error.__traceback__)[-1]
                said = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}: {error}"
                verdict = Verdict(outcome="raw traceback", what="an exception left the trial", said=said)
            pipe.send(verdict)


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder
