"""Question: in how much memory does a scene of a million points train?

Runs one training step (forward, backward, AdamW) of point segmentation with coc_scene on a synthetic room (see
scenes.py), each size in a process of its own, and prints a Markdown table::

    python benchmarks/scene_memory.py
    python benchmarks/scene_memory.py --recompute --sizes 1000000

How to read it: "peak" is the most memory of the process, or of the GPU, in MiB; "before" is that of the process with
libraries, network and room, before the step; "per point" is their difference in KiB. Memory does not depend on what
else a machine does, so a busy one will do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tools.machine import machine
from tools.made_inputs import room
from torch.nn.functional import cross_entropy

from pointcoc import PointSet
from pointcoc.segmentation import point_segmentation
from pointcoc.train.metrics import peak_memory

SIZES = (100_000, 1_000_000)
NUM_CLASSES = 13
MIB = 2**20


def one_step(num_points: int, recompute: bool, device: torch.device) -> dict[str, float]:
    """Train one step on a room; returns bytes before it and at most, and the loss."""
    torch.manual_seed(0)
    model = point_segmentation("coc_scene", num_classes=NUM_CLASSES, in_channels=6).to(device).train()
    model.net.set_grad_checkpointing(recompute)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    scene = room(num_points)
    points = PointSet(torch.cat([scene.pos, torch.rand(num_points, 3)], 1), scene.pos, scene.ptr).to(device)
    target = torch.randint(NUM_CLASSES, (num_points,), device=device)
    before = peak_memory(device)
    loss = cross_entropy(model(points), target)
    loss.backward()
    optimizer.step()
    return {"points": num_points, "before": before, "peak": peak_memory(device), "loss": loss.item()}


def measured(num_points: int, options: argparse.Namespace) -> dict[str, float]:
    """Measure one size in a new process, whose peak is its own."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__)), "--inside", "--sizes", str(num_points)]
    command += ["--device", options.device, *(["--recompute"] if options.recompute else [])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the step of {num_points} points failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def table(rows: Sequence[dict[str, float]]) -> list[str]:
    """Lines of the table."""
    lines = ["| points | before, MiB | peak, MiB | per point, KiB |", "| --- | --- | --- | --- |"]
    for row in rows:
        each = (row["peak"] - row["before"]) / row["points"] / 1024
        lines.append(f"| {row['points']:,} | {row['before'] / MIB:,.0f} | {row['peak'] / MIB:,.0f} | {each:.2f} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table and what it was measured with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="points of the rooms")
    parser.add_argument("--recompute", action="store_true", help="compute the inside of blocks again in backward")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    if options.inside:
        print(json.dumps(one_step(options.sizes[0], options.recompute, device)))
        return
    rows = [measured(size, options) for size in options.sizes]
    print(*table(rows), sep="\n")
    print("\n" + ", ".join(f"{name} {value}" for name, value in machine(device).items()))


if __name__ == "__main__":
    main()
