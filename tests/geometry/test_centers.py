"""Which points the proposals of a center average."""

from __future__ import annotations

import pytest
import torch
from set_samples import clouds, shuffled
from torch import Tensor
from torch.nn import functional as F

from pointcoc.geometry import Segments
from pointcoc.geometry.centers import (
    cloud_members,
    distinct_cells,
    distinct_rows,
    first_of_equal,
    fps_member_table,
    fps_members,
    lattice_members,
)

LINE = torch.tensor([[0.0], [1], [2], [10]], dtype=torch.float64)


def runs(*bounds: int) -> Segments:
    return Segments.from_ptr(torch.tensor(bounds))


def proposals(pairs: tuple[Tensor, Tensor], num: int) -> list[list[int]]:
    """Sorted rows of each proposal."""
    return [sorted(pairs[0][pairs[1] == i].tolist()) for i in range(num)]


def test_sub_cells_of_a_line() -> None:
    site = torch.arange(5)[:, None]
    inside = lattice_members(site, torch.full_like(site, 5), 2)
    assert inside.T.tolist() == [[True, True, True, False, False], [False, False, True, True, True]]


@pytest.mark.parametrize("size", range(1, 8))
@pytest.mark.parametrize("centers", range(1, 5))
def test_means_of_sub_cells_are_adaptive_pooling(size: int, centers: int) -> None:
    site = torch.cartesian_prod(torch.arange(size), torch.arange(3))
    inside = lattice_members(site, torch.tensor([[size, 3]]).expand_as(site), centers).double()
    values = torch.rand(size, 3, dtype=torch.float64)
    mean = inside.T @ values.flatten() / inside.sum(0)
    torch.testing.assert_close(mean.view(centers, centers), F.adaptive_avg_pool2d(values[None], centers)[0])


def test_sub_cells_of_a_cloud() -> None:
    place = torch.tensor([[0.0], [0.49], [0.5], [1.0]])
    assert cloud_members(place, 2).int().argmax(1).tolist() == [0, 0, 1, 1]
    plane = cloud_members(torch.tensor([[0.1, 0.9], [0.9, 0.1]]), 2)
    assert plane.tolist() == [[False, True, False, False], [False, False, True, False]]
    assert cloud_members(torch.rand(20, 3), 3).sum(1).tolist() == [1] * 20


def test_farthest_proposals_of_a_line(backend: str) -> None:
    pairs = fps_members(LINE, runs(0, 4), 2, 2)
    assert proposals(pairs, 2) == [[2, 3], [0, 1]]
    assert proposals(fps_members(LINE, runs(0, 4), 2, 1), 2) == [[3], [0]]


def test_a_region_with_few_points_has_fewer_proposals(backend: str) -> None:
    pairs = fps_members(LINE, runs(0, 1, 4), 3, 1)
    assert proposals(pairs, 6) == [[0], [], [], [3], [1], [2]]
    assert proposals(fps_members(LINE, runs(0, 1, 4), 3, 9), 6) == [[0], [], [], [1, 2, 3], [], []]


def test_coincident_points_propose_once(backend: str) -> None:
    pairs = fps_members(torch.zeros(4, 2), runs(0, 4), 3, 1)
    assert [len(rows) for rows in proposals(pairs, 3)] == [1, 0, 0]


def test_the_first_of_equal_proposals() -> None:
    point = torch.tensor([0, 1, 1, 0, 2, 0, 1, 2, 5])
    proposal = torch.tensor([0, 0, 1, 1, 2, 4, 4, 4, 5])
    # Region 0 proposes {0, 1}, {1, 0} and {2}; region 1 proposes nothing, {0, 1, 2} and {5}.
    assert first_of_equal(point, proposal, 2, 3).tolist() == [True, False, True, True, True, True]


@pytest.mark.parametrize("size", range(1, 8))
@pytest.mark.parametrize("centers", range(1, 5))
def test_distinct_sub_cells_are_the_first_of_equal(size: int, centers: int) -> None:
    site = torch.cartesian_prod(torch.arange(size), torch.arange(2))
    point, center = lattice_members(site, torch.tensor([size, 2]), centers).nonzero(as_tuple=True)
    assert torch.equal(distinct_cells(torch.tensor([size, 2]), centers), first_of_equal(point, center, 1, centers**2))


@pytest.mark.parametrize(("centers", "neighbors"), [(4, 3), (3, 20), (9, 2), (1, 1)])
def test_the_table_of_equal_regions_says_what_pairs_say(centers: int, neighbors: int, backend: str) -> None:
    pos = torch.cat([clouds(7, 7).pos, torch.zeros(7, 3), clouds(7, seed=1).pos[[0, 1, 0, 2, 1, 3, 0]]])
    regions = runs(0, 7, 14, 21, 28)
    table = fps_member_table(pos, regions, centers, neighbors)
    point, proposal = fps_members(pos, regions, centers, neighbors)
    assert table.shape == (4, centers, 7)
    assert sorted(proposals_of(table)) == sorted(zip(point.tolist(), proposal.tolist(), strict=True))


def proposals_of(table: Tensor) -> list[tuple[int, int]]:
    """Pairs (row, proposal) of a table (R, m, n)."""
    region, center, column = table.nonzero(as_tuple=True)
    point, proposal = region * table.shape[2] + column, region * table.shape[1] + center
    return list(zip(point.tolist(), proposal.tolist(), strict=True))


def test_equal_proposals_are_found_without_sorting(monkeypatch) -> None:
    table = torch.rand(40, 4, 5, generator=torch.Generator().manual_seed(0)) < 0.5
    pos = torch.randint(2, (200, 1), generator=torch.Generator().manual_seed(1)).double()
    expected = distinct_rows(table, pos)
    assert 0.1 < expected.double().mean() < 0.9
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert torch.equal(distinct_rows(table, pos), expected)


def test_proposals_do_not_depend_on_the_order_of_the_points(backend: str) -> None:
    points = clouds(15, 6)
    other, rows = shuffled(points)
    one = proposals(fps_members(points.pos, Segments.of(points), 4, 3), 8)
    point, proposal = fps_members(other.pos, Segments.of(other), 4, 3)
    assert proposals((rows[point], proposal), 8) == one
    assert all(len(found) == 3 for found in one)


def test_proposals_far_from_the_origin(backend: str) -> None:
    points = clouds(30, 12)
    near = (points.pos * 64).round() / 64 + torch.arange(42)[:, None] / 2**14
    one = proposals(fps_members(near, Segments.of(points), 4, 3), 8)
    assert proposals(fps_members(near + 2.0**13, Segments.of(points), 4, 3), 8) == one
