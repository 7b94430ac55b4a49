"""Arithmetic on sizes, which may be symbols while a graph is exported, and the numbers of sites of a lattice."""

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


def ravel(site: Tensor, sizes: Tensor) -> Tensor:
    """Number sites in row order: sites (..., D) of lattices of `sizes` (..., D) to numbers (...)."""
    number = site[..., 0]
    for axis in range(1, site.shape[-1]):
        number = number * sizes[..., axis] + site[..., axis]
    return number


def unravel(number: Tensor, sizes: Tensor) -> Tensor:
    """Find the sites of numbers in row order: numbers (...) and `sizes` (..., D) to sites (..., D)."""
    axes = []
    for size in reversed(sizes.unbind(-1)):
        axes.append(number % size)
        number = number // size
    return torch.stack(axes[::-1], dim=-1)
