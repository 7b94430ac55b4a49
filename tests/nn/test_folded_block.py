"""The folded block equals the block."""

from __future__ import annotations

import pytest
import torch
from order_one import order_one
from torch import nn

from pointcoc.geometry import Segments
from pointcoc.geometry.regions import UniformRegions, grid_regions
from pointcoc.nn import ClusterBlock, FoldedBlock
from pointcoc.nn.folded_block import fold_block
from pointcoc.ops import ClusterOptions

CPU = torch.device("cpu")


def block(dim: int = 6, heads: int = 2, head_dim: int = 3, backend: str = "auto", **options) -> ClusterBlock:
    made = ClusterBlock(dim, heads, head_dim, 2, ClusterOptions(**options), backend=backend)
    return order_one(made.double()).eval()


# Sides, regions and centers per axis: usual, one region, one point a region, more centers than sites, one center.
SHAPES = [((6, 4), 2, 2), ((5, 7), 1, 3), ((2, 2), 2, 2), ((4, 4), 2, 5), ((1, 1), 1, 1)]


@pytest.mark.parametrize("normalizer", ["similarity", "count"])
@pytest.mark.parametrize("sign", [1, -1, 0])
@pytest.mark.parametrize(("grid", "regions", "centers"), SHAPES)
def test_it_equals_the_block(grid: tuple[int, int], regions: int, centers: int, sign: int, normalizer: str) -> None:
    original = block(normalizer=normalizer)
    with torch.no_grad():
        original.cluster.alpha.mul_(sign)
    folded = FoldedBlock(original)
    sets = Segments.equal(2, grid[0] * grid[1], CPU)
    uniform = grid_regions(grid, 2, (regions, regions), centers, CPU)
    assert isinstance(uniform, UniformRegions)
    x = torch.randn(2 * grid[0] * grid[1], 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected, assignment = original(x, sets, uniform)
    y, ours = folded(x, sets, uniform)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    assert torch.equal(ours.center, assignment.center)


def test_a_large_mean_does_not_hide_the_points() -> None:
    """Mean and deviation come before the product, where a mean of 1e4 costs no digit of the result."""
    original = block().float()
    folded, exact = FoldedBlock(original), block()
    x = torch.randint(-8, 8, (16, 6), generator=torch.Generator().manual_seed(0)) + 1e4
    sets, regions = Segments.equal(1, 16, CPU), grid_regions((4, 4), 1, (1, 1), 1, CPU)
    expected, _ = exact(x.double(), sets, regions)
    with torch.no_grad():
        y, _ = folded(x, sets, regions)
    torch.testing.assert_close(y.double() - x, expected - x, rtol=0, atol=5e-3)  # half a unit in the last place of 1e4


class Doubled(nn.Linear):
    """An adapter: weight and bias do not say what it computes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def test_a_block_with_a_module_of_another_kind_stays() -> None:
    adapted, replaced = block(), block()
    adapted.cluster.proj = Doubled(6, 6)
    replaced.cluster = nn.Identity()
    assert fold_block(adapted) is adapted
    assert fold_block(replaced) is replaced
    assert isinstance(fold_block(block()), FoldedBlock)


def test_parameters_are_frozen_and_of_the_dtype_of_the_block() -> None:
    folded = FoldedBlock(block().to(torch.bfloat16))
    assert {(value.dtype, value.requires_grad) for value in folded.parameters()} == {(torch.bfloat16, False)}
