"""What the Triton kernels can run, as sentences that say why not."""

from __future__ import annotations

import importlib.util

import torch

from pointcoc.geometry.regions import UniformRegions
from pointcoc.ops.options import Case, why_not_uniform

HAS_TRITON = importlib.util.find_spec("triton") is not None
POINTS, CENTERS, HEAD_DIMS = (4, 3136), (1, 64), (8, 64)
CAPABILITY = (8, 0)  # the first whose tensor cores multiply parts of float32
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def why_not_triton(case: Case) -> str | None:
    """Return a sentence why the kernels cannot run, or None if they can.

    Args:
        case: what they would run on.
    """
    if not HAS_TRITON:
        return "triton is not installed; pip install triton"
    if torch.version.hip is not None:
        return "its kernels are written for NVIDIA GPUs"
    is_cuda = case.device.type == "cuda"
    if not is_cuda and not _is_interpreted():
        return (
            f"its kernels need a GPU, but the points are on {case.device.type} (to try them on a CPU, slowly, set "
            "TRITON_INTERPRET=1 before triton is imported)"
        )
    if is_cuda and torch.cuda.get_device_capability(case.device) < CAPABILITY:
        found = ".".join(map(str, torch.cuda.get_device_capability(case.device)))
        return f"its kernels need a GPU of compute capability 8.0 or higher, got {found}"
    return why_not_uniform(case.regions) or _why_not_sizes(case)


def _is_interpreted() -> bool:
    from pointcoc.ops.triton_parts import IS_INTERPRETED

    return IS_INTERPRETED


def _why_not_sizes(case: Case) -> str | None:
    regions, (f_dtype, v_dtype) = case.regions, case.dtypes
    assert isinstance(regions, UniformRegions)
    if f_dtype not in DTYPES or v_dtype != f_dtype:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        return f"f and v must have one dtype of {names}, got {f_dtype} and {v_dtype}"
    sizes = (
        ("points of a region", regions.members.shape[2], POINTS),
        ("centers of a region", regions.num_centers, CENTERS),
        ("channels of a head of f", case.head_dims[0], HEAD_DIMS),
        ("channels of a head of v", case.head_dims[1], HEAD_DIMS),
    )
    for name, size, (least, most) in sizes:
        if not least <= size <= most:
            return f"{name} must be in [{least}, {most}], got {size}"
    return None
