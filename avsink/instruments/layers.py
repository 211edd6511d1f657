"""Layers that an instrument is asked for."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["require_layers"]


def require_layers(layers: Iterable[int], *, of: str, n_layers: int) -> None:
    """Raise ValueError, naming the argument `of`, for a layer that the model does not have."""
    for layer in layers:
        if not 0 <= layer < n_layers:
            raise ValueError(f"{of}: there is no layer {layer}; this model's are 0 to {n_layers - 1}")
