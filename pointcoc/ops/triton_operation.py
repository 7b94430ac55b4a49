"""The backend `triton`: the whole cluster operation as one Triton kernel, and its gradients as another.

Per region and head, with points f, v, proposals P_i of k_i points and the letters of `context_cluster`::

    c_i = sum_{j in P_i} f_j / k_i,   e_i = sum_{j in P_i} v_j / k_i,   t_j = unit(c_{a_j}) . unit(f_j)
    s_j = sigmoid(beta + alpha t_j),  D_i = 1 + sum_{a_j = i} s_j       (or 1 + number of points)
    g_i = (e_i + sum_{a_j = i} s_j v_j) / D_i,   y_j = s_j g_{a_j}

A point stores a_j (one byte) and s_j, a center g_i and D_i; everything else is computed again for the gradients::

    dg_i = sum_{a_j = i} s_j dy_j,   u_i = dg_i / D_i
    dv_j = s_j u_{a_j} + sum_{i: j in P_i} u_i / k_i
    ds_j = dy_j . g_{a_j} + v_j . u_{a_j} - u_{a_j} . g_{a_j}           (the last only where D_i sums similarities)
    dz_j = s_j (1 - s_j) ds_j,   dalpha = sum_j t_j dz_j,   dbeta = sum_j dz_j
    dc_i = unit'(c_i) sum_{a_j = i} alpha dz_j unit(f_j)
    df_j = unit'(f_j) alpha dz_j unit(c_{a_j}) + sum_{i: j in P_i} dc_i / k_i

with unit'(x) d = (d - unit(x) (unit(x) . d)) / |x|. The choice a_j has no gradient, nor has a number of points.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pointcoc.geometry.regions import Regions, UniformRegions
from pointcoc.ops.equations import Assignment
from pointcoc.ops.options import ClusterOptions

# N points, h heads, d channels, R regions of n points, m centers a region.

# By the registers and shared memory that compilation for capability 8.0 and 9.0 takes; not tuned by timings on a GPU.
LAUNCH = {"num_warps": 4, "num_stages": 1, "enable_fp_fusion": True}


def triton(
    f: Tensor, v: Tensor, regions: Regions, alpha: Tensor, beta: Tensor, options: ClusterOptions
) -> tuple[Tensor, Assignment]:
    """Cluster points; see `context_cluster`. What `why_not_triton` names must have been excluded."""
    assert isinstance(regions, UniformRegions)
    dtype = torch.promote_types(f.dtype, torch.float32)
    y, center, similarity, _, _ = cluster_forward(
        f, v, regions.members, alpha.to(dtype), beta.to(dtype), options.normalizer == "count"
    )
    return y, Assignment(center.long(), similarity)


@torch.library.custom_op("pointcoc::context_cluster", mutates_args=())
def cluster_forward(
    f: Tensor, v: Tensor, members: Tensor, alpha: Tensor, beta: Tensor, by_count: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run the forward kernel.

    Args:
        f: features that are compared, shape (N, h, d), points in region order.
        v: features that are aggregated, shape (N, h, d).
        members: points of each proposal, bool, shape (R, m, n), or (1, m, n) where all regions are alike.
        alpha: scale of the cosine, shape (1,), float32 or float64 as the sums.
        beta: shift of the cosine, shape (1,).
        by_count: whether a cluster is divided by 1 + its number of points.

    Returns:
        y (N, h, d); a (N, h), int8; s (N, h); g (R, h, m, d) and D (R, h, m).
    """
    from pointcoc.ops.triton_kernels import forward_kernel

    f, v, members = _rows_in_one_piece(f), _rows_in_one_piece(v), members.contiguous()
    outputs = _empty_outputs(f, v, members)
    num_programs = outputs[4].shape[0] * f.shape[1]
    assert members.shape[0] in (1, outputs[4].shape[0]), "a table of members for all regions, or for each"
    if num_programs:
        with torch.cuda.device_of(f):
            forward_kernel[(num_programs,)](
                f, v, members.view(torch.uint8), alpha, beta, *outputs,
                members.shape[2], f.shape[1], *f.stride()[:2], *v.stride()[:2], _region_stride(members),
                BY_COUNT=by_count, **_constants(f, v, members),
            )  # fmt: skip
    return outputs


