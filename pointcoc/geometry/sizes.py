"""Arithmetic on sizes that may be symbols while a graph is exported."""

from __future__ import annotations


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
