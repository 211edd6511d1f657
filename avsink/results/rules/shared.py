"""What the kinds of rules share: the fewest samples, and the answer where nothing was measured."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import pandas as pd

from avsink.results.verdicts import Found

__all__ = ["FEWEST", "Test", "if_measured"]

Test = Callable[[pd.DataFrame], Found]
FEWEST = 10  # samples that a rule needs


def if_measured(test: Test) -> Test:
    """Decorate a rule's test: rows of a run in which nothing was measured, which may lack columns, are not judged."""

    @wraps(test)
    def tested(rows: pd.DataFrame) -> Found:
        return Found(*test(rows)) if len(rows) else Found("not measured", "nothing was measured")

    return tested
