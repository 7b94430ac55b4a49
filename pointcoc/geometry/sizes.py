"""Arithmetic on sizes that may be symbols while a graph is exported, and numbers of sites in row order."""

from __future__ import annotations

import torch
from torch import Tensor


def ceil_div(number: int, divisor: int) -> int:
    """Divide and round up; of symbols in the form in which torch gives the size of a strided convolution."""
    if surely(number % divisor == 0):
        return number // divisor
    return (number - 1) // divisor + 1


def surely(condition: bool) -> bool:
    """Whether a condition on sizes holds; of symbols, whether it holds for all their values."""
    if isinstance(condition, bool):
        return condition
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return statically_known_true(condition)


def unravel(number: Tensor, sizes: Tensor) -> Tensor:
    """Return the site of a number in row order: (...) and sizes (..., D) to (..., D)."""
    axes = []
    for size in reversed(sizes.unbind(-1)):
        axes.append(number % size)
        number = number // size
    return torch.stack(axes[::-1], dim=-1)


def ravel(site: Tensor, sizes: Tensor) -> Tensor:
    """Return the number of a site in row order: (..., D) to (...)."""
    number = site[..., 0]
    for axis in range(1, site.shape[-1]):
        number = number * sizes[..., axis] + site[..., axis]
    return number
