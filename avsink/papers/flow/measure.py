"""The measurements of *From Senses to Decisions*, each over many samples, kept in the result store.

A notebook asks for one here, and so does the page that puts all reported numbers beside the measured ones; because what
goes into a store's key is written once, the second asks nothing anew.

=============  ====================================================  =========================
function       measures                                              Flow
=============  ====================================================  =========================
`allocation`   the last token's attention by kind of token           figure 1
`masking`      accuracy with media hidden in the last layers         table 1
`pathways`     Δp of every pathway around every layer                figures 3 to 6, 8 to 14
`onward`       Δp of all ways out of a group, closed to the end      for table 4's layers
`discarding`   accuracy and prefill without discarded tokens         table 4
=============  ====================================================  =========================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd

from avsink.datasets import load_samples
from avsink.instruments import attention_shares as attention_of_last
from avsink.instruments import discarding as table_4
from avsink.instruments import knockout
from avsink.instruments import pathways as named
from avsink.results.bootstrap import summarise
from avsink.results.over_samples import Done, measure
from avsink.results.verdicts import MARGIN
from avsink.sample import Sample

__all__ = [
    "ABLATED",
    "CLIP",
    "INTERLEAVED",
    "OUT",
    "WINDOWS",
    "allocation",
    "discarding",
    "draw",
    "kind_of",
    "layers_to_discard",
    "masking",
    "onward",
    "pathways",
    "require",
]

OUT = {"clip": ("Video↛Others", "Audio↛Others", "NonOptQ↛Others")}
OUT["interleaved"] = ("Candidates↛Others", "Reference↛Others", "NonOptQ↛Others")
CLIP = (*named.FIGURE_3, *named.FIGURE_4, *named.FIGURE_9, *named.FIGURE_10, *OUT["clip"])
INTERLEAVED = (*named.FIGURE_5, *named.FIGURE_6, *OUT["interleaved"])
ABLATED = ("Video↛Question", "Audio↛Question", "Question↛Last")  # figure 8
WINDOWS = (1, 3, 5, 7, 9, 11)


def allocation(model, samples: Sequence[Sample], *, data: str, root: str = "") -> Done:
    """Rows of `avsink.instruments.attention_shares.allocation`."""
    compute = partial(attention_of_last.allocation, model)
    sources = ["allocation.py", "observe.py"]
    return measure("flow1_allocation", model, samples, compute, settings={"data": data}, sources=sources, root=root)


def masking(model, samples: Sequence[Sample], *, first_layer: int | None, data: str, root: str = "") -> Done:
    """Rows of `avsink.instruments.attention_shares.masking`, from `first_layer` on."""
    compute = partial(attention_of_last.masking, model, first_layer=first_layer)
    settings, sources = {"data": data, "first_layer": first_layer}, ["allocation.py", "observe.py"]
    return measure("flow1_masking", model, samples, compute, settings=settings, sources=sources, root=root)


def pathways(
    model, samples: Sequence[Sample], *, k: int, pathways: Sequence[str] = CLIP, data: str, root: str = ""
) -> Done:
    """Rows of `avsink.instruments.knockout.sweep`: figures 3, 4, 9 and 10 for clips unless told otherwise."""
    compute = partial(knockout.sweep, model, k=k, pathways=pathways)
    settings = {"data": data, "window": k, "pathways": list(pathways)}
    return measure("flow_pathways", model, samples, compute, settings=settings, sources=["knockout.py"], root=root)


def discarding(model, samples: Sequence[Sample], *, after: Mapping[str, int], data: str, root: str = "") -> Done:
    """Rows of `avsink.instruments.discarding.compare`. after: group of tokens -> the last layer in which it is there."""
    compute = partial(table_4.compare, model, after=after)
    settings, sources = {"data": data, "after": dict(after)}, ["discard.py", "knockout.py"]
    return measure("flow4_discarding", model, samples, compute, settings=settings, sources=sources, root=root)


def onward(model, samples: Sequence[Sample], *, interleaved: bool, data: str, root: str = "") -> Done:
    """Rows of `avsink.instruments.knockout.onward` for all ways out of each group: from these, when a group can be discarded."""
    out = OUT["interleaved" if interleaved else "clip"]
    compute = partial(knockout.onward, model, pathways=out)
    settings = {"data": data, "pathways": list(out)}
    return measure("flow4_onward", model, samples, compute, settings=settings, sources=["knockout.py"], root=root)


def layers_to_discard(rows: pd.DataFrame, *, n_layers: int, margin: float = MARGIN) -> dict[str, int]:
    """Group of tokens -> the layer after which it can go, by the rule of `avsink.instruments.discarding.last_needed`.

    rows: of `onward`.
    """
    if rows.empty:
        return {}
    curves = summarise(rows, by=["pathway", "layer", "category"])
    rule = {"n_layers": n_layers, "margin": margin}
    return {
        name.partition("↛")[0]: table_4.last_needed(curves, pathway=name, **rule) for name in rows["pathway"].unique()
    }


def draw(
    data: str | None, *, root: str = "", task: str | None = None, selection: str | None = None, n_samples, seed: int
) -> list[Sample]:
    """`avsink.load_samples` of one task; no samples where no data are named."""
    if data is None:
        return []
    tasks = None if task is None else [task]
    return load_samples(data, root=root, tasks=tasks, selection=selection, n_samples=n_samples, seed=seed)


def kind_of(samples: Sequence[Sample]) -> str:
    """`clip` or `interleaved`, whichever all samples are. Raises ValueError if they are not of one kind."""
    kinds = {sample.kind for sample in samples}
    if len(kinds) > 1:
        raise ValueError(
            f"these samples are of several kinds, {' and '.join(sorted(kinds))}; choose one task with `task`"
        )
    return kinds.pop() if kinds else "clip"


def require(samples: Sequence[Sample], kind: str) -> None:
    """Raise ValueError unless all samples are of the kind that a page is about."""
    wrong = [sample for sample in samples if sample.kind != kind]
    about = {
        "clip": "questions about one clip",
        "interleaved": "several items, candidates and a reference, between text",
    }
    if wrong:
        raise ValueError(
            f"this page is about {about[kind]}; {len(wrong)} of {len(samples)} samples are not, such as {wrong[0].id} "
            f"({wrong[0].task}); choose another `task` or `selection`"
        )
