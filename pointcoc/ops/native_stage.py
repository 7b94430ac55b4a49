"""All blocks of a stage as one operator in bfloat16 on CPUs; native/ computes it."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from pointcoc.ops.native_library import native_library
from pointcoc.ops.native_weights import NativeWeights

COMPUTES = ("normalizer",)  # of the options of the cluster operation; all others must have their defaults

# B sets, R regions of each, n points in a region, m centers of a region, h heads of d channels, C channels of a point.


@torch.library.custom_op("pointcoc::native_stage", mutates_args=(), device_types="cpu")
def native_stage(
    x: Tensor,
    weights: Sequence[Tensor],
    num_sets: int,
    heads: int,
    hidden: int,
    mean: Tensor,
    by_count: bool,
    eps1: float,
    eps2: float,
) -> Tensor:
    """Run the blocks of a stage on uniform regions with hard assignment and fixed centers.

    The same as `pointcoc.nn.FoldedBlock` block after block, with set norms; sums and similarities are float32, points
    between layers bfloat16. It uses torch's number of threads.

    Args:
        x: points in region order, shape (B R, n, C), bfloat16 on the CPU.
        weights: the fields of `NativeWeights` of all blocks, one block after the other.
        num_sets: number of sets, B.
        heads: number of heads, h.
        hidden: hidden channels of the pointwise network.
        mean: the matrix that averages the points of each proposal, shape (m, n), float32, the same for all regions.
        by_count: whether a cluster is divided by 1 + its number of points (see `ClusterOptions.normalizer`).
        eps1: added to the variance before the cluster layer.
        eps2: added to the variance before the pointwise network.

    Returns:
        Shape (B R, n, C), bfloat16.

    Raises:
        RuntimeError: if the native kernels cannot run here, or a gradient is wanted.
        ValueError: if `x` or `mean` is of another dtype.
    """
    if x.dtype != torch.bfloat16 or mean.dtype != torch.float32:
        raise ValueError(
            f"native kernels take points in bfloat16 and a mean in float32, got {x.dtype} and {mean.dtype}"
        )
    library = native_library()
    mean = mean.contiguous()
    y = x.clone(memory_format=torch.contiguous_format)
    num_fields = len(NativeWeights._fields)
    depth, num_regions = len(weights) // num_fields, x.shape[0] // num_sets
    head_dim = weights[NativeWeights._fields.index("f_bias")].shape[0] // heads
    sizes = (num_sets, num_regions, x.shape[1], mean.shape[0], heads, head_dim, x.shape[2], hidden, int(by_count))
    library.pointcoc_stage(
        y.data_ptr(),
        (ctypes.c_void_p * len(weights))(*(one.data_ptr() for one in weights)),
        depth,
        (ctypes.c_long * len(sizes))(*sizes),
        eps1,
        eps2,
        mean.data_ptr(),
        torch.get_num_threads(),
    )
    return y


@native_stage.register_fake
def _(x: Tensor, *_: object) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _refuse_gradient(*_: object) -> None:
    raise RuntimeError("native kernels are for inference and have no gradients; use fuse() without kernels='native'")


native_stage.register_autograd(_refuse_gradient)
