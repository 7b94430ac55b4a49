"""The public cluster operation, by the operators of the table that work on f and v."""

from __future__ import annotations

from torch import Tensor

from pointcoc.geometry.regions import Regions
from pointcoc.ops.equations import Assignment
from pointcoc.ops.operators import OPERATIONS, choose
from pointcoc.ops.options import Case, ClusterOptions


def context_cluster(
    f: Tensor,
    v: Tensor,
    regions: Regions,
    alpha: Tensor,
    beta: Tensor,
    options: ClusterOptions | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Assignment]:
    """Cluster the points of each region, aggregate every cluster and dispatch the result to its points.

    Context Clusters (ICLR 2023), section 3.2, per region and head::

        s_ij = sigmoid(beta + alpha cos(c_f_i, f_j))
        a_j  = argmax_i s_ij
        g_i  = (c_v_i + sum_{a_j = i} s_j v_j) / (1 + sum_{a_j = i} s_j)
        y_j  = s_j g_{a_j}

    Similarities are computed in float32 or better, also for features in half precision.

    The backends: `reference`, matrix products in plain torch; `ragged`, sums over lists of points; `triton`, one Triton
    kernel forward and one backward, which stores 5 bytes per point and head beside f and v, and 4 (d + 1) per center
    and head. The scope of `triton`: regions of equally many points (`UniformRegions`), 4 to 3,136; 1 to 64 centers;
    heads of 8 to 64 channels; hard assignment, one iteration, both normalizers; f and v of one dtype; first
    derivatives.

    Args:
        f: features that are compared, shape (N, heads, d), points in region order.
        v: features that are aggregated, shape (N, heads, d).
        regions: the regions and the points whose mean proposes each center.
        alpha: scale of the cosine, shape (1,).
        beta: shift of the cosine, shape (1,).
        options: normalizer, assignment and iterations; the official ones by default.
        backend: "auto" or a name; results do not depend on it. "auto" is `reference` where regions have nearly equally
            many points, else `ragged`; `triton` has to be asked for until it has been measured on a GPU.

    Returns:
        The dispatched features (N, heads, d) in the dtype of `v`, and the `Assignment` (N, heads).

    Raises:
        ValueError: if shapes do not fit or the backend is unknown or cannot run here.
    """
    _check(f, v, regions)
    options = options or ClusterOptions()
    case = Case(regions, options, f.device, (f.dtype, v.dtype), (f.shape[2], v.shape[2]))
    operation = OPERATIONS[choose(backend, case, OPERATIONS)].operation
    assert operation is not None
    return operation(f, v, regions, alpha, beta, options)


def _check(f: Tensor, v: Tensor, regions: Regions) -> None:
    if f.ndim != 3 or f.shape[:2] != v.shape[:2] or v.ndim != 3:
        raise ValueError(f"f and v must have shape (N, heads, d), got {tuple(f.shape)} and {tuple(v.shape)}")
    if f.shape[0] != regions.segments.index.shape[0]:
        raise ValueError(f"f has {f.shape[0]} points but regions describe {regions.segments.index.shape[0]}")
