"""Train Semantic FPN to name every pixel, and measure it on images it has not seen.

    python examples/ade20k.py --data PATH                       # ADE20K, 80,000 updates of 32 crops of 512 x 512
    python examples/ade20k.py --data PATH --backbone resnet18   # the same head on a timm model
    python examples/ade20k.py --data camvid --num-classes 11 --first-class 0 --ignore 11 --short-side 0 \
        --crop 224 --batch-size 4 --lr 2e-4 --backbone coc_mini --minutes 30    # street scenes, for as long as one has
    python examples/ade20k.py --data PATH --weights runs/ade20k --eval-only

`--data` holds images/training and annotations/training, images/validation and annotations/validation; the names of the
two splits are `--train-split` and `--val-split`. The recipe is the one of the paper's section 4.4 (and of the Semantic
FPN of PVT): AdamW, learning rate 1e-4 that falls to 0 by a polynomial of 0.9, weight decay 1e-4 (of the matrices; there
norms and biases have it too). With `--minutes` the schedule follows the clock, so that two backbones may be compared in
the same time. The last weights are measured: nothing is chosen on the validation images. `--smoke` ends in seconds;
`--resume auto` continues a run that was interrupted.

What comes out on ADE20K has not been measured yet.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from pointcoc.data import IGNORE, MaskFolder, PlainMask, RandomMask
from pointcoc.data.mask_folder import mask_class_names
from pointcoc.models.weights import find_weights, read_info
from pointcoc.segmentation import class_weights, semantic_fpn
from pointcoc.segmentation.tasks import PixelTask
from pointcoc.train import finish, fit, make_test_loader, make_train_loader, measure, run_command
from pointcoc.train.dense import DenseSettings, check_not_negative, check_positive, start_from
from pointcoc.train.processes import say
from pointcoc.train.settings import Schedule


@dataclass(frozen=True, kw_only=True)
class SegmentationSettings(DenseSettings):
    """Settings of a run of Semantic FPN."""

    data: Path
    """Folder with images/SPLIT and annotations/SPLIT."""
    train_split: str = "training"
    """Folder of the training images."""
    val_split: str = "validation"
    """Folder of the images that the network is measured on."""
    num_classes: int = 150
    """Classes of a pixel."""
    class_names: Path | None = None
    """File with the name of each class, a line each, to be noted with the weights; by default classes.txt or
    objectInfo150.txt in --data."""
    first_class: int = 1
    """Number of the first class in the masks."""
    ignore: tuple[int, ...] = (0,)
    """Numbers in the masks that count nowhere."""
    class_weights: tuple[str, ...] = ("none",)
    """Weights of the classes in the loss: none, inverse (of their share of the training pixels, which takes a pass over
    all masks), sqrt (its square root), or a number for each class."""
    backbone: str = "coc_small"
    """A preset, weights of a classifier of images such as a run of examples/imagenet.py (with a preset of strides 4, 2,
    2, 2, such as coc_tiny), or a timm model such as resnet18."""
    centers: int | None = None
    """Centers per axis of a preset: 2, 5 or 7 in the paper."""
    pretrained: bool = False
    """Start the backbone from weights of classification; the paper does."""
    crop: int = 512
    """Side of a training crop, in pixels."""
    short_side: int = 512
    """Short side of all images before the random factor; 0 leaves their sizes."""
    window: int = 0
    """Side of sliding windows in validation; 0 reads whole images."""
    updates: int = 80_000
    """Updates of the run; 0 for `epochs`."""
    batch_size: int = 32
    """Crops per update, over all processes and all parts of an update."""
    lr: float = 1e-4
    """Learning rate of the first update, or after the warm-up."""
    weight_decay: float = 1e-4
    """Weight decay of the matrices; norms and biases have none."""
    schedule: Schedule = "poly"
    """How the learning rate falls, see `Settings`: "poly" by the share of what is left to the power of 0.9."""
    out: Path = Path("runs/ade20k")
    """Folder of checkpoints and metrics."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "crop", "num_classes")
        check_not_negative(self, "short_side", "window", "first_class")

    def shrink(self) -> Self:
        """The same settings, reduced to a run of seconds if `smoke` is set: two updates of two small crops."""
        small = super().shrink()
        return replace(small, batch_size=2, crop=min(self.crop, 64)) if self.smoke else small


def main(settings: SegmentationSettings) -> dict[str, float]:
    """Train, then measure on the validation images, or measure alone."""
    torch.manual_seed(settings.seed)
    names = mask_class_names(settings.class_names or settings.data)
    if names is not None and len(names) != settings.num_classes:
        raise ValueError(f"num_classes is {settings.num_classes}, and there are names of {len(names)} classes")
    val = open_split(settings, settings.val_split, PlainMask(settings.short_side))
    if settings.eval_only and names is not None:
        info = read_info(find_weights(str(settings.weights)))[1]
        val.numbers = info.match_classes(names, str(settings.data))
    loader = make_test_loader(val, settings, batch_size=1)
    model = semantic_fpn(
        settings.backbone,
        num_classes=settings.num_classes,
        centers=settings.centers,
        pretrained=settings.pretrained,
    )
    start_from(model, settings)
    # pointcoc predict and evaluate read them
    notes = {
        "first_class": settings.first_class,
        "ignore": list(settings.ignore),
        "short_side": settings.short_side,
        "window": settings.window,
        **({} if names is None else {"classes": names}),
    }
    task = PixelTask(settings.num_classes, settings.window, notes, weights_of_classes(settings))
    if settings.eval_only:
        return measure(model, loader, settings, task)
    train = open_split(settings, settings.train_split, RandomMask(settings.crop, settings.short_side))
    say(f"{settings.backbone}: {len(train)} training and {len(val)} validation images")
    result = fit(model, make_train_loader(train, settings), None, settings, task=task)
    return finish(model, loader, result, settings, task)


def weights_of_classes(settings: SegmentationSettings) -> Tensor | None:
    """Return the weights of the classes; masks are read only where their shares are asked for."""
    counts = torch.zeros(settings.num_classes, dtype=torch.int64)
    if settings.class_weights in (("inverse",), ("sqrt",)):
        train = open_split(settings, settings.train_split, PlainMask(0))
        for mask in (train[number][1] for number in range(len(train))):
            counts += torch.bincount(mask[mask != IGNORE], minlength=len(counts))
    return class_weights(settings.class_weights, counts)


def open_split(settings: SegmentationSettings, split: str, transform: PlainMask | RandomMask) -> MaskFolder:
    """Open the images and masks of one split."""
    return MaskFolder(
        settings.data,
        split,
        num_classes=settings.num_classes,
        first_class=settings.first_class,
        ignore=settings.ignore,
        transform=transform,
    )


# The path below is a part of the command line that names --data, which replaces it.
DEFAULT = SegmentationSettings(data=Path("data/ADEChallengeData2016"))

if __name__ == "__main__":
    run_command(main, DEFAULT, __doc__)
