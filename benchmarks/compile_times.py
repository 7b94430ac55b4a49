"""Question: how long does torch.compile take at the first image size, and at each further one?

Compiles networks as users do, `torch.compile(net)` without options, calls them with images of several sizes, and prints
a Markdown table, which benchmarks/results/compile-times.md holds::

    OMP_NUM_THREADS=1 python benchmarks/compile_times.py

How to read it: seconds of the first call at each size, one process and one empty cache of kernels for every network.
"graphs" counts those that were compiled. Another process that works meanwhile adds to the seconds: compare networks of
one run, by the column "over resnet18", which is the sum of the row over that of resnet18.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

OURS = {"three blocks": ("coc_nano", {"depths": (1, 1, 1)}), "coc_tiny": ("coc_tiny", {})}
NETWORKS = ("resnet18", "convnext_atto", *OURS)
SIZES = ((224, 224), (256, 256), (192, 192), (200, 168))  # (height, width)


def main() -> None:
    """Print one row a network, or the seconds of one network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS, help="default: all")
    parser.add_argument("--limit", type=float, default=600, help="seconds after which a network is stopped")
    parser.add_argument("--one", choices=NETWORKS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.one)
        return
    print(f"torch {torch.__version__}, {processor()}, load {os.getloadavg()[0]:.1f}\n")
    print("| network |", " | ".join(f"{height} x {width}" for height, width in SIZES), "| graphs | over resnet18 |")
    print("| --- " * (len(SIZES) + 3) + "|")
    base = None
    for name in options.networks:
        seconds, graphs = run(name, options.limit)
        base = sum(seconds) if name == "resnet18" else base
        is_done = len(seconds) == len(SIZES)
        cells = [f"{one:.1f}" for one in seconds] + [f"over {options.limit:.0f} in all"] * (not is_done)
        cells += ["not reached"] * (len(SIZES) - len(cells))
        ratio = f"{sum(seconds) / base:.1f}" if base and is_done else ""
        print(f"| {name} |", " | ".join(cells), f"| {graphs} | {ratio} |", flush=True)


def run(name: str, limit: float) -> tuple[list[float], int]:
    """Measure a network in a process of its own; return seconds a size, and the number of graphs."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__)), "--one", name]
        try:
            environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": folder}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit)
            if done.returncode:
                raise RuntimeError(done.stderr)
            printed = done.stdout
        except subprocess.TimeoutExpired as stopped:
            printed = (stopped.stdout or b"").decode()
    rows = [line.split() for line in printed.splitlines() if line.startswith("size ")]
    return [float(row[1]) for row in rows], int(rows[-1][2])


def measure(name: str) -> None:
    """Print seconds and graphs for each size."""
    from torch._dynamo.testing import CompileCounterWithBackend

    counter = CompileCounterWithBackend("inductor")
    compiled = torch.compile(network(name), backend=counter)
    with torch.no_grad():
        for height, width in SIZES:
            images = torch.rand(2, 3, height, width)
            start = time.perf_counter()
            compiled(images)
            print("size", f"{time.perf_counter() - start:.2f}", counter.frame_count, flush=True)


def network(name: str) -> nn.Module:
    """Make a network with random weights, in evaluation mode."""
    torch.manual_seed(0)
    if name in OURS:
        from pointcoc import ContextClusterNet

        preset, overrides = OURS[name]
        return ContextClusterNet.from_preset(preset, **overrides).eval()
    import timm

    return timm.create_model(name).eval()


def processor() -> str:
    """Name of the processor, and how many there are."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{(names or [platform.processor()])[0]}, {os.cpu_count()} processors"


if __name__ == "__main__":
    main()
