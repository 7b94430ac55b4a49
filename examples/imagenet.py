"""Train a context cluster network on images, and measure it on images it has not seen.

    python examples/imagenet.py                                # 1,797 real handwritten digits, 32 x 32 pixels
    python examples/imagenet.py --form ink                     # their inked pixels only: point sets of any size
    python examples/imagenet.py --data PATH --size 32          # small images: PATH/train/CLASS/*.png, PATH/val/CLASS/*
    python examples/imagenet.py --data PATH --preset coc_tiny  # ImageNet and its like, 224 x 224 pixels
    torchrun --nproc-per-node 8 examples/imagenet.py --data PATH --preset coc_small --precision bf16 --resume auto
    python examples/imagenet.py --data SHARDS --source wds --num-classes 1000 --test-split validation  # tar shards
    python examples/imagenet.py --data PATH --weights coc_tiny --eval-only                     # measure weights alone
    python examples/imagenet.py --data PATH --weights runs/imagenet --size 288 --epochs 30 --lr 1e-5 --out runs/288
    python examples/imagenet.py --data PATH --size 32 48 --in-chans 1 --sampling balanced      # gray; rare classes
    python examples/imagenet.py --data PATH --size 32 --labels labels.csv                      # several labels an image

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
from timm.data.transforms import ResizeKeepRatio
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from torch_geometric.data import Data
from torchvision import transforms

from pointcoc import ContextClusterNet
from pointcoc.checks import check_choice, check_file
from pointcoc.data import LabeledImages, collate_sets, digits, keep_posterize_bits
from pointcoc.data.digits import DIGITS_MEAN, DIGITS_STD
from pointcoc.data.formats import IMAGE_FORMATS
from pointcoc.data.image_transform import image_transform, per_channel
from pointcoc.data.images import MADE_SPLIT, digest
from pointcoc.models import ImageTransform
from pointcoc.train import (
    Loaders,
    MultiLabel,
    RecipeSettings,
    Task,
    classification,
    finish,
    fit,
    make_loaders,
    make_network,
    make_stream_loader,
    make_test_loader,
    measure,
    over_seeds,
    run_command,
    write_made_split,
)
from pointcoc.train.class_numbers import in_numbers_of
from pointcoc.train.labels import balanced_positive_weights
from pointcoc.train.loaders import training_labels
from pointcoc.train.processes import say

SMALL_IMAGE = 64
Classes = tuple[str, ...] | int
"""Names of the classes, or their number where the data does not tell names."""
KEYS = ("image_key", "label_key")


@dataclass(frozen=True, kw_only=True)
class ImageSettings(RecipeSettings):
    """Settings of a run on images."""

    data: str | None = None
    """Folder with train/ and val/ (or test/), one folder per class in each; without val/, or with the folders of the
    classes alone, a fifth of each class is held out to be measured. Folder of tar shards for --source wds; folder or
    hub name of a Hugging Face dataset for --source hfds. Without it digits are used."""
    labels: Path | None = None
    """Table (CSV) of images of --data with several labels each: a column of files, and one with the names of labels
    between semicolons, or one for each label with 1 or 0."""
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
    class_names: Path | None = None
    """File with the name of each class of tar shards, a line each, to be noted with the weights."""
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
    size: int | tuple[int, int] = 32
    """Side of the images in pixels, or height and width."""
    in_chans: Literal[1, 3] = 3
    """Channels that the network reads of the images of --data: 3, or 1 for gray."""
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
        self._check_labels()

    def _check_digits(self) -> None:
        names = ("rand_augment", "erasing", "interpolation", "crop_pct", "in_chans", "class_names", "labels")
        if given := _changed(self, names):
            raise ValueError(f"{given[0]} has no effect on digits: leave it out, or give --data")
        if self.source != "folder":
            raise ValueError(f"source {self.source!r} needs --data")
        if not isinstance(self.size, int):
            raise ValueError(f"size must be one number for digits, which are square, got {self.size}")

    def _check_source(self) -> None:
        source = IMAGE_FORMATS[self.source]
        given = _changed(self, ("train_split", "val_split", "test_split", *KEYS))
        if source.splits and given:
            raise ValueError(f"{given[0]} has no effect on class folders: leave it out, or give --source wds or hfds")
        if source.is_stream != (self.num_classes > 0):
            raise ValueError(f"num_classes must be given for tar shards and for nothing else, got {self.num_classes}")
        if source.is_stream and (self.class_weights != "none" or self.sampling != "plain"):
            raise ValueError("class_weights and sampling need all labels at hand, and tar shards are read as a stream")
        if self.class_names is not None and not source.is_stream:
            raise ValueError("class_names is for tar shards: the names of folders and data sets are their own")
        if self.val_fraction > 0 and (self.val_split or source.is_stream):
            raise ValueError(
                f"val_fraction must be 0 for tar shards, and where val_split chooses the epoch, got {self.val_fraction}"
            )

    def _check_labels(self) -> None:
        if self.labels is None:
            return
        if self.source != "folder":
            raise ValueError(f"labels are for images in a folder, got source {self.source!r}")
        if self.is_mixing or self.label_smoothing:
            raise ValueError("mixup, cutmix and label_smoothing must be 0 with labels: they are for one class an image")
        if self.sampling != "plain":
            raise ValueError("sampling must be plain with labels: an image with several belongs to no single class")

    @property
    def height_width(self) -> tuple[int, int]:
        """Height and width of the images, in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def transform(self) -> ImageTransform:
        """Return how images become the input of the network, as it is noted with the weights."""
        if self.data is None:
            return ImageTransform(mean=(DIGITS_MEAN,), std=(DIGITS_STD,), crop_pct=1.0, input_size=self.height_width)
        mean, std = (per_channel(value, self.in_chans) for value in (ImageTransform.mean, ImageTransform.std))
        return ImageTransform(mean=mean, std=std, crop_pct=self.crop_pct, input_size=self.height_width)


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
    loaders, classes = image_loaders(settings)
    net = image_network(settings, classes)
    made = getattr(dataset_of(loaders.test), MADE_SPLIT, None)
    if made is not None:  # pointcoc evaluate reads it
        noted = {**net.weights_info.notes, MADE_SPLIT: digest(made["train"])}
        net.weights_info = replace(net.weights_info, notes=noted)
    say_data(settings, loaders, classes)
    task = image_task(settings, net, loaders.train)
    result = fit(net, loaders.train, loaders.val, settings, task=task)
    write_made_split(settings.out, loaders.test.dataset)
    return finish(net, loaders.test, result, settings, task)


