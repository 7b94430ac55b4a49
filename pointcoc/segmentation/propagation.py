"""Propagation: features of anchors go back to the points along the neighborhoods that gathered them.

Letters: N points, A anchors, K neighbors of an anchor, L lonely points (in no neighborhood), C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pointcoc.geometry import NetworkPlan, Segments, StagePlan
from pointcoc.geometry.neighbors import knn_segments
from pointcoc.pointset import PointSet, counts_to_ptr

NEAR = 1e-8
"""Added to squared distances, in units of the root mean square distance: a point that is an anchor has its features."""


@dataclass(frozen=True, eq=False)
class Propagation:
    """How one stage gives the features of its anchors to the points before it.

    Args:
        rows: points that each anchor gathered, (A, K); 0 where there is none.
        weights: share of the anchor in each of these points, (A, K); 0 where there is none. Those of a point sum to 1.
        lonely: points that no anchor gathered, (L,).
        nearest: their nearest anchors, (L,).
        num_points: N.
    """

    rows: Tensor
    weights: Tensor
    lonely: Tensor
    nearest: Tensor
    num_points: int

    def __call__(self, x: Tensor) -> Tensor:
        """Blend the features of anchors (A, C) into those of points (N, C).

        One neighbor at a time, so that nothing of shape (A, K, C) is ever held: a scene has millions of pairs.
        """
        weights = self.weights.to(x.dtype)
        points = x.new_zeros(self.num_points, x.shape[1])
        for k in range(self.rows.shape[1]):
            points = points.index_add_(0, self.rows[:, k], x * weights[:, k, None])
        return points.index_add_(0, self.lonely, x.index_select(0, self.nearest))


def propagation(source: PointSet, stage: StagePlan) -> Propagation:
    """Prepare the way back from the anchors of a stage to the points before it.

    A point in the neighborhoods of several anchors gets their mean, weighted by the inverse of the squared distance
    (PointNet++, NeurIPS 2017, section 3.4, there of the three nearest). One in no neighborhood gets the features of the
    nearest anchor of its set.

    Args:
        source: points before the stage, in the order of the plan.
        stage: plan of the stage, of a cloud.
    """
    assert stage.neighbors is not None
    assert stage.offsets is not None
    present, rows = stage.neighbors >= 0, stage.neighbors.clamp(min=0)
    weights = present / (stage.offsets.square().sum(-1) + NEAR)
    total = weights.new_zeros(source.num_points).index_add_(0, rows.flatten(), weights.flatten())
    lonely = (total == 0).nonzero().squeeze(1)
    sets = Segments.from_ptr(counts_to_ptr(torch.bincount(source.batch[lonely], minlength=source.num_sets)))
    nearest = knn_segments(stage.anchors.pos, stage.sets, source.pos[lonely], sets, 1).squeeze(1)
    total = torch.where(total > 0, total, 1)
    return Propagation(rows, weights / total[rows], lonely, nearest, source.num_points)


def propagations(points: PointSet, plan: NetworkPlan) -> list[Propagation]:
    """Prepare the way back of every stage, the first one to the points themselves in the order of the plan.

    Args:
        points: what the plan was made for.
        plan: of a network for clouds.
    """
    assert plan.order is not None
    pos = points.pos.index_select(0, plan.order)
    sources = [PointSet(pos[:, :0], pos, points.ptr, size=points.size), *(stage.anchors for stage in plan.stages)]
    return [propagation(source, stage) for source, stage in zip(sources[:-1], plan.stages, strict=True)]
