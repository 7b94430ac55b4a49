"""What a forward pass keeps for backward."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def kept_for_backward(run: Callable[[], object]) -> list[Tensor]:
    """Run a forward pass and return one tensor of each storage that it keeps, parameters included."""
    kept: dict[int, Tensor] = {}

    def pack(value: Tensor) -> Tensor:
        kept.setdefault(value.untyped_storage().data_ptr(), value)
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        run()
    return list(kept.values())


def num_bytes(kept: list[Tensor]) -> int:
    """Bytes of the storages of tensors."""
    return sum(value.untyped_storage().nbytes() for value in kept)
