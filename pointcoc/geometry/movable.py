"""Dataclasses of tensors that move to a device: plans made in the workers of a data loader, and their parts."""

from dataclasses import fields, replace
from typing import Any, Self

import torch


class Movable:
    """Base of a frozen dataclass that holds tensors, others like it, tuples of them, and plain values."""

    def to(self, device: torch.device | str) -> Self:
        """Move to a device."""
        moved = {one.name: _moved(getattr(self, one.name), device) for one in fields(self)}  # type: ignore[arg-type]
        return replace(self, **moved)  # type: ignore[type-var]


def _moved(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, tuple):
        return tuple(_moved(one, device) for one in value)
    return value.to(device) if hasattr(value, "to") else value
