"""Seconds per point of scenes: the plan, and the network on it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import torch

from pointcoc import ContextClusterNet
from tools.made_inputs import room

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)


def seconds(run: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Median of the wall times of a call, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


@torch.inference_mode()
def measure(net: ContextClusterNet, num_points: int, repeats: int, device: torch.device) -> tuple[float, float, str]:
    """Microseconds per point of the plan and of the network, and the shares of the anchors of each stage."""
    points = room(num_points).to(device)
    plan = net.plan(points)
    shares = " ".join(f"{stage.anchors.num_points / num_points:.3f}" for stage in plan.stages)
    runs = (lambda: net.plan(points), lambda: net(points, plan))
    planning, running = (1e6 * seconds(run, repeats, device) / num_points for run in runs)
    return planning, running, shares


def scene_rows(
    preset: str, sizes: Sequence[int], repeats: int, device: torch.device
) -> Iterator[dict[str, int | float | str]]:
    """Measure a preset on scenes of each size; a row as soon as it is there."""
    torch.manual_seed(0)
    net = ContextClusterNet.from_preset(preset).eval().to(device)
    for size in sizes:
        planning, running, shares = measure(net, size, repeats, device)
        yield {"points": size, "plan": planning, "network": running, "anchors": shares}


def table(rows: Sequence[dict]) -> list[str]:
    """Return the lines of the table; the ratio is to the scene of 10,000 points, or to the first."""
    base = next((row for row in rows if row["points"] == 10_000), rows[0])
    lines = ["| points | plan | network | ratio | anchors |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        ratio = (row["plan"] + row["network"]) / (base["plan"] + base["network"])
        cells = f"{row['points']:,} | {row['plan']:.2f} | {row['network']:.2f} | {ratio:.2f} | {row['anchors']}"
        lines.append(f"| {cells} |")
    return lines
