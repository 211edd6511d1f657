"""The list of faults: slips of one line that a test must notice, as data in the TOML files of this folder.

    [[module]]
    file = "instruments/knockout.py"        # in avsink/
    tests = ["instruments/test_knockout.py"]  # in tests/; the one that is likely to notice comes first

    [[module.fault]]
    breaks = "what is wrong with it, in one sentence"
    before = "text that the file holds exactly once"
    after = "what takes its place"

A fault may name tests of its own. None of them is another way to write the same: each changes what is measured.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Fault", "faults"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault.

    number: its place in the list, from 1 on.
    file: the file that it is put into, in the checkout; likewise `tests`, which must notice it.
    breaks: what is wrong with it.
    before, after: the text that is replaced, and what takes its place.
    """

    number: int
    file: str
    breaks: str
    before: str
    after: str
    tests: tuple[str, ...]

    @property
    def module(self) -> str:
        """The name under which the file is imported."""
        return self.file.removesuffix(".py").replace("/", ".")

    def put_into(self, source: str) -> str:
        """Return the source with the fault in it.

        Raises:
            ValueError: The source does not hold the text exactly once.
        """
        found = source.count(self.before)
        if found != 1:
            raise ValueError(
                f"fault {self.number} ({self.breaks}): {self.file} holds its text {found} times, not once; give the "
                f"text as it is now:\n{self.before}"
            )
        return source.replace(self.before, self.after)


def faults() -> tuple[Fault, ...]:
    """Read the list."""
    found: list[Fault] = []
    for path in sorted(HERE.glob("*.toml")):
        for module in tomllib.loads(path.read_text(encoding="utf-8"))["module"]:
            for fault in module["fault"]:
                fields = {"tests": module["tests"], **fault}
                tests = tuple(f"tests/{name}" for name in fields.pop("tests"))
                found.append(Fault(number=len(found) + 1, file=f"avsink/{module['file']}", tests=tests, **fields))
    return tuple(found)
