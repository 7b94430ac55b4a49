"""Trace the points of each stage back to the points of the input they stand for."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pointcoc.geometry import Segments
from pointcoc.geometry.neighbors import knn_segments
from pointcoc.geometry.sizes import ravel
from pointcoc.models.clusters import StageClusters
from pointcoc.models.network import ContextClusterNet
from pointcoc.pointset import PointSet


@dataclass(frozen=True, eq=False)
class Trace:
    """One input with its clusters at every stage.

    Args:
        points: the input, one set of N points.
        stages: its clusters, one entry a stage.
        rows: for each stage, the row of the stage's points that each input point belongs to, shape (N,).
        picture: the input as people see it, in [0, 1]: (H, W, 3) of an image, (N, 3) colors of a cloud's points; or
            None.
    """

    points: PointSet
    stages: list[StageClusters]
    rows: list[Tensor]
    picture: Tensor | None = None

    @property
    def is_image(self) -> bool:
        """Whether the points lie on a lattice of two axes."""
        return self.points.sizes is not None and self.points.pos.shape[1] == 2

    @property
    def shape(self) -> tuple[int, ...]:
        """Sites per axis of an input on a lattice, the height and width of an image."""
        assert self.points.sizes is not None
        return tuple(self.points.sizes[0].tolist())

    def stage(self, stage: int) -> StageClusters:
        """Return the clusters of a stage, 0 first, negative from the end.

        Raises:
            ValueError: if there is no such stage.
        """
        count = len(self.stages)
        if not -count <= stage < count:
            raise ValueError(f"stage must be in [0, {count - 1}], or negative from the end, got {stage}")
        return self.stages[stage]

    def cluster(self, stage: int = -1, block: int = -1, head: int = 0) -> Tensor:
        """Number of the cluster that each input point belongs to, shape (N,)."""
        return self.stage(stage).cluster(block, head)[self.rows[stage]]

    def similarity(self, stage: int = -1, block: int = -1, head: int = 0) -> Tensor:
        """Similarity of each input point's stand-in to its center, shape (N,)."""
        return self.stage(stage).similarity(block, head)[self.rows[stage]]

    def members(self, cluster: int, stage: int = -1, block: int = -1, head: int = 0) -> Tensor:
        """Say which input points a cluster of a stage stands for, bool, shape (N,)."""
        return self.cluster(stage, block, head) == cluster


@torch.no_grad()
def trace(net: ContextClusterNet, input: Any, picture: Tensor | None = None) -> list[Trace]:
    """Run a network on a batch and trace the points of its stages back to the input.

    Anchors on a lattice stand for the sites of their stride, so every input point belongs to just one point of each
    stage. In a cloud a point belongs to the nearest anchor, and with that anchor to the nearest one of the next stage.

    Args:
        net: the network; a copy in evaluation mode runs if it is training.
        input: whatever the network takes.
        picture: see `Trace`; only for a batch of one set.

    Returns:
        One entry a set of the batch.

    Raises:
        ValueError: if a picture comes with several sets.
    """
    net = copy.deepcopy(net).eval() if net.training else net
    points = net._points(input)
    stages = net.assignments(points)
    rows = trace_rows(net, points, [stage.points for stage in stages])
    if picture is not None and points.num_sets != 1:
        raise ValueError(f"picture is of one input, got a batch of {points.num_sets}; trace them one by one")
    sizes = points.counts.tolist()
    local = [(row - stage.points.ptr[points.batch]).split(sizes) for row, stage in zip(rows, stages, strict=True)]
    split = [stage.split() for stage in stages]
    return [
        Trace(one, [stage[b] for stage in split], [row[b] for row in local], picture)
        for b, one in enumerate(points.split())
    ]


def trace_rows(net: ContextClusterNet, points: PointSet, stages: list[PointSet]) -> list[Tensor]:
    """Find the point of each stage that each input point belongs to, shapes (N,).

    Args:
        net: the network that reduced the points.
        points: its input.
        stages: the points of its stages.
    """
    if net.config.on_lattice:
        return _lattice_rows(net, points, stages)
    rows: list[Tensor] = []
    for before, anchors in itertools.pairwise([points, *stages]):
        nearest = knn_segments(anchors.pos, Segments.of(anchors), before.pos, Segments.of(before), 1).squeeze(1)
        rows.append(nearest[rows[-1]] if rows else nearest)
    return rows


def _lattice_rows(net: ContextClusterNet, points: PointSet, stages: list[PointSet]) -> list[Tensor]:
    site, rows = points.pos.long(), []
    for stride, anchors in zip(net.config.strides, stages, strict=True):
        site = site // stride
        assert anchors.sizes is not None
        shape = F.pad(anchors.sizes.amax(0), (1, 0))  # one axis more: the sets
        known, order = ravel(torch.column_stack([anchors.batch, anchors.pos.long()]), shape).sort()
        rows.append(order[torch.searchsorted(known, ravel(torch.column_stack([points.batch, site]), shape))])
    return rows
