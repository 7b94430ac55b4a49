"""The pointwise network."""

from __future__ import annotations

import pytest
import torch
from kept import kept_for_backward
from torch.nn import functional as F

from pointcoc.nn import Mlp
from pointcoc.nn import mlp as module


def test_identities_leave_the_activation() -> None:
    layer = Mlp(2, 2).double()
    for linear in (layer.fc1, layer.fc2):
        torch.nn.init.eye_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    x = torch.tensor([[0.0, 1.0], [-1.0, 20.0]], dtype=torch.float64)
    torch.testing.assert_close(layer(x), F.gelu(x))
    torch.testing.assert_close(layer(x)[0, 1].item(), 0.8413447460685429)  # the normal distribution up to 1


def test_each_point_is_alone() -> None:
    layer, x = Mlp(3, 5).double(), torch.randn(4, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(x), torch.cat([layer(row[None]) for row in x]))
    assert layer(x[:0]).shape == (0, 3)


def test_names_of_the_weights() -> None:
    shapes = {name: tuple(value.shape) for name, value in Mlp(3, 5).state_dict().items()}
    assert shapes == {"fc1.weight": (5, 3), "fc1.bias": (5,), "fc2.weight": (3, 5), "fc2.bias": (3,)}


def test_parts_of_the_points_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = Mlp(3, 5).double(), torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    results = []
    for num_bytes, num_parts in ((1 << 20, 1), (2 * 5 * 8, 4), (1, 7)):
        monkeypatch.setattr(module, "HIDDEN_BYTES", num_bytes)
        assert len(module.split_rows(x, 5)) == num_parts
        y = layer(x)
        results.append((y, *torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])))
    for other in results[1:]:
        for one, expected in zip(other, results[0], strict=True):
            torch.testing.assert_close(one, expected)


def test_the_hidden_layer_is_kept_once() -> None:
    layer, x = Mlp(4, 32), torch.randn(16, 4, requires_grad=True)
    assert [value.shape for value in kept_for_backward(lambda: layer(x))].count((16, 32)) == 1
