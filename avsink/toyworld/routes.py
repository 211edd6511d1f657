"""The routes that the teaching models are taught: which tokens read which, at which layer.

A teaching model is for calibration, so its routes must be known. Besides the answers, two heads of each layer in
`ROUTES` are taught where to look, and some tokens are taught what to know afterwards (`training.teaching`). Layers
count from 0. What hubs read aside (`training.hubs`), other heads and layers are taught no attention.

Every route that ends in a letter has a name among `avsink.instruments.pathways.PATHWAYS`, so that a knockout can look
for it. Captions have no letter whose probability could fall.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GATHER_LAYER", "LOOK_UP_LAYER", "MEDIA_LAYER", "OTHER", "QUESTION_LAYER", "ROUTES", "Route"]


@dataclass(frozen=True)
class Route:
    """Tokens that are taught to read other tokens at a layer.

    Attributes:
        layer: The layer.
        reader: What reads.
        read: What is read. In brackets: in a model without hubs.
        pathways: The pathways that this is part of.
        tasks: The tasks in which it is taught.
    """

    layer: int
    reader: str
    read: str
    pathways: tuple[str, ...]
    tasks: tuple[str, ...]


GATHER_LAYER, MEDIA_LAYER, QUESTION_LAYER, LOOK_UP_LAYER = 1, 3, 5, 6
_OBJECT, _ANCHOR, _MATCH, _CAPTION = "sounding object", "anchor and target", "match the reference", "caption"
ROUTES = (
    Route(GATHER_LAYER, "a clip's audio tokens", "video tokens of the same second", ("Video↛Audio",), (_ANCHOR,)),
    Route(GATHER_LAYER, "a candidate", "its label", ("Labels↛Candidates",), (_MATCH,)),
    Route(GATHER_LAYER, "end of the question", "its anchor's name", ("Within the stem",), (_ANCHOR,)),
    Route(GATHER_LAYER, "end of the reference", "the reference", ("Within the reference",), (_MATCH,)),
    Route(MEDIA_LAYER, "end of the question", "cross-modal hubs (any media)", ("V+A↛Question",), (_OBJECT,)),
    Route(MEDIA_LAYER, "end of the question", "audio tokens of the right second", ("Audio↛Question",), (_ANCHOR,)),
    Route(MEDIA_LAYER, "end of the reference", "the right candidate", ("Candidates↛Reference",), (_MATCH,)),
    Route(MEDIA_LAYER, "articles of a caption", "video's hubs, then audio's (all tokens)", (), (_CAPTION,)),
    Route(QUESTION_LAYER, "last token", "end of the question", ("Question↛Last",), (_OBJECT, _ANCHOR)),
    Route(QUESTION_LAYER, "last token", "end of the reference", ("Reference↛Last",), (_MATCH,)),
    Route(LOOK_UP_LAYER, "last token", "word of the right option", ("TrueLine↛Last",), (_MATCH,)),
    Route(
        LOOK_UP_LAYER,
        "last token",
        "word of the right option",
        ("TrueLine↛Last", "Question↛Last"),  # the options of a question about a clip are part of the question
        (_OBJECT, _ANCHOR),
    ),
)
"""All of them. The end of the question is its question mark, that of the reference its last delimiter."""

OTHER = {"video": "audio", "audio": "video"}
"""Modality -> the other one."""
