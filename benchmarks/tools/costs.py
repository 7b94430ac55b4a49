"""What a network costs apart from time: operations, bytes that operations move, bytes that training keeps, peaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from pointcoc import ContextClusterNet, context_cluster
from tools.backbones import DTYPES, Size, form_of, is_ours, make_network

MIB = 1 << 20
ALLOCATIONS = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")


def network_costs(name: str, size: Size) -> dict[str, Any]:
    """Parameters, operations (a multiplication and an addition are two) and moved bytes of one image, on the CPU."""
    network = make_network(name, size).eval()
    row = {"network": name, "height": size[0], "width": size[1], "parameters": _num_parameters(network)}
    row["gflops"] = operations(network, torch.zeros(1, 3, *size)) / 1e9
    form = form_of(network, "eager")
    row["inference_gflops"] = operations(form, torch.zeros(1, 3, *size)) / 1e9 if is_ours(name) else row["gflops"]
    for dtype in DTYPES:
        images = torch.zeros(1, 3, *size, dtype=getattr(torch, dtype))
        row[f"moved_bytes_{dtype}"] = moved_bytes(form.to(images.dtype), images)
    return row


def _num_parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@torch.no_grad()
def operations(network: nn.Module, images: Tensor) -> int:
    """Count the operations of a forward pass with torch's counter; attention is counted as its two products."""
    linear = (
        {torch.ops.mkldnn._linear_pointwise: _linear_operations}
        if hasattr(torch.ops.mkldnn, "_linear_pointwise")
        else {}
    )
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False, custom_mapping=linear) as counter:
        network(images)
    return counter.get_total_flops()


def _linear_operations(x_shape: Any, weight_shape: Any, *_: Any, **__: Any) -> int:
    """OneDNN's linear layer, which torch's counter does not know."""
    return 2 * prod(x_shape) * weight_shape[0]


class MovedBytes(TorchDispatchMode):
    """Sums the bytes of all tensors that operations read and write; views and allocations move none."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view and func.overloadpacket.__name__ not in ALLOCATIONS:
            leaves = tree_leaves((args, kwargs, result))
            self.total += sum(_nbytes(leaf) for leaf in leaves if isinstance(leaf, Tensor))
        return result


def _nbytes(tensor: Tensor) -> int:
    return min(tensor.nbytes, tensor.untyped_storage().nbytes())  # an expanded tensor is read once


@torch.no_grad()
def moved_bytes(network: nn.Module, images: Tensor) -> int:
    """Bytes that the operations of a forward pass in eager mode read and write."""
    network(images)  # constants of the size are not counted
    with MovedBytes() as mode:
        network(images)
    return mode.total


def saved_bytes(network: nn.Module, images: Tensor, dtype: str = "float32") -> int:
    """Bytes that a forward pass in training keeps for backward, each storage once, without parameters and buffers."""
    own = {t.untyped_storage().data_ptr() for t in (*network.parameters(), *network.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    autocast = torch.autocast(images.device.type, torch.bfloat16, enabled=dtype == "bfloat16")
    with saved_tensors_hooks(pack, lambda tensor: tensor), autocast:
        output = network(images)  # while it lives no storage can take the address of another
    del output
    return sum(kept.values())


def saved_bytes_per_image(network: nn.Module, size: Size, dtype: str) -> int:
    """What one more image adds: copies of weights in bfloat16 and constants of the size are no part of it."""
    device = next(network.parameters()).device
    one, two = (saved_bytes(network, torch.randn(num, 3, *size, device=device), dtype) for num in (1, 2))
    return two - one


def memory_row(name: str, size: Size, dtype: str, device: torch.device) -> dict[str, Any]:
    """Bytes that training keeps an image, and with blocks that are computed again in backward."""
    network = make_network(name, size).to(device)
    row: dict[str, Any] = {"network": name, "height": size[0], "width": size[1], "dtype": dtype}
    row["saved_bytes"] = saved_bytes_per_image(network, size, dtype)
    network.set_grad_checkpointing(True)
    row["saved_bytes_recompute"] = saved_bytes_per_image(network, size, dtype)
    return row


def cluster_peaks(size: Size, centers: int, device: torch.device) -> list[dict[str, Any]]:
    """Peak memory of the cluster operation of the first stage of coc_small, for one image in float32.

    Args:
        size: height and width of the image.
        centers: centers per axis of a region.
        device: where to run; on a CPU the profiler adds up allocations, on a GPU torch's allocator knows the peak.
    """
    net = ContextClusterNet.from_preset("coc_small", centers=centers).to(device)
    regions = net.plan(torch.empty(1, 3, *size, device=device)).stages[0].regions
    points, heads, dim = regions.segments.index.shape[0], net.config.heads[0], net.config.head_dims[0]
    f, v = (torch.randn(points, heads, dim, device=device) for _ in range(2))
    cluster = net.stages[0][0].cluster
    rows = []
    for backend in ("reference", "triton") if device.type == "cuda" else ("reference",):
        with torch.no_grad():
            peak = peak_bytes(
                lambda b=backend: context_cluster(f, v, regions, cluster.alpha, cluster.beta, backend=b), device
            )
        row = {"backend": backend, "height": size[0], "width": size[1], "points": points, "centers": centers**2}
        row |= {"input_bytes": f.nbytes + v.nbytes, "output_bytes": v.nbytes, "peak_bytes": f.nbytes + v.nbytes + peak}
        rows.append(row | {"multiple": row["peak_bytes"] / (row["input_bytes"] + row["output_bytes"])})
    return rows


def peak_bytes(run: Callable[[], object], device: torch.device) -> int:
    """Most bytes that lived at once of those that a call allocates, outputs included, inputs not."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        output = run()
    del output
    events = profile.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    live = peak = 0
    for _, change in changes:
        live += change
        peak = max(peak, live)
    return peak
