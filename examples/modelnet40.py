"""Train a context cluster network on point clouds, and measure it on clouds it has not seen.

    python examples/modelnet40.py                # ten classes of sampled solids, made on first use
    python examples/modelnet40.py --data PATH    # your own clouds, or HDF5 files in the layout of ModelNet40
    python examples/modelnet40.py --data h5_files --variant PB_T50_RS    # ScanObjectNN; also OBJ_ONLY, OBJ_BG
    python examples/modelnet40.py --data PATH --seeds 3                  # mean and standard deviation of three runs
    python examples/modelnet40.py --data PATH --weights runs/modelnet40 --eval-only --votes 10

`--data` is a folder with one folder of files per class, `train/CLASS/*` and `test/CLASS/*`, or `CLASS/*` alone, in any
format of docs/clouds.md, or holds ply_data_train*.h5, ply_data_test*.h5 and shape_names.txt. Each cloud is centered and
scaled to the unit ball; `--center none --scale-to none` keeps it as stored. What is done to clouds is noted with the
weights, and `pointcoc predict --weights runs/modelnet40 FILE` does the same to new files.

The validation part, a tenth of the training set, chooses the epoch; the test set is read once, at the end: overall
accuracy and mean class accuracy. No voting in that line: `--votes` adds another one.
`--smoke` ends in seconds; `--resume auto` continues a run that was interrupted.

data                    hardware and time                               test accuracy (mean over classes)
ModelNet10 from voxels  one thread of a shared CPU, 11.3 minutes        measured: 90.4 % with --epochs 6
                                                                        --batch-size 16 --warmup-epochs 0.5
                                                                        --center none --scale-to none
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
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch_geometric.data import Data

from pointcoc import ContextClusterNet, PointSet
from pointcoc.checks import check_choice
from pointcoc.data import PrepareCloud, collate_sets, shapes
from pointcoc.data.formats import CLOUD_FORMATS, format_of, open_split, variants_of
from pointcoc.models import CloudTransform, WeightsInfo
from pointcoc.models.weights import FEATURES
from pointcoc.train import (
    Loaders,
    RecipeSettings,
    classification,
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
    write_made_split,
)
from pointcoc.train.class_numbers import in_numbers_of
from pointcoc.train.preparation import PreparationSettings, noted_preparation
from pointcoc.train.processes import say


@dataclass(frozen=True, kw_only=True)
class CloudSettings(PreparationSettings, RecipeSettings):
    """Settings of a run on point clouds."""

    data: Path | None = None
    """Folder with a folder of files per class, or with HDF5 files in the layout of ModelNet40, or of ScanObjectNN for
    --variant; without it solids are sampled."""
    variant: str | None = None
    """Variant of ScanObjectNN, OBJ_ONLY, OBJ_BG or PB_T50_RS; --data is then its folder h5_files."""
    columns: tuple[str, ...] = ()
    """Names of the columns of text and arrays that do not tell them: x y z, r g b, nx ny nz, _ to skip one."""
    decimal: str = "."
    """Decimal mark of text."""
    resample: bool = False
    """Augmentation: each epoch takes other points of each cloud, at random; measuring takes the same ones each time."""
    normalize: bool = False
    """Short for --center mean --scale-to unit_ball."""
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
    drop_color: float = 0.0
    """Augmentation: probability to set all colors of a cloud to gray."""
    votes: int = 0
    """Views of each test cloud, turned and stretched as in training and the same in every run, whose mean answer is
    reported besides; 0 for none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data is None and (self.variant or self.resample or self.columns or self.features):
            raise ValueError(
                "variant, resample, columns and features have no effect on sampled solids: leave them out, or give "
                "--data"
            )
        if self.variant is not None:
            check_choice("variant", self.variant, variants_of(CLOUD_FORMATS))
        for name, low in {"scale": 1, "shift": 0, "jitter": 0, "rotate": 0, "votes": 0}.items():
            if not low <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least {low}, got {getattr(self, name)}")
        if not 0 <= self.drop_points < 1:
            raise ValueError(f"drop_points is a share and must be in [0, 1), got {self.drop_points}")
        if not 0 <= self.drop_color <= 1:
            raise ValueError(f"drop_color is a probability and must be in [0, 1], got {self.drop_color}")
        if self.drop_color and "color" not in self.features:
            raise ValueError("drop_color has no effect without colors: leave it out, or add --features color")
        if self.normalize:
            object.__setattr__(self, "center", "mean")
            object.__setattr__(self, "scale_to", "unit_ball")


