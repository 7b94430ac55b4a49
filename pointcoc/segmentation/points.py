"""The class of every point of a cloud: parts of objects, things in scenes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from pointcoc.checks import check_range
from pointcoc.geometry import NetworkPlan
from pointcoc.models.config import NetworkConfig
from pointcoc.models.network import ContextClusterNet
from pointcoc.models.presets import preset as find_preset
from pointcoc.models.weights import HubMixin, Kind, changed
from pointcoc.pointset import PointSet
from pointcoc.segmentation.prediction import PointPrediction
from pointcoc.segmentation.propagation import Propagation, propagations


@dataclass(frozen=True, kw_only=True)
class PointSegmenterConfig:
    """Settings that make a `PointSegmenter` again; config.json holds them.

    Args:
        network: fields of the `NetworkConfig` of the backbone; those that are left out have their defaults.
        num_classes: classes of a point.
        num_categories: kinds of objects that are told to the network, or None.
        dropout: probability to zero a channel before the classifier.
    """

    kind: ClassVar[str] = "point_segmentation"

    network: Mapping[str, Any] = field(metadata={"fields_of": NetworkConfig})
    num_classes: int
    num_categories: int | None
    dropout: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "network", asdict(NetworkConfig(**self.network)))


class PointSegmenter(HubMixin):
    """A network for clouds whose stage outputs go back, stage by stage, from the anchors to the points.

    On the way each point joins the features that it had before its stage, as the feature propagation of PointNet++
    (NeurIPS 2017, section 3.4) does; the neighborhoods are those that the stages gathered, so nothing is searched
    again. The order of points changes nothing but their order, and sets of a batch take no part in one another (apart
    from the batch norms of the backbone while training).

    Args:
        net: network for clouds with `dense=True`; its classifier is removed.
        num_classes: classes of a point; of parts, those of all categories together.
        num_categories: kinds of objects, if each set comes with its own as in ShapeNetPart; None if not.
        dropout: probability to zero a channel before the classifier while training.

    Shapes:
        Input: a PointSet, torch_geometric data, or clouds (B, N, in_channels), as for `ContextClusterNet`.
        Output: logits (number of all points, num_classes), in the order of the points.

    Raises:
        ValueError: if the network reads lattices or is not dense, or a number is not allowed.
    """

    config_class = PointSegmenterConfig
    config: PointSegmenterConfig

    def __init__(
        self, net: ContextClusterNet, num_classes: int, num_categories: int | None = None, dropout: float = 0.5
    ):
        super().__init__()
        _check(net.config, num_classes, num_categories, dropout)
        if net.config.num_classes:
            net.reset_classifier(0)
        self.config = PointSegmenterConfig(
            network=asdict(net.config), num_classes=num_classes, num_categories=num_categories, dropout=dropout
        )
        self.net = net
        dims = net.config.dims
        self.joins = nn.ModuleList(map(_Join, dims, (net.config.input_dim, *dims[:-1]), (dims[0], *dims[:-1])))
        self.category = None if num_categories is None else nn.Embedding(num_categories, dims[0])
        self.head = nn.Sequential(
            nn.Linear(dims[0], dims[0]), nn.LayerNorm(dims[0]), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(dims[0], num_classes),
        )  # fmt: skip

    @classmethod
    def _empty(cls, config: PointSegmenterConfig) -> Self:
        with torch.device("meta"):
            net = ContextClusterNet(NetworkConfig(**config.network))
            return cls(net, config.num_classes, config.num_categories, config.dropout)

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the last layer by a new one for `num_classes` classes, at least 2."""
        check_range("num_classes", num_classes, 2)
        self.config = replace(self.config, num_classes=num_classes)
        self.head[-1] = nn.Linear(self.net.config.dims[0], num_classes).to(next(self.parameters()))
        self.weights_info = changed(self.weights_info)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute the inside of the backbone's blocks again in backward: less memory, more time."""
        self.net.set_grad_checkpointing(enable)

    def forward(
        self, input: Tensor | PointSet | Any, category: Tensor | None = None, plan: NetworkPlan | None = None
    ) -> Tensor:
        """Classify every point.

        Args:
            input: clouds (see the class).
            category: kind of each set, shape (B,), int64; needed if the network knows categories, else not allowed.
            plan: the geometry of this input, if it was made before (`net.plan`).

        Raises:
            ValueError: if categories are missing, too many, or out of range, or the plan is that of other points.
        """
        points = self.net._points(input)
        self._check_category(category, points)
        plan = self.net.plan(points) if plan is None else plan
        stages: list[Any] = self.net.forward_intermediates(points, plan=plan)
        assert plan.order is not None
        skips = [points.x.index_select(0, plan.order), *(stage.x for stage in stages[:-1])]
        x = stages[-1].x
        for join, skip, way in reversed(list(zip(self.joins, skips, propagations(points, plan), strict=True))):
            x = join(x, skip, way)
        if self.category is not None and category is not None:
            x = x + self.category(category).index_select(0, points.batch)
        return torch.zeros_like(logits := self.head(x)).index_copy(0, plan.order, logits)

    def _check_category(self, category: Tensor | None, points: PointSet) -> None:
        num = self.config.num_categories
        if num is None:
            if category is not None:
                raise ValueError("category must be left out: the network was made without num_categories")
            return
        if category is None:
            raise ValueError(f"category must hold the kind of each set, 0 to {num - 1}, got None")
        if category.shape != (points.num_sets,) or category.dtype != torch.int64:
            raise ValueError(
                f"category must be int64 of shape ({points.num_sets},), got {category.dtype} {tuple(category.shape)}"
            )
        if not 0 <= int(category.min()) <= int(category.max()) < num:
            raise ValueError(f"category must be in [0, {num - 1}], got {category.tolist()}")


