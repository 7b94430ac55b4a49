"""The folded form of a block: its constants are in four linear layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointcoc.geometry.regions import Regions
from pointcoc.geometry.segments import Segments
from pointcoc.nn.block import ClusterBlock, has_plain_cluster, has_plain_mlp
from pointcoc.nn.folded import after_norm, before_scale, frozen, is_packed
from pointcoc.nn.mlp import split_rows
from pointcoc.nn.norm import apply_norm
from pointcoc.ops import Assignment, ClusterWeights, cluster_layer, context_cluster
from pointcoc.ops.inference_linear import inference_linear


class FoldedBlock(nn.Module):
    """A `ClusterBlock` for inference: the same function of the same points with fewer and larger operations.

    The constants of each norm are folded into the linear layer behind it (see `after_norm`), and the scale of each
    branch into the layer that ends it.

    Args:
        block: the block to fold, all of whose modules are plain (see `fold_block`); it is not changed.
    """

    def __init__(self, block: ClusterBlock):
        super().__init__()
        cluster, mlp = block.cluster, block.mlp
        self.heads, self.options, self.backend = cluster.heads, cluster.options, cluster.backend
        self.norm1, self.norm2 = block.norm1.bare(), block.norm2.bare()
        self.fv = _frozen_linear(*after_norm(block.norm1, cluster.f, cluster.v, dtype=torch.float64))
        self.proj = _frozen_linear(*before_scale(cluster.proj, block.scale1, dtype=torch.float64))
        self.alpha, self.beta = frozen(cluster.alpha), frozen(cluster.beta)
        self.fc1 = _frozen_linear(*after_norm(block.norm2, mlp.fc1, dtype=torch.float64))
        self.fc2 = _frozen_linear(*before_scale(mlp.fc2, block.scale2, dtype=torch.float64))

    def forward(self, x: Tensor, sets: Segments, regions: Regions) -> tuple[Tensor, Assignment]:
        """Map rows (N, C) in region order as `ClusterBlock` does."""
        x, assignment = self._cluster(x, sets, regions)
        return x + self._pointwise(apply_norm(self.norm2, x, sets)), assignment

    def _cluster(self, x: Tensor, sets: Segments, regions: Regions) -> tuple[Tensor, Assignment]:
        """Run the first branch; what lies between its layers is free again when it ends."""
        normal = apply_norm(self.norm1, x, sets)
        if is_packed(self.fv.weight) or is_packed(self.proj.weight):
            f, v = self.fv(normal).unflatten(1, (2, self.heads, -1)).unbind(1)
            y, assignment = context_cluster(f, v, regions, self.alpha, self.beta, self.options, self.backend)
            return x + self.proj(y.flatten(1)), assignment
        y, assignment = cluster_layer(normal, regions, self.weights(), self.heads, self.options, self.backend)
        return x + y, assignment

    def weights(self) -> ClusterWeights:
        """Return the parameters of the cluster layer."""
        fv, proj = self.fv, self.proj
        return ClusterWeights(fv.weight, fv.bias, proj.weight, proj.bias, self.alpha, self.beta)

    def _pointwise(self, x: Tensor) -> Tensor:
        parts = [self._mlp(part) for part in split_rows(x, self.fc1.out_features)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _mlp(self, rows: Tensor) -> Tensor:
        hidden = inference_linear(rows, self.fc1.weight, self.fc1.bias, gelu=True)
        return inference_linear(hidden, self.fc2.weight, self.fc2.bias)


def fold_block(block: nn.Module) -> nn.Module:
    """Return the folded form of a block; one with a replaced, adapted or watched module stays as it is.

    Args:
        block: in evaluation mode; it is not changed.
    """
    if isinstance(block, ClusterBlock) and has_plain_cluster(block) and has_plain_mlp(block):
        return FoldedBlock(block)
    return block


def _frozen_linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight, layer.bias = frozen(weight), frozen(bias)
    return layer
