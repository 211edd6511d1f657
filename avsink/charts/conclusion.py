"""The verdict on a page's claim, as its last paragraph."""

from __future__ import annotations

from dataclasses import dataclass

from avsink.charts.markup import VERBATIM, escaped, visible
from avsink.results.verdicts import Verdict

__all__ = ["Conclusion", "verdict"]


@dataclass(frozen=True)
class Conclusion:
    """A verdict in words, the outcome in bold."""

    found: Verdict

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        outcome, _, reason = str(self.found).partition(":")
        html = f'<p class="{VERBATIM}"><strong>{escaped(outcome)}</strong>:{escaped(reason)}</p>'
        return {"text/html": html, "text/plain": visible(self.found)}


def verdict(found: Verdict) -> Conclusion:
    """Show a verdict: the outcome, the claim with its place in the paper, and the reason."""
    return Conclusion(found)
