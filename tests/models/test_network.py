"""The surface of ContextClusterNet: features, heads, plans, gradients, precision, and sentences for bad input."""

from __future__ import annotations

import pytest
import torch
from order_one import order_one_network
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torch_geometric.data import Data

from pointcoc import PRESETS, ContextClusterNet, PointSet, concat, image_to_points


def images(batch: int = 2, size: tuple[int, int] = (32, 32), dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(0)).to(dtype)


def clouds(*counts: int, dtype: torch.dtype = torch.float32) -> PointSet:
    generator = torch.Generator().manual_seed(0)
    positions = [torch.randn(n, 3, generator=generator).to(dtype) for n in counts]
    return concat([PointSet(pos, pos, torch.tensor([0, len(pos)])) for pos in positions])


def input_for(net: ContextClusterNet, size: int = 96) -> Tensor | PointSet:
    return images(1, (size, size)) if net.config.anchors == "lattice" else clouds(200)


def assert_equal(actual: Tensor, expected: Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


# ---------------------------------------------------------------------------------------------------------------------
# Features, stages, heads
# ---------------------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def test_features_and_head_make_the_logits() -> None:
    net, given = order_one_network("coc_nano"), images(dtype=torch.float64)
    features = net.forward_features(given)
    assert isinstance(features, PointSet)
    assert features.x.shape == (2 * 4 * 4, 192)
    pooled = net.forward_head(features, pre_logits=True)
    assert_equal(pooled, features.to_maps().mean((2, 3)))
    assert_equal(net.forward_head(features), net.head(pooled))
    assert_equal(net(given), net.forward_head(features))


@torch.inference_mode()
def test_intermediates_of_images_are_maps() -> None:
    net, given = order_one_network("coc_nano"), images(dtype=torch.float64)
    stages = net.forward_intermediates(given)
    assert [tuple(stage.shape) for stage in stages] == [(2, 48, 16, 16), (2, 96, 8, 8), (2, 192, 4, 4)]
    normal = net.forward_intermediates(given, norm=True)
    assert_equal(normal[0], stages[0])
    assert_equal(normal[-1], net.forward_features(given).to_maps())
    assert (normal[-1] - stages[-1]).abs().max() > 1e-3
    last, first = net.forward_intermediates(given, indices=(-1, 0))
    assert_equal(last, stages[2])
    assert_equal(first, stages[0])


@torch.inference_mode()
def test_intermediates_of_sets_are_sets() -> None:
    net, given = order_one_network("coc_nano"), images(dtype=torch.float64)
    points = image_to_points(given)
    order = torch.randperm(points.num_points, generator=torch.Generator().manual_seed(0))
    for stage, maps in zip(
        net.forward_intermediates(points.take(order)), net.forward_intermediates(given), strict=True
    ):
        assert isinstance(stage, PointSet)
        assert stage.sizes.tolist() == [list(maps.shape[2:])] * 2
        assert_equal(stage.x, maps.movedim(1, -1).flatten(0, 2), atol=1e-9)


@pytest.mark.parametrize("index", [3, -4])
def test_intermediates_of_stages_that_are_not_there(index: int) -> None:
    net = order_one_network("coc_nano", torch.float32)
    with pytest.raises(ValueError, match=rf"indices must be in \[-3, 2\], got {index}"):
        net.forward_intermediates(images(), indices=[index])


@torch.inference_mode()
def test_dense_network_normalizes_every_stage() -> None:
    net = order_one_network("coc_nano", dense=True, num_classes=0)
    assert net.norm is None
    stages = net.forward_intermediates(images(dtype=torch.float64))
    assert_equal(net.forward_features(images(dtype=torch.float64)).to_maps(), stages[-1])
    for norm, maps in zip(net.stage_norms, stages, strict=True):
        raw = (maps - norm.bias[:, None, None]) / norm.weight[:, None, None]
        assert_equal(raw.mean((1, 2, 3)), torch.zeros(2, dtype=torch.float64), atol=1e-9)
        assert_equal(raw.var((1, 2, 3), correction=0), torch.ones(2, dtype=torch.float64), atol=1e-3)


def test_classifier_can_be_replaced_and_removed() -> None:
    net = order_one_network("coc_nano", torch.float64)
    given = images(dtype=torch.float64)
    assert net.get_classifier() is net.head
    assert net(given).shape == (2, 10)
    net.reset_classifier(3)
    assert net.config.num_classes == 3
    assert net.head.weight.dtype == torch.float64
    assert 0 < net.head.weight.std() < 0.05
    assert net(given).shape == (2, 3)
    net.reset_classifier(0)
    assert isinstance(net.get_classifier(), nn.Identity)
    assert_equal(net(given), net.forward_head(net.forward_features(given), pre_logits=True))


def test_classifier_of_a_negative_size() -> None:
    with pytest.raises(ValueError, match="num_classes must be an integer of at least 0"):
        order_one_network("coc_nano", torch.float32).reset_classifier(-1)


def test_weight_decay_leaves_vectors_alone() -> None:
    net = order_one_network("coc_nano", torch.float32)
    names = net.no_weight_decay()
    assert {"reducers.0.bias", "stages.0.0.scale1", "stages.0.0.cluster.alpha", "norm.weight", "head.bias"} <= names
    assert not names & {"reducers.0.weight", "stages.0.0.cluster.f.weight", "head.weight"}


@pytest.mark.parametrize("name", ["coc_nano", "coc_points_small"])
def test_initial_values(name: str) -> None:
    net = ContextClusterNet.from_preset(name)
    block = net.stages[0][0]
    assert torch.equal(block.scale1, torch.full_like(block.scale1, 0.1))
    assert torch.equal(block.scale2, torch.full_like(block.scale2, 0.1))
    assert block.cluster.alpha.item() == 1
    assert block.cluster.beta.item() == 0
    assert block.mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not block.mlp.fc1.bias.any()
    assert torch.isfinite(net(input_for(net))).all()


def test_names_of_the_state_dict() -> None:
    state = order_one_network("coc_nano", torch.float32).state_dict()
    expected = {
        "reducers.0.weight": (48, 5, 3, 3),
        "reducers.0.bias": (48,),
        "stages.1.0.norm1.weight": (96,),
        "stages.1.0.cluster.f.weight": (96, 96),
        "stages.1.0.cluster.v.weight": (96, 96),
        "stages.1.0.cluster.proj.weight": (96, 96),
        "stages.1.0.cluster.alpha": (1,),
        "stages.1.0.cluster.beta": (1,),
        "stages.1.0.scale1": (96,),
        "stages.1.0.mlp.fc1.weight": (384, 96),
        "stages.1.0.mlp.fc2.weight": (96, 384),
        "norm.weight": (192,),
        "head.weight": (10, 192),
    }
    assert {name: tuple(state[name].shape) for name in expected} == expected


@pytest.mark.parametrize("dense", [False, True])
def test_operations_are_counted_without_memory(dense: bool) -> None:
    """On the device meta, as tools that count operations do."""
    with torch.device("meta"):
        net = ContextClusterNet.from_preset("coc_nano", dense=dense)
        with FlopCounterMode(display=False) as counter:
            assert net(torch.empty(1, 3, 32, 32)).shape == (1, 10)
    assert counter.get_total_flops() > 1e6


# ---------------------------------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    net = order_one_network(name, torch.float32, num_classes=10).train()
    net(input_for(net)).square().sum().backward()
    for parameter_name, parameter in net.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.any(), parameter_name


@pytest.mark.parametrize("overrides", [{"pool": "concat"}, {"assignment": "soft"}, {"proposals": "cells"}])
def test_every_parameter_of_a_cloud_network_gets_a_gradient(overrides: dict) -> None:
    net = order_one_network("coc_points_small", torch.float32, **overrides).train()
    net(clouds(200, 1, 30)).square().sum().backward()
    for parameter_name, parameter in net.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name


def test_gradients_of_the_grid_path_and_of_the_set_are_equal() -> None:
    net, given = order_one_network("coc_nano"), images(dtype=torch.float64)
    points = image_to_points(given)
    gradients = []
    for input in (given, points.take(torch.randperm(points.num_points, generator=torch.Generator().manual_seed(1)))):
        gradients.append(torch.autograd.grad(net(input).square().sum(), list(net.parameters())))
    for one, other in zip(*gradients, strict=True):
        assert_equal(one, other, atol=1e-9 * max(1.0, one.abs().max().item()))


@pytest.mark.parametrize("field", ["drop_path", "dropout"])
@pytest.mark.parametrize("name", ["coc_nano", "coc_points_small"])
def test_randomness_only_in_training(name: str, field: str) -> None:
    plain = order_one_network(name, torch.float32, dropout=0.0)
    net = order_one_network(name, torch.float32, **{"dropout": 0.0, field: 0.8})
    given = images(8) if name == "coc_nano" else clouds(*[40] * 8)
    with torch.no_grad():
        assert torch.equal(net(given), plain(given))
        torch.manual_seed(0)
        net.train()
        assert (net(given) - net(given)).abs().max() > 1e-3
        plain.load_state_dict(net.state_dict())  # the statistics of batch norms have followed
        assert torch.equal(net.eval()(given), plain(given))


def test_drop_path_rises_linearly_over_all_blocks() -> None:
    net = order_one_network("coc_nano", torch.float32, drop_path=0.4)
    rates = [block.drop_path for stage in net.stages for block in stage]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_one_block_with_drop_path() -> None:
    net = order_one_network("coc_points_small", torch.float32, drop_path=0.3)
    assert [block.drop_path for stage in net.stages for block in stage] == pytest.approx([0.0, 0.15, 0.3])


# ---------------------------------------------------------------------------------------------------------------------
# Plans and assignments
# ---------------------------------------------------------------------------------------------------------------------


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["images", "holes", "clouds"])
def test_a_plan_made_before_gives_the_same(kind: str) -> None:
    net = order_one_network("coc_points_small" if kind == "clouds" else "coc_nano")
    given = clouds(50, 3, dtype=torch.float64) if kind == "clouds" else images(dtype=torch.float64)
    if kind == "holes":
        given = image_to_points(given, torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(0)) > 0.2)
    plan = net.plan(given)
    assert torch.equal(net(given, plan=plan), net(given))
    assert torch.equal(net(given, plan=plan.to("cpu")), net(given))
    assert torch.equal(net.forward_features(given, plan).x, net.forward_features(given).x)
    planned = net.forward_intermediates(given, plan=plan)
    for one, other in zip(planned, net.forward_intermediates(given), strict=True):
        assert torch.equal(getattr(one, "x", one), getattr(other, "x", other))


