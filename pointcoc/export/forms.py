"""Networks in the form in which they are exported: plain tensors in and out, constants of norms in the weights."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from pointcoc.models import ContextClusterNet
from pointcoc.models.dense import StageMaps
from pointcoc.nn import FoldedBlock, Stage, StepReducer
from pointcoc.nn.folded_block import fold_block

Exportable = Any  # ContextClusterNet, or a SemanticFPN on one: its module needs torchvision
DETECTOR = (
    "{name} cannot be exported: how many boxes it returns depends on the image; export the maps of its backbone, "
    "export_network(model.backbone.backbone.net, path, size, output='stages'), and run the heads with torch"
)


def cluster_net(net: Exportable) -> ContextClusterNet:
    """Return the network of clusters in a model that can be exported: itself, or the backbone of a `SemanticFPN`.

    Args:
        net: the model.

    Raises:
        ValueError: if it is another model; the message says what can be exported of a detector.
    """
    if isinstance(net, ContextClusterNet):
        return net
    backbone = getattr(net, "backbone", None)
    if isinstance(backbone, StageMaps):
        return backbone.net
    if isinstance(getattr(backbone, "backbone", None), StageMaps):
        raise ValueError(DETECTOR.format(name=type(net).__name__))
    raise ValueError(
        f"net must be a ContextClusterNet or a SemanticFPN on one, got {type(net).__name__}, which cannot be exported"
    )


class ExportForm(nn.Module):
    """A network as plain tensors in and out, with the names they get in the exported file.

    Args:
        net: the network, or a `SemanticFPN` on one, which gives logits alone.
        output: "logits" (B, num_classes); "stages", the map (B, dim, H, W) of each stage, images only; or
            "assignments", the logits and the center of each point in each block, (points of the stage, heads).
    """

    def __init__(self, net: Exportable, output: str = "logits"):
        super().__init__()
        self.net, self.output = net, output

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in their order."""
        depths = cluster_net(self.net).config.depths
        if self.output == "stages":
            return [f"stage{s + 1}" for s in range(len(depths))]
        blocks = [f"center_stage{s + 1}_block{b + 1}" for s, depth in enumerate(depths) for b in range(depth)]
        return ["logits", *blocks] if self.output == "assignments" else ["logits"]

    def forward(self, input: Tensor) -> tuple[Any, ...]:
        """Map images (B, C, H, W) or clouds (B, N, C) to the outputs."""
        if not isinstance(self.net, ContextClusterNet):
            return (self.net(input),)
        # Of the class itself: the timm form of a network overrides these methods.
        if self.output == "stages":
            return tuple(ContextClusterNet.forward_intermediates(self.net, input))
        _, features, assigned, _ = self.net._run(input, None, is_watched=self.output == "assignments")
        logits = ContextClusterNet.forward_head(self.net, features)
        return (logits, *[block.center for stage in assigned for block in stage])


def folded(net: Exportable) -> Exportable:
    """Copy a network with the constants of norms in the layers beside them: what quantizers read as weights.

    Where the backend is "auto", values are projected at the points, not at the centers: all weights are then those of
    linear layers.

    Args:
        net: in evaluation mode; it is not changed.
    """
    net = copy.deepcopy(net)
    stages, reducers = cluster_net(net).stages, cluster_net(net).reducers
    for reducer in reducers:
        if isinstance(reducer, StepReducer):
            reducer.fold_norms()
    for stage in stages:
        assert isinstance(stage, Stage)
        for b, block in enumerate(stage):
            one = fold_block(block)
            if isinstance(one, FoldedBlock) and one.backend == "auto":
                one.backend = "reference"
            stage[b] = one
    return net
