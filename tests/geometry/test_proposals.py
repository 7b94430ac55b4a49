"""Proposals: averages over points of a region."""

from __future__ import annotations

import pytest
import torch
from set_samples import clouds

from pointcoc.geometry.regions import UniformRegions, cloud_regions, grid_regions

CPU = torch.device("cpu")


def test_equal_regions_share_one_matrix() -> None:
    proposals = grid_regions((3, 3), 2, (1, 1), 2, CPU).proposals(torch.float64)
    assert proposals.exists is None
    # sub-cells of 2 x 2 sites overlap
    assert (proposals.mean @ torch.arange(9, dtype=torch.float64)).tolist() == [2.0, 3.0, 5.0, 6.0]


def test_regions_of_clouds_have_their_own() -> None:
    regions = cloud_regions(clouds(7, 7), 1, None, "fps", 3, 2)
    assert isinstance(regions, UniformRegions)
    mean = regions.proposals(torch.float32).mean
    assert mean.shape == (2, 3, 7)
    torch.testing.assert_close(mean.sum(-1), torch.ones(2, 3))


def test_a_proposal_without_points_does_not_exist() -> None:
    proposals = grid_regions((2, 2), 1, (2, 2), 2, CPU).proposals(torch.float64)
    assert proposals.exists is not None
    assert proposals.exists.tolist() == [[True], [False], [False], [False]]
    assert proposals.mean.tolist() == [[1.0], [0.0], [0.0], [0.0]]


def test_they_are_computed_once_and_serve_gradients() -> None:
    regions = grid_regions((4, 4), 2, (2, 2), 2, CPU)
    with torch.inference_mode():
        first = regions.proposals(torch.float32)
    assert regions.proposals(torch.float32) is first
    assert regions.proposals(torch.float64).mean.dtype == torch.float64
    x = torch.ones(4, 1, requires_grad=True)
    (first.mean @ x).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("device", ["meta"])
def test_moved_regions_make_their_own(device: str) -> None:
    regions = grid_regions((4, 4), 1, (2, 2), 2, CPU)
    regions.proposals(torch.float32)
    assert regions.to(device).proposals(torch.float32).mean.device.type == device
