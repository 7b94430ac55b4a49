"""Question: do stages that learned images help a network for clouds, and the other way round?

Trains a source network on one domain, gives its stages to a network of the other domain (`--init-from` of the
recipes: the first reducer and the classifier are new), trains that, and trains the same network from random weights
for the same time. Data and recipe are those of benchmarks/accuracy.py::

    OMP_NUM_THREADS=1 python benchmarks/transfer.py --images PATH --clouds PATH --to clouds
    OMP_NUM_THREADS=1 python benchmarks/transfer.py --images PATH --clouds PATH --to images

How to read it: test accuracy as mean and standard deviation over seeds after a short and a longer training. Both lines
of a table have the same configuration, so they differ in the first weights alone. The source has one seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

import torch
from tools.machine import load, machine
from tools.small_data import clouds, images, recipe_of
from tools.timed_training import CLOCKS, Split, accuracy, train_for
from torch import Tensor, nn

from pointcoc import ContextClusterNet
from pointcoc.models import copy_stages, preset, with_stages_of
from pointcoc.pointset import cloud_to_points

PRESETS = {"images": "coc_pico", "clouds": "coc_points"}
OTHER = {"images": "clouds", "clouds": "images"}
Data = tuple[Split, Split, Split, int]


class Classifier(nn.Module):
    """A network that takes batches of images (B, 3, H, W) or clouds (B, P, 3)."""

    def __init__(self, net: ContextClusterNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: Tensor) -> Tensor:
        """Return logits (B, num_classes)."""
        return self.net(batch if batch.ndim == 4 else cloud_to_points(batch))


def main(args: Sequence[str] | None = None) -> None:
    """Train the source, then the targets, and print the table."""
    options = parse(args)
    data = {"images": images(options.images), "clouds": clouds(options.clouds, options.points)}
    before = load()
    source = train_source(OTHER[options.to], data, options)
    rows = [row(minutes, source, data[options.to], options) for minutes in options.minutes]
    print("\n" + "\n".join(table(rows, options.to)))
    print("\n" + ", ".join(f"{name} {value}" for name, value in machine(torch.device("cpu")).items()))
    print(f"load before {before}, after {load()}")


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--images", type=Path, required=True, help="folder with train/CLASS and test/CLASS")
    parser.add_argument("--clouds", type=Path, required=True, help="folder with HDF5 files in the layout of ModelNet40")
    parser.add_argument("--to", choices=PRESETS, required=True, help="domain that receives the stages")
    parser.add_argument("--source-minutes", type=float, default=4.0, help="training time of the source")
    parser.add_argument("--minutes", type=float, nargs="+", default=(0.5, 1.5), help="training times of the target")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each line, at least 2")
    parser.add_argument("--points", type=int, default=512, help="points of a cloud")
    parser.add_argument("--lr", type=float, default=1.5e-3, help="peak of the learning rate, of all runs")
    parser.add_argument("--clock", choices=CLOCKS, default="cpu", help="cpu: processor time, beside other work")
    options = parser.parse_args(args)
    if options.seeds < 2 or min(options.source_minutes, *options.minutes, options.lr) <= 0 or options.points < 1:
        parser.error("--seeds must be at least 2, times, --lr and --points above 0")
    return options


def train_source(domain: str, data: dict[str, Data], options: argparse.Namespace) -> ContextClusterNet:
    """Train the network whose stages are copied, and say how good it is."""
    num_classes = data[domain][3]
    torch.manual_seed(0)
    net = ContextClusterNet.from_preset(PRESETS[domain], num_classes=num_classes)
    score = trained(net, domain, data[domain], options.source_minutes, 0, options)
    print(f"source: {PRESETS[domain]} on {domain}, {options.source_minutes:g} minutes, test accuracy {score:.2f} %")
    return net


def row(
    minutes: float, source: ContextClusterNet, data: Data, options: argparse.Namespace
) -> tuple[float, list[float], list[float]]:
    """Train the target for a time, from random weights and with copied stages, once a seed."""
    scores: tuple[list[float], list[float]] = ([], [])
    for seed in range(options.seeds):
        for copies, found in zip((False, True), scores, strict=True):
            net = target(source, data[3], options.to, seed, copies=copies)
            found.append(trained(net, options.to, data, minutes, seed, options))
            print(f"{minutes:g} minutes, seed {seed}, stages {'copied' if copies else 'random'}: {found[-1]:.2f} %")
    return minutes, *scores


def target(source: ContextClusterNet, num_classes: int, domain: str, seed: int, *, copies: bool) -> ContextClusterNet:
    """Make a network of the other domain with the stages of the source, or with random ones of the same sizes."""
    torch.manual_seed(seed)
    config = preset(PRESETS[domain], num_classes=num_classes)
    net = ContextClusterNet(with_stages_of(config, source.config))
    if copies:
        copy_stages(net, source)
    return net


def trained(
    net: ContextClusterNet, domain: str, data: Data, minutes: float, seed: int, options: argparse.Namespace
) -> float:
    """Train for a time; return the test accuracy in percent."""
    train, _, test, _ = data
    model, recipe = Classifier(net), recipe_of(domain)
    train_for(model, train, recipe, lr=options.lr, seconds=60 * minutes, seed=seed, clock=options.clock)
    return accuracy(model, test, recipe)


def table(rows: Sequence[tuple[float, list[float], list[float]]], domain: str) -> list[str]:
    """Lines of the table: what is measured under what the network began with."""
    lines = [f"| minutes on {domain} | random stages | stages from {OTHER[domain]} |", "| --- | --- | --- |"]
    for minutes, *both in rows:
        cells = " | ".join(f"{mean(scores):.2f} ± {stdev(scores):.2f} %" for scores in both)
        lines.append(f"| {minutes:g} | {cells} |")
    return lines


if __name__ == "__main__":
    main()
