"""The ragged backend: flat points in regions of any size, by gathers and segment sums.

No tensor of (points, centers, channels) is made: a point is compared with one center of its region after the other, and
only the chosen one takes part in gradients.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pointcoc.geometry.regions import RaggedRegions, Regions
from pointcoc.geometry.segments import scatter_sum, segment_sum
from pointcoc.ops.equations import Assignment, exact, unit
from pointcoc.ops.options import ClusterOptions

# N points, h heads, d channels, R regions, m centers a region; tables of centers are (R * m, h, d).


def ragged(
    f: Tensor, v: Tensor, regions: Regions, alpha: Tensor, beta: Tensor, options: ClusterOptions
) -> tuple[Tensor, Assignment]:
    """Cluster points; see `context_cluster`. Uniform regions are read as lists."""
    f, lists, dtype = exact(f), regions.ragged(), v.dtype
    v = exact(v)  # sums over many points in half precision stop growing
    alpha, beta = alpha.to(f.dtype), beta.to(f.dtype)
    count = lists.member_counts.clamp(min=1)[:, None, None]
    center_f, center_v = _member_sum(f, lists) / count.to(f.dtype), _member_sum(v, lists) / count.to(v.dtype)
    cluster = _Soft(lists, alpha, beta) if options.assignment == "soft" else _Hard(lists, alpha, beta)
    for _ in range(options.iterations - 1):
        cluster.assign(center_f, f)
        center_f = cluster.aggregate(f, center_f, "similarity")
    assignment = cluster.assign(center_f, f)
    return cluster.dispatch(cluster.aggregate(v, center_v, options.normalizer)).to(dtype), assignment


def _member_sum(x: Tensor, regions: RaggedRegions) -> Tensor:
    """Sum the points of each proposal: (N, h, d) to (R * m, h, d).

    On a CPU they are added in the order of the list, whatever else is in the batch: a set gives the same bits alone.
    """
    num = regions.segments.num * regions.num_centers
    return scatter_sum(x.index_select(0, regions.member_point), regions.member_center, num)


class _Hard:
    """Every point belongs to the most similar center of its region."""

    def __init__(self, regions: RaggedRegions, alpha: Tensor, beta: Tensor):
        self.regions, self.alpha, self.beta = regions, alpha, beta

    def assign(self, center: Tensor, point: Tensor) -> Assignment:
        """Choose without gradients, then compute the similarity to the chosen center with them."""
        unit_center, unit_point = unit(center), unit(point)
        with torch.no_grad():
            scores = _scores(unit_center, unit_point, self.regions, self.alpha, self.beta)
            chosen = torch.stack(list(scores)).argmax(0)  # of equal scores the first, so the order of centers counts
        # Rows of the flattened table (region, center, head): one index for the gather here, the sums and the way back.
        number = self.regions.segments.index[:, None] * self.regions.num_centers + chosen
        heads = point.shape[1]
        self.row = (number * heads + torch.arange(heads, device=number.device)).flatten()
        cosine = (unit_center.flatten(0, 1).index_select(0, self.row) * unit_point.flatten(0, 1)).sum(-1)
        self.similarity = (self.beta + self.alpha * cosine).sigmoid().view(chosen.shape)
        return Assignment(chosen, self.similarity)

    def aggregate(self, value: Tensor, center_value: Tensor, normalizer: str) -> Tensor:
        """g_i = (c_i + sum s_j v_j) / (1 + sum s_j)."""
        num = center_value.shape[0] * center_value.shape[1]
        weight = self.similarity.to(value.dtype).flatten()
        total = scatter_sum(weight[:, None] * value.flatten(0, 1), self.row, num)
        share = scatter_sum(weight if normalizer == "similarity" else torch.ones_like(weight), self.row, num)
        return (center_value + total.view_as(center_value)) / (1 + share.view(*center_value.shape[:2], 1))

    def dispatch(self, center: Tensor) -> Tensor:
        """y_j = s_j g_{a_j}."""
        back = center.flatten(0, 1).index_select(0, self.row).view(*self.similarity.shape, -1)
        return self.similarity.to(center.dtype)[..., None] * back


class _Soft:
    """Every point belongs to all centers of its region; one center of every region is handled at a time."""

    def __init__(self, regions: RaggedRegions, alpha: Tensor, beta: Tensor):
        self.regions, self.alpha, self.beta = regions, alpha, beta

    def assign(self, center: Tensor, point: Tensor) -> Assignment:
        """Compute all similarities, (m, N, h)."""
        scores = torch.stack(list(_scores(unit(center), unit(point), self.regions, self.alpha, self.beta)))
        self.similarity = scores.sigmoid()
        best = scores.argmax(0)
        return Assignment(best, self.similarity.gather(0, best[None])[0])

    def aggregate(self, value: Tensor, center_value: Tensor, normalizer: str) -> Tensor:
        """g_i = (c_i + sum_j s_ij v_j) / (1 + sum_j s_ij)."""
        parts = []
        for weight, center in zip(self.similarity.to(value.dtype), self._tables(center_value), strict=True):
            total = segment_sum(weight[..., None] * value, self.regions.segments)
            counted = weight if normalizer == "similarity" else (weight > 0).to(weight.dtype)
            parts.append((center + total) / (1 + segment_sum(counted, self.regions.segments)[..., None]))
        return torch.stack(parts, dim=1).flatten(0, 1)

    def dispatch(self, center: Tensor) -> Tensor:
        """y_j = sum_i s_ij g_i."""
        region = self.regions.segments.index
        tables = zip(self.similarity.to(center.dtype), self._tables(center), strict=True)
        return sum(weight[..., None] * table.index_select(0, region) for weight, table in tables)  # type: ignore[return-value]

    def _tables(self, center: Tensor) -> tuple[Tensor, ...]:
        return center.unflatten(0, (self.regions.segments.num, self.regions.num_centers)).unbind(1)


def _scores(
    unit_center: Tensor, unit_point: Tensor, regions: RaggedRegions, alpha: Tensor, beta: Tensor
) -> Iterator[Tensor]:
    """Yield beta + alpha cos to center i of the own region, (N, h), for each i; -inf for a proposal without points."""
    region, num_centers = regions.segments.index, regions.num_centers
    exists = regions.member_counts.view(-1, num_centers) > 0
    # Center by center: a table of all of them for every point would be (N, m, h, d).
    for i, table in enumerate(unit_center.unflatten(0, (regions.segments.num, num_centers)).unbind(1)):
        cosine = (table.index_select(0, region) * unit_point).sum(-1)
        yield (beta + alpha * cosine).masked_fill(~exists[:, i].index_select(0, region)[:, None], -torch.inf)