def measure_alone(settings: ImageSettings) -> dict[str, float]:
    """Measure weights on the test set."""
    test, classes = test_images(settings)
    net = image_network(settings, classes)
    if not isinstance(classes, int):
        test = in_numbers_of(net, test, str(settings.data or "the digits"))
    loader = test_loader(settings, test)
    return measure(net, loader, settings, None if settings.labels is None else MultiLabel(net.config.num_classes))


def image_network(settings: ImageSettings, classes: Classes) -> ContextClusterNet:
    """Return the network; weights for images of another mean and deviation than these are refused."""
    places: dict[str, Any] = {"coordinates": settings.coordinates}
    if settings.coordinates != "numbers":
        places["frequencies"] = settings.frequencies
    num_classes, names = (classes, None) if isinstance(classes, int) else (len(classes), classes)
    in_channels = 1 if settings.data is None else settings.in_chans
    net = make_network(settings, num_classes, names, in_channels=in_channels, pos_dim=2, **places)
    noted, ours = net.weights_info.transform, settings.transform()
    stated = noted if isinstance(noted, ImageTransform) else ours
    if settings.data is not None and (stated.mean, stated.std) != (ours.mean, ours.std):
        raise ValueError(
            f"{settings.weights} were trained on images of mean {stated.mean} and deviation {stated.std}, and this "
            f"recipe makes those of ImageNet, {ours.mean} and {ours.std}"
        )
    has_several = bool(net.weights_info.notes.get("multi_label"))
    if settings.eval_only and has_several != (settings.labels is not None):
        told = "several labels: name their table by --labels" if has_several else "one class: leave --labels out"
        raise ValueError(f"{settings.weights} give each image {told}")
    if not settings.eval_only:
        notes = {name: value for name, value in net.weights_info.notes.items() if name != "multi_label"}
        net.weights_info = replace(net.weights_info, notes=notes)
    if settings.form == "image" and not settings.eval_only:  # whatever reads images for these weights reads it
        net.weights_info = replace(net.weights_info, transform=ours)
    return net


