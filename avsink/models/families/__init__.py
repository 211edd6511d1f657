"""Families of models by name. `avsink.models.families.base` says what an adapter must provide.

An adapter's file is imported when its family is asked for, since it needs the large libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avsink.models.families.base import Family

__all__ = ["FAMILIES"]


def _qwen25_omni() -> Family:
    from avsink.models.families.qwen25_omni import Qwen25Omni

    return Qwen25Omni()


FAMILIES: dict[str, Callable[[], Family]] = {"qwen25_omni": _qwen25_omni}
"""Name on a model's card -> its adapter."""
