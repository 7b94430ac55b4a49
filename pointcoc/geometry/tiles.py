"""Tiles: the regions of a complete lattice that are all alike, whatever the number of sets; for the inference form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pointcoc.geometry.plan import StageGeometry, equal_tiles
from pointcoc.geometry.proposals import Proposals
from pointcoc.geometry.regions import TileOrder, UniformRegions, grid_regions

# B sets, R tiles in each, n points in a tile, m proposals of centers per tile, C channels.


@dataclass(frozen=True, eq=False)
class Tiles:
    """Equal regions of one lattice.

    Args:
        grid: sites per axis.
        proposals: what proposes the centers of every tile.
        order: how points enter region order; None if they are in it.
    """

    grid: tuple[int, ...]
    proposals: Proposals
    order: TileOrder | None

    @property
    def num_centers(self) -> int:
        """Proposals per tile, m."""
        return self.proposals.mean.shape[0]

    @property
    def size(self) -> int:
        """Points of a tile, n."""
        return self.proposals.mean.shape[1]

    def enter(self, maps: Tensor) -> Tensor:
        """Maps (B, *grid, C) to tiles (B * R, n, C)."""
        rows = maps.reshape(-1, maps.shape[-1])
        rows = rows if self.order is None else self.order.enter(rows)
        return rows.view(-1, self.size, rows.shape[-1])

    def leave(self, tiles: Tensor) -> Tensor:
        """Tiles (B * R, n, C) to maps (B, *grid, C)."""
        rows = tiles.flatten(0, 1)
        rows = rows if self.order is None else self.order.leave(rows)
        return rows.view(-1, *self.grid, rows.shape[-1])


def make_tiles(grid: tuple[int, ...], stage: StageGeometry, device: torch.device, dtype: torch.dtype) -> Tiles | None:
    """Lay out a stage whose regions are equal tiles.

    Args:
        grid: sites per axis of the stage.
        stage: its settings.
        device: where to build.
        dtype: of the averaging matrix.

    Returns:
        None if the regions of this lattice differ in size.
    """
    counts = equal_tiles(grid, stage)
    if counts is None:
        return None
    regions = grid_regions(grid, 1, counts, stage.centers, device)
    assert isinstance(regions, UniformRegions)
    order = regions.order
    assert order is None or isinstance(order, TileOrder)
    return Tiles(grid, Proposals.of(regions, dtype), order)
