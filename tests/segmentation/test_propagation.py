"""Propagation from anchors to points: on paper, and for points that nobody gathered."""

from __future__ import annotations

import pytest
import torch
from set_samples import cloud_stage, clouds, scene_stage
from torch import Tensor

from pointcoc.geometry import Segments, StagePlan, make_plan
from pointcoc.pointset import PointSet
from pointcoc.segmentation import Propagation, propagation, propagations


def line(*places: float) -> PointSet:
    pos = torch.tensor(places, dtype=torch.float64)[:, None] * torch.tensor([1.0, 0.0, 0.0])
    return PointSet(pos[:, :0], pos, torch.tensor([0, len(places)]))


def stage_of(points: PointSet, anchors: PointSet, neighbors: list[list[int]]) -> StagePlan:
    index = torch.tensor(neighbors)
    offsets = (points.pos[index.clamp(min=0)] - anchors.pos[:, None]) * (index >= 0)[..., None]
    regions: object = None
    sets = Segments.of(anchors)
    return StagePlan(anchors=anchors, sets=sets, neighbors=index, offsets=offsets, regions=regions)  # type: ignore


def test_the_mean_is_weighted_by_the_inverse_of_the_squared_distance() -> None:
    """Anchors at 0 and 6 with features 1 and 10: the point at 2 has distances 2 and 4, weights 1/4 and 1/16."""
    points = line(0, 2, 6, 9, 100)
    stage = stage_of(points, line(0, 6), [[0, 1, -1], [2, 1, 3]])
    way = propagation(points, stage)
    found = way(torch.tensor([[1.0], [10.0]], dtype=torch.float64)).squeeze(1)
    at_two = (1 / 4 * 1 + 1 / 16 * 10) / (1 / 4 + 1 / 16)
    torch.testing.assert_close(found, torch.tensor([1, at_two, 10, 10, 10], dtype=torch.float64))
    assert at_two == pytest.approx(2.8)
    assert way.lonely.tolist() == [4]  # at 100: its nearest anchor is that at 6
    assert way.nearest.tolist() == [1]


@pytest.mark.parametrize("settings", [cloud_stage(neighbors=3, stride=3), scene_stage(neighbors=2)])
def test_every_point_has_weights_that_sum_to_one_and_come_from_its_set(settings) -> None:
    points = clouds(40, 1, 7)
    plan = make_plan(points, [settings])
    (way,) = propagations(points, plan)
    ones = torch.ones(plan.stages[0].anchors.num_points, 1, dtype=torch.float64)
    torch.testing.assert_close(way(ones), torch.ones(48, 1, dtype=torch.float64))
    sets = plan.stages[0].sets.index.double()[:, None]
    torch.testing.assert_close(way(sets).squeeze(1), points.batch.double())
    if settings.anchors == "fps":
        assert len(way.lonely)


def test_gradients_are_those_of_a_dense_product() -> None:
    points = clouds(12, 5)
    plan = make_plan(points, [cloud_stage(neighbors=4, stride=3)])
    (way,) = propagations(points, plan)
    num = plan.stages[0].anchors.num_points
    matrix = way(torch.eye(num, dtype=torch.float64))
    x = torch.randn(num, 3, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(way(x), matrix @ x)
    assert torch.autograd.gradcheck(way, (x,))


def test_half_precision_stays() -> None:
    way = Propagation(torch.tensor([[0]]), torch.tensor([[1.0]]), *[torch.zeros(0).long()] * 2, 1)
    x: Tensor = torch.ones(1, 2, dtype=torch.bfloat16)
    assert way(x).dtype == torch.bfloat16
