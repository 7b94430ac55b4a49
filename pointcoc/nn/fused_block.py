"""The block in its inference form: constants folded into four linear layers, all heads of a region at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointcoc.geometry.regions import Regions
from pointcoc.geometry.segments import Segments
from pointcoc.geometry.tiles import Tiles
from pointcoc.nn.block import ClusterBlock
from pointcoc.nn.cluster import cluster_layer
from pointcoc.nn.folded import after_norm, before_scale, frozen
from pointcoc.nn.mlp import split_rows
from pointcoc.nn.norm import normalize, normalize_equal
from pointcoc.ops import Assignment
from pointcoc.ops.center_side import ClusterWeights, center_side, prefers_center_side
from pointcoc.ops.inference_linear import inference_linear

# R regions of all sets, n points in each, C channels of the block.


class FusedBlock(nn.Module):
    """A `ClusterBlock` for inference: the same function of the same points with fewer and larger operations.

    The affine part of each norm is folded into the linear layer behind it (see `after_norm`), and the scale of each
    branch into the layer that ends it.

    Args:
        block: the block to fold; it is not changed.
    """

    def __init__(self, block: ClusterBlock):
        super().__init__()
        cluster, mlp = block.cluster, block.mlp
        self.heads, self.options, self.backend = cluster.heads, cluster.options, cluster.backend
        self.eps1, self.eps2 = block.norm1.eps, block.norm2.eps
        self.fv = _frozen_linear(*after_norm(block.norm1, cluster.f, cluster.v, dtype=torch.float64))
        self.proj = _frozen_linear(*before_scale(cluster.proj, block.scale1, dtype=torch.float64))
        self.alpha, self.beta = frozen(cluster.alpha), frozen(cluster.beta)
        self.fc1 = _frozen_linear(*after_norm(block.norm2, mlp.fc1, dtype=torch.float64))
        self.fc2 = _frozen_linear(*before_scale(mlp.fc2, block.scale2, dtype=torch.float64))

    def forward(self, x: Tensor, sets: Segments, regions: Regions) -> tuple[Tensor, Assignment]:
        """Map rows (N, C) in region order as `ClusterBlock` does, on regions of any kind."""
        normal = normalize(x, sets, self.eps1)
        y, assignment = cluster_layer(normal, regions, self.weights(), self.heads, self.options, self.backend)
        x = x + y
        return x + self._pointwise(normalize(x, sets, self.eps2)), assignment

    def by_tiles(self, x: Tensor, tiles: Tiles, num_sets: int) -> Tensor:
        """Map tiles (R, n, C) to tiles (R, n, C); only where `prefers_tiles`."""
        normal = normalize_equal(x.view(num_sets, -1, x.shape[-1]), self.eps1).view_as(x)
        x = x + center_side(normal, tiles.proposals, self.weights(), self.heads, self.options.normalizer)[0]
        return x + self._pointwise(normalize_equal(x.view(num_sets, -1, x.shape[-1]), self.eps2).view_as(x))

    def prefers_tiles(self, num_centers: int) -> bool:
        """Whether `by_tiles` may run and takes fewer operations than `forward`.

        Args:
            num_centers: centers per region, m.
        """
        dim, head_dim = self.proj.out_features, self.proj.in_features // self.heads
        return self.backend == "auto" and prefers_center_side(self.options, num_centers, dim, head_dim)

    def weights(self) -> ClusterWeights:
        """Return the parameters of the cluster layer."""
        fv, proj = self.fv, self.proj
        return ClusterWeights(fv.weight, fv.bias, proj.weight, proj.bias, self.alpha, self.beta)

    def _pointwise(self, normal: Tensor) -> Tensor:
        parts = [self._mlp(part) for part in split_rows(normal.flatten(0, -2), self.fc1.out_features)]
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).view_as(normal)

    def _mlp(self, rows: Tensor) -> Tensor:
        hidden = inference_linear(rows, self.fc1.weight, self.fc1.bias, gelu=True)
        return inference_linear(hidden, self.fc2.weight, self.fc2.bias)


def _frozen_linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight, layer.bias = frozen(weight), frozen(bias)
    return layer
