"""Code of other people on a model: hooks, replaced methods `forward`, and modules that were put in the place of others.

A replay puts the rows of several plans side by side, calls layers by themselves, and computes only some of their rows.
A hook that addresses rows by their place (`output[:, -1] += vector`) would hit the rows of one plan and miss all
others, and nothing can be told from outside about what a hook does. So replays refuse models that have any on what they
run: the layers and their parts, the norm and the head, and also on the decoder's output, which replays do not see.
What these parts are made of is remembered when a model is checked after loading, or else when it is first run.

Hooks that are known to change no number are no matter: see `KNOWN`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch.nn.modules import module as torch_modules

__all__ = ["ForeignCode", "foreign_code", "forget", "refuse_foreign"]

# Where hooks come from that change no number: transformers' own way to return hidden states, torch's to count work.
KNOWN = ("transformers.utils.output_capturing", "torch.utils.module_tracker")
Parts = dict[str, tuple[type, Callable]]  # name -> class and its `forward`
_MADE_OF: WeakKeyDictionary[torch.nn.Module, Parts] = WeakKeyDictionary()  # text decoder -> its parts
ACCELERATE = "accelerate.hooks"  # moves weights and states between devices, by a `forward` of its own


class ForeignCode(ValueError):
    """A model on which somebody else's code acts. The message names the module, the code and the remedy."""


def refuse_foreign(model) -> None:
    """Raise `ForeignCode` if somebody else's code is on a part of the model that replays run."""
    decoder = model.decoder
    found = next((f for name, part in _replayed(model).items() for f in foreign_code(part, name=name)), None)
    found = found or next(_exchanged(model), None)
    if found is None and (hook := next(filter(_counts, decoder._forward_hooks.values()), None)):
        found = "the text decoder", f"has the hook {_named(hook)}"
    if found:
        where, what = found
        raise ForeignCode(
            f"{where} {what}: it may address rows by their place, and a replay puts the rows of several plans side by "
            "side; remove it before clean_run, or use avsink's interventions instead (Block, Restore, Reweight, "
            "Discard)"
        )


def forget(model) -> None:
    """Take the parts that the model has at its next run for its own."""
    _MADE_OF.pop(model.decoder, None)


def _exchanged(model) -> Iterator[tuple[str, str]]:
    """Find parts that are not of the class that they were of, or whose class has another `forward` than it had."""
    before = _MADE_OF.setdefault(model.decoder, now := _parts(model))
    for name, (kind, forward) in now.items():
        own, own_forward = before.get(name, (None, None))
        if own is None:
            yield name, f"was not there when the model was loaded, and is a {_named(kind)}"
        elif kind is not own:
            yield name, f"is now a {_named(kind)}, and was a {own.__qualname__} when the model was loaded"
        elif forward is not own_forward:
            yield name, f"has the replaced forward {_named(forward)} in its class"


def _parts(model) -> Parts:
    return {
        name: (type(module), type(module).forward)
        for prefix, part in _replayed(model).items()
        for name, module in part.named_modules(prefix=prefix)
    }


def _replayed(model) -> dict[str, torch.nn.Module]:
    """What replays run."""
    decoder = model.decoder
    return {"layers": decoder.layers, "norm": decoder.norm, "output embeddings": model.hf.get_output_embeddings()}


def foreign_code(root: torch.nn.Module, *, name: str = "") -> Iterator[tuple[str, str]]:
    """Find other people's code on a module and all of its parts.

    Args:
        root: The module.
        name: What the module is called, with which the names of its parts begin.

    Yields:
        The name of a part, and what it has: "has the hook …", "has the replaced forward …".
    """
    for hook in (*torch_modules._global_forward_hooks.values(), *torch_modules._global_forward_pre_hooks.values()):
        if _counts(hook):
            yield "every module", f"has the hook {_named(hook)}"
    for part, module in root.named_modules(prefix=name):
        own = vars(module)
        for hook in (*own["_forward_pre_hooks"].values(), *own["_forward_hooks"].values()):
            if _counts(hook):
                yield part, f"has the hook {_named(hook)}"
        if "forward" in own and (replaced := _replaced(module)) is not None:
            yield part, f"has the replaced forward {_named(replaced)}"


def _counts(hook: Callable) -> bool:
    return _home(hook) not in KNOWN


def _replaced(module: torch.nn.Module) -> Callable | None:
    """The method that stands in the place of the class's own `forward`; accelerate's and the class's own are none."""
    forward = vars(module)["forward"]
    while isinstance(forward, partial) and forward.func.__module__ == ACCELERATE:
        hook = module._hf_hook
        if other := [one for one in getattr(hook, "hooks", [hook]) if type(one).__module__ != ACCELERATE]:
            return type(other[0])
        forward = module._old_forward
    return None if getattr(forward, "__func__", None) is type(module).forward else forward


def _home(code: Callable) -> str:
    while isinstance(code, partial):
        code = code.func
    return getattr(code, "__module__", None) or type(code).__module__


def _named(code: Callable) -> str:
    while isinstance(code, partial):
        code = code.func
    return f"{_home(code)}.{getattr(code, '__qualname__', None) or type(code).__qualname__}"
