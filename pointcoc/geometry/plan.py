"""Plans: what a network derives from positions alone, computed once per batch and shared by the blocks of a stage."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode as get_mode

from pointcoc.geometry.curve_regions import curve_regions
from pointcoc.geometry.neighbors import knn_segments, lattice_reduce
from pointcoc.geometry.regions import Regions, cell_regions, cloud_regions, grid_regions, lattice_regions
from pointcoc.geometry.sampling import canonical_order, farthest_points, voxel_points
from pointcoc.geometry.segments import Segments, segment_sum, spread
from pointcoc.geometry.sizes import ceil_div, surely
from pointcoc.pointset import Grid, Movable, PointSet, concat, counts_to_ptr, grid_sites


@dataclass(frozen=True, kw_only=True)
class StageGeometry:
    """The settings of one stage that concern positions; see `NetworkConfig` for their meaning.

    `steps` holds window and stride of each step of a reducer of lattices, if it has several; their strides multiply to
    `stride`.
    """

    anchors: str
    stride: int
    voxel: float | None = None
    neighbors: int
    steps: tuple[tuple[int, int], ...] = ()
    partition: str = "cells"
    regions: int
    window: float | None
    proposals: str
    centers: int
    center_neighbors: int


@dataclass(frozen=True, eq=False)
class Canvas(Movable):
    """One map for complete lattices of different sizes: each lies at its first corner, the rest is empty.

    Args:
        grid: sites per axis of the map of each set.
        row: site of the map for each point before, numbered over all sets, shape (N,).
        anchor_row: site of the reduced map for each anchor, shape (A,).
    """

    grid: tuple[int, ...]
    row: Tensor
    anchor_row: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class Reduction(Movable):
    """Positions of one step of a reducer: the points before, and the anchors that take their place.

    Args:
        anchors: the points after it, a PointSet without features.
        sets: its sets as segments.
        neighbors: rows of the points before that each anchor gathers, (A, K), -1 for absent; None on complete
            lattices, where a strided convolution does it.
        offsets: position of each neighbor relative to its anchor, (A, K, D), in units of the root mean square of
            the set; None on lattices.
        source_grid: the complete lattice of the points before, if all sets have the same.
        canvas: the map that holds the points before, if their sets are complete lattices of different sizes.
        source_sets: sets of the points before; None on lattices.
    """

    anchors: PointSet
    sets: Segments
    neighbors: Tensor | None = None
    offsets: Tensor | None = None
    source_grid: tuple[int, ...] | None = None
    canvas: Canvas | None = None
    source_sets: Segments | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class StagePlan(Reduction):
    """Positions of one stage: its anchors, how they come from the points before, and where they are clustered.

    Args:
        regions: where points are clustered.
        before: the earlier steps, if the reducer has several; the other fields are those of the last one.
    """

    regions: Regions
    before: tuple[Reduction, ...] = ()

    @property
    def steps(self) -> tuple[Reduction, ...]:
        """All steps of the reducer, first to last."""
        return (*self.before, self)


@dataclass(frozen=True, eq=False)
class NetworkPlan(Movable):
    """Positions of all stages.

    Args:
        order: rows of the input in canonical order, (N,); None if they are in it.
        stages: one plan a stage.
    """

    order: Tensor | None
    stages: tuple[StagePlan, ...]

    def check(self, points: PointSet) -> None:
        """Raise ValueError if the plan was made for points of other number or lattices; never waits for the device."""
        first = self.stages[0].steps[0]
        if self.order is not None:
            planned, given = f"{self.order.shape[0]} points", f"{points.num_points} points"
        elif first.source_grid is not None:
            planned = f"{first.sets.num} complete lattices {first.source_grid}"
            given = f"{points.num_sets} complete lattices {points.lattice}"
        else:
            assert first.canvas is not None
            planned = f"{first.canvas.row.shape[0]} sites of lattices of several sizes"
            given = f"{points.num_points} sites of lattices of {'no' if points.grid is None else 'several'} sizes"
        if (planned != given) or (self.order is not None and first.sets.num != points.num_sets):
            raise ValueError(f"plan was made for other points: for {planned} in {first.sets.num} sets, got {given}")


def make_plan(points: PointSet, stages: Sequence[StageGeometry]) -> NetworkPlan:
    """Compute all geometry of a network for a batch; reads no features.

    Args:
        points: the input.
        stages: settings of each stage.

    Raises:
        ValueError: if the points are no lattice but the network needs one, a set has no points, or a value is not
            valid (see `PointSet.validate`).
    """
    on_lattice = stages[0].anchors == "lattice"
    if on_lattice and points.grid is not None:
        return make_grid_plan(points.grid, points.num_sets, stages, points.x.device, points.pos.dtype)
    if torch.is_inference_mode_enabled() and not torch.compiler.is_compiling():
        with torch.inference_mode(False):  # a plan made during inference must serve training too
            return make_plan(_clone(points), stages)
    if not torch.compiler.is_compiling():
        _check_sets(points.with_x(points.x[:, :0]).validate(), on_lattice)  # features are checked where they are read
    order = canonical_order(points.pos, Segments.of(points))
    level = PointSet(points.x[:, :0], points.pos.index_select(0, order), points.ptr, points.sizes, size=points.size)
    plans: list[StagePlan] = []
    for stage in stages:
        plans.append(_plan_lattice(level, stage) if on_lattice else _plan_cloud(level, stage))
        level = plans[-1].anchors
    return NetworkPlan(order, tuple(plans))


def _clone(points: PointSet) -> PointSet:
    """The positions of points as tensors that were not made in inference mode."""
    return replace(
        points,
        x=points.x.new_empty(points.num_points, 0),
        pos=points.pos.clone(),
        ptr=points.ptr.clone(),
        sizes=None if points.sizes is None else points.sizes.clone(),
    )


def make_grid_plan(
    grid: Grid, num_sets: int, stages: Sequence[StageGeometry], device: torch.device, dtype: torch.dtype
) -> NetworkPlan:
    """Compute the geometry of complete lattices from their sizes alone; kept for the next batch with the same size.

    Args:
        grid: sites per axis, of all sets or of each (see `PointSet`).
        num_sets: number of sets, B.
        stages: settings of each stage.
        device: where to build.
        dtype: of the positions.
    """
    # Sizes of a mixed batch hardly come again, and what tracing tools make is no tensor to keep.
    is_kept = not isinstance(grid[0], tuple) and not torch.compiler.is_compiling() and get_mode() is None
    make = _cached_grid_plan if is_kept else _make_grid_plan
    return make(grid, num_sets, tuple(stages), device, dtype)


def _make_grid_plan(
    grid: Grid, num_sets: int, stages: tuple[StageGeometry, ...], device: torch.device, dtype: torch.dtype
) -> NetworkPlan:
    level, plans = _grid_level(grid, num_sets, device, dtype), []
    for stage in stages:
        steps = []
        for _, stride in _steps(stage):
            grid = _coarse(grid, stride)
            anchors = _grid_level(grid, num_sets, device, dtype)
            steps.append(
                Reduction(
                    anchors=anchors,
                    sets=Segments.of(anchors),
                    source_grid=level.lattice,
                    canvas=None if level.lattice is not None else _canvas(level, anchors, stride),
                )
            )
            level = anchors
        plans.append(_stage_plan(steps, _grid_regions(level, stage)))
    return NetworkPlan(None, tuple(plans))


# A plan made during inference must serve training too.
_cached_grid_plan = functools.lru_cache(maxsize=32)(torch.inference_mode(False)(_make_grid_plan))


def _coarse(grid: Grid, stride: int) -> Grid:
    """Lattice of the anchors."""
    return tuple(_coarse(n, stride) if isinstance(n, tuple) else ceil_div(n, stride) for n in grid)  # type: ignore


def _steps(stage: StageGeometry) -> tuple[tuple[int, int], ...]:
    """Window and stride of each step of the reducer of a lattice."""
    return stage.steps or ((stage.neighbors, stage.stride),)


def _stage_plan(steps: Sequence[Reduction], regions: Regions) -> StagePlan:
    *before, last = steps
    return StagePlan(**vars(last), regions=regions, before=tuple(before))


def _grid_regions(anchors: PointSet, stage: StageGeometry) -> Regions:
    """Regions of complete lattices: equal tiles where the sites divide into them, else cells."""
    lattice = anchors.lattice
    window = _whole(stage.window)
    if lattice is not None and all(surely(size % (window or stage.regions) == 0) for size in lattice):
        counts = [size // window if window else stage.regions for size in lattice]
        return grid_regions(lattice, anchors.num_sets, counts, stage.centers, anchors.pos.device)
    return cell_regions(anchors, stage.regions, window, stage.centers)


def _canvas(source: PointSet, anchors: PointSet, stride: int) -> Canvas:
    """Lay the lattices of a batch on maps of the size of the largest."""
    assert source.lattices is not None
    grid = tuple(max(sizes) for sizes in zip(*source.lattices, strict=True))
    coarse = tuple(ceil_div(size, stride) for size in grid)
    return Canvas(grid, _canvas_row(source, grid), _canvas_row(anchors, coarse))


def _canvas_row(points: PointSet, grid: tuple[int, ...]) -> Tensor:
    row = points.batch
    for axis, size in enumerate(grid):
        row = row * size + points.pos[:, axis].long()
    return row


def _plan_lattice(level: PointSet, stage: StageGeometry) -> StagePlan:
    steps = []
    for window, stride in _steps(stage):
        level, neighbors = lattice_reduce(level, window, stride)
        steps.append(Reduction(anchors=level, sets=Segments.of(level), neighbors=neighbors))
    return _stage_plan(steps, lattice_regions(level, stage.regions, _whole(stage.window), stage.centers))


def _plan_cloud(level: PointSet, stage: StageGeometry) -> StagePlan:
    sets = Segments.of(level)
    anchors = _farthest(level, sets, stage.stride) if stage.voxel is None else _voxels(level, sets, stage.voxel)
    anchor_sets = Segments.of(anchors)
    neighbors = knn_segments(level.pos, sets, anchors.pos, anchor_sets, stage.neighbors)
    return StagePlan(
        anchors=anchors,
        sets=anchor_sets,
        neighbors=neighbors,
        offsets=_offsets(level.pos, anchors.pos, neighbors, anchor_sets),
        regions=_cloud_regions(anchors, stage),
        source_sets=sets,
    )


def _farthest(level: PointSet, sets: Segments, stride: int) -> PointSet:
    num = (level.counts + stride - 1) // stride
    size = None if sets.size is None else ceil_div(sets.size, stride)
    chosen = farthest_points(level.pos, sets, num if size is None else size)
    return PointSet(level.x.index_select(0, chosen), level.pos.index_select(0, chosen), counts_to_ptr(num), size=size)


def _voxels(level: PointSet, sets: Segments, edge: float) -> PointSet:
    chosen = voxel_points(level.pos, sets, edge)
    ptr = counts_to_ptr(torch.bincount(sets.index[chosen], minlength=sets.num))
    return PointSet(level.x.index_select(0, chosen), level.pos.index_select(0, chosen), ptr)


def _cloud_regions(anchors: PointSet, stage: StageGeometry) -> Regions:
    proposals = (stage.proposals, stage.centers, stage.center_neighbors)
    if stage.partition == "cells":
        return cloud_regions(anchors, stage.regions, stage.window, *proposals)
    assert stage.window is not None
    return curve_regions(anchors, int(stage.window), *proposals)


def _offsets(pos: Tensor, anchor: Tensor, neighbors: Tensor, sets: Segments) -> Tensor:
    """Neighbors relative to their anchor, divided by the root mean square over the set; zero for absent ones."""
    present = neighbors >= 0
    offset = pos[neighbors.clamp(min=0)].sub_(anchor[:, None]).mul_(present[..., None])
    square = segment_sum(torch.stack([offset.square().sum((1, 2)), present.sum(1).to(pos.dtype)], dim=1), sets)
    scale = (square[:, 0] / square[:, 1].clamp(min=1)).sqrt()
    return offset / spread(torch.where(scale > 0, scale, 1), sets)[:, None, None]


def _grid_level(grid: Grid, num_sets: int, device: torch.device, dtype: torch.dtype) -> PointSet:
    """Complete lattices as points without features."""
    if isinstance(grid[0], tuple):
        return concat([_grid_level(one, 1, device, dtype) for one in grid])  # type: ignore[arg-type]
    sites = grid_sites(grid, device, dtype)  # type: ignore[arg-type]
    ptr = torch.arange(num_sets + 1, device=device) * sites.shape[0]
    sizes = torch.tensor([grid], device=device).repeat(num_sets, 1)
    sites = sites.repeat(num_sets, 1)
    return PointSet(sites[:, :0], sites, ptr, sizes, grid)


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
