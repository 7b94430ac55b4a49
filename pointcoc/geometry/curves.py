"""Cells of a grid over a set, and numbers of cells along space-filling curves."""

from __future__ import annotations

import torch
from torch import Tensor

from pointcoc.geometry.segments import Segments, segment_extreme, spread

HILBERT_BITS = 16  # per axis: cells of a curve are 1 / 65,536 of the longest side
TABLE_BITS = 10
SNAP = 1e-6  # places this near below a bound of cells, in cells, are on it: rounding does not decide


def cells_from_low(pos: Tensor, sets: Segments, edge: Tensor | float) -> tuple[Tensor, Tensor]:
    """Find the cubic cell of each point, counted from the least coordinate of its set.

    Args:
        pos: coordinates, shape (N, D).
        sets: the sets.
        edge: edge of a cell in units of `pos`, for all or for each point, shape (N, 1).

    Returns:
        Cells (N, D), int64, and places in units of cells (N, D), float64, so that differences survive far from the
        origin.
    """
    exact = pos.double()
    place = (exact - spread(segment_extreme(exact, sets, "amin"), sets)) / edge
    return (place + SNAP).floor().long(), place


def cell_keys(cell: Tensor, sets: Segments) -> Tensor:
    """Number cells by set, then lexicographically; equal numbers are equal cells of one set.

    Args:
        cell: cells, not negative, shape (N, D), int64.
        sets: the sets.

    Returns:
        Shape (N,), int64; not consecutive.
    """
    key, bound = sets.index, sets.num
    for column in cell.unbind(1):
        width = int(column.max()) + 1 if len(column) else 1
        if bound * width >= 2**62:  # count the numbers so far instead: at most N
            key, bound = key.unique(return_inverse=True)[1], len(key)
        key, bound = key * width + column, bound * width
    return key


def interleave(cell: Tensor) -> Tensor:
    """Join the bits of the axes, those of the first before those of the second (Morton order).

    Args:
        cell: cells, in [0, 2 ** 20), shape (..., D), int64.

    Returns:
        Shape (...), int64; the leading D b bits are the number of the cell of b bits per axis that holds the cell.
    """
    num_axes = cell.shape[-1]
    number = torch.arange(2**TABLE_BITS, device=cell.device)
    table = torch.zeros_like(number)
    for bit in range(TABLE_BITS):
        table |= ((number >> bit) & 1) << (num_axes * bit)
    key = torch.zeros_like(cell[..., 0])
    for axis, column in enumerate(cell.unbind(-1)):
        apart = table[column & (2**TABLE_BITS - 1)] | (table[column >> TABLE_BITS] << (num_axes * TABLE_BITS))
        key |= apart << (num_axes - 1 - axis)
    return key


def hilbert_keys(cell: Tensor, bits: int) -> Tensor:
    """Number cells along a Hilbert curve: cells of consecutive numbers are neighbors.

    Skilling, Programming the Hilbert curve, AIP Conference Proceedings 707 (2004).

    Args:
        cell: cells, in [0, 2 ** bits), shape (N, D), int64.
        bits: of a cell per axis, at most 20.

    Returns:
        Shape (N,), int64.
    """
    axes = list(cell.unbind(1))
    for bit in reversed(range(1, bits)):
        _turn(axes, bit)
    for i in range(1, len(axes)):
        axes[i] = axes[i] ^ axes[i - 1]
    flips = torch.zeros_like(axes[0])
    for bit in range(1, bits):
        flips ^= ((axes[-1] >> bit) & 1) * (2**bit - 1)
    return interleave(torch.stack([axis ^ flips for axis in axes], dim=1))


def _turn(axes: list[Tensor], bit: int) -> None:
    """Turn the bits below `bit` as the half of the curve asks in which a cell lies: one step of Skilling's loop."""
    below = 2**bit - 1
    for i in range(len(axes)):
        is_upper = -((axes[i] >> bit) & 1)  # all bits, or none
        mirrored = is_upper & below
        exchanged = ~is_upper & (axes[0] ^ axes[i]) & below
        axes[0] = axes[0] ^ mirrored ^ exchanged
        if i > 0:
            axes[i] = axes[i] ^ exchanged


def hilbert_order(pos: Tensor, sets: Segments) -> Tensor:
    """Sort points by set, then along a Hilbert curve through the cube that holds the set; ties keep their order.

    The cube has the longest side of the bounding box, so that the parts of the curve are as wide as they are long.

    Args:
        pos: coordinates, shape (N, D).
        sets: the sets.

    Returns:
        Rows, shape (N,), int64.
    """
    exact = pos.double()
    extent = (segment_extreme(exact, sets, "amax") - segment_extreme(exact, sets, "amin")).amax(1, keepdim=True)
    edge = torch.where(extent > 0, extent, 1) / 2**HILBERT_BITS
    cell = cells_from_low(pos, sets, spread(edge, sets))[0].clamp(max=2**HILBERT_BITS - 1)
    order = torch.argsort(hilbert_keys(cell, HILBERT_BITS), stable=True)
    return order[torch.argsort(sets.index[order], stable=True)] if sets.num > 1 else order
