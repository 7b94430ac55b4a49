"""Tiles: the layout of equal regions, for any number of sets."""

from __future__ import annotations

import pytest
import torch

from pointcoc.geometry import StageGeometry
from pointcoc.geometry.tiles import Tiles, make_tiles

CPU = torch.device("cpu")


def stage(**overrides) -> StageGeometry:
    settings = {
        "anchors": "lattice",
        "stride": 1,
        "neighbors": 1,
        "regions": 2,
        "window": None,
        "proposals": "cells",
        "centers": 2,
        "center_neighbors": 8,
    }
    return StageGeometry(**{**settings, **overrides})


def tiles(grid: tuple[int, int], **overrides) -> Tiles:
    made = make_tiles(grid, stage(**overrides), CPU, torch.float64)
    assert made is not None
    return made


def test_sites_lie_in_their_tile_on_paper() -> None:
    maps = torch.arange(16.0).view(1, 4, 4, 1)
    entered = tiles((4, 4)).enter(maps)
    assert entered.squeeze(-1).tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


@pytest.mark.parametrize(("grid", "settings"), [((4, 6), {}), ((3, 5), {"regions": 1}), ((6, 4), {"window": 2})])
def test_leave_undoes_enter(grid: tuple[int, int], settings: dict) -> None:
    maps = torch.rand(3, *grid, 2)
    layout = tiles(grid, **settings)
    assert torch.equal(layout.leave(layout.enter(maps)), maps)
    assert torch.equal(layout.leave(layout.enter(maps.movedim(-1, 1).contiguous().movedim(1, -1))), maps)


def test_centers_are_means_of_sub_cells() -> None:
    layout = tiles((3, 3), regions=1)
    assert layout.proposals.exists is None
    points = torch.arange(9, dtype=torch.float64)
    assert (layout.proposals.mean @ points).tolist() == [2.0, 3.0, 5.0, 6.0]  # sub-cells of 2 x 2 sites overlap


def test_sub_cells_with_equal_sites_are_there_once() -> None:
    layout = tiles((2, 2))
    assert (layout.size, layout.num_centers) == (1, 4)
    assert layout.proposals.exists is not None
    assert layout.proposals.exists.tolist() == [[True], [False], [False], [False]]
    assert layout.proposals.mean.tolist() == [[1.0], [0.0], [0.0], [0.0]]


@pytest.mark.parametrize("settings", [{}, {"window": 2}])
def test_uneven_regions_are_no_tiles(settings: dict) -> None:
    assert make_tiles((5, 4), stage(**settings), CPU, torch.float64) is None
