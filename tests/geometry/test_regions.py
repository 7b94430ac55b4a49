"""Regions of lattices and clouds, their order, and their two forms."""

from __future__ import annotations

import pytest
import torch
from set_samples import clouds, members, pixels, shuffled, without_promise
from torch import Tensor

from pointcoc import PointSet, concat
from pointcoc.geometry import RaggedRegions, Segments, UniformRegions
from pointcoc.geometry.regions import (
    IndexOrder,
    PaddedRegions,
    TileOrder,
    cell_regions,
    cloud_regions,
    grid_regions,
    lattice_regions,
)

CPU = torch.device("cpu")


def line(*values: float) -> PointSet:
    pos = torch.tensor(values, dtype=torch.float64)[:, None]
    return PointSet(pos, pos, torch.tensor([0, len(values)]))


def region_of(regions) -> Tensor:
    """Region of each point in the order of its set."""
    region = regions.segments.index
    return region if regions.order is None else regions.order.leave(region)


def joined(parts: list[Tensor], num_centers: int) -> Tensor:
    """What `members` returns for a batch, from what it returns for each set."""
    regions = [part[:, : part.shape[1] // (1 + num_centers)] for part in parts]
    centers = [part[:, region.shape[1] :] for part, region in zip(parts, regions, strict=True)]
    return torch.cat([torch.block_diag(*regions), torch.block_diag(*centers)], dim=1).bool()


def test_tiles_on_paper() -> None:
    order, rows = TileOrder((2, 4), (1, 2)), torch.arange(8)[:, None]
    assert order.enter(rows).squeeze(1).tolist() == [0, 1, 4, 5, 2, 3, 6, 7]
    assert torch.equal(order.leave(order.enter(rows)), rows)
    assert order.to("cpu") is order


@pytest.mark.parametrize(("grid", "counts"), [((4, 6), (2, 3)), ((6,), (3,)), ((2, 4, 6), (2, 2, 1)), ((3, 1), (3, 1))])
def test_orders_leave_where_they_entered(grid: tuple[int, ...], counts: tuple[int, ...]) -> None:
    x = torch.randn(2 * torch.Size(grid).numel(), 3)
    tiles = TileOrder(grid, counts)
    assert torch.equal(tiles.leave(tiles.enter(x)), x)
    order = torch.randperm(len(x))
    index = IndexOrder(order, order.argsort())
    assert torch.equal(index.leave(index.enter(x)), x)
    assert torch.equal(index.to("cpu").enter(x), x[order])


@pytest.mark.parametrize("centers", [1, 2, 3, 4])
@pytest.mark.parametrize(("grid", "counts"), [((4, 6), 2), ((6, 6), 3), ((4, 4), 1), ((2, 2), 2)])
def test_tiles_of_a_complete_lattice_are_its_cells(grid: tuple[int, int], counts: int, centers: int) -> None:
    points = pixels(grid, grid)
    tiles = grid_regions(grid, 2, (counts, counts), centers, CPU)
    cells = lattice_regions(without_promise(points), counts, None, centers)
    assert torch.equal(members(tiles), members(cells))
    window = grid_regions(grid, 2, tuple(size // 2 for size in grid), centers, CPU)
    assert torch.equal(members(window), members(lattice_regions(without_promise(points), None, 2, centers)))


@pytest.mark.parametrize("centers", [1, 2, 3])
@pytest.mark.parametrize(("counts", "window"), [(1, None), (3, None), (8, None), (None, 1), (None, 4), (None, 50)])
@pytest.mark.parametrize("sizes", [[(7, 5), (7, 5)], [(7, 5), (1, 1), (9, 16)], [(2, 30)]])
def test_cells_in_closed_form_are_cells(
    sizes: list[tuple[int, int]], counts: int | None, window: int | None, centers: int
) -> None:
    points = pixels(*sizes)
    closed, sorted_cells = (split(points, counts, window, centers) for split in (cell_regions, lattice_regions))
    assert torch.equal(members(closed), members(sorted_cells))
    assert torch.equal(closed.segments.ptr, sorted_cells.segments.ptr)
    padded, row = closed.uniform()
    assert padded.segments.size == int(sorted_cells.segments.counts.max())
    assert torch.equal(padded.members.sum(-1).flatten(), sorted_cells.ragged().member_counts)
    assert len(row.unique()) == points.num_points
    assert torch.equal(closed.order.leave(closed.order.enter(points.x)), points.x)


def test_cells_in_closed_form_of_three_axes() -> None:
    sites = torch.cartesian_prod(torch.arange(4.0), torch.arange(5.0), torch.arange(7.0))
    points = PointSet(sites, sites, torch.tensor([0, 140]), torch.tensor([[4, 5, 7]]), (4, 5, 7))
    closed = cell_regions(points, 3, None, 2)
    assert torch.equal(members(closed), members(lattice_regions(points, 3, None, 2)))


def test_cells_of_a_lattice_on_paper() -> None:
    pos = torch.arange(5.0)[:, None]
    points = PointSet(pos, pos, torch.tensor([0, 5]), torch.tensor([[5]]))
    assert region_of(lattice_regions(points, 2, None, 1)).tolist() == [0, 0, 0, 1, 1]
    assert region_of(lattice_regions(points, None, 2, 1)).tolist() == [0, 0, 1, 1, 2]
    # Cell (3, 4) has two sites, one a proposal; of three proposals of (0, 1, 2), each has one site.
    assert members(lattice_regions(points, 2, None, 2))[3:, 2:].tolist() == [
        [False, False, True, False],
        [False, False, False, True],
    ]


def test_cells_without_points_are_no_regions() -> None:
    pos = torch.tensor([[0.0], [4]])
    points = PointSet(pos, pos, torch.tensor([0, 2]), torch.tensor([[5]]))
    regions = lattice_regions(points, 5, None, 3)
    assert regions.segments.num == 2
    assert isinstance(regions, UniformRegions)
    # The three sub-cells of one site are equal: the first has it.
    assert regions.members.tolist() == [[[True], [False], [False]]] * 2


def test_cells_of_a_cloud_on_paper() -> None:
    points = line(0, 1, 2, 10)
    assert region_of(cloud_regions(points, 2, None, "cells", 1, 1)).tolist() == [0, 0, 0, 1]
    assert region_of(cloud_regions(points, None, 4.0, "cells", 1, 1)).tolist() == [0, 0, 0, 1]
    assert region_of(cloud_regions(points, None, 1.5, "cells", 1, 1)).tolist() == [0, 0, 1, 2]
    # Halves of (0, 5): 0, 1 and 2 lie in the first; 10 lies at the end of (5, 10).
    halves = members(cloud_regions(points, 2, None, "cells", 2, 1))[:, 2:].int()
    assert halves.tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize("proposals", ["cells", "fps"])
@pytest.mark.parametrize("window", [None, 0.5])
def test_coincident_points_are_one_region(proposals: str, window: float | None) -> None:
    points = PointSet(torch.zeros(3, 1), torch.full((3, 2), 7.0), torch.tensor([0, 2, 3]))
    regions = cloud_regions(points, 4, window, proposals, 2, 2)
    assert region_of(regions).tolist() == [0, 0, 1]
    assert all(count in (0, 1, 2) for count in regions.ragged().member_counts.tolist())


@pytest.mark.parametrize("proposals", ["cells", "fps"])
@pytest.mark.parametrize(("counts", "window"), [(1, None), (3, None), (None, 0.3)])
def test_each_set_is_split_alone(proposals: str, counts: int | None, window: float | None) -> None:
    points = clouds(20, 1, 33)
    split = [counts, window, proposals, 2, 3]
    together = cloud_regions(points, *split)
    alone = [cloud_regions(one, *split) for one in points.split()]
    assert torch.equal(members(together), joined([members(one) for one in alone], together.num_centers))


@pytest.mark.parametrize("proposals", ["cells", "fps"])
def test_regions_do_not_depend_on_the_order_of_the_points(proposals: str) -> None:
    points = clouds(30, 9)
    other, rows = shuffled(points)
    one, two = (cloud_regions(sets, 2, None, proposals, 2, 3) for sets in (points, other))
    assert torch.equal(members(two), members(one)[rows])


@pytest.mark.parametrize("proposals", ["cells", "fps"])
@pytest.mark.parametrize(("counts", "window"), [(2, None), (None, 0.25)])
def test_regions_far_from_the_origin(proposals: str, counts: int | None, window: float | None) -> None:
    points = clouds(40)
    near = PointSet(points.x, (points.pos * 2**20).round() / 2**20, points.ptr)
    far = PointSet(points.x, near.pos + 1e4, points.ptr)
    split = [counts, window, proposals, 2, 3]
    assert torch.equal(members(cloud_regions(far, *split)), members(cloud_regions(near, *split)))


def test_lattices_of_a_batch_are_split_alone() -> None:
    points = pixels((5, 4), (1, 3), (6, 6), kept=0.6)
    together = lattice_regions(points, 2, None, 2)
    alone = [members(lattice_regions(one, 2, None, 2)) for one in points.split()]
    assert torch.equal(members(together), joined(alone, 4))


def test_forms_of_nearly_equal_regions() -> None:
    regions = cell_regions(pixels((5, 4)), 2, None, 2)
    assert isinstance(regions, PaddedRegions)
    assert regions.num_centers == 4
    padded, row = regions.ragged().uniform()
    assert torch.equal(padded.members, regions.padded.members)
    assert torch.equal(row, regions.row)


def test_the_two_forms_say_the_same() -> None:
    ragged = cloud_regions(clouds(9, 5), 2, None, "fps", 2, 2)
    assert isinstance(ragged, RaggedRegions)
    assert ragged.ragged() is ragged
    padded, row = ragged.uniform()
    assert padded.uniform() == (padded, None)
    assert padded.segments.size == int(ragged.segments.counts.max())
    assert torch.equal(padded.members.sum(-1).flatten(), ragged.member_counts)
    back = padded.ragged()
    assert torch.equal(row[ragged.member_point].sort()[0], back.member_point.sort()[0])
    assert torch.equal(ragged.member_counts, back.member_counts)


def test_equal_regions_are_uniform() -> None:
    regions = cloud_regions(concat([line(0, 1, 9, 10), line(0, 2, 8, 10)]), 2, None, "cells", 1, 1)
    assert isinstance(regions, UniformRegions)
    assert (regions.segments.num, regions.segments.size, regions.num_centers) == (4, 2, 1)


@pytest.mark.parametrize("counts", [1, 2])
def test_regions_move(counts: int) -> None:
    for regions in (
        grid_regions((4, 4), 1, (counts, counts), 2, CPU),
        cloud_regions(clouds(9), counts, None, "fps", 2, 2),
        cell_regions(pixels((5, 4)), counts, None, 2),
    ):
        moved = regions.to("cpu")
        assert type(moved) is type(regions)
        assert torch.equal(members(moved), members(regions))
    assert Segments.of(clouds(2)).to("meta").ptr.is_meta
