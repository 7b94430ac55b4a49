"""Question: does a point of a large scene cost as much as a point of a small one?

Measures the plan (anchors, neighbors, regions) and the network on it, forward, for scenes of 1,000 to 1,000,000 points,
and prints a Markdown table::

    OMP_NUM_THREADS=2 python benchmarks/scenes.py
    POINTCOC_DISABLE_EXTENSIONS=1 OMP_NUM_THREADS=2 python benchmarks/scenes.py      # plain torch
    OMP_NUM_THREADS=2 python benchmarks/scenes.py --preset coc_points --sizes 1000 10000

A scene is the walls of a room, 2,000 points a square meter with 3 mm of noise: larger scenes are larger rooms, not
denser ones, so every scene leaves about the same share of its points as anchors.

How to read it: "plan" and "network" are medians of microseconds per point of the scene; "ratio" is their sum over that
of the scene of 10,000 points (of the first one if there is none). A cost that grows with the number of points has a
ratio that rises by the same factor as the points where it is quadratic, and stays near 1 where it is linear; caches
alone may double it. "anchors" are those of all stages as shares of the points. Times of other machines, and of a
machine that does other work, do not compare.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import torch

from pointcoc import PRESETS, ContextClusterNet, PointSet
from pointcoc.extensions import NAMES, extension

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
DENSITY = 2_000  # points per square meter
NOISE = 0.003  # meters


def room(num_points: int, seed: int = 0) -> PointSet:
    """Scan the six walls of a room twice as wide as high."""
    generator = torch.Generator().manual_seed(seed)
    width = (num_points / DENSITY / 4) ** 0.5  # floor and ceiling: 2 w^2; four walls: 4 w (w / 2)
    sides = torch.tensor([width, width, width / 2])
    pos = torch.rand(num_points, 3, generator=generator) * sides
    wall = torch.multinomial(torch.tensor([1.0, 1.0, 2.0]), num_points, replacement=True, generator=generator)
    far = torch.randint(2, (num_points,), generator=generator)
    pos[torch.arange(num_points), wall] = far * sides[wall]
    pos += NOISE * torch.randn(num_points, 3, generator=generator)
    return PointSet(pos, pos, torch.tensor([0, num_points]))


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row a size, then what it was measured with."""
    options = parse(arguments)
    device = torch.device(options.device)
    rows = []
    for row in scene_rows(options.preset, options.sizes, options.repeats, device):
        rows.append(row)
        print(f"{row['points']:,} points: {row['plan']:.2f} + {row['network']:.2f} microseconds per point", flush=True)
    print("", *table(rows), sep="\n")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    present = ", ".join(name for name in NAMES if extension(name) is not None) or "no extensions"
    print(f"\n{options.preset}, float32, {platform.machine()}, {name}, torch {torch.__version__}, {present}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    clouds = [name for name, config in PRESETS.items() if config.anchors != "lattice"]
    parser.add_argument("--preset", default="coc_scene", choices=clouds)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="points of the scenes")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the median counts")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