class _Join(nn.Module):
    """Bring features of anchors to the points before and join what these had; norms see one point at a time."""

    def __init__(self, dim: int, skip_dim: int, out_dim: int):
        super().__init__()
        self.up, self.skip = nn.Linear(dim, out_dim, bias=False), nn.Linear(skip_dim, out_dim)
        self.mix = nn.Sequential(nn.LayerNorm(out_dim), nn.GELU(), nn.Linear(out_dim, out_dim))
        self.norm, self.act = nn.LayerNorm(out_dim), nn.GELU()

    def forward(self, x: Tensor, skip: Tensor, way: Propagation) -> Tensor:
        """Map rows of anchors (A, dim) to rows of points (N, out_dim)."""
        # The linear layer comes first: it commutes with a weighted mean, and there are fewer anchors than points.
        joined = way(self.up(x)) + self.skip(skip)
        return self.act(self.norm(self.mix(joined)))


def point_segmentation(
    backbone: str | ContextClusterNet = "coc_points",
    *,
    num_classes: int,
    num_categories: int | None = None,
    in_channels: int | None = None,
    dropout: float = 0.5,
) -> PointSegmenter:
    """Make a network that classifies every point.

    Args:
        backbone: a preset of clouds, coc_points for objects or coc_scene for scenes in meters; or a network for clouds
            with `dense=True`.
        num_classes: classes of a point: 50 parts for ShapeNetPart, 13 for S3DIS.
        num_categories: kinds of objects, if each set comes with its own: 16 for ShapeNetPart.
        in_channels: features of a point, 3 by default: its coordinates. With colors 6.
        dropout: probability to zero a channel before the classifier while training.

    Raises:
        ValueError: if a name is unknown, a value is not allowed, or in_channels is given for a network.
    """
    if isinstance(backbone, str):
        config = find_preset(backbone, num_classes=0, dense=True, in_channels=3 if in_channels is None else in_channels)
        backbone = ContextClusterNet(config)
    elif in_channels is not None:
        raise ValueError("in_channels makes a backbone from a name: leave it out where backbone is a network")
    return PointSegmenter(backbone, num_classes, num_categories, dropout)


def _check(config: NetworkConfig, num_classes: int, num_categories: int | None, dropout: float) -> None:
    if config.on_lattice:
        raise ValueError(
            "classes of points need a network for clouds, such as coc_points or coc_scene, got anchors 'lattice'"
        )
    if not config.dense:
        raise ValueError("classes of points read every stage: make the network with dense=True, got dense=False")
    check_range("num_classes", num_classes, 2)
    if num_categories is not None and num_categories < 1:
        raise ValueError(f"num_categories must be at least 1 or None, got {num_categories}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")


KIND = Kind(model=PointSegmenter, predict=PointPrediction)
