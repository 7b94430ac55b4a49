"""Group norm with one group over the points of a set, batch norm, and what every norm of the table offers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pointcoc.geometry import Segments
from pointcoc.nn import NORMS, BatchNorm, SetNorm
from pointcoc.nn.norm import apply_norm


def sets(*counts: int) -> Segments:
    return Segments.from_ptr(torch.tensor([0, *counts]).cumsum(0))


def norm(dim: int) -> SetNorm:
    layer = SetNorm(dim).double()
    torch.manual_seed(0)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    return layer


def features(num: int, dim: int = 3) -> Tensor:
    return torch.randn(num, dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)


def test_one_set_on_paper() -> None:
    # Mean 2, variance (1 + 1 + 1 + 1) / 4 = 1.
    y = SetNorm(2, eps=0).double()(torch.tensor([[1.0, 3], [3, 1]], dtype=torch.float64), sets(2))
    assert y.tolist() == [[-1, 1], [1, -1]]


@pytest.mark.usefixtures("_extensions")
@pytest.mark.parametrize("counts", [(4, 4), (5, 1, 3), (1,), (1, 1), (2, 7)])
def test_sets_are_groups(counts: tuple[int, ...]) -> None:
    layer, x = norm(3), features(sum(counts))
    y = layer(x, sets(*counts))
    groups = [F.group_norm(one.T[None], 1, layer.weight, layer.bias)[0].T for one in x.split(counts)]
    torch.testing.assert_close(y, torch.cat(groups))
    weight = torch.randn_like(y)
    both = [x, layer.weight, layer.bias]
    for one, other in zip(
        torch.autograd.grad(y, both, weight), torch.autograd.grad(torch.cat(groups), both, weight), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.fixture(params=["torch_scatter", "torch"])
def _extensions(request, monkeypatch) -> None:
    if request.param == "torch":
        monkeypatch.setenv("POINTCOC_DISABLE_EXTENSIONS", "1")
    else:
        monkeypatch.delenv("POINTCOC_DISABLE_EXTENSIONS", raising=False)
        pytest.importorskip("torch_scatter", reason="torch_scatter is not installed")


@pytest.mark.parametrize("counts", [(4, 4), (5, 3)])
def test_far_from_zero(counts: tuple[int, ...]) -> None:
    layer, x = norm(3), features(8)
    torch.testing.assert_close(layer(x + 1e4, sets(*counts)), layer(x, sets(*counts)), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("counts", [(4, 4), (5, 3)])
def test_constant_sets_become_the_shift(counts: tuple[int, ...]) -> None:
    layer = norm(3)
    y = layer(torch.full((8, 3), 5.0, dtype=torch.float64), sets(*counts))
    torch.testing.assert_close(y, layer.bias.expand(8, -1))


@pytest.mark.parametrize("counts", [(4, 4), (5, 3)])
def test_half_precision_stays(counts: tuple[int, ...]) -> None:
    layer, x = norm(3), features(8).detach()
    y = layer.bfloat16()(x.bfloat16(), sets(*counts))
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.double(), layer.double()(x, sets(*counts)), rtol=0.05, atol=0.05)


def test_print_shows_the_settings() -> None:
    assert repr(SetNorm(8, eps=0.1)) == "SetNorm(8, eps=0.1)"


def any_norm(name: str) -> torch.nn.Module:
    layer = NORMS[name](3).double()
    torch.manual_seed(0)
    for value in (layer.weight, layer.bias):
        torch.nn.init.normal_(value)
    return layer


@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize("name", NORMS)
def test_a_norm_is_what_depends_on_the_points_and_then_constants(name: str, is_training: bool) -> None:
    layer, x, two = any_norm(name).train(is_training), features(8), sets(5, 3)
    if name == "batch":
        layer.running_mean.normal_()
        layer.running_var.uniform_(0.5, 2)
    scale, shift = layer.constants(torch.float64)
    torch.testing.assert_close(layer.normalize(x, two) * scale + shift, layer(x, two))
    if not is_training:
        torch.testing.assert_close(apply_norm(layer.bare(), x, two) * scale + shift, layer(x, two))


def test_batch_norm_counts_its_batches_once_a_pass() -> None:
    one, two, x = any_norm("batch").train(), any_norm("batch").train(), features(8)
    one.normalize(x, sets(8)), two(x, sets(8))
    assert one.num_batches_tracked == two.num_batches_tracked == 1
    torch.testing.assert_close(one.running_mean, two.running_mean)
    torch.testing.assert_close(one.running_var, two.running_var)


def test_what_torch_makes_of_a_norm_for_several_processes_is_applied() -> None:
    layer = any_norm("batch").eval()
    many = torch.nn.SyncBatchNorm.convert_sync_batchnorm(any_norm("batch").eval())
    assert not isinstance(many, BatchNorm)
    x = features(8).detach()
    torch.testing.assert_close(apply_norm(many, x, sets(8)), apply_norm(layer, x, sets(8)))
