"""The reference backend: the equations in eager torch on matrices (regions, heads, centers, points).

Where the scores of all points and centers would take more than `SCORE_BYTES`, regions are handled a few at a time, and
for gradients their scores are computed again instead of kept.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pointcoc.geometry.regions import Proposals, Regions, UniformRegions
from pointcoc.ops.equations import (
    Assignment,
    aggregate,
    assign,
    autocast_device,
    dispatch,
    exact,
    in_torch_func,
    score,
    weights,
)
from pointcoc.ops.options import ClusterOptions

SCORE_BYTES = {"cpu": 16 << 20}  # at once; beyond a cache nothing is gained
SCORE_BYTES_ELSEWHERE = 256 << 20

# R regions, n points in each, m centers a region, h heads of d channels.


def reference(
    f: Tensor, v: Tensor, regions: Regions, alpha: Tensor, beta: Tensor, options: ClusterOptions
) -> tuple[Tensor, Assignment]:
    """Cluster points; see `context_cluster`. Ragged regions are padded to the longest."""
    uniform, row = regions.uniform()
    f, v = _by_region(exact(f), uniform, row), _by_region(v, uniform, row)
    proposals = uniform.proposals(f.dtype)
    present = None if row is None else _by_region(torch.ones_like(row)[:, None, None], uniform, row).mT
    parts = []
    for part in _parts(f, proposals.mean.shape[-2]):
        given = (f[part], v[part], _of(proposals, part), None if present is None else present[part])
        parts.append(_run(given, alpha, beta, options, is_kept=part == slice(None)))
    y, center, similarity = (values[0] if len(values) == 1 else torch.cat(values) for values in zip(*parts))
    return _by_point(y, row), Assignment(_by_point(center, row), _by_point(similarity, row))


Given = tuple[Tensor, Tensor, Proposals, Tensor | None]
Result = tuple[Tensor, Tensor, Tensor]  # (R, n, h, d), (R, n, h), (R, n, h)


def _run(given: Given, alpha: Tensor, beta: Tensor, options: ClusterOptions, is_kept: bool) -> Result:
    if is_kept or not torch.is_grad_enabled() or in_torch_func():
        return _cluster(given, alpha, beta, options)
    return checkpoint(_cluster, given, alpha, beta, options, use_reentrant=False, preserve_rng_state=False)


def _cluster(given: Given, alpha: Tensor, beta: Tensor, options: ClusterOptions) -> Result:
    f, v, proposals, present = given
    alpha, beta = alpha.to(f.dtype), beta.to(f.dtype)
    mean, exists = proposals.mean, proposals.exists
    mean, exists = (mean, exists) if mean.ndim == 2 else (mean[:, None], None if exists is None else exists[:, None])
    with torch.autocast(autocast_device(f), enabled=False):  # similarities are float32 or better
        center_f = mean @ f
        for step in range(options.iterations):
            scores = score(center_f, f, alpha, beta, exists)
            assignment = assign(scores)
            weight = weights(assignment, mean.shape[-2]) if options.assignment == "hard" else scores.sigmoid()
            weight = weight if present is None else weight * present
            if step + 1 < options.iterations:
                center_f = aggregate(f, center_f, weight)
    weight, center_v = weight.to(v.dtype), mean.to(v.dtype) @ v
    y = dispatch(aggregate(v, center_v, weight, options.normalizer), weight)
    return y.transpose(1, 2), assignment.center.mT, assignment.similarity.mT


def _parts(f: Tensor, num_centers: int) -> list[slice]:
    """Slices of regions (R, h, n, d) whose scores take little memory; one for all if they do."""
    if torch.compiler.is_compiling() or not all(isinstance(side, int) for side in f.shape):
        return [slice(None)]
    num_regions, heads, size, _ = f.shape
    most = SCORE_BYTES.get(f.device.type, SCORE_BYTES_ELSEWHERE)
    step = max(1, most // max(1, heads * size * num_centers * f.element_size()))
    if step >= num_regions:
        return [slice(None)]
    return [slice(start, start + step) for start in range(0, num_regions, step)]


def _of(proposals: Proposals, part: slice) -> Proposals:
    """The proposals of some regions."""
    if proposals.mean.ndim == 2:
        return proposals
    return Proposals(proposals.mean[part], None if proposals.exists is None else proposals.exists[part])


def _by_region(x: Tensor, regions: UniformRegions, row: Tensor | None) -> Tensor:
    """Rows (N, h, d) to (R, h, n, d); `row` says where a row lies among padded ones."""
    assert regions.segments.size is not None
    shape = (regions.segments.num, regions.segments.size)
    if row is not None:
        x = x.new_zeros(shape[0] * shape[1], *x.shape[1:]).index_copy(0, row, x)
    return x.unflatten(0, shape).transpose(1, 2)


def _by_point(x: Tensor, row: Tensor | None) -> Tensor:
    """Regions (R, n, h, ...) back to rows (N, h, ...)."""
    x = x.flatten(0, 1)
    return x if row is None else x.index_select(0, row)
