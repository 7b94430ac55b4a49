"""Regions along a Hilbert curve: runs of about equally many points, for sets too large or too uneven for cells."""

from __future__ import annotations

import torch
from torch import Tensor

from pointcoc.geometry.centers import fps_members
from pointcoc.geometry.curves import hilbert_order
from pointcoc.geometry.regions import IndexOrder, PaddedRegions, RaggedRegions, Regions, UniformRegions, inverse_of
from pointcoc.geometry.sampling import canonical_order
from pointcoc.geometry.segments import Segments
from pointcoc.pointset import PointSet, counts_to_ptr


def curve_regions(points: PointSet, window: int, proposals: str, centers: int, center_neighbors: int) -> Regions:
    """Split sets into equal runs along a Hilbert curve.

    A set of n points has r = ceil(n / window) regions; region i holds the points floor(i n / r) to
    floor((i + 1) n / r) of the curve (see `hilbert_order`). Points of one cell of the curve are in canonical order.

    Args:
        points: sets of points anywhere; features are not read.
        window: most points of a region.
        proposals: "curve" (equal parts of the run) or "fps" (farthest points with their nearest).
        centers: proposals per region.
        center_neighbors: points a proposal of "fps" averages.
    """
    sets = Segments.of(points)
    order = canonical_order(points.pos, sets)
    order = order[hilbert_order(points.pos[order], sets)]
    runs = equal_runs(sets, (sets.counts + window - 1) // window)
    pos = points.pos.index_select(0, order)
    is_fps = proposals == "fps"
    pairs = fps_members(pos, runs, centers, center_neighbors) if is_fps else run_members(pos, runs, centers)
    # The table of members is made beforehand, since runs differ by a point at most.
    padded, row = RaggedRegions(runs, *pairs, centers).uniform()
    in_order = IndexOrder(order, inverse_of(order))
    if runs.size is not None:
        return UniformRegions(runs, padded.members, in_order)
    return PaddedRegions(runs, padded, row, in_order)


def equal_runs(segments: Segments, num: Tensor) -> Segments:
    """Split each segment of n rows into `num` = r runs; run i holds the rows floor(i n / r) to floor((i + 1) n / r).

    Args:
        segments: the segments.
        num: runs per segment, shape (S,), int64; no more than it has rows.
    """
    first = counts_to_ptr(num)
    run = first[segments.index] + _part(segments, num[segments.index])
    return Segments.from_ptr(counts_to_ptr(torch.bincount(run, minlength=int(first[-1]))))


def run_members(pos: Tensor, runs: Segments, centers: int) -> tuple[Tensor, Tensor]:
    """Propose the equal parts of each run: proposal i of m holds its points floor(i n / m) to floor((i + 1) n / m).

    Of parts that lie at one and the same place, as coincident points make them, only the first proposes: their means
    tie but for rounding.

    Args:
        pos: coordinates along the curve, shape (N, D).
        runs: the regions.
        centers: proposals per region, m; where m > n some have no points.

    Returns:
        Row and proposal (numbered region * m + i) of each pair, shapes (E,).
    """
    proposal = runs.index * centers + _part(runs, torch.full_like(runs.index, centers))
    part, counts = torch.unique_consecutive(proposal, return_counts=True)
    end = counts.cumsum(0)
    first, last = pos[end - counts], pos[end - 1]
    is_one_place = (first == last).all(1)
    is_repeated = torch.zeros_like(is_one_place)
    same_region = part[1:] // centers == part[:-1] // centers
    is_repeated[1:] = is_one_place[1:] & is_one_place[:-1] & (first[1:] == first[:-1]).all(1) & same_region
    kept = (~is_repeated.repeat_interleave(counts)).nonzero().squeeze(1)
    return kept, proposal[kept]


def _part(segments: Segments, num: Tensor) -> Tensor:
    """Part of its segment each row is in, of `num` (N,) equal parts: the i with i n / num < row + 1, the largest."""
    return ((segments.column + 1) * num - 1) // segments.counts[segments.index]
