"""A notebook's parameters, checked before anything is loaded.

    parameters.check(globals())

papermill overrides the cell tagged `parameters`, and takes any name and any value. A mistyped one would be ignored, or
fail after an hour. So the cell after it makes this call:

1. a cell of literals assigns nothing but literals. Of those run so far, the one with the most names of `RULES` declares
   the notebook's parameters; of equal ones, the last. A cell that papermill injected, which begins with the line
   ``# Parameters``, declares nothing;
2. each must have a value that its rule in `RULES` accepts;
3. any other name that the last cell of literals assigns is mistyped. Only the last, so that a cell can be corrected and
   run again, although the mistyped name still exists.

All that is wrong is said at once, each with what is allowed. No large library is imported for it.
"""

from __future__ import annotations

import ast
import difflib
import os
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import permutations
from pathlib import Path

from avsink import resources
from avsink.datasets import DATASETS, tasks_of
from avsink.datasets.files.sources import HUB, here, is_hub_id, locate
from avsink.datasets.masks.object_cells import STRICTNESS
from avsink.datasets.selections import SELECTIONS
from avsink.models import DTYPES, card, check_sampling
from avsink.models.cards import layers_of

__all__ = ["ParameterError", "RULES", "check"]

LITERALS = (str, int, float, bool, type(None), list, tuple, dict, set)
OF_IPYTHON = {"In", "Out"}
LONGEST = 200  # characters of a value in a message
INJECTED = "# Parameters"  # the first line of the cell in which papermill overrides parameters


class ParameterError(ValueError):
    """Parameters that a notebook cannot run with."""


def check(namespace: Mapping[str, object], *names: str) -> None:
    """Check a notebook's parameters.

    Args:
        namespace: the notebook's globals.
        names: its parameters; without any, those that its cells declare.

    Raises:
        ParameterError: a parameter has no good value, or a name is assigned that is none.
    """
    assigned = [name for name, value in namespace.items() if isinstance(value, LITERALS) and name not in OF_IPYTHON]
    assigned += [name for name in names if name in namespace]
    given = {name: namespace[name] for name in assigned if not name.startswith("_")}
    others = given if names else ()
    if not names:
        names, others = _cells(namespace.get("In", ()))
    problems = [_unknown(name, names) for name in others if name in given and name not in names]
    problems += [f"{name}: the notebook needs it, but it has no value" for name in names if name not in given]
    for name in names:
        if name not in RULES:
            problems.append(_unknown(name, tuple(RULES)))
        elif name in given:
            try:
                RULES[name](given[name], given)
            except (ValueError, OSError) as error:
                problems.append(f"{name}: {error}")
    if problems:
        raise ParameterError("\n".join(["these parameters cannot be used:", *(f"- {problem}" for problem in problems)]))


