"""The public cluster operation and the table of its backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from pointcoc.geometry.regions import RaggedRegions, Regions
from pointcoc.ops.equations import Assignment
from pointcoc.ops.fused import fused
from pointcoc.ops.fused_limits import why_not_fused
from pointcoc.ops.options import ClusterOptions
from pointcoc.ops.ragged import ragged
from pointcoc.ops.reference import reference

Run = Callable[[Tensor, Tensor, Regions, Tensor, Tensor, ClusterOptions], tuple[Tensor, Assignment]]
WhyNot = Callable[[Tensor, Tensor, Regions, ClusterOptions], str | None]


class Backend(NamedTuple):
    """How a backend runs, and a sentence why it cannot run on given features, regions and options (None if it can)."""

    run: Run
    why_not: WhyNot


def _always(f: Tensor, v: Tensor, regions: Regions, options: ClusterOptions) -> str | None:
    return None


BACKENDS: dict[str, Backend] = {
    "reference": Backend(reference, _always),
    "ragged": Backend(ragged, _always),
    "fused": Backend(fused, why_not_fused),
}


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

    The backends: `reference`, matrix products in plain torch; `ragged`, sums over lists of points; `fused`, one Triton
    kernel forward and one backward, which stores 5 bytes per point and head beside f and v, and 4 (d + 1) per center
    and head. The scope of `fused`: regions of equally many points (`UniformRegions`), 4 to 3,136; 1 to 64 centers;
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
            many points, else `ragged`; `fused` has to be asked for until it has been measured on a GPU.

    Returns:
        The dispatched features (N, heads, d) in the dtype of `v`, and the `Assignment` (N, heads).

    Raises:
        ValueError: if shapes do not fit or the backend is unknown or cannot run here.
    """
    _check(f, v, regions)
    options = options or ClusterOptions()
    return _choose(backend, f, v, regions, options).run(f, v, regions, alpha, beta, options)


def _choose(name: str, f: Tensor, v: Tensor, regions: Regions, options: ClusterOptions) -> Backend:
    if name == "auto":
        return BACKENDS["ragged" if isinstance(regions, RaggedRegions) else "reference"]
    if name not in BACKENDS:
        raise ValueError(f"unknown backend {name!r}; choose from auto, {', '.join(BACKENDS)}")
    reason = BACKENDS[name].why_not(f, v, regions, options)
    if reason is not None:
        raise ValueError(f"backend {name!r} cannot be used: {reason}")
    return BACKENDS[name]


def _check(f: Tensor, v: Tensor, regions: Regions) -> None:
    if f.ndim != 3 or f.shape[:2] != v.shape[:2] or v.ndim != 3:
        raise ValueError(f"f and v must have shape (N, heads, d), got {tuple(f.shape)} and {tuple(v.shape)}")
    if f.shape[0] != regions.segments.index.shape[0]:
        raise ValueError(f"f has {f.shape[0]} points but regions describe {regions.segments.index.shape[0]}")
