"""Question: how much memory and time do very large sets take in inference?

Measures, each in a process of its own, farthest points alone, coc_points on one large cloud, and coc_scene on a scanned
room and on points that fill a box, where nearly every point has a voxel to itself, and prints a Markdown table::

    python benchmarks/large_sets.py
    python benchmarks/large_sets.py --threads 1 --cases room box --points 300000

How to read it: "plan" and "network" are seconds of the geometry and of everything else, one run each; "before" is the
most memory of the process with libraries, network and points, in MiB, and "more" what the peak adds to it, of the plan
and then of the network. Memory does not depend on what else a machine does; times do, so run it on an idle one.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tools.machine import machine
from tools.made_inputs import room

from pointcoc import ContextClusterNet, PointSet
from pointcoc.geometry import Segments, farthest_points

CPU = torch.device("cpu")
MIB = 2**20
CHOSEN = 0.08  # share of the points that "farthest" chooses
BOX_DENSITY = 1000.0  # points per cubic meter
CASES = {"farthest": 100_000, "cloud": 100_000, "room": 1_000_000, "box": 1_000_000}
PRESETS = {"cloud": "coc_points", "room": "coc_scene", "box": "coc_scene"}


def peak_memory() -> int:
    """Most bytes that this process has held so far; Linux counts KiB."""
    # `pointcoc.train.metrics` has the same for all systems, but its imports alone take 400 MiB.
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def box(num_points: int) -> PointSet:
    """Fill a cube with points."""
    pos = torch.rand(num_points, 3) * (num_points / BOX_DENSITY) ** (1 / 3)
    return PointSet(pos, pos, torch.tensor([0, num_points]))


MAKE: dict[str, Callable[[int], PointSet]] = {"farthest": box, "cloud": box, "room": room, "box": box}


@torch.inference_mode()
def measure(case: str, num_points: int) -> dict[str, float | str]:
    """Run one case; returns seconds and bytes."""
    torch.manual_seed(0)
    points = MAKE[case](num_points)
    if case == "farthest":
        sets = Segments.of(points)
        steps = [lambda _: farthest_points(points.pos, sets, int(CHOSEN * num_points)), lambda _: None]
    else:
        net = ContextClusterNet.from_preset(PRESETS[case]).eval()
        steps = [lambda _: net.plan(points), lambda plan: net(points, plan)]
    peaks, seconds, given = [peak_memory()], [], None
    for step in steps:
        start = time.perf_counter()
        given = step(given)
        seconds.append(time.perf_counter() - start)
        peaks.append(peak_memory())
    names = ("before", "after_plan", "after_network", "plan", "network")
    return {"case": case, "points": num_points, **dict(zip(names, (*peaks, *seconds), strict=True))}


def measured(case: str, num_points: int, threads: int) -> dict[str, float | str]:
    """Measure one case in a new process, whose peak is its own."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__)), "--inside", "--cases", case]
    command += ["--points", str(num_points), "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{case} of {num_points} points failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1]) | {"threads": threads}


def line(row: dict) -> str:
    """One line of the table."""
    memory = (row["before"], row["after_plan"] - row["before"], row["after_network"] - row["after_plan"])
    cells = [row["case"], f"{row['points']:,}", str(row["threads"]), f"{row['plan']:.2f}", f"{row['network']:.2f}"]
    return f"| {' | '.join([*cells, *(f'{value / MIB:,.0f}' for value in memory)])} |"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--points", type=int, help="points of every case; each has its own number by default")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row for each case and number of threads, then what it was measured with."""
    options = parse(arguments)
    if options.inside:
        torch.set_num_threads(options.threads[0])
        print(json.dumps(measure(options.cases[0], options.points)))
        return
    print("| case | points | threads | plan, s | network, s | before, MiB | more, plan | more, network |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for case in options.cases:
        for threads in options.threads:
            print(line(measured(case, options.points or CASES[case], threads)), flush=True)
    print("\n" + ", ".join(f"{name} {value}" for name, value in machine(CPU).items() if name != "commit"))


if __name__ == "__main__":
    main()