def _cells(sources: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names that the cells of a notebook declare, and those that the last cell of literals assigns (steps 1, 3)."""
    literals = [(source, found) for source in sources if (found := _assigned(source))]
    declared = ()
    for source, found in literals:
        if source.splitlines()[0] != INJECTED and _known(found) >= _known(declared):
            declared = found
    if not declared:
        raise ParameterError("no cell of parameters has been run; run it, then this cell again")
    return declared, literals[-1][1]


def _known(names: Iterable[str]) -> int:
    return sum(name in RULES for name in names)


def _assigned(source: str) -> tuple[str, ...]:
    """The names that a cell assigns literals to; none if it does anything else."""
    names = []
    try:
        for node in ast.parse(source).body:
            ast.literal_eval(node.value)
            if isinstance(node, ast.Assign):
                names += [target.id for target in node.targets]
            elif isinstance(node, ast.AnnAssign):
                names.append(node.target.id)
            elif not isinstance(node, ast.Expr):
                return ()
    except (AttributeError, SyntaxError, TypeError, ValueError):
        return ()
    return tuple(dict.fromkeys(names))


def _unknown(name: str, names: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"{name}: there is no such parameter.{hint} Allowed: {', '.join(names)}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _is_there(value: str, *, folder: bool) -> bool:
    """Whether there is a file, or a folder, of this name. Raises ValueError if it cannot be read."""
    path = resources.expanded(value)
    if not (os.path.isdir(path) if folder else os.path.isfile(path)):
        return False
    try:
        os.scandir(path).close() if folder else path.open("rb").close()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    return True


def _model(value, _) -> None:
    named = isinstance(value, str) and value.strip()
    if named and value.startswith("~"):
        resources.expanded(value)
    card(value if named else _shown(value))


def _is_one(value, allowed: Collection[str]) -> bool:
    return isinstance(value, str) and value in allowed  # lists and dicts cannot be looked up


Rule = Callable[[object, Mapping[str, object]], None]


def _dataset(root: str, *, optional: Callable[[Mapping[str, object]], bool]) -> Rule:
    """A dataset, whose files are where the parameter `root` says; optional: whether None may stand for none."""

    def rule(value, given) -> None:
        if value is None and optional(given):
            return
        if not _is_one(value, DATASETS):
            none = ", or None for none" if optional(given) else ""
            raise ValueError(f"unknown dataset {_shown(value)}; allowed: {', '.join(DATASETS)}{none}")
        if value in HUB and not given.get(root):
            locate(value)  # says what to do if it is not there; no root, no network

    return rule


def _dataset_root(value, _) -> None:
    allowed = 'the path of a folder, the id of a dataset on the Hub (owner/name), or "" for the default'
    if not isinstance(value, str):
        raise ValueError(f"{_shown(value)}; allowed: {allowed}")
    if value and not _is_there(value, folder=True) and not is_hub_id(value):
        raise ValueError(f"there is no folder {_shown(value)}; allowed: {allowed}")


def _task(dataset: str, root: str) -> Rule:
    """A task of the dataset that the parameter `dataset` names."""

    def rule(value, given) -> None:
        name, place = given.get(dataset), given.get(root, "")
        if value is None or not _is_one(name, DATASETS):
            return  # other rules say what is wrong
        try:
            _dataset_root(place, given)
        except ValueError:
            return
        if name in HUB and here(name, place) is None:
            return  # still to be fetched
        if value not in (tasks := tasks_of(name, place)):
            raise ValueError(f"{name} has no task {_shown(value)}; allowed: {', '.join(tasks)}, or None for all")

    return rule


def _selection(dataset: str) -> Rule:
    """A selection of the paper from the dataset that the parameter `dataset` names."""

    def rule(value, given) -> None:
        name = given.get(dataset)
        allowed = SELECTIONS.get(name, {}) if isinstance(name, str) else {}
        if value is not None and not _is_one(value, allowed):
            raise ValueError(f"{_shown(value)}; allowed: {', '.join((*allowed, 'None for all'))}")

    return rule


def _structure(value, _) -> None:
    orders = [", ".join(order) for order in permutations(("candidates", "question", "reference"))]
    if value is not None and value not in orders:
        raise ValueError(f"{_shown(value)}; allowed: {'; '.join(orders)}; or None for the most common")


def _whole(*, least: int, odd: bool = False, none: str = "") -> Rule:
    """A whole number, or None, where that has a meaning."""

    def rule(value, _) -> None:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not (whole and value >= least and (value % 2 or not odd)) and not (none and value is None):
            kind = "an odd number" if odd else "a whole number"
            meaning = f", or None for {none}" if none else ""
            raise ValueError(f"{_shown(value)}; allowed: {kind} from {least} on{meaning}")

    return rule


def _window(value, given) -> None:
    _whole(least=1, odd=True, none="the model card's")(value, given)
    try:
        layers = layers_of(card(given["model"]))
    except (KeyError, ValueError, FileNotFoundError):
        return  # the rule of `model` says what is wrong
    if value is not None and layers is not None and value > layers:
        raise ValueError(
            f"{value} is wider than {given['model']}, which has {layers} layers; allowed: an odd number up to that"
        )


def _device(value, _) -> None:
    if not re.fullmatch(r"auto|cpu|mps|(cuda|xpu)(:[0-9]+)?", str(value)):
        raise ValueError(f"unknown device {_shown(value)}; allowed: auto, cpu, cuda, cuda:0, cuda:1, ..., mps, xpu")


def _dtype(value, _) -> None:
    if value not in (allowed := ("auto", *DTYPES)):
        raise ValueError(f"unknown precision {_shown(value)}; allowed: {', '.join(allowed)}")


def _results(value, _) -> None:
    if not isinstance(value, str | Path):
        raise ValueError(f'{_shown(value)}; allowed: the path of a folder, or "" for the default')
    folder = resources.results(value)
    if not (hindrance := resources.unwritable(folder)):
        return
    if next(folder.glob("*/*/*/samples/*.parquet"), None) is None:
        raise ValueError(f"nothing can be kept in {folder}: {hindrance}; allowed: the path of a folder, there or not")
    warnings.warn(f"results are read from {folder}, and no new ones can be kept there: {hindrance}", stacklevel=4)


def _file(value, _) -> None:
    if not isinstance(value, str) or (value and not _is_there(value, folder=False)):
        raise ValueError(f'{_shown(value)} is no file; allowed: the path of a file, or "" for none')


def _folder_or_none(value, _) -> None:
    if not isinstance(value, str) or (value and not _is_there(value, folder=True)):
        raise ValueError(f'{_shown(value)} is no folder; allowed: the path of a folder, or "" for none')


def _strictness(value, _) -> None:
    if not _is_one(value, STRICTNESS):
        raise ValueError(f"{_shown(value)}; allowed: {', '.join(STRICTNESS)}")


def _after(value, _) -> None:
    groups = ("Video", "Audio", "NonOptQ", "Candidates", "Reference")
    good = isinstance(value, dict) and value and set(value) <= set(groups)
    if value is not None and not (good and all(type(layer) is int and layer >= 0 for layer in value.values())):
        raise ValueError(f"{_shown(value)}; allowed: a layer for some of {', '.join(groups)}, or None for the rule's")


def _prompt(dataset: str) -> Rule:
    """A template for the dataset that the parameter `dataset` names."""

    def rule(value, given) -> None:
        if not isinstance(value, str):
            raise ValueError(f'{_shown(value)}; allowed: the name of a template, the path of a JSON file, or ""')
        if value and _is_one(given.get(dataset), DATASETS):
            from avsink.datasets.prompts import template

            template(value, given[dataset])  # says what is wrong with it

    return rule


def _sampling(value, _) -> None:
    check_sampling(value if isinstance(value, str) else _shown(value))


# name -> rule(value, all given parameters), which raises ValueError
RULES: dict[str, Rule] = {
    "model": _model,
    "dataset": _dataset("dataset_root", optional=lambda given: "interleaved_dataset" in given),
    "dataset_root": _dataset_root,
    "task": _task("dataset", "dataset_root"),
    "selection": _selection("dataset"),
    "prompt": _prompt("dataset"),
    "cross_dataset": _dataset("cross_root", optional=lambda given: True),
    "cross_root": _dataset_root,
    "cross_task": _task("cross_dataset", "cross_root"),
    "cross_selection": _selection("cross_dataset"),
    "cross_prompt": _prompt("cross_dataset"),
    "interleaved_dataset": _dataset("interleaved_root", optional=lambda given: True),
    "interleaved_root": _dataset_root,
    "interleaved_task": _task("interleaved_dataset", "interleaved_root"),
    "interleaved_selection": _selection("interleaved_dataset"),
    "interleaved_prompt": _prompt("interleaved_dataset"),
    "structure": _structure,
    "manifest": _file,
    "number": _whole(least=0),
    "each": _whole(least=1, none="all"),
    "masks": _folder_or_none,
    "spans": _file,
    "strictness": _strictness,
    "after": _after,
    "n_samples": _whole(least=1, none="all"),
    "window": _window,
    "seed": _whole(least=0),
    "device": _device,
    "dtype": _dtype,
    "sampling": _sampling,
    "released": _folder_or_none,
    "results": _results,
}
