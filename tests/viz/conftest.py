"""More networks of the tests of pictures."""

from __future__ import annotations

import pytest
import torch

from pointcoc import ContextClusterNet


@pytest.fixture(scope="session")
def color_net() -> ContextClusterNet:
    torch.manual_seed(0)
    return ContextClusterNet.from_preset("coc_nano", num_classes=3).eval()
