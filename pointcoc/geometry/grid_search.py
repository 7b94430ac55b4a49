"""Nearest neighbors in nearly linear time: candidates from the cells of a grid, exact by a bound on the distance.

Cells are those of a Morton curve, so one sorted list holds the cells of all sizes as runs. The points next to a query
on the curve bound the distance of its k-th neighbor; the cells of about that size that the ball of this radius touches
hold all neighbors.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pointcoc.geometry.curves import interleave
from pointcoc.geometry.segments import Segments, segment_extreme

MOST_QUERIES = 16_384  # at a time
MOST_PAIRS = 2_097_152  # of queries and candidates at a time
ROUNDING = 1e-5  # more than distances in float32 are off, relatively
CELL_ROUNDING = 1e-6  # more than places are off, in the smallest cells

# N points, Q queries (some at a time), D axes, P pairs of a query and a point.


def knn_grid(pos: Tensor, sets: Segments, query: Tensor, query_sets: Segments, k: int) -> Tensor:
    """Find the k nearest points of the same set for each query; the result of comparing all, first rows on ties.

    Args:
        pos: coordinates of the points, shape (N, D).
        sets: the sets of the points.
        query: coordinates, finite, shape (Q, D).
        query_sets: the sets of the queries.
        k: number of neighbors.

    Returns:
        Rows of `pos`, nearest first, shape (Q, k), int64; -1 where a set has fewer than k points.
    """
    index = torch.full((query.shape[0], k), -1, device=pos.device)
    if index.numel() == 0 or pos.shape[0] == 0:
        return index
    grid = _Grid.of(pos, sets)
    order = torch.argsort(grid.key(query, query_sets.index))  # queries that follow one another share cells
    for rows in order.split(max(1, min(MOST_QUERIES, MOST_PAIRS // (2 * k)))):
        pos, batch = query.index_select(0, rows), query_sets.index.index_select(0, rows)
        limit = _limits(grid, pos, batch, k)
        ask = _Queries(torch.arange(len(rows), device=pos.device), pos, limit, *_runs(grid, pos, batch, limit))
        for part in ask.parts():
            index.index_copy_(0, rows[part.number], _nearest(grid, part, k))
    return index


@dataclass(frozen=True, eq=False)
class _Grid:
    """Points sorted by set and Morton number.

    Args:
        sets: the sets.
        low: least coordinates of each set, (B, D), float64.
        edge: edge of the smallest cells of each set, (B,), float64.
        bits: of a cell per axis; cells of level l have 2 ** l times the edge.
        keys: sorted numbers, (N,).
        row: row of each point, (N,).
        axes: coordinates of the sorted points, axis by axis.
    """

    sets: Segments
    low: Tensor
    edge: Tensor
    bits: int
    keys: Tensor
    row: Tensor
    axes: tuple[Tensor, ...]

    @classmethod
    def of(cls, pos: Tensor, sets: Segments) -> _Grid:
        exact = pos.double()
        low = segment_extreme(exact, sets, "amin")
        extent = (segment_extreme(exact, sets, "amax") - low).amax(1)
        bits = min(20, (62 - sets.num.bit_length()) // pos.shape[1])
        empty = cls(sets, low, torch.where(extent > 0, extent, 1) / 2**bits, bits, low, low, ())
        # By set, then by Morton number: the points of a cell of any level, of one set, are one run of this list, and
        # two binary searches find it. Stable, so that points of one smallest cell stay in the order of their rows.
        keys, row = torch.sort(empty.key(pos, sets.index), stable=True)
        return cls(sets, low, empty.edge, bits, keys, row, tuple(axis.index_select(0, row) for axis in pos.unbind(1)))

    def key(self, pos: Tensor, batch: Tensor) -> Tensor:
        """Number of the smallest cell of places (Q, D) of sets (Q,); places outside count to the nearest cell."""
        place = (pos.double() - self.low[batch]) / self.edge[batch, None]
        cell = place.floor().clamp(0, 2**self.bits - 1).long()
        return interleave(cell) + (batch << (self.bits * pos.shape[1]))  # the set above all bits of the cell

    def square_distance(self, point: Tensor, query: Tensor) -> Tensor:
        """Squared distance of sorted points (...) from places (..., D), in the order of sums of a full comparison."""
        # Another order of the axes would round otherwise: ties would no longer be those of the full comparison.
        distance = torch.zeros(point.shape, dtype=query.dtype, device=query.device)
        for axis, value in zip(self.axes, query.unbind(-1), strict=True):
            distance += (axis.index_select(0, point.flatten()).view(point.shape) - value).square()
        return distance


@dataclass(frozen=True, eq=False)
class _Queries:
    """Queries, the squared distance that bounds their k-th neighbor, and runs of sorted points that may be nearer.

    Args:
        number: which queries they are, (Q,).
        pos: coordinates, (Q, D).
        limit: squared distance no neighbor exceeds, (Q,).
        run_query: query of each run, counted here, ascending, (R,).
        start: first point of each run, (R,).
        length: points of each run, (R,).
    """

    number: Tensor
    pos: Tensor
    limit: Tensor
    run_query: Tensor
    start: Tensor
    length: Tensor

    def parts(self) -> Iterator[_Queries]:
        """Split so that a part has about `MOST_PAIRS` candidates."""
        pairs = torch.zeros_like(self.number).index_add(0, self.run_query, self.length).cumsum(0)
        steps = torch.arange(MOST_PAIRS, int(pairs[-1]) + MOST_PAIRS, MOST_PAIRS, device=pairs.device)
        ends = [0, *torch.searchsorted(pairs, steps, right=True).tolist(), len(self.number)]
        for begin, end in itertools.pairwise(sorted(set(ends))):
            # The runs of a query follow one another, since `run_query` ascends.
            first, last = torch.searchsorted(self.run_query, torch.tensor([begin, end], device=pairs.device)).tolist()
            runs, rows = slice(first, last), slice(begin, end)
            yield _Queries(
                self.number[rows], self.pos[rows], self.limit[rows], self.run_query[runs] - begin, self.start[runs],
                self.length[runs],
            )  # fmt: skip


def _limits(grid: _Grid, pos: Tensor, batch: Tensor, k: int) -> Tensor:
    """Squared distance of the k-th nearest among the 2 k points next on the curve, inf where there are fewer than k."""
    width = 2 * k
    begin, end = grid.sets.ptr[batch], grid.sets.ptr[batch + 1]
    first = torch.searchsorted(grid.keys, grid.key(pos, batch)) - k
    # Moved back from the end of the set first, then to its begin: a set with fewer points than 2 k has all of them.
    point = torch.maximum(torch.minimum(first, end - width), begin)[:, None] + torch.arange(width, device=pos.device)
    inside = point < end[:, None]
    distance = grid.square_distance(point.clamp(max=len(grid.keys) - 1), pos[:, None])
    return distance.masked_fill(~inside, torch.inf).kthvalue(k, dim=1)[0]


def _runs(grid: _Grid, pos: Tensor, batch: Tensor, limit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Runs of sorted points in the cells that the ball around each query touches: query, first point, length."""
    num_axes = pos.shape[1]
    edge = grid.edge[batch]
    radius = limit.clamp(min=torch.finfo(limit.dtype).tiny).double().sqrt() * (1 + ROUNDING) + CELL_ROUNDING * edge
    level = (radius * (1 + 1e-9) / edge).log2().ceil().clamp(0, grid.bits).long()
    size, most = (edge * 2.0**level)[:, None], (2 ** (grid.bits - level) - 1)[:, None]
    place = pos.double() - grid.low[batch]
    lowest, highest = (
        torch.minimum(((place + side * radius[:, None]) / size).floor().clamp(min=0), most).long() for side in (-1, 1)
    )
    cell = lowest[:, None] + torch.arange(3, device=pos.device)[:, None]  # (Q, 3, D): a cell is as wide as the radius
    gap = torch.maximum(cell * size[..., None] - place[:, None], place[:, None] - (cell + 1) * size[..., None])
    square = gap.clamp(min=0).square().masked_fill(cell > highest[:, None], torch.inf)
    distance = square[..., 0]
    for axis in range(1, num_axes):
        distance = (distance[:, :, None] + square[:, None, :, axis]).flatten(1)
    query, choice = (distance <= radius.square().clamp(max=1e300)[:, None]).nonzero(as_tuple=True)
    choices = [(choice // 3**axis) % 3 for axis in reversed(range(num_axes))]
    shift = num_axes * level[query]
    key = (interleave(lowest[query] + torch.stack(choices, dim=1)) << shift) + (batch[query] << (grid.bits * num_axes))
    start, end = torch.searchsorted(grid.keys, torch.stack([key, key + (1 << shift)]))
    kept = (end > start).nonzero().squeeze(1)
    return query[kept], start[kept], (end - start)[kept]


def _nearest(grid: _Grid, ask: _Queries, k: int) -> Tensor:
    """Rows of the k nearest candidates of each query, (Q, k)."""
    # Runs ascend by query, and so do the candidates: those of a query are neighbors, which makes `column` a difference.
    run = torch.repeat_interleave(torch.arange(len(ask.length), device=ask.length.device), ask.length)
    point = torch.arange(len(run), device=run.device) + (ask.start - ask.length.cumsum(0) + ask.length)[run]
    query = ask.run_query[run]
    distance = grid.square_distance(point, ask.pos.index_select(0, query))
    near = (distance <= ask.limit[query]).nonzero().squeeze(1)
    query, distance, row = query[near], distance[near], grid.row[point[near]]
    counts = torch.bincount(query, minlength=len(ask.number))
    column = torch.arange(len(query), device=query.device) - (counts.cumsum(0) - counts)[query]
    index = torch.full((len(ask.number), k), -1, device=row.device)
    bucket = counts.clamp(min=k).double().log2().ceil().long()  # tables of rows that are at least half full
    for width in bucket.unique().tolist():
        chosen = (bucket == width).nonzero().squeeze(1)
        place = torch.full_like(counts, -1).index_copy(0, chosen, torch.arange(len(chosen), device=row.device))[query]
        inside = (place >= 0).nonzero().squeeze(1)
        where = place[inside] * 2**width + column[inside]
        values = distance.new_full((len(chosen) * 2**width,), torch.inf).index_copy(0, where, distance[inside])
        rows = row.new_full(values.shape, -1).index_copy(0, where, row[inside])
        table = rows.view(-1, 2**width)
        index[chosen] = table.gather(1, smallest(values.view_as(table), k, table)[1])
    return index


def smallest(distance: Tensor, k: int, row: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Find the k smallest distances of each line.

    `topk` alone breaks ties in a way that depends on the length of the lines: on the company of a set.

    Args:
        distance: shape (Q, n).
        k: how many, at most n.
        row: which of equal distances comes first, the one with the lower number, shape (Q, n); by column if not given.

    Returns:
        Distances in rising order, and their columns, shapes (Q, k).
    """
    if torch.compiler.is_compiling():
        column = distance.argsort(dim=1, stable=True)[:, :k]
        return distance.gather(1, column), column
    # One value more than wanted shows a tie across the end too.
    value, column = distance.topk(min(k + 1, distance.shape[1]), largest=False, sorted=True)
    tied = (value.diff(dim=1) == 0).any(1).nonzero().squeeze(1)  # inf - inf is nan: padding does not tie
    if len(tied):
        columns = torch.arange(distance.shape[1], device=distance.device).expand(len(tied), -1)
        by_row = columns if row is None else row[tied].argsort(dim=1)
        order = by_row.gather(1, distance[tied].gather(1, by_row).argsort(dim=1, stable=True))
        column = column.index_copy(0, tied, order[:, : column.shape[1]])
    return value[:, :k], column[:, :k]
