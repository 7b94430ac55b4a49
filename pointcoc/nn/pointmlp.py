"""Layers of the point-cloud network: groups relative to their anchor, cluster layers in a group, residual blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pointcoc.geometry.regions import UniformRegions
from pointcoc.geometry.segments import Segments, segment_mean, segment_sum, spread
from pointcoc.nn.cluster import ContextCluster
from pointcoc.nn.norm import batch_norm
from pointcoc.ops import ClusterOptions

MIN_HEAD_DIM = 32

# A anchors of all sets, K points in the group of each, C channels.


class LinearNorm(nn.Module):
    """Linear, batch norm over rows, ReLU; the 1x1 convolution of the official code.

    Args:
        in_dim: channels in.
        out_dim: channels out.
        bias: whether the linear layer has one; the norm has one always.
    """

    def __init__(self, in_dim: int, out_dim: int, bias: bool = False):
        super().__init__()
        self.linear, self.norm = nn.Linear(in_dim, out_dim, bias), nn.BatchNorm1d(out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map rows (N, in_dim) to rows (N, out_dim)."""
        return F.relu(batch_norm(self.norm, self.linear(x)))


class ResidualBlock(nn.Module):
    """ReLU(x + norm2(linear2(ReLU(norm1(linear1(x)))))) for each row.

    PointMLP (ICLR 2022), section 3.2.

    Args:
        dim: channels.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.linear1, self.norm1 = nn.Linear(dim, dim, bias=False), nn.BatchNorm1d(dim)
        self.linear2, self.norm2 = nn.Linear(dim, dim, bias=False), nn.BatchNorm1d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map rows (N, dim) to rows (N, dim)."""
        hidden = F.relu(batch_norm(self.norm1, self.linear1(x)))
        return F.relu(x + batch_norm(self.norm2, self.linear2(hidden)))


class AnchorNorm(nn.Module):
    """Describe the points of a group relative to their anchor.

    PointMLP (ICLR 2022), section 3.3, the geometric affine module::

        weight (x_j - x_anchor) / (deviation + eps) + bias

    joined by x_anchor. The deviation is one number a set: the unbiased standard deviation of all differences, over all
    its anchors, their neighbors and all channels.

    Args:
        dim: channels of the points, C.
        eps: added to the deviation.
    """

    def __init__(self, dim: int, eps: float = 1e-5):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))
        self.eps = eps

    def forward(self, group: Tensor, anchor: Tensor, sets: Segments) -> Tensor:
        """Join groups (A, K, C) and anchors (A, C), the sets of which `sets` tells, to (A, K, 2 C)."""
        difference = group - anchor[:, None]
        scale = (spread(_deviation(difference, sets), sets) + self.eps)[..., None]
        normal = (difference / scale).to(group.dtype)
        return torch.cat([self.weight * normal + self.bias, anchor[:, None].expand_as(group)], dim=-1)

    def extra_repr(self) -> str:
        """Show the settings in print(module)."""
        return f"{len(self.weight)}, eps={self.eps}"


class GroupBlock(nn.Module):
    """A cluster layer with one head and one center, the mean of the group, then a residual block.

    Args:
        dim: channels.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.cluster = ContextCluster(dim, 1, max(dim // 4, MIN_HEAD_DIM), ClusterOptions())
        self.residual = ResidualBlock(dim)

    def forward(self, x: Tensor, groups: UniformRegions) -> Tensor:
        """Map rows (A * K, dim), group after group, to rows of the same order."""
        y, _ = self.cluster(x, groups)
        return self.residual(x + y)


class PointMLPStage(nn.Module):
    """One stage: group the points before around anchors, work in each group, take its maximum, work on the anchors.

    Args:
        in_dim: channels of the points before.
        dim: channels of the anchors.
        group_depth: blocks in the groups.
        depth: blocks on the anchors.
    """

    def __init__(self, in_dim: int, dim: int, group_depth: int, depth: int):
        super().__init__()
        self.norm, self.transfer = AnchorNorm(in_dim), LinearNorm(2 * in_dim, dim)
        self.group_blocks = nn.ModuleList(GroupBlock(dim) for _ in range(group_depth))
        self.blocks = nn.Sequential(*(ResidualBlock(dim) for _ in range(depth)))

    def forward(self, x: Tensor, anchors: Tensor, neighbors: Tensor, sets: Segments) -> Tensor:
        """Map points to anchors.

        Args:
            x: features of the points before, shape (N, in_dim).
            anchors: rows of `x` that are anchors, shape (A,).
            neighbors: rows of `x` in the group of each anchor, shape (A, K).
            sets: sets of the anchors.

        Returns:
            Features of the anchors, shape (A, dim).
        """
        group = x.index_select(0, neighbors.flatten()).unflatten(0, neighbors.shape)
        return self.blocks(self.pool(self.norm(group, x.index_select(0, anchors), sets)))

    def pool(self, group: Tensor) -> Tensor:
        """Map groups (A, K, 2 in_dim) to the maximum of each, (A, dim)."""
        num, size = group.shape[:2]
        members = torch.ones(1, 1, size, dtype=torch.bool, device=group.device)
        groups = UniformRegions(Segments.equal(num, size, group.device), members, all_exist=True)
        x = self.transfer(group.flatten(0, 1))
        for block in self.group_blocks:
            x = block(x, groups)
        return x.unflatten(0, (num, size)).amax(1)


def _deviation(x: Tensor, sets: Segments) -> Tensor:
    """Unbiased standard deviation of all numbers of each set: (A, K, C) to (B, 1), in float32 or better."""
    flat = x.to(torch.promote_types(x.dtype, torch.float32)).flatten(1)
    centered = flat - spread(segment_mean(flat.mean(1, keepdim=True), sets), sets)
    square = segment_sum(centered.square().sum(1, keepdim=True), sets)
    variance = square / (sets.counts[:, None] * flat.shape[1] - 1).clamp(min=1)
    return variance.clamp(min=torch.finfo(variance.dtype).tiny).sqrt()  # the gradient at 0 is 0, not infinite
