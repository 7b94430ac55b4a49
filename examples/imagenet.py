"""Train a context cluster network on images, and measure it on images it has not seen.

    python examples/imagenet.py                                # 1,797 real handwritten digits, 32 x 32 pixels
    python examples/imagenet.py --form ink                     # their inked pixels only: point sets of any size
    python examples/imagenet.py --data PATH --size 32          # small images: PATH/train/CLASS/*.png, PATH/val/CLASS/*
    python examples/imagenet.py --data PATH --preset coc_tiny  # ImageNet and its like, 224 x 224 pixels

The validation part, a tenth of the training set, chooses the epoch; `val/` (or `test/`) is read once, at the end.
Defaults follow the data: `--data PATH --help` shows those of images of 224 pixels, `--size 32` those of small ones.
`--smoke` ends in seconds; `--resume auto` continues a run that was interrupted.

README.md, "Measured", has what came out, with hardware and minutes.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from timm.data import create_transform
from torch import Tensor
from torch_geometric.data import Data
from torchvision import transforms

from pointcoc import ContextClusterNet
from pointcoc.data import collate_sets, digits, image_folder
from pointcoc.data.digits import DIGITS_MEAN, DIGITS_STD
from pointcoc.train import Loaders, Settings, finish, fit, make_loaders, run_command

SMALL_IMAGE = 64


@dataclass(frozen=True, kw_only=True)
class ImageSettings(Settings):
    """Settings of a run on images."""

    data: Path | None = None
    """Folder with train/ and val/ (or test/), one folder per class in each; without it digits are used."""
    form: Literal["image", "ink"] = "image"
    """Digits as images, or as the sets of their inked pixels."""
    preset: str = "coc_nano"
    """Preset of the network."""
    size: int = 32
    """Height and width of the images, in pixels."""
    drop_path: float = 0.0
    """Probability to skip the last block while training; it rises linearly from 0."""
    rand_augment: str = ""
    """RandAugment in timm's words, such as rand-m9-mstd0.5-inc1; empty for none. Images of --data only."""
    erasing: float = 0.0
    """Probability of random erasing. Images of --data only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data is None and (self.rand_augment or self.erasing):
            raise ValueError("rand_augment and erasing have no effect on digits: leave them out, or give --data")
        if self.data is not None and self.form != "image":
            raise ValueError(f"form must be 'image' for --data, got {self.form!r}: only the digits come as ink")
        if not 0 <= self.erasing <= 1:
            raise ValueError(f"erasing must be between 0 and 1, got {self.erasing}")


DIGITS = ImageSettings(
    epochs=10,
    warmup_epochs=1,
    batch_size=16,
    lr=2e-3,
    clip_grad=1.0,
    out=Path("runs/imagenet-digits"),
)
# The defaults below are parts of the command line that names --data, which replaces this path.
SMALL = replace(
    DIGITS,
    data=Path("PATH"),
    epochs=30,
    warmup_epochs=2,
    batch_size=64,
    label_smoothing=0.1,
    out=Path("runs/imagenet-small"),
)
# The ingredients of the paper, section 4.1, for one GPU.
LARGE = replace(
    SMALL,
    preset="coc_tiny",
    size=224,
    epochs=300,
    warmup_epochs=5,
    cooldown_epochs=10,
    batch_size=256,
    lr=1e-3,
    lr_batch_size=1024,
    min_lr=1e-6,
    clip_grad=0.0,
    mixup=0.8,
    cutmix=1.0,
    drop_path=0.1,
    rand_augment="rand-m9-mstd0.5-inc1",
    erasing=0.25,
    workers=8,
    out=Path("runs/imagenet"),
)


def main(settings: ImageSettings) -> None:
    """Train on images, choose the epoch on the validation part, read the test set once."""
    torch.manual_seed(settings.seed)
    loaders, num_classes, in_channels = digit_loaders(settings) if settings.data is None else folder_loaders(settings)
    net = ContextClusterNet.from_preset(
        settings.preset,
        num_classes=num_classes,
        in_channels=in_channels,
        drop_path=settings.drop_path,
    )
    result = fit(net, loaders.train, loaders.val, settings)
    finish(net, loaders.test, result, settings)


def digit_loaders(settings: ImageSettings) -> tuple[Loaders, int, int]:
    """Return the loaders of the digits, their 10 classes and one channel."""
    print(f"no --data given: training on scikit-learn's digits as {settings.form} of {settings.size} pixels")
    train, val, test = (digits(split, settings.form, settings.size) for split in ("train", "train", "test"))
    train.transform = shifted_image() if settings.form == "image" else ShiftedInk()
    collate_fn = collate_sets if settings.form == "ink" else None
    return make_loaders(train, test, settings, val_set=val, collate_fn=collate_fn), 10, 1


def shifted_image() -> Callable[[Tensor], Tensor]:
    """Return a transform that turns, moves and zooms the image of a digit a little; what comes in is background."""
    background = -DIGITS_MEAN / DIGITS_STD
    return transforms.RandomAffine(
        degrees=5,
        translate=(0.05, 0.05),
        scale=(0.95, 1.05),
        interpolation=transforms.InterpolationMode.BILINEAR,
        fill=background,
    )


class ShiftedInk:
    """Move an ink set by whole sites and leave out some of its points at random."""

    max_shift = 2
    max_dropped = 0.2

    def __call__(self, data: Data) -> Data:
        """Return the points that are kept, and still lie on their lattice, at their new sites."""
        shift = torch.randint(-self.max_shift, self.max_shift + 1, (2,))
        kept = torch.rand(len(data.pos)) >= self.max_dropped * torch.rand(())
        pos = data.pos + shift
        kept &= ((pos >= 0) & (pos < data.sizes)).all(1)
        x = data.x.clone()
        x[:, 1:] += (shift / (data.sizes[0] - 1)).flip(0)
        return Data(x=x[kept], pos=pos[kept], sizes=data.sizes, y=data.y) if kept.any() else data


def folder_loaders(settings: ImageSettings) -> tuple[Loaders, int, int]:
    """Return the loaders of an image folder, the number of its classes and three channels."""
    assert settings.data is not None
    train = image_folder(settings.data, "train", train_transform(settings))
    val = image_folder(settings.data, "train", plain_transform(settings))
    test = image_folder(settings.data, "val", plain_transform(settings))
    return make_loaders(train, test, settings, val_set=val), len(train.classes), 3


def train_transform(settings: ImageSettings) -> Callable[[Any], Tensor]:
    """Return timm's augmentation; small images are shifted by padding and cropping, not zoomed."""
    try:
        crop, augment, normalize = create_transform(
            settings.size,
            is_training=True,
            separate=True,
            interpolation="bicubic",
            color_jitter=None,  # type: ignore[arg-type]  # timm documents None as none
            auto_augment=settings.rand_augment or None,
            re_prob=settings.erasing,
            re_mode="pixel",
        )
    except AssertionError as error:
        raise ValueError(
            f"rand_augment must be like rand-m9-mstd0.5-inc1, in timm's words, got {settings.rand_augment!r} ({error})"
        ) from error
    if settings.size <= SMALL_IMAGE:
        shift = transforms.RandomCrop(settings.size, padding=settings.size // 8)
        crop = transforms.Compose([transforms.Resize(settings.size), shift, transforms.RandomHorizontalFlip()])
    return transforms.Compose([crop, augment, normalize])


def plain_transform(settings: ImageSettings) -> Callable[[Any], Tensor]:
    """Return the transform of validation and test: bicubic, the central 90 % (all of a small image)."""
    crop_pct = 1.0 if settings.size <= SMALL_IMAGE else 0.9
    return create_transform(settings.size, interpolation="bicubic", crop_pct=crop_pct)


def default_settings(args: Sequence[str]) -> ImageSettings:
    """Return the defaults for the data that a command line names: digits, small images or large ones."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--data")
    parser.add_argument("--size", default="")
    known, _ = parser.parse_known_args(args)
    if known.data is None:
        return DIGITS
    return SMALL if known.size.isdecimal() and int(known.size) <= SMALL_IMAGE else LARGE


if __name__ == "__main__":
    run_command(main, default_settings(sys.argv[1:]), __doc__)
