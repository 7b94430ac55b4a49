"""The forward methods of a network of reducers and stages, which the trained and the folded form share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pointcoc.checks import check_not_recorded
from pointcoc.geometry import NetworkPlan, Segments, StagePlan, make_plan, segment_mean
from pointcoc.models.cloud_input import fit_points, read_clouds
from pointcoc.models.clusters import StageClusters, stage_clusters
from pointcoc.models.config import NetworkConfig, check_tensor, stage_numbers
from pointcoc.nn.coordinates import encode_coordinates
from pointcoc.nn.norm import apply_norm
from pointcoc.ops import Assignment
from pointcoc.pointset import PointSet, check_features, image_to_points


class ClusterNetwork(nn.Module):
    """Reducers and stages, then norm, mean over points, linear; subclasses fill in the modules.

    Shapes:
        Input: images (B, in_channels, H, W), any H and W; clouds of one size (B, N, in_channels), coordinates first;
            points (N, in_channels + 2) on a lattice, (N, in_channels) of a cloud.
        Output: logits (B, num_classes).
    """

    config: NetworkConfig
    reducers: nn.ModuleList
    stages: nn.ModuleList
    stage_norms: nn.ModuleList | None
    norm: nn.Module | None
    dropout: nn.Module
    head: nn.Module

    def forward(self, input: Tensor | PointSet | Any, plan: NetworkPlan | None = None) -> Tensor:
        """Classify each set.

        Args:
            input: images, a PointSet, or torch_geometric data (see the class).
            plan: the geometry of this input, if it was made before (see `plan`).

        Returns:
            Logits, shape (B, num_classes).
        """
        return self.forward_head(self.forward_features(input, plan))

    def forward_features(self, input: Tensor | PointSet | Any, plan: NetworkPlan | None = None) -> PointSet:
        """Return the points of the last stage with normalized features."""
        return self._run(input, plan)[1]

    def forward_head(self, features: PointSet, pre_logits: bool = False) -> Tensor:
        """Average the points of each set and classify.

        Args:
            features: what `forward_features` returned.
            pre_logits: return the averages (B, dim) before the classifier.
        """
        pooled = segment_mean(features.x, Segments.of(features))
        return pooled if pre_logits else self.head(self.dropout(pooled))

    def forward_intermediates(
        self,
        input: Tensor | PointSet | Any,
        indices: Sequence[int] | None = None,
        norm: bool = False,
        plan: NetworkPlan | None = None,
    ) -> list[Tensor] | list[PointSet]:
        """Return the output of stages.

        Args:
            input: images, a PointSet, or torch_geometric data.
            indices: stages to return, 0 first, negative from the end; all by default.
            norm: normalize the last stage as `forward_features` does; dense networks normalize every stage always.
            plan: the geometry of this input, if it was made before.

        Returns:
            Maps (B, dim, H, W) for a tensor of images, PointSets for all else.
        """
        outputs, last, *_ = self._run(input, plan)
        if norm:
            outputs[-1] = last
        points = [outputs[s] for s in stage_numbers(self.config, indices)]
        is_images = isinstance(input, Tensor) and self.config.reads_images
        return [point.to_maps() for point in points] if is_images else points

    def assignments(self, input: Tensor | PointSet | Any, plan: NetworkPlan | None = None) -> list[StageClusters]:
        """Return the clusters that each block and head of each stage finds, with the centers they belong to.

        Args:
            input: images, a PointSet, or torch_geometric data (see the class).
            plan: the geometry of this input, if it was made before.

        Returns:
            One `StageClusters` a stage, of all sets of the batch; its `split()` gives those of each.
        """
        outputs, _, assignments, plan = self._run(input, plan, is_watched=True)
        return [stage_clusters(*stage) for stage in zip(outputs, assignments, plan.stages, strict=True)]

    def plan(self, input: Tensor | PointSet | Any) -> NetworkPlan:
        """Compute all geometry of an input, for example in the workers of a data loader; reads no features."""
        return make_plan(self._read(input), self.config.geometry)

    def get_classifier(self) -> nn.Module:
        """Return the classifier, nn.Identity if there is none."""
        return self.head

    def _run(
        self, input: Tensor | PointSet | Any, plan: NetworkPlan | None, is_watched: bool = False
    ) -> tuple[list[PointSet], PointSet, list[list[Assignment]], NetworkPlan]:
        """Return the output of each stage, the last one normalized, the assignments of each stage, and the plan."""
        x, plan = self._enter(input, plan)
        outputs, assignments = [], []
        for s, stage in enumerate(plan.stages):
            x, assigned = self.stages[s](self.reducers[s](x, stage), stage, is_watched)
            x = self._show(s, x, stage)
            normal = x if self.stage_norms is None else apply_norm(self.stage_norms[s], x, stage.sets)
            outputs.append(stage.anchors.with_x(normal))
            assignments.append(assigned)
        last = outputs[-1]
        if self.norm is not None and len(outputs) == self.config.num_stages:  # a plan may end at an earlier stage
            last = last.with_x(apply_norm(self.norm, x, plan.stages[-1].sets))
        return outputs, last, assignments, plan

    def _show(self, s: int, x: Tensor, stage: StagePlan) -> Tensor:
        """Show the rows of stage `s` to whoever watches it, and return them."""
        return x

    def _enter(self, input: Tensor | PointSet | Any, plan: NetworkPlan | None) -> tuple[Tensor, NetworkPlan]:
        """Return what the first reducer reads, rows in the order of the plan, and the plan."""
        points = self._points(input)
        if plan is None:
            plan = make_plan(points, self.config.geometry)
        else:
            plan.check(points)
        x = points.x if plan.order is None else points.x.index_select(0, plan.order)
        return self._encode(x), plan

    def _encode(self, x: Tensor) -> Tensor:
        """Features of the input as the first reducer reads them: the coordinates of images as `coordinates` says."""
        config = self.config
        if config.coordinates == "numbers":
            return x
        places = encode_coordinates(x[:, config.in_channels :], config.coordinates, config.frequencies)
        return torch.cat([x[:, : config.in_channels], places], dim=1)

    def _points(self, input: Tensor | PointSet | Any) -> PointSet:
        """Read any input as a PointSet, check it, and convert features of clouds to the dtype of the parameters."""
        points = self._read(input)
        if not self.config.on_lattice:
            return fit_points(points, next(self.parameters(), None))
        if points.grid is None and points.x.device.type == "cpu" and not torch.compiler.is_compiling():
            check_features(points)
        return points

    def _read(self, input: Tensor | PointSet | Any) -> PointSet:
        check_not_recorded()
        config = self.config
        if not config.on_lattice:
            return read_clouds(input, config.in_channels, config.pos_dim)
        if isinstance(input, list | tuple) and all(isinstance(one, Tensor) for one in input):
            input = image_to_points(input)
        elif isinstance(input, Tensor):
            check_tensor(input, config)
            input = image_to_points(input)
        points = input if isinstance(input, PointSet) else PointSet.from_pyg(input)
        if points.x.shape[1] != config.input_dim or points.pos.shape[1] != config.pos_dim:
            raise ValueError(
                f"points must have {config.input_dim} features (x) and {config.pos_dim} coordinates (pos), got "
                f"{points.x.shape[1]} and {points.pos.shape[1]}"
            )
        return points
