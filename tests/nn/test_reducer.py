"""Reducers: windows of lattices as convolutions, neighbors of clouds joined by offsets."""

from __future__ import annotations

import pytest
import torch
from memory import printed_numbers
from order_one import order_one
from set_samples import cloud_stage, clouds, pixels, shuffled, stage, without_promise
from torch.nn import functional as F

from pointcoc import PointSet, image_to_points
from pointcoc.geometry import make_plan
from pointcoc.nn import CloudReducer, LatticeReducer, StepReducer, reducer
from pointcoc.nn.reducer import lattice_steps

SIZES = [(8, 8), (7, 9), (5, 1), (1, 1), (2, 3), (12, 13)]
WINDOWS = [(4, 4), (3, 2), (3, 1), (2, 2), (5, 2), (1, 1), (4, 2), (4, 3)]


def plan(points: PointSet, window: int, stride: int):
    return make_plan(points, [stage(neighbors=window, stride=stride, regions=1)]).stages[0]


def lattice_reducer(in_dim: int, window: int, stride: int, pos_dim: int = 2) -> LatticeReducer:
    torch.manual_seed(0)
    return LatticeReducer(in_dim, 4, window, stride, pos_dim).double()


def step_reducer(window: int, stride: int) -> StepReducer:
    torch.manual_seed(0)
    return order_one(StepReducer(3, 8, lattice_steps(window, stride)).double())


def steps_plan(points: PointSet, window: int, stride: int):
    steps = lattice_steps(window, stride)
    return make_plan(points, [stage(neighbors=window, stride=stride, steps=steps, regions=1)]).stages[0]


def cloud_reducer(pool: str, norm: str | None = "set") -> CloudReducer:
    torch.manual_seed(0)
    return order_one(CloudReducer(2, 5, 4, pool=pool, norm=norm).double()).eval()


def cloud_plan(points: PointSet):
    whole = make_plan(points, [cloud_stage()])
    return whole.order, whole.stages[0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("window", "stride"), WINDOWS)
def test_gathers_are_convolutions(size: tuple[int, int], window: int, stride: int) -> None:
    points, one = pixels(size, size), lattice_reducer(3, window, stride)
    results = []
    for given in (points, without_promise(points)):
        x = points.x.clone().requires_grad_()
        y = one(x, plan(given, window, stride))
        weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
        results.append((y, *torch.autograd.grad(y, [x, *one.parameters()], weight)))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("window", "stride"), WINDOWS)
def test_lattices_of_several_sizes_share_a_convolution(window: int, stride: int) -> None:
    points, one = pixels(*SIZES), lattice_reducer(3, window, stride)
    together = plan(points, window, stride)
    assert together.canvas is not None
    alone = [one(part.x, plan(part, window, stride)) for part in points.split()]
    torch.testing.assert_close(one(points.x, together), torch.cat(alone))


@pytest.mark.parametrize(("window", "stride", "padding"), [(4, 4, 0), (3, 2, 1), (3, 1, 1), (2, 2, 0)])
def test_official_windows_are_plain_convolutions(window: int, stride: int, padding: int) -> None:
    images, one = torch.randn(2, 3, 12, 8, dtype=torch.float64), lattice_reducer(5, window, stride)
    points = image_to_points(images)
    maps = F.conv2d(points.to_maps(), one.weight, one.bias, stride, padding)
    torch.testing.assert_close(one(points.x, plan(points, window, stride)), maps.movedim(1, -1).flatten(0, 2))


