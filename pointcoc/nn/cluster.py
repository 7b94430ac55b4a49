"""The cluster layer: projections around the cluster operation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointcoc.geometry.regions import Regions
from pointcoc.ops import Assignment, ClusterOptions, context_cluster


class ContextCluster(nn.Module):
    """Project to features f and values v, cluster them per region and head, and project the joined heads back.

    Context Clusters (ICLR 2023), section 3.2.

    Args:
        dim: channels in and out.
        heads: number of heads.
        head_dim: channels of a head.
        options: normalizer, assignment and iterations.
        backend: see `context_cluster`.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, options: ClusterOptions, backend: str = "auto"):
        super().__init__()
        self.heads, self.options, self.backend = heads, options, backend
        self.f, self.v = nn.Linear(dim, heads * head_dim), nn.Linear(dim, heads * head_dim)
        self.proj = nn.Linear(heads * head_dim, dim)
        self.alpha, self.beta = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, regions: Regions) -> tuple[Tensor, Assignment]:
        """Cluster points in region order: rows (N, dim) to rows (N, dim) and the assignment (N, heads)."""
        f, v = (linear(x).unflatten(1, (self.heads, -1)) for linear in (self.f, self.v))
        y, assignment = context_cluster(f, v, regions, self.alpha, self.beta, self.options, self.backend)
        return self.proj(y.flatten(1)), assignment
