"""The cluster layer: projections around the operation."""

from __future__ import annotations

import pytest
import torch
from set_samples import clouds, shuffled

from pointcoc import ClusterOptions, context_cluster
from pointcoc.geometry.regions import cloud_regions, grid_regions
from pointcoc.nn import ContextCluster

REGIONS = {
    "uniform": grid_regions((4, 6), 1, (2, 2), 2, torch.device("cpu")),
    "ragged": cloud_regions(clouds(17, 7), 2, None, "fps", 2, 2),
}


def layer(assignment: str = "hard", iterations: int = 1, backend: str = "auto") -> ContextCluster:
    torch.manual_seed(0)
    return ContextCluster(6, 2, 4, ClusterOptions(assignment=assignment, iterations=iterations), backend).double()


def features(num: int = 24) -> torch.Tensor:
    return torch.randn(num, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("regions", REGIONS.values(), ids=REGIONS)
def test_heads_follow_one_another(regions) -> None:
    one, x = layer(), features()
    y, assignment = one(x, regions)
    parts = []
    for head in (slice(0, 4), slice(4, 8)):
        f, v = ((x @ linear.weight[head].T + linear.bias[head])[:, None] for linear in (one.f, one.v))
        parts.append(context_cluster(f, v, regions, one.alpha, one.beta)[0].squeeze(1))
    torch.testing.assert_close(y, torch.cat(parts, dim=1) @ one.proj.weight.T + one.proj.bias)
    assert assignment.center.shape == assignment.similarity.shape == (24, 2)


@pytest.mark.parametrize("assignment", ["hard", "soft"])
@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("regions", REGIONS.values(), ids=REGIONS)
def test_backends_agree_in_all_gradients(regions, assignment: str, iterations: int) -> None:
    results = []
    for backend in ("reference", "ragged"):
        one, x = layer(assignment, iterations, backend), features()
        y, _ = one(x, regions)
        results.append((y, *torch.autograd.grad(y.square().sum(), [x, *one.parameters()])))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)
        assert (a != 0).any()


def test_the_order_of_the_points_does_not_matter() -> None:
    points = clouds(17, 7)
    other, rows = shuffled(points)
    x, results = features(), []
    for sets, own in ((points, slice(None)), (other, rows)):
        regions = cloud_regions(sets, 2, None, "fps", 2, 2)
        results.append(regions.order.leave(layer()(regions.order.enter(x[own]), regions)[0]))
    torch.testing.assert_close(results[1], results[0][rows])


def test_names_and_first_values_of_the_weights() -> None:
    shapes = {name: tuple(value.shape) for name, value in layer().state_dict().items()}
    assert shapes == {
        "alpha": (1,),
        "beta": (1,),
        "f.weight": (8, 6),
        "f.bias": (8,),
        "v.weight": (8, 6),
        "v.bias": (8,),
        "proj.weight": (6, 8),
        "proj.bias": (6,),
    }
    assert (layer().alpha.item(), layer().beta.item()) == (1, 0)


def test_an_unknown_backend_is_named() -> None:
    with pytest.raises(ValueError, match="unknown backend 'cuda'"):
        layer(backend="cuda")(features(), REGIONS["uniform"])
