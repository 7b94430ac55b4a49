"""Small point sets in float64, and the same sets in another order."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pointcoc.geometry import StageGeometry, sampling
from pointcoc.pointset import PointSet, counts_to_ptr, image_to_points

BACKENDS = ("torch", "torch_cluster")


def use_backend(backend: str, patch: pytest.MonkeyPatch) -> None:
    """Let plain torch, or torch-cluster, find neighbors and farthest points, the latter on a CPU too."""
    patch.setenv("POINTCOC_DISABLE_EXTENSIONS", "torch_cluster" if backend == "torch" else "")
    if backend == "torch_cluster":
        patch.setattr(sampling, "_fps_torch", sampling._fps_torch_cluster)


def clouds(*counts: int, dim: int = 3, channels: int = 2, seed: int = 0) -> PointSet:
    """Sets of `counts` random points in the unit cube."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(counts), channels, generator=generator, dtype=torch.float64)
    pos = torch.rand(sum(counts), dim, generator=generator, dtype=torch.float64)
    return PointSet(x, pos, counts_to_ptr(torch.tensor(counts)))


def pixels(*sizes: tuple[int, int], channels: int = 1, kept: float = 1.0, seed: int = 0) -> PointSet:
    """Images of `sizes` (height, width); a mask keeps a part of the pixels, at least the first."""
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randn(channels, *size, generator=generator, dtype=torch.float64) for size in sizes]
    if kept == 1.0:
        return image_to_points(images)
    masks = [torch.rand(size, generator=generator) < kept for size in sizes]
    for mask in masks:
        mask[0, 0] = True
    return image_to_points(images, masks)


def shuffled(points: PointSet, seed: int = 0) -> tuple[PointSet, Tensor]:
    """The same sets in another order, and which row each row was."""
    rows = torch.randperm(points.num_points, generator=torch.Generator().manual_seed(seed))
    return points.take(rows), rows[torch.argsort(points.batch[rows], stable=True)]


def without_promise(points: PointSet) -> PointSet:
    """The same points without `grid`."""
    return PointSet(points.x, points.pos, points.ptr, points.sizes)


def stage(**settings: Any) -> StageGeometry:
    """Settings of a lattice stage, some replaced."""
    lattice = {"anchors": "lattice", "stride": 2, "voxel": None, "neighbors": 3}
    regions = {"partition": "cells", "regions": 2, "window": None}
    centers = {"proposals": "cells", "centers": 2, "center_neighbors": 3}
    return StageGeometry(**lattice | regions | centers | settings)


def cloud_stage(**settings: Any) -> StageGeometry:
    """Settings of a cloud stage, some replaced."""
    return stage(**{"anchors": "fps", "proposals": "fps", "regions": 1, "neighbors": 4, "centers": 3} | settings)


def scene_stage(**settings: Any) -> StageGeometry:
    """Settings of a stage of voxels and of runs along a curve, some replaced."""
    curve = {"partition": "curve", "window": 6, "proposals": "curve"}
    return cloud_stage(**{"anchors": "voxel", "voxel": 0.25} | curve | settings)


def members(regions: Any) -> Tensor:
    """Whether a point, in the order of its set, lies in a region (first) and in a proposal, shape (N, R + R * m)."""
    lists = regions.ragged()
    region, num = lists.segments.index, lists.segments.num
    table = torch.zeros(len(region), num * (1 + lists.num_centers), dtype=torch.bool)
    table[torch.arange(len(region)), region] = True
    table[lists.member_point, num + lists.member_center] = True
    return table if lists.order is None else lists.order.leave(table)
