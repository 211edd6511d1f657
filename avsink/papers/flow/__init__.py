"""*From Senses to Decisions* (arXiv 2606.10147), here Flow: what it measures, claims and reports."""

from avsink.papers.flow import claims, known, printed, questions, reported
from avsink.papers.flow.measure import ABLATED, CLIP, INTERLEAVED, OUT, WINDOWS, kind_of, layers_to_discard

__all__ = [
    "ABLATED",
    "CLIP",
    "INTERLEAVED",
    "OUT",
    "WINDOWS",
    "claims",
    "kind_of",
    "known",
    "layers_to_discard",
    "printed",
    "questions",
    "reported",
]
