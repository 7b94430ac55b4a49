"""Clouds: the same output alone and in company, in any order, wherever they lie."""

from __future__ import annotations

import pytest
import torch
from order_one import order_one_network
from torch import Tensor
from torch_geometric.data import Batch, Data

from pointcoc import PRESETS, ContextClusterNet, PointSet, concat

# Clouds far from the origin, on purpose; tests/models/test_cloud_input.py has the warning.
pytestmark = pytest.mark.filterwarnings("ignore:coordinates are the features")
CLOUD_PRESETS = [name for name, config in PRESETS.items() if config.anchors != "lattice"]
VARIANTS = {
    "concat": {"pool": "concat"},
    "cells": {"proposals": "cells", "regions": 2, "centers": 2},
    "regions": {"regions": 2},
    "window": {"window": 0.8},
    "window_cells": {"window": (0.5, 0.8, 1.5), "proposals": "cells", "centers": 2},
    "soft": {"assignment": "soft"},
    "dynamic": {"iterations": 3},
    "count": {"normalizer": "count"},
    "curve": {"partition": "curve", "window": 20, "proposals": "curve"},
    "curve_fps": {"partition": "curve", "window": (20, 10, 5)},
    "voxel": {"anchors": "voxel", "voxels": (0.4, 0.8, 1.6)},
    "voxel_cells": {"anchors": "voxel", "voxels": (0.4, 0.8, 1.6), "window": 1.5, "proposals": "cells", "centers": 2},
    "reference": {"backend": "reference"},
    "ragged": {"backend": "ragged"},
}


