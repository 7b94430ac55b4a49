"""Colors of clusters: near ones differ for every eye, and position alone decides."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pointcoc import ContextClusterNet
from pointcoc.viz import center_colors, cluster_colors, color_distance
from pointcoc.viz.colors import VISIONS, palette


def grid(side: int) -> torch.Tensor:
    return torch.cartesian_prod(torch.arange(side), torch.arange(side)).double()


@pytest.mark.parametrize("side", [2, 4, 5, 7, 16])
def test_neighbors_differ_with_and_without_all_cones(side: int) -> None:
    colors = center_colors(grid(side)).numpy().reshape(side, side, 3)
    pairs = [(colors[1:], colors[:-1]), (colors[:, 1:], colors[:, :-1])]
    pairs += [(colors[1:, 1:], colors[:-1, :-1]), (colors[1:, :-1], colors[:-1, 1:])]
    assert min(color_distance(*pair).min() for pair in pairs) > 0.1  # about five times what one can just see


@pytest.mark.parametrize("side", [2, 5])
def test_few_centers_have_a_color_each(side: int) -> None:
    assert len(center_colors(grid(side)).unique(dim=0)) == side**2


def test_black_and_white_are_one_apart_for_every_eye() -> None:
    assert color_distance(np.zeros(3), np.ones(3)) == pytest.approx(1, abs=1e-3)
    assert color_distance(np.ones(3), np.ones(3)) == 0


def test_the_eye_that_sees_the_least_difference_decides() -> None:
    red, green = palette()[16], palette()[19]
    both = [np.linalg.norm(red @ eye.T - green @ eye.T) for eye in VISIONS.values()]
    assert both[0] > min(both)
    assert color_distance(red, green) < 0.1


def test_position_alone_decides_and_scale_does_not_matter() -> None:
    pos = torch.rand(25, 2, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(center_colors(pos), center_colors(8 * pos + 3))


def test_colors_are_of_the_palette_and_centers_without_points_gray() -> None:
    pos = grid(3).float()
    pos[4] = torch.nan
    colors = center_colors(pos)
    assert colors[4].tolist() == [0.5, 0.5, 0.5]
    known = {tuple(color) for color in palette().tolist()}
    assert all(tuple(color) in known for i, color in enumerate(colors.tolist()) if i != 4)
    assert 0 <= palette().min() <= palette().max() <= 1


@pytest.mark.parametrize("pos", [torch.zeros(0, 2), torch.zeros(1, 3), torch.full((4, 2), torch.nan), torch.rand(6, 1)])
def test_edge_sizes(pos: torch.Tensor) -> None:
    assert center_colors(pos).shape == (len(pos), 3)


def test_points_have_the_color_of_their_center(image_net: ContextClusterNet) -> None:
    stage = image_net.assignments(torch.rand(1, 1, 24, 40))[0]
    assert torch.equal(cluster_colors(stage, head=1), center_colors(stage.center_pos)[stage.cluster(-1, 1)])
