"""Centers: which points of a region each proposal of a center averages."""

from __future__ import annotations

import torch
from torch import Tensor

from pointcoc.geometry.neighbors import knn_segments
from pointcoc.geometry.sampling import farthest_points
from pointcoc.geometry.segments import Segments, scatter_sum, spread
from pointcoc.pointset import counts_to_ptr


def lattice_members(site: Tensor, size: Tensor, centers: int) -> Tensor:
    """Say which sub-cells of its region a site belongs to.

    Sub-cell i of m covers the sites floor(i * size / m) to ceil((i + 1) * size / m) per axis, as adaptive average
    pooling does; sub-cells may overlap.

    Args:
        site: site inside the region, shape (..., D), int64.
        size: sites per axis of that region, broadcasts to (..., D), int64.
        centers: sub-cells per axis, m.

    Returns:
        Shape (..., m ** D), bool.
    """
    first, end = _sub_cells(size, centers)
    return _outer((site[..., None] >= first) & (site[..., None] < end))


def distinct_cells(size: Tensor, centers: int) -> Tensor:
    """Say which sub-cells of regions are the first with their sites (see `first_of_equal`).

    Args:
        size: sites per axis, shape (..., D), int64.
        centers: sub-cells per axis, m.

    Returns:
        Shape (..., m ** D), bool.
    """
    bounds = torch.stack(_sub_cells(size, centers))
    changed = (bounds.diff(dim=-1) != 0).any(0)
    return _outer(torch.nn.functional.pad(changed, (1, 0), value=True))


def _sub_cells(size: Tensor, centers: int) -> tuple[Tensor, Tensor]:
    """First site and end of each sub-cell of axes of `size` (...) sites, shapes (..., m)."""
    cell, size = torch.arange(centers, device=size.device), size[..., None]
    return cell * size // centers, ((cell + 1) * size + centers - 1) // centers


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


def fps_members(pos: Tensor, segments: Segments, centers: int, neighbors: int) -> tuple[Tensor, Tensor]:
    """Propose farthest points of each region, each with its nearest points of the same region.

    Args:
        pos: coordinates in region order, shape (N, D).
        segments: the regions.
        centers: proposals per region; a region with fewer points has fewer.
        neighbors: points a proposal averages.

    Returns:
        Row and proposal (numbered region * centers + i) of each pair, shapes (E,).
    """
    num = segments.counts.clamp(max=centers)
    chosen = farthest_points(pos, segments, num)
    proposals = Segments.from_ptr(counts_to_ptr(num))
    index = knn_segments(pos, segments, pos[chosen], proposals, neighbors)
    number = proposals.index * centers + proposals.column
    present = index >= 0
    point, proposal = index[present], number[:, None].expand_as(index)[present]
    kept = first_of_equal(_place(pos, segments)[point], proposal, segments.num, centers)[proposal]
    return point[kept], proposal[kept]


def fps_member_table(pos: Tensor, segments: Segments, centers: int, neighbors: int) -> Tensor:
    """Propose farthest points as `fps_members`, for regions with equally many points, without waiting for the device.

    Args:
        pos: coordinates in region order, shape (N, D).
        segments: the regions, all of `segments.size` = n rows.
        centers: proposals per region, m; those beyond n are empty.
        neighbors: points a proposal averages.

    Returns:
        Whether a point belongs to a proposal, shape (R, m, n), bool.
    """
    size = segments.size
    assert size is not None
    num = min(centers, size)
    chosen = farthest_points(pos, segments, num)
    proposals = Segments.equal(segments.num, num, pos.device)
    index = knn_segments(pos, segments, pos.index_select(0, chosen), proposals, neighbors)
    column = torch.where(index < 0, size, index - spread(segments.ptr[:-1], proposals)[:, None])
    table = torch.zeros(column.shape[0], size + 1, dtype=torch.bool, device=pos.device)
    table = table.scatter(1, column, torch.ones_like(column, dtype=torch.bool))[:, :size].unflatten(0, (-1, num))
    return torch.nn.functional.pad(table & distinct_rows(table, pos)[..., None], (0, 0, 0, centers - num))


def distinct_rows(table: Tensor, pos: Tensor) -> Tensor:
    """Say which proposals are the first of their region with their places; see `first_of_equal`.

    A graph compares places with one another, since sorting them would make its shapes depend on the data.

    Args:
        table: whether a point belongs to a proposal, shape (R, m, n), bool.
        pos: coordinates, shape (R * n, D).

    Returns:
        Shape (R, m), bool.
    """
    num_regions, num, size = table.shape
    if torch.compiler.is_compiling():
        by_region = pos.unflatten(0, (num_regions, size))  # a place has the number of the first point there
        place = (by_region[:, :, None] == by_region[:, None]).all(-1).to(pos.dtype).argmax(-1)
        taken = table.to(pos.dtype) @ (place[..., None] == torch.arange(size, device=pos.device)).to(pos.dtype)
        equal = (taken[:, :, None] == taken[:, None]).all(-1)
    else:
        place = _place(pos, Segments.equal(num_regions, size, pos.device)).view(num_regions, 1, size)
        signature = (table * _mix(place)).sum(-1)
        equal = signature[:, :, None] == signature[:, None]
    number = torch.arange(num, device=pos.device)
    return ~(equal & (number < number[:, None])).any(-1)


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
    return torch.cat([segments.index[:, None].to(pos.dtype), pos], dim=1).unique(dim=0, return_inverse=True)[1]


def _outer(per_axis: Tensor) -> Tensor:
    """Join memberships per axis (..., D, m) to memberships in the product (..., m ** D), last axis fastest."""
    joint = per_axis[..., 0, :]
    for axis in range(1, per_axis.shape[-2]):
        joint = (joint[..., :, None] & per_axis[..., axis, None, :]).flatten(-2)
    return joint
