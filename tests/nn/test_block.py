"""The block: two branches with norm, scale, residual and stochastic depth."""

from __future__ import annotations

import pytest
import torch
from set_samples import clouds

from pointcoc import ClusterOptions, PointSet
from pointcoc.geometry import Segments
from pointcoc.geometry.regions import cloud_regions
from pointcoc.nn import ClusterBlock


def block(**settings) -> ClusterBlock:
    torch.manual_seed(0)
    return ClusterBlock(6, 2, 4, 2.0, ClusterOptions(), **{"layer_scale": 0.5} | settings).double()


def run(one: ClusterBlock, points: PointSet) -> torch.Tensor:
    """Rows after the block, in the order of the set."""
    regions = cloud_regions(points, 2, None, "fps", 2, 2)
    return regions.order.leave(one(regions.order.enter(points.x), Segments.of(points), regions)[0])


def test_two_branches_one_after_the_other() -> None:
    points, one = clouds(9, 5, channels=6), block()
    sets, regions = Segments.of(points), cloud_regions(points, 2, None, "fps", 2, 2)
    x = regions.order.enter(points.x)
    middle = x + 0.5 * one.cluster(one.norm1(x, sets), regions)[0]
    expected = middle + 0.5 * one.mlp(one.norm2(middle, sets))
    y, assignment = one(x, sets, regions)
    torch.testing.assert_close(y, expected)
    assert torch.equal(assignment.center, one.cluster(one.norm1(x, sets), regions)[1].center)


def test_scales_of_zero_leave_the_points() -> None:
    points = clouds(9, 5, channels=6)
    assert torch.equal(run(block(layer_scale=0.0), points), points.x)


def test_other_sets_of_the_batch_do_not_matter() -> None:
    points = clouds(9, 1, 14, channels=6)
    torch.testing.assert_close(run(block(), points), torch.cat([run(block(), one) for one in points.split()]))


@pytest.mark.parametrize("counts", [(5, 5, 5, 5, 5, 5), (7, 1, 3, 9, 4, 6)])
def test_stochastic_depth_skips_whole_sets(counts: tuple[int, ...]) -> None:
    points = clouds(*counts, channels=6)
    one = block(drop_path=0.5)
    one.scale2.data.zero_()  # the first branch alone
    branch = run(one.eval(), points) - points.x
    torch.manual_seed(1)
    ratios = [
        float((after.x - before.x).norm().detach() / part.norm().detach())
        for after, before, part in zip(
            points.with_x(run(one.train(), points)).split(), points.split(), branch.split(counts), strict=True
        )
    ]
    assert {round(ratio, 6) for ratio in ratios} == {0.0, 2.0}


def test_without_drop_path_training_is_evaluation() -> None:
    points = clouds(9, 5, channels=6)
    assert torch.equal(run(block().train(), points), run(block().eval(), points))
    assert torch.equal(run(block(drop_path=0.5).eval(), points), run(block().eval(), points))


def test_every_weight_gets_a_gradient() -> None:
    one = block()
    run(one, clouds(9, 5, channels=6)).square().sum().backward()
    assert all(weight.grad is not None and (weight.grad != 0).any() for weight in one.parameters())