def image_task(settings: ImageSettings, net: ContextClusterNet, loader: DataLoader) -> Task:
    """Return what the network learns: one class an image, or several labels."""
    if settings.labels is None:
        return classification(net, settings, loader)
    is_balanced = settings.class_weights == "balanced"
    weights = balanced_positive_weights(training_labels(loader)) if is_balanced else None
    return MultiLabel(net.config.num_classes, positive_weights=weights)


def say_data(settings: ImageSettings, loaders: Loaders, classes: Classes) -> None:
    """Say in a line how many images there are, of which size, and which classes have the fewest and the most."""
    if isinstance(classes, int) or IMAGE_FORMATS[settings.source].is_stream:
        return
    labels = dataset_of(loaders.train).labels
    counts = labels.sum(0).int() if settings.labels else torch.bincount(labels, minlength=len(classes))
    few, many = int(counts.argmin()), int(counts.argmax())
    parts = {"training": loaders.train, "validation": loaders.val, "test": loaders.test}
    sizes = ", ".join(f"{num_items(part):,} {name}" for name, part in parts.items() if part is not None)
    height, width = settings.height_width
    low, high = int(counts[few]), int(counts[many])
    spread = (
        f"{low:,} of each class" if low == high else f"{low:,} ({classes[few]}) to {high:,} ({classes[many]}) a class"
    )
    say(f"{len(classes)} classes; {sizes} images of {height} x {width} pixels; to learn from: {spread}")


def num_items(loader: DataLoader) -> int:
    """Return the number of images that a loader yields in an epoch, before whole batches are made of them."""
    dataset: Any = loader.dataset
    return len(dataset)


def dataset_of(loader: DataLoader) -> Any:
    """Return the data set of a loader, of a part of it the whole."""
    dataset = loader.dataset
    return dataset.dataset if isinstance(dataset, Subset) else dataset


def image_loaders(settings: ImageSettings) -> tuple[Loaders, Classes]:
    """Return the loaders and the classes."""
    if settings.data is None:
        return digit_loaders(settings)
    return (stream_loaders if IMAGE_FORMATS[settings.source].is_stream else folder_loaders)(settings)


def test_images(settings: ImageSettings) -> tuple[Any, Classes]:
    """Return the test set alone and its classes."""
    if settings.data is None:
        test = digits("test", settings.form, square(settings))
        return test, tuple(test.classes)
    test = open_images(settings, split_names(settings)[1])
    return test, stream_classes(settings) if IMAGE_FORMATS[settings.source].is_stream else tuple(test.classes)


def test_loader(settings: ImageSettings, test: Any) -> DataLoader:
    """Return the loader of a test set."""
    if IMAGE_FORMATS[settings.source].is_stream:
        return make_stream_loader(test, settings)
    return make_test_loader(test, settings, collate_fn=collate_sets if settings.form == "ink" else None)


def stream_classes(settings: ImageSettings) -> Classes:
    """Return the names of the classes of tar shards that a file tells, else their number."""
    if settings.class_names is None:
        return settings.num_classes
    check_file(settings.class_names)
    lines = settings.class_names.read_text(encoding="utf-8").splitlines()
    names = tuple(name.strip() for name in lines if name.strip())
    if len(names) != settings.num_classes or len(set(names)) != len(names):
        raise ValueError(
            f"{settings.class_names} must hold the names of the {settings.num_classes} classes, a line each, got "
            f"{len(names)} lines with {len(set(names))} names"
        )
    return names


def square(settings: ImageSettings) -> int:
    """Return the side of the images of digits."""
    return settings.height_width[0]


def digit_loaders(settings: ImageSettings) -> tuple[Loaders, Classes]:
    """Return the loaders of the digits and their classes."""
    say(f"no --data given: training on scikit-learn's digits as {settings.form} of {settings.size} pixels")
    train, val, test = (digits(split, settings.form, square(settings)) for split in ("train", "train", "test"))
    train.transform = shifted_image() if settings.form == "image" else ShiftedInk()
    collate_fn = collate_sets if settings.form == "ink" else None
    return make_loaders(train, test, settings, val_set=val, collate_fn=collate_fn, sampling=settings.sampling), tuple(
        test.classes
    )


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


