"""Features of the points of a scene that do not depend on where the scene lies or how large it is.

Letters: N points, K neighbors, C occupied cells.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pointcoc.checks import check_range
from pointcoc.geometry import Segments, hilbert_order, knn

SHAPE_NAMES = ("linearity", "planarity", "scattering", "change_of_curvature", "verticality")
"""Columns of `local_shape`."""
MOST_PAIRS = 8_388_608
"""Pairs of points and neighbors that are searched at a time."""
CHUNK = 32_768
"""Points whose neighborhoods are held at a time."""
SAMPLE = 4096
"""Points whose distances tell the spacing of a scene."""
VOXEL_RATIOS = (2.5, 5.0, 10.0, 20.0)
"""Edges of the cells of four stages over the spacing; rooms of S3DIS at 2 cm get the 0.05 to 0.4 m of `coc_scene`."""


def height_above_ground(pos: Tensor, radius: float) -> Tensor:
    """Return the height of each point above the ground around it.

    The ground is a morphological opening of the lowest points (Zhang et al., A Progressive Morphological Filter for
    Removing Nonground Measurements, 2003): the low point of each square cell of half the radius, the lowest of these
    within the radius, then the highest of those within the radius, so that it follows slopes; between the middles of
    cells it is interpolated. The low point of a cell of ten points or more is its second lowest, because a scanner
    reports single points far below the ground.

    Args:
        pos: coordinates, the last axis up, shape (N, 3), float32 or float64; an offset may be in them.
        radius: units of `pos`; objects that are wider count as ground.

    Returns:
        Units of `pos`, float32, shape (N,); slightly negative for points below the interpolated ground.

    Raises:
        ValueError: if `pos` has no points of three axes, or the radius is not positive.
    """
    _check_pos(pos)
    if not 0 < radius < torch.inf:
        raise ValueError(f"radius must be positive, got {radius}")
    exact = pos.double() - pos.double().amin(0)
    place = exact[:, :2] / (radius / 2)
    cells = _Cells(place.floor().long())
    low = cells.low(exact[:, 2])
    ground = cells.extreme(cells.extreme(low, "amin"), "amax")
    return (exact[:, 2] - cells.interpolate(ground, place)).float()


class _Cells:
    """Occupied cells of a grid over the ground plane, sorted by number; memory does not depend on the extent.

    Args:
        site: cell of each point, not negative, shape (N, 2), int64.
    """

    def __init__(self, site: Tensor):
        self.width = int(site[:, 1].max()) + 5  # two cells of margin on either side: no neighbor is in another row
        self.number, self.cell = self._key(site).unique(return_inverse=True)

    def _key(self, site: Tensor) -> Tensor:
        return (site[..., 0] + 2) * self.width + site[..., 1] + 2

    def low(self, height: Tensor) -> Tensor:
        """Return the lowest height of each cell, the second lowest from ten points on, shape (C,)."""
        order = torch.argsort(height)
        order = order[torch.argsort(self.cell[order], stable=True)]
        counts = torch.bincount(self.cell, minlength=len(self.number))
        return height[order[counts.cumsum(0) - counts + (counts >= 10).long()]]

    def extreme(self, value: Tensor, reduce: str, reach: int = 2) -> Tensor:
        """Return the least or largest value of the occupied cells within `reach` cells, shape (C,)."""
        best = value
        for row, column in itertools.product(range(-reach, reach + 1), repeat=2):
            found, is_there = self._find(self.number + row * self.width + column)
            other = torch.where(is_there, value[found], value)
            best = torch.minimum(best, other) if reduce == "amin" else torch.maximum(best, other)
        return best

    def interpolate(self, value: Tensor, place: Tensor) -> Tensor:
        """Return the value at places (N, 2), in cells: bilinear between the middles of the cells that are occupied."""
        corner = (place - 0.5).floor()
        share = place - 0.5 - corner
        total, weights = torch.zeros_like(share[:, 0]), torch.zeros_like(share[:, 0])
        for row, column in itertools.product((0, 1), repeat=2):
            found, is_there = self._find(self._key(corner.long() + torch.tensor([row, column], device=place.device)))
            weight = (share[:, 0] - (1 - row)).abs() * (share[:, 1] - (1 - column)).abs() * is_there
            total += weight * value[found]
            weights += weight
        return total / weights  # the cell of the point is occupied and has at least a quarter

    def _find(self, number: Tensor) -> tuple[Tensor, Tensor]:
        found = torch.searchsorted(self.number, number).clamp(max=len(self.number) - 1)
        return found, self.number[found] == number


def local_shape(pos: Tensor, num_neighbors: int | Sequence[int] = 16) -> Tensor:
    """Describe how the nearest neighbors of each point are spread, by the eigenvalues of their covariance.

    Weinmann et al., Semantic Point Cloud Interpretation Based on Optimal Neighborhoods (2015), with the roots s of the
    eigenvalues, s1 the largest: linearity (s1 - s2) / s1, planarity (s2 - s3) / s1, scattering s3 / s1, and from the
    eigenvalues l the change of curvature l3 / (l1 + l2 + l3); the verticality is 1 minus the size of the up
    component of the normal.

    Args:
        pos: coordinates, the last axis up, shape (N, 3).
        num_neighbors: neighbors of a point, itself among them; several numbers for several scales.

    Returns:
        Columns as in `SHAPE_NAMES`, scale after scale, from 0 to 1, float32, shape (N, 5) for one scale; zeros where
        all neighbors are at one place.

    Raises:
        ValueError: if `pos` has no points of three axes, or a number is below 3.
    """
    scales = (num_neighbors,) if isinstance(num_neighbors, int) else tuple(num_neighbors)
    shape = pos.new_empty(len(pos), len(scales) * len(SHAPE_NAMES), dtype=torch.float32)
    for rows, offset in _neighborhoods(pos, scales):
        shape[rows] = torch.cat([_shape(*_spread(offset[:, :num])) for num in scales], dim=1)
    return shape


def local_normals(pos: Tensor, num_neighbors: int = 16) -> Tensor:
    """Estimate the normal of each point: the axis along which its nearest neighbors are spread least, pointing up.

    Args:
        pos: coordinates, the last axis up, shape (N, 3).
        num_neighbors: neighbors of a point, itself among them.

    Returns:
        Unit vectors, float32, shape (N, 3).

    Raises:
        ValueError: if `pos` has no points of three axes, or the number is below 3.
    """
    normal = pos.new_empty(len(pos), 3, dtype=torch.float32)
    for rows, offset in _neighborhoods(pos, (num_neighbors,)):
        normal[rows] = _spread(offset)[1]
    return torch.where(normal[:, 2:] < 0, -normal, normal)


def _neighborhoods(pos: Tensor, scales: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield some rows (P,) at a time and the offsets of their neighbors, nearest first, (P, K, 3), float64."""
    _check_pos(pos)
    for num in scales:
        check_range("num_neighbors", num, 3)
    most = min(max(scales), len(pos))
    exact = pos.double() - pos.double().mean(0)
    sets = Segments.from_ptr(torch.tensor([0, len(exact)], device=pos.device))
    order = hilbert_order(exact, sets)  # neighbors are near in memory then: several times as fast
    exact = exact[order]
    for rows in torch.arange(len(exact), device=pos.device).split(max(1, MOST_PAIRS // most)):
        query = exact[rows]
        index = knn(exact, sets.ptr, query, torch.tensor([0, len(rows)], device=pos.device), most)
        for part in torch.arange(len(rows), device=pos.device).split(CHUNK):
            yield order[rows[part]], exact[index[part]] - query[part, None]


def _spread(offset: Tensor) -> tuple[Tensor, Tensor]:
    """Deviations of neighbors (P, K, 3) along their axes, rising, and the axis of the least, (P, 3), float32."""
    centered = offset - offset.mean(1, keepdim=True)
    value, vector = torch.linalg.eigh(centered.mT @ centered / offset.shape[1])
    return value.clamp(min=0).sqrt().float(), vector[..., 0].float()


def _shape(root: Tensor, normal: Tensor) -> Tensor:
    third, second, first = root.unbind(1)
    is_spread = first > 0
    scale = torch.where(is_spread, first, 1)
    columns = (
        (first - second) / scale,
        (second - third) / scale,
        third / scale,
        third.square() / torch.where(is_spread, root.square().sum(1), 1),
        (1 - normal[:, 2].abs()) * is_spread,
    )
    return torch.stack(columns, dim=1)


def median_spacing(pos: Tensor) -> float:
    """Return the median distance of points to their nearest neighbor at another place.

    Args:
        pos: coordinates, shape (N, 3). Of large scenes 4,096 points, evenly spread over the rows, are asked.

    Raises:
        ValueError: if `pos` has no points of three axes, or all lie at one place.
    """
    _check_pos(pos)
    exact = pos.double() - pos.double().mean(0)
    query = exact[torch.linspace(0, len(exact) - 1, min(SAMPLE, len(exact)), device=pos.device).long()]
    ptr, ends = torch.tensor([0, len(exact)], device=pos.device), torch.tensor([0, len(query)], device=pos.device)
    index = knn(exact, ptr, query, ends, min(8, len(exact)))
    distance = (exact[index] - query[:, None]).square().sum(-1).sqrt()
    nearest = torch.where(distance > 0, distance, torch.inf).amin(1)
    nearest = nearest[nearest.isfinite()]
    if not len(nearest):
        raise ValueError(f"pos must hold points at more than one place, got {len(pos)} at {pos[0].tolist()}")
    return float(nearest.median())


def auto_voxels(spacing: float, num_stages: int = 4) -> tuple[float, ...]:
    """Return the edges of the cells of each stage of a network with voxels: 2.5 times the spacing, then doubling.

    Args:
        spacing: median distance of neighbors (see `median_spacing`).
        num_stages: stages of the network.
    """
    return tuple(float(f"{VOXEL_RATIOS[0] * 2**stage * spacing:.3g}") for stage in range(num_stages))


def _check_pos(pos: Tensor) -> None:
    if pos.ndim != 2 or pos.shape[1] != 3 or not len(pos):
        raise ValueError(f"pos must have shape (N, 3), N at least 1, got {tuple(pos.shape)}")
