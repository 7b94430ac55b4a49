"""Layers of the point-cloud network, against plain loops and torch's own convolutions."""

from __future__ import annotations

import itertools

import pytest
import torch
from order_one import order_one
from torch import Tensor, nn
from torch.nn import functional as F

from pointcoc.geometry import Segments, UniformRegions
from pointcoc.nn.pointmlp import AnchorNorm, GroupBlock, LinearNorm, PointMLPStage, ResidualBlock


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def runs(*bounds: int) -> Segments:
    return Segments.from_ptr(torch.tensor(bounds))


def convolution(linear: nn.Linear, x: Tensor) -> Tensor:
    """The linear layer as a 1x1 convolution of (groups, points, channels)."""
    return F.conv1d(x.mT, linear.weight[..., None], linear.bias).mT


def batch_norm(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    return (x - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias


@pytest.mark.parametrize("bias", [False, True])
def test_linear_norm_is_a_convolution_with_batch_norm(bias: bool) -> None:
    layer, x = order_one(LinearNorm(3, 5, bias).double()).eval(), noise(2, 4, 3)
    expected = batch_norm(layer.norm, convolution(layer.linear, x)).relu()
    torch.testing.assert_close(layer(x.flatten(0, 1)), expected.flatten(0, 1), rtol=0, atol=1e-12)


def test_residual_block() -> None:
    layer, x = order_one(ResidualBlock(3).double()).eval(), noise(2, 4, 3)
    hidden = batch_norm(layer.norm1, convolution(layer.linear1, x)).relu()
    expected = (x + batch_norm(layer.norm2, convolution(layer.linear2, hidden))).relu()
    torch.testing.assert_close(layer(x.flatten(0, 1)), expected.flatten(0, 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("bounds", [(0, 2, 4), (0, 1, 4), (0, 4)])
def test_anchor_norm_uses_one_deviation_a_set(bounds: tuple[int, ...]) -> None:
    layer = order_one(AnchorNorm(3).double())
    assert repr(layer) == "AnchorNorm(3, eps=1e-05)"
    group, anchor = noise(4, 5, 3), noise(4, 3, seed=1)
    found = layer(group, anchor, runs(*bounds))
    for begin, end in itertools.pairwise(bounds):
        difference = group[begin:end] - anchor[begin:end, None]
        normal = layer.weight * difference / (difference.std() + 1e-5) + layer.bias
        torch.testing.assert_close(found[begin:end, :, :3], normal, rtol=0, atol=1e-12)
        assert torch.equal(found[begin:end, :, 3:], anchor[begin:end, None].expand(-1, 5, -1))


def test_anchor_norm_of_points_that_are_all_the_same() -> None:
    layer, x = AnchorNorm(2).double(), torch.ones(3, 4, 2, dtype=torch.float64, requires_grad=True)
    found = layer(x, x[:, 0], runs(0, 3))
    assert torch.equal(found[..., :2], torch.zeros(3, 4, 2, dtype=torch.float64))
    found.sum().backward()
    assert bool(x.grad.isfinite().all())
    assert bool(AnchorNorm(1)(torch.ones(1, 1, 1), torch.zeros(1, 1), runs(0, 1)).isfinite().all())


def test_group_block_on_paper() -> None:
    block = order_one(GroupBlock(6).double()).eval()
    cluster, x = block.cluster, noise(2, 4, 6)
    assert (cluster.heads, cluster.f.out_features) == (1, 32)
    f, v = cluster.f(x), cluster.v(x)
    s = (cluster.beta + cluster.alpha * F.cosine_similarity(f.mean(1, keepdim=True), f, dim=-1)).sigmoid()[..., None]
    g = (v.mean(1, keepdim=True) + (s * v).sum(1, keepdim=True)) / (1 + s.sum(1, keepdim=True))
    expected = block.residual((x + cluster.proj(s * g)).flatten(0, 1))
    groups = UniformRegions(Segments.equal(2, 4, x.device), torch.ones(1, 1, 4, dtype=torch.bool), all_exist=True)
    torch.testing.assert_close(block(x.flatten(0, 1), groups), expected, rtol=0, atol=1e-12)


def test_heads_grow_with_the_channels() -> None:
    assert [GroupBlock(dim).cluster.f.out_features for dim in (4, 128, 132, 256)] == [32, 32, 33, 64]


def test_a_stage_does_not_depend_on_the_order_of_the_neighbors() -> None:
    stage, x = order_one(PointMLPStage(3, 8, 2, 1).double()).eval(), noise(10, 3)
    anchors, neighbors = torch.tensor([0, 4, 7]), torch.tensor([[0, 1, 2], [4, 3, 9], [7, 0, 6]])
    found = stage(x, anchors, neighbors, runs(0, 2, 3))
    assert found.shape == (3, 8)
    torch.testing.assert_close(stage(x, anchors, neighbors.flip(1), runs(0, 2, 3)), found, rtol=0, atol=1e-12)
