"""Train a context cluster network on point clouds, and measure it on clouds it has not seen.

    python examples/modelnet40.py                # ten classes of sampled solids, made on first use
    python examples/modelnet40.py --data PATH    # HDF5 files: ply_data_train*.h5, ply_data_test*.h5, shape_names.txt
    python examples/modelnet40.py --data h5_files --variant PB_T50_RS    # ScanObjectNN; also OBJ_ONLY, OBJ_BG
    python examples/modelnet40.py --data PATH --seeds 3                  # mean and standard deviation of three runs
    python examples/modelnet40.py --data PATH --weights runs/modelnet40 --eval-only --votes 10

The validation part, a tenth of the training set, chooses the epoch; the test set is read once, at the end: overall
accuracy and mean class accuracy. No voting in that line: `--votes` adds another one.
`--smoke` ends in seconds; `--resume auto` continues a run that was interrupted.

data                    hardware and time                               test accuracy (mean over classes)
ModelNet10 from voxels  one thread of a shared CPU, 11.3 minutes        measured: 90.4 % with --epochs 6
                                                                        --batch-size 16 --warmup-epochs 0.5
ModelNet40              one CPU core, about 11 hours at the rate that   not measured yet
                        was measured on ModelNet10 (44 clouds/s)
PB_T50_RS               one CPU core, about 16 hours at the same rate   not measured yet; the authors report 86.2 %
                                                                        (84.4 %) for PointMLP_CoC, another network

README.md, "Measured", and benchmarks/results/modelnet10.md have the details of what was measured.
"""

import argparse
import copy
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch_geometric.data import Data

from pointcoc import ContextClusterNet, PointSet
from pointcoc.checks import check_choice
from pointcoc.data import HDF5Clouds, collate_sets, shapes
from pointcoc.data.formats import CLOUD_FORMATS, open_split, variants_of
from pointcoc.data.unit_ball import to_unit_ball
from pointcoc.train import (
    Loaders,
    RecipeSettings,
    evaluate,
    finish,
    fit,
    make_loaders,
    make_network,
    make_test_loader,
    measure,
    over_seeds,
    report_test,
    run_command,
)
from pointcoc.train.processes import say


