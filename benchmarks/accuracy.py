"""Question: what do networks learn from small real data in the same few minutes, with the same recipe?

Two columns: images of 32 x 32 (CIFAR-10 or a part of it as class folders), our small preset beside timm's resnet18 and
a vit of the same parameter count; clouds (ModelNet10 as HDF5 files), our preset beside PointNet++ and DGCNN::

    OMP_NUM_THREADS=2 python benchmarks/accuracy.py --images PATH --clouds PATH                # all 30 runs: 3 hours
    OMP_NUM_THREADS=2 python benchmarks/accuracy.py --images PATH --only coc_pico resnet18     # a part of it
    OMP_NUM_THREADS=2 python benchmarks/accuracy.py --images PATH --only vit --lr 1.5e-3 --seed 0  # one run

Each network trains with three learning rates and seed 0; the best on the validation part (a tenth of the training set)
trains with the other seeds. The run of seed 0 is the one of the search. A run is written to `--out` when it ends, and a
finished one is not run again, so the table can be made over several sittings.

A run trains for `--minutes` by the clock: the learning rate (a line up, then a cosine to 0) follows the share of the
time that has passed, so no network needs its number of epochs beforehand. Augmentation counts, evaluation does not. The
weights of the last update are evaluated, on the test set once a run, which chooses nothing. `--overrides`, with the one
run of `--lr` and `--seed`, tries a preset with other fields; it reads the validation part alone, and is in no table.

How to read it: test accuracy as mean and standard deviation over seeds, the range, and how many epochs and items a
second the time allowed. Epochs and speed are part of the result: a network that is cheap sees more. Only a quiet
machine gives every run the same; the load before and after each run is in the JSON file.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch
from tools.accuracy_networks import NETWORKS
from tools.accuracy_table import TITLES, best, report, tables
from tools.machine import load, machine
from tools.small_data import clouds, images, recipe_of
from tools.timed_training import CLOCKS, Split, accuracy, train_for

RESULTS = Path(__file__).parent / "results"
SAME = (
    "network",
    "overrides",
    "lr",
    "seed",
    "minutes",
    "clock",
    "threads",
    "points",
)  # what makes two runs the same run
Run = dict[str, Any]
Data = tuple[Split, Split, Split, int]


def main(args: Sequence[str] | None = None) -> None:
    """Train what is not finished, then write the table."""
    options = parse(args)
    runs = read_runs(options.out)
    for column in TITLES:
        names = [name for name in options.only if NETWORKS[name].column == column]
        if names:
            data = read_data(column, options)
            for name in names:
                train_network(name, data, options, runs)
    if options.lr is None:
        write(runs, options)


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; a mistake ends with a sentence."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--images", type=Path, help="folder with train/CLASS/*.jpg and test/CLASS/*.jpg, all of one size"
    )
    parser.add_argument("--clouds", type=Path, help="folder with HDF5 files in the layout of ModelNet40")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, help="networks; all of the data given by default")
    parser.add_argument("--minutes", type=float, default=5.0, help="time of training of a run")
    parser.add_argument("--lr", type=float, help="with --only and --seed: one run alone, without search and table")
    parser.add_argument("--seed", type=int, help="see --lr")
    parser.add_argument("--overrides", type=json.loads, default={}, help="JSON of fields of our preset; see --lr")
    parser.add_argument("--seeds", type=int, default=3, help="runs of a network that count: seeds 0, 1, ...")
    parser.add_argument("--points", type=int, default=512, help="points of a cloud, the first of those stored")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: processor time, for tuning beside other work"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/accuracy.jsonl"), help="finished runs, one a line")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of accuracy.md and accuracy.json")
    options = parser.parse_args(args)
    options.command = f"python benchmarks/accuracy.py {shlex.join(sys.argv[1:] if args is None else args)}"
    try:
        check(options)
    except ValueError as error:
        parser.error(str(error))
    return options


def check(options: argparse.Namespace) -> None:
    """Raise ValueError where options do not fit one another; choose the networks where none are named."""
    given = [column for column in TITLES if getattr(options, column) is not None]
    if not given:
        raise ValueError("give --images PATH, --clouds PATH or both")
    options.only = options.only or [name for name, network in NETWORKS.items() if network.column in given]
    for name in options.only:
        if NETWORKS[name].column not in given:
            raise ValueError(f"--only {name} needs --{NETWORKS[name].column} PATH")
    if (options.lr is None) != (options.seed is None):
        raise ValueError("--lr and --seed go together: they name one run")
    if options.overrides and (options.lr is None or not all(NETWORKS[name].is_ours for name in options.only)):
        raise ValueError("--overrides goes with --lr and --seed, and --only names presets of ours")
    if not (options.minutes > 0 and options.seeds > 0 and options.points > 0):
        raise ValueError("--minutes, --seeds and --points must be above 0")
    if options.lr is not None and not (options.lr > 0 and options.seed >= 0):
        raise ValueError("--lr must be above 0 and --seed at least 0")


def read_data(column: str, options: argparse.Namespace) -> Data:
    """Return training, validation and test part of a column, and the number of classes."""
    return images(options.images) if column == "images" else clouds(options.clouds, options.points)


def train_network(name: str, data: Data, options: argparse.Namespace, runs: list[Run]) -> None:
    """Do the runs of a network that are not finished: the search with seed 0, then the other seeds."""
    if options.lr is not None:
        run_once(name, options.lr, options.seed, data, options, runs)
        return
    search = [run_once(name, lr, 0, data, options, runs) for lr in NETWORKS[name].lrs]
    for seed in range(1, options.seeds):
        run_once(name, best(search)["lr"], seed, data, options, runs)


def run_once(name: str, lr: float, seed: int, data: Data, options: argparse.Namespace, runs: list[Run]) -> Run:
    """Return a run, from the file if it is there."""
    run = settings_of(name, lr, seed, options)
    for finished in runs:
        if all(finished[key] == run[key] for key in SAME):
            return finished
    run |= measure(name, lr, seed, data, options)
    append(run, options.out)
    runs.append(run)
    print(line(run), flush=True)
    return run


def settings_of(name: str, lr: float, seed: int, options: argparse.Namespace) -> Run:
    """Return what makes a run the one it is."""
    points = options.points if NETWORKS[name].column == "clouds" else None
    return {
        "network": name, "overrides": options.overrides, "lr": lr, "seed": seed, "minutes": options.minutes,
        "clock": options.clock, "threads": torch.get_num_threads(), "points": points,
    }  # fmt: skip


def measure(name: str, lr: float, seed: int, data: Data, options: argparse.Namespace) -> Run:
    """Train and evaluate; a run whose loss is not finite has accuracies of 0 and says why."""
    train, val, test, num_classes = data
    recipe, before = recipe_of(NETWORKS[name].column), load()
    torch.manual_seed(seed)
    net = NETWORKS[name].build(num_classes, **options.overrides)
    found: Run = {"parameters": sum(p.numel() for p in net.parameters()), "command": options.command}
    try:
        done = train_for(net, train, recipe, lr=lr, seconds=60 * options.minutes, seed=seed, clock=options.clock)
    except FloatingPointError as error:
        return {**found, "val": 0.0, "test": 0.0, "epochs": 0.0, "rate": 0.0, "error": str(error)}
    found |= {"seconds": done.seconds, "updates": done.updates, "epochs": done.items / len(train)}
    found |= {"rate": done.items / done.seconds, "load_before": before, "load_after": load()}
    found["val"] = accuracy(net, val, recipe)
    found["test"] = None if options.overrides else accuracy(net, test, recipe)
    return {**found, "machine": machine(torch.device("cpu")), "date": date.today().isoformat()}


def read_runs(path: Path) -> list[Run]:
    """Read the finished runs; none if there is no file."""
    return [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []


def append(run: Run, path: Path) -> None:
    """Write a run as one line that survives whatever comes next."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(run) + "\n")
        file.flush()
        os.fsync(file.fileno())


