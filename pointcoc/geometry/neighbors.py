"""Neighborhoods: for each anchor the points it gathers, on lattices by windows and elsewhere by distance."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from types import ModuleType

import torch
from torch import Tensor

from pointcoc.checks import check_range
from pointcoc.extensions import extension
from pointcoc.geometry.grid_search import knn_grid, smallest
from pointcoc.geometry.segments import Segments, similar_lengths, take_segments
from pointcoc.geometry.sizes import ravel, unravel
from pointcoc.pointset import PointSet, counts_to_ptr

LARGE = 4096  # points of a set; from more on, plain torch sorts points into a grid instead of comparing all


def gather_neighbors(values: Tensor, index: Tensor) -> Tensor:
    """Collect the values of neighbors, zeros where a neighbor is absent.

    Args:
        values: shape (N, C).
        index: rows of `values`, -1 for absent, shape (A, K).

    Returns:
        Shape (A, K, C).
    """
    padded = torch.cat([values.new_zeros(1, values.shape[1]), values])
    return padded.index_select(0, index.flatten() + 1).unflatten(0, index.shape)


def lattice_reduce(points: PointSet, window: int, stride: int) -> tuple[PointSet, Tensor]:
    """Find the anchors of a strided window on lattices with or without holes, and the points in each window.

    Anchor i of an axis exists if a present site has floor(site / stride) = i; its window begins at site
    ``stride * i - (window - stride + 1) // 2``.

    Args:
        points: lattice sets in canonical order (see `canonical_order`); features are not read.
        window: sites per axis a window covers.
        stride: sites per axis between anchors.

    Returns:
        The anchors, a lattice of ceil(size / stride) sites per axis without features, and the neighbors in row order,
        rows of `points` or -1, shape (A, window ** D).
    """
    assert points.sizes is not None
    sites, batch = points.pos.long(), points.batch
    coarse = _Lattices((points.sizes + stride - 1) // stride)
    anchor, anchor_batch = coarse.site(coarse.key(sites // stride, batch).unique())
    fine = _Lattices(points.sizes)
    offsets = torch.tensor(list(itertools.product(range(window), repeat=sites.shape[1])), device=sites.device)
    wanted = (anchor * stride - (window - stride + 1) // 2)[:, None] + offsets
    ptr = counts_to_ptr(torch.bincount(anchor_batch, minlength=points.num_sets))
    anchors = PointSet(points.x.new_empty(len(anchor), 0), anchor.to(points.pos.dtype), ptr, coarse.sizes)
    return anchors, _find(fine, wanted, anchor_batch, fine.key(sites, batch))


def knn(pos: Tensor, ptr: Tensor, query: Tensor, query_ptr: Tensor, k: int) -> Tensor:
    """Find the k nearest points of the same set for each query, nearest first.

    Distances are sums of squared differences, so they stay exact far from the origin. Plain torch compares all points
    of small sets, and sorts sets of more than 4,096 points into a grid, with the same result in nearly linear time.
    Torch-cluster does it where it is installed and not disabled, but not for such large sets on a GPU, where it
    compares all points.

    Args:
        pos: coordinates of the points, shape (N, D).
        ptr: bounds of the sets among the points, shape (B + 1,).
        query: coordinates, shape (A, D).
        query_ptr: bounds of the sets among the queries, shape (B + 1,).
        k: number of neighbors, at least 1.

    Returns:
        Rows of `pos`, shape (A, k), int64; -1 where a set has fewer than k points.

    Raises:
        ValueError: if `k` is below 1.
    """
    return knn_segments(pos, Segments.from_ptr(ptr), query, Segments.from_ptr(query_ptr), k)


def knn_segments(pos: Tensor, sets: Segments, query: Tensor, query_sets: Segments, k: int) -> Tensor:
    """Find the k nearest points; as `knn`, with the sets as segments."""
    check_range("k", k, 1)
    is_large = not torch.compiler.is_compiling() and len(pos) > LARGE and _longest(sets) > LARGE
    module = extension("torch_cluster", pos.device)
    if module is not None and not (is_large and pos.is_cuda):
        return _knn_torch_cluster(module, pos, sets, query, query_sets, k)
    return (knn_grid if is_large else _knn_torch)(pos, sets, query, query_sets, k)


def _longest(segments: Segments) -> int:
    return int(segments.counts.max()) if segments.size is None else segments.size


def pad_segments(values: Tensor, segments: Segments) -> tuple[Tensor, Tensor]:
    """Lay segments side by side: (N, ...) to (S, longest, ...) with zeros, and which entries are present."""
    if segments.size is not None:
        padded = values.unflatten(0, (segments.num, segments.size))
        return padded, torch.ones(segments.num, segments.size, dtype=torch.bool, device=values.device)
    longest = _longest(segments)
    present = torch.arange(longest, device=values.device) < segments.counts[:, None]
    padded = values.new_zeros(segments.num * longest, *values.shape[1:])
    padded = padded.index_copy(0, segments.index * longest + segments.column, values)
    return padded.unflatten(0, (segments.num, longest)), present


class _Lattices:
    """Numbers the sites of lattices of different sizes one after the other, each in row order."""

    def __init__(self, sizes: Tensor):
        self.sizes = sizes
        self.start = counts_to_ptr(sizes.prod(1))

    def key(self, sites: Tensor, batch: Tensor) -> Tensor:
        """Number of each site (..., D) of the set `batch` (...)."""
        return ravel(sites, self.sizes[batch]) + self.start[batch]

    def site(self, key: Tensor) -> tuple[Tensor, Tensor]:
        """Site (N, D) and set (N,) of each number (N,)."""
        batch = torch.searchsorted(self.start, key, right=True) - 1
        return unravel(key - self.start[batch], self.sizes[batch]), batch


def _find(lattices: _Lattices, wanted: Tensor, batch: Tensor, keys: Tensor) -> Tensor:
    """Rows among sorted `keys` of the `wanted` sites (A, K, D), -1 where none is."""
    batch = batch[:, None].expand(wanted.shape[:2])
    inside = ((wanted >= 0) & (wanted < lattices.sizes[batch])).all(-1)
    key = lattices.key(wanted, batch)
    # The points are in canonical order, by set and then by site, and so their keys rise without being sorted.
    row = torch.searchsorted(keys, key).clamp(max=len(keys) - 1)
    return torch.where(inside & (keys[row] == key), row, -1)


def _knn_torch_cluster(
    module: ModuleType, pos: Tensor, sets: Segments, query: Tensor, query_sets: Segments, k: int
) -> Tensor:
    edges = module.knn(pos, query, k, sets.index, query_sets.index, batch_size=sets.num)
    found = counts_to_ptr(torch.bincount(edges[0], minlength=len(query)))
    rank = torch.arange(edges.shape[1], device=pos.device) - found[edges[0]]
    index = torch.full((len(query) * k,), -1, device=pos.device)
    return index.index_copy(0, edges[0] * k + rank, edges[1]).view(-1, k)


def _knn_torch(pos: Tensor, sets: Segments, query: Tensor, query_sets: Segments, k: int) -> Tensor:
    groups = similar_lengths(sets)
    if len(groups) == 1:
        return _knn_padded(pos, sets, query, query_sets, k)
    index = torch.full((len(query), k), -1, device=pos.device)
    for group in groups:
        (part, rows), (asking, queries) = (take_segments(each, group) for each in (sets, query_sets))
        found = _knn_padded(pos[rows], part, query[queries], asking, k)
        index.index_copy_(0, queries, torch.where(found < 0, -1, rows[found]) if len(rows) else found)
    return index


def _knn_padded(pos: Tensor, sets: Segments, query: Tensor, query_sets: Segments, k: int) -> Tensor:
    padded, present = pad_segments(pos, sets)
    nearest = min(k, padded.shape[1])
    parts = []
    for part, batch in _chunks(query, query_sets.index, padded.shape[1]):
        distance = torch.zeros(part.shape[0], padded.shape[1], dtype=pos.dtype, device=pos.device)
        for axis in range(pos.shape[1]):
            distance += (padded[..., axis].index_select(0, batch) - part[:, axis, None]).square()
        if sets.size is None:
            distance.masked_fill_(~present[batch], torch.inf)
        value, column = smallest(distance, nearest)
        parts.append(torch.where(value.isinf(), -1, column + sets.ptr.index_select(0, batch)[:, None]))
    index = torch.cat(parts) if parts else torch.empty(0, nearest, dtype=torch.int64, device=pos.device)
    return torch.nn.functional.pad(index, (0, k - nearest), value=-1)


def _chunks(query: Tensor, batch: Tensor, num_points: int) -> Iterable[tuple[Tensor, Tensor]]:
    """Split queries so that their distances to `num_points` points take 16 or 32 MiB; a graph has one part."""
    if torch.compiler.is_compiling():
        return [(query, batch)]
    size = max(1, 4_194_304 // max(1, num_points))
    return zip(query.split(size), batch.split(size), strict=True)
