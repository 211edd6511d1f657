"""The words of this project's questions about real clips, for datasets that publish labels but no questions."""

from __future__ import annotations

__all__ = ["CAPTION", "LETTER", "SOUNDING_OBJECT"]

SOUNDING_OBJECT = "Which object makes the sound?"
LETTER = "Answer with the letter."
CAPTION = "Describe what you see and hear in one sentence."
