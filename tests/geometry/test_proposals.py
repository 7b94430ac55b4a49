"""Proposals: averages over points of a region."""

from __future__ import annotations

import torch
from set_samples import clouds

from pointcoc.geometry.proposals import Proposals
from pointcoc.geometry.regions import cloud_regions, grid_regions


def test_equal_regions_share_one_matrix() -> None:
    proposals = Proposals.of(grid_regions((3, 3), 2, (1, 1), 2, torch.device("cpu")), torch.float64)
    assert proposals.exists is None
    assert (proposals.mean @ torch.arange(9, dtype=torch.float64)).tolist() == [2.0, 3.0, 5.0, 6.0]


def test_regions_of_clouds_have_their_own() -> None:
    regions = cloud_regions(clouds(7, 7), 1, None, "fps", 3, 2)
    proposals = Proposals.of(regions, torch.float32)
    assert proposals.mean.shape == (2, 3, 7)
    torch.testing.assert_close(proposals.mean.sum(-1), torch.ones(2, 3))


def test_a_proposal_without_points_does_not_exist() -> None:
    proposals = Proposals.of(grid_regions((2, 2), 1, (2, 2), 2, torch.device("cpu")), torch.float64)
    assert proposals.exists is not None
    assert proposals.exists.tolist() == [[True], [False], [False], [False]]
    assert proposals.mean.tolist() == [[1.0], [0.0], [0.0], [0.0]]
