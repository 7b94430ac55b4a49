"""Train Mask R-CNN, or Faster R-CNN where there are boxes alone, on COCO or YOLO annotations, and measure it.

    python examples/coco.py --data coco                  # train2017/, val2017/ and annotations/instances_*2017.json
    python examples/coco.py --data PATH                  # labels of YOLO: images/train/, labels/train/, data.yaml
    python examples/coco.py --images coco/train2017 --annotations coco/annotations/instances_train2017.json \
        --val-images coco/val2017 --val-annotations coco/annotations/instances_val2017.json
    python examples/coco.py --images PATH --annotations FILE --image-ids 8193 57345    # a few images, by heart

The recipe is the 1x schedule of the paper: 12 epochs, AdamW, learning rate 2e-4, weight decay 1e-4 (of the matrices;
there norms and biases have it too), 500 updates of warm-up, a tenth of the rate after epochs 8 and 11, short side 800
and long side at most 1333, mirrored at random. The last weights are measured. Without `--val-images` the training
images themselves are: a check that a network can learn. `--smoke` ends in seconds; `--resume auto` continues a run that
was interrupted; `--weights runs/coco --eval-only` measures alone.

What comes out on COCO has not been measured yet; ten of its images are known by heart after 25 minutes of one core
(AP50 95.5 % for boxes and masks, benchmarks/results/coco-overfit.md).
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch.utils.data import DataLoader

from pointcoc.checks import check_folder
from pointcoc.data import CocoImages, MirrorObjects, YoloImages
from pointcoc.data.yolo import is_yolo, yolo_names
from pointcoc.detection import faster_rcnn, mask_rcnn
from pointcoc.detection.task import DetectionTask, collate_images
from pointcoc.evaluation.objects import SPLITS, find_coco, matched_labels
from pointcoc.models import WeightsInfo
from pointcoc.models.weights import find_weights, read_info
from pointcoc.train import finish, fit, make_test_loader, make_train_loader, measure, run_command
from pointcoc.train.dense import DenseSettings, check_positive, start_from
from pointcoc.train.processes import say
from pointcoc.train.settings import Schedule


@dataclass(frozen=True, kw_only=True)
class DetectionSettings(DenseSettings):
    """Settings of a run of a detector."""

    data: Path | None = None
    """Folder in the layout of COCO (train2017/ and annotations/instances_train2017.json, likewise val2017) or of YOLO
    (images/train/, labels/train/ and data.yaml, likewise val); in place of `images` and `annotations`."""
    images: Path | None = None
    """Folder of the training images."""
    annotations: Path | None = None
    """Their annotations, such as instances_train2017.json."""
    val_images: Path | None = None
    """Folder of the images that the network is measured on; those of training if not given."""
    val_annotations: Path | None = None
    """Annotations of `val_images`."""
    image_ids: tuple[int, ...] = ()
    """Numbers of the training images in their annotations; all if not given."""
    num_classes: int = 0
    """0 for as many as the annotations have, with the background, whatever the ids of the categories; else the ids are
    the labels, and this is one more than the highest: 91 for COCO."""
    detector: Literal["auto", "mask_rcnn", "faster_rcnn"] = "auto"
    """Mask R-CNN, or Faster R-CNN for boxes without masks; auto for what the annotations have."""
    backbone: str = "coc_small"
    """A preset, weights of a classifier of images such as a run of examples/imagenet.py (with a preset of strides 4, 2,
    2, 2, such as coc_tiny), or a ResNet of torchvision such as resnet18."""
    centers: int | None = None
    """Centers per axis of a preset: 2, 5 or 7 in the paper."""
    pretrained: bool = False
    """Start the backbone from weights of classification; the paper does."""
    min_size: int = 800
    """Short side of the images, in pixels."""
    max_size: int = 1333
    """Longest side allowed."""
    rois_per_image: int = 512
    """Proposals per image that train, at least 4; at most a quarter lies on objects and trains boxes and masks. Fewer
    train faster."""
    mirror: bool = True
    """Mirror half of the training images."""
    epochs: int = 12
    """Passes over the training images."""
    batch_size: int = 16
    """Images per update, over all processes and all parts of an update."""
    lr: float = 2e-4
    """Learning rate after the warm-up."""
    weight_decay: float = 1e-4
    """Weight decay of the matrices; norms and biases have none."""
    warmup_updates: int = 500
    """Updates of linear warm-up; 0 for `warmup_epochs`."""
    schedule: Schedule = "steps"
    """How the learning rate falls, see `Settings`: "steps" to a tenth after 8/12 and again after 11/12 of the run."""
    out: Path = Path("runs/coco")
    """Folder of checkpoints and metrics."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "min_size", "max_size")
        if self.rois_per_image < 4:
            raise ValueError(f"rois_per_image must be at least 4, got {self.rois_per_image}")
        if (self.data is None) == (self.images is None) or (self.images is None) != (self.annotations is None):
            raise ValueError("give data, or images and annotations")
        if self.data is not None and self.val_images is not None:
            raise ValueError("val_images and val_annotations have no effect on data, which holds its own")
        if (self.val_images is None) != (self.val_annotations is None):
            raise ValueError("val_images and val_annotations belong together: give both or none")

    def shrink(self) -> Self:
        """The same settings, reduced to a run of seconds if `smoke` is set: two updates of two small images."""
        small = super().shrink()
        return replace(small, batch_size=2, min_size=64, max_size=96) if self.smoke else small


