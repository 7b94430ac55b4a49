"""Objects that a detector finds, with masks as run lengths: memory does not grow with objects times pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import expand_boxes, expand_masks

Runs = dict[str, Any]
"""A mask as pycocotools encodes it: size and compressed counts."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """Objects in an image, the likeliest first; everything is on the CPU.

    Args:
        boxes: x1, y1, x2, y2 in pixels, shape (n, 4).
        labels: classes, shape (n,), int64.
        scores: shape (n,), in [0, 1].
        runs: mask of each object as run lengths; None of a detector without masks.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    runs: tuple[Runs, ...] | None

    def __len__(self) -> int:
        return len(self.labels)

    def mask(self, row: int) -> Tensor:
        """Return the mask of an object, shape (H, W), bool."""
        from pycocotools import mask as rle

        assert self.runs is not None
        return torch.from_numpy(rle.decode(self.runs[row]).view(bool))

    def records(self, image: int) -> list[dict[str, Any]]:
        """Describe the objects as a list of COCO results: box as x, y, width, height, mask as RLE.

        Args:
            image: number of the image.
        """
        boxes = self.boxes.double()
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1)
        rows = zip(boxes.tolist(), self.labels.tolist(), self.scores.tolist(), strict=True)
        records = [{"image_id": image, "category_id": label, "bbox": box, "score": score} for box, label, score in rows]
        for record, runs in zip(records, self.runs or (), strict=self.runs is not None):
            record["segmentation"] = runs
        return records


@torch.no_grad()
def find_objects(model: nn.Module, images: Sequence[Tensor], threshold: float = 0.0) -> list[Found]:
    """Find the objects in images; masks are enlarged to their image one by one.

    Args:
        model: a detector of this library or of torchvision, in evaluation mode, or whatever else returns what those do.
        images: shape (3, H, W) each, in [0, 1].
        threshold: lowest score of an object.
    """
    with _small_masks(model, threshold) as small:
        detections = model(list(images))
    if not small:  # another model, whose masks have the sizes of the images
        kept = [one["scores"] >= threshold for one in detections]
        return [
            of_tensors({name: value[keep] for name, value in one.items()})
            for one, keep in zip(detections, kept, strict=True)
        ]
    found = []
    for image, one, masks in zip(images, detections, small, strict=True):
        boxes = one["boxes"].cpu()
        runs = None if masks is None else _enlarged(masks.cpu(), boxes, (image.shape[-2], image.shape[-1]))
        found.append(Found(boxes=boxes, labels=one["labels"].cpu(), scores=one["scores"].cpu(), runs=runs))
    return found


@contextmanager
def _small_masks(model: nn.Module, threshold: float) -> Iterator[list[Tensor | None]]:
    """Take the masks from what the heads of a model return, before they are enlarged, and what is below the threshold.

    Yields a list that holds the masks of each image after the model was called, shape (n, 1, 28, 28); it stays empty
    for models without such heads.
    """
    heads, small = getattr(model, "roi_heads", None), []

    def take(_: nn.Module, __: Any, output: Any) -> Any:
        detections, losses = output
        kept = []
        for one in detections:
            keep = one["scores"] >= threshold
            one = {name: value[keep] for name, value in one.items()}
            small.append(one.pop("masks", None))
            kept.append(one)
        return kept, losses

    handle = None if heads is None else heads.register_forward_hook(take)
    try:
        yield small
    finally:
        if handle is not None:
            handle.remove()


def _enlarged(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> tuple[Runs, ...]:
    """Enlarge masks (n, 1, 28, 28) into their boxes, as torchvision does, one after the other and no further."""
    padded, scale = expand_masks(masks, padding=1)
    corners = expand_boxes(boxes, scale).to(torch.int64).tolist()
    return tuple(_enlarged_runs(mask, box, size) for mask, box in zip(padded, corners, strict=True))


def _enlarged_runs(mask: Tensor, box: Sequence[int], size: tuple[int, int]) -> Runs:
    """Enlarge a mask (1, h, w) into a box of whole pixels, whose last row and column belong to it."""
    x1, y1, x2, y2 = box
    enlarged = F.interpolate(mask[None], (max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)), mode="bilinear")[0, 0]
    top, left = max(y1, 0), max(x1, 0)
    inside = enlarged[top - y1 : size[0] - y1, left - x1 : size[1] - x1] > 0.5
    return _placed(inside.numpy(), top, left, size)


def _placed(part: np.ndarray, top: int, left: int, size: tuple[int, int]) -> Runs:
    """Return the run lengths of a mask that is a part (h, w), bool, and empty elsewhere; they go down the columns."""
    from pycocotools import mask as rle

    height, width = size
    columns = np.zeros((part.shape[1], height), dtype=np.int8)
    columns[:, top : top + part.shape[0]] = part.T
    changes = left * height + np.flatnonzero(np.diff(columns.ravel(), prepend=0, append=0))
    counts = np.diff(changes, prepend=0, append=height * width)
    if len(changes) and changes[-1] == height * width:
        counts = counts[:-1]
    return rle.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)


def _encoded(mask: Tensor) -> Runs:
    """Return a mask (H, W) of probabilities as run lengths."""
    return _placed((mask > 0.5).cpu().numpy(), 0, 0, (mask.shape[0], mask.shape[1]))


def of_tensors(one: Mapping[str, Tensor]) -> Found:
    """Return what torchvision's detectors return of an image, with masks as run lengths.

    Args:
        one: boxes (n, 4) as x1, y1, x2, y2, labels, scores and, or not, masks (n, 1, H, W).
    """
    masks = one.get("masks")
    runs = None if masks is None else tuple(_encoded(mask[0]) for mask in masks)
    return Found(
        boxes=one["boxes"].detach().cpu(), labels=one["labels"].cpu(), scores=one["scores"].detach().cpu(), runs=runs
    )
