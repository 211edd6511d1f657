"""What the names of released folders and files say: the authors' scripts write most facts there and nowhere else.

1. A history, ``<case>/av/history/k_divde_<N>/<clip>_history.json``: `of_history`;
2. a result, ``<case>/<condition>/<list>.json``: its `CONDITIONS`;
3. an effect, ``<case>/<token set>/<states>_layer<first>_window<width><list>.json``: `of_effect`. The script for lists
   of frames adds the strictness of masks to ``object``; sets made of sinks end in ``k_divide_<N>``;
4. `DOMINANCE`: which modality is dominant in a case. The scripts know two, and zero the dominant modality in each.
"""

from __future__ import annotations

import re
from pathlib import Path

from avsink.datasets.files.chats import case_of

__all__ = ["CONDITIONS", "DOMINANCE", "HISTORY", "TOKEN_SETS", "of_effect", "of_history"]

DOMINANCE = {"people": "audio", "sports": "video"}
"""Case -> the modality that dominates its items."""

CONDITIONS = ("av", "v", "a")
HISTORY = re.compile(r"(?P<clip>.+)_history\.json")
ONE_IN = re.compile(r"k_div[a-z]*_(?P<one_in>\d{1,3})$")  # spelled k_divde or k_divide
TOKEN_SETS = {
    "all": "All",
    "object": "Object",
    "object_high": "Object",  # the default of the script for frames
    "object_very_high": "Object (very high)",
    "object_random_sink_num": "Random (object)",
    "sink": "Sink",
    "random_sink_num": "Random",
    "random_sink_num_half": "Random (half)",
    "uni_modal_sink": "Unimodal",
    "cross_modal_sink": "Cross-modal",
}
"""The authors' name of a token set -> this project's (`avsink.instruments.tracing.token_sets`), where it has one.

Of the others, ``Object (very high)`` are the object's tokens by stricter masks, ``Random (object)`` as many random
tokens of the object as there are sinks, and ``Random (half)`` half as many random tokens as there are sinks.
"""

WHERE = re.compile(r"(?P<states>before_attn|self_attn|mlp)_layer(?P<first>\d{1,3})_window(?P<width>\d{1,3})")
STATES = "before_attn"  # restored in the paper: the input of the attention
N_LAYERS = 28  # the authors' scripts restore at layers below this one, whatever the model


def of_history(path: Path) -> dict[str, object]:
    """The facts in the path of a history: clip, case ("" if unknown), one_in (0 if unknown)."""
    match = HISTORY.fullmatch(path.name)
    found, above = ONE_IN.search(path.parent.name), path.parent.parent
    return {
        "clip": match["clip"] if match else path.stem,
        "case": case_of(above.parent.parent.name) if above.name == "history" else "",
        "one_in": int(found["one_in"]) if found else 0,
    }


def of_effect(path: Path) -> dict[str, object]:
    """The facts in the path of an effect: case, dominance, token_set, one_in, n_layers.

    `dominance` is None if the case is none of those known. `n_layers` is the number of layers at which states were
    restored, None if the file's name does not say it. If these were not all layers, or other states than usual, the
    name of the token set says so, so that such rows are not averaged with others.

    Raises:
        ValueError: The folder's name is no set of tokens.
    """
    folder, case = path.parent.name, case_of(path.parent.parent.name)
    found, where = ONE_IN.search(folder), WHERE.match(path.name)
    name = folder[: found.start()] if found else folder
    if name not in TOKEN_SETS:
        raise ValueError(f"its folder is {folder!r}; a token set is expected: {', '.join(TOKEN_SETS)}")
    layers = range(int(where["first"]), min(N_LAYERS, int(where["first"]) + int(where["width"]))) if where else None
    other = [where["states"]] if where and where["states"] != STATES else []
    other += [f"layers {layers.start} to {layers.stop - 1}"] if where and len(layers) < N_LAYERS else []
    return {
        "case": case,
        "dominance": DOMINANCE.get(case),
        "token_set": ", ".join([TOKEN_SETS[name], *other]),
        "one_in": int(found["one_in"]) if found else 0,
        "n_layers": len(layers) if where else None,
    }
