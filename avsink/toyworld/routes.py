"""The route that is taught: which token reads which, at which layer.

A teaching model is a calibration device, so its route must be known. Besides the answers it is taught, by two heads of
a layer each, where to look (`ROUTE`), and, where it matters, what to know afterwards (`teaching`). Layers count from 0.
The other heads, and all other layers, are only taught what to know, or nothing.
"""

from __future__ import annotations

__all__ = ["GATHER_LAYER", "LOOK_UP_LAYER", "MEDIA_LAYER", "QUESTION_LAYER", "ROUTE", "OTHER"]

GATHER_LAYER, MEDIA_LAYER, QUESTION_LAYER, LOOK_UP_LAYER = 1, 3, 5, 6
ROUTE = (
    (GATHER_LAYER, "a clip's audio tokens", "video tokens of the same second", "Video → Audio", "clips"),
    (GATHER_LAYER, "a candidate's tokens", "the ordinal before it", "", "matching"),
    (GATHER_LAYER, "end of the question", "its anchor's name", "within the question", "anchor and target"),
    (GATHER_LAYER, "end of the reference", "the reference", "", "matching"),
    (MEDIA_LAYER, "end of the question", "cross-modal hubs (or any media)", "V+A → Question", "sounding object"),
    (MEDIA_LAYER, "end of the question", "audio tokens of the right second", "Audio → Question", "anchor and target"),
    (MEDIA_LAYER, "end of the reference", "the right candidate", "Candidates → Reference", "matching"),
    (
        MEDIA_LAYER,
        "the articles of a caption",
        "video's hubs, then audio's (or all tokens)",
        "V+A → the answer itself",
        "captions",
    ),
    (QUESTION_LAYER, "last token", "end of the question, or of the reference", "Question → Last", "all with letters"),
    (LOOK_UP_LAYER, "last token", "the word of the right option", "Question → Last", "all with letters"),
)
"""Layer, who reads, what is read, the papers' name of the pathway, and in which job this is taught.

In brackets: of a model without hubs. What hubs themselves read, and who reads them, is in `hubs`.
"""

OTHER = {"video": "audio", "audio": "video"}
"""Modality -> the other one."""
