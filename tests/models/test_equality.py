"""An image is the set of its pixels: the grid path, ordered sets and shuffled sets give the same logits."""

from __future__ import annotations

import pytest
import torch
from loop_reference import loop_forward, loop_logits
from order_one import order_one_network
from torch import Tensor

from pointcoc import PRESETS, ContextClusterNet, PointSet, concat, image_to_points
from pointcoc.nn import ContextCluster

LATTICE_PRESETS = [name for name, config in PRESETS.items() if config.anchors == "lattice"]
SMALL_PRESETS = ("coc_tiny", "coc_tiny2", "coc_tiny_plain", "coc_mini", "coc_nano")
BACKENDS = ("reference", "ragged")
NANO_VARIANTS = {
    "soft": {"assignment": "soft"},
    "count": {"normalizer": "count"},
    "soft_count": {"assignment": "soft", "normalizer": "count"},
    "dynamic": {"iterations": 3},
    "soft_dynamic": {"assignment": "soft", "iterations": 2},
    "window": {"window": (5, 3, 2)},
    "uneven": {"regions": (5, 3, 2), "centers": (3, 2, 3)},
    "wide": {"neighbors": (5, 4, 2), "strides": (3, 2, 1)},
}


@pytest.fixture(scope="module", params=LATTICE_PRESETS)
def net(request: pytest.FixtureRequest) -> ContextClusterNet:
    """One network of order-one weights per preset, shared by the tests of this file."""
    return order_one_network(request.param, num_classes=10)


def set_backend(net: ContextClusterNet, name: str) -> None:
    for module in net.modules():
        if isinstance(module, ContextCluster):
            module.backend = name


def random_images(*sizes: tuple[int, int], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(3, *size, generator=generator, dtype=torch.float64) for size in sizes]


def shuffled(points: PointSet, seed: int = 0) -> PointSet:
    return points.take(torch.randperm(points.num_points, generator=torch.Generator().manual_seed(seed)))


def without_a_tenth(points: PointSet, seed: int = 0) -> PointSet:
    return points.take(torch.rand(points.num_points, generator=torch.Generator().manual_seed(seed)) >= 0.1)


def assert_equal(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9)


def assert_all_paths_equal(net: ContextClusterNet, images: Tensor) -> None:
    points = image_to_points(images)
    ordered = points.take(torch.arange(points.num_points))
    assert points.grid is not None
    assert ordered.grid is None
    with torch.inference_mode():
        logits = net(images)
        for backend in BACKENDS:
            set_backend(net, backend)
            for given in (images, points, ordered, shuffled(points)):
                assert_equal(net(given), logits)
        set_backend(net, "auto")
    assert logits.std() > 0.05


def loop_logits_of(net: ContextClusterNet, points: PointSet) -> Tensor:
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    logits = [
        loop_logits(state, net.config, one.x.numpy(), one.pos.long().numpy(), tuple(one.sizes[0].tolist()))
        for one in points.split()
    ]
    return torch.stack([torch.from_numpy(one) for one in logits])


def test_grid_ordered_and_shuffled_sets_give_the_same_logits(net: ContextClusterNet) -> None:
    assert_all_paths_equal(net, torch.stack(random_images((64, 64), (64, 64))))


def test_holes_equal_the_loop_reference(net: ContextClusterNet) -> None:
    points = shuffled(without_a_tenth(image_to_points(random_images((64, 64)))))
    assert points.num_points < 0.95 * 64 * 64
    expected = loop_logits_of(net, points)
    with torch.inference_mode():
        for backend in BACKENDS:
            set_backend(net, backend)
            assert_equal(net(points), expected)
    set_backend(net, "auto")


def test_images_of_different_sizes_equal_one_by_one(net: ContextClusterNet) -> None:
    images = random_images((64, 64), (36, 52), (64, 47))
    with torch.inference_mode():
        one_by_one = torch.cat([net(image[None]) for image in images])
        together = image_to_points(images)
        assert_equal(net(together), one_by_one)
        assert_equal(net(shuffled(together)), one_by_one)


@pytest.mark.parametrize("name", SMALL_PRESETS)
@pytest.mark.parametrize("size", [(61, 45), (96, 70)])
def test_uneven_sizes_give_the_same_logits(name: str, size: tuple[int, int]) -> None:
    assert_all_paths_equal(order_one_network(name, num_classes=10), torch.stack(random_images(size, size)))


@pytest.mark.parametrize("name", SMALL_PRESETS)
def test_complete_image_of_uneven_size_equals_the_loop_reference(name: str) -> None:
    net = order_one_network(name, num_classes=10)
    images = torch.stack(random_images((37, 45)))
    with torch.inference_mode():
        assert_equal(net(images), loop_logits_of(net, image_to_points(images)))


@pytest.mark.parametrize("variant", NANO_VARIANTS)
def test_options_equal_the_loop_reference_on_every_path(variant: str) -> None:
    net = order_one_network("coc_nano", **NANO_VARIANTS[variant])
    images = torch.stack(random_images((32, 32), (32, 32)))
    assert_all_paths_equal(net, images)
    holes = without_a_tenth(image_to_points(random_images((32, 32), (23, 30))))
    with torch.inference_mode():
        assert_equal(net(images), loop_logits_of(net, image_to_points(images)))
        for backend in BACKENDS:
            set_backend(net, backend)
            assert_equal(net(shuffled(holes)), loop_logits_of(net, holes))


@pytest.mark.parametrize("share", [0.5, 0.97])
def test_sparse_lattices_equal_the_loop_reference_after_every_stage(share: float) -> None:
    net = order_one_network("coc_nano", in_channels=3)
    points = image_to_points(random_images((32, 32)))
    points = points.take(torch.rand(points.num_points, generator=torch.Generator().manual_seed(3)) >= share)
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    expected = loop_forward(state, net.config, points.x.numpy(), points.pos.long().numpy(), (32, 32))
    with torch.inference_mode():
        stages = net.forward_intermediates(shuffled(points))
        assert_equal(net(shuffled(points))[0], torch.from_numpy(expected["logits"]))
    for stage, loop_stage in zip(stages, expected["stages"], strict=True):
        assert {tuple(site) for site in stage.pos.long().tolist()} == loop_stage.keys()
        in_order = torch.stack([torch.from_numpy(loop_stage[tuple(site)]) for site in stage.pos.long().tolist()])
        assert_equal(stage.x, in_order)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 2), (3, 3)])
@pytest.mark.parametrize("name", ["coc_tiny", "coc_nano"])
def test_images_smaller_than_a_window(name: str, size: tuple[int, int]) -> None:
    net = order_one_network(name, num_classes=10)
    images = torch.stack(random_images(size))
    points = image_to_points(images)
    with torch.inference_mode():
        expected = loop_logits_of(net, points)
        assert_equal(net(images), expected)
        assert_equal(net(shuffled(points)), expected)


def test_a_set_does_not_notice_its_company() -> None:
    net = order_one_network("coc_nano")
    many = [without_a_tenth(image_to_points([image])) for image in random_images((32, 32), (9, 50), (2, 2))]
    one_pixel = image_to_points(random_images((1, 1)))
    parts = [*many, one_pixel.take(torch.tensor([0]))]
    with torch.inference_mode():
        assert_equal(net(concat(parts)), torch.cat([net(part) for part in parts]))
