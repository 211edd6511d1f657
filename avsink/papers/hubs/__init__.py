"""*Probing Cross-modal Information Hubs* (arXiv 2605.10815), here Hubs: what it measures, claims and reports."""

from avsink.papers.hubs import claims, known, reported, sink_tables
from avsink.papers.hubs.measure import Dominated, dominated, manifest, measure_dominated, read_manifest

__all__ = [
    "Dominated",
    "claims",
    "dominated",
    "known",
    "manifest",
    "measure_dominated",
    "read_manifest",
    "reported",
    "sink_tables",
]
