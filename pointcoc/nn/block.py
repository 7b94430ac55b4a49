"""The block: a cluster layer and a pointwise network, each with norm, scale and residual."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointcoc.geometry.regions import Regions
from pointcoc.geometry.segments import Segments, spread
from pointcoc.nn.cluster import ContextCluster
from pointcoc.nn.folded import after_norm, are_plain, before_scale
from pointcoc.nn.mlp import Mlp, mlp
from pointcoc.nn.norm import NORMS, apply_norm
from pointcoc.ops import Assignment, ClusterOptions
from pointcoc.ops.equations import autocast_device


class ClusterBlock(nn.Module):
    """x + scale1 * drop_path(cluster(norm(x))), then x + scale2 * drop_path(mlp(norm(x))).

    `cluster` may be replaced by any module that maps rows (N, dim) in region order and their regions to rows (N, dim)
    and an `Assignment`.

    Args:
        dim: channels.
        heads: heads of the cluster layer.
        head_dim: channels of a head.
        mlp_ratio: hidden channels of the pointwise network over `dim`.
        options: of the cluster operation.
        drop_path: probability to skip a branch for a whole set while training.
        layer_scale: initial value of the scales.
        backend: which operator runs, see `ContextCluster`.
        norm: a key of `pointcoc.nn.NORMS`.
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
        norm: str = "set",
    ):
        super().__init__()
        self.norm1, self.cluster = NORMS[norm](dim), ContextCluster(dim, heads, head_dim, options, backend)
        self.norm2, self.mlp = NORMS[norm](dim), Mlp(dim, int(dim * mlp_ratio))
        self.scale1 = nn.Parameter(torch.full((dim,), layer_scale))
        self.scale2 = nn.Parameter(torch.full((dim,), layer_scale))
        self.drop_path = drop_path

    def forward(self, x: Tensor, sets: Segments, regions: Regions) -> tuple[Tensor, Assignment]:
        """Map rows (N, dim) in region order to rows (N, dim) and the assignment of the cluster layer."""
        y, assignment = self._cluster(x, sets, regions)
        x = x + self._drop(y, sets)
        return x + self._drop(self._pointwise(x, sets), sets), assignment

    def _cluster(self, x: Tensor, sets: Segments, regions: Regions) -> tuple[Tensor, Assignment]:
        """Run the first branch: what is folded into its layers need not be kept for the gradients."""
        if not has_plain_cluster(self) or _is_float16(x):
            y, assignment = self.cluster(apply_norm(self.norm1, x, sets), regions)
            return self.scale1 * y, assignment
        one = self.cluster
        fv, proj = after_norm(self.norm1, one.f, one.v), before_scale(one.proj, self.scale1)
        return one.run(self.norm1.normalize(x, sets), regions, fv, proj)

    def _pointwise(self, x: Tensor, sets: Segments) -> Tensor:
        if not has_plain_mlp(self) or _is_float16(x):
            return self.scale2 * self.mlp(apply_norm(self.norm2, x, sets))
        first, last = after_norm(self.norm2, self.mlp.fc1), before_scale(self.mlp.fc2, self.scale2)
        return mlp(self.norm2.normalize(x, sets), first, last)

    def _drop(self, x: Tensor, sets: Segments) -> Tensor:
        """Stochastic depth (ECCV 2016): skip the branch for some sets, scale it up for the others."""
        if not self.training or self.drop_path == 0.0:
            return x
        keep = torch.rand(sets.num, 1, device=x.device) >= self.drop_path
        return x * spread(keep.to(x.dtype) / (1 - self.drop_path), sets)


def has_plain_cluster(block: ClusterBlock) -> bool:
    """Whether parameters say all that the first branch of a block computes; a replaced or watched module is called."""
    one = block.cluster
    return _is_own(one, ContextCluster) and are_plain(block.norm1, one.f, one.v, one.proj)


def has_plain_mlp(block: ClusterBlock) -> bool:
    """Whether parameters say all that the second branch of a block computes."""
    one = block.mlp
    return _is_own(one, Mlp) and are_plain(block.norm2, one.fc1, one.act, one.fc2)


def _is_own(module: nn.Module, kind: type[nn.Module]) -> bool:
    return type(module) is kind and not (module._forward_hooks or module._forward_pre_hooks)


def _is_float16(x: Tensor) -> bool:
    """Whether products run in float16, where weights times a small scale would vanish."""
    device = autocast_device(x)
    is_autocast = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16
    return is_autocast or x.dtype == torch.float16
