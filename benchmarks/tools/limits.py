"""The limits of a machine, measured: how fast it copies and multiplies; and how near to them networks come."""

from __future__ import annotations

from typing import Any

import torch

from tools.backbones import DTYPES
from tools.timing import free_memory, summary, take_turns

COPY_BYTES = {"cpu": 256 << 20, "cuda": 2 << 30}  # beyond all caches
MATMUL_SIZE = {"cpu": 2048, "cuda": 8192}


def machine_limits(turns: int, device: torch.device, scale: float = 1.0) -> dict[str, dict[str, Any]]:
    """Bytes a second that a copy reads and writes, and operations a second of a square product in each dtype.

    Args:
        turns: runs of which the median counts.
        device: where to run.
        scale: factor of the sides and bytes, below 1 for a quick look.
    """
    source = torch.ones(int(COPY_BYTES[device.type] * scale) // 4, device=device)
    target, size = torch.empty_like(source), int(MATMUL_SIZE[device.type] * scale)
    runs = {"copy": lambda: target.copy_(source)}
    for dtype in DTYPES:
        one = torch.randn(size, size, device=device, dtype=getattr(torch, dtype))
        runs[dtype] = lambda one=one: one @ one
    seconds = take_turns(runs, turns, device)
    free_memory()
    work = {"copy": 2 * source.nbytes, **dict.fromkeys(DTYPES, 2 * size**3)}
    return {name: summary(times, work[name]) for name, times in seconds.items()}


def share_rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Compare each network, in its best mode of inference, with the limits.

    A network cannot be faster than the larger of operations / matmul rate and, if nothing is fused, bytes that its
    operations move / copy rate. Caches serve part of the bytes, so that the copy share may pass 1.

    Args:
        results: holds `networks`, `inference` and `limits`.
    """
    limits = results["limits"]
    costs = {(row["network"], row["height"], row["width"]): row for row in results["networks"]}
    best: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in results["inference"]:
        key = (row["network"], row["height"], row["width"], row["batch"], row["dtype"])
        if "per_second" in row and row["per_second"] > best.get(key, {"per_second": 0})["per_second"]:
            best[key] = row
    return [_share(row, costs[key[:3]], limits) for key, row in best.items() if key[:3] in costs]


def _share(row: dict[str, Any], cost: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    given = {name: row[name] for name in ("network", "height", "width", "batch", "dtype", "mode")}
    operations = 1e9 * cost["inference_gflops"] * row["per_second"]
    moved = cost[f"moved_bytes_{row['dtype']}"] * row["per_second"]
    return given | {
        "gflops_per_second": operations / 1e9,
        "matmul_share": operations / limits[row["dtype"]]["per_second"],
        "copy_share": moved / limits["copy"]["per_second"],
    }
