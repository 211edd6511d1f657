"""What "early to middle", "middle" and "late" layers are: bounds of the depth, from 0 (first layer) to 1 (last).

The paper names no bounds; these are ours. The middle is the second of three thirds. "Late" is read as the second half,
since windows of seven layers blur where a pathway is.
"""

__all__ = ["EARLY_TO_MIDDLE", "LATE", "MIDDLE"]

EARLY_TO_MIDDLE = {"least": 0.0, "most": 2 / 3}
MIDDLE = {"least": 1 / 3, "most": 2 / 3}
LATE = {"least": 1 / 2, "most": 1.0}
