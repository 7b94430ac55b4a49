"""One class of network learns images, the same images as unordered points, ink sets and 3D clouds.

    python examples/demo.py

Nothing is downloaded: the digits are scikit-learn's, the clouds are sampled from ten solids. Prints one table and saves
a picture of the clusters found in a few test inputs, demo_clusters.png.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from imagenet import DIGITS, ImageSettings, digit_loaders
from modelnet40 import SHAPES, CloudSettings, cloud_loaders
from torch import Tensor
from torch.utils.data import DataLoader

from pointcoc import ContextClusterNet, PointSet, image_to_points
from pointcoc.train import evaluate, fit, make_network
from pointcoc.viz import draw_clusters

PICTURE = Path("demo_clusters.png")
ROUNDING = 1e-3  # logits of one set that differ by more do so for another cause than rounding


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A trained network with its test data."""

    name: str
    net: ContextClusterNet
    test: DataLoader
    seconds: float


def main() -> None:
    """Train three networks, print the table, draw the clusters."""
    with TemporaryDirectory() as folder:
        images = learn("digits, images", replace(DIGITS, out=Path(folder) / "images"))
        ink = learn("digits, ink sets", replace(DIGITS, form="ink", out=Path(folder) / "ink"))
        clouds = learn("solids, clouds", replace(SHAPES, out=Path(folder) / "clouds"))
    rows = [("input", "points a set", "test accuracy", "seconds to train"), row(images), shuffled_row(images)]
    print("\n" + table([*rows, row(ink), row(clouds)]))
    picture = draw_clusters([example for learned in (images, ink, clouds) for example in examples(learned)])
    picture.savefig(PICTURE, dpi=120)
    print(f"\nclusters found in a few test inputs: {PICTURE.resolve()}")


def learn(name: str, settings: ImageSettings | CloudSettings) -> Learned:
    """Train a network by the recipe of the examples, without a validation part: no choice is made here."""
    print(f"\n{name}")
    torch.manual_seed(settings.seed)
    settings = replace(settings, val_fraction=0.0)
    if isinstance(settings, ImageSettings):
        (loaders, classes), in_channels = digit_loaders(settings), 1
        assert not isinstance(classes, int)
        num_classes = len(classes)
    else:
        loaders, info = cloud_loaders(settings)
        assert info.class_names is not None
        num_classes, in_channels = len(info.class_names), 3
    net = make_network(settings, num_classes, in_channels=in_channels)
    start = time.perf_counter()
    fit(net, loaders.train, None, settings)
    return Learned(name=name, net=net.eval(), test=loaders.test, seconds=time.perf_counter() - start)


def row(learned: Learned) -> tuple[str, ...]:
    """Return the line of the table for a trained network."""
    accuracy = evaluate(learned.net, learned.test)["accuracy"]
    counts = torch.cat([points.counts for points, _ in point_batches(learned)])
    low, high = int(counts.min()), int(counts.max())
    points = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return learned.name, points, f"{accuracy:.1%}", f"{learned.seconds:.0f}"


@torch.no_grad()
def shuffled_row(learned: Learned) -> tuple[str, ...]:
    """Return the line for the pixels of the images in random order: the general path, with the very same weights."""
    right, differences, num_points = 0, torch.empty(0), 0
    for points, labels in point_batches(learned):
        logits = learned.net(points.take(torch.randperm(points.num_points)))
        differences = torch.cat([differences, (logits - learned.net(points)).abs().amax(1)])
        right += int((logits.argmax(1) == labels).sum())
        num_points = points.num_points // points.num_sets
    # Sums in another order may give a point that lies between two centers to the other one: rare, but no rounding then.
    is_rounding, total = differences < ROUNDING, len(differences)
    note = f"none; logits differ by at most {differences.where(is_rounding, 0).max():.0e}"
    if more := total - int(is_rounding.sum()):
        note += f", in {more} of {total} by {differences.max():.0e}"
    return "  their pixels, shuffled", f"{num_points:,}", f"{right / total:.1%}", note


def point_batches(learned: Learned) -> Iterator[tuple[PointSet, Tensor]]:
    """Yield the test batches as point sets."""
    for inputs, labels in learned.test:
        yield (image_to_points(inputs) if isinstance(inputs, Tensor) else inputs), labels


def examples(learned: Learned, count: int = 2) -> list[tuple[str, ContextClusterNet, PointSet]]:
    """Return the first test inputs with their class."""
    points, labels = next(point_batches(learned))
    classes = getattr(learned.test.dataset, "classes")  # noqa: B009 - torch's type of a data set has no classes
    titles = [f"{learned.name}: {classes[int(label)]}" for label in labels[:count]]
    return [(title, learned.net, one) for title, one in zip(titles, points.split()[:count], strict=True)]


def table(rows: list[tuple[str, ...]]) -> str:
    """Lay out rows in columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in rows)


if __name__ == "__main__":
    main()
