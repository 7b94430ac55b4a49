"""Sampling: the canonical order of a set, farthest points, and one point a voxel."""

from __future__ import annotations

import torch
from torch import Tensor

from pointcoc.checks import check_choice, check_range
from pointcoc.extensions import extension
from pointcoc.geometry.curves import cell_keys, cells_from_low
from pointcoc.geometry.neighbors import pad_segments
from pointcoc.geometry.segments import (
    Segments,
    scatter_sum,
    segment_extreme,
    segment_mean,
    similar_lengths,
    spread,
    take_segments,
)
from pointcoc.pointset import counts_to_ptr

STARTS = ("mean", "first")
TIE = 1e-9  # squared distances to a mean that are this close, relatively or in cells, are equal
MOST_CELLS = 2.0**40


def canonical_order(pos: Tensor, segments: Segments) -> Tensor:
    """Sort points by set, then lexicographically by coordinates (row order on a lattice).

    Computed once per input, it makes everything after it independent of the order of the points.

    Args:
        pos: coordinates, shape (N, D).
        segments: the sets.

    Returns:
        Rows in canonical order, shape (N,), int64.
    """
    order = torch.argsort(pos[:, -1], stable=True)
    for key in (*reversed(pos.unbind(1)[:-1]), segments.index):
        order = order.index_select(0, torch.argsort(key.index_select(0, order), stable=True))
    return order


def voxel_points(pos: Tensor, segments: Segments, edge: float) -> Tensor:
    """Choose one point per occupied cell of a cubic grid: the one nearest to the mean of the points of the cell.

    Cells are counted from the least coordinate of the set. The cost is that of sorting.

    Args:
        pos: coordinates in canonical order (see `canonical_order`), shape (N, D), segment after segment.
        segments: the sets.
        edge: edge of a cell in units of `pos`.

    Returns:
        Rows of `pos`, rising, shape (A,), int64. Of points that are equally near, the first is chosen.

    Raises:
        ValueError: if `edge` is not positive, or a set extends over more than 2 ** 40 cells.
    """
    if not 0 < edge < torch.inf:
        raise ValueError(f"edge must be positive, got {edge}")
    cell, place = cells_from_low(pos, segments, edge)
    if len(place) and float(place.max()) >= MOST_CELLS:
        raise ValueError(f"edge {edge} is too small for sets that extend over {float(place.max()):.3g} cells")
    key = cell_keys(cell, segments)
    order = torch.argsort(key, stable=True)  # rows of a cell stay in canonical order, so sums do not see other cells
    cells = Segments.from_ptr(counts_to_ptr(torch.unique_consecutive(key[order], return_counts=True)[1]))
    inside = (place - cell)[order]
    mean = scatter_sum(inside, cells.index, cells.num) / cells.counts[:, None]
    distance = (inside - mean[cells.index]).square().sum(1, keepdim=True)
    nearest = distance <= segment_extreme(distance, cells, "amin")[cells.index] + TIE
    row = torch.where(nearest, order[:, None], len(order))
    return segment_extreme(row, cells, "amin").squeeze(1).sort()[0]


def farthest_points(pos: Tensor, segments: Segments, num: Tensor | int, start: str = "mean") -> Tensor:
    """Choose points one after the other, each the farthest from those chosen before (FPS).

    PointNet++ (NeurIPS 2017), section 3.2. Torch-cluster does it on a GPU, where it is installed and not disabled.

    Args:
        pos: coordinates, shape (N, D), segment after segment.
        segments: the sets, or the regions of sets.
        num: how many points to choose per segment, shape (S,), int64, or one number for all.
        start: "mean" begins at the point farthest from the mean of its segment, so that the choice depends on positions
            alone; "first" at the first row of the segment.

    Returns:
        Rows of `pos`, shape (num.sum(),), segment after segment in the order of choice.

    Raises:
        ValueError: if a `num` is not in [1, points of its segment] or `start` is unknown.
    """
    check_choice("start", start, STARTS)
    _check_num(num, segments)
    first = _start_points(pos, segments) if start == "mean" else segments.ptr[:-1]
    # On a CPU plain torch handles all segments at once, 1.2 to 6 times as fast (128 to 512 of 1,024 points).
    if pos.is_cuda and extension("torch_cluster", pos.device) is not None:
        return _fps_torch_cluster(pos, segments, num, first)
    return _fps_torch(pos, segments, num, first)


