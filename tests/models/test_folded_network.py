"""The inference form gives the numbers of the network, for every input and option."""

from __future__ import annotations

import copy

import pytest
import torch
from order_one import order_one_network
from set_samples import clouds
from torch import Tensor

from pointcoc import PRESETS, ContextClusterNet, image_to_points
from pointcoc.models import FoldedNet
from pointcoc.nn.reducer import MOST_SIZES, StepReducer
from pointcoc.ops.native_library import why_not_native

LATTICE_PRESETS = [name for name, config in PRESETS.items() if config.anchors == "lattice"]
SMALL_PRESETS = ("coc_tiny", "coc_tiny2", "coc_tiny_plain", "coc_mini", "coc_nano")
OPTIONS = {
    "count": {"normalizer": "count"},
    "soft": {"assignment": "soft"},
    "dynamic": {"iterations": 2},
    "soft_count": {"assignment": "soft", "normalizer": "count"},
    "ragged": {"backend": "ragged"},
    "window": {"window": 4},
    "uneven_window": {"window": (5, None, 3)},
    "many_centers": {"centers": (1, 3, 7)},  # 49 centers of 16 points: some have none of their own
    "wide": {"neighbors": (5, 4, 2), "strides": (3, 2, 1)},
    "dense": {"dense": True},
    "batch_norm": {"norm": "batch"},
    "no_head": {"num_classes": 0},
    "gray": {"in_channels": 1},
}


@pytest.fixture(autouse=True)
def _fresh_graphs():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def random_images(*sizes: tuple[int, int], channels: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(channels, *size, generator=generator, dtype=torch.float64) for size in sizes]


def batch(size: tuple[int, int], num: int = 2, channels: int = 3) -> Tensor:
    return torch.stack(random_images(*[size] * num, channels=channels))


def nano(**overrides) -> ContextClusterNet:
    return order_one_network("coc_nano", **overrides)


def assert_equal(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9)


def kept(folded: FoldedNet) -> dict:
    """The constants of sizes that a folded network keeps."""
    first = folded.reducers[0]
    return (first.steps[0] if isinstance(first, StepReducer) else first)._of_size


@pytest.mark.parametrize("name", LATTICE_PRESETS)
def test_every_image_preset_gives_the_same_logits(name: str) -> None:
    net = order_one_network(name, num_classes=10)
    side = 64 if net.config.window is None else 224  # windows of 14 sites tile no map of 64 pixels
    fused, images = net.fuse(), batch((side, side))
    holes = image_to_points(images).take(torch.arange(0, 2 * side * side, 3))
    mixed = random_images((side, side), (36, 52))
    with torch.inference_mode():
        for given in (images, image_to_points(images), holes, mixed):
            assert_equal(fused(given), net(given))


@pytest.mark.parametrize("name", ["coc_tiny", "coc_tiny2", "coc_tiny_plain"])
def test_official_size(name: str) -> None:
    net = order_one_network(name, num_classes=10, depths=1)
    fused, images = net.fuse(), batch((224, 224), num=1)
    with torch.inference_mode():
        assert_equal(fused(images), net(images))


@pytest.mark.parametrize("name", SMALL_PRESETS)
@pytest.mark.parametrize("size", [(61, 45), (96, 70), (1, 1), (5, 2), (1, 7)])
def test_uneven_sizes(name: str, size: tuple[int, int]) -> None:
    net = order_one_network(name, num_classes=10, depths=1)
    fused, images = net.fuse(), batch(size)
    with torch.inference_mode():
        assert_equal(fused(images), net(images))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("size", [(32, 32), (27, 32)])
def test_options(options: str, size: tuple[int, int]) -> None:
    net = nano(**OPTIONS[options])
    fused, images = net.fuse(), batch(size, channels=net.config.in_channels)
    with torch.inference_mode():
        assert_equal(fused(images), net(images))
        for one, other in zip(fused.forward_intermediates(images), net.forward_intermediates(images), strict=True):
            assert_equal(one, other)


