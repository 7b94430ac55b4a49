"""PointMLPCoC: the authors' point-cloud network, PointMLP with cluster layers in its groups, and its weights."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from pointcoc.checks import check_choice, check_not_recorded
from pointcoc.geometry import Segments, farthest_points
from pointcoc.geometry.neighbors import knn_segments
from pointcoc.geometry.segments import segment_extreme
from pointcoc.models.cloud_input import fit_points, read_clouds
from pointcoc.models.pointmlp_config import POINTMLP_PRESETS, PointMLPConfig
from pointcoc.models.weights import OFFICIAL_WEIGHTS, HubMixin, Kind, build, changed, num_classes_of, read_pointmlp
from pointcoc.nn.pointmlp import LinearNorm, PointMLPStage
from pointcoc.pointset import PointSet, counts_to_ptr


class PointMLPCoC(HubMixin):
    """The point-cloud network of Context Clusters (ICLR 2023), section 4.2: PointMLP with clusters in its groups.

    Each stage chooses anchors, farthest points from the first point of each set, gathers the nearest points of each,
    clusters every group around its mean, takes the maximum of the group and works on the anchors. As in the official
    code, the choice of anchors, and so the output, depends on which point of a set comes first; the order of the others
    does not matter. `ContextClusterNet` with preset coc_points depends on no order.

    Where the official code is bound to 1,024 points and halves their number, a set of n points has floor(n / 2) anchors
    here. Its GPU kernel moreover passes over points within 0.03 of the origin when it chooses anchors; this is not done
    here, as it is not in the authors' numbers that the tests hold.

    An input is a tensor, a `PointSet`, or torch_geometric `Data` or `Batch`. Sets may differ in size; while
    evaluating, each gives the same output alone and in a batch. Training needs two sets a batch, for the batch norms.

    Args:
        config: the settings; `from_preset` knows the official ones.

    Shapes:
        Input: clouds of one size (B, N, in_channels), coordinates first; points with in_channels features and 3
            coordinates.
        Output: logits (B, num_classes).
    """

    config_class = PointMLPConfig
    config: PointMLPConfig

    def __init__(self, config: PointMLPConfig):
        super().__init__()
        self.config = config
        self.embedding = LinearNorm(config.in_channels, config.embed_dim)
        widths = (config.embed_dim, *config.dims)
        self.stages = nn.ModuleList(
            PointMLPStage(widths[s], dim, config.group_depths[s], config.depths[s]) for s, dim in enumerate(config.dims)
        )
        widths = (config.dims[-1], *config.hidden_dims)
        self.hidden = nn.ModuleList(LinearNorm(widths[i], dim, bias=True) for i, dim in enumerate(config.hidden_dims))
        self.dropout = nn.Dropout(config.dropout)
        self.head = _head(config)

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> Self:
        """Make a network with random weights from a preset.

        Args:
            name: "pointmlp_coc", the official network.
            **overrides: fields of `PointMLPConfig`, such as num_classes=40; an entry per stage may be one value.

        Raises:
            ValueError: if the preset or a field is unknown, or a value is not allowed.
        """
        check_choice("preset of PointMLPCoC", name, list(POINTMLP_PRESETS))
        return cls(POINTMLP_PRESETS[name].replace(**overrides))

    @classmethod
    def from_official(cls, checkpoint: str | Path | Mapping[str, Any], config: PointMLPConfig | None = None) -> Self:
        """Make a network with the weights of an official checkpoint.

        Args:
            checkpoint: a file (.safetensors, or one that torch.save wrote) or a mapping of names to tensors.
            config: the configuration; pointmlp_coc with the number of classes of the checkpoint by default.

        Returns:
            The network in evaluation mode, in the dtype of the checkpoint.

        Raises:
            ValueError: if the file is truncated, or names or shapes do not fit; the message lists them.
            FileNotFoundError: if there is no such file.
        """
        state = read_pointmlp(checkpoint)
        if config is None:
            config = POINTMLP_PRESETS["pointmlp_coc"].replace(num_classes=num_classes_of(state))
        info = replace(OFFICIAL_WEIGHTS, transform=None)
        net = build(cls._empty(config), state, info, "checkpoint does not fit the config of the PointMLPCoC")
        return net.to(net.embedding.linear.weight.dtype)

    def forward(self, input: Tensor | PointSet | Any) -> Tensor:
        """Classify each set: an input (see the class) to logits (B, num_classes)."""
        return self.forward_head(self.forward_features(input))

    def forward_features(self, input: Tensor | PointSet | Any) -> PointSet:
        """Return the anchors of the last stage with their features."""
        return self.forward_intermediates(input)[-1]

    def forward_intermediates(self, input: Tensor | PointSet | Any) -> list[PointSet]:
        """Return the anchors of each stage with their features."""
        points = self._points(input)
        points, outputs = points.with_x(self.embedding(points.x)), []
        for s, stage in enumerate(self.stages):
            anchors, rows, neighbors = group_points(points, self.config.strides[s], self.config.neighbors[s])
            points = anchors.with_x(stage(points.x, rows, neighbors, Segments.of(anchors)))
            outputs.append(points)
        return outputs

    def forward_head(self, features: PointSet, pre_logits: bool = False) -> Tensor:
        """Take the maximum over the points of each set and classify.

        Args:
            features: what `forward_features` returned.
            pre_logits: return the features (B, dim) before the classifier.
        """
        x = segment_extreme(features.x, Segments.of(features), "amax")
        for i, layer in enumerate(self.hidden):
            x = layer(x if i == 0 else self.dropout(x))
        return x if pre_logits else self.head(self.dropout(x))

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the classifier by a new one for `num_classes` classes; 0 removes it."""
        self.config = self.config.replace(num_classes=num_classes)
        self.head = _head(self.config).to(next(self.parameters()))
        self.weights_info = changed(self.weights_info)

    def get_classifier(self) -> nn.Module:
        """Return the classifier, nn.Identity if there is none."""
        return self.head

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay should leave alone (timm's optimizers ask)."""
        return {name for name, parameter in self.named_parameters() if parameter.ndim == 1}

    def _points(self, input: Tensor | PointSet | Any) -> PointSet:
        """Read any input as a PointSet and check its channels, values and the sizes of its sets."""
        check_not_recorded()
        points = fit_points(read_clouds(input, self.config.in_channels), next(self.parameters(), None))
        if not torch.compiler.is_compiling():
            _check_counts(points.with_x(points.x[:, :0]).validate(), self.config)
        return points


def group_points(points: PointSet, stride: int, num_neighbors: int) -> tuple[PointSet, Tensor, Tensor]:
    """Choose anchors and find the group of each.

    Args:
        points: the points before; features are not read.
        stride: points per anchor.
        num_neighbors: points in a group, K; no set may have fewer.

    Returns:
        The anchors, a PointSet without features; their rows among the points, shape (A,); and the rows of the nearest
        points of each, nearest first, shape (A, K).
    """
    sets = Segments.of(points)
    num = sets.counts // stride if sets.size is None else sets.size // stride
    rows = farthest_points(points.pos, sets, num, start="first")
    ptr = counts_to_ptr(num) if isinstance(num, Tensor) else Segments.equal(sets.num, num, points.pos.device).ptr
    pos = points.pos.index_select(0, rows)
    anchors = PointSet(pos[:, :0], pos, ptr, size=None if isinstance(num, Tensor) else num)
    return anchors, rows, knn_segments(points.pos, sets, pos, Segments.of(anchors), num_neighbors)


def _head(config: PointMLPConfig) -> nn.Module:
    width = (config.dims[-1], *config.hidden_dims)[-1]
    return nn.Linear(width, config.num_classes) if config.num_classes else nn.Identity()


def _check_counts(points: PointSet, config: PointMLPConfig) -> None:
    """Refuse sets with fewer points than neighbors at a stage, or without an anchor at the end."""
    fewest, which = (int(value) for value in points.counts.min(0))
    needed = config.points_needed
    if fewest >= max(needed):
        return
    stage = next(s for s, least in enumerate(needed) if fewest < least)
    need = f"the {config.neighbors[stage]} neighbors of" if stage < config.num_stages else "an anchor after"
    left = fewest // math.prod(config.strides[:stage])
    raise ValueError(
        f"set {which} of the batch is too small: of its {fewest} points {left} are left for {need} stage "
        f"{min(stage + 1, config.num_stages)}; every set needs at least {max(needed)} points"
    )


KIND = Kind(model=PointMLPCoC)