def test_a_plan_reads_no_features() -> None:
    net, points = order_one_network("coc_points_small"), clouds(50, 3, dtype=torch.float64)
    plan = net.plan(points.with_x(torch.full_like(points.x, torch.nan)))
    with torch.inference_mode():
        assert torch.equal(net(points, plan=plan), net(points))


@pytest.mark.parametrize("name", ["coc_nano", "coc_tiny_plain"])
def test_training_after_inference(name: str) -> None:
    net, given = order_one_network(name, torch.float32), images(1, (44, 36))  # a size that no other test has planned
    with torch.inference_mode():
        logits = net(given)
    trained = net.train()(given)
    trained.sum().backward()
    assert_equal(trained.detach(), logits.clone(), atol=1e-5)
    assert all(parameter.grad is not None for parameter in net.parameters())


@torch.inference_mode()
@pytest.mark.parametrize("regions", [(4, 2, 1), (3, 3, 2)])
def test_assignments(regions: tuple[int, ...]) -> None:
    net, given = order_one_network("coc_nano", regions=regions), images(dtype=torch.float64)
    points = image_to_points(given)
    order = torch.randperm(points.num_points, generator=torch.Generator().manual_seed(0))
    stages, of_sets = net.assignments(given), net.assignments(points.take(order))
    assert [len(stage.blocks) for stage in stages] == [1, 2, 2]
    for stage, set_stage in zip(stages, of_sets, strict=True):
        assert torch.equal(stage.points.pos, set_stage.points.pos)
        assert torch.equal(stage.region, set_stage.region)
        assert stage.num_centers == set_stage.num_centers == 2**2
        for one, other in zip(stage.blocks, set_stage.blocks, strict=True):
            assert one.center.shape == one.similarity.shape == (stage.points.num_points, 4)
            assert one.center.unique().tolist() == [0, 1, 2, 3]
            assert (one.similarity > 0).all()
            assert (one.similarity < 1).all()
            assert torch.equal(one.center, other.center)
            assert_equal(one.similarity, other.similarity, atol=1e-9)


