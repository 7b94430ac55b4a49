"""Train Mask R-CNN on a COCO annotation file and measure boxes and masks.

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

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch

from pointcoc.data import CocoImages, MirrorObjects
from pointcoc.detection import mask_rcnn
from pointcoc.detection.task import DetectionTask, collate_images
from pointcoc.train import finish, fit, make_test_loader, make_train_loader, measure, run_command
from pointcoc.train.dense import DenseSettings, check_positive, start_from
from pointcoc.train.processes import say
from pointcoc.train.settings import Schedule


@dataclass(frozen=True, kw_only=True)
class DetectionSettings(DenseSettings):
    """Settings of a run of Mask R-CNN."""

    images: Path
    """Folder of the training images."""
    annotations: Path
    """Their annotations, such as instances_train2017.json."""
    val_images: Path | None = None
    """Folder of the images that the network is measured on; those of training if not given."""
    val_annotations: Path | None = None
    """Annotations of `val_images`."""
    image_ids: tuple[int, ...] = ()
    """Numbers of the training images in their annotations; all if not given."""
    num_classes: int = 91
    """One more than the highest category id."""
    backbone: str = "coc_small"
    """A preset, or a ResNet of torchvision such as resnet18."""
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
        if (self.val_images is None) != (self.val_annotations is None):
            raise ValueError("val_images and val_annotations belong together: give both or none")

    def shrink(self) -> Self:
        """The same settings, reduced to a run of seconds if `smoke` is set: two updates of two small images."""
        small = super().shrink()
        return replace(small, batch_size=2, min_size=64, max_size=96) if self.smoke else small


def main(settings: DetectionSettings) -> dict[str, float]:
    """Train, then measure, or measure alone."""
    torch.manual_seed(settings.seed)
    val = open_images(settings, is_training=settings.val_images is None)
    loader = make_test_loader(val, settings, collate_fn=collate_images, batch_size=1)
    model = mask_rcnn(
        settings.backbone,
        num_classes=settings.num_classes,
        centers=settings.centers,
        pretrained=settings.pretrained,
        min_size=settings.min_size,
        max_size=settings.max_size,
        box_batch_size_per_image=settings.rois_per_image,
    )
    start_from(model, settings)
    classes = {one["id"]: one.get("name", str(one["id"])) for one in val.coco.dataset.get("categories", [])}
    task = DetectionTask(val.coco, notes={"classes": classes})  # pointcoc predict reads them
    if settings.eval_only:
        return measure(model, loader, settings, task)
    train = copy.copy(val) if settings.val_images is None else open_images(settings, is_training=True)
    train.transform = MirrorObjects() if settings.mirror else None
    say(f"{settings.backbone}: {len(train)} training images, {len(val)} to measure")
    result = fit(model, make_train_loader(train, settings, collate_fn=collate_images), None, settings, task=task)
    return finish(model, loader, result, settings, task)


def open_images(settings: DetectionSettings, is_training: bool) -> CocoImages:
    """Open the images that are trained on, or those that are measured."""
    if is_training or settings.val_images is None or settings.val_annotations is None:
        ids = settings.image_ids or None
        return CocoImages(settings.images, settings.annotations, num_classes=settings.num_classes, ids=ids)
    return CocoImages(settings.val_images, settings.val_annotations, num_classes=settings.num_classes)


# The paths below are parts of the command line that names them, which replaces them.
DEFAULT = DetectionSettings(
    images=Path("coco/train2017"), annotations=Path("coco/annotations/instances_train2017.json")
)

if __name__ == "__main__":
    run_command(main, DEFAULT, __doc__)
