"""The native kernels give what the folded blocks give, as near to float64 as bfloat16 allows."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from order_one import order_one
from torch import Tensor

from pointcoc.geometry import Segments, StagePlan, UniformRegions
from pointcoc.geometry.regions import grid_regions
from pointcoc.nn import ClusterBlock, FoldedBlock, Stage
from pointcoc.nn.native_stage import NativeStage
from pointcoc.ops import ClusterOptions
from pointcoc.ops.native_library import why_not_native
from pointcoc.ops.native_stage import native_stage
from pointcoc.pointset import PointSet

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


def plan_of(sets: int, regions: UniformRegions) -> StagePlan:
    """A plan that says no more than the blocks read."""
    size = regions.segments.num // sets * regions.members.shape[2]
    nothing = torch.empty(sets * size, 0)
    anchors = PointSet(nothing, nothing, torch.arange(sets + 1) * size)
    return StagePlan(anchors=anchors, sets=Segments.equal(sets, size, CPU), regions=regions)


def make(shape: tuple, depth: int = 1, **options) -> tuple[list[FoldedBlock], StagePlan, Tensor]:
    """Blocks with weights of order one that bfloat16 holds exactly, in float64, and points in region order."""
    sets, grid, regions, centers, dim, heads, head_dim, ratio = shape
    torch.manual_seed(0)
    blocks = [order_one(ClusterBlock(dim, heads, head_dim, ratio, ClusterOptions(**options))) for _ in range(depth)]
    folded = [FoldedBlock(block.to(torch.bfloat16)).double() for block in blocks]
    made = grid_regions(grid, sets, (regions, regions), centers, CPU)
    assert isinstance(made, UniformRegions)
    return folded, plan_of(sets, made), torch.randn(sets * math.prod(grid), dim).to(torch.bfloat16)


def halves(blocks: list[FoldedBlock]) -> list[FoldedBlock]:
    return [copy.deepcopy(block).to(torch.bfloat16) for block in blocks]


def native(blocks: list[FoldedBlock], plan: StagePlan, x: Tensor) -> Tensor:
    stage = NativeStage(Stage(halves(blocks)))
    assert stage.why_not(plan) is None
    return stage.run(x, plan, is_watched=False)[0]


def by_torch(blocks: list[FoldedBlock], plan: StagePlan, x: Tensor) -> Tensor:
    return Stage(blocks).run(x, plan, is_watched=False)[0]


def exact(blocks: list[FoldedBlock], plan: StagePlan, x: Tensor) -> Tensor:
    return by_torch(blocks, plan, x.double())


def point_errors(y: Tensor, expected: Tensor) -> Tensor:
    """Error of each point, as a share of the deviation of all."""
    return (y.double() - expected).square().mean(-1).sqrt().flatten() / expected.std(correction=0).clamp(min=1e-3)


@pytest.mark.parametrize("normalizer", ["similarity", "count"])
@pytest.mark.parametrize("name", SHAPES)
def test_it_is_as_near_to_float64_as_bfloat16_in_torch(name: str, normalizer: str) -> None:
    """A point between two centers may go to either; those are few, and all others are within rounding."""
    blocks, plan, x = make(SHAPES[name], normalizer=normalizer)
    expected = exact(blocks, plan, x)
    with torch.inference_mode():
        ours = point_errors(native(blocks, plan, x), expected)
        theirs = point_errors(by_torch(halves(blocks), plan, x), expected)
    assert float(ours.quantile(0.95)) <= 1.1 * float(theirs.quantile(0.95)) + 1e-3
    assert float((ours > 1.1 * theirs.quantile(0.95) + 0.05).float().mean()) <= 0.02
    if plan.regions.num_centers == 1:
        assert float(ours.max()) <= 1.1 * float(theirs.max()) + 1e-3


def test_blocks_follow_one_another() -> None:
    shape = (3, (14, 14), 2, 1, 48, 4, 24, 2)  # one center: no choice can flip
    blocks, plan, x = make(shape, depth=3)
    errors = point_errors(native(blocks, plan, x), exact(blocks, plan, x))
    assert float(errors.max()) < 0.02


def silent(block: FoldedBlock, *names: str) -> None:
    """Take layers out: their output is 0."""
    with torch.no_grad():
        for name in names:
            getattr(block, name).weight.zero_()
            getattr(block, name).bias.zero_()


def test_gelu_by_itself() -> None:
    """proj gives 0, fc1 and fc2 copy: x + gelu(norm(x)), to the rounding of gelu and of the sum."""
    blocks, plan, _ = make((1, (64, 1), 1, 1, 32, 1, 8, 1))
    silent(blocks[0], "proj", "fc1", "fc2")
    with torch.no_grad():
        blocks[0].fc1.weight.copy_(torch.eye(32))
        blocks[0].fc2.weight.copy_(1024 * torch.eye(32))  # far above x, which then rounds nothing away
    x = torch.linspace(-8, 8, 64 * 32).view(64, 32).to(torch.bfloat16)
    normal = ((x.double() - x.double().mean()) / x.double().std(correction=0)).to(torch.bfloat16).double()
    expected = 0.5 * normal * (1 + torch.erf(normal / math.sqrt(2)))
    found = (native(blocks, plan, x).double() - x.double()) / 1024
    assert float(normal.abs().max()) > 1.7
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=1e-4)


def test_a_cluster_by_hand() -> None:
    """Two clear clusters of two points: the sum of what both centers dispatch, read off the equations."""
    blocks, plan, _ = make((1, (4, 1), 1, 1, 2, 1, 2, 1))
    block = blocks[0]
    silent(block, "fv", "proj", "fc1", "fc2")
    with torch.no_grad():
        block.fv.weight.copy_(torch.eye(2).repeat(2, 1))  # f = v = the normalized point
        block.proj.weight.copy_(256 * torch.eye(2))
        block.alpha.fill_(2), block.beta.fill_(0.5)
    members = torch.tensor([[[True, True, False, False], [False, False, True, True]]])
    plan = plan_of(1, UniformRegions(plan.regions.segments, members, all_exist=True))
    x = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]]).to(torch.bfloat16)  # norm(x) = 2 x - 1
    similarity = 1 / (1 + math.exp(-2.5))
    blend = (1 + 2 * similarity) / (1 + 2 * similarity)  # the center and both points are one and the same
    expected = 256 * similarity * blend * (2 * x.double() - 1) + x.double()
    found = native(blocks, plan, x).double()
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=0)


def test_a_proposal_without_points_is_never_chosen() -> None:
    blocks, plan, x = make((2, (4, 4), 1, 2, 32, 2, 8, 2))
    members = torch.cat([torch.zeros(1, 1, 16, dtype=torch.bool), plan.regions.members], dim=1)
    with_hole = plan_of(2, UniformRegions(plan.regions.segments, members))
    assert torch.equal(native(blocks, with_hole, x), native(blocks, plan, x))


def test_a_set_does_not_depend_on_its_company_or_on_threads() -> None:
    blocks, plan, x = make(SHAPES["stage_3_of_coc_tiny"], depth=2)
    together = native(blocks, plan, x).view(3, -1, 196)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        other = native(blocks, plan, x).view(3, -1, 196)
    finally:
        torch.set_num_threads(threads)
    single = make((1, *SHAPES["stage_3_of_coc_tiny"][1:]))[1]
    for b, one in enumerate(x.view(3, -1, 196)):
        alone = native(blocks, single, one)
        for y in (together[b], other[b]):
            assert float(point_errors(y, alone.double()).quantile(0.95)) < 5e-3


def test_a_large_mean_does_not_hide_the_points() -> None:
    """The variance is that about the mean: for values near 1,024 a difference of squares would keep no digit of it."""
    blocks, plan, x = make((1, (8, 8), 2, 1, 32, 2, 8, 1))
    far = (1024 + 8 * x.float().round()).to(torch.bfloat16)
    expected = exact(blocks, plan, far) - far.double()
    found = native(blocks, plan, far).double() - far.double()
    torch.testing.assert_close(found, expected, rtol=0, atol=8.5)  # twice half a unit in the last place of 1,024


def test_the_input_is_left_alone_and_need_not_be_contiguous() -> None:
    blocks, plan, x = make(SHAPES["odd_channels"])
    wide = torch.cat([x, x], 1)[:, : x.shape[1]]
    before = wide.clone()
    assert torch.equal(native(blocks, plan, wide), native(blocks, plan, x))
    assert torch.equal(wide, before)


def test_the_operator_is_registered_as_torch_wants() -> None:
    blocks, plan, x = make(SHAPES["more_centers_than_points"])
    first, weights = blocks[0], NativeStage(Stage(halves(blocks)))._weights()
    x, mean = x.view(plan.regions.segments.num, -1, x.shape[1]), plan.regions.proposals(torch.float32).mean
    arguments = (x, weights, 2, first.heads, first.fc1.out_features, mean, False, 1e-5, 1e-5)
    torch.library.opcheck(native_stage, arguments, test_utils=("test_schema", "test_faketensor"))
    with pytest.raises(ValueError, match=r"points in bfloat16 and a mean in float32, got torch.float32 and"):
        native_stage(x.float(), *arguments[1:])
    y = native_stage(x.clone().requires_grad_(), *arguments[1:])
    with pytest.raises(RuntimeError, match="native kernels are for inference and have no gradients"):
        y.sum().backward()


def test_weights_of_another_dtype_raise() -> None:
    blocks, plan, x = make(SHAPES["odd_channels"])
    with pytest.raises(ValueError, match="take bfloat16 weights on the CPU, got float64 on cpu"):
        NativeStage(Stage(blocks)).run(x, plan, is_watched=False)


def test_what_the_kernels_do_not_compute_is_said_and_goes_through_torch() -> None:
    blocks, plan, x = make(SHAPES["odd_channels"], assignment="soft")
    stage = NativeStage(Stage(halves(blocks)))
    assert stage.why_not(plan) == "assignment must be 'hard', got 'soft'"
    assert torch.equal(stage.run(x, plan, is_watched=False)[0], by_torch(halves(blocks), plan, x))
    blocks, plan, _ = make(SHAPES["odd_channels"])
    lists = replace(plan, regions=plan.regions.ragged())
    assert "got RaggedRegions" in NativeStage(Stage(blocks)).why_not(lists)
    other = ClusterBlock(8, 1, 8, 1, ClusterOptions(), norm="batch").eval()
    assert NativeStage(Stage([FoldedBlock(other)])).why_not(plan) == "norms must be those of a set"
    assert NativeStage(Stage([other])).why_not(plan) == "blocks must be folded, got ClusterBlock"


def test_assignments_are_read_from_torch() -> None:
    blocks, plan, x = make(SHAPES["odd_channels"], depth=2)
    y, assignments = NativeStage(Stage(halves(blocks))).run(x, plan, is_watched=True)
    assert torch.equal(y, by_torch(halves(blocks), plan, x))
    assert [one.center.shape for one in assignments] == [(len(x), 3)] * 2
