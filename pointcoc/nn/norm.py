"""Norms, and the table from which a network takes its own.

A norm has the methods `forward(x, sets)`; `normalize(x, sets)`, the part that depends on the points of a batch;
`constants(dtype)`, the weight and the bias per channel that follow, which fold into the linear layer behind the norm;
and `bare()`, a module for the folded form that normalizes alone. To add a norm, write it and add a row to `NORMS`.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from pointcoc.geometry.segments import Segments, segment_mean, spread


class SetStatistics(nn.Module):
    """Normalize each set to mean 0 and variance 1 over its points and channels.

    Args:
        eps: added to the variance.
    """

    def __init__(self, eps: float = 1e-5):
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor, sets: Segments) -> Tensor:
        """Normalize rows (N, C), each with its set."""
        return self.normalize(x, sets)

    def normalize(self, x: Tensor, sets: Segments) -> Tensor:
        """Normalize rows (N, C), without weight and bias."""
        if sets.size is None:
            return _normalize_ragged(x, sets, self.eps)
        equal = x.view(sets.num, sets.size, -1)
        return F.layer_norm(equal, equal.shape[1:], eps=self.eps).view_as(x)


class SetNorm(SetStatistics):
    """Normalize each set to mean 0 and variance 1 over its points and channels, then scale and shift each channel.

    Group Normalization (ECCV 2018) with one group, as in the official Context Clusters; absent points take no part.

    Args:
        dim: number of channels, C.
        eps: added to the variance.
    """

    def __init__(self, dim: int, eps: float = 1e-5):
        super().__init__(eps)
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor, sets: Segments) -> Tensor:
        """Normalize rows (N, C), each with its set."""
        normal = self.normalize(x, sets)
        return torch.addcmul(self.bias.to(normal.dtype), normal, self.weight.to(normal.dtype))

    def constants(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return weight and bias, shapes (C,), in a dtype."""
        return self.weight.to(dtype), self.bias.to(dtype)

    def bare(self) -> nn.Module:
        """Return a module that normalizes without weight and bias."""
        return SetStatistics(self.eps)

    def extra_repr(self) -> str:
        """Show the settings in print(module)."""
        return f"{len(self.weight)}, eps={self.eps}"


class BatchNorm(nn.BatchNorm1d):
    """Batch norm of each channel over the points of all sets of a batch (ICML 2015); sets do not matter.

    Training needs more than one point a batch. In evaluation all of it is constants, so a folded network computes none.
    """

    def forward(self, x: Tensor, sets: Segments | None = None) -> Tensor:  # type: ignore[override]
        """Normalize rows (N, C)."""
        check_rows(self, x)
        return super().forward(x)

    def normalize(self, x: Tensor, sets: Segments) -> Tensor:
        """Normalize rows (N, C) by the batch while training; leave them as they are in evaluation."""
        if not self.training:
            return x
        check_rows(self, x)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = cast(float, self.momentum)
        return F.batch_norm(x, self.running_mean, self.running_var, None, None, True, momentum, self.eps)

    def constants(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return weight and bias, shapes (C,), in a dtype; in evaluation with the running statistics in them."""
        if self.training:
            return self.weight.to(dtype), self.bias.to(dtype)
        return running_constants(self, dtype)

    def bare(self) -> nn.Module:
        """Return a module that leaves points as they are: in evaluation all else is constants."""
        return nn.Identity()


NORMS: dict[str, type[SetNorm] | type[BatchNorm]] = {"set": SetNorm, "batch": BatchNorm}
NormLayer = SetNorm | BatchNorm


def running_constants(norm: _BatchNorm, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return scale and shift per channel of a batch norm in evaluation, shapes (C,).

    Args:
        norm: of one or of several processes.
        dtype: to compute in.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.to(dtype) * (norm.running_var.to(dtype) + norm.eps).rsqrt()
    return scale, norm.bias.to(dtype) - scale * norm.running_mean.to(dtype)


def check_rows(norm: nn.Module, x: Tensor) -> None:
    """Raise ValueError if a batch norm is to take its statistics from one row alone.

    Args:
        norm: a batch norm; one of several processes may have its other rows elsewhere.
        x: the rows.
    """
    if norm.training and x.shape[0] == 1 and not isinstance(norm, nn.SyncBatchNorm):
        raise ValueError(
            "training needs more than one row at every batch norm, got 1: one small set is left of this batch; give "
            "larger sets or more of them (drop_last leaves out a short last batch), or call eval() to predict"
        )


def batch_norm(norm: nn.Module, x: Tensor) -> Tensor:
    """Apply a batch norm to rows (N, C); see `check_rows` for what it refuses."""
    check_rows(norm, x)
    return norm(x)


def apply_norm(norm: nn.Module, x: Tensor, sets: Segments) -> Tensor:
    """Normalize rows (N, C) by a norm of the table, its bare form, or what torch made of one for several processes.

    Args:
        norm: one that knows sets, or a module that reads rows alone, such as `torch.nn.SyncBatchNorm`.
        x: the rows.
        sets: their sets.
    """
    return norm(x, sets) if hasattr(norm, "normalize") else norm(x)


def _normalize_ragged(x: Tensor, sets: Segments, eps: float) -> Tensor:
    exact = x.to(torch.promote_types(x.dtype, torch.float32))
    centered = exact - spread(segment_mean(exact.mean(1, keepdim=True), sets), sets)
    variance = segment_mean(centered.square().mean(1, keepdim=True), sets)
    return (centered * spread((variance + eps).rsqrt(), sets)).to(x.dtype)