def _check_num(num: Tensor | int, segments: Segments) -> None:
    if isinstance(num, int) and segments.size is not None:
        check_range("num", num, 1, segments.size)
        return
    counts = segments.counts
    num = torch.full_like(counts, num) if isinstance(num, int) else num
    wrong = (num < 1) | (num > counts)
    if bool(wrong.any()):
        first = int(wrong.nonzero()[0])
        raise ValueError(f"num must be in [1, {int(counts[first])}], got {int(num[first])} for set {first}")


def _start_points(pos: Tensor, segments: Segments) -> Tensor:
    """Row of the point farthest from the mean of each segment, the first on ties.

    Two points always tie, and so do the corners of a box: distances that differ by rounding alone count as equal.
    """
    exact = pos.double()
    distance = (exact - spread(segment_mean(exact, segments), segments)).square().sum(1, keepdim=True)
    largest = spread(segment_extreme(distance, segments, "amax"), segments)
    rows = torch.arange(pos.shape[0], device=pos.device)[:, None]
    farthest = distance >= (1 - TIE) * largest
    return segment_extreme(torch.where(farthest, rows, pos.shape[0]), segments, "amin").squeeze(1)


def _fps_torch_cluster(pos: Tensor, segments: Segments, num: Tensor | int, start: Tensor) -> Tensor:
    module = extension("torch_cluster")
    assert module is not None
    is_start = torch.zeros(len(pos), dtype=torch.int64, device=pos.device).index_fill(0, start, 1)
    start_first = torch.argsort(2 * segments.index - is_start, stable=True)
    exact = num.double() if isinstance(num, Tensor) else float(num)
    ratio = (exact - 0.5) / segments.counts  # torch-cluster takes the ceiling of ratio * count
    return start_first[module.fps(pos[start_first].double(), ptr=segments.ptr, ratio=ratio, random_start=False)]


def _fps_torch(pos: Tensor, segments: Segments, num: Tensor | int, start: Tensor) -> Tensor:
    groups = similar_lengths(segments)
    if len(groups) == 1:
        return _fps_padded(pos, segments, num, start)
    num = num if isinstance(num, Tensor) else torch.full_like(segments.counts, num)
    places, chosen = Segments.from_ptr(counts_to_ptr(num)), start.new_empty(int(num.sum()))
    for group in groups:
        part, rows = take_segments(segments, group)
        first = part.ptr[:-1] + (start - segments.ptr[:-1])[group]
        found = rows[_fps_padded(pos[rows], part, num[group], first)]
        chosen.index_copy_(0, take_segments(places, group)[1], found)
    return chosen


def _fps_padded(pos: Tensor, segments: Segments, num: Tensor | int, start: Tensor) -> Tensor:
    padded, present = pad_segments(pos.detach().double(), segments)
    axes = padded.movedim(-1, 0).contiguous().unbind(0)
    distance = torch.where(present, torch.inf, -1.0).to(padded.dtype)  # no step lifts an absent point above -1
    # All large tensors are made before the loop. Made anew at each step, with the small `current` between them, they
    # would break the heap into pieces that no further step can use.
    step, difference = torch.empty_like(distance), torch.empty_like(distance)
    current = start - segments.ptr[:-1]
    chosen = []
    for _ in range(num if isinstance(num, int) else int(num.max())):
        chosen.append(current)
        step.zero_()
        for axis in axes:
            step += torch.sub(axis, axis.gather(1, current[:, None]), out=difference).square_()
        torch.minimum(distance, step, out=distance)
        current = distance.argmax(1)
    table = torch.stack(chosen, dim=1) + segments.ptr[:-1, None]
    if isinstance(num, int):
        return table.flatten()
    return table[torch.arange(table.shape[1], device=pos.device) < num[:, None]]
