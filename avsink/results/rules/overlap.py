"""Which pathways share attention edges, by their names.

`Source↛Target` blocks the edges from one group of tokens to another, `A↮B` those in both directions, `Source↛Others`
all that leave a group, and others the edges within one group. Each group is made of parts of a prompt (`parts`); two
pathways share edges if their sources share a part, and their targets do.
"""

from __future__ import annotations

__all__ = ["ends", "parts", "share_edges"]

LINES = {"right letter", "right words", "wrong letters", "wrong words"}
ITEMS = {"right", "wrong", "reference"}
EVERYWHERE = {
    **{"Video": {"video"}, "Audio": {"audio"}, "V+A": {"video", "audio"}, "Last": {"last"}, "Labels": {"labels"}},
    **{"TrueOpt": {"right letter"}, "CorrectOpt": {"right letter"}, "TrueLine": {"right letter", "right words"}},
    **{"FalseOpt": {"wrong letters"}, "IncorrectOpt": {"wrong letters"}, "Reference": {"reference"}},
    **{"Candidates": {"right", "wrong"}, "CorrectCand": {"right"}, "IncorrectCand": {"wrong"}},
}
GROUPS = {  # by whether several items are interleaved: then options are no part of the question, and items are media
    False: EVERYWHERE | {"Question": {"stem", *LINES}, "NonOptQ": {"stem", "right words", "wrong words"}},
    True: EVERYWHERE | {"Question": {"stem"}, "NonOptQ": {"stem"}} | dict.fromkeys(("Video", "Audio", "V+A"), ITEMS),
}
WITHIN = {
    **{"Cross-frame": "Video", "Cross-audio": "Audio", "Cross-candidate": "Candidates"},
    **{"Within the stem": "stem", "Within the reference": "reference"},
}
ALL = {"video", "audio", "stem", "last", "labels", "anything else", *ITEMS, *LINES}


def share_edges(one: str, other: str, *, interleaved: bool) -> bool:
    """Whether closing one pathway closes edges of the other, too.

    Args:
        one: A key of `avsink.instruments.pathways.PATHWAYS`. Any other name shares edges with itself alone.
        other: Another one.
        interleaved: Whether several items are interleaved in the prompt.
    """
    pairs = [(a, b) for a in ends(one, interleaved=interleaved) for b in ends(other, interleaved=interleaved)]
    return one == other or any(a[0] & b[0] and a[1] & b[1] for a, b in pairs)


def ends(pathway: str, *, interleaved: bool) -> list[tuple[set[str], set[str]]]:
    """The (source, target) pairs of a pathway, as parts of a prompt."""
    if pathway in WITHIN:
        return [(parts(WITHIN[pathway], interleaved=interleaved),) * 2]
    source, arrow, target = pathway.replace("↮", "↛").partition("↛")
    if not arrow:
        return []
    inside = parts(source, interleaved=interleaved)
    if target == "Others":  # of all items, a modality has only some
        return [(inside, ALL if inside is ITEMS else ALL - inside)]
    outside = parts(target, interleaved=interleaved)
    return [(inside, outside), (outside, inside)] if "↮" in pathway else [(inside, outside)]


def parts(group: str, *, interleaved: bool) -> set[str]:
    """The parts of a prompt that a group of tokens is made of."""
    return GROUPS[interleaved].get(group, {group})
