"""Regions along a Hilbert curve and the proposals of their centers."""

from __future__ import annotations

import pytest
import torch
from set_samples import clouds, members, shuffled
from torch import Tensor

from pointcoc import PointSet, concat
from pointcoc.geometry import RaggedRegions, Segments, UniformRegions, curve_regions
from pointcoc.geometry.curve_regions import equal_runs, run_members
from pointcoc.geometry.regions import PaddedRegions

PROPOSALS = ("curve", "fps")


def line(*values: float) -> PointSet:
    pos = torch.tensor(values, dtype=torch.float64)[:, None]
    return PointSet(pos, pos, torch.tensor([0, len(values)]))


def runs(*bounds: int) -> Segments:
    return Segments.from_ptr(torch.tensor(bounds))


def region_of(regions) -> list[int]:
    """Region of each point in the order of its set."""
    return regions.order.leave(regions.segments.index).tolist()


def parts(pos: Tensor, regions: Segments, centers: int) -> list[list[int]]:
    """Rows of each proposal."""
    row, proposal = run_members(pos, regions, centers)
    return [row[proposal == i].tolist() for i in range(regions.num * centers)]


def test_runs_on_paper() -> None:
    assert equal_runs(runs(0, 10), torch.tensor([3])).ptr.tolist() == [0, 3, 6, 10]
    assert equal_runs(runs(0, 5, 6, 13), torch.tensor([2, 1, 4])).ptr.tolist() == [0, 2, 5, 6, 7, 9, 11, 13]
    assert equal_runs(runs(0, 0), torch.tensor([0])).ptr.tolist() == [0]


@pytest.mark.parametrize("n", [1, 2, 7, 16, 17, 100])
@pytest.mark.parametrize("window", [1, 3, 16, 200])
def test_runs_are_those_of_the_formula(n: int, window: int) -> None:
    r = -(-n // window)
    expected = [i * n // r for i in range(r + 1)]
    regions = curve_regions(clouds(n), window, "curve", 2, 1)
    assert regions.segments.ptr.tolist() == expected
    assert int(regions.segments.counts.max()) <= window


def test_regions_of_a_line_on_paper() -> None:
    regions = curve_regions(line(4, 0, 1, 10, 2), 2, "curve", 2, 1)
    # Along the line: 0 | 1 2 | 4 10, regions of floor(5 / 3) and so on.
    assert region_of(regions) == [2, 0, 1, 2, 1]
    of_proposal = members(regions)[:, 3:].int().argmax(1).tolist()
    assert of_proposal == [2 * 2, 0 * 2 + 1, 1 * 2, 2 * 2 + 1, 1 * 2 + 1]


def test_regions_of_a_square_on_paper() -> None:
    """The corners of a square in the order of the curve: up, right, down."""
    pos = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    regions = curve_regions(PointSet(pos, pos, torch.tensor([0, 4])), 2, "curve", 1, 1)
    assert region_of(regions) == [0, 1, 0, 1]
    assert isinstance(regions, UniformRegions)


def test_parts_of_runs_on_paper() -> None:
    pos = torch.arange(8.0)[:, None]
    assert parts(pos, runs(0, 5, 8), 2) == [[0, 1], [2, 3, 4], [5], [6, 7]]
    # A run of two points and three proposals: floor(0), floor(2 / 3), floor(4 / 3), 2.
    assert parts(pos[:2], runs(0, 2), 3) == [[], [0], [1]]


def test_parts_at_one_place_propose_once() -> None:
    assert parts(torch.zeros(6, 2), runs(0, 6), 3) == [[0, 1], [], []]
    pos = torch.tensor([[0.0], [1], [1], [1], [1], [1], [1], [2]])
    assert parts(pos, runs(0, 8), 4) == [[0, 1], [2, 3], [], [6, 7]]
    assert parts(pos[1:7], runs(0, 3, 6), 3) == [[0], [], [], [3], [], []]  # each region for itself


def test_farthest_points_of_runs_on_paper() -> None:
    regions = curve_regions(line(0, 1, 5, 20, 22, 30), 3, "fps", 1, 2)
    # Means 2 and 24: the farthest are 5 and 30, each with its nearest.
    assert members(regions)[:, 2:].int().tolist() == [[0, 0], [1, 0], [1, 0], [0, 0], [0, 1], [0, 1]]


@pytest.mark.parametrize("proposals", PROPOSALS)
@pytest.mark.parametrize("window", [1, 6, 100])
def test_each_set_is_split_alone(proposals: str, window: int) -> None:
    points = clouds(20, 1, 33)
    together = members(curve_regions(points, window, proposals, 3, 4))
    alone = [members(curve_regions(one, window, proposals, 3, 4)) for one in points.split()]
    regions = [part[:, : part.shape[1] // 4] for part in alone]
    centers = [part[:, region.shape[1] :] for part, region in zip(alone, regions, strict=True)]
    assert torch.equal(together, torch.cat([torch.block_diag(*regions), torch.block_diag(*centers)], dim=1).bool())


@pytest.mark.parametrize("proposals", PROPOSALS)
def test_regions_do_not_depend_on_order_or_place(proposals: str) -> None:
    points = clouds(30, 9)
    other, rows = shuffled(points)
    moved = PointSet(points.x, points.pos + 1e4, points.ptr)
    one, two, three = (members(curve_regions(sets, 7, proposals, 2, 3)) for sets in (points, other, moved))
    assert torch.equal(two, one[rows])
    assert torch.equal(three, one)


@pytest.mark.parametrize("proposals", PROPOSALS)
def test_coincident_points(proposals: str) -> None:
    points = PointSet(torch.zeros(8, 1), torch.full((8, 2), 7.0), torch.tensor([0, 7, 8]))
    regions = curve_regions(points, 4, proposals, 2, 2)
    assert region_of(regions) == [0, 0, 0, 1, 1, 1, 1, 2]
    counts = regions.ragged().member_counts.view(3, 2)
    assert (counts[:, 0] > 0).all() or proposals == "curve"
    assert ((counts > 0).sum(1) == 1).all()


@pytest.mark.parametrize("proposals", PROPOSALS)
@pytest.mark.parametrize(("counts", "kind"), [((12, 12), UniformRegions), ((13, 5), PaddedRegions)])
def test_the_forms_say_the_same(proposals: str, counts: tuple[int, ...], kind: type) -> None:
    regions = curve_regions(clouds(*counts), 4, proposals, 2, 2)
    assert isinstance(regions, kind)
    assert isinstance(regions.ragged(), RaggedRegions)
    assert torch.equal(members(regions), members(regions.to("cpu").ragged()))
    assert regions.num_centers == 2


def test_a_set_without_points() -> None:
    points = PointSet(torch.zeros(3, 1), clouds(3).pos, torch.tensor([0, 0, 3]))
    regions = curve_regions(points, 2, "curve", 1, 1)
    assert regions.segments.ptr.tolist() == [0, 1, 3]
    assert torch.equal(members(regions), members(curve_regions(concat([clouds(3)]), 2, "curve", 1, 1)))
