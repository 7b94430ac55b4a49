"""What `pointcoc.train.fit` learns of detectors: torchvision's losses, and the average precision of COCO."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from pointcoc.data.class_colors import class_colors
from pointcoc.detection.coco_scores import SCORE, CocoMeasure, measure_records
from pointcoc.detection.found import find_objects
from pointcoc.train.findings import Findings, Panel, Panels
from pointcoc.train.metrics import PassScores
from pointcoc.train.task import Pairs, Task

Row = tuple[Tensor, dict[str, Tensor]]
MOST_NAMES = 5


class DetectionTask(Task):
    """Boxes, classes and masks of objects: batches of `collate_images`, a model as `mask_rcnn` or `faster_rcnn` makes.

    Args:
        annotations: a `pycocotools.coco.COCO` of the images that are measured, such as `CocoImages.coco`; None for
            training alone.
        notes: see `Task`.
        has_masks: whether masks are measured.
    """

    headline = "box_ap"

    def __init__(self, annotations: Any = None, notes: Mapping[str, Any] | None = None, has_masks: bool = True) -> None:
        self.annotations = annotations
        self.notes = notes or {}
        self.has_masks = has_masks
        self.without_objects: list[str] = []

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
        numbers: dict[int, int] = {}
        for inputs, targets in batches:
            with accelerator.autocast():
                detections = find_objects(model, inputs)
            for row, (target, one) in enumerate(zip(targets, detections, strict=True)):
                images.append(int(target["image_id"]))
                found += one.records(images[-1])
                if self.findings is not None:
                    numbers[images[-1]] = self.findings.index(row)
        measured = measure_records(self.annotations, gather_object(images), gather_object(found), self.has_masks)
        names = self._names(measured)
        self.without_objects = [names[label] for label, count in measured.counts.items() if not count]
        if self.findings is not None:
            self._find(self.findings, measured, numbers, found)
            self.findings.join(accelerator)
        return dict(measured.scores)

    def _names(self, measured: CocoMeasure) -> dict[int, str]:
        listed = self.annotations.cats
        return {label: str(listed[label].get("name", label)) for label in measured.classes}

    def _find(
        self, findings: Findings, measured: CocoMeasure, numbers: Mapping[int, int], found: Sequence[dict[str, Any]]
    ) -> None:
        """Note the scores of each class, and how each image of this process did."""
        names = self._names(measured)
        findings.names = list(names.values())
        findings.counts = list(measured.counts.values())
        columns = {name: [one[name] for one in measured.classes.values()] for name in measured.scores}
        findings.classes = columns
        by_image: dict[int, list[dict[str, Any]]] = {image: [] for image in numbers}
        for record in found:
            if record["score"] >= SCORE:
                by_image[record["image_id"]].append(record)
        for image, number in numbers.items():
            f1 = measured.images[image]
            draw = partial(self._panels, image, by_image[image], names)
            badness = 0.0 if math.isnan(f1) else 1 - f1
            there = sum(not one.get("iscrowd") for one in self.annotations.imgToAnns[image])
            findings.add_item(number, badness, draw, f1=f1, objects=there, found=len(by_image[image]))

    def _panels(self, image: int, found: Sequence[dict[str, Any]], names: Mapping[int, str]) -> Panels:
        entry = self.annotations.imgs[image]
        size = (entry["height"], entry["width"])
        there = [one for one in self.annotations.imgToAnns[image] if not one.get("iscrowd")]
        return [_panel("objects", there, size, names), _panel(f"found, score {SCORE} or more", found, size, names)]

    def line(self, scores: Mapping[str, float]) -> str:
        """Say the average precision of boxes and masks, and which classes have no object."""
        said = ", ".join(
            f"{kind} AP {_percent(scores[f'{kind}_ap'])}" for kind in ("box", "mask") if f"{kind}_ap" in scores
        )
        missing = self.without_objects
        if not missing:
            return said
        more = f" and {len(missing) - MOST_NAMES} more" if len(missing) > MOST_NAMES else ""
        return f"{said} (no object of {', '.join(missing[:MOST_NAMES])}{more}: not measured)"


def _percent(value: float) -> str:
    return f"{value:.1%}" if value >= 0 else "unknown"


def _panel(title: str, records: Sequence[Mapping[str, Any]], size: tuple[int, int], names: Mapping[int, str]) -> Panel:
    """Return a picture of boxes, laid over the file of the image."""
    boxes = torch.tensor([one["bbox"] for one in records], dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = [one["category_id"] for one in records]
    colors = class_colors(max(names, default=0) + 1)[labels].float() / 255 if labels else torch.zeros(0, 3)
    words = [
        f"{names[label]} {one['score']:.0%}" if "score" in one else names[label]
        for label, one in zip(labels, records, strict=True)
    ]
    return Panel(title=title, boxes=boxes, words=words, size=size, colors=colors)


def collate_images(rows: Sequence[Row]) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Join images of any sizes with their targets: `DataLoader(dataset, collate_fn=collate_images)`.

    Args:
        rows: items of `CocoImages`.

    Returns:
        The images and the targets.
    """
    return [image for image, _ in rows], [target for _, target in rows]
