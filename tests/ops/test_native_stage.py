"""The native kernels give what the folded blocks give, as near to float64 as bfloat16 allows."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from lattice_stage import stage
from order_one import order_one
from torch import Tensor

from pointcoc.geometry.tiles import Tiles, make_tiles
from pointcoc.nn import ClusterBlock, FusedBlock
from pointcoc.nn.native_blocks import NativeBlocks
from pointcoc.ops import ClusterOptions
from pointcoc.ops.native_library import why_not_native
from pointcoc.ops.native_stage import native_stage

REASON = why_not_native()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))
CPU = torch.device("cpu")

# Sets, sides, regions and centers per axis, channels, heads, channels of a head, hidden over channels.
SHAPES = {
    "one_point": (1, (1, 1), 1, 1, 16, 1, 8, 1),
    "one_point_a_region": (3, (4, 4), 4, 1, 32, 2, 16, 2),
    "stage_1_of_coc_tiny": (2, (56, 56), 8, 2, 32, 4, 24, 8),
    "stage_3_of_coc_tiny": (3, (14, 14), 2, 2, 196, 8, 24, 4),
    "stage_4_of_coc_small": (5, (7, 7), 1, 2, 512, 8, 32, 4),
    "one_large_region": (2, (40, 31), 1, 4, 64, 3, 24, 3),
    "49_centers": (1, (28, 28), 2, 7, 40, 2, 32, 4),
    "more_centers_than_points": (2, (4, 4), 2, 5, 32, 2, 8, 2),
    "odd_channels": (2, (6, 10), 2, 2, 37, 3, 7, 1),
    "head_of_8_and_64": (2, (14, 14), 1, 3, 48, 2, 64, 5),
    "193_points": (1, (193, 1), 1, 1, 18, 1, 8, 2),
    "209_points": (2, (209, 1), 1, 1, 18, 1, 8, 2),
}


def make(shape: tuple, depth: int = 1, **options) -> tuple[list[FusedBlock], Tiles, Tensor]:
    """Blocks with weights of order one that bfloat16 holds exactly, in float64, and points."""
    sets, grid, regions, centers, dim, heads, head_dim, ratio = shape
    torch.manual_seed(0)
    blocks = [order_one(ClusterBlock(dim, heads, head_dim, ratio, ClusterOptions(**options))) for _ in range(depth)]
    folded = [FusedBlock(block.to(torch.bfloat16)).double() for block in blocks]
    tiles = make_tiles(grid, stage(regions, centers), CPU, torch.float64)
    assert tiles is not None
    return folded, tiles, torch.randn(sets * regions**2, tiles.size, dim).to(torch.bfloat16)


def halves(blocks: list[FusedBlock]) -> list[FusedBlock]:
    return [copy.deepcopy(block).to(torch.bfloat16) for block in blocks]


def single(tiles: Tiles) -> Tiles:
    return Tiles(tiles.grid, tiles.proposals._replace(mean=tiles.proposals.mean.float()), tiles.order)


def native(blocks: list[FusedBlock], tiles: Tiles, x: Tensor, sets: int) -> Tensor:
    return NativeBlocks(halves(blocks))(x, single(tiles), sets)


def exact(blocks: list[FusedBlock], tiles: Tiles, x: Tensor, sets: int) -> Tensor:
    x = x.double()
    for block in blocks:
        x = block.by_tiles(x, tiles, sets)
    return x


def point_errors(y: Tensor, expected: Tensor) -> Tensor:
    """Error of each point, as a share of the deviation of all."""
    return (y.double() - expected).square().mean(-1).sqrt().flatten() / expected.std(correction=0).clamp(min=1e-3)


@pytest.mark.parametrize("normalizer", ["similarity", "count"])
@pytest.mark.parametrize("name", SHAPES)
def test_it_is_as_near_to_float64_as_bfloat16_in_torch(name: str, normalizer: str) -> None:
    """A point between two centers may go to either; those are few, and all others are within rounding."""
    blocks, tiles, x = make(SHAPES[name], normalizer=normalizer)
    sets = SHAPES[name][0]
    expected = exact(blocks, tiles, x, sets)
    with torch.inference_mode():
        ours = point_errors(native(blocks, tiles, x, sets), expected)
        theirs = point_errors(halves(blocks)[0].by_tiles(x, single(tiles), sets), expected)
    assert float(ours.quantile(0.95)) <= 1.1 * float(theirs.quantile(0.95)) + 1e-3
    assert float((ours > 1.1 * theirs.quantile(0.95) + 0.05).float().mean()) <= 0.02
    if tiles.num_centers == 1:
        assert float(ours.max()) <= 1.1 * float(theirs.max()) + 1e-3


def test_blocks_follow_one_another() -> None:
    shape = (3, (14, 14), 2, 1, 48, 4, 24, 2)  # one center: no choice can flip
    blocks, tiles, x = make(shape, depth=3)
    errors = point_errors(native(blocks, tiles, x, 3), exact(blocks, tiles, x, 3))
    assert float(errors.max()) < 0.02


def silent(block: FusedBlock, *names: str) -> None:
    """Take layers out: their output is 0."""
    with torch.no_grad():
        for name in names:
            getattr(block, name).weight.zero_()
            getattr(block, name).bias.zero_()


def test_gelu_by_itself() -> None:
    """proj gives 0, fc1 and fc2 copy: x + gelu(norm(x)), to the rounding of gelu and of the sum."""
    blocks, tiles, _ = make((1, (64, 1), 1, 1, 32, 1, 8, 1))
    silent(blocks[0], "proj", "fc1", "fc2")
    with torch.no_grad():
        blocks[0].fc1.weight.copy_(torch.eye(32))
        blocks[0].fc2.weight.copy_(1024 * torch.eye(32))  # far above x, which then rounds nothing away
    x = torch.linspace(-8, 8, 64 * 32).view(1, 64, 32).to(torch.bfloat16)
    normal = ((x.double() - x.double().mean()) / x.double().std(correction=0)).to(torch.bfloat16).double()
    expected = 0.5 * normal * (1 + torch.erf(normal / math.sqrt(2)))
    found = (native(blocks, tiles, x, 1).double() - x.double()) / 1024
    assert float(normal.abs().max()) > 1.7
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=1e-4)


def test_a_cluster_by_hand() -> None:
    """Two clear clusters of two points: the sum of what both centers dispatch, read off the equations."""
    blocks, tiles, _ = make((1, (4, 1), 1, 1, 2, 1, 2, 1))
    block = blocks[0]
    silent(block, "fv", "proj", "fc1", "fc2")
    with torch.no_grad():
        block.fv.weight.copy_(torch.eye(2).repeat(2, 1))  # f = v = the normalized point
        block.proj.weight.copy_(256 * torch.eye(2))
        block.alpha.fill_(2), block.beta.fill_(0.5)
    mean = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    tiles = Tiles((4, 1), tiles.proposals._replace(mean=mean), None)
    x = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]]).to(torch.bfloat16)[None]  # norm(x) = 2 x - 1
    similarity = 1 / (1 + math.exp(-2.5))
    blend = (1 + 2 * similarity) / (1 + 2 * similarity)  # the center and both points are one and the same
    expected = 256 * similarity * blend * (2 * x.double() - 1) + x.double()
    found = NativeBlocks(halves(blocks))(x, tiles, 1).double()
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=0)


def test_a_proposal_without_points_is_never_chosen() -> None:
    blocks, tiles, x = make((2, (4, 4), 1, 2, 32, 2, 8, 2))
    mean = tiles.proposals.mean.float().clone()
    with_hole = Tiles(tiles.grid, tiles.proposals._replace(mean=torch.cat([torch.zeros(1, 16), mean])), None)
    found = NativeBlocks(halves(blocks))(x, with_hole, 2)
    assert torch.equal(found, NativeBlocks(halves(blocks))(x, single(tiles), 2))


def test_a_set_does_not_depend_on_its_company_or_on_threads() -> None:
    blocks, tiles, x = make(SHAPES["stage_3_of_coc_tiny"], depth=2)
    together = native(blocks, tiles, x, 3).view(3, -1, 196)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        other = native(blocks, tiles, x, 3).view(3, -1, 196)
    finally:
        torch.set_num_threads(threads)
    for b, one in enumerate(x.view(3, -1, *x.shape[1:])):
        alone = native(blocks, tiles, one, 1).view(-1, 196)
        for y in (together[b], other[b]):
            assert float(point_errors(y, alone.double()).quantile(0.95)) < 5e-3


def test_a_large_mean_does_not_hide_the_points() -> None:
    """The variance is that about the mean: for values near 1,024 a difference of squares would keep no digit of it."""
    blocks, tiles, x = make((1, (8, 8), 2, 1, 32, 2, 8, 1))
    far = (1024 + 8 * x.float().round()).to(torch.bfloat16)
    expected = exact(blocks, tiles, far, 1) - far.double()
    found = NativeBlocks(halves(blocks))(far, single(tiles), 1).double() - far.double()
    torch.testing.assert_close(found, expected, rtol=0, atol=8.5)  # twice half a unit in the last place of 1,024


def test_the_input_is_left_alone_and_need_not_be_contiguous() -> None:
    blocks, tiles, x = make(SHAPES["odd_channels"])
    wide = torch.cat([x, x], 2)[..., : x.shape[2]]
    before = wide.clone()
    assert torch.equal(native(blocks, tiles, wide, 2), native(blocks, tiles, x, 2))
    assert torch.equal(wide, before)


def test_the_operator_is_registered_as_torch_wants() -> None:
    blocks, tiles, x = make(SHAPES["more_centers_than_points"])
    packed = NativeBlocks(halves(blocks))
    mean = tiles.proposals.mean.float()
    arguments = (x, packed.weights, 2, packed.heads, packed.hidden, mean, False, *packed.eps)
    torch.library.opcheck(native_stage, arguments, test_utils=("test_schema", "test_faketensor"))
    with pytest.raises(ValueError, match=r"points in bfloat16 and a mean in float32, got torch.float32 and"):
        native_stage(x.float(), *arguments[1:])
    y = native_stage(x.clone().requires_grad_(), *arguments[1:])
    with pytest.raises(RuntimeError, match="native kernels are for inference and have no gradients"):
        y.sum().backward()


def test_weights_of_another_dtype_raise() -> None:
    blocks, _, _ = make(SHAPES["odd_channels"])
    with pytest.raises(ValueError, match="take bfloat16 weights on the CPU, got float64 on cpu"):
        NativeBlocks(blocks)