SHAPES = CloudSettings(
    preset="coc_points_small",
    epochs=5,
    lr=5e-3,
    warmup_epochs=0.5,
    batch_size=32,
    clip_grad=1.0,
    center="box",
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
    center="mean",
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
    loaders, info = cloud_loaders(settings)
    net = make_cloud_network(settings, info)
    task = classification(net, settings, loaders.train)
    result = fit(net, loaders.train, loaders.val, settings, task=task)
    write_made_split(settings.out, loaders.test.dataset)
    scores = finish(net, loaders.test, result, settings, task)
    if settings.votes:
        voted = report_votes(net, loaders.test, settings)
        report_test("test-votes", {**voted, "votes": settings.votes}, result, settings)
    return scores


def measure_alone(settings: CloudSettings) -> dict[str, float]:
    """Measure weights on the test set."""
    test = open_clouds(settings, "test")
    test.transform = PrepareCloud(settings.transform())
    net = make_cloud_network(settings, WeightsInfo(class_names=test.classes, transform=settings.transform()))
    numbered = in_numbers_of(net, test, str(settings.data or "the sampled solids"))
    loader = make_test_loader(numbered, settings, collate_fn=collate_sets)
    scores = measure(net, loader, settings)
    if settings.votes:
        report_votes(net, loader, settings)
    return scores


def make_cloud_network(settings: CloudSettings, info: WeightsInfo) -> ContextClusterNet:
    """Make the network of a run, and note with it the classes and what is done to clouds.

    Args:
        settings: those of the run.
        info: of the data, with `class_names` and `transform`.
    """
    assert isinstance(info.transform, CloudTransform) and info.class_names is not None
    names = [info.class_names[number] for number in sorted(info.class_names)]
    net = make_network(settings, len(names), names, in_channels=info.transform.num_features, pos_dim=3)
    net.weights_info = replace(net.weights_info, transform=info.transform)
    return net


def cloud_loaders(settings: CloudSettings) -> tuple[Loaders, WeightsInfo]:
    """Return the loaders of the clouds, and what is to be noted with weights: classes, and what is done to clouds."""
    if settings.data is None:
        say(f"no --data given: training on sampled solids of {settings.num_points} points")
    train, test = (open_clouds(settings, split) for split in ("train", "test"))
    for sentence in dict.fromkeys((*train.remarks, *test.remarks, *(f"left out: {one}" for one in train.left_out))):
        say(sentence)
    is_ragged = not hasattr(train, "points")
    transform = settings.transform(any_num_points=is_ragged or settings.drop_points > 0)
    val = copy.copy(train)
    if not is_ragged:
        val.points = train.points[:, : settings.num_points]  # what the test set has
    val.transform = test.transform = PrepareCloud(transform)
    train.transform = augmented(settings, transform)
    loaders = make_loaders(train, test, settings, val_set=val, collate_fn=collate_sets, sampling=settings.sampling)
    return loaders, WeightsInfo(class_names=train.classes, transform=transform)


def open_clouds(settings: CloudSettings, split: str) -> Any:
    """Return a split; of the training split all stored points where each epoch takes others."""
    if settings.data is None:
        return shapes(split, num_points=settings.num_points)
    is_folder = format_of(settings.data, CLOUD_FORMATS, settings.variant) is CLOUD_FORMATS["folder"]
    takes_all = split == "train" and settings.resample and not is_folder
    clouds = open_split(
        settings.data,
        split,
        CLOUD_FORMATS,
        settings.variant,
        num_points=None if takes_all else settings.num_points,
        max_bad=settings.max_bad if split == "train" else 0,
        features=settings.transform().features,
        **({"columns": settings.columns} if settings.columns else {}),
        **({"decimal": settings.decimal, "workers": settings.workers} if is_folder else {}),
    )
    stored = settings.num_points if is_folder else clouds.points.shape[1]
    if stored < settings.num_points:
        raise ValueError(f"num_points must be in [1, {stored}], the points stored per cloud, got {settings.num_points}")
    return clouds


def augmented(settings: CloudSettings, transform: CloudTransform) -> PrepareCloud:
    """Return what makes clouds the input of the network in training."""
    return PrepareCloud(
        transform, resample=settings.resample, drop_points=settings.drop_points, augment=Augment(settings)
    )


class Augment:
    """Turn, stretch, move and jitter a centered and scaled cloud at random; normals turn along.

    Args:
        settings: `scale`, `same_scale`, `shift`, `jitter`, `rotate`, `up` and `drop_color` are read.
    """

    def __init__(self, settings: CloudSettings) -> None:
        self.settings = settings

    def __call__(self, data: Data) -> Data:
        """Return the cloud with other coordinates."""
        settings, matrix = self.settings, random_stretch(self.settings)
        pos = data.pos @ matrix + torch.empty(3).uniform_(-1, 1) * settings.shift
        changed: dict[str, Tensor] = {"pos": pos + settings.jitter * torch.randn_like(pos)}
        if "normal" in data:
            changed["normal"] = turned_normals(data.normal, matrix)
        if settings.drop_color and torch.rand(()) < settings.drop_color:
            changed["color"] = torch.full_like(data.color, 0.5)
        return Data(**{**data.to_dict(), **changed})


def turned_normals(normal: Tensor, matrix: Tensor) -> Tensor:
    """Return the normals (N, 3) of a surface whose points, rows, were multiplied by a matrix (3, 3)."""
    return torch.nn.functional.normalize(normal @ torch.linalg.inv(matrix).T, dim=1)


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
        self.features = settings.transform().features
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            more = [random_stretch(settings) for _ in range(settings.votes - 1)]
        self.register_buffer("views", torch.stack([torch.eye(3), *more]))

    def forward(self, clouds: PointSet) -> Tensor:
        """Return the logarithm of the mean probability of each class, (B, num_classes)."""
        logits = [self.net(self.turned(clouds, view)) for view in self.get_buffer("views").to(clouds.pos)]
        return torch.stack([one.softmax(1) for one in logits]).mean(0).log()

    def turned(self, clouds: PointSet, view: Tensor) -> PointSet:
        """Return the clouds turned and stretched: positions, the features that are positions, and normals."""
        pos, columns, start = clouds.pos @ view, [], 0
        for name in self.features:
            stop = start + FEATURES[name]
            normals = name == "normal"
            columns.append(
                pos
                if name == "position"
                else turned_normals(clouds.x[:, start:stop], view)
                if normals
                else clouds.x[:, start:stop]
            )
            start = stop
        x = pos if self.features == ("position",) else torch.cat(columns, dim=1)
        return PointSet(x, pos, clouds.ptr, size=clouds.size)


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
    if known.weights is None:
        return defaults
    return replace(defaults, preset=None, weights=known.weights, **noted_preparation(known.weights))


if __name__ == "__main__":
    run_command(main, default_settings(sys.argv[1:]), __doc__)