@cluster_forward.register_fake
def _(
    f: Tensor, v: Tensor, members: Tensor, alpha: Tensor, beta: Tensor, by_count: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _empty_outputs(f, v, members)


def _empty_outputs(f: Tensor, v: Tensor, members: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    points, heads, (num_centers, size) = f.shape[0], f.shape[1], members.shape[1:]
    sums = torch.promote_types(f.dtype, torch.float32)
    centers = (points // size, heads, num_centers)
    return (
        v.new_empty(v.shape),
        f.new_empty((points, heads), dtype=torch.int8),
        f.new_empty((points, heads), dtype=sums),
        f.new_empty((*centers, v.shape[2]), dtype=sums),
        f.new_empty(centers, dtype=sums),
    )


@torch.library.custom_op("pointcoc::context_cluster_backward", mutates_args=())
def cluster_backward(
    grad_y: Tensor,
    grad_similarity: Tensor | None,
    f: Tensor,
    v: Tensor,
    members: Tensor,
    alpha: Tensor,
    center: Tensor,
    similarity: Tensor,
    aggregated: Tensor,
    total: Tensor,
    by_count: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run the backward kernel.

    Args:
        grad_y: gradient of y.
        grad_similarity: gradient of s; None for zeros.
        f: features that are compared.
        v: features that are aggregated.
        members: points of each proposal.
        alpha: scale of the cosine.
        center: a, as `cluster_forward` returns it, and so on.
        similarity: s.
        aggregated: g.
        total: D.
        by_count: whether a cluster is divided by 1 + its number of points.

    Returns:
        Gradients of f, v, alpha and beta.
    """
    from pointcoc.ops.triton_kernels import backward_kernel

    f, v, grad_y, members = (
        _rows_in_one_piece(f),
        _rows_in_one_piece(v),
        _rows_in_one_piece(grad_y),
        members.contiguous(),
    )
    grad_f, grad_v = f.new_empty(f.shape), v.new_empty(v.shape)
    room = (total.new_empty((*total.shape, f.shape[2])), torch.empty_like(aggregated), torch.empty_like(similarity))
    grad_alpha, grad_beta = total.new_empty((2, *total.shape[:2]))
    if grad_alpha.numel():
        with torch.cuda.device_of(f):
            backward_kernel[(grad_alpha.numel(),)](
                grad_y, grad_similarity, f, v, members.view(torch.uint8), alpha, center, similarity, aggregated, total,
                *room, grad_f, grad_v, grad_alpha, grad_beta,
                members.shape[2], f.shape[1], *grad_y.stride()[:2],
                *((0, 0) if grad_similarity is None else grad_similarity.stride()),
                *f.stride()[:2], *v.stride()[:2], _region_stride(members),
                BY_COUNT=by_count, HAS_GRAD_S=grad_similarity is not None, **_constants(f, v, members),
            )  # fmt: skip
    return grad_f, grad_v, grad_alpha.sum().view_as(alpha), grad_beta.sum().view_as(alpha)


@cluster_backward.register_fake
def _(
    grad_y: Tensor,
    grad_similarity: Tensor | None,
    f: Tensor,
    v: Tensor,
    members: Tensor,
    alpha: Tensor,
    center: Tensor,
    similarity: Tensor,
    aggregated: Tensor,
    total: Tensor,
    by_count: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return f.new_empty(f.shape), v.new_empty(v.shape), torch.empty_like(alpha), torch.empty_like(alpha)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    f, v, members, alpha, _, ctx.by_count = inputs
    ctx.save_for_backward(f, v, members, alpha, *output[1:])
    ctx.mark_non_differentiable(output[1], *output[3:])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad_y: Tensor | None, _a: None, grad_similarity: Tensor | None, _g: None, _d: None) -> Any:
    saved = ctx.saved_tensors
    grad_y = torch.zeros_like(saved[1]) if grad_y is None else grad_y
    grad_f, grad_v, grad_alpha, grad_beta = cluster_backward(grad_y, grad_similarity, *saved, ctx.by_count)
    return grad_f, grad_v, None, grad_alpha, grad_beta, None


cluster_forward.register_autograd(_backward, setup_context=_save)


def _rows_in_one_piece(x: Tensor) -> Tensor:
    """Return x with neighboring channels next to each other; points and heads may have any strides."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _region_stride(members: Tensor) -> int:
    """Return how far apart the tables of two regions are; 0 where all share one."""
    return 0 if members.shape[0] == 1 else members.stride(0)


def _constants(f: Tensor, v: Tensor, members: Tensor) -> dict[str, Any]:
    """Return what kernels are compiled for, and how they are launched."""
    import triton.language as tl

    _, m, n = members.shape
    is_double = f.dtype == torch.float64
    return {
        "m": m,
        "df": f.shape[2],
        "dv": v.shape[2],
        "BLOCK": min(_padded(n), _largest_block(f.dtype, _padded(m) * _padded(max(f.shape[2], v.shape[2])))),
        "M": _padded(m),
        "DF": _padded(f.shape[2]),
        "DV": _padded(v.shape[2]),
        "ACC": tl.float64 if is_double else tl.float32,
        # Three products of parts that tensor cores take, nearly as precise as float32: a flipped choice shows.
        "PRECISION": "ieee" if is_double else "tf32x3",
        **LAUNCH,
    }


def _largest_block(dtype: torch.dtype, table_size: int) -> int:
    """Return how many points are read at a time: fewer where the table of centers fills the registers."""
    return 64 if table_size <= 1024 and dtype != torch.float64 else 32


def _padded(size: int) -> int:
    """Return the least power of two that holds the size and that tensor cores take."""
    return max(16, 1 << (size - 1).bit_length())
