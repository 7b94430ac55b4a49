"""Values projected at the centers equal values projected per point, with all gradients."""

from __future__ import annotations

import pytest
import torch
from set_samples import clouds
from torch.nn import functional as F

from pointcoc import ClusterOptions, context_cluster
from pointcoc.geometry.regions import UniformRegions, cloud_regions, grid_regions
from pointcoc.ops import Case, ClusterWeights
from pointcoc.ops.center_side import center_side, why_center_side_later

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
    return x.requires_grad_()


@pytest.mark.parametrize("normalizer", ["similarity", "count"])
@pytest.mark.parametrize("regions", REGIONS.values(), ids=REGIONS)
def test_it_equals_the_operation_between_linear_layers(regions: UniformRegions, normalizer: str) -> None:
    assert isinstance(regions, UniformRegions)
    x, w, options = rows(regions), weights(), ClusterOptions(normalizer=normalizer)
    y, assignment = center_side(x, regions, w, HEADS, options)
    f, v = F.linear(x, w.fv_weight, w.fv_bias).unflatten(1, (2, HEADS, -1)).unbind(1)
    z, other = context_cluster(f, v, regions, w.alpha, w.beta, options, "reference")
    expected = F.linear(z.flatten(1), w.proj_weight, w.proj_bias)
    torch.testing.assert_close(y, expected)
    assert torch.equal(assignment.rows().center, other.center)
    torch.testing.assert_close(assignment.rows().similarity, other.similarity)
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
    with torch.no_grad():
        w = ClusterWeights(*(value.to(torch.bfloat16).float() for value in w))
        _, exact = center_side(x, regions, w, HEADS, ClusterOptions())
        if autocast:
            with torch.autocast("cpu", torch.bfloat16):
                _, half = center_side(x, regions, w, HEADS, ClusterOptions())
        else:
            halves = ClusterWeights(*(value.bfloat16() for value in w))
            _, half = center_side(x.bfloat16(), regions, halves, HEADS, ClusterOptions())
    assert half.similarity.dtype == torch.float32
    assert torch.equal(half.center, exact.center)
    # the length of f is rounded to bfloat16 (8 bits), the product is not
    torch.testing.assert_close(half.similarity, exact.similarity, rtol=0, atol=2e-3)


@pytest.mark.parametrize(("side", "is_later"), [(2, False), (7, True)])
def test_auto_goes_on_where_projecting_every_point_is_cheaper(side: int, is_later: bool) -> None:
    """Stage 3 of coc_tiny has 4 centers a region, that of coc_tiny2 has 49."""
    regions, float32 = grid_regions((14, 14), 1, (1, 1), side, torch.device("cpu")), torch.float32
    case = Case(regions, ClusterOptions(), torch.device("cpu"), (float32, float32), (24, 24), 196)
    assert (why_center_side_later(case) is not None) == is_later
