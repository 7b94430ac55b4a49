"""What an operator of the cluster layer is given: the case that decides whether it can run, and the weights."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pointcoc.geometry.regions import Regions, UniformRegions
from pointcoc.ops.options import ClusterOptions


class Case(NamedTuple):
    """What decides which operator runs; values of tensors do not.

    Args:
        regions: where points are clustered.
        options: what is computed.
        device: of the features.
        dtypes: of f and of v.
        head_dims: channels of a head of f and of v, d.
        dim: channels of the layer, C; None for the operation alone, without the linear layers around it.
    """

    regions: Regions
    options: ClusterOptions
    device: torch.device
    dtypes: tuple[torch.dtype, torch.dtype]
    head_dims: tuple[int, int]
    dim: int | None = None


class ClusterWeights(NamedTuple):
    """The parameters of a cluster layer of C channels and h heads of d channels.

    Args:
        fv_weight: of the layers f and v, joined, shape (2 h d, C).
        fv_bias: shape (2 h d,).
        proj_weight: shape (C, h d).
        proj_bias: shape (C,).
        alpha: scale of the cosine, shape (1,).
        beta: shift of the cosine, shape (1,).
    """

    fv_weight: Tensor
    fv_bias: Tensor
    proj_weight: Tensor
    proj_bias: Tensor
    alpha: Tensor
    beta: Tensor


def why_not_uniform(regions: Regions) -> str | None:
    """Return a sentence unless regions are known to have equally many points.

    Args:
        regions: where points are clustered.
    """
    if isinstance(regions, UniformRegions):
        return None
    return f"regions must all have equally many points (UniformRegions), got {type(regions).__name__}"
