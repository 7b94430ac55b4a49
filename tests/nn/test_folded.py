"""Folding norms and scales into linear layers, and the modules that must be called instead."""

from __future__ import annotations

import pytest
import torch
from order_one import order_one
from torch import nn

from pointcoc.geometry import Segments
from pointcoc.geometry.regions import grid_regions
from pointcoc.nn import ClusterBlock, SetNorm
from pointcoc.nn.folded import after_norm, are_plain, before_scale
from pointcoc.ops import ClusterOptions

CPU = torch.device("cpu")
SETS, REGIONS = Segments.equal(2, 16, CPU), grid_regions((4, 4), 2, (1, 1), 2, CPU)


def block() -> ClusterBlock:
    return order_one(ClusterBlock(6, 2, 3, 2, ClusterOptions()).double())


def rows() -> torch.Tensor:
    return torch.randn(32, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_a_norm_enters_the_layers_behind_it() -> None:
    norm, one, two = order_one(SetNorm(6).double()), nn.Linear(6, 3).double(), nn.Linear(6, 2).double()
    weight, bias = after_norm(norm, one, two)
    x = rows()
    expected = torch.cat([layer(x * norm.weight + norm.bias) for layer in (one, two)], dim=1)
    torch.testing.assert_close(x @ weight.T + bias, expected)


def test_a_scale_enters_the_layer_before_it() -> None:
    layer, scale, x = nn.Linear(6, 3).double(), torch.tensor([2.0, -1.0, 0.0], dtype=torch.float64), rows()
    weight, bias = before_scale(layer, scale)
    torch.testing.assert_close(x @ weight.T + bias, scale * layer(x))


class Shifted(nn.Linear):
    """An adapter: what a subclass of nn.Linear computes is not in its weight and bias."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + torch.arange(self.out_features)


@pytest.mark.parametrize("path", ["cluster.f", "cluster.v", "cluster.proj", "mlp.fc1", "mlp.fc2"])
def test_layers_of_another_class_are_called(path: str) -> None:
    one, by_adapter, by_bias, x = block(), block(), block(), rows()
    layer = one.get_submodule(path)
    adapter = Shifted(layer.in_features, layer.out_features).double()
    adapter.load_state_dict(layer.state_dict())
    by_adapter.set_submodule(path, adapter)
    with torch.no_grad():
        by_bias.get_submodule(path).bias.add_(torch.arange(layer.out_features))
    y = by_adapter(x, SETS, REGIONS)[0]
    torch.testing.assert_close(y, by_bias(x, SETS, REGIONS)[0])
    assert not torch.allclose(y, one(x, SETS, REGIONS)[0])


@pytest.mark.parametrize("path", ["norm1", "cluster", "cluster.f", "norm2", "mlp", "mlp.act", "mlp.fc2"])
def test_hooks_see_their_module(path: str) -> None:
    one, x, seen = block(), rows(), []
    expected = one(x, SETS, REGIONS)[0]
    one.get_submodule(path).register_forward_hook(lambda *_: seen.append(path))
    torch.testing.assert_close(one(x, SETS, REGIONS)[0], expected)
    assert seen == [path]


def test_parametrized_layers_are_not_plain() -> None:
    layer = nn.Linear(4, 4)
    assert are_plain(layer)
    assert not are_plain(torch.nn.utils.parametrizations.orthogonal(layer))


def test_float16_keeps_small_scales() -> None:
    """Weights of 0.02 times a scale of 1e-5 are no number of float16."""
    one = order_one(ClusterBlock(6, 2, 3, 2, ClusterOptions()))
    with torch.no_grad():
        one.scale1.fill_(1e-5)
        one.scale2.fill_(1e-5)
        one.cluster.proj.weight.mul_(0.02)
    x = torch.zeros(32, 6).half()
    x[0] = 1
    expected = one(x.float(), SETS, REGIONS)[0] - x.float()
    y = one.half()(x, SETS, REGIONS)[0]
    small = expected[1:]  # of rows that are 0 before the block, where float16 has the bits
    torch.testing.assert_close(y[1:].float(), small, rtol=0.05, atol=3e-7)