@pytest.mark.parametrize("is_tensor", [True, False])
def test_features_and_intermediates(is_tensor: bool) -> None:
    net, images = nano(), batch((24, 32))
    fused = net.fuse()
    given = images if is_tensor else image_to_points(images)
    features, expected = fused.forward_features(given), net.forward_features(given)
    assert features.grid == expected.grid
    assert torch.equal(features.pos, expected.pos)
    assert_equal(features.x, expected.x)
    assert_equal(fused.forward_head(features), net(given))
    assert_equal(fused.forward_head(features, pre_logits=True), net.forward_head(expected, pre_logits=True))
    ours = fused.forward_intermediates(given, indices=(0, -1), norm=True)
    theirs = net.forward_intermediates(given, indices=(0, -1), norm=True)
    for one, other in zip(ours, theirs, strict=True):
        assert_equal(*((one, other) if is_tensor else (one.x, other.x)))
    with pytest.raises(ValueError, match=r"indices must be in \[-3, 2\], got 3"):
        fused.forward_intermediates(given, indices=[3])


def test_clouds_keep_their_way() -> None:
    net = order_one_network("coc_points_small")
    points = clouds(70, 41, channels=3)
    assert_equal(net.fuse()(points), net(points))


def test_a_plan_made_before_is_used() -> None:
    net, images = nano(), batch((20, 20))
    fused = net.fuse()
    assert_equal(fused(images, net.plan(images)), net(images))
    assert not kept(fused)


def test_the_network_stays_as_it_is_and_the_copy_too() -> None:
    net, images = nano(), batch((16, 16))
    before, fused = copy.deepcopy(net.state_dict()), net.fuse()
    logits = fused(images)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert not any(parameter.requires_grad for parameter in fused.parameters())
    with torch.no_grad():
        net.reducers[0].weight.zero_()
    assert torch.equal(fused(images), logits)


def test_training_raises() -> None:
    net = nano()
    with pytest.raises(ValueError, match=r"in training mode; call eval\(\) before fuse\(\)"):
        net.train().fuse()
    fused = net.eval().fuse()
    with pytest.raises(ValueError, match="a folded network is for inference"):
        fused.train()
    assert not any(module.training for module in fused.eval().modules())


def test_what_is_no_image_raises() -> None:
    fused = nano().fuse()
    with pytest.raises(ValueError, match=r"images must have shape \(B, 3, H, W\), got \(2, 1, 8, 8\)"):
        fused(torch.rand(2, 1, 8, 8))
    with pytest.raises(ValueError, match="images must be floating point"):
        fused(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match="images must not be empty"):
        fused(torch.rand(0, 3, 8, 8))


def test_constants_are_kept_by_size_for_any_number_of_images() -> None:
    net = nano()
    fused = net.fuse()
    with torch.inference_mode():
        fused(batch((16, 16), num=1))
    first = kept(fused)[16, 16]
    assert_equal(fused(batch((16, 16), num=3)), net(batch((16, 16), num=3)))
    assert kept(fused) == {(16, 16): first}
    for size in range(1, MOST_SIZES + 2):
        fused(batch((size, 1), num=1))
    assert len(kept(fused)) == MOST_SIZES
    assert (16, 16) not in kept(fused)


