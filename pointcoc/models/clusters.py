"""What `ContextClusterNet.assignments` returns: the clusters of a stage, their centers, and those of one set."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pointcoc.geometry import StagePlan
from pointcoc.geometry.segments import scatter_sum
from pointcoc.ops import Assignment
from pointcoc.pointset import PointSet


@dataclass(frozen=True, eq=False)
class Centers:
    """The centers of all regions of a stage, center i of region r in row r * m + i.

    Args:
        pos: mean position of the points each proposal averages, shape (R * m, D); NaN where a proposal has no points.
        size: number of points assigned to each, shape (R * m,); 0 for a center that no point chose.
    """

    pos: Tensor
    size: Tensor


@dataclass(frozen=True, eq=False)
class StageClusters:
    """The clusters of one stage, in the order of its points.

    Args:
        points: the points of the stage with their features, A in all.
        region: region of each point, numbered over all sets, shape (A,).
        num_centers: proposals of centers per region, m.
        blocks: the assignment of each block, shapes (A, heads); centers are numbered within the region.
        center_pos: mean position of the points of each proposal, shape (R * m, D); NaN for one without points.
    """

    points: PointSet
    region: Tensor
    num_centers: int
    blocks: list[Assignment]
    center_pos: Tensor

    @property
    def num_blocks(self) -> int:
        """Number of blocks of the stage."""
        return len(self.blocks)

    @property
    def num_heads(self) -> int:
        """Number of heads of each block."""
        return self.blocks[0].center.shape[1]

    def cluster(self, block: int = -1, head: int = 0) -> Tensor:
        """Number of the cluster of each point over all regions, region * m + center, shape (A,)."""
        return self.region * self.num_centers + self._assignment(block, head).center[:, head]

    def similarity(self, block: int = -1, head: int = 0) -> Tensor:
        """Similarity of each point to the center it belongs to, in (0, 1), shape (A,)."""
        return self._assignment(block, head).similarity[:, head]

    def centers(self, block: int = -1, head: int = 0) -> Centers:
        """Return where the centers of all regions lie and how many points each has.

        Args:
            block: block of the stage; positions are the same for all.
            head: head of the block.
        """
        size = torch.bincount(self.cluster(block, head), minlength=len(self.center_pos))
        return Centers(self.center_pos, size)

    def split(self) -> list[StageClusters]:
        """Return the clusters of each set, with regions numbered from 0 in each."""
        region_set = self.region.new_full((len(self.center_pos) // self.num_centers,), -1)
        region_set[self.region] = self.points.batch
        return [self._one(points, b, region_set == b) for b, points in enumerate(self.points.split())]

    def _one(self, points: PointSet, b: int, regions: Tensor) -> StageClusters:
        rows = slice(int(self.points.ptr[b]), int(self.points.ptr[b + 1]))
        number = regions.cumsum(0) - 1
        blocks = [Assignment(one.center[rows], one.similarity[rows]) for one in self.blocks]
        center_pos = self.center_pos[regions.repeat_interleave(self.num_centers)]
        return StageClusters(points, number[self.region[rows]], self.num_centers, blocks, center_pos)

    def _assignment(self, block: int, head: int) -> Assignment:
        for name, value, count in (("block", block, self.num_blocks), ("head", head, self.num_heads)):
            if not -count <= value < count:
                raise ValueError(f"{name} must be in [0, {count - 1}], or negative from the end, got {value}")
        return self.blocks[block]


def stage_clusters(points: PointSet, assignments: list[Assignment], plan: StagePlan) -> StageClusters:
    """Join the points of a stage, the assignments of its blocks in region order, and the regions of its plan."""
    regions, order = plan.regions.ragged(), plan.regions.order
    region, pos = plan.regions.segments.index, points.pos
    if order is not None:
        region, pos = order.leave(region[:, None]).squeeze(1), order.enter(pos)
        assignments = [Assignment(order.leave(one.center), order.leave(one.similarity)) for one in assignments]
    total = scatter_sum(pos[regions.member_point], regions.member_center, len(regions.member_counts))
    center_pos = total / regions.member_counts[:, None]  # 0 / 0 is NaN: no points, no position
    return StageClusters(points, region, plan.regions.num_centers, assignments, center_pos)
