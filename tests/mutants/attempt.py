"""One attempt: tests are run against a copy of the package, with a fault in it or without.

1. The package and its tests are copied to a temporary folder, and the fault is put into the copy;
2. a process of its own, forked from one that has imported everything but avsink (`warm`), finds nothing but the copy:
   the checkout is taken off its path, and the module with the fault is looked at before the first test;
3. the tests are run up to the first that fails.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mutants.faults import ROOT, Fault

__all__ = ["Outcome", "attempt"]

LIMIT = 600  # seconds; a fault that makes tests endless is noticed, too
COPIED, LINKED = ("avsink", "tests"), ("data", "benchmarks", "book", "notebooks", "training", "pyproject.toml")
PASSED, FAILED = 0, 1  # exit codes of pytest

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["mutants.warm"])


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended: `caught`, `lived`, or `broken` if the tests could not be run; and by which test, or why."""

    kind: str
    by: str = ""


def attempt(tests: Sequence[str], fault: Fault | None = None) -> Outcome:
    """Run the tests against a copy of the package with this fault.

    Raises:
        ValueError: The fault's text is not in its file exactly once.
    """
    with TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder).resolve()
        for name in COPIED:
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in LINKED:
            (copy / name).symlink_to(ROOT / name)
        if fault:
            (copy / fault.file).write_text(fault.put_into((ROOT / fault.file).read_text("utf-8")), "utf-8")
        ours, theirs = _context.Pipe(duplex=False)
        process = _context.Process(target=_run, args=(copy, tuple(tests), fault and fault.module, theirs))
        process.start()
        theirs.close()
        try:
            return ours.recv() if ours.poll(LIMIT) else Outcome("caught", f"no end after {LIMIT} s")
        except EOFError:
            return Outcome("caught", "the process died")
        finally:
            process.join(timeout=5)
            process.kill()
            process.join()
            ours.close()


class _First:
    """A plugin of pytest that notes the first test that fails."""

    name = ""

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed and not self.name:
            self.name = report.nodeid


def _run(copy: Path, tests: tuple[str, ...], module: str | None, pipe) -> None:
    os.chdir(copy)
    output = (copy / "output.txt").open("w+")
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    sys.dont_write_bytecode = True
    os.environ["PYTHONPATH"] = str(copy)  # of processes that tests start
    sys.path[:] = [str(copy), *(p for p in sys.path if Path(p).resolve() not in (ROOT, ROOT / "tests"))]
    import pytest

    try:
        found = importlib.import_module(module or "avsink")
    except Exception as error:
        pipe.send(Outcome("broken", f"cannot be imported: {error!r}"))
        return
    if not Path(found.__file__).is_relative_to(copy):
        pipe.send(Outcome("broken", f"{found.__file__} was imported, which is not the copy"))
        return
    first = _First()
    code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests], plugins=[first])
    if code in (PASSED, FAILED):
        pipe.send(Outcome("caught", first.name) if code else Outcome("lived"))
    else:
        output.seek(0)
        pipe.send(Outcome("broken", f"pytest ended with {code}: {output.read()[-2000:]}"))
