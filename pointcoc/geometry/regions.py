"""Regions: the parts of a set in which points are clustered, each with its proposals of centers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode as get_mode

from pointcoc.geometry.centers import (
    cloud_members,
    distinct_cells,
    first_of_equal,
    fps_member_table,
    fps_members,
    lattice_members,
)
from pointcoc.geometry.segments import Segments, segment_extreme, spread
from pointcoc.geometry.sizes import ceil_div, ravel, surely, unravel
from pointcoc.pointset import Movable, PointSet, counts_to_ptr

# R regions, n points in each, m proposals of centers per region, N points of all sets.


def inverse_of(order: Tensor) -> Tensor:
    """Invert a permutation (N,) without sorting it."""
    return torch.empty_like(order).index_copy(0, order, torch.arange(order.shape[0], device=order.device))


@dataclass(frozen=True, eq=False)
class IndexOrder(Movable):
    """Enter and leave region order by an index.

    Args:
        order: rows in region order, (N,).
        inverse: its inverse, from `inverse_of`, (N,).
    """

    order: Tensor
    inverse: Tensor

    def enter(self, x: Tensor) -> Tensor:
        """Put rows (N, ...) into region order."""
        return x.index_select(0, self.order)

    def leave(self, x: Tensor) -> Tensor:
        """Put rows back into the order of the set."""
        return x.index_select(0, self.inverse)


@dataclass(frozen=True)
class TileOrder(Movable):
    """Enter and leave region order on complete lattices by a reshape: `counts` equal tiles per axis of `grid`."""

    grid: tuple[int, ...]
    counts: tuple[int, ...]

    def enter(self, x: Tensor) -> Tensor:
        """Put rows (N, C) into region order."""
        num_axes = len(self.grid)
        split = [size for n, f in zip(self.grid, self.counts, strict=True) for size in (f, n // f)]
        tiles, inside = range(1, 2 * num_axes, 2), range(2, 2 * num_axes + 1, 2)
        return x.view(-1, *split, x.shape[-1]).permute(0, *tiles, *inside, -1).reshape(x.shape)

    def leave(self, x: Tensor) -> Tensor:
        """Put rows back into row order."""
        num_axes = len(self.grid)
        tiles = [n // f for n, f in zip(self.grid, self.counts, strict=True)]
        axes = [axis for i in range(num_axes) for axis in (1 + i, 1 + num_axes + i)]
        return x.view(-1, *self.counts, *tiles, x.shape[-1]).permute(0, *axes, -1).reshape(x.shape)


Order = IndexOrder | TileOrder | None


class Proposals(NamedTuple):
    """What proposes the centers of uniform regions: averages over some of their points.

    Args:
        mean: the matrix that averages the points of each proposal, (m, n), or (R, m, n) where regions differ.
        exists: False for proposals without points, (m, 1) or (R, m, 1); None if there are none.
    """

    mean: Tensor
    exists: Tensor | None


@dataclass(frozen=True, eq=False)
class UniformRegions(Movable):
    """Regions with equally many points.

    Args:
        segments: the R regions, all of `segments.size` = n rows.
        members: whether a point belongs to a proposal, shape (R, m, n), or (1, m, n) where all regions are alike.
        order: how points enter region order; None if they are in it.
        all_exist: whether every proposal is known to have points (True on complete lattices).
    """

    segments: Segments
    members: Tensor
    order: Order = None
    all_exist: bool = False
    _proposals: dict[torch.dtype, Proposals] = field(default_factory=dict, init=False, repr=False)

    @property
    def num_centers(self) -> int:
        """Proposals per region, m."""
        return self.members.shape[1]

    def proposals(self, dtype: torch.dtype) -> Proposals:
        """Return what proposes the centers, computed once for all blocks; where all regions are alike, one matrix.

        Args:
            dtype: of the matrix.
        """
        if torch.compiler.is_compiling() or get_mode() is not None:  # what tracing tools make is no tensor to keep
            return self._averages(dtype)
        if dtype not in self._proposals:
            with torch.inference_mode(False):  # a plan used during inference must serve training too
                self._proposals[dtype] = self._averages(dtype)
        return self._proposals[dtype]

    def _averages(self, dtype: torch.dtype) -> Proposals:
        members = self.members.to(dtype)
        members = members[0] if members.shape[0] == 1 else members
        count = members.sum(-1, keepdim=True)
        return Proposals(members / count.clamp(min=1), None if self.all_exist else count > 0)

    def uniform(self) -> tuple[UniformRegions, None]:
        """Return self; no row is padding."""
        return self, None

    def ragged(self) -> RaggedRegions:
        """Return the same regions as lists of rows."""
        return _listed(self.segments, self.members.expand(self.segments.num, -1, -1), self.order)


@dataclass(frozen=True, eq=False)
class RaggedRegions(Movable):
    """Regions of any number of points, as lists.

    Args:
        segments: the R regions.
        member_point: row of each pair (point, proposal), shape (E,).
        member_center: proposal of each pair, numbered region * m + center, shape (E,).
        num_centers: proposals per region, m.
        order: how points enter region order; None if they are in it.
    """

    segments: Segments
    member_point: Tensor
    member_center: Tensor
    num_centers: int
    order: Order = None

    @property
    def member_counts(self) -> Tensor:
        """Points of each proposal, shape (R * m,); a proposal without points is never chosen."""
        return torch.bincount(self.member_center, minlength=self.segments.num * self.num_centers)

    def ragged(self) -> RaggedRegions:
        """Return self."""
        return self

    def uniform(self) -> tuple[UniformRegions, Tensor]:
        """Return regions padded to the longest, and the padded row of each row, shape (N,)."""
        num, column = self.segments.num, self.segments.column
        longest = int(self.segments.counts.max())
        # One flat index in the order (region, center, column), which is that of the table.
        place = self.member_center * longest + column[self.member_point]
        table = torch.zeros(num * self.num_centers * longest, dtype=torch.bool, device=place.device)
        members = table.index_fill(0, place, True).view(num, self.num_centers, longest)
        padded = UniformRegions(Segments.equal(num, longest, place.device), members)
        return padded, self.segments.index * longest + column


@dataclass(frozen=True, eq=False)
class PaddedRegions(Movable):
    """Regions of nearly equally many points: what `RaggedRegions` says, with the padded table made beforehand.

    Args:
        segments: the R regions.
        padded: the regions as if all had as many points as the longest.
        row: padded row of each row, shape (N,).
        order: how points enter region order; None if they are in it.
    """

    segments: Segments
    padded: UniformRegions
    row: Tensor
    order: Order = None

    @property
    def num_centers(self) -> int:
        """Proposals per region, m."""
        return self.padded.num_centers

    def uniform(self) -> tuple[UniformRegions, Tensor]:
        """Return the padded regions, and the padded row of each row, shape (N,)."""
        return self.padded, self.row

    def ragged(self) -> RaggedRegions:
        """Return the same regions as lists of rows; waits for the device."""
        return _listed(self.segments, self.padded.members, self.order)


Regions = UniformRegions | PaddedRegions | RaggedRegions


def _listed(segments: Segments, members: Tensor, order: Order) -> RaggedRegions:
    """Regions as lists, from the table of what belongs to each proposal, (R, m, longest)."""
    # Pairs come by region, center, row: the points of a proposal are summed in the order of the rows.
    region, center, column = members.nonzero(as_tuple=True)
    num_centers = members.shape[1]
    return RaggedRegions(segments, segments.ptr[region] + column, region * num_centers + center, num_centers, order)


def grid_regions(
    grid: Sequence[int], num_sets: int, counts: Sequence[int], centers: int, device: torch.device
) -> Regions:
    """Split complete lattices into equal tiles, with one sub-cell a proposal.

    Args:
        grid: sites per axis.
        num_sets: number of sets, B.
        counts: tiles per axis; each divides its side.
        centers: proposals per axis.
        device: where to build.
    """
    tile = [n // f for n, f in zip(grid, counts, strict=True)]
    assert not any(surely(n != t * f) for n, t, f in zip(grid, tile, counts, strict=True)), (grid, counts)
    num_tiles, size = num_sets, 1
    for f, t in zip(counts, tile, strict=True):
        num_tiles, size = num_tiles * f, size * t
    order = TileOrder(tuple(grid), tuple(counts)) if any(f != 1 for f in counts) else None
    members = _cell_members(torch.tensor([tile], device=device), size, centers)
    all_exist = all(surely(t >= centers) for t in tile)
    return UniformRegions(Segments.equal(num_tiles, size, device), members, order, all_exist)


def cell_regions(points: PointSet, counts: int, window: int | None, centers: int) -> PaddedRegions:
    """Split complete lattices, of one size or several, into cells that may differ by a site, in closed form.

    The same regions as `lattice_regions`, without sorting and without waiting for the device.

    Args:
        points: lattice sets with the promise `grid`; features are not read.
        counts: cells per axis; not read where `window` is given. An axis with fewer sites has a cell for each.
        window: sites per axis of a cell.
        centers: proposals per axis.
    """
    sizes, sets, sites = points.sizes, Segments.of(points), points.pos.long()
    assert sizes is not None
    cells = sizes.clamp(max=counts) if window is None else (sizes + window - 1) // window
    num, longest = _cell_numbers(points, counts, window)
    size, of_set = spread(sizes, sets), spread(cells, sets)
    cell = sites * of_set // size if window is None else sites // window
    start, edge = _cell_bounds(cell, of_set, size, window)
    column = ravel(sites - start, edge)
    place = spread(points.ptr[:-1], sets) + _sites_before(start, edge, size) + column
    order = IndexOrder(inverse_of(place), place)
    region = order.enter(ravel(cell, of_set) + spread(counts_to_ptr(cells.prod(1))[:-1], sets))
    edges = _cell_edges(sets, cells, sizes, num, window)
    padded = UniformRegions(Segments.equal(num, longest, region.device), _cell_members(edges, longest, centers))
    segments = Segments(counts_to_ptr(edges.prod(1)), region, None)
    return PaddedRegions(segments, padded, region * longest + order.enter(column), order)


def lattice_regions(points: PointSet, counts: int, window: int | None, centers: int) -> Regions:
    """Split lattices, with or without holes, into cells, with one sub-cell a proposal.

    Site i of n lies in cell floor(i * counts / n), or in cell floor(i / window).

    Args:
        points: lattice sets; features are not read.
        counts: cells per axis; not read where `window` is given.
        window: sites per axis of a cell.
        centers: proposals per axis.
    """
    assert points.sizes is not None
    sites, size = points.pos.long(), points.sizes[points.batch]
    cells = torch.full_like(points.sizes, counts) if window is None else (points.sizes + window - 1) // window
    cell = sites * counts // size if window is None else sites // window
    start, edge = _cell_bounds(cell, cells[points.batch], size, window)
    segments, order = _group(cell, cells, points)
    point, center = lattice_members(order.enter(sites - start), order.enter(edge), centers).nonzero(as_tuple=True)
    num_centers = centers ** points.pos.shape[1]
    center = segments.index[point] * num_centers + center
    # In small cells several proposals have the same points. The first alone keeps them: see `first_of_equal`.
    kept = first_of_equal(point, center, segments.num, num_centers)[center]
    ragged = RaggedRegions(segments, point[kept], center[kept], num_centers, order)
    return ragged if segments.size is None else replace(ragged.uniform()[0], order=order)


def cloud_regions(
    points: PointSet,
    counts: int,
    window: float | None,
    proposals: str,
    centers: int,
    center_neighbors: int,
) -> Regions:
    """Split sets by their coordinates: cells of the bounding box, or of a given edge length.

    Args:
        points: sets of points anywhere; features are not read.
        counts: cells of the bounding box per axis; not read where `window` is given.
        window: edge of a cell in units of `pos`, counted from the least coordinate.
        proposals: "cells" (sub-cells) or "fps" (farthest points with their nearest).
        centers: per axis for "cells", per region for "fps".
        center_neighbors: points a proposal of "fps" averages.
    """
    sets = Segments.of(points)
    cell, cells, inside = _cloud_cells(points, sets, counts, window)
    segments, order, pos = sets, None, points.pos
    if window is not None or counts != 1:
        segments, order = _group(cell, cells, points)
        pos, inside = order.enter(pos), order.enter(inside)
    if proposals == "fps" and segments.size is not None:
        return UniformRegions(segments, fps_member_table(pos, segments, centers, center_neighbors), order)
    if proposals == "fps":
        return RaggedRegions(segments, *fps_members(pos, segments, centers, center_neighbors), centers, order)
    members = cloud_members(inside, centers)
    if segments.size is not None:
        return UniformRegions(segments, members.unflatten(0, (segments.num, segments.size)).mT, order)
    point, center = members.nonzero(as_tuple=True)
    return RaggedRegions(segments, point, segments.index[point] * members.shape[1] + center, members.shape[1], order)


def _cloud_cells(points: PointSet, sets: Segments, counts: int, window: float | None) -> tuple[Tensor, Tensor, Tensor]:
    """Cell of each point (N, D), cells per axis of each set (B, D), and place inside the cell (N, D), 0 to 1."""
    low = segment_extreme(points.pos, sets, "amin")
    extent = segment_extreme(points.pos, sets, "amax") - low
    if window is not None:
        edge, cells = torch.full_like(extent, window), (extent / window).floor().long() + 1
    else:
        edge, cells = extent / counts, torch.full_like(extent, counts).long()
    place = (points.pos - spread(low, sets)) / spread(torch.where(edge > 0, edge, 1), sets)
    cell = torch.minimum(place.floor().long(), spread(cells, sets) - 1)
    return cell, cells, place - cell


def _cell_edges(sets: Segments, cells: Tensor, sizes: Tensor, num: int, window: int | None) -> Tensor:
    """Sites per axis of all `num` cells, (R, D), set after set."""
    if sets.size is not None:
        of_set = Segments.equal(sets.num, num // sets.num, cells.device)
    else:
        ptr = counts_to_ptr(cells.prod(1))
        index = torch.arange(sets.num, device=ptr.device).repeat_interleave(ptr.diff(), output_size=num)
        of_set = Segments(ptr, index, None)
    cells, sizes = spread(cells, of_set), spread(sizes, of_set)
    return _cell_bounds(unravel(of_set.column, cells), cells, sizes, window)[1]


def _cell_bounds(cell: Tensor, cells: Tensor, sizes: Tensor, window: int | None) -> tuple[Tensor, Tensor]:
    """First site of a cell, and its sites per axis."""
    start = _cell_start(cell, cells, sizes, window)
    return start, _cell_start(cell + 1, cells, sizes, window) - start


def _sites_before(start: Tensor, edge: Tensor, sizes: Tensor) -> Tensor:
    """Sites in the cells of the same set that come before a cell, (N, D) each to (N,)."""
    before = torch.zeros_like(start[:, 0])
    # Cells come in row order. Those before this one share its cell on the first axes and have a lower one on the next;
    # on the axes after it they are all the cells there are.
    for axis in range(start.shape[1]):
        before = before + edge[:, :axis].prod(1) * start[:, axis] * sizes[:, axis + 1 :].prod(1)
    return before


def _cell_numbers(points: PointSet, counts: int, window: int | None) -> tuple[int, int]:
    """Number of cells of all sets, and sites of the largest cell that may come."""
    alike = points.lattice
    grids = [alike] if alike is not None else points.lattices
    assert grids is not None
    num, longest = 0, 0
    for grid in grids:
        cells, sites = 1, 1
        for n in grid:
            f = _least(n, counts) if window is None else ceil_div(n, window)
            cells, sites = cells * f, sites * (ceil_div(n, f) if window is None else _least(n, window))
        num, longest = num + cells, sites if alike is not None else max(longest, sites)
    return num * points.num_sets if alike is not None else num, longest


def _least(a: int, b: int) -> int:
    return min(a, b) if isinstance(a, int) else torch.sym_min(a, b)


def _cell_start(cell: Tensor, cells: Tensor, sizes: Tensor, window: int | None) -> Tensor:
    """First site of a cell; of cell `cells`, the end of the lattice."""
    return -(-cell * sizes // cells) if window is None else torch.minimum(cell * window, sizes)


def _cell_members(edge: Tensor, longest: int, centers: int) -> Tensor:
    """Whether a site of a cell, in row order and padded to the longest cell, belongs to a sub-cell, (R, m, longest)."""
    column = torch.arange(longest, device=edge.device)
    site = unravel(column.expand(edge.shape[0], -1), edge[:, None])
    inside = column < edge.prod(1)[:, None]
    members = lattice_members(site, edge[:, None], centers) & inside[..., None] & distinct_cells(edge, centers)[:, None]
    return members.mT


def _group(cell: Tensor, cells: Tensor, points: PointSet) -> tuple[Segments, IndexOrder]:
    """Sort points by set and cell (stable); only cells with points become regions."""
    batch = points.batch
    key = ravel(cell, cells[batch]) + counts_to_ptr(cells.prod(1))[batch]
    # Plans give points in canonical order. A stable sort keeps it within a region, so that neither sums nor ties depend
    # on the order in which the points came.
    order = torch.argsort(key, stable=True)
    _, counts = torch.unique_consecutive(key[order], return_counts=True)
    return Segments.from_ptr(counts_to_ptr(counts)), IndexOrder(order, inverse_of(order))
