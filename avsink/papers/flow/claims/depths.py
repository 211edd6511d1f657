"""What "early to middle", "middle" and "late" layers are: bounds of the depth, from 0 (first layer) to 1 (last).

The paper names no bounds; these are ours: thirds of the depth, which have no layer in common. "Early to middle" is the
first two, "middle" the second, "late" what lies beyond.
"""

__all__ = ["EARLY_TO_MIDDLE", "LATE", "MIDDLE"]

EARLY_TO_MIDDLE = {"most": 2 / 3}
MIDDLE = {"least": 1 / 3, "most": 2 / 3}
LATE = {"beyond": 2 / 3}
