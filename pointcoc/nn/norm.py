"""Group norm with one group over all points of a set and all channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pointcoc.geometry.segments import Segments, segment_mean, spread


class SetNorm(nn.Module):
    """Normalize each set to mean 0 and variance 1 over its points and channels, then scale and shift each channel.

    Group Normalization (ECCV 2018) with one group, as in the official Context Clusters; absent points take no part.

    Args:
        dim: number of channels, C.
        eps: added to the variance.
    """

    def __init__(self, dim: int, eps: float = 1e-5):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))
        self.eps = eps

    def forward(self, x: Tensor, sets: Segments) -> Tensor:
        """Normalize rows (N, C), each with its set."""
        normal = normalize(x, sets, self.eps)
        return torch.addcmul(self.bias.to(normal.dtype), normal, self.weight.to(normal.dtype))

    def extra_repr(self) -> str:
        """Show the settings in print(module)."""
        return f"{len(self.weight)}, eps={self.eps}"


def normalize(x: Tensor, sets: Segments, eps: float) -> Tensor:
    """Normalize each set to mean 0 and variance 1 over its points and channels; rows (N, C) to rows (N, C)."""
    if sets.size is None:
        return _normalize_ragged(x, sets, eps)
    return normalize_equal(x.view(sets.num, sets.size, -1), eps).view_as(x)


def normalize_equal(x: Tensor, eps: float) -> Tensor:
    """Normalize as `normalize`, sets of equally many points (B, ..., C)."""
    return F.layer_norm(x, x.shape[1:], eps=eps)


def _normalize_ragged(x: Tensor, sets: Segments, eps: float) -> Tensor:
    exact = x.to(torch.promote_types(x.dtype, torch.float32))
    centered = exact - spread(segment_mean(exact.mean(1, keepdim=True), sets), sets)
    variance = segment_mean(centered.square().mean(1, keepdim=True), sets)
    return (centered * spread((variance + eps).rsqrt(), sets)).to(x.dtype)
