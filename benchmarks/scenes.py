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
from collections.abc import Sequence

import torch
from tools.scenes import SIZES, scene_rows, table

from pointcoc import PRESETS
from pointcoc.extensions import NAMES, extension


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
    clouds = [name for name, config in PRESETS.items() if not config.on_lattice]
    parser.add_argument("--preset", default="coc_scene", choices=clouds)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="points of the scenes")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the median counts")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
