"""What the kernels of the fused backend can run, as sentences that say why not."""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

from pointcoc.geometry.regions import Regions, UniformRegions
from pointcoc.ops.options import ClusterOptions

HAS_TRITON = importlib.util.find_spec("triton") is not None
POINTS, CENTERS, HEAD_DIMS = (4, 3136), (1, 64), (8, 64)
CAPABILITY = (8, 0)  # the first whose tensor cores multiply parts of float32
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def why_not_fused(f: Tensor, v: Tensor, regions: Regions, options: ClusterOptions) -> str | None:
    """Return a sentence why the kernels cannot run, or None if they can.

    Args:
        f: features that are compared.
        v: features that are aggregated.
        regions: the regions of the points.
        options: normalizer, assignment and iterations.
    """
    if not HAS_TRITON:
        return "triton is not installed; pip install triton"
    if torch.version.hip is not None:
        return "its kernels are written for NVIDIA GPUs"
    if not f.is_cuda and not _is_interpreted():
        return (
            f"its kernels need a GPU, but the points are on {f.device.type} (to try them on a CPU, slowly, set "
            "TRITON_INTERPRET=1 before triton is imported)"
        )
    if f.is_cuda and torch.cuda.get_device_capability(f.device) < CAPABILITY:
        found = ".".join(map(str, torch.cuda.get_device_capability(f.device)))
        return f"its kernels need a GPU of compute capability 8.0 or higher, got {found}"
    return _why_not_options(regions, options) or _why_not_sizes(f, v, regions)


def _is_interpreted() -> bool:
    from pointcoc.ops.fused_tiles import IS_INTERPRETED

    return IS_INTERPRETED


def _why_not_options(regions: Regions, options: ClusterOptions) -> str | None:
    if not isinstance(regions, UniformRegions):
        return f"regions must all have equally many points (UniformRegions), got {type(regions).__name__}"
    if options.assignment != "hard":
        return f"assignment must be 'hard', got {options.assignment!r}"
    if options.iterations != 1:
        return f"iterations must be 1, got {options.iterations}"
    return None


def _why_not_sizes(f: Tensor, v: Tensor, regions: Regions) -> str | None:
    assert isinstance(regions, UniformRegions)
    if f.dtype not in DTYPES or v.dtype != f.dtype:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        return f"f and v must have one dtype of {names}, got {f.dtype} and {v.dtype}"
    sizes = (
        ("points of a region", regions.members.shape[2], POINTS),
        ("centers of a region", regions.num_centers, CENTERS),
        ("channels of a head of f", f.shape[2], HEAD_DIMS),
        ("channels of a head of v", v.shape[2], HEAD_DIMS),
    )
    for name, size, (least, most) in sizes:
        if not least <= size <= most:
            return f"{name} must be in [{least}, {most}], got {size}"
    return None
