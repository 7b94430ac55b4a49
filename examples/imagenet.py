"""Train a context cluster network on images, and measure it on images it has not seen.

    python examples/imagenet.py                                # 1,797 real handwritten digits, 32 x 32 pixels
    python examples/imagenet.py --form ink                     # their inked pixels only: point sets of any size
    python examples/imagenet.py --data PATH --size 32          # small images: PATH/train/CLASS/*.png, PATH/val/CLASS/*
    python examples/imagenet.py --data PATH --preset coc_tiny  # ImageNet and its like, 224 x 224 pixels
    torchrun --nproc-per-node 8 examples/imagenet.py --data PATH --preset coc_small --precision bf16 --resume auto
    python examples/imagenet.py --data SHARDS --source wds --num-classes 1000 --test-split validation  # tar shards
    python examples/imagenet.py --data PATH --weights coc_tiny --eval-only                     # measure weights alone
    python examples/imagenet.py --data PATH --weights runs/imagenet --size 288 --epochs 30 --lr 1e-5 --out runs/288

The validation part, a share of the training set, chooses the epoch; `val/` (or `test/`) is read once, at the end.
Defaults follow the data: `--data PATH --help` shows those of images of 224 pixels (the recipe of the authors), `--size
32` those of small ones. `--smoke` ends in seconds; `--resume auto` continues a run that was interrupted.

data                    hardware and time                               test accuracy
digits, images          2 shared CPU cores, 79 seconds                  measured: 97.5 % (as in examples/demo.py)
digits, ink             2 shared CPU cores, 84 seconds                  measured: 96.7 % (the same)
the same, --epochs 30   one CPU core, 3.3 minutes                       measured: 99.35 % (mean of 3 seeds)
a part of CIFAR-10      one thread of a busy CPU, 68.6 minutes          measured: 68.5 % with --size 32
ImageNet, coc_tiny      GPUs; time not measured yet                     not measured yet; the paper: 71.8 %
ImageNet, coc_small     GPUs; time not measured yet                     not measured yet; the paper: 77.5 %
ImageNet, coc_medium    GPUs; time not measured yet                     not measured yet; the paper: 81.0 %

README.md, "Measured" and "Two commands", has the details of what was measured.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch
from timm.data import create_transform
from torch import Tensor
from torch.utils.data import DataLoader
from torch_geometric.data import Data
from torchvision import transforms

from pointcoc import ContextClusterNet
from pointcoc.checks import check_choice
from pointcoc.data import collate_sets, digits, keep_posterize_bits
from pointcoc.data.digits import DIGITS_MEAN, DIGITS_STD
from pointcoc.data.formats import IMAGE_FORMATS
from pointcoc.models import ImageTransform
from pointcoc.train import (
    Loaders,
    RecipeSettings,
    finish,
    fit,
    make_loaders,
    make_network,
    make_stream_loader,
    make_test_loader,
    measure,
    over_seeds,
    run_command,
)
from pointcoc.train.processes import say

SMALL_IMAGE = 64
KEYS = ("image_key", "label_key")


@dataclass(frozen=True, kw_only=True)
class ImageSettings(RecipeSettings):
    """Settings of a run on images."""

    data: str | None = None
    """Folder with train/ and val/ (or test/), one folder per class in each; folder of tar shards for --source wds;
    folder or hub name of a Hugging Face dataset for --source hfds. Without it digits are used."""
    source: str = "folder"
    """What --data is: folder for class folders, wds for tar shards (WebDataset), hfds for a Hugging Face dataset; the
    last two need the extra `sources`."""
    train_split: str = "train"
    """Split to train on, of wds and hfds; of wds a name in _info.json, or train-{0000..0063}.tar|NUMBER_OF_IMAGES."""
    val_split: str = ""
    """Split of wds or hfds that chooses the epoch, in place of a share of the training set, which shards cannot give;
    needs --val-fraction 0."""
    test_split: str = "validation"
    """Split of wds and hfds that is measured at the end."""
    num_classes: int = 0
    """Classes of tar shards, which do not tell; 0 for all else."""
    image_key: str = ""
    """Column of the images (hfds) or their endings in a shard (wds); empty for image, and for jpg;png;webp."""
    label_key: str = ""
    """Column of the labels (hfds) or field of a json file that holds them (wds); empty for label, and for cls files."""
    form: Literal["image", "ink"] = "image"
    """Digits as images, or as the sets of their inked pixels."""
    preset: str | None = "coc_nano"
    """Preset of the network. None where --weights are given: they tell their network."""
    coordinates: Literal["numbers", "fourier"] = "numbers"
    """How the network is told where a pixel is: the paper's two numbers, or Fourier features of them."""
    frequencies: int = 4
    """Frequencies of the Fourier features."""
    size: int = 32
    """Height and width of the images, in pixels."""
    rand_augment: str = ""
    """RandAugment in timm's words, such as rand-m9-mstd0.5-inc1; empty for none. Images of --data only."""
    erasing: float = 0.0
    """Probability of random erasing. Images of --data only."""
    interpolation: Literal["bicubic", "bilinear", "random"] = "bicubic"
    """How training images are resized, random for bilinear or bicubic; to measure it is bicubic. Images of --data
    only."""
    crop_pct: float = 1.0
    """Side of the central crop that is measured over that of the image. Images of --data only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("source", self.source, tuple(IMAGE_FORMATS))
        if self.data is None:
            self._check_digits()
        elif self.form != "image":
            raise ValueError(f"form must be 'image' for --data, got {self.form!r}: only the digits come as ink")
        if not 0 <= self.erasing <= 1:
            raise ValueError(f"erasing must be between 0 and 1, got {self.erasing}")
        if not 0 < self.crop_pct <= 1:
            raise ValueError(f"crop_pct must be above 0 and at most 1, got {self.crop_pct}")
        if self.coordinates == "numbers" and _changed(self, ("frequencies",)):
            raise ValueError("frequencies has no effect on coordinates 'numbers': leave it out, or choose 'fourier'")
        self._check_source()

    def _check_digits(self) -> None:
        names = ("rand_augment", "erasing", "interpolation", "crop_pct")
        if given := _changed(self, names):
            raise ValueError(f"{given[0]} has no effect on digits: leave it out, or give --data")
        if self.source != "folder":
            raise ValueError(f"source {self.source!r} needs --data")

    def _check_source(self) -> None:
        source = IMAGE_FORMATS[self.source]
        given = _changed(self, ("train_split", "val_split", "test_split", *KEYS))
        if source.splits and given:
            raise ValueError(f"{given[0]} has no effect on class folders: leave it out, or give --source wds or hfds")
        if source.is_stream != (self.num_classes > 0):
            raise ValueError(f"num_classes must be given for tar shards and for nothing else, got {self.num_classes}")
        if self.val_fraction > 0 and (self.val_split or source.is_stream):
            raise ValueError(
                f"val_fraction must be 0 for tar shards, and where val_split chooses the epoch, got {self.val_fraction}"
            )


def _changed(settings: ImageSettings, names: Sequence[str]) -> list[str]:
    """Of the settings with these names, those that have another value than where nobody sets them."""
    defaults = {field.name: field.default for field in fields(settings)}
    return [name for name in names if getattr(settings, name) != defaults[name]]


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
    data="PATH",
    epochs=30,
    warmup_epochs=2,
    batch_size=64,
    label_smoothing=0.1,
    out=Path("runs/imagenet-small"),
)
# The recipe of the authors' code, for the 1,024 images an update that it counts lr by. Its first learning rate of the
# warm-up and its ten epochs of cool-down at min_lr belong here.
LARGE = replace(
    SMALL,
    preset="coc_tiny",
    size=224,
    epochs=300,
    warmup_epochs=5,
    cooldown_epochs=10,
    batch_size=1024,
    lr=1e-3,
    lr_batch_size=1024,
    min_lr=1e-6,
    warmup_lr=1e-6,
    weight_decay=0.05,
    clip_grad=0.0,
    mixup=0.8,
    cutmix=1.0,
    label_smoothing=0.1,
    drop_path=0.1,
    rand_augment="rand-m9-mstd0.5-inc1",
    erasing=0.25,
    interpolation="random",
    crop_pct=0.9,
    ema=0.9999,
    val_fraction=0.02,
    workers=8,
    out=Path("runs/imagenet"),
)


def main(settings: ImageSettings) -> None:
    """Train and measure, once for each seed, or measure alone."""
    over_seeds(measure_alone if settings.eval_only else train, settings)


def train(settings: ImageSettings) -> dict[str, float]:
    """Train on images, choose the epoch on the validation part, read the test set once."""
    torch.manual_seed(settings.seed)
    loaders, num_classes, in_channels = image_loaders(settings)
    net = image_network(settings, num_classes, in_channels)
    result = fit(net, loaders.train, loaders.val, settings)
    return finish(net, loaders.test, result, settings)


def measure_alone(settings: ImageSettings) -> dict[str, float]:
    """Measure weights on the test set."""
    loader, num_classes, in_channels = test_images(settings)
    return measure(image_network(settings, num_classes, in_channels), loader, settings)


def image_network(settings: ImageSettings, num_classes: int, in_channels: int) -> ContextClusterNet:
    """Return the network; weights for images of another mean and deviation than these are refused."""
    places: dict[str, Any] = {"coordinates": settings.coordinates}
    if settings.coordinates != "numbers":
        places["frequencies"] = settings.frequencies
    net = make_network(settings, num_classes, in_channels=in_channels, pos_dim=2, **places)
    noted, ours = net.weights_info.transform, ImageTransform()
    stated = noted if isinstance(noted, ImageTransform) else ours
    if settings.data is not None and (stated.mean, stated.std) != (ours.mean, ours.std):
        raise ValueError(
            f"{settings.weights} were trained on images of mean {stated.mean} and deviation {stated.std}, and this "
            f"recipe makes those of ImageNet, {ours.mean} and {ours.std}"
        )
    if settings.data is not None and not settings.eval_only:  # pointcoc robustness and visualize read it
        transform = replace(ours, crop_pct=settings.crop_pct, input_size=(settings.size, settings.size))
        net.weights_info = replace(net.weights_info, transform=transform)
    return net


def image_loaders(settings: ImageSettings) -> tuple[Loaders, int, int]:
    """Return the loaders, the number of classes, and the channels of an image."""
    if settings.data is None:
        return digit_loaders(settings)
    return (stream_loaders if IMAGE_FORMATS[settings.source].is_stream else folder_loaders)(settings)


def test_images(settings: ImageSettings) -> tuple[DataLoader, int, int]:
    """Return the loader of the test set alone, the number of classes, and the channels of an image."""
    if settings.data is None:
        collate_fn = collate_sets if settings.form == "ink" else None
        return make_test_loader(digits("test", settings.form, settings.size), settings, collate_fn=collate_fn), 10, 1
    test = open_images(settings, split_names(settings)[1])
    if IMAGE_FORMATS[settings.source].is_stream:
        return make_stream_loader(test, settings), settings.num_classes, 3
    return make_test_loader(test, settings), len(test.classes), 3


def digit_loaders(settings: ImageSettings) -> tuple[Loaders, int, int]:
    """Return the loaders of the digits, their 10 classes and one channel."""
    say(f"no --data given: training on scikit-learn's digits as {settings.form} of {settings.size} pixels")
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


def split_names(settings: ImageSettings) -> tuple[str, ...]:
    """Return the names of the split to train on and of the one to test on."""
    return IMAGE_FORMATS[settings.source].splits or (settings.train_split, settings.test_split)


def folder_loaders(settings: ImageSettings) -> tuple[Loaders, int, int]:
    """Return the loaders of class folders or a Hugging Face dataset, the number of classes and three channels."""
    train_split, test_split = split_names(settings)
    train, test = open_images(settings, train_split, is_training=True), open_images(settings, test_split)
    val = open_images(settings, settings.val_split or train_split)
    loaders = make_loaders(train, test, settings, val_set=None if settings.val_split else val)
    if settings.val_split:
        loaders = loaders._replace(val=make_test_loader(val, settings))
    return loaders, len(train.classes), 3


def stream_loaders(settings: ImageSettings) -> tuple[Loaders, int, int]:
    """Return the loaders of tar shards, the number of their classes and three channels."""
    train, test = open_images(settings, settings.train_split, is_training=True), test_images(settings)[0]
    val = open_images(settings, settings.val_split) if settings.val_split else None
    loaders = Loaders(
        train=make_stream_loader(train, settings),
        val=None if val is None else make_stream_loader(val, settings),
        test=test,
    )
    return loaders, settings.num_classes, 3


def open_images(settings: ImageSettings, split: str, is_training: bool = False) -> Any:
    """Return a split of --data, with augmentation to train on."""
    chosen = IMAGE_FORMATS[settings.source]
    options: dict[str, Any] = {name: getattr(settings, name) for name in KEYS if getattr(settings, name)}
    if chosen.is_stream:
        options |= {"is_training": is_training, "seed": settings.seed}
        options["limit"] = settings.smoke_sets if settings.smoke else None
    transform = train_transform(settings) if is_training else plain_transform(settings)
    return chosen.open(settings.data, split, transform, **options)


def train_transform(settings: ImageSettings) -> Callable[[Any], Tensor]:
    """Return timm's augmentation; small images are shifted by padding and cropping, not zoomed."""
    try:
        crop, augment, normalize = create_transform(
            settings.size,
            is_training=True,
            separate=True,
            interpolation=settings.interpolation,
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
    return transforms.Compose([crop, keep_posterize_bits(augment), normalize])


def plain_transform(settings: ImageSettings) -> Callable[[Any], Tensor]:
    """Return the transform of validation and test: bicubic, the central part."""
    return create_transform(settings.size, interpolation="bicubic", crop_pct=settings.crop_pct)


def default_settings(args: Sequence[str]) -> ImageSettings:
    """Return the defaults for the data that a command line names: digits, small images or large ones."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("--data", "--weights", "--source", "--num-classes", "--val-split"):
        parser.add_argument(option)
    parser.add_argument("--size", default="")
    known, _ = parser.parse_known_args(args)
    is_small = known.size.isdecimal() and int(known.size) <= SMALL_IMAGE
    defaults = DIGITS if known.data is None else SMALL if is_small else LARGE
    if known.weights is not None:
        defaults = replace(defaults, preset=None, weights=known.weights)
    source = IMAGE_FORMATS.get(known.source)
    if source is None or source.splits:
        return defaults
    if source.is_stream and (known.num_classes or "").isdecimal() and int(known.num_classes):
        return replace(defaults, source=known.source, num_classes=int(known.num_classes), val_fraction=0.0)
    if not source.is_stream and known.val_split:
        return replace(defaults, source=known.source, val_split=known.val_split, val_fraction=0.0)
    return defaults


if __name__ == "__main__":
    run_command(main, default_settings(sys.argv[1:]), __doc__)
