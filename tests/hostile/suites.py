"""The suites, by the names that the command line takes. Each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from hostile.trial import Suite

__all__ = ["SUITES"]

_NAMES = ("media", "parts", "checkpoints", "manifests", "pages")


class _Suites(Mapping[str, Suite]):
    """The file of this folder that has the name, and its `SUITE`."""

    def __getitem__(self, name: str) -> Suite:
        if name not in _NAMES:
            raise KeyError(name)
        return import_module(f"hostile.{name}").SUITE

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)


SUITES = _Suites()
