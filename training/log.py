"""The training log: one line of JSON per report, printed and appended to a file."""

from __future__ import annotations

import json
import time
from pathlib import Path

__all__ = ["Log"]


class Log:
    """Writes the reports of one stage."""

    def __init__(self, path: Path, stage: str):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.stage, self.began = path, stage, time.time()

    def __call__(self, step: int, **numbers: object) -> None:
        """Report numbers or names at a step."""
        row = {"stage": self.stage, "step": step, "seconds": round(time.time() - self.began)}
        row |= {key: value if isinstance(value, str) else round(float(value), 4) for key, value in numbers.items()}
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)
