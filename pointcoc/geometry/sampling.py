"""Sampling: the canonical order of a set and farthest points."""

from __future__ import annotations

import torch
from torch import Tensor

from pointcoc.extensions import extension
from pointcoc.geometry.neighbors import choose_backend, pad_segments
from pointcoc.geometry.segments import Segments, segment_extreme, segment_mean, spread

TIE = 1e-9  # squared distances to a mean that are this close, relatively, are equal


def canonical_order(pos: Tensor, segments: Segments) -> Tensor:
    """Sort points by set, then lexicographically by coordinates (row order on a lattice).

    Computed once per input, it makes everything after it independent of the order of the points.

    Args:
        pos: coordinates, shape (N, D).
        segments: the sets.

    Returns:
        Rows in canonical order, shape (N,), int64.
    """
    padded, present = pad_segments(pos, segments)
    order = None
    for axis in reversed(range(pos.shape[1])):
        key = padded[..., axis].masked_fill(~present, torch.inf)  # padding stays behind
        step = torch.argsort(key if order is None else key.gather(1, order), dim=1, stable=True)
        order = step if order is None else order.gather(1, step)
    assert order is not None
    return (order + segments.ptr[:-1, None])[present]


def farthest_points(pos: Tensor, segments: Segments, num: Tensor, backend: str = "auto") -> Tensor:
    """Choose points one after the other, each the farthest from those chosen before (FPS).

    PointNet++ (NeurIPS 2017), section 3.2. The first point is the one farthest from the mean of its segment, so
    the choice depends on positions alone.

    Args:
        pos: coordinates, shape (N, D), segment after segment.
        segments: the sets, or the regions of sets.
        num: how many points to choose per segment, shape (S,), int64.
        backend: "torch_cluster", "torch", or "auto": torch-cluster on a GPU where it is installed, else torch, which
            handles all segments at once and was 1.2 to 6 times as fast on a CPU (128 to 512 of 1,024 points).

    Returns:
        Rows of `pos`, shape (num.sum(),), segment after segment in the order of choice.

    Raises:
        ValueError: if a `num` is not in [1, points of its segment], or torch_cluster cannot be used.
    """
    _check_num(num, segments.counts)
    start = _start_points(pos, segments)
    if backend == "auto" and not pos.is_cuda:
        backend = "torch"
    if choose_backend(backend) == "torch_cluster":
        return _fps_torch_cluster(pos, segments, num, start)
    return _fps_torch(pos, segments, num, start)


def _check_num(num: Tensor, counts: Tensor) -> None:
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
    rows = torch.arange(len(pos), device=pos.device)[:, None]
    farthest = distance >= (1 - TIE) * largest
    return segment_extreme(torch.where(farthest, rows, len(pos)), segments, "amin").squeeze(1)


def _fps_torch_cluster(pos: Tensor, segments: Segments, num: Tensor, start: Tensor) -> Tensor:
    module = extension("torch_cluster")
    assert module is not None
    is_start = torch.zeros(len(pos), dtype=torch.int64, device=pos.device).index_fill(0, start, 1)
    start_first = torch.argsort(2 * segments.index - is_start, stable=True)
    ratio = (num.double() - 0.5) / segments.counts  # torch-cluster takes the ceiling of ratio * count
    chosen = module.fps(pos[start_first].double(), ptr=segments.ptr, ratio=ratio, random_start=False)
    return start_first[chosen]


def _fps_torch(pos: Tensor, segments: Segments, num: Tensor, start: Tensor) -> Tensor:
    padded, present = pad_segments(pos.double(), segments)
    axes = padded.unbind(-1)
    rows = torch.arange(segments.num, device=pos.device)
    distance = torch.where(present, torch.inf, -1.0).to(padded.dtype)
    current = start - segments.ptr[:-1]
    chosen = []
    for _ in range(int(num.max())):
        chosen.append(current)
        step = torch.zeros_like(distance)
        for axis in axes:
            step += (axis - axis[rows, current][:, None]).square()
        distance = torch.minimum(distance, torch.where(present, step, -1.0))
        current = distance.argmax(1)
    table = torch.stack(chosen, dim=1) + segments.ptr[:-1, None]
    return table[torch.arange(table.shape[1], device=pos.device) < num[:, None]]
