"""Regions: the parts of a set in which points are clustered, each with its proposals of centers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pointcoc.geometry.centers import cloud_members, first_of_equal, fps_members, lattice_members
from pointcoc.geometry.segments import Segments, segment_extreme, spread
from pointcoc.pointset import PointSet, counts_to_ptr

# R regions, n points in each, m proposals of centers per region, N points of all sets.


@dataclass(frozen=True, eq=False)
class IndexOrder:
    """Enter and leave region order by an index: `order` (N,) lists the rows in region order."""

    order: Tensor
    inverse: Tensor

    def enter(self, x: Tensor) -> Tensor:
        """Put rows (N, ...) into region order."""
        return x.index_select(0, self.order)

    def leave(self, x: Tensor) -> Tensor:
        """Put rows back into the order of the set."""
        return x.index_select(0, self.inverse)

    def to(self, device: torch.device | str) -> IndexOrder:
        """Move to a device."""
        return IndexOrder(self.order.to(device), self.inverse.to(device))


@dataclass(frozen=True)
class TileOrder:
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

    def to(self, device: torch.device | str) -> TileOrder:
        """Return self: nothing lies on a device."""
        return self


Order = IndexOrder | TileOrder | None


@dataclass(frozen=True, eq=False)
class UniformRegions:
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

    @property
    def num_centers(self) -> int:
        """Proposals per region, m."""
        return self.members.shape[1]

    def uniform(self) -> tuple[UniformRegions, None]:
        """Return self; no row is padding."""
        return self, None

    def ragged(self) -> RaggedRegions:
        """Return the same regions as lists of rows."""
        members = self.members.expand(self.segments.num, -1, -1)
        region, center, row = members.nonzero(as_tuple=True)
        size = members.shape[-1]
        return RaggedRegions(
            self.segments, region * size + row, region * self.num_centers + center, self.num_centers, self.order
        )

    def to(self, device: torch.device | str) -> UniformRegions:
        """Move to a device."""
        order = None if self.order is None else self.order.to(device)
        return UniformRegions(self.segments.to(device), self.members.to(device), order, self.all_exist)


@dataclass(frozen=True, eq=False)
class RaggedRegions:
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
        segments = self.segments
        longest = int(segments.counts.max())
        column = torch.arange(len(segments.index), device=segments.ptr.device) - segments.ptr[segments.index]
        members = _member_table(self, column, longest)
        padded = Segments.equal(segments.num, longest, members.device)
        return UniformRegions(padded, members), segments.index * longest + column

    def to(self, device: torch.device | str) -> RaggedRegions:
        """Move to a device."""
        return RaggedRegions(
            self.segments.to(device),
            self.member_point.to(device),
            self.member_center.to(device),
            self.num_centers,
            None if self.order is None else self.order.to(device),
        )


Regions = UniformRegions | RaggedRegions


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
    assert all(n == t * f for n, t, f in zip(grid, tile, counts, strict=True)), (grid, counts)
    num_tiles, size = num_sets, 1
    for f, t in zip(counts, tile, strict=True):
        num_tiles, size = num_tiles * f, size * t
    order = TileOrder(tuple(grid), tuple(counts)) if num_tiles != num_sets else None
    distinct = all(all(_first_cells(size, centers)) for size in tile)
    return UniformRegions(
        Segments.equal(num_tiles, size, device), _tile_members(tile, centers, device), order, distinct
    )


def lattice_regions(points: PointSet, counts: int | None, window: int | None, centers: int) -> Regions:
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
    if window is not None:
        cell, cells = sites // window, (points.sizes + window - 1) // window
        start, end = cell * window, torch.minimum((cell + 1) * window, size)
    else:
        assert counts is not None
        cell, cells = sites * counts // size, torch.full_like(points.sizes, counts)
        start, end = (cell * size + counts - 1) // counts, ((cell + 1) * size + counts - 1) // counts
    segments, order = _group(cell, cells, points)
    members = lattice_members((sites - start)[order.order], (end - start)[order.order], centers)
    return _from_members(segments, members, centers ** points.pos.shape[1], order)


def cloud_regions(
    points: PointSet,
    counts: int | None,
    window: float | None,
    proposals: str,
    centers: int,
    center_neighbors: int,
    backend: str = "auto",
) -> Regions:
    """Split sets by their coordinates: cells of the bounding box, or of a given edge length.

    Args:
        points: sets of points anywhere; features are not read.
        counts: cells of the bounding box per axis; not read where `window` is given.
        window: edge of a cell in units of `pos`, counted from the least coordinate.
        proposals: "cells" (sub-cells) or "fps" (farthest points with their nearest).
        centers: per axis for "cells", per region for "fps".
        center_neighbors: points a proposal of "fps" averages.
        backend: of farthest points and neighbors, see `knn`.
    """
    sets = Segments.from_ptr(points.ptr)
    low = segment_extreme(points.pos, sets, "amin")
    extent = segment_extreme(points.pos, sets, "amax") - low
    if window is not None:
        edge, cells = torch.full_like(extent, window), (extent / window).floor().long() + 1
    else:
        assert counts is not None
        edge, cells = extent / counts, torch.full_like(extent, counts).long()
    place = (points.pos - spread(low, sets)) / spread(torch.where(edge > 0, edge, 1), sets)
    cell = torch.minimum(place.floor().long(), spread(cells, sets) - 1)
    segments, order = _group(cell, cells, points)
    if proposals == "fps":
        members = fps_members(points.pos[order.order], segments, centers, center_neighbors, backend)
        return _from_members(segments, members, centers, order)
    table = cloud_members((place - cell)[order.order], centers)
    return _from_members(segments, table, centers ** points.pos.shape[1], order)


def _tile_members(tile: Sequence[int], centers: int, device: torch.device) -> Tensor:
    """Whether a site of a tile belongs to a sub-cell, shape (1, centers ** D, product of tile)."""
    axes = []
    for size in tile:
        site = torch.arange(size, device=device)[:, None]
        kept = torch.tensor(_first_cells(size, centers), device=device)
        axes.append(lattice_members(site, torch.full_like(site, size), centers).mT & kept[:, None])
    members = axes[0]
    for axis in axes[1:]:
        members = (members[:, None, :, None] & axis[None, :, None, :]).flatten(2).flatten(0, 1)
    return members[None]


def _first_cells(size: int, centers: int) -> list[bool]:
    """Whether a sub-cell of an axis is the first with its sites."""
    bounds = [(i * size // centers, ((i + 1) * size + centers - 1) // centers) for i in range(centers)]
    return [bound not in bounds[:i] for i, bound in enumerate(bounds)]


def _group(cell: Tensor, cells: Tensor, points: PointSet) -> tuple[Segments, IndexOrder]:
    """Sort points by set and cell (stable); only cells with points become regions."""
    batch = points.batch
    key = cell[:, 0]
    for axis in range(1, cell.shape[1]):
        key = key * cells[batch, axis] + cell[:, axis]
    key = key + counts_to_ptr(cells.prod(1))[batch]
    order = torch.argsort(key, stable=True)
    _, counts = torch.unique_consecutive(key[order], return_counts=True)
    inverse = torch.empty_like(order).index_copy(0, order, torch.arange(len(order), device=order.device))
    return Segments.from_ptr(counts_to_ptr(counts)), IndexOrder(order, inverse)


def _from_members(
    segments: Segments, members: Tensor | tuple[Tensor, Tensor], num_centers: int, order: IndexOrder
) -> Regions:
    """Make regions from a membership table (N, m) or pairs (row, proposal)."""
    if isinstance(members, Tensor):
        point, center = members.nonzero(as_tuple=True)
        center = segments.index[point] * num_centers + center
        kept = first_of_equal(point, center, segments.num, num_centers)[center]
        point, center = point[kept], center[kept]
    else:
        point, center = members
    ragged = RaggedRegions(segments, point, center, num_centers, order)
    if segments.size is None:
        return ragged
    return replace(ragged.uniform()[0], order=order)


def _member_table(regions: RaggedRegions, column: Tensor, longest: int) -> Tensor:
    """Membership as a table (R, m, longest)."""
    place = regions.member_center * longest + column[regions.member_point]
    table = torch.zeros(regions.segments.num * regions.num_centers * longest, dtype=torch.bool, device=place.device)
    return table.index_fill(0, place, True).view(regions.segments.num, regions.num_centers, longest)
