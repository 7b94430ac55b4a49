"""The backend `triton`: what it refuses, when it is chosen; its kernels, run and compiled in own processes."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from set_samples import pixels
from torch import Tensor

from pointcoc import ClusterOptions, context_cluster
from pointcoc.geometry.regions import Regions, cell_regions, grid_regions
from pointcoc.ops import Case, triton_limits
from pointcoc.ops.triton_limits import why_not_triton

needs_triton = pytest.mark.skipif(not triton_limits.HAS_TRITON, reason="triton is not installed")
# Triton 3.6, which torch 2.11 brings, makes integers of arrays of one number in its interpreter; NumPy refuses those.
OLD_INTERPRETER = triton_limits.HAS_TRITON and importlib.metadata.version("triton").startswith(("3.5.", "3.6."))
can_interpret = pytest.mark.skipif(
    OLD_INTERPRETER and not torch.cuda.is_available(), reason="the interpreter of this Triton fails with current NumPy"
)
CPU = torch.device("cpu")
HARD = ClusterOptions()
TILES = grid_regions((4, 4), 1, (2, 2), 1, CPU)


def features(regions: Regions = TILES, dim: int = 8, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.ones(len(regions.segments.index), 1, dim, dtype=dtype)


@pytest.fixture
def interpreted(monkeypatch) -> None:
    """A machine where the kernels run, for what is decided before they do."""
    monkeypatch.setattr(triton_limits, "HAS_TRITON", True)
    monkeypatch.setattr(triton_limits, "_is_interpreted", lambda: True)


def case(
    dim: int = 8,
    v_dim: int = 8,
    dtype: torch.dtype = torch.float32,
    regions: Regions = TILES,
    options: ClusterOptions = HARD,
    device: str = "cpu",
) -> Case:
    return Case(regions, options, torch.device(device), (dtype, dtype), (dim, v_dim))


def test_nothing_speaks_against_the_official_options(interpreted) -> None:
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        assert why_not_triton(case(v_dim=64, dtype=dtype)) is None
    by_count = ClusterOptions(normalizer="count")
    assert why_not_triton(case(options=by_count)) is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (ClusterOptions(assignment="soft"), "assignment must be 'hard', got 'soft'"),
        (ClusterOptions(iterations=3), "iterations must be 1, got 3"),
    ],
)
def test_options_out_of_scope_are_named(interpreted, options: ClusterOptions, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"backend 'triton' cannot be used: {sentence}"):
        context_cluster(features(), features(), TILES, torch.ones(1), torch.zeros(1), options, "triton")


@pytest.mark.parametrize(
    ("regions", "sentence"),
    [
        (TILES.ragged(), r"regions must all have equally many points \(UniformRegions\), got RaggedRegions"),
        (cell_regions(pixels((5, 7)), 2, None, 2), r"regions must all .* got PaddedRegions"),
        (grid_regions((1, 3), 1, (1, 1), 1, CPU), r"points of a region must be in \[4, 3136\], got 3"),
        (grid_regions((1, 3137), 1, (1, 1), 1, CPU), r"points of a region must be in \[4, 3136\], got 3137"),
        (grid_regions((9, 9), 1, (1, 1), 9, CPU), r"centers of a region must be in \[1, 64\], got 81"),
    ],
)
def test_regions_out_of_scope_are_named(interpreted, regions: Regions, sentence: str) -> None:
    f = features(regions)
    with pytest.raises(ValueError, match=f"backend 'triton' cannot be used: {sentence}"):
        context_cluster(f, f, regions, torch.ones(1), torch.zeros(1), backend="triton")


@pytest.mark.parametrize(
    ("f", "v", "sentence"),
    [
        (features(dim=7), features(), r"channels of a head of f must be in \[8, 64\], got 7"),
        (features(), features(dim=65), r"channels of a head of v must be in \[8, 64\], got 65"),
        (
            features(),
            features(dtype=torch.bfloat16),
            "f and v must have one dtype of float32, bfloat16, float16, float64, got torch.float32 and torch.bfloat16",
        ),
    ],
)
def test_features_out_of_scope_are_named(interpreted, f: Tensor, v: Tensor, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"backend 'triton' cannot be used: {sentence}"):
        context_cluster(f, v, TILES, torch.ones(1), torch.zeros(1), backend="triton")


def test_machines_out_of_scope_are_named(monkeypatch) -> None:
    monkeypatch.setattr(triton_limits, "HAS_TRITON", True)
    monkeypatch.setattr(triton_limits, "_is_interpreted", lambda: False)
    sentence = (
        "its kernels need a GPU, but the points are on cpu .to try them on a CPU, slowly, set TRITON_INTERPRET=1 be"
    )
    with pytest.raises(ValueError, match=f"backend 'triton' cannot be used: {sentence}"):
        context_cluster(features(), features(), TILES, torch.ones(1), torch.zeros(1), backend="triton")
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert why_not_triton(case()) == "its kernels are written for NVIDIA GPUs"
    monkeypatch.setattr(triton_limits, "HAS_TRITON", False)
    assert why_not_triton(case()) == "triton is not installed; pip install triton"


def test_features_on_a_gpu_can_be_run(interpreted, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert why_not_triton(case(device="cuda")) is None
    assert why_not_triton(case(v_dim=65, device="cuda")) is not None
    assert why_not_triton(case(regions=TILES.ragged(), device="cuda")) is not None


def test_older_gpus_are_named(interpreted, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    sentence = "its kernels need a GPU of compute capability 8.0 or higher, got 7.5"
    assert why_not_triton(case(device="cuda")) == sentence


@needs_triton
@can_interpret
def test_the_kernels_are_the_reference() -> None:
    run = "1" if not torch.cuda.is_available() else "0"
    done = in_a_process("-m", "pytest", "-q", "tests/tools/triton_parity.py", TRITON_INTERPRET=run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout


COMPILE = """
import sys
import torch
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from pointcoc.ops.triton_operation import LAUNCH, _constants
from pointcoc.ops.triton_kernels import backward_kernel, forward_kernel

HALF = ("f", "v", "y", "grad_y", "grad_f", "grad_v")
INTEGERS = ("n", "heads", "f_row", "f_head", "v_row", "v_head", "y_row", "y_head", "s_row", "s_head", "members_region")
TYPES = {**dict.fromkeys(HALF, "*bf16"), **dict.fromkeys(INTEGERS, "i32"), "members": "*u8", "center": "*i8"}

points, members = torch.empty(49, 1, 24, dtype=torch.bfloat16), torch.empty(1, 4, 49, dtype=torch.bool)
constants = {"BY_COUNT": False, "HAS_GRAD_S": True, **_constants(points, points, members)}
for kernel in (forward_kernel, backward_kernel):
    signature = {name: "constexpr" if name in constants else TYPES.get(name, "*fp32") for name in kernel.arg_names}
    known = {name: value for name, value in constants.items() if name in kernel.arg_names}
    compiled = compile(ASTSource(kernel, signature, known), GPUTarget("cuda", 90, 32), LAUNCH)
    assert compiled.asm["cubin"], kernel
    print(compiled.metadata.shared)
"""


@needs_triton
def test_the_kernels_compile_without_a_gpu() -> None:
    done = in_a_process("-c", COMPILE, TRITON_INTERPRET="0")
    assert done.returncode == 0, done.stderr
    # Bytes of shared memory; devices of capability 8.0 and later have 99 KiB a program or more.
    assert all(int(size) <= 99 * 1024 for size in done.stdout.split())


def in_a_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run([sys.executable, *arguments], cwd=root, env=variables, capture_output=True, text=True)
