"""Question: how fast are our networks, and how much memory do they take, beside those one would pick instead?

Times our presets for images beside networks of timm, our networks for clouds beside PointNet++, scenes of a thousand
to a million points, and the limits of the machine; prints Markdown tables and saves them, JSON and a picture to
benchmarks/results/bench-cpu.* (or bench-cuda.*)::

    make bench                                                      # all that the device allows
    make bench BENCH='--sections inference --networks coc_tiny deit_tiny_patch16_224'
    python benchmarks/bench.py --quick                              # tiny sizes: does it run?
    python benchmarks/bench.py --sections training --batch 8 --modes eager compiled
    python benchmarks/bench.py --paper                              # the paper's protocol, on a GPU

Time: a full run was planned for about half an hour on 2 CPU cores and has not been timed. Most of it is compilation:
inference at batch 8 is compiled without and with freezing, all else runs eagerly unless --modes asks for more. On a
GPU only the largest batch is compiled.

How to read it: what is compared takes turns in one process, so that other work on the machine strikes all of it;
numbers are medians, a ratio divides the medians of the best mode of each network, and above 1 ours is faster. Weights
are random, which changes no time. Above a load of about 1 beside this process (printed) the tables are not worth
keeping. docs/benchmarks.md explains each section.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tools.backbones import DTYPES, INFERENCE_MODES, OURS, PAPER_OURS, PAPER_PEERS, PEERS, TRAINING_MODES, check_network
from tools.clouds import cloud_rows
from tools.costs import cluster_peaks, memory_row, network_costs
from tools.detection_step import detection_rows
from tools.images import Case, inference_rows, paper_rows, training_rows
from tools.limits import machine_limits, share_rows
from tools.machine import load, machine
from tools.plot import save_plot
from tools.report import render, render_section
from tools.scenes import SIZES, scene_rows
from tools.triton_op import triton_rows

RESULTS = Path(__file__).parent / "results"
SECTIONS = ("inference", "training", "memory", "detection", "clouds", "scenes", "limits", "triton")
EAGER = ("unfused", "eager", "native")
CASES = {
    "cpu": (
        Case(8, (224, 224), INFERENCE_MODES, ("eager",), 15),
        Case(1, (224, 224), EAGER, (), 30),
        Case(1, (800, 1344), ("eager", "native"), (), 4),
    ),
    "cuda": (
        *(Case(batch, (224, 224), EAGER, (), 50) for batch in (1, 8)),
        *(Case(batch, (224, 224), EAGER, ("eager",), 30) for batch in (64, 128)),
        Case(256, (224, 224), INFERENCE_MODES, TRAINING_MODES, 30),
    ),
}
QUICK = (Case(2, (64, 64), EAGER, ("eager",), 1),)
QUICK_NETWORKS = ("coc_tiny", "resnet18")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the sections; save after each, so that what is measured is not lost."""
    options = parse(arguments)
    torch.manual_seed(0)
    device = torch.device(options.device)
    words = sys.argv[1:] if arguments is None else list(arguments)
    results: dict[str, Any] = {
        "command": shlex.join(["python", "benchmarks/bench.py", *words]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(device),
        "load_before": load(),
    }
    names = [*OURS, *PEERS] if options.networks is None else options.networks
    with torch._dynamo.config.patch(recompile_limit=64):  # networks of one class count as one function of many forms
        for section in ("paper",) if options.paper else ("networks", *options.sections):
            measure(section, results, names, options, device)
            if results.get(section):
                print(*render_section(results, section), sep="\n\n", end="\n\n", flush=True)
            save(results, options)
    results["load_after"] = load()
    print("load before:", results["load_before"], "after:", results["load_after"])
    stem = save(results, options)
    has_plot = save_plot(results, stem.with_suffix(".png"))
    print(f"saved: {stem}.json, .md", "and .png" if has_plot else "")


def measure(
    section: str, results: dict[str, Any], names: Sequence[str], options: argparse.Namespace, device: torch.device
) -> None:
    """Add the rows of a section to the results."""
    cases = cases_of(options)
    sizes = list(dict.fromkeys(case.size for case in cases))
    if section == "networks":
        needs = {"inference", "training", "memory", "limits"} & {*options.sections}
        results["networks"] = [network_costs(name, size) for size in sizes for name in names] if needs else []
    elif section in ("inference", "training"):
        run = inference_rows if section == "inference" else training_rows
        groups = [(case, dtype) for case in cases if getattr(case, section) for dtype in options.dtypes]
        results[section] = [row for case, dtype in groups for row in run(case, dtype, names, device)]
    elif section == "memory":
        rows = [memory_row(name, sizes[0], dtype, device) for dtype in options.dtypes for name in names]
        peak_size, centers = ((64, 96), 2) if options.quick else ((800, 1344), 7)
        results |= {"memory": rows, "cluster_peak": cluster_peaks(peak_size, centers, device)}
    elif section == "detection":
        size, turns = ((64, 96), 1) if options.quick else ((800, 1344), 5)
        results["detection"] = detection_rows(size, options.turns or turns, device)
    elif section == "clouds":
        num_clouds, num_points = (2, 256) if options.quick else (8 if device.type == "cpu" else 64, 1024)
        results["clouds"] = cloud_rows(num_clouds, num_points, options.turns or (1 if options.quick else 5), device)
    elif section == "scenes":
        counts, repeats = ((200, 1000), 1) if options.quick else (SIZES, 3)
        results["scenes"] = list(scene_rows("coc_scene", counts, options.turns or repeats, device))
    elif section == "limits":
        turns, scale = (2, 0.125) if options.quick else (15, 1.0)
        results["limits"] = machine_limits(options.turns or turns, device, scale)
        results["shares"] = share_rows(results) if results.get("inference") else []
    elif section == "triton":
        batch, turns = (8, 3) if options.quick else (256, 20)
        results["triton"] = triton_rows("coc_tiny", batch, 224, options.turns or turns, device)
    else:
        chosen = options.networks or [*PAPER_OURS, *PAPER_PEERS]
        results["paper"] = paper_rows(chosen, 128, 10 if options.quick else 500, device)


def cases_of(options: argparse.Namespace) -> list[Case]:
    """The cases of the device, or one a batch that was asked for, with the modes and turns that were asked for."""
    cases = list(QUICK if options.quick else CASES[torch.device(options.device).type])
    if options.batch or options.size:
        first = cases[-1] if options.device == "cuda" else cases[0]
        batches = options.batch or [first.batch]
        cases = [replace(first, batch=batch, size=tuple(options.size or first.size)) for batch in batches]
    if options.modes:
        training = [mode for mode in options.modes if mode in TRAINING_MODES]
        cases = [replace(case, inference=options.modes, training=training) for case in cases]
    return [replace(case, turns=options.turns or case.turns) for case in cases]


def save(results: dict[str, Any], options: argparse.Namespace) -> Path:
    """Write JSON and Markdown; return their path without suffix."""
    kind = "quick" if options.quick else "paper" if options.paper else "bench"
    stem = options.out / f"{kind}-{results['machine']['device']}"
    options.out.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    stem.with_suffix(".md").write_text(render(results))
    return stem


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the options; what cannot be done here ends with a sentence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, help="all by default; triton needs a GPU")
    parser.add_argument("--networks", nargs="+", help="presets for images and models of timm")
    parser.add_argument("--batch", nargs="+", type=int, help="images a batch, at one size")
    parser.add_argument("--size", nargs=2, type=int, metavar=("HEIGHT", "WIDTH"), help="of the images")
    parser.add_argument("--modes", nargs="+", choices=INFERENCE_MODES, help="for every size, in inference and training")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    parser.add_argument("--turns", type=int, help="runs of which the median counts")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, few turns, two networks")
    parser.add_argument("--paper", action="store_true", help="the paper's protocol, on a GPU, instead of all else")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args(arguments)
    options.networks = list(QUICK_NETWORKS) if options.quick and options.networks is None else options.networks
    try:
        check(options)
    except ValueError as error:
        parser.error(str(error))
    return options


def check(options: argparse.Namespace) -> None:
    """Fill in the sections of the device; raise ValueError for what cannot be done."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda needs a GPU, and torch finds none; leave the option out to use the CPU")
    if options.paper and options.device == "cpu":
        raise ValueError("--paper needs a GPU: 500 iterations of 128 images; leave it out on a CPU")
    if options.paper and any((options.sections, options.batch, options.size, options.modes, options.turns)):
        raise ValueError("--paper fixes batch, size, modes and turns; give only --networks beside it")
    if "triton" in (options.sections or ()) and options.device == "cpu":
        raise ValueError("section triton needs a GPU; leave it out on a CPU")
    turns = () if options.turns is None else (options.turns,)
    if any(number < 1 for number in (*(options.batch or ()), *(options.size or ()), *turns)):
        raise ValueError("--batch, --size and --turns must be at least 1")
    here = SECTIONS if options.device == "cuda" else SECTIONS[:-1]
    options.sections = [section for section in here if section in (options.sections or here)]
    for name in options.networks or ():
        check_network(name)


if __name__ == "__main__":
    main()
