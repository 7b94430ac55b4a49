"""The folded block equals the block, on tiles and on regions of any kind."""

from __future__ import annotations

import pytest
import torch
from lattice_stage import stage
from order_one import order_one

from pointcoc.geometry import Segments
from pointcoc.geometry.regions import UniformRegions, grid_regions
from pointcoc.geometry.tiles import make_tiles
from pointcoc.nn import ClusterBlock, FusedBlock
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
    fused = FusedBlock(original)
    sets = Segments.equal(2, grid[0] * grid[1], CPU)
    uniform = grid_regions(grid, 2, (regions, regions), centers, CPU)
    tiles = make_tiles(grid, stage(regions, centers), CPU, torch.float64)
    assert isinstance(uniform, UniformRegions)
    assert tiles is not None
    x = torch.randn(2 * grid[0] * grid[1], 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected, assignment = original(x, sets, uniform)
    y, ours = fused(x, sets, uniform)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    assert torch.equal(ours.center, assignment.center)
    by_tiles = fused.by_tiles(x.view(-1, tiles.size, 6), tiles, 2).flatten(0, 1)
    torch.testing.assert_close(by_tiles, expected, rtol=0, atol=1e-12)


def test_a_large_mean_does_not_hide_the_points() -> None:
    """Mean and deviation come before the product, where a mean of 1e4 costs no digit of the result."""
    original = block().float()
    fused, exact = FusedBlock(original), block()
    tiles = make_tiles((4, 4), stage(1, 1), CPU, torch.float32)
    assert tiles is not None
    x = torch.randint(-8, 8, (16, 6), generator=torch.Generator().manual_seed(0)) + 1e4
    expected, _ = exact(x.double(), Segments.equal(1, 16, CPU), grid_regions((4, 4), 1, (1, 1), 1, CPU))
    with torch.no_grad():
        y = fused.by_tiles(x.view(1, 16, 6), tiles, 1)[0]
    torch.testing.assert_close(y.double() - x, expected - x, rtol=0, atol=5e-3)  # half a unit in the last place of 1e4


def test_tiles_are_preferred_where_they_take_fewer_operations() -> None:
    tiny = FusedBlock(block(dim=196, heads=8, head_dim=24))  # stage 3 of coc_tiny and of coc_tiny2
    assert tiny.prefers_tiles(4)
    assert not tiny.prefers_tiles(49)


@pytest.mark.parametrize("other", [{"assignment": "soft"}, {"iterations": 2}, {"backend": "ragged"}])
def test_other_options_keep_their_operations(other: dict) -> None:
    assert not FusedBlock(block(**other)).prefers_tiles(1)


def test_parameters_are_frozen_and_of_the_dtype_of_the_block() -> None:
    fused = FusedBlock(block().to(torch.bfloat16))
    assert {(value.dtype, value.requires_grad) for value in fused.parameters()} == {(torch.bfloat16, False)}
