"""A network of images with timm's methods; `pointcoc.timm` registers it, this file needs no timm."""

import itertools
import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from pointcoc.checks import check_range
from pointcoc.geometry import NetworkPlan, StagePlan
from pointcoc.models.config import PER_STAGE, NetworkConfig, stage_numbers
from pointcoc.models.network import ContextClusterNet

POOLS = ("avg", "")
LAST_OF_GROUP = (99999,)  # timm's mark of what is no layer of its own but joins the one before it


class ContextClusterModel(ContextClusterNet):
    """A `ContextClusterNet` of images that speaks timm: images in, maps (B, C, H, W) between its methods.

    Names and shapes of the parameters are those of `ContextClusterNet`, so weights go both ways.

    Args:
        config: settings of a network of images.
        global_pool: "avg", the mean over the points before the classifier, or "", which leaves maps as they are and
            needs num_classes=0.

    Raises:
        ValueError: if the network does not read images, or the pooling is not allowed.
    """

    pretrained_cfg: dict[str, Any]  # set by timm

    def __init__(self, config: NetworkConfig, global_pool: str = "avg"):
        if not config.reads_images:
            raise ValueError(
                "timm's models read images: anchors must be 'lattice' and pos_dim 2, got "
                f"{config.anchors!r} and {config.pos_dim}; use ContextClusterNet for other points"
            )
        _check_pool(global_pool, config.num_classes)
        super().__init__(config)
        self.global_pool = global_pool
        self.stage_maps = nn.ModuleList(nn.Identity() for _ in range(config.num_stages))

    @property
    def num_classes(self) -> int:
        """Outputs of the classifier, 0 if there is none."""
        return self.config.num_classes

    @property
    def in_chans(self) -> int:
        """Channels of an image."""
        return self.config.in_channels

    @property
    def num_features(self) -> int:
        """Channels of the last stage."""
        return self.config.dims[-1]

    @property
    def head_hidden_size(self) -> int:
        """Features that the classifier reads."""
        return self.num_features

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Channels, pixels per point and axis, and module of each stage."""
        strides = itertools.accumulate(self.config.strides, operator.mul)
        stages = enumerate(zip(self.config.dims, strides, strict=True))
        return [{"num_chs": dim, "reduction": stride, "module": f"stages.{s}"} for s, (dim, stride) in stages]

    def forward(self, x: Tensor, plan: NetworkPlan | None = None) -> Tensor:  # type: ignore[override]
        """Classify images.

        Args:
            x: images, shape (B, in_chans, H, W), any H and W.
            plan: their geometry, if it was made before (see `plan`).

        Returns:
            Logits (B, num_classes). Without classifier the averages (B, num_features), and without pooling the map.
        """
        return self.forward_head(self.forward_features(x, plan))

    def forward_features(self, x: Tensor, plan: NetworkPlan | None = None) -> Tensor:  # type: ignore[override]
        """Return the normalized map of the last stage, shape (B, num_features, H, W)."""
        return super().forward_features(x, plan).to_maps()

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:  # type: ignore[override]
        """Average a map over its points and classify.

        Args:
            x: what `forward_features` returned.
            pre_logits: return what the classifier reads.
        """
        x = self.dropout(x.mean((2, 3)) if self.global_pool else x)
        return x if pre_logits else self.head(x)

    def forward_intermediates(  # type: ignore[override]
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Return the maps of stages.

        Args:
            x: images, shape (B, in_chans, H, W).
            indices: stages to return, in this order, 0 first, negative from the end; a number n means the last n; all
                by default.
            norm: normalize the last stage as `forward_features` does; dense networks normalize every stage always.
            stop_early: leave out the stages behind the last one asked for.
            output_fmt: "NCHW", nothing else.
            intermediates_only: return the maps of the stages alone.

        Returns:
            What `forward_features` returns, and the maps (B, C, H, W) of the stages. With `stop_early` the former is
            the map of the last stage that was computed.

        Raises:
            ValueError: if a stage is out of range or the format is another.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt must be 'NCHW', got {output_fmt!r}")
        chosen = _stage_numbers(self.config, indices)
        plan = self._plan_until(x, max(chosen)) if stop_early else None
        outputs, last, *_ = self._run(x, plan)
        if norm:
            outputs[-1] = last
        maps = [outputs[s].to_maps() for s in chosen]
        return maps if intermediates_only else (last.to_maps(), maps)

    def _show(self, s: int, x: Tensor, stage: StagePlan) -> Tensor:
        """Pass the map of a stage through a module of its own, which hooks can watch."""
        maps = stage.anchors.with_x(x).to_maps()
        return self.stage_maps[s](maps).movedim(1, -1).flatten(0, -2)

    def _plan_until(self, x: Tensor, stage: int) -> NetworkPlan:
        plan = self.plan(x)
        return replace(plan, stages=plan.stages[: stage + 1])

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] | None = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove what the maps of some stages do not need; the last norm and the head go with the last stage.

        Args:
            indices: the stages, as in `forward_intermediates`.
            prune_norm: remove the norm before the mean.
            prune_head: remove classifier and pooling.

        Returns:
            The stages, counted from 0.
        """
        chosen = _stage_numbers(self.config, indices)
        is_cut = max(chosen) + 1 < self.config.num_stages
        if is_cut:
            self._keep_stages(max(chosen) + 1)
        if is_cut or prune_norm:
            self.norm = None
        if is_cut or prune_head:
            self.reset_classifier(0, "")
        return chosen

    def _keep_stages(self, num_stages: int) -> None:
        settings = {name: getattr(self.config, name) for name in PER_STAGE}
        kept = {name: value[:num_stages] for name, value in settings.items() if value is not None}
        self.config = self.config.replace(**kept)
        self.reducers, self.stages = self.reducers[:num_stages], self.stages[:num_stages]
        self.stage_maps = self.stage_maps[:num_stages]
        if self.stage_norms is not None:
            self.stage_norms = self.stage_norms[:num_stages]

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a new one.

        Args:
            num_classes: its outputs, 0 for none.
            global_pool: "avg" or "" (see the class); None leaves it as it is.

        Raises:
            ValueError: if the pooling is not allowed.
        """
        pool = self.global_pool if global_pool is None else global_pool
        _check_pool(pool, num_classes)
        super().reset_classifier(num_classes)
        self.global_pool = pool

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Name the layers from first to last, for timm's layer decay: the first reducer, blocks, then the classifier.

        A reducer belongs to the block after it, a norm to the block before it.

        Args:
            coarse: make one layer of the blocks of a stage.
        """
        block = r"^stages\.(\d+)\." if coarse else r"^stages\.(\d+)\.(\d+)\."
        before = None if coarse else (0,)
        after = None if coarse else LAST_OF_GROUP
        patterns = [(block, None), (r"^reducers\.(\d+)\.", before), (r"^stage_norms\.(\d+)\.", after)]
        return {"stem": r"^reducers\.0\.", "blocks": [*patterns, (r"^norm\.", LAST_OF_GROUP)]}


def _check_pool(global_pool: str, num_classes: int) -> None:
    if global_pool not in POOLS:
        raise ValueError(f"unknown global_pool {global_pool!r}; choose from {', '.join(map(repr, POOLS))}")
    if global_pool == "" and num_classes > 0:
        raise ValueError(
            f"global_pool '' leaves the map to no classifier and needs num_classes=0, got {num_classes}; a classifier "
            "needs global_pool 'avg'"
        )


def _stage_numbers(config: NetworkConfig, indices: int | Sequence[int] | None) -> list[int]:
    """Read timm's ways to name stages: all, the last n, or their numbers."""
    num = config.num_stages
    if isinstance(indices, int):
        check_range("indices, as a number of last stages,", indices, 1, num)
        indices = range(num - indices, num)
    chosen = [index % num for index in stage_numbers(config, indices)]
    if not chosen:
        raise ValueError("indices must hold at least one stage, got none")
    return chosen
