"""The block in its inference form: constants folded into four linear layers, all heads of a region at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointcoc.geometry.regions import Regions
from pointcoc.geometry.segments import Segments
from pointcoc.geometry.tiles import Tiles
from pointcoc.nn.block import ClusterBlock
from pointcoc.nn.inference_linear import inference_linear
from pointcoc.nn.norm import SetNorm, normalize, normalize_equal
from pointcoc.ops import Assignment, context_cluster
from pointcoc.ops.equations import EPS, unit

HIDDEN_BYTES = 8 << 20  # of the hidden layer at once: beyond a cache, and 32 MB is fetched anew from the system each time

# R regions of all sets, n points in each, m centers a region, h heads of d channels, C channels of the block.


class FusedBlock(nn.Module):
    """A `ClusterBlock` for inference: the same function of the same points with fewer and larger operations.

    The norm has a weight w and a bias b per channel, and a linear layer follows it: W (w * x + b) + c =
    (W diag(w)) x + (W b + c). So w and b are folded into that layer, and the scale of a branch into the layer that ends
    it. Mean and deviation of the set stay before the product: there they touch C channels, behind it 2 h d or
    C mlp_ratio, which are more, and a large mean would cancel only after rounding.

    On equal tiles with hard, fixed centers (`by_tiles`) values are never projected per point. Aggregation and dispatch
    are sums over points, so the linear layers v and proj move past them, to the m centers of each region and head.
    Per point there remain f, for its length, and three products with the (h m, C) centers of its region.

    Args:
        block: the block to fold; it is not changed.
    """

    def __init__(self, block: ClusterBlock):
        super().__init__()
        cluster, mlp = block.cluster, block.mlp
        self.heads, self.options, self.backend = cluster.heads, cluster.options, cluster.backend
        self.eps1, self.eps2 = block.norm1.eps, block.norm2.eps
        self.fv = _after_norm(block.norm1, cluster.f, cluster.v)
        self.proj = _before_scale(cluster.proj, block.scale1)
        self.alpha, self.beta = _frozen(cluster.alpha), _frozen(cluster.beta)
        self.fc1 = _after_norm(block.norm2, mlp.fc1)
        self.fc2 = _before_scale(mlp.fc2, block.scale2)

    def forward(self, x: Tensor, sets: Segments, regions: Regions) -> tuple[Tensor, Assignment]:
        """Map rows (N, C) in region order as `ClusterBlock` does, on regions of any kind."""
        fv = _apply(self.fv, normalize(x, sets, self.eps1)).unflatten(1, (2, self.heads, -1))
        f, v = fv.unbind(1)
        y, assignment = context_cluster(f, v, regions, self.alpha, self.beta, self.options, self.backend)
        x = x + _apply(self.proj, y.flatten(1))
        return x + self._pointwise(normalize(x, sets, self.eps2)), assignment

    def by_tiles(self, x: Tensor, tiles: Tiles, num_sets: int) -> Tensor:
        """Map tiles (R, n, C) to tiles (R, n, C); only where `prefers_tiles`."""
        normal = normalize_equal(x.view(num_sets, -1, x.shape[-1]), self.eps1).view_as(x)
        x = x + self._cluster(normal, tiles)
        return x + self._pointwise(normalize_equal(x.view(num_sets, -1, x.shape[-1]), self.eps2).view_as(x))

    def prefers_tiles(self, num_centers: int) -> bool:
        """Whether `by_tiles` may run and takes fewer multiplications per point than `forward`.

        It needs h d C + 3 h m C of them, `forward` 3 h d C + 3 m h d: for 49 centers those are fewer.

        Args:
            num_centers: centers per region, m.
        """
        is_official = self.options.assignment == "hard" and self.options.iterations == 1 and self.backend == "auto"
        dim, head_dim = self.proj.out_features, self.proj.in_features // self.heads
        return is_official and 3 * num_centers * dim <= 2 * head_dim * dim + 3 * num_centers * head_dim

    def _pointwise(self, normal: Tensor) -> Tensor:
        """Run the pointwise network on as many points at a time as leave its hidden layer in a processor's cache."""
        rows = normal.flatten(0, -2)
        parts = [self._mlp(part) for part in rows.split(self._rows_at_once(rows))]
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).view_as(normal)

    def _mlp(self, rows: Tensor) -> Tensor:
        return _apply(self.fc2, _apply(self.fc1, rows, gelu=True))

    def _rows_at_once(self, rows: Tensor) -> int:
        is_open = torch.compiler.is_exporting() or not isinstance(rows.shape[0], int)  # programs for any number of rows
        if is_open or rows.device.type != "cpu":
            return rows.shape[0]
        return max(1, HIDDEN_BYTES // (self.fc1.out_features * rows.element_size()))

    def _cluster(self, x: Tensor, tiles: Tiles) -> Tensor:
        """Cluster normalized points (R, n, C) and project the result back."""
        point = x.to(tiles.mean.dtype)
        center = tiles.mean @ point  # (R, m, C)
        weight, total = self._assign(x, point, center, tiles.exists)
        return weight.mT @ self._answer(x, center, weight, total) + self.proj.bias

    def _assign(self, x: Tensor, point: Tensor, center: Tensor, exists: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return s_ij where point j belongs to center i and 0 elsewhere, (R, h m, n), and what divides, (R, h m).

        f_j . c_i = (W x_j + b) . c_i = x_j . (W' c_i) + b . c_i, so centers go to the channels of the points; the
        length of f_j changes no order and divides only the largest score of a point. Scores are float32 or better.
        """
        f_weight, f_bias = (part.chunk(2)[0] for part in (self.fv.weight, self.fv.bias))
        f = inference_linear(x, f_weight, f_bias).unflatten(-1, (self.heads, -1))
        length = torch.linalg.vector_norm(f, dim=-1, dtype=point.dtype).mT  # (R, h, n)
        weight, bias = (self._by_head(part.to(point.dtype)) for part in (f_weight, f_bias))
        center_f = torch.einsum("rmc,hdc->rhmd", center, weight) + bias[:, None]
        center_f = self.alpha.to(point.dtype) * unit(center_f)
        key = torch.einsum("rhmd,hdc->rhmc", center_f, weight).flatten(1, 2)
        shift = torch.einsum("rhmd,hd->rhm", center_f, bias).flatten(1)
        score = torch.baddbmm(shift[..., None], key, point.mT).unflatten(1, (self.heads, -1))
        score = score if exists is None else score.masked_fill(~exists[:, None], -torch.inf)
        best, chosen = score.max(2)  # the first on ties
        similarity = (self.beta.to(point.dtype) + best / length.clamp(min=EPS)).sigmoid()
        belongs = chosen[:, :, None] == torch.arange(score.shape[2], device=x.device)[:, None]
        weight = (similarity[:, :, None] * belongs).flatten(1, 2)
        share = weight if self.options.normalizer == "similarity" else belongs.flatten(1, 2).to(weight.dtype)
        return weight.to(x.dtype), 1 + share.sum(-1)

    def _answer(self, x: Tensor, center: Tensor, weight: Tensor, total: Tensor) -> Tensor:
        """Return what each center dispatches, projected to the channels of the points, (R, h m, C).

        g_i = (c_v_i + sum_j s_ij v_j) / total_i with v = V x + b is V applied to the same blend of points, and
        b (1 + sum_j s_ij) / total_i, which is b where similarities are the normalizer.
        """
        v_weight, v_bias = (self._by_head(part.chunk(2)[1]) for part in (self.fv.weight, self.fv.bias))
        num = center.shape[1]
        center, total = center.to(x.dtype)[:, None], total.to(x.dtype).view(-1, self.heads, num, 1)
        blend = (center + (weight @ x).unflatten(1, (self.heads, num))) / total
        bias = v_bias[:, None]
        if self.options.normalizer == "count":
            bias = bias * (1 + weight.sum(-1).view_as(total)) / total
        g = torch.einsum("rhmc,hdc->rhmd", blend, v_weight) + bias
        return torch.einsum("rhmd,chd->rhmc", g, self.proj.weight.unflatten(1, (self.heads, -1))).flatten(1, 2)

    def _by_head(self, parameter: Tensor) -> Tensor:
        return parameter.unflatten(0, (self.heads, -1))


def _apply(layer: nn.Linear, x: Tensor, gelu: bool = False) -> Tensor:
    return inference_linear(x, layer.weight, layer.bias, gelu)


def _after_norm(norm: SetNorm, *layers: nn.Linear) -> nn.Linear:
    """Join linear layers of one input and fold the affine part of the norm before them into the result."""
    weight = torch.cat([layer.weight for layer in layers]).double()
    bias = torch.cat([layer.bias for layer in layers]).double() + weight @ norm.bias.double()
    return _linear(weight * norm.weight.double(), bias, like=norm.weight)


def _before_scale(layer: nn.Linear, scale: Tensor) -> nn.Linear:
    """Fold the scale of a branch into the linear layer that ends it."""
    exact = scale.double()
    return _linear(exact[:, None] * layer.weight.double(), exact * layer.bias.double(), like=scale)


def _linear(weight: Tensor, bias: Tensor, like: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight, layer.bias = _frozen(weight.to(like.dtype)), _frozen(bias.to(like.dtype))
    return layer


def _frozen(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.detach().clone(), requires_grad=False)