@dataclass(frozen=True, kw_only=True)
class CloudSettings(RecipeSettings):
    """Settings of a run on point clouds."""

    data: Path | None = None
    """Folder with HDF5 files in the layout of ModelNet40, or of ScanObjectNN for --variant; without it solids are
    sampled."""
    variant: str | None = None
    """Variant of ScanObjectNN, OBJ_ONLY, OBJ_BG or PB_T50_RS; --data is then its folder h5_files."""
    num_points: int = 1024
    """Points of a cloud."""
    resample: bool = False
    """Augmentation: each epoch takes others of the stored points, at random; without it, and to measure, the first."""
    normalize: bool = False
    """Move each cloud to its mean and scale it to the unit ball; ModelNet40 was stored so."""
    scale: float = 1.5
    """Augmentation: each axis is stretched by a factor from 1 / scale to scale."""
    same_scale: bool = False
    """Stretch all axes by the same factor."""
    shift: float = 0.2
    """Augmentation: the cloud moves by up to this along each axis, in units of its coordinates."""
    jitter: float = 0.0
    """Augmentation: standard deviation of the noise of each coordinate, in the same units."""
    drop_points: float = 0.0
    """Augmentation: each cloud loses a share of its points, drawn anew from 0 to this; makes a network that bears other
    numbers of points than it has learned from."""
    rotate: float = 0.0
    """Augmentation: the cloud turns about the up axis by up to this, in degrees; 180 for any angle."""
    up: Literal["x", "y", "z"] = "y"
    """The up axis; y in ModelNet40 and ScanObjectNN."""
    votes: int = 0
    """Views of each test cloud, turned and stretched as in training and the same in every run, whose mean answer is
    reported besides; 0 for none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data is None and (self.variant or self.resample):
            raise ValueError("variant and resample have no effect on sampled solids: leave them out, or give --data")
        if self.variant is not None:
            check_choice("variant", self.variant, variants_of(CLOUD_FORMATS))
        for name, low in {"num_points": 1, "scale": 1, "shift": 0, "jitter": 0, "rotate": 0, "votes": 0}.items():
            if not low <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least {low}, got {getattr(self, name)}")
        if not 0 <= self.drop_points < 1:
            raise ValueError(f"drop_points is a share and must be in [0, 1), got {self.drop_points}")


SHAPES = CloudSettings(
    preset="coc_points_small",
    epochs=5,
    lr=5e-3,
    warmup_epochs=0.5,
    batch_size=32,
    clip_grad=1.0,
    scale=1.0,
    shift=0.0,
    out=Path("runs/modelnet40-shapes"),
)
# The defaults below are parts of the command line that names --data, which replaces this path.
# Stretching of each axis, moving, resampling, cosine and label smoothing as PointMLP and PointNeXt train.
CLOUDS = replace(
    SHAPES,
    data=Path("PATH"),
    preset="coc_points",
    epochs=200,
    warmup_epochs=10,
    lr=2e-3,
    label_smoothing=0.1,
    resample=True,
    scale=1.5,
    shift=0.2,
    out=Path("runs/modelnet40"),
)
# ScanObjectNN as PointNeXt trains on it: centered and scaled, any rotation about the up axis, a little stretching.
SCANS = replace(
    CLOUDS,
    variant="PB_T50_RS",
    epochs=250,
    min_lr=1e-4,
    label_smoothing=0.3,
    normalize=True,
    scale=1.1,
    shift=0.0,
    rotate=180.0,
    out=Path("runs/scanobjectnn"),
)


def main(settings: CloudSettings) -> None:
    """Train and measure, once for each seed, or measure alone."""
    over_seeds(measure_alone if settings.eval_only else train, settings)


def train(settings: CloudSettings) -> dict[str, float]:
    """Train on clouds, choose the epoch on the validation part, read the test set once."""
    torch.manual_seed(settings.seed)
    loaders, num_classes = cloud_loaders(settings)
    net = make_network(settings, num_classes, in_channels=3, pos_dim=3)
    result = fit(net, loaders.train, loaders.val, settings)
    scores = finish(net, loaders.test, result, settings)
    if settings.votes:
        voted = report_votes(net, loaders.test, settings)
        report_test("test-votes", {**voted, "votes": settings.votes}, result, settings)
    return scores


def measure_alone(settings: CloudSettings) -> dict[str, float]:
    """Measure weights on the test set."""
    test = open_clouds(settings, "test")
    test.transform = Prepare(settings)
    loader = make_test_loader(test, settings, collate_fn=collate_sets)
    net = make_network(settings, len(test.classes), in_channels=3, pos_dim=3)
    scores = measure(net, loader, settings)
    if settings.votes:
        report_votes(net, loader, settings)
    return scores


def cloud_loaders(settings: CloudSettings) -> tuple[Loaders, int]:
    """Return the loaders of the clouds and the number of their classes."""
    if settings.data is None:
        say(f"no --data given: training on sampled solids of {settings.num_points} points")
    train, test = (open_clouds(settings, split) for split in ("train", "test"))
    for sentence in train.left_out:
        say(f"left out: {sentence}")
    val = copy.copy(train)
    val.transform = test.transform = Prepare(settings)
    train.transform = Augment(settings)
    return make_loaders(train, test, settings, val_set=val, collate_fn=collate_sets), len(train.classes)


def open_clouds(settings: CloudSettings, split: str) -> HDF5Clouds:
    """Return a split; of the training split all stored points where each epoch takes others."""
    if settings.data is None:
        return shapes(split, num_points=settings.num_points)
    num_points = None if split == "train" and settings.resample else settings.num_points
    max_bad = settings.max_bad if split == "train" else 0
    clouds = open_split(settings.data, split, CLOUD_FORMATS, settings.variant, num_points=num_points, max_bad=max_bad)
    stored = clouds.points.shape[1]
    if stored < settings.num_points:
        raise ValueError(f"num_points must be in [1, {stored}], the points stored per cloud, got {settings.num_points}")
    return clouds


class Prepare:
    """Take the first points of a cloud and, if asked for, center and scale it: what is measured.

    Args:
        settings: `num_points` and `normalize` are read.
    """

    def __init__(self, settings: CloudSettings) -> None:
        self.settings = settings

    def __call__(self, data: Data) -> Data:
        """Return the cloud with other coordinates."""
        pos = data.pos[: self.settings.num_points]
        return Data(pos=to_unit_ball(pos, "mean") if self.settings.normalize else pos, y=data.y)


class Augment:
    """Choose points of a cloud, center and scale it if asked for, then turn, stretch, move and jitter it at random.

    Args:
        settings: `num_points`, `resample`, `drop_points`, `normalize`, `scale`, `same_scale`, `shift`, `jitter`,
            `rotate` and `up` are read.
    """

    def __init__(self, settings: CloudSettings) -> None:
        self.settings = settings

    def __call__(self, data: Data) -> Data:
        """Return the cloud with other coordinates."""
        settings = self.settings
        pos = data.pos
        if settings.resample and len(pos) > settings.num_points:
            pos = pos[torch.randperm(len(pos))]
        pos = without_some(pos[: settings.num_points], settings.drop_points)
        pos = to_unit_ball(pos, "mean") if settings.normalize else pos
        pos = pos @ random_stretch(settings) + torch.empty(3).uniform_(-1, 1) * settings.shift
        return Data(pos=pos + settings.jitter * torch.randn_like(pos), y=data.y)


def without_some(pos: Tensor, share: float) -> Tensor:
    """Return a cloud (P, 3) without a random share of its points, up to `share`; one point stays (PointNet++, 3.3)."""
    if share == 0:
        return pos
    num_kept = max(1, round(len(pos) * (1 - share * torch.rand(()).item())))
    return pos[torch.randperm(len(pos))[:num_kept]]


def random_stretch(settings: CloudSettings) -> Tensor:
    """Return a matrix (3, 3) that turns a row vector about the up axis, then stretches it along the axes."""
    rotation = random_rotation(settings.rotate, "xyz".index(settings.up))
    exponents = torch.empty(1 if settings.same_scale else 3).uniform_(-1, 1)
    return rotation.T * settings.scale**exponents


def random_rotation(degrees: float, axis: int) -> Tensor:
    """Return a rotation (3, 3) about an axis by an angle of up to `degrees` either way."""
    angle = math.radians(degrees) * float(torch.empty(()).uniform_(-1, 1))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    rotation = torch.eye(3)
    rotation[first, first] = rotation[second, second] = math.cos(angle)
    rotation[second, first], rotation[first, second] = math.sin(angle), -math.sin(angle)
    return rotation


class Voting(nn.Module):
    """The mean probability over views of each cloud: the cloud itself, then turned and stretched ones.

    Args:
        net: the network.
        settings: `votes`, `scale`, `same_scale`, `rotate` and `up` are read; the views do not depend on the seed.
    """

    def __init__(self, net: ContextClusterNet, settings: CloudSettings) -> None:
        super().__init__()
        self.net, self.num_classes = net, net.config.num_classes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            more = [random_stretch(settings) for _ in range(settings.votes - 1)]
        self.register_buffer("views", torch.stack([torch.eye(3), *more]))

    def forward(self, clouds: PointSet) -> Tensor:
        """Return the logarithm of the mean probability of each class, (B, num_classes)."""
        views = [clouds.pos @ view for view in self.get_buffer("views").to(clouds.pos)]
        logits = [self.net(PointSet(pos, pos, clouds.ptr, size=clouds.size)) for pos in views]
        return torch.stack([one.softmax(1) for one in logits]).mean(0).log()


def report_votes(net: ContextClusterNet, loader: DataLoader, settings: CloudSettings) -> dict[str, float]:
    """Measure the network with voting and print a line that says so."""
    scores = evaluate(Voting(net, settings), loader, settings.precision)
    say(
        f"with votes of {settings.votes} views, which is not the result above: {scores['accuracy']:.2%} "
        f"(mean over classes {scores['mean_class_accuracy']:.2%})"
    )
    return scores


def default_settings(args: Sequence[str]) -> CloudSettings:
    """Return the defaults for the data that a command line names: scans, clouds from files, or solids."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("--data", "--variant", "--weights"):
        parser.add_argument(option)
    known, _ = parser.parse_known_args(args)
    defaults = SHAPES if known.data is None else CLOUDS if known.variant is None else SCANS
    return defaults if known.weights is None else replace(defaults, preset=None, weights=known.weights)


if __name__ == "__main__":
    run_command(main, default_settings(sys.argv[1:]), __doc__)