@pytest.fixture(autouse=True, params=["as installed", "plain torch"])
def extensions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test with the compiled packages, where installed, and without."""
    if request.param == "plain torch":
        monkeypatch.setenv("POINTCOC_DISABLE_EXTENSIONS", "1")


def cloud(num_points: int, seed: int = 0, offset: float = 0.0) -> PointSet:
    """A random cloud whose features are its positions."""
    generator = torch.Generator().manual_seed(seed)
    pos = torch.randn(num_points, 3, generator=generator, dtype=torch.float64) + offset
    return PointSet(pos, pos, torch.tensor([0, num_points]))


def from_positions(pos: Tensor) -> PointSet:
    return PointSet(pos, pos, torch.tensor([0, len(pos)]))


def coincident_clouds() -> list[PointSet]:
    """Every point twice; one place only; a cloud with one heap of 40 points."""
    some = cloud(60, seed=5).pos
    return [
        from_positions(some.repeat(2, 1)),
        from_positions(some[:1].repeat(50, 1)),
        from_positions(torch.cat([some, some[:1].expand(40, -1)])),
    ]


def symmetric_clouds() -> list[PointSet]:
    """Clouds full of equal distances: a lattice, a part of it, the corners of a box, a circle."""
    lattice = torch.cartesian_prod(*[torch.arange(6, dtype=torch.float64)] * 3)
    angle = torch.arange(64, dtype=torch.float64) / 64 * 2 * torch.pi
    circle = torch.stack([angle.cos(), angle.sin(), 0 * angle], dim=1)
    corners = torch.cartesian_prod(*[torch.tensor([-0.3, 0.3], dtype=torch.float64)] * 3) + 0.7
    return [from_positions(pos) for pos in (lattice, 0.1 * lattice, lattice[:50], corners, circle)]


def all_kinds() -> list[PointSet]:
    """Sets of 1 point, of few points, far away, with coincident points, and ordinary ones of very different sizes."""
    few = [cloud(n, seed=n) for n in (1, 2, 3, 5, 7, 15, 17, 33)]
    return [*few, cloud(200, 1, offset=1e4), cloud(3, 2, offset=1e4), *coincident_clouds(), cloud(777, 3)]


def shuffled(points: PointSet, seed: int = 0) -> PointSet:
    return points.take(torch.randperm(points.num_points, generator=torch.Generator().manual_seed(seed)))


def assert_equal(actual: Tensor, expected: Tensor, atol: float = 1e-9) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


@torch.inference_mode()
def assert_alone_and_in_company(net: ContextClusterNet, clouds: list[PointSet]) -> None:
    alone = torch.cat([net(one) for one in clouds])
    assert torch.isfinite(alone).all()
    assert_equal(net(concat(clouds)), alone)
    assert_equal(net(concat(clouds[::-1])), alone.flip(0))
    assert_equal(net(shuffled(concat(clouds))), alone)
    assert_equal(torch.cat([net(shuffled(one, seed=7)) for one in clouds]), alone)


@pytest.mark.parametrize("name", CLOUD_PRESETS)
def test_alone_and_in_company(name: str) -> None:
    assert_alone_and_in_company(order_one_network(name), all_kinds())


@pytest.mark.parametrize("overrides", [{}, {"pool": "concat"}], ids=["max", "concat"])
def test_equal_distances_alone_and_in_company(overrides: dict) -> None:
    clouds = [*symmetric_clouds(), cloud(300)]
    assert_alone_and_in_company(order_one_network("coc_points_small", **overrides), clouds)


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_alone_and_in_company(variant: str) -> None:
    net = order_one_network("coc_points_small", **VARIANTS[variant])
    clouds = [
        one for one in all_kinds() if variant not in ("window", "window_cells", "voxel_cells") or one.num_points > 2
    ]
    assert_alone_and_in_company(net, clouds)


@pytest.mark.parametrize("name", CLOUD_PRESETS)
def test_outputs_depend_on_the_cloud(name: str) -> None:
    net = order_one_network(name)
    with torch.inference_mode():
        logits = net(concat([cloud(256, 0), cloud(256, 1)]))
    assert (logits[0] - logits[1]).abs().max() > 1e-2


@pytest.mark.parametrize("name", CLOUD_PRESETS)
@pytest.mark.parametrize("overrides", [{}, {"pool": "concat"}], ids=["max", "concat"])
def test_only_relative_positions_count(name: str, overrides: dict) -> None:
    net = order_one_network(name, **overrides)
    clouds = [cloud(n, seed=n) for n in (1, 5, 40, 300)] + [coincident_clouds()[0]]
    moved = [PointSet(one.x, one.pos + 1e4, one.ptr) for one in clouds]
    with torch.inference_mode():
        here = net(concat(clouds))
        assert_equal(net(concat(moved)), here, atol=1e-6)
        assert_equal(torch.cat([net(one) for one in moved]), net(concat(moved)))


def test_features_of_their_own() -> None:
    net = order_one_network("coc_points_small", in_channels=5)
    generator = torch.Generator().manual_seed(0)
    clouds = []
    for n in (1, 9, 150):
        features = torch.randn(n, 5, generator=generator, dtype=torch.float64)
        clouds.append(PointSet(features, cloud(n, seed=n).pos, torch.tensor([0, n])))
    assert_alone_and_in_company(net, clouds)


def test_clouds_in_the_plane() -> None:
    net = order_one_network("coc_points_small", pos_dim=2, in_channels=2)
    clouds = [from_positions(cloud(n, seed=n).pos[:, :2].contiguous()) for n in (1, 9, 150)]
    assert_alone_and_in_company(net, clouds)


@pytest.mark.parametrize("name", ["coc_points", "coc_scene"])
@pytest.mark.parametrize("backend", ["reference", "ragged"])
def test_backends_agree(name: str, backend: str) -> None:
    net, other = order_one_network(name), order_one_network(name, backend=backend)
    points = concat(all_kinds())
    with torch.inference_mode():
        assert_equal(other(points), net(points))


@pytest.mark.parametrize("name", CLOUD_PRESETS)
def test_extensions_and_plain_torch_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, points = order_one_network(name), concat(all_kinds())
    with torch.inference_mode():
        logits = net(points)
        monkeypatch.setenv("POINTCOC_DISABLE_EXTENSIONS", "1")
        assert_equal(net(points), logits)


def test_torch_geometric_data_and_batch() -> None:
    net = order_one_network("coc_points_small")
    clouds = [cloud(n, seed=n) for n in (1, 20, 100)]
    data = [Data(pos=one.pos) for one in clouds]
    with torch.inference_mode():
        logits = net(concat(clouds))
        assert_equal(net(Batch.from_data_list(data)), logits)
        assert_equal(torch.cat([net(one) for one in data]), logits)
        assert_equal(net(concat(clouds).to_pyg()), logits)
        doubled = Data(x=2 * clouds[1].pos, pos=clouds[1].pos)
        assert (net(doubled) - logits[1]).abs().max() > 1e-3
        without_ptr = Data(pos=concat(clouds).pos, batch=concat(clouds).batch)
        assert_equal(net(without_ptr), logits)


def test_intermediates_are_the_anchors() -> None:
    net = order_one_network("coc_points_small")
    points = concat([cloud(n, seed=n) for n in (1, 20, 100)])
    with torch.inference_mode():
        stages = net.forward_intermediates(points)
    assert [stage.counts.tolist() for stage in stages] == [[1, 5, 25], [1, 2, 7], [1, 1, 2]]
    assert [stage.x.shape[1] for stage in stages] == [32, 64, 128]
    places = {tuple(place) for place in points.pos.tolist()}
    assert all(tuple(place) in places for stage in stages for place in stage.pos.tolist())


# ---------------------------------------------------------------------------------------------------------------------
# Scenes: voxels and runs along a curve
# ---------------------------------------------------------------------------------------------------------------------

ROOM = {"voxels": (0.3, 0.6, 1.2, 2.4), "window": (32, 16, 16, 8), "centers": 4}


@pytest.mark.parametrize("proposals", ["curve", "fps"])
def test_scenes_alone_and_in_company(proposals: str) -> None:
    net = order_one_network("coc_scene", **ROOM, proposals=proposals)
    assert_alone_and_in_company(net, [*all_kinds(), *symmetric_clouds()[:2]])


@pytest.mark.parametrize("backend", ["reference", "ragged"])
def test_gradients_of_scenes_do_not_depend_on_order_or_backend(backend: str) -> None:
    points = concat([cloud(400), cloud(1), cloud(90, 2)])
    gradients = []
    for one, options in ((points, {}), (shuffled(points), {"backend": backend})):
        net = order_one_network("coc_scene", **ROOM, **options)
        gradients.append(torch.autograd.grad(net(one).square().sum(), list(net.parameters())))
    for one, other in zip(*gradients, strict=True):
        assert_equal(other, one, atol=1e-9 * max(1.0, one.abs().max().item()))


def test_scenes_on_both_sides_of_the_grid_search(monkeypatch: pytest.MonkeyPatch) -> None:
    net, points = order_one_network("coc_scene", **ROOM), concat([cloud(3000), cloud(100, 1)])
    monkeypatch.setenv("POINTCOC_DISABLE_EXTENSIONS", "1")
    with torch.inference_mode():
        logits = net(points)
        monkeypatch.setattr("pointcoc.geometry.neighbors.LARGE", 0)
        assert_equal(net(points), logits)


def test_anchors_of_scenes_fill_their_voxels() -> None:
    net, points = order_one_network("coc_scene", **ROOM), cloud(2000)
    with torch.inference_mode():
        stages = net.forward_intermediates(points)
    counts = [stage.num_points for stage in stages]
    assert counts == sorted(counts, reverse=True)
    first = ((points.pos - points.pos.amin(0)) / 0.3).floor()
    assert counts[0] == len(first.unique(dim=0))


def test_scenes_give_norms_of_all_stages() -> None:
    net = order_one_network("coc_scene", **ROOM, dense=True)
    with torch.inference_mode():
        stages = net.forward_intermediates(cloud(500))
    assert [stage.x.shape[1] for stage in stages] == [32, 64, 128, 256]
    assert all(torch.isfinite(stage.x).all() for stage in stages)


@pytest.mark.parametrize("proposals", ["curve", "fps"])
def test_only_relative_positions_of_scenes_count(proposals: str) -> None:
    net = order_one_network("coc_scene", **ROOM, proposals=proposals)
    points = concat([cloud(n, seed=n) for n in (1, 5, 40, 300)] + coincident_clouds())
    moved = PointSet(points.x, points.pos + 1e4, points.ptr)
    with torch.inference_mode():
        assert_equal(net(moved), net(points), atol=1e-6)


def test_plans_of_scenes_never_compare_all_points(monkeypatch: pytest.MonkeyPatch) -> None:
    net, points = order_one_network("coc_scene", **ROOM), concat([cloud(1500), cloud(20, 1)])
    monkeypatch.setenv("POINTCOC_DISABLE_EXTENSIONS", "1")
    expected = net.plan(points)
    monkeypatch.setattr("pointcoc.geometry.plan.farthest_points", None)
    monkeypatch.setattr("pointcoc.geometry.neighbors._knn_torch", None)
    monkeypatch.setattr("pointcoc.geometry.neighbors.LARGE", 0)
    for one, other in zip(net.plan(points).stages, expected.stages, strict=True):
        assert torch.equal(one.neighbors, other.neighbors)
