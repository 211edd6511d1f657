"""A short form of the mass trials; the long one is `python tests/hostile`."""

from __future__ import annotations

import pytest
from hostile.suites import SUITES
from hostile.trial import tried

SHORT = 20  # trials of each suite, from a seed that the long form does not use


@pytest.mark.parametrize("name", SUITES)
def test_nothing_goes_wrong_silently(name: str) -> None:
    verdicts = list(tried(SUITES[name], seed=1, numbers=range(SHORT)))
    assert len(verdicts) == SHORT
    assert not [verdict for verdict in verdicts if not verdict.good]
