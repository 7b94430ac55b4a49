"""Train a context cluster network on point clouds, and measure it on clouds it has not seen.

    python examples/modelnet40.py                # ten classes of sampled solids, made on first use
    python examples/modelnet40.py --data PATH    # HDF5 files: ply_data_train*.h5, ply_data_test*.h5, shape_names.txt

The validation part, a tenth of the training set, chooses the epoch; the test set is read once, at the end. No voting.
`--smoke` ends in seconds; `--resume auto` continues a run that was interrupted.

README.md, "Measured", has what came out, with hardware and minutes.
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
from torch import Tensor
from torch_geometric.data import Data

from pointcoc import ContextClusterNet
from pointcoc.data import HDF5Clouds, collate_sets, shapes
from pointcoc.train import Loaders, Settings, finish, fit, make_loaders, run_command


@dataclass(frozen=True, kw_only=True)
class CloudSettings(Settings):
    """Settings of a run on point clouds."""

    data: Path | None = None
    """Folder with HDF5 files in the layout of ModelNet40; without it solids are sampled."""
    preset: str = "coc_points"
    """Preset of the network."""
    num_points: int = 1024
    """Points of a cloud, the first of those stored."""
    drop_path: float = 0.0
    """Probability to skip the last block while training; it rises linearly from 0."""
    scale: float = 1.5
    """Augmentation: each axis is stretched by a factor from 1 / scale to scale."""
    shift: float = 0.2
    """Augmentation: the cloud moves by up to this along each axis, in units of its coordinates."""
    jitter: float = 0.0
    """Augmentation: standard deviation of the noise of each coordinate, in the same units."""
    rotate: float = 0.0
    """Augmentation: the cloud turns about the up axis by up to this, in degrees; 180 for any angle."""
    up: Literal["x", "y", "z"] = "y"
    """The up axis; y in ModelNet40."""


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
# Scale, translation, cosine and label smoothing as PointMLP and PointNeXt train.
CLOUDS = replace(
    SHAPES,
    preset="coc_points",
    epochs=200,
    warmup_epochs=10,
    lr=2e-3,
    label_smoothing=0.1,
    scale=1.5,
    shift=0.2,
    out=Path("runs/modelnet40"),
)


def main(settings: CloudSettings) -> None:
    """Train on clouds, choose the epoch on the validation part, read the test set once."""
    torch.manual_seed(settings.seed)
    loaders, num_classes = cloud_loaders(settings)
    net = ContextClusterNet.from_preset(settings.preset, num_classes=num_classes, drop_path=settings.drop_path)
    result = fit(net, loaders.train, loaders.val, settings)
    finish(net, loaders.test, result, settings)


def cloud_loaders(settings: CloudSettings) -> tuple[Loaders, int]:
    """Return the loaders of the clouds and the number of their classes."""
    if settings.data is None:
        print(f"no --data given: training on sampled solids of {settings.num_points} points")
        train, test = (shapes(split, num_points=settings.num_points) for split in ("train", "test"))
    else:
        train = HDF5Clouds(settings.data, "train", settings.num_points, max_bad=settings.max_bad)
        test = HDF5Clouds(settings.data, "test", settings.num_points)
        for sentence in train.left_out:
            print(f"left out: {sentence}")
    val = copy.copy(train)
    train.transform = Augment(settings)
    return make_loaders(train, test, settings, val_set=val, collate_fn=collate_sets), len(train.classes)


class Augment:
    """Turn, stretch, move and jitter a cloud at random.

    Args:
        settings: `scale`, `shift`, `jitter`, `rotate` and `up` are read.

    Raises:
        ValueError: if `scale` is below 1 or `shift`, `jitter` or `rotate` below 0.
    """

    def __init__(self, settings: CloudSettings) -> None:
        for name, low in {"scale": 1, "shift": 0, "jitter": 0, "rotate": 0}.items():
            if not getattr(settings, name) >= low:
                raise ValueError(f"{name} must be at least {low}, got {getattr(settings, name)}")
        self.settings = settings

    def __call__(self, data: Data) -> Data:
        """Return the cloud with other coordinates."""
        settings = self.settings
        pos = data.pos @ random_rotation(settings.rotate, "xyz".index(settings.up)).T
        pos = pos * settings.scale ** torch.empty(3).uniform_(-1, 1) + torch.empty(3).uniform_(-1, 1) * settings.shift
        return Data(pos=pos + settings.jitter * torch.randn_like(pos), y=data.y)


def random_rotation(degrees: float, axis: int) -> Tensor:
    """Return a rotation (3, 3) about an axis by an angle of up to `degrees` either way."""
    angle = math.radians(degrees) * float(torch.empty(()).uniform_(-1, 1))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    rotation = torch.eye(3)
    rotation[first, first] = rotation[second, second] = math.cos(angle)
    rotation[second, first], rotation[first, second] = math.sin(angle), -math.sin(angle)
    return rotation


def default_settings(args: Sequence[str]) -> CloudSettings:
    """Return the defaults for the data that a command line names: clouds from files, or solids."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--data")
    return SHAPES if parser.parse_known_args(args)[0].data is None else CLOUDS


if __name__ == "__main__":
    run_command(main, default_settings(sys.argv[1:]), __doc__)
