"""Values projected at the centers equal values projected per point, with all gradients."""

from __future__ import annotations

import pytest
import torch
from set_samples import clouds
from torch.nn import functional as F

from pointcoc import ClusterOptions, context_cluster
from pointcoc.geometry.proposals import Proposals
from pointcoc.geometry.regions import UniformRegions, cloud_regions, grid_regions
from pointcoc.ops.center_side import ClusterWeights, center_side, prefers_center_side

HEADS, HEAD_DIM, DIM = 2, 3, 5
REGIONS = {
    "even": grid_regions((4, 6), 2, (2, 2), 2, torch.device("cpu")),
    "one point a region": grid_regions((2, 2), 2, (2, 2), 2, torch.device("cpu")),
    "one region and center": grid_regions((3, 5), 1, (1, 1), 1, torch.device("cpu")),
    "clouds": cloud_regions(clouds(12, 12), 1, None, "fps", 3, 4),
}


def weights(dtype: torch.dtype = torch.float64) -> ClusterWeights:
    generator = torch.Generator().manual_seed(0)
    width = HEADS * HEAD_DIM
    shapes = ((2 * width, DIM), (2 * width,), (DIM, width), (DIM,), (1,), (1,))
    return ClusterWeights(
        *(torch.randn(shape, generator=generator, dtype=dtype, requires_grad=True) for shape in shapes)
    )


def rows(regions: UniformRegions, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    num = regions.segments.index.shape[0]
    x = torch.randn(num, DIM, generator=torch.Generator().manual_seed(1), dtype=dtype)
    return x.view(regions.segments.num, -1, DIM).requires_grad_()


@pytest.mark.parametrize("normalizer", ["similarity", "count"])
@pytest.mark.parametrize("regions", REGIONS.values(), ids=REGIONS)
def test_it_equals_the_operation_between_linear_layers(regions: UniformRegions, normalizer: str) -> None:
    assert isinstance(regions, UniformRegions)
    x, w = rows(regions), weights()
    y, assignment = center_side(x, Proposals.of(regions, torch.float64), w, HEADS, normalizer)
    f, v = F.linear(x.flatten(0, 1), w.fv_weight, w.fv_bias).unflatten(1, (2, HEADS, -1)).unbind(1)
    z, other = context_cluster(f, v, regions, w.alpha, w.beta, ClusterOptions(normalizer=normalizer), "reference")
    expected = F.linear(z.flatten(1), w.proj_weight, w.proj_bias).view_as(x)
    torch.testing.assert_close(y, expected)
    assert torch.equal(assignment.center.mT.flatten(0, 1), other.center)
    torch.testing.assert_close(assignment.similarity.mT.flatten(0, 1), other.similarity)
    seed = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=y.dtype)
    ours, theirs = (torch.autograd.grad((value * seed).sum(), [x, *w]) for value in (y, expected))
    for name, mine, their in zip(("x", *w._fields), ours, theirs, strict=True):
        torch.testing.assert_close(mine, their, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("autocast", [False, True])
def test_similarities_of_half_precision_are_float32(autocast: bool) -> None:
    """Points that differ by less than bfloat16 can say in their cosines are still told apart."""
    regions = REGIONS["even"]
    x, w = rows(regions, torch.float32).detach(), weights(torch.float32)
    x = x.to(torch.bfloat16).float()  # the same points in both
    proposals = Proposals.of(regions, torch.float32)
    with torch.no_grad():
        w = ClusterWeights(*(value.to(torch.bfloat16).float() for value in w))
        _, exact = center_side(x, proposals, w, HEADS)
        if autocast:
            with torch.autocast("cpu", torch.bfloat16):
                _, half = center_side(x, proposals, w, HEADS)
        else:
            _, half = center_side(x.bfloat16(), proposals, ClusterWeights(*(value.bfloat16() for value in w)), HEADS)
    assert half.similarity.dtype == torch.float32
    assert torch.equal(half.center, exact.center)
    # the length of f is rounded to bfloat16 (8 bits), the product is not
    torch.testing.assert_close(half.similarity, exact.similarity, rtol=0, atol=2e-3)


def test_it_is_preferred_where_it_takes_fewer_operations() -> None:
    official = ClusterOptions()
    assert prefers_center_side(official, 4, dim=196, head_dim=24)
    assert not prefers_center_side(official, 49, dim=196, head_dim=24)
    assert not prefers_center_side(ClusterOptions(assignment="soft"), 4, dim=196, head_dim=24)
    assert not prefers_center_side(ClusterOptions(iterations=2), 4, dim=196, head_dim=24)
