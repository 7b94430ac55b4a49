"""The cluster layer on uniform regions with values that are never projected per point.

Aggregation and dispatch are sums over points, so the linear layers before and after them move past the sums, to the m
centers of each region and head. Per point there remain f, for its length, and three products with the (h m, C) centers
of its region; no tensor of heads and channels of points is permuted or kept for the gradients of values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pointcoc.geometry.regions import Regions, UniformRegions
from pointcoc.ops.equations import EPS, Assignment, autocast_device, exact, unit
from pointcoc.ops.inference_linear import inference_linear
from pointcoc.ops.options import Case, ClusterOptions, ClusterWeights

# R regions, n points in each, m centers a region, h heads of d channels, C channels of the layer.


def why_center_side_later(case: Case) -> str | None:
    """Return a sentence where projecting f and v first takes fewer multiplications per point, else None.

    `center_side` takes h d C + 3 h m C of them, the other way 3 h d C + 3 m h d: for 49 centers those are fewer.

    Args:
        case: what it would run on.
    """
    num_centers, dim, head_dim = case.regions.num_centers, case.dim, case.head_dims[0]
    assert dim is not None
    if 3 * num_centers * dim <= 2 * head_dim * dim + 3 * num_centers * head_dim:
        return None
    return f"projecting every point takes fewer multiplications for {num_centers} centers a region"


def center_side(
    x: Tensor, regions: Regions, weights: ClusterWeights, heads: int, options: ClusterOptions
) -> tuple[Tensor, Assignment]:
    """Run a cluster layer; see `cluster_layer`.

    Similarities are float32 or better, under autocast too.
    """
    assert isinstance(regions, UniformRegions)
    x = x.view(regions.segments.num, regions.members.shape[2], -1)
    point = exact(x)
    proposals = regions.proposals(point.dtype)
    with torch.autocast(autocast_device(x), enabled=False):
        center = proposals.mean @ point  # (R, m, C)
    weight, belongs, assignment = _assign(x, point, center, proposals.exists, weights, heads)
    total = 1 + (weight if options.normalizer == "similarity" else belongs.to(weight.dtype)).sum(-1)
    weight = weight.to(x.dtype)
    answer = _answer(x, center.to(x.dtype), weight, total.to(x.dtype), weights, heads, options.normalizer)
    return (weight.mT @ answer + weights.proj_bias).flatten(0, 1), assignment


def _assign(
    x: Tensor, point: Tensor, center: Tensor, exists: Tensor | None, weights: ClusterWeights, heads: int
) -> tuple[Tensor, Tensor, Assignment]:
    """Return s_ij where point j belongs to center i and 0 elsewhere, where it belongs, (R, h m, n), and the assignment.

    f_j . c_i = (W x_j + b) . c_i = x_j . (W' c_i) + b . c_i, so centers go to the channels of the points; the length of
    f_j changes no order and divides only the largest score of a point.
    """
    f_weight, f_bias = weights.fv_weight.chunk(2)[0], weights.fv_bias.chunk(2)[0]
    f = inference_linear(x, f_weight, f_bias).unflatten(-1, (heads, -1))
    length = torch.linalg.vector_norm(f, dim=-1, dtype=point.dtype).mT  # (R, h, n)
    with torch.autocast(autocast_device(x), enabled=False):
        alpha, beta = weights.alpha.to(point.dtype), weights.beta.to(point.dtype)
        key, shift = _keys(center, f_weight.to(point.dtype), f_bias.to(point.dtype), alpha, heads)
        score = torch.baddbmm(shift[..., None], key, point.mT).unflatten(1, (heads, -1))
        score = score if exists is None else score.masked_fill(~exists[..., None, :, :], -torch.inf)
        best, chosen = score.max(2)  # the first on ties
        similarity = (beta + best / length.clamp(min=EPS)).sigmoid()
    belongs = chosen[:, :, None] == torch.arange(score.shape[2], device=x.device)[:, None]
    weight = (similarity[:, :, None] * belongs).flatten(1, 2)
    return weight, belongs.flatten(1, 2), Assignment(chosen.mT, similarity.mT)  # views: few read the assignments


def _keys(center: Tensor, weight: Tensor, bias: Tensor, alpha: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Return what points are compared with, (R, h m, C), and what is added, (R, h m)."""
    weight, bias = weight.unflatten(0, (heads, -1)), bias.unflatten(0, (heads, -1))
    center_f = alpha * unit(torch.einsum("rmc,hdc->rhmd", center, weight) + bias[:, None])
    key = torch.einsum("rhmd,hdc->rhmc", center_f, weight)
    return key.flatten(1, 2), torch.einsum("rhmd,hd->rhm", center_f, bias).flatten(1)


def _answer(
    x: Tensor, center: Tensor, weight: Tensor, total: Tensor, weights: ClusterWeights, heads: int, normalizer: str
) -> Tensor:
    """Return what each center dispatches, projected to the channels of the points, (R, h m, C).

    g_i = (c_v_i + sum_j s_ij v_j) / total_i with v = V x + b is V applied to the same blend of points, and
    b (1 + sum_j s_ij) / total_i, which is b where similarities are the normalizer.
    """
    v_weight, v_bias = (part.chunk(2)[1].unflatten(0, (heads, -1)) for part in (weights.fv_weight, weights.fv_bias))
    num = center.shape[1]
    total = total.view(-1, heads, num, 1)
    blend = (center[:, None] + (weight @ x).unflatten(1, (heads, num))) / total
    bias = v_bias[:, None]
    if normalizer == "count":
        bias = bias * (1 + weight.sum(-1).view_as(total)) / total
    g = torch.einsum("rhmc,hdc->rhmd", blend, v_weight) + bias
    return torch.einsum("rhmd,chd->rhmc", g, weights.proj_weight.unflatten(1, (heads, -1))).flatten(1, 2)
