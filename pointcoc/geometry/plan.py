"""Plans: what a network derives from positions alone, computed once per batch and shared by the blocks of a stage."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pointcoc.geometry.neighbors import knn, lattice_reduce
from pointcoc.geometry.regions import Regions, cloud_regions, grid_regions, lattice_regions
from pointcoc.geometry.sampling import canonical_order, farthest_points
from pointcoc.geometry.segments import Segments, segment_sum, spread
from pointcoc.pointset import PointSet, counts_to_ptr, grid_sites


@dataclass(frozen=True, kw_only=True)
class StageGeometry:
    """The settings of one stage that concern positions; see `NetworkConfig` for their meaning."""

    anchors: str
    stride: int
    neighbors: int
    regions: int
    window: float | None
    proposals: str
    centers: int
    center_neighbors: int


@dataclass(frozen=True, eq=False)
class StagePlan:
    """Positions of one stage.

    Args:
        anchors: the points of the stage, a PointSet without features.
        sets: its sets as segments.
        neighbors: rows of the points before that each anchor gathers, (A, K), -1 for absent; None on a complete
            lattice, where a strided convolution does it.
        offsets: position of each neighbor relative to its anchor, (A, K, D), in units of the root mean square of
            the set; None on lattices.
        regions: where points are clustered.
        source_grid: the complete lattice of the points before, if `neighbors` is None.
        source_sets: sets of the points before; None on lattices.
    """

    anchors: PointSet
    sets: Segments
    neighbors: Tensor | None
    offsets: Tensor | None
    regions: Regions
    source_grid: tuple[int, ...] | None = None
    source_sets: Segments | None = None

    def to(self, device: torch.device | str) -> StagePlan:
        """Move to a device."""
        return StagePlan(
            self.anchors.to(device),
            self.sets.to(device),
            None if self.neighbors is None else self.neighbors.to(device),
            None if self.offsets is None else self.offsets.to(device),
            self.regions.to(device),
            self.source_grid,
            None if self.source_sets is None else self.source_sets.to(device),
        )


@dataclass(frozen=True, eq=False)
class NetworkPlan:
    """Positions of all stages.

    Args:
        order: rows of the input in canonical order, (N,); None if they are in it.
        stages: one plan a stage.
    """

    order: Tensor | None
    stages: tuple[StagePlan, ...]

    def to(self, device: torch.device | str) -> NetworkPlan:
        """Move to a device, for plans made in the workers of a data loader."""
        order = None if self.order is None else self.order.to(device)
        return NetworkPlan(order, tuple(stage.to(device) for stage in self.stages))


def make_plan(points: PointSet, stages: Sequence[StageGeometry], backend: str = "auto") -> NetworkPlan:
    """Compute all geometry of a network for a batch; reads no features.

    Args:
        points: the input.
        stages: settings of each stage.
        backend: of farthest points and nearest neighbors: "auto", "torch" or "torch_cluster".

    Raises:
        ValueError: if the points are no lattice but the network needs one, a set has no points, or a value is not
            valid (see `PointSet.validate`).
    """
    on_lattice = stages[0].anchors == "lattice"
    if on_lattice and points.grid is not None:
        dtype = points.pos.dtype
        if torch.compiler.is_compiling():
            return _make_grid_plan(points.grid, points.num_sets, tuple(stages), points.x.device, dtype)
        return _cached_grid_plan(points.grid, points.num_sets, tuple(stages), points.x.device, dtype)
    _check_sets(points.validate(), on_lattice)
    order = canonical_order(points.pos, Segments.of(points))
    level = PointSet(points.x[:, :0], points.pos[order], points.ptr, points.sizes)
    plans = []
    for stage in stages:
        plan = _plan_lattice(level, stage) if on_lattice else _plan_cloud(level, stage, backend)
        plans.append(plan)
        level = plan.anchors
    return NetworkPlan(order, tuple(plans))


def _make_grid_plan(
    grid: tuple[int, ...], num_sets: int, stages: tuple[StageGeometry, ...], device: torch.device, dtype: torch.dtype
) -> NetworkPlan:
    plans = []
    for stage in stages:
        source = grid
        grid = tuple((size + stage.stride - 1) // stage.stride for size in grid)
        plans.append(_plan_grid(source, _grid_anchors(grid, num_sets, device, dtype), stage))
    return NetworkPlan(None, tuple(plans))


@functools.lru_cache(maxsize=32)
def _cached_grid_plan(
    grid: tuple[int, ...], num_sets: int, stages: tuple[StageGeometry, ...], device: torch.device, dtype: torch.dtype
) -> NetworkPlan:
    with torch.inference_mode(False):  # a plan made during inference must serve training too
        return _make_grid_plan(grid, num_sets, stages, device, dtype)


def _plan_grid(source: tuple[int, ...], anchors: PointSet, stage: StageGeometry) -> StagePlan:
    assert anchors.grid is not None
    counts = _equal_tiles(anchors.grid, stage)
    if counts is None:
        regions = lattice_regions(anchors, stage.regions, _whole(stage.window), stage.centers)
    else:
        regions = grid_regions(anchors.grid, anchors.num_sets, counts, stage.centers, anchors.pos.device)
    return StagePlan(anchors, Segments.of(anchors), None, None, regions, source_grid=source)


def _plan_lattice(level: PointSet, stage: StageGeometry) -> StagePlan:
    anchors, neighbors = lattice_reduce(level, stage.neighbors, stage.stride)
    regions = lattice_regions(anchors, stage.regions, _whole(stage.window), stage.centers)
    return StagePlan(anchors, Segments.of(anchors), neighbors, None, regions)


def _plan_cloud(level: PointSet, stage: StageGeometry, backend: str) -> StagePlan:
    sets = Segments.of(level)
    num = (level.counts + stage.stride - 1) // stage.stride
    chosen = farthest_points(level.pos, sets, num, backend)
    anchors = PointSet(level.x[chosen], level.pos[chosen], counts_to_ptr(num))
    neighbors = knn(level.pos, level.ptr, anchors.pos, anchors.ptr, stage.neighbors, backend)
    anchor_sets = Segments.of(anchors)
    offsets = _offsets(level.pos, anchors.pos, neighbors, anchor_sets)
    regions = cloud_regions(
        anchors, stage.regions, stage.window, stage.proposals, stage.centers, stage.center_neighbors, backend
    )
    return StagePlan(anchors, anchor_sets, neighbors, offsets, regions, source_sets=sets)


def _offsets(pos: Tensor, anchor: Tensor, neighbors: Tensor, sets: Segments) -> Tensor:
    """Neighbors relative to their anchor, divided by the root mean square over the set; zero for absent ones."""
    present = neighbors >= 0
    offset = (pos[neighbors.clamp(min=0)] - anchor[:, None]) * present[..., None]
    square = segment_sum(torch.stack([offset.square().sum((1, 2)), present.sum(1).to(pos.dtype)], dim=1), sets)
    scale = (square[:, 0] / square[:, 1].clamp(min=1)).sqrt()
    return offset / spread(torch.where(scale > 0, scale, 1), sets)[:, None, None]


def _grid_anchors(grid: tuple[int, ...], num_sets: int, device: torch.device, dtype: torch.dtype) -> PointSet:
    sites = grid_sites(grid, device, dtype).repeat(num_sets, 1)
    size = sites.shape[0] // num_sets
    ptr = torch.arange(num_sets + 1, device=device) * size
    sizes = torch.tensor([grid], device=device).repeat(num_sets, 1)
    return PointSet(sites.new_empty(sites.shape[0], 0), sites, ptr, sizes, grid)


def _equal_tiles(grid: tuple[int, ...], stage: StageGeometry) -> tuple[int, ...] | None:
    """Tiles per axis if the regions are equal tiles of the lattice, else None."""
    window = _whole(stage.window)
    if window is not None:
        return tuple(size // window for size in grid) if all(size % window == 0 for size in grid) else None
    return (stage.regions,) * len(grid) if all(size % stage.regions == 0 for size in grid) else None


def _whole(window: float | None) -> int | None:
    return None if window is None else int(window)


def _check_sets(points: PointSet, on_lattice: bool) -> None:
    if on_lattice and points.sizes is None:
        raise ValueError(
            "this network reduces lattices but the points have no `sizes`; use image_to_points, or a "
            "preset for clouds such as coc_points"
        )
    empty = (points.counts == 0).nonzero()
    if len(empty):
        raise ValueError(f"set {int(empty[0])} of the batch has no points; every set needs at least one")
