"""avsink: where sound and sight meet inside audio-visual language models.

    import avsink

    model = avsink.load("tiny-omni")                     # a name or a folder
    inputs = model.prepare(sample)                       # tensors, and which token is what
    run = avsink.clean_run(model, inputs)
    run.replay([avsink.Block(inputs.layout.video, inputs.layout.question, layers=range(3, 10))])

Names are imported when they are first used, so that `import avsink` is quick and needs no torch.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "avsink.models": ("load", "card"),
    "avsink.datasets": ("load_samples",),
    "avsink.sample": ("Media", "Sample", "SampleError", "Text"),
    "avsink.engine.interventions": ("Block", "Discard", "Restore", "Reweight"),
    "avsink.engine.run": ("clean_run",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'avsink' has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
