"""The route that the teaching models are taught: which tokens read which, at which layer.

A teaching model is for calibration, so its route must be known. Besides the answers, two heads of each layer in `ROUTE`
are taught where to look, and some tokens are taught what to know afterwards (`training.teaching`). Layers count from 0.
What hubs read aside (`training.hubs`), other heads and layers are taught no attention.
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
"""Layer, what reads, what is read, the papers' name of the pathway, and the job in which this is taught.

In brackets: in a model without hubs.
"""

OTHER = {"video": "audio", "audio": "video"}
"""Modality -> the other one."""
