"""Networks and inputs of the tests of clusters and of pictures."""

from __future__ import annotations

import pytest
import torch

from pointcoc import ContextClusterNet, PointSet


@pytest.fixture(scope="session")
def image_net() -> ContextClusterNet:
    torch.manual_seed(0)
    return ContextClusterNet.from_preset("coc_nano", num_classes=3, in_channels=1).eval()


@pytest.fixture(scope="session")
def cloud_net() -> ContextClusterNet:
    torch.manual_seed(0)
    return ContextClusterNet.from_preset("coc_points_small", num_classes=3).eval()


def cloud(num_points: int) -> PointSet:
    pos = torch.randn(num_points, 3, generator=torch.Generator().manual_seed(num_points))
    return PointSet(pos, pos, torch.tensor([0, num_points]))


@pytest.fixture(scope="session")
def make_cloud():
    return cloud
