"""Tracing: every input point stands under one point of each stage, in any order, in sets of any size."""

from __future__ import annotations

import pytest
import torch

from pointcoc import ContextClusterNet, concat, image_to_points
from pointcoc.viz import trace


def test_sites_of_a_stride_stand_under_one_anchor(image_net: ContextClusterNet) -> None:
    images = [torch.rand(1, 33, 47), torch.rand(1, 20, 9), torch.rand(1, 1, 1)]
    for one, image in zip(trace(image_net, images), images, strict=True):
        assert one.points.num_points == image.numel()
        for s, stride in enumerate((2, 4, 8)):
            assert torch.equal(one.stages[s].points.pos[one.rows[s]], one.points.pos // stride)
            assert len(one.rows[s].unique()) == one.stages[s].points.num_points  # no point of a stage left out


def test_holes_and_order(image_net: ContextClusterNet) -> None:
    mask = torch.rand(1, 30, 22, generator=torch.Generator().manual_seed(0)) > 0.7
    points = image_to_points(torch.rand(1, 1, 30, 22), mask)
    order = torch.randperm(points.num_points)
    (straight,), (shuffled,) = trace(image_net, points), trace(image_net, points.take(order))
    for s in range(3):
        assert torch.equal(straight.stages[s].points.pos[straight.rows[s]], points.pos // 2 ** (s + 1))
        assert torch.equal(straight.cluster(s)[order], shuffled.cluster(s))


def test_points_of_clouds_belong_to_the_nearest_anchor(cloud_net: ContextClusterNet, make_cloud) -> None:
    clouds = [make_cloud(70), make_cloud(1), make_cloud(200)]
    for one, points in zip(trace(cloud_net, concat(clouds)), clouds, strict=True):
        first, second = (stage.points.pos for stage in one.stages[:2])
        nearest = torch.cdist(points.pos, first).argmin(1)
        assert torch.equal(one.rows[0], nearest)
        assert torch.equal(one.rows[1], torch.cdist(first, second).argmin(1)[nearest])


def test_clusters_of_input_points(image_net: ContextClusterNet) -> None:
    (one,) = trace(image_net, torch.rand(1, 1, 16, 24))
    stage = one.stage(-1)
    assert torch.equal(one.cluster(-1, 0, 2), stage.cluster(0, 2)[one.rows[2]])
    assert torch.equal(one.similarity(1), one.stage(1).similarity()[one.rows[1]])
    number = int(one.cluster()[5])
    assert one.members(number)[5]
    assert int(sum(one.members(c).sum() for c in range(len(stage.center_pos)))) == 16 * 24


def test_a_training_network_stays_in_training(image_net: ContextClusterNet) -> None:
    image_net.train()
    trace(image_net, torch.rand(1, 1, 8, 8))
    assert image_net.training
    image_net.eval()


def test_mistakes(image_net: ContextClusterNet) -> None:
    (one,) = trace(image_net, torch.rand(1, 1, 8, 8))
    with pytest.raises(ValueError, match=r"stage must be in \[0, 2\], or negative from the end, got 3"):
        one.cluster(3)
    with pytest.raises(ValueError, match="picture is of one input, got a batch of 2"):
        trace(image_net, torch.rand(2, 1, 8, 8), torch.rand(8, 8, 3))