def folder_loaders(settings: ImageSettings) -> tuple[Loaders, Classes]:
    """Return the loaders and the classes of class folders or a Hugging Face dataset."""
    train_split, test_split = split_names(settings)
    train, test = open_images(settings, train_split, is_training=True), open_images(settings, test_split)
    val = open_images(settings, settings.val_split or train_split)
    loaders = make_loaders(
        train, test, settings, val_set=None if settings.val_split else val, sampling=settings.sampling
    )
    if settings.val_split:
        loaders = loaders._replace(val=make_test_loader(val, settings))
    return loaders, tuple(train.classes)


def stream_loaders(settings: ImageSettings) -> tuple[Loaders, Classes]:
    """Return the loaders and the classes of tar shards."""
    train, (test, classes) = open_images(settings, settings.train_split, is_training=True), test_images(settings)
    val = open_images(settings, settings.val_split) if settings.val_split else None
    loaders = Loaders(
        train=make_stream_loader(train, settings),
        val=None if val is None else make_stream_loader(val, settings),
        test=test_loader(settings, test),
    )
    return loaders, classes


def open_images(settings: ImageSettings, split: str, is_training: bool = False) -> Any:
    """Return a split of --data, with augmentation to train on."""
    chosen = IMAGE_FORMATS[settings.source]
    options: dict[str, Any] = {name: getattr(settings, name) for name in KEYS if getattr(settings, name)}
    if chosen.is_stream:
        options |= {"is_training": is_training, "seed": settings.seed}
        options["limit"] = settings.smoke_sets if settings.smoke else None
    transform = train_transform(settings) if is_training else plain_transform(settings)
    if settings.labels is not None:
        return LabeledImages(str(settings.data), settings.labels, split, transform)
    return chosen.open(settings.data, split, transform, **options)


def train_transform(settings: ImageSettings) -> Callable[[Any], Tensor]:
    """Return timm's augmentation; small images are shifted by padding and cropping, not zoomed."""
    size, stated = settings.height_width, settings.transform()
    try:
        crop, augment, normalize = create_transform(
            (3, *size),
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
    if settings.in_chans == 1:  # after the augmentation of colors
        own = transforms.Normalize(stated.mean, stated.std)
        steps = [own if isinstance(one, transforms.Normalize) else one for one in normalize.transforms]
        normalize = transforms.Compose([transforms.Grayscale(1), *steps])
    if max(size) <= SMALL_IMAGE:
        resize = transforms.Resize(size[0]) if size[0] == size[1] else ResizeKeepRatio(size)
        shift = transforms.RandomCrop(size, padding=(size[1] // 8, size[0] // 8))
        crop = transforms.Compose([resize, shift, transforms.RandomHorizontalFlip()])
    return transforms.Compose([crop, keep_posterize_bits(augment), normalize])


def plain_transform(settings: ImageSettings) -> Callable[[Any], Tensor]:
    """Return the transform of validation and test: bicubic, the central part."""
    return image_transform(settings.transform(), settings.in_chans)


def default_settings(args: Sequence[str]) -> ImageSettings:
    """Return the defaults for the data that a command line names: digits, small images or large ones."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("--data", "--weights", "--source", "--num-classes", "--val-split", "--labels"):
        parser.add_argument(option)
    parser.add_argument("--size", nargs="*", default=[])
    known, _ = parser.parse_known_args(args)
    is_small = len(known.size) > 0 and all(side.isdecimal() and int(side) <= SMALL_IMAGE for side in known.size)
    defaults = DIGITS if known.data is None else SMALL if is_small else LARGE
    if known.weights is not None:
        defaults = replace(defaults, preset=None, weights=known.weights)
    if known.labels is not None and known.data is not None:  # what blends or smooths is for one class an image
        defaults = replace(defaults, labels=Path(known.labels), mixup=0.0, cutmix=0.0, label_smoothing=0.0)
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