@torch.inference_mode()
def test_regions_of_assignments_are_tiles() -> None:
    stage = order_one_network("coc_nano").assignments(images(dtype=torch.float64))[1]
    row, column = stage.points.pos.long().unbind(1)  # 8 x 8 points in 2 x 2 regions
    assert torch.equal(stage.region, 4 * stage.points.batch + 2 * (row // 4) + column // 4)
    assert torch.equal(stage.cluster(block=0, head=2), 4 * stage.region + stage.blocks[0].center[:, 2])


@torch.inference_mode()
def test_assignments_of_clouds() -> None:
    net = order_one_network("coc_points_small")
    for stage, heads in zip(net.assignments(clouds(90, 1, dtype=torch.float64)), net.config.heads, strict=True):
        assert [block.center.shape for block in stage.blocks] == [(stage.points.num_points, heads)]
        assert torch.equal(stage.region, stage.points.batch)
        assert stage.blocks[0].center.max() < stage.num_centers == 4


# ---------------------------------------------------------------------------------------------------------------------
# Precision
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["images", "pixels", "clouds"])
def test_networks_in_half_precision(kind: str, dtype: torch.dtype) -> None:
    net = ContextClusterNet.from_preset("coc_points_small" if kind == "clouds" else "coc_nano", num_classes=10).to(
        dtype
    )
    given = clouds(90, 1).to(dtype=dtype) if kind == "clouds" else images(dtype=dtype)
    if kind == "pixels":
        given = image_to_points(given, torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(0)) > 0.2)
    with torch.inference_mode():
        logits = net.eval()(given)
    assert logits.shape == (2, 10)
    assert logits.dtype == dtype
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("kind", ["images", "pixels", "clouds"])
def test_training_with_autocast(kind: str) -> None:
    net = ContextClusterNet.from_preset("coc_points_small" if kind == "clouds" else "coc_nano", num_classes=10)
    given = clouds(90, 1) if kind == "clouds" else images()
    if kind == "pixels":
        given = image_to_points(given, torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(0)) > 0.2)
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(given)
    assert torch.isfinite(logits).all()
    logits.float().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@torch.inference_mode()