def test_constants_follow_the_weights() -> None:
    one, other, images = nano(), order_one_network("coc_nano"), batch((16, 16))
    with torch.no_grad():
        other.reducers[0].weight.mul_(2)
    fused = one.fuse()
    fused(images)
    fused.load_state_dict(other.fuse().state_dict())
    assert_equal(fused(images), other(images))
    single = fused.to(torch.float32)(images.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(copy.deepcopy(fused)(images.float()), single)


def test_constants_made_in_inference_mode_serve_gradients() -> None:
    net, images = nano(), batch((16, 16))
    fused = net.fuse()
    with torch.inference_mode():
        fused(images)
    ours, theirs = images.clone().requires_grad_(), images.clone().requires_grad_()
    fused(ours).square().sum().backward()
    net(theirs).square().sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_where_no_choice_can_flip(dtype: torch.dtype) -> None:
    net, images = nano(centers=1), batch((32, 32))
    with torch.no_grad():
        logits = net.fuse().to(dtype)(images.to(dtype))
        expected = net(images)
    assert logits.dtype == dtype
    atol = 1e-5 if dtype == torch.float32 else 0.03 * float(expected.std())
    torch.testing.assert_close(logits.double(), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("size", [(32, 32), (22, 27)])
@pytest.mark.parametrize("called_before", [True, False])
def test_one_graph(backend: str, size: tuple[int, int], called_before: bool) -> None:
    net = order_one_network("coc_nano", torch.float32, depths=1)
    fused, images = net.fuse(), batch(size).float()
    with torch.no_grad():
        if called_before:
            fused(images)
        compiled = torch.compile(fused, fullgraph=True, backend=backend)(images)
        assert bool(kept(fused)) == called_before
        torch.testing.assert_close(compiled, fused(images))


def test_a_size_is_compiled_once() -> None:
    fused, counter = nano(depths=1).fuse(), torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(fused, fullgraph=True, backend=counter)
    with torch.no_grad():
        for size in ((24, 24), (16, 20)):
            fused(batch(size))
        for size in ((24, 24), (16, 20), (24, 24), (16, 20)):
            assert_equal(compiled(batch(size)), fused(batch(size)))
    assert counter.frame_count == 2


needs_native = pytest.mark.skipif(why_not_native() is not None, reason=str(why_not_native()))


@needs_native
@pytest.mark.parametrize("name", ["coc_tiny", "coc_tiny2", "coc_tiny_plain", "coc_small", "coc_mini"])
def test_native_kernels_are_as_near_as_torch_in_bfloat16(name: str) -> None:
    net, images = order_one_network(name, torch.float32, num_classes=10), batch((224, 224)).float()
    with torch.inference_mode():
        expected = net(images)
        error, own = (
            float((one(images.to(torch.bfloat16)).float() - expected).norm())
            for one in (net.fuse().to(torch.bfloat16), net.fuse(kernels="native"))
        )
    assert own < 1.5 * error
    assert error < 0.1 * float(expected.norm())


@needs_native
def test_native_kernels_take_other_input_through_torch() -> None:
    net = nano().float()
    native, half = net.fuse(kernels="native"), net.fuse().to(torch.bfloat16)
    points = image_to_points(batch((24, 32)).to(torch.bfloat16), mask=torch.rand(2, 24, 32) > 0.2)
    with torch.inference_mode():
        for given in (points, [image.to(torch.bfloat16) for image in random_images((20, 31), (32, 32))]):
            assert torch.equal(native(given), half(given))


@needs_native
def test_native_weights_follow_new_weights() -> None:
    one, other = nano().float(), order_one_network("coc_nano", torch.float32)
    with torch.no_grad():
        other.stages[0][0].mlp.fc2.weight.mul_(2)
    native, images = one.fuse(kernels="native"), batch((32, 32)).to(torch.bfloat16)
    with torch.inference_mode():
        native(images)
        native.load_state_dict(other.fuse().to(torch.bfloat16).state_dict())
        assert torch.equal(native(images), other.fuse(kernels="native")(images))
        assert torch.equal(copy.deepcopy(native)(images), native(images))


@needs_native
def test_native_kernels_in_one_graph() -> None:
    native, images = nano().float().fuse(kernels="native"), batch((32, 32)).to(torch.bfloat16)
    with torch.no_grad():
        expected = native(images)
        assert torch.equal(torch.compile(native, fullgraph=True, backend="aot_eager")(images), expected)


@needs_native
def test_native_kernels_in_another_dtype_raise() -> None:
    native = nano().fuse(kernels="native").float()
    with pytest.raises(ValueError, match="native kernels take bfloat16 weights on the CPU, got float32 on cpu"):
        native(batch((32, 32)).float())


def test_kernels_that_cannot_serve_raise() -> None:
    with pytest.raises(ValueError, match="unknown kernels 'fast'; choose from torch, native"):
        nano().fuse(kernels="fast")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="native kernels are for images; this network takes clouds"):
        order_one_network("coc_points_small").fuse(kernels="native")
    with pytest.raises(ValueError, match="native kernels cannot be used: assignment must be 'hard', got 'soft'"):
        nano(assignment="soft").fuse(kernels="native")
