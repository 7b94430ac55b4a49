"""Clusters of a stage: centers where their proposals lie, sizes that count every point, sets taken apart."""

from __future__ import annotations

import pytest
import torch

from pointcoc import ContextClusterNet, PointSet, concat, image_to_points

SETS = [(33, 47), (20, 9), (1, 1)]


def test_centers_of_a_grid_by_hand(image_net: ContextClusterNet) -> None:
    stage = image_net.assignments(torch.rand(1, 1, 32, 32))[2]  # 4 x 4 points, one region, 2 x 2 centers
    assert stage.center_pos.tolist() == [[0.5, 0.5], [0.5, 2.5], [2.5, 0.5], [2.5, 2.5]]
    first = image_net.assignments(torch.rand(1, 1, 32, 32))[0]  # regions of 4 x 4 of 16 x 16 points
    assert first.center_pos[:5].tolist() == [[0.5, 0.5], [0.5, 2.5], [2.5, 0.5], [2.5, 2.5], [0.5, 4.5]]


@pytest.mark.parametrize("centers", [2, 5, 7])
@pytest.mark.parametrize("size", [(32, 32), (56, 40), (21, 50)])
def test_sizes_count_every_point(centers: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = ContextClusterNet.from_preset("coc_nano", num_classes=3, centers=centers).eval()
    for stage in net.assignments(torch.rand(2, 3, *size)):
        for block in range(stage.num_blocks):
            for head in range(stage.num_heads):
                found = stage.centers(block, head)
                assert int(found.size.sum()) == stage.points.num_points
                assert found.pos.shape == (len(found.size), 2)
                assert found.size[stage.cluster(block, head)].min() >= 1
                assert torch.equal(found.pos.isnan().any(1), found.pos.isnan().all(1))
                assert not found.pos[found.size > 0].isnan().any()
        assert stage.num_centers == centers**2


def test_a_batch_taken_apart_is_what_each_set_gives(image_net: ContextClusterNet) -> None:
    images = [torch.rand(1, *size, generator=torch.Generator().manual_seed(size[0])) for size in SETS]
    apart = [stage.split() for stage in image_net.assignments(images)]
    for b, image in enumerate(images):
        for stage, alone in zip(apart, image_net.assignments([image]), strict=True):
            assert torch.equal(stage[b].points.pos, alone.points.pos)
            assert torch.equal(stage[b].cluster(-1, 1), alone.cluster(-1, 1))
            torch.testing.assert_close(stage[b].similarity(0, 2), alone.similarity(0, 2))
            torch.testing.assert_close(stage[b].center_pos, alone.center_pos, equal_nan=True)
            assert torch.equal(stage[b].centers().size, alone.centers().size)


def test_clouds_and_holed_lattices_are_taken_apart(
    image_net: ContextClusterNet, cloud_net: ContextClusterNet, make_cloud
) -> None:
    clouds = [make_cloud(70), make_cloud(1), make_cloud(200)]
    for net, sets in ((cloud_net, clouds), (image_net, _holed())):
        apart = [stage.split() for stage in net.assignments(concat(sets))]
        for b, one in enumerate(sets):
            for stage, alone in zip(apart, net.assignments(one), strict=True):
                assert torch.equal(stage[b].cluster(), alone.cluster())
                torch.testing.assert_close(stage[b].center_pos, alone.center_pos, equal_nan=True)


def _holed() -> list[PointSet]:
    generator = torch.Generator().manual_seed(0)
    masks = [torch.rand(1, *size, generator=generator) > 0.6 for size in ((20, 30), (17, 8))]
    return [image_to_points(torch.rand(1, 1, *mask.shape[1:], generator=generator), mask) for mask in masks]


def test_what_does_not_exist_gets_a_sentence(image_net: ContextClusterNet) -> None:
    stage = image_net.assignments(torch.rand(1, 1, 8, 8))[1]
    with pytest.raises(ValueError, match=r"block must be in \[0, 1\], or negative from the end, got 2"):
        stage.cluster(2)
    with pytest.raises(ValueError, match=r"head must be in \[0, 3\].*got 4"):
        stage.similarity(0, 4)
