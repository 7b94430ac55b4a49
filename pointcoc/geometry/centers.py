"""Centers: which points of a region each proposal of a center averages."""

from __future__ import annotations

import torch
from torch import Tensor

from pointcoc.geometry.neighbors import knn
from pointcoc.geometry.sampling import farthest_points
from pointcoc.geometry.segments import Segments, scatter_sum
from pointcoc.pointset import counts_to_ptr


def lattice_members(site: Tensor, size: Tensor, centers: int) -> Tensor:
    """Say which sub-cells of its region a site belongs to.

    Sub-cell i of m covers the sites floor(i * size / m) to ceil((i + 1) * size / m) per axis, as adaptive average
    pooling does; sub-cells may overlap.

    Args:
        site: site inside the region, shape (N, D), int64.
        size: sites per axis of that region, shape (N, D), int64.
        centers: sub-cells per axis, m.

    Returns:
        Shape (N, m ** D), bool.
    """
    cell = torch.arange(centers, device=site.device)
    size = size[..., None]
    first, end = cell * size // centers, ((cell + 1) * size + centers - 1) // centers
    per_axis = (site[..., None] >= first) & (site[..., None] < end)
    return _outer(per_axis)


def cloud_members(place: Tensor, centers: int) -> Tensor:
    """Say which sub-cell of its region a point lies in.

    Args:
        place: position inside the region in units of its edges, shape (N, D), 0 to 1.
        centers: sub-cells per axis, m.

    Returns:
        Shape (N, m ** D), bool, one True a row.
    """
    cell = (place * centers).floor().long().clamp(0, centers - 1)
    return _outer(cell[..., None] == torch.arange(centers, device=place.device))


def fps_members(
    pos: Tensor, segments: Segments, centers: int, neighbors: int, backend: str = "auto"
) -> tuple[Tensor, Tensor]:
    """Propose farthest points of each region, each with its nearest points of the same region.

    Args:
        pos: coordinates in region order, shape (N, D).
        segments: the regions.
        centers: proposals per region; a region with fewer points has fewer.
        neighbors: points a proposal averages.
        backend: see `knn`.

    Returns:
        Row and proposal (numbered region * centers + i) of each pair, shapes (E,).
    """
    num = segments.counts.clamp(max=centers)
    chosen = farthest_points(pos, segments, num, backend)
    ptr = counts_to_ptr(num)
    index = knn(pos, segments.ptr, pos[chosen], ptr, neighbors, backend)
    region = torch.repeat_interleave(torch.arange(segments.num, device=pos.device), num)
    number = region * centers + torch.arange(len(chosen), device=pos.device) - ptr[region]
    present = index >= 0
    point, proposal = index[present], number[:, None].expand_as(index)[present]
    kept = first_of_equal(_place(pos, segments)[point], proposal, segments.num, centers)[proposal]
    return point[kept], proposal[kept]


def first_of_equal(point: Tensor, proposal: Tensor, num_regions: int, centers: int) -> Tensor:
    """Say which proposals are the first of their region with their points.

    Equal proposals tie and the first wins; but their means, summed in another order, may differ in the last digit. So
    the later ones lose their points, and are never chosen.

    Args:
        point: number of the point of each pair, shape (E,).
        proposal: proposal of each pair, numbered region * centers + i, shape (E,).
        num_regions: number of regions, R.
        centers: proposals per region, m.

    Returns:
        Shape (R * m,), bool.
    """
    signature = scatter_sum(_mix(point), proposal, num_regions * centers).view(num_regions, centers)
    equal = signature[:, :, None] == signature[:, None, :]
    return ~equal.tril(-1).any(-1).flatten()


def _mix(number: Tensor) -> Tensor:
    """Spread integers over 64 bits (the finalizer of splitmix64), so that their sums tell sets apart."""
    z = (number + 1) * -7046029254386353131
    z = (z ^ (z >> 30)) * -4658895280553007687
    z = (z ^ (z >> 27)) * -7723592293110705685
    return z ^ (z >> 31)


def _place(pos: Tensor, segments: Segments) -> Tensor:
    """Number of the place of each point: coincident points of a region share one."""
    key = torch.cat([segments.index[:, None].to(pos.dtype), pos], dim=1)
    return key.unique(dim=0, return_inverse=True)[1]


def _outer(per_axis: Tensor) -> Tensor:
    """Join memberships per axis (N, D, m) to memberships in the product (N, m ** D), last axis fastest."""
    joint = per_axis[:, 0]
    for axis in range(1, per_axis.shape[1]):
        joint = (joint[:, :, None] & per_axis[:, axis, None, :]).flatten(1)
    return joint
