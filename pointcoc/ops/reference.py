"""The reference backend: the equations in eager torch on matrices (regions, heads, centers, points)."""

from __future__ import annotations

import torch
from torch import Tensor

from pointcoc.geometry.regions import Regions, UniformRegions
from pointcoc.ops.equations import Assignment, aggregate, assign, dispatch, exact, score, weights
from pointcoc.ops.options import ClusterOptions


def reference(
    f: Tensor, v: Tensor, regions: Regions, alpha: Tensor, beta: Tensor, options: ClusterOptions
) -> tuple[Tensor, Assignment]:
    """Cluster points; see `context_cluster`. Ragged regions are padded to the longest."""
    uniform, row = regions.uniform()
    f, v = _by_region(exact(f), uniform, row), _by_region(v, uniform, row)
    members = uniform.members[:, None].to(f.dtype)  # (R, 1, m, n)
    count = members.sum(-1, keepdim=True)
    mean = members / count.clamp(min=1)
    center_f, center_v = mean @ f, mean.to(v.dtype) @ v
    exists = None if uniform.all_exist else count > 0
    present = None if row is None else _by_region(torch.ones_like(row)[:, None, None], uniform, row).mT
    for step in range(options.iterations):
        scores = score(center_f, f, alpha.to(f.dtype), beta.to(f.dtype), exists)
        assignment = assign(scores)
        weight = weights(assignment, uniform.num_centers) if options.assignment == "hard" else scores.sigmoid()
        weight = weight if present is None else weight * present
        if step + 1 < options.iterations:
            center_f = aggregate(f, center_f, weight)
    weight = weight.to(v.dtype)
    y = dispatch(aggregate(v, center_v, weight, options.normalizer), weight)
    return _by_point(y, row), Assignment(_by_point(assignment.center, row), _by_point(assignment.similarity, row))


def _by_region(x: Tensor, regions: UniformRegions, row: Tensor | None) -> Tensor:
    """Rows (N, h, d) to (R, h, n, d); `row` says where a row lies among padded ones."""
    assert regions.segments.size is not None
    shape = (regions.segments.num, regions.segments.size)
    if row is not None:
        x = x.new_zeros(shape[0] * shape[1], *x.shape[1:]).index_copy(0, row, x)
    return x.unflatten(0, shape).transpose(1, 2)


def _by_point(x: Tensor, row: Tensor | None) -> Tensor:
    """Back from (R, h, n, ...) to rows (N, h, ...)."""
    x = x.transpose(1, 2).flatten(0, 1)
    return x if row is None else x.index_select(0, row)