def test_steps_halve_the_sides_and_double_the_channels() -> None:
    assert lattice_steps(4, 4) == ((4, 2), (4, 2), (3, 1))
    assert lattice_steps(2, 1) == ((3, 1),)
    one = StepReducer(5, 64, lattice_steps(4, 8))
    assert [tuple(step.weight.shape) for step in one.steps] == [
        (16, 5, 4, 4), (32, 16, 4, 4), (64, 32, 4, 4), (64, 64, 3, 3),
    ]  # fmt: skip
    assert all(step.bias is None for step in one.steps)  # a batch norm follows


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("window", "stride"), [(4, 4), (4, 2), (2, 2), (4, 1)])
def test_steps_are_convolutions_with_batch_norm_and_relu(window: int, stride: int, train: bool) -> None:
    images, one = torch.randn(2, 1, 16, 8, dtype=torch.float64), step_reducer(window, stride).train(train)
    points = image_to_points(images)
    maps = points.to_maps()
    for step, norm in zip(one.steps, one.norms, strict=True):
        maps = F.conv2d(maps, step.weight, None, step.stride, (step.window - step.stride + 1) // 2)
        mean, variance = norm.running_mean.clone(), norm.running_var.clone()
        maps = F.relu(F.batch_norm(maps, mean, variance, norm.weight, norm.bias, training=train, eps=norm.eps))
    torch.testing.assert_close(one(points.x, steps_plan(points, window, stride)), maps.movedim(1, -1).flatten(0, 2))


@pytest.mark.parametrize("size", SIZES[:3] + SIZES[4:])
@pytest.mark.parametrize("stride", [2, 4])
def test_steps_gather_as_they_convolve(size: tuple[int, int], stride: int) -> None:
    points, one = pixels(size, size), step_reducer(3, stride).train()
    results = []
    for given in (points, without_promise(points)):
        x = points.x.clone().requires_grad_()
        y = one(x, steps_plan(given, 3, stride))
        weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
        results.append((y, *torch.autograd.grad(y, [x, *one.parameters()], weight)))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_steps_leave_pixels_out_that_are_not_there() -> None:
    """Anchors without a pixel take part in nothing: holes by hand, the whole map with zeros after each step."""
    points, one = pixels((16, 12), kept=0.1), step_reducer(3, 4).eval()
    present = torch.zeros(1, 1, 16, 12, dtype=torch.float64)
    maps = torch.zeros(1, 3, 16, 12, dtype=torch.float64)
    row, column = points.pos.long().T
    present[0, 0, row, column], maps[0, :, row, column] = 1, points.x.mT
    for step, norm in zip(one.steps, one.norms, strict=True):
        maps = F.conv2d(maps, step.weight, None, step.stride, (step.window - step.stride + 1) // 2)
        present = F.max_pool2d(present, step.stride)
        maps = F.relu(norm(maps[0].flatten(1).mT)).mT.view_as(maps) * present
    assert present.sum() < present.numel()
    whole = make_plan(points, [stage(neighbors=3, stride=4, steps=lattice_steps(3, 4), regions=1)])
    actual = one(points.x.index_select(0, whole.order), whole.stages[0])
    torch.testing.assert_close(actual, maps[0].flatten(1).mT[present.flatten() > 0])


@pytest.mark.parametrize("stride", [2, 4])
def test_steps_of_lattices_of_several_sizes_share_a_convolution(stride: int) -> None:
    points, one = pixels(*SIZES), step_reducer(4, stride).eval()
    together = steps_plan(points, 4, stride)
    assert all(step.canvas is not None for step in together.steps)
    alone = [one(part.x, steps_plan(part, 4, stride)) for part in points.split()]
    torch.testing.assert_close(one(points.x, together), torch.cat(alone))


@pytest.mark.parametrize("stride", [1, 4])
def test_batch_norms_fold_into_the_steps(stride: int) -> None:
    points, one = pixels((9, 6), (9, 6)), step_reducer(4, stride).eval()
    expected = one(points.x, steps_plan(points, 4, stride))
    one.fold_norms()
    assert {type(norm) for norm in one.norms} == {torch.nn.Identity}
    torch.testing.assert_close(one(points.x, steps_plan(points, 4, stride)), expected)


def test_a_window_on_paper() -> None:
    one = lattice_reducer(1, 2, 2, pos_dim=1)
    torch.nn.init.ones_(one.bias)
    one.weight.data = torch.tensor([[[1.0, 10.0]]], dtype=torch.float64).expand(4, -1, -1)
    pos = torch.tensor([[0.0], [1], [3]])
    points = PointSet(torch.tensor([[2.0], [3], [4]]).double(), pos, torch.tensor([0, 3]), torch.tensor([[4]]))
    assert one(points.x, plan(points, 2, 2)).tolist() == [[33] * 4, [41] * 4]  # 1 + 2 + 30; the hole counts 0: 1 + 40


def test_lattices_of_three_axes() -> None:
    sites = torch.cartesian_prod(*[torch.arange(5.0)] * 3).double()
    grid = PointSet(torch.randn(125, 2).double(), sites, torch.tensor([0, 125]), torch.tensor([[5, 5, 5]]), (5, 5, 5))
    one = lattice_reducer(2, 3, 2, pos_dim=3)
    torch.testing.assert_close(one(grid.x, plan(grid, 3, 2)), one(grid.x, plan(without_promise(grid), 3, 2)))


def test_other_lattices_of_the_batch_do_not_matter() -> None:
    points, one = pixels((5, 4), (1, 7), (6, 6), kept=0.5), lattice_reducer(3, 3, 2)
    alone = [one(part.x, plan(part, 3, 2)) for part in points.split()]
    torch.testing.assert_close(one(points.x, plan(points, 3, 2)), torch.cat(alone))


def test_lattice_weights_start_like_a_convolution() -> None:
    one = LatticeReducer(3, 64, 4, 4)
    convolution = torch.nn.Conv2d(3, 64, 4, 4)
    assert {name: value.shape for name, value in one.state_dict().items()} == {
        name: value.shape for name, value in convolution.state_dict().items()
    }
    bound = 1 / (3 * 4 * 4) ** 0.5
    assert bound * 0.9 < one.weight.abs().max() <= bound
    assert repr(one) == "LatticeReducer(3, 64, window=4, stride=4)"


def test_joined_neighbors_are_projected() -> None:
    points = clouds(9, 2)
    order, stage_plan = cloud_plan(points)
    one, x = cloud_reducer("concat"), points.x[order]
    rows = []
    for neighbors, offsets in zip(stage_plan.neighbors, stage_plan.offsets, strict=True):
        joined = [
            torch.cat([x[j] if j >= 0 else torch.zeros_like(x[0]), offset])
            for j, offset in zip(neighbors, offsets, strict=True)
        ]
        rows.append(one.proj.weight @ torch.cat(joined) + one.proj.bias)
    torch.testing.assert_close(one(x, stage_plan), torch.stack(rows))


@pytest.mark.parametrize("norm", ["set", "batch", None])
def test_the_largest_neighbor_is_projected(norm: bool) -> None:
    points = clouds(9, 2)
    order, stage_plan = cloud_plan(points)
    one, x = cloud_reducer("max", norm), points.x[order]
    y = one(x, stage_plan)
    normal = one.norm(x, stage_plan.source_sets) if norm else x
    rows = []
    for neighbors, offsets in zip(stage_plan.neighbors, stage_plan.offsets, strict=True):
        weight = torch.cat([one.feature.weight, one.offset.weight], dim=1)
        hidden = [
            F.gelu(weight @ torch.cat([normal[j], offset]) + one.feature.bias)
            for j, offset in zip(neighbors, offsets, strict=True)
            if j >= 0
        ]
        projected = one.proj.weight @ torch.stack(hidden).amax(0) + one.proj.bias
        centered = (projected - one.out_norm.running_mean) / (one.out_norm.running_var + 1e-5).sqrt()
        rows.append(centered * one.out_norm.weight + one.out_norm.bias)
    torch.testing.assert_close(y, torch.stack(rows))


def test_training_takes_what_all_sets_share_from_every_channel() -> None:
    points = clouds(9, 2, 30)
    order, stage_plan = cloud_plan(points)
    torch.manual_seed(0)
    y = CloudReducer(2, 5, 4).double().train()(points.x[order], stage_plan)
    torch.testing.assert_close(y.mean(0), torch.zeros(5, dtype=torch.float64))
    assert (y.var(0, unbiased=False) > 0.9).all()


@pytest.mark.parametrize("pool", ["concat", "max"])
def test_clouds_in_any_order_and_company(pool: str) -> None:
    points, one = clouds(13, 1, 6), cloud_reducer(pool)
    order, stage_plan = cloud_plan(points)
    y = one(points.x[order], stage_plan)
    other, _ = shuffled(points)
    order, stage_plan = cloud_plan(other)
    torch.testing.assert_close(one(other.x[order], stage_plan), y)
    alone = []
    for part in points.split():
        order, stage_plan = cloud_plan(part)
        alone.append(one(part.x[order], stage_plan))
    torch.testing.assert_close(torch.cat(alone), y)


@pytest.mark.parametrize("pool", ["concat", "max"])
def test_every_weight_gets_a_gradient(pool: str) -> None:
    points, one = clouds(13, 1, 6), cloud_reducer(pool)
    order, stage_plan = cloud_plan(points)
    x = points.x[order].requires_grad_()
    one(x, stage_plan).square().sum().backward()
    assert all(torch.isfinite(value.grad).all() and (value.grad != 0).any() for value in (x, *one.parameters()))


@pytest.mark.parametrize("pool", ["concat", "max"])
def test_half_precision_stays(pool: str) -> None:
    points = clouds(13, 6)
    order, stage_plan = cloud_plan(points)
    assert cloud_reducer(pool).bfloat16()(points.x[order].bfloat16(), stage_plan).dtype == torch.bfloat16


@torch.no_grad()
def test_inference_gathers_a_few_anchors_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    points, one = clouds(13, 1, 60), cloud_reducer("max")
    order, stage_plan = cloud_plan(points)
    y = one(points.x[order], stage_plan)
    monkeypatch.setattr(reducer, "MOST_HIDDEN", 3 * 4 * 5)  # three anchors of four neighbors and five channels
    torch.testing.assert_close(one(points.x[order], stage_plan), y, rtol=0, atol=1e-12)


def test_memory_of_inference_does_not_grow_with_the_pairs_of_neighbors() -> None:
    (grown,) = printed_numbers("""
from pointcoc.geometry import StageGeometry, make_plan
from pointcoc.nn import CloudReducer
from pointcoc.pointset import cloud_to_points
points = cloud_to_points(torch.rand(1, 60_000, 3))
stage = StageGeometry(anchors="voxel", stride=1, voxel=1e-4, neighbors=16, regions=1, window=256, partition="curve",
                      proposals="curve", centers=2, center_neighbors=4)
plan, one = make_plan(points, [stage]).stages[0], CloudReducer(3, 64, 16, norm=None).eval()
with torch.inference_mode():
    print(grown(lambda: one(points.x, plan)))
""")
    assert grown < 150  # hidden values of all pairs take 234 MiB, twice or three times over


def test_an_unknown_pool_is_named() -> None:
    with pytest.raises(ValueError, match="unknown pool 'mean'; choose from concat, max"):
        CloudReducer(2, 4, 4, pool="mean")
