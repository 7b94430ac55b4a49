"""The pointwise network."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from pointcoc.nn import Mlp


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