def line(run: Run) -> str:
    """Say what a run came to."""
    what = run.get("error") or f"{run['epochs']:.1f} epochs, validation {run['val']:.2f} %"
    return f"{time.strftime('%H:%M')} {run['network']} lr {run['lr']:g} seed {run['seed']}: {what}"


def write(runs: Sequence[Run], options: argparse.Namespace) -> None:
    """Write and print the tables of the runs that share the settings of this one."""
    like = {key: settings_of("resnet18", 0, 0, options)[key] for key in ("overrides", "minutes", "clock", "threads")}
    like_runs = [run for run in runs if all(run[key] == value for key, value in like.items())]
    like_runs = [run for run in like_runs if run["points"] in (None, options.points)]
    columns = {
        column: {name: network.lrs for name, network in NETWORKS.items() if network.column == column}
        for column in TITLES
    }
    lines = tables(like_runs, columns, options.seeds)
    commits = sorted({run["machine"]["commit"] for run in like_runs if "machine" in run})
    results = like | {
        "machine": machine(torch.device("cpu")), "command": options.command, "date": date.today().isoformat(),
        "points": options.points, "commits": commits, "runs": like_runs, "tables": lines,
    }  # fmt: skip
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "accuracy.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.results / "accuracy.md").write_text(report(results))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
