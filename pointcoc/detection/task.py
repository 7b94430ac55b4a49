"""What `pointcoc.train.fit` learns of Mask R-CNN: torchvision's losses, and the average precision of COCO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from pointcoc.detection.coco_scores import coco_records, record_scores
from pointcoc.train.metrics import PassScores
from pointcoc.train.task import Pairs, Task

Row = tuple[Tensor, dict[str, Tensor]]


class DetectionTask(Task):
    """Boxes, classes and masks of objects: batches of `collate_images`, a model as `mask_rcnn` makes it.

    Args:
        annotations: a `pycocotools.coco.COCO` of the images that are measured, such as `CocoImages.coco`; None for
            training alone.
        notes: see `Task`.
    """

    headline = "box_ap"

    def __init__(self, annotations: Any = None, notes: Mapping[str, Any] | None = None) -> None:
        self.annotations = annotations
        self.notes = notes or {}

    def new_scores(self) -> PassScores:
        """Make the loss alone, empty."""
        return PassScores()

    def loss(self, model: nn.Module, inputs: Any, targets: Any, scores: PassScores) -> Tensor:
        """Sum of the losses of the model, which are means over the batch, for each image; see `Task`."""
        loss = len(inputs) * torch.stack(list(model(inputs, targets).values())).sum()
        scores.take(loss, len(inputs))
        return loss

    def measure(self, model: nn.Module, batches: Pairs, accelerator: Accelerator) -> dict[str, float]:
        """Return what `coco_scores` does; targets tell `image_id`. See `Task`."""
        if self.annotations is None:
            raise ValueError("annotations must be given to measure boxes and masks, got None")
        images: list[int] = []
        found: list[dict[str, Any]] = []
        for inputs, targets in batches:
            with accelerator.autocast():
                detections = model(inputs)
            for target, one in zip(targets, detections, strict=True):
                images.append(int(target["image_id"]))
                found += coco_records(images[-1], one)
        return record_scores(self.annotations, gather_object(images), gather_object(found))

    def line(self, scores: Mapping[str, float]) -> str:
        """Say the average precision of boxes and masks."""
        return f"box AP {scores['box_ap']:.1%}, mask AP {scores['mask_ap']:.1%}"


def collate_images(rows: Sequence[Row]) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Join images of any sizes with their targets: `DataLoader(dataset, collate_fn=collate_images)`.

    Args:
        rows: items of `CocoImages`.

    Returns:
        The images and the targets.
    """
    return [image for image, _ in rows], [target for _, target in rows]