def test_autocast_stays_near_float32() -> None:
    net = ContextClusterNet.from_preset("coc_nano").eval()
    logits = net(images())
    with torch.autocast("cpu", torch.bfloat16):
        near = net(images())
    assert_equal(near.float(), logits, atol=0.05 * logits.abs().max().item())


# ---------------------------------------------------------------------------------------------------------------------
# Bad input
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nano() -> ContextClusterNet:
    return order_one_network("coc_nano", torch.float32)


@pytest.fixture(scope="module")
def cloud_net() -> ContextClusterNet:
    return order_one_network("coc_points_small", torch.float32)


@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (2, 32, 32, 3), (3, 32, 32), (2, 3, 32), (1, 2, 3, 4, 5)])
def test_images_of_a_wrong_shape(nano: ContextClusterNet, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images must have shape \(B, 3, H, W\), got") as error:
        nano(torch.zeros(shape))
    assert str(shape) in str(error.value)


def test_images_of_integers(nano: ContextClusterNet) -> None:
    with pytest.raises(ValueError, match=r"images must be floating point.*uint8"):
        nano(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


@pytest.mark.parametrize("shape", [(0, 3, 32, 32), (1, 3, 0, 32), (1, 3, 32, 0)])
def test_images_without_pixels(nano: ContextClusterNet, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images|empty"):
        nano(torch.zeros(shape))


def test_images_are_no_clouds(cloud_net: ContextClusterNet) -> None:
    with pytest.raises(ValueError, match=r"clouds must have shape \(B, N, 3\) or \(N, 3\), got \(2, 3, 32, 32\); this"):
        cloud_net(images())
    with pytest.raises(ValueError, match=r"clouds must have shape \(B, N, 3\) or \(N, 3\), got \(2, 9, 4\)"):
        cloud_net(torch.zeros(2, 9, 4))


def test_a_list_of_images_is_a_batch(nano: ContextClusterNet) -> None:
    several = [torch.rand(3, 9, 7), torch.rand(3, 20, 33)]
    torch.testing.assert_close(nano(several), nano(image_to_points(several)))
    assert nano.forward_intermediates(several)[0].lattices == ((5, 4), (10, 17))


def test_a_tensor_of_clouds_is_a_batch(cloud_net: ContextClusterNet) -> None:
    batch = torch.rand(2, 40, 3)
    points = PointSet(batch.flatten(0, 1), batch.flatten(0, 1), torch.tensor([0, 40, 80]))
    torch.testing.assert_close(cloud_net(batch), cloud_net(points))
    assert isinstance(cloud_net.forward_intermediates(batch)[0], PointSet)


@pytest.mark.parametrize("preset", ["coc_nano", "coc_points_small"])
def test_checkpointing_changes_nothing_but_memory(preset: str) -> None:
    net = order_one_network(preset, drop_path=0.3).train()
    given = torch.rand(2, 3, 12, 11).double() if preset == "coc_nano" else torch.rand(2, 60, 3).double()
    outcomes, kept = [], []
    for enable in (False, True):
        net.set_grad_checkpointing(enable)
        torch.manual_seed(0)
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.numel()) or t, lambda t: t):
            logits = net(given)
        kept.append(sum(sizes))
        outcomes.append((logits, *torch.autograd.grad(logits.square().sum(), list(net.parameters()))))
    for one, other in zip(*outcomes, strict=True):
        torch.testing.assert_close(one, other)
    assert kept[1] < 0.6 * kept[0]


def test_clouds_are_no_lattices(nano: ContextClusterNet) -> None:
    points = PointSet(torch.zeros(4, 5), torch.zeros(4, 2), torch.tensor([0, 4]))
    with pytest.raises(ValueError, match="this network reduces lattices but the points have no `sizes`"):
        nano(points)
    with pytest.raises(ValueError, match=r"points must have 5 features \(x\) and 2 coordinates \(pos\), got 3 and 3"):
        nano(clouds(4))


def test_points_with_other_features(cloud_net: ContextClusterNet) -> None:
    points = clouds(4)
    with pytest.raises(ValueError, match=r"points must have 3 features \(x\) and 3 coordinates \(pos\), got 6 and 3"):
        cloud_net(points.with_x(torch.zeros(4, 6)))


def test_empty_batch(nano: ContextClusterNet, cloud_net: ContextClusterNet) -> None:
    nothing = PointSet(torch.zeros(0, 3), torch.zeros(0, 3), torch.tensor([0]))
    with pytest.raises(ValueError, match="the batch is empty: ptr must describe at least one set"):
        cloud_net(nothing)
    no_sizes = torch.zeros(0, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match="the batch is empty"):
        nano(PointSet(torch.zeros(0, 5), torch.zeros(0, 2), torch.tensor([0]), no_sizes))


def test_set_without_points(nano: ContextClusterNet, cloud_net: ContextClusterNet) -> None:
    points = PointSet(torch.zeros(4, 3), torch.randn(4, 3), torch.tensor([0, 4, 4]))
    with pytest.raises(ValueError, match="set 1 of the batch has no points; every set needs at least one"):
        cloud_net(points)
    mask = torch.ones(2, 32, 32, dtype=torch.bool)
    mask[0] = False
    with pytest.raises(ValueError, match="set 0 of the batch has no points"):
        nano(image_to_points(images(), mask))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_coordinates_that_are_not_finite(cloud_net: ContextClusterNet, value: float) -> None:
    points = clouds(4, 4)
    pos = points.pos.clone()
    pos[5, 1] = value
    with pytest.raises(ValueError, match=r"pos.*finite"):
        cloud_net(PointSet(points.x, pos, points.ptr))


def test_ptr_that_does_not_end_at_the_last_point(cloud_net: ContextClusterNet) -> None:
    points = clouds(4)
    with pytest.raises(ValueError, match="ptr must run from 0 to the number of points 4, got 0 to 3"):
        cloud_net(PointSet(points.x, points.pos, torch.tensor([0, 3])))


@pytest.mark.parametrize("given", [Data(x=torch.zeros(3, 3)), [1, 2], None])
def test_data_without_positions(cloud_net: ContextClusterNet, given: object) -> None:
    with pytest.raises(ValueError, match="data has no tensor `pos`; it has"):
        cloud_net(given)