def main(settings: DetectionSettings) -> dict[str, float]:
    """Train, then measure, or measure alone."""
    torch.manual_seed(settings.seed)
    return measure_alone(settings) if settings.eval_only else train(settings)


def train(settings: DetectionSettings) -> dict[str, float]:
    """Train, then measure the last weights."""
    images = open_images(settings, "train")
    val = open_images(settings, "val", WeightsInfo(class_names=images.classes), images.has_masks)
    images.check_sizes()
    val.check_sizes()
    model = start_from(make_model(settings, images.num_classes, images.has_masks), settings)
    ids = {str(label): number for label, number in images.category_ids.items()}
    notes = {"classes": images.classes, "category_ids": ids}  # pointcoc predict and evaluate read them
    task = DetectionTask(val.coco, notes, images.has_masks)
    images.transform = MirrorObjects() if settings.mirror else None
    say(
        f"{settings.backbone}: {len(images)} training images, {len(val)} to measure; {len(images.classes)} classes of "
        f"objects with {'masks' if images.has_masks else 'boxes alone'}"
    )
    if unused := images.unused_classes():
        say(f"no training image has an object of {', '.join(unused[:10])}")
    loader = make_train_loader(images, settings, collate_fn=collate_images)
    result = fit(model, loader, None, settings, task=task)
    return finish(model, test_loader(settings, val), result, settings, task)


def measure_alone(settings: DetectionSettings) -> dict[str, float]:
    """Measure weights; their classes and those of the data are matched by name."""
    file = find_weights(str(settings.weights))
    config, info = read_info(file)
    has_masks = config.kind != "faster_rcnn"
    val = open_images(settings, "val", info, has_masks)
    val.check_sizes()
    model = start_from(make_model(settings, getattr(config, "num_classes", val.num_classes), has_masks), settings)
    return measure(model, test_loader(settings, val), settings, DetectionTask(val.coco, has_masks=has_masks))


def test_loader(settings: DetectionSettings, images: CocoImages) -> DataLoader:
    """Return the loader of the images that are measured."""
    return make_test_loader(images, settings, collate_fn=collate_images, batch_size=1)


def make_model(settings: DetectionSettings, num_classes: int, has_masks: bool) -> Any:
    """Make a detector with masks or without."""
    return (mask_rcnn if has_masks else faster_rcnn)(
        settings.backbone,
        num_classes=num_classes,
        centers=settings.centers,
        pretrained=settings.pretrained,
        min_size=settings.min_size,
        max_size=settings.max_size,
        box_batch_size_per_image=settings.rois_per_image,
    )


def open_images(
    settings: DetectionSettings, split: str, info: WeightsInfo | None = None, has_masks: bool | None = None
) -> CocoImages:
    """Open the images that are trained on, or those that are measured, which may be the same.

    Args:
        settings: those of the run.
        split: "train" or "val".
        info: names of the classes by their labels; None for labels of the data's own.
        has_masks: whether objects need masks; None for what the settings or the annotations say.
    """
    wanted = {"auto": None, "mask_rcnn": True, "faster_rcnn": False}[settings.detector]
    options: dict[str, Any] = {"masks": wanted if has_masks is None else has_masks}
    if settings.data is not None and is_yolo(settings.data):
        names = yolo_names(settings.data)
        if info is not None and info.class_names is not None and names is not None:
            options["labels"] = info.match_classes(names, str(settings.data))
        opened: CocoImages = YoloImages(settings.data, split, **options)
    else:
        images, annotations = places(settings, split)
        options["labels"] = None if info is None else matched_labels(info, annotations)
        if settings.num_classes and options["labels"] is None:
            options["num_classes"] = settings.num_classes
        is_trained_on = split == "train" or (settings.data is None and settings.val_images is None)
        opened = CocoImages(images, annotations, ids=settings.image_ids or None if is_trained_on else None, **options)
    if settings.detector == "mask_rcnn" and not any("segmentation" in one for one in opened.coco.anns.values()):
        raise ValueError("mask_rcnn needs masks, and the annotations have boxes alone: choose --detector faster_rcnn")
    opened.num_classes = max(settings.num_classes, opened.num_classes)
    return opened


def places(settings: DetectionSettings, split: str) -> tuple[Path, Path]:
    """Return the folder of the images of a split and the file of their annotations."""
    if settings.data is None:
        of_val = (settings.val_images, settings.val_annotations)
        images, annotations = (settings.images, settings.annotations) if split == "train" or None in of_val else of_val
        assert images is not None and annotations is not None
        return images, annotations
    names = {"train": ("train2017", "train"), "val": SPLITS}[split]
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            return find_coco(check_folder("data", settings.data), name, None)
    return find_coco(check_folder("data", settings.data), names[0], None)


# The path below is a part of the command line that names --data, which replaces it.
DEFAULT = DetectionSettings(data=Path("coco"))


def default_settings(args: Sequence[str]) -> DetectionSettings:
    """Return the defaults: without --data where --images are named."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("--images", "--annotations"):
        parser.add_argument(option, type=Path)
    known, _ = parser.parse_known_args(args)
    if known.images is None and known.annotations is None:
        return DEFAULT
    return replace(
        DEFAULT, data=None, images=known.images or Path("IMAGES"), annotations=known.annotations or Path("FILE")
    )


if __name__ == "__main__":
    run_command(main, default_settings(sys.argv[1:]), __doc__)
