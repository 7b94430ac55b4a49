"""The block: a cluster layer and a pointwise network, each with norm, scale and residual."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointcoc.geometry.regions import Regions
from pointcoc.geometry.segments import Segments, spread
from pointcoc.nn.cluster import ContextCluster
from pointcoc.nn.mlp import Mlp
from pointcoc.nn.norm import SetNorm
from pointcoc.ops import Assignment, ClusterOptions


class ClusterBlock(nn.Module):
    """x + scale1 * drop_path(cluster(norm(x))), then x + scale2 * drop_path(mlp(norm(x))).

    Args:
        dim: channels.
        heads: heads of the cluster layer.
        head_dim: channels of a head.
        mlp_ratio: hidden channels of the pointwise network over `dim`.
        options: of the cluster operation.
        drop_path: probability to skip a branch for a whole set while training.
        layer_scale: initial value of the scales.
        backend: see `context_cluster`.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        head_dim: int,
        mlp_ratio: float,
        options: ClusterOptions,
        drop_path: float = 0.0,
        layer_scale: float = 1e-5,
        backend: str = "auto",
    ):
        super().__init__()
        self.norm1, self.cluster = SetNorm(dim), ContextCluster(dim, heads, head_dim, options, backend)
        self.norm2, self.mlp = SetNorm(dim), Mlp(dim, int(dim * mlp_ratio))
        self.scale1 = nn.Parameter(torch.full((dim,), layer_scale))
        self.scale2 = nn.Parameter(torch.full((dim,), layer_scale))
        self.drop_path = drop_path

    def forward(self, x: Tensor, sets: Segments, regions: Regions) -> tuple[Tensor, Assignment]:
        """Map rows (N, dim) in region order to rows (N, dim) and the assignment of the cluster layer."""
        y, assignment = self.cluster(self.norm1(x, sets), regions)
        x = x + self._drop(self.scale1 * y, sets)
        return x + self._drop(self.scale2 * self.mlp(self.norm2(x, sets)), sets), assignment

    def _drop(self, x: Tensor, sets: Segments) -> Tensor:
        """Stochastic depth (ECCV 2016): skip the branch for some sets, scale it up for the others."""
        if not self.training or self.drop_path == 0.0:
            return x
        keep = torch.rand(sets.num, 1, device=x.device) >= self.drop_path
        return x * spread(keep.to(x.dtype) / (1 - self.drop_path), sets)
