"""The backend `triton` of the cluster operation beside `reference`, on the stages of a preset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from pointcoc import ContextClusterNet, context_cluster
from pointcoc.geometry import NetworkPlan
from tools.costs import MovedBytes
from tools.timing import Run, free_memory, summary, take_turns


def triton_rows(
    preset: str,
    batch: int,
    side: int,
    turns: int,
    device: torch.device,
    backends: Sequence[str] = ("reference", "triton"),
) -> list[dict[str, Any]]:
    """Time forward, and forward and backward, of each stage and dtype.

    Bytes: those of `reference` are what its operations read and write, those of `triton` the fewest it can do with:
    forward f, v, the output and 5 bytes per point and head; backward f, v, these 5 bytes and three gradients.

    Args:
        preset: a preset for images.
        batch: images.
        side: height and width of the images.
        turns: runs of which the median counts.
        device: where to run; "triton" needs a GPU.
        backends: names of backends.
    """
    net = ContextClusterNet.from_preset(preset).to(device)
    plan = net.plan(torch.empty(batch, 3, side, side, device=device))
    rows = []
    for stage in range(net.config.num_stages):
        for dtype in (torch.float32, torch.bfloat16):
            rows += _stage_rows(net, plan, stage, dtype, turns, backends)
            free_memory()
    return [{"preset": preset, "batch": batch, "side": side, **row} for row in rows]


def _stage_rows(
    net: ContextClusterNet, plan: NetworkPlan, s: int, dtype: torch.dtype, turns: int, backends: Sequence[str]
) -> list[dict[str, Any]]:
    regions, device = plan.stages[s].regions, net.head.weight.device
    cluster = net.stages[s][0].cluster
    shape = (regions.segments.index.shape[0], net.config.heads[s], net.config.head_dims[s])
    f, v = (torch.randn(shape, device=device, dtype=dtype).requires_grad_() for _ in range(2))

    def forward(backend: str) -> torch.Tensor:
        return context_cluster(f, v, regions, cluster.alpha, cluster.beta, backend=backend)[0]

    def both(backend: str) -> None:
        torch.autograd.grad(forward(backend).sum(), (f, v, cluster.alpha, cluster.beta))

    runs: dict[tuple[str, str], Run] = {}
    for backend in backends:
        runs[backend, "forward"] = torch.no_grad()(lambda b=backend: forward(b))
        runs[backend, "forward and backward"] = lambda b=backend: both(b)
    for run in runs.values():
        run()  # kernels are compiled
    seconds = take_turns(runs, turns, device)
    given = {"stage": s + 1, "dtype": str(dtype).removeprefix("torch."), "points": shape[0]}
    stored = 5 * shape[0] * shape[1]
    least = {"forward": 3 * f.nbytes + stored, "forward and backward": 8 * f.nbytes + 2 * stored}
    rows = []
    for (backend, step), times in seconds.items():
        moved = least[step] if backend == "triton" else _moved(runs[backend, step])
        rows.append({**given, "backend": backend, "step": step, "bytes": moved, **summary(times, moved)})
    return rows


def _moved(run: Run) -> int:
    with MovedBytes() as mode:
        run()
    return mode.total
