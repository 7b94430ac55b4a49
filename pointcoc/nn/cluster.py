"""The cluster layer: projections around the cluster operation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointcoc.geometry.regions import Regions
from pointcoc.nn.folded import are_plain
from pointcoc.ops import Assignment, ClusterOptions, ClusterWeights, cluster_layer, context_cluster


class ContextCluster(nn.Module):
    """Project to features f and values v, cluster them per region and head, and project the joined heads back.

    Context Clusters (ICLR 2023), section 3.2.

    Args:
        dim: channels in and out.
        heads: number of heads.
        head_dim: channels of a head.
        options: normalizer, assignment and iterations.
        backend: which operator runs, see `pointcoc.ops.OPERATORS`. "auto" moves the projections of values to the
            centers where regions have equally many points, assignment is hard and that takes fewer operations.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, options: ClusterOptions, backend: str = "auto"):
        super().__init__()
        self.heads, self.options, self.backend = heads, options, backend
        self.f, self.v = nn.Linear(dim, heads * head_dim), nn.Linear(dim, heads * head_dim)
        self.proj = nn.Linear(heads * head_dim, dim)
        self.alpha, self.beta = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, regions: Regions) -> tuple[Tensor, Assignment]:
        """Cluster points in region order: rows (N, dim) to rows (N, dim) and the assignment (N, heads)."""
        if are_plain(self.f, self.v, self.proj):
            weight, bias = torch.cat([self.f.weight, self.v.weight]), torch.cat([self.f.bias, self.v.bias])
            y, assignment = self.run(x, regions, (weight, bias), (self.proj.weight, self.proj.bias))
            return y, assignment.rows()
        f, v = (linear(x).unflatten(1, (self.heads, -1)) for linear in (self.f, self.v))
        y, assignment = context_cluster(f, v, regions, self.alpha, self.beta, self.options, self.backend)
        return self.proj(y.flatten(1)), assignment

    def run(
        self, x: Tensor, regions: Regions, fv: tuple[Tensor, Tensor], proj: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Assignment]:
        """Do what `forward` does with weight and bias of its layers given; see `cluster_layer` for the assignment.

        Args:
            x: shape (N, dim), points in region order.
            regions: where points are clustered.
            fv: f and v joined, shapes (2 heads head_dim, dim) and (2 heads head_dim,).
            proj: shapes (dim, heads head_dim) and (dim,).
        """
        weights = ClusterWeights(*fv, *proj, self.alpha, self.beta)
        return cluster_layer(x, regions, weights, self.heads, self.options, self.backend)
