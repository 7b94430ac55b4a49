"""Segments: runs of rows that belong together (the points of a set, of a region), and sums over them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pointcoc.extensions import extension
from pointcoc.pointset import Movable, PointSet, counts_to_ptr

MOST_PADDING = 4  # padded rows per row that segments side by side may take
ALWAYS_PADDED = 2**20  # rows that are padded in one table whatever their lengths


@dataclass(frozen=True, eq=False)
class Segments(Movable):
    """Consecutive rows: segment s owns rows ``ptr[s]`` to ``ptr[s + 1]``.

    Args:
        ptr: bounds, shape (S + 1,), int64.
        index: segment of each row, shape (N,), int64.
        size: number of rows of every segment if all are equally long, else None.
    """

    ptr: Tensor
    index: Tensor
    size: int | None

    @classmethod
    def from_ptr(cls, ptr: Tensor) -> Segments:
        """Make segments from bounds of shape (S + 1,); waits for the device."""
        counts = ptr.diff()
        index = torch.repeat_interleave(torch.arange(len(counts), device=ptr.device), counts)
        size = int(counts[0]) if len(counts) and bool((counts == counts[0]).all()) else None
        return cls(ptr, index, size)

    @classmethod
    def of(cls, points: PointSet) -> Segments:
        """Make segments of the sets of a PointSet; waits for the device unless it promises `grid` or `size`."""
        if points.promised_size is not None:
            return cls.equal(points.num_sets, points.promised_size, points.pos.device)
        if points.grid is not None:
            return cls(points.ptr, points.batch, None)
        return cls.from_ptr(points.ptr)

    @classmethod
    def equal(cls, num: int, size: int, device: torch.device) -> Segments:
        """Make `num` segments of `size` rows each; never waits for the device."""
        index = torch.arange(num, device=device)[:, None].expand(-1, size).flatten()
        return cls(torch.arange(num + 1, device=device) * size, index, size)

    @property
    def num(self) -> int:
        """Number of segments, S."""
        return self.ptr.shape[0] - 1

    @property
    def column(self) -> Tensor:
        """Number of each row in its segment, shape (N,)."""
        return torch.arange(self.index.shape[0], device=self.index.device) - spread(self.ptr[:-1], self)

    @property
    def counts(self) -> Tensor:
        """Rows of each segment, shape (S,)."""
        return self.ptr.diff()


def similar_lengths(segments: Segments) -> list[Tensor]:
    """Group segments whose longest would pad the others to more memory than the rows themselves are worth.

    A table of one segment of 100,000 rows and 63 of 100 is 60 times as large as its rows; two tables are not.

    Args:
        segments: S segments; a graph has one group.

    Returns:
        Numbers of the segments of each group, which differ in length by a factor of 2 at most; one group of all where
        their table is small or well filled.
    """
    every = torch.arange(segments.num, device=segments.ptr.device)
    if segments.size is not None or torch.compiler.is_compiling():
        return [every]
    counts = segments.counts
    padded = segments.num * int(counts.max()) if segments.num else 0
    if padded <= max(ALWAYS_PADDED, MOST_PADDING * segments.index.shape[0]):
        return [every]
    length = (counts + 1).double().log2().floor()
    return [(length == one).nonzero().squeeze(1) for one in length.unique()]


def take_segments(segments: Segments, which: Tensor) -> tuple[Segments, Tensor]:
    """Return some segments (K,) as segments of their own, and the row that each of their rows had, (M,)."""
    taken = Segments.from_ptr(counts_to_ptr(segments.counts[which]))
    return taken, spread(segments.ptr[:-1][which], taken) + taken.column


def segment_sum(values: Tensor, segments: Segments) -> Tensor:
    """Sum the rows of each segment.

    Args:
        values: shape (N, ...).
        segments: S runs of the N rows.

    Returns:
        Shape (S, ...); zeros for a segment without rows.
    """
    if segments.size is not None:
        return values.unflatten(0, (segments.num, segments.size)).sum(1)
    scatter = extension("torch_scatter", values.device)
    if scatter is not None:
        return scatter.segment_csr(values, segments.ptr, reduce="sum")
    return scatter_sum(values, segments.index, segments.num)


def segment_mean(values: Tensor, segments: Segments) -> Tensor:
    """Average the rows of each segment, shape (S, ...); zeros for a segment without rows.

    Half precision cannot hold the sum or the number of many rows: it is averaged in float32.
    """
    exact = values.to(torch.promote_types(values.dtype, torch.float32))
    counts = segments.counts.clamp(min=1).to(exact.dtype)
    return (segment_sum(exact, segments) / counts.view(-1, *[1] * (values.ndim - 1))).to(values.dtype)


def scatter_sum(values: Tensor, index: Tensor, num: int) -> Tensor:
    """Sum the rows of `values` (N, ...) with the same `index` (N,) into `num` rows."""
    return values.new_zeros(num, *values.shape[1:]).index_add(0, index, values)


def spread(values: Tensor, segments: Segments) -> Tensor:
    """Give each row the value of its segment: (S, ...) to (N, ...)."""
    if segments.size is not None:
        return values[:, None].expand(-1, segments.size, *values.shape[1:]).flatten(0, 1)
    return values.index_select(0, segments.index)


def segment_extreme(values: Tensor, segments: Segments, reduce: str) -> Tensor:
    """Return the smallest ("amin") or largest ("amax") row per segment and column, (N, D) to (S, D); 0 without rows."""
    if segments.size is not None and segments.size != 0:
        by_segment = values.unflatten(0, (segments.num, segments.size))
        return by_segment.amin(1) if reduce == "amin" else by_segment.amax(1)
    start = values.new_zeros(segments.num, values.shape[1])
    return start.scatter_reduce(0, segments.index[:, None].expand_as(values), values, reduce, include_self=False)
